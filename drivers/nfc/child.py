"""The inside of a fenced process: its two pipes, its limits, and when a card is a new one.

Only what is written here reaches the daemon: whatever the library itself prints goes nowhere, for it may be a number.
"""

from __future__ import annotations

import ctypes
import os
import resource
import secrets
import signal
import sys
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence

from drivers.api import DeviceFault
from drivers.codecs.ndef import NdefText
from drivers.codecs.nfc_chips import is_random_uid
from drivers.nfc import keys, line
from drivers.nfc.card import Card, CardGone, identify, read_texts
from drivers.nfc.proving import prove

ALIVE_EVERY_S = 0.25
EXIT_TROUBLE, EXIT_BROKEN = 3, 4
"""Exit status after a trouble that was told, and after a mistake in the library or here."""
TRIES = 3
"""How often a card that does not stay is asked again while it is held, before that is its answer."""
REMEMBERED = 8
"""Cards that could lie on one reader at once, and more."""
_MEMORY_BYTES_MAX = 1 << 30
_PR_SET_PDEATHSIG = 1


class Stopped(Exception):
    """The device cannot be used any more. The message is for a technician."""


class Channel:
    """The way to the daemon and back."""

    def __init__(self, output: int, now: Callable[[], float] = time.monotonic) -> None:
        """Take the file descriptor to write to; `now` gives seconds of a monotonic clock."""
        self._output, self._now = output, now
        self._alive_at = 0.0
        self.signals: deque[line.Signal] = deque(maxlen=8)

    def say(self, message: line.FromProcess) -> None:
        """Write one message at once. A daemon that is gone ends this process."""
        os.write(self._output, line.encode(message) + b"\n")
        self._alive_at = self._now()

    def alive(self) -> None:
        """Say that the library still comes back; call it between any two calls of the library."""
        if self._now() - self._alive_at >= ALIVE_EVERY_S:
            self.say(line.Alive())


class _Held:
    """A card that is held: when it was last found, and how often it may still be asked."""

    def __init__(self, seen_at: float) -> None:
        self.seen_at, self.tries = seen_at, TRIES


class Desk:
    """Takes each card once: reads it, lets it prove itself, and tells the daemon."""

    def __init__(
        self, setup: line.Setup, rules: Sequence[keys.LoadedRule], say: Callable[[line.Seen], None],
        now: Callable[[], float] = time.monotonic, random_bytes: Callable[[int], bytes] = secrets.token_bytes,
    ) -> None:  # fmt: skip
        """Take the rules with their keys, and where cards are told; clock and chance come from outside."""
        self._options, self._rules, self._say = setup.options, rules, say
        self._now, self._random_bytes = now, random_bytes
        self._held: dict[bytes, _Held] = {}

    def take(self, card: Card) -> None:
        """A card is in the field: tell of it if it was not there before."""
        held = self._known(card.uid)
        if held.tries == 0:
            return
        try:
            seen = self._read(card)
        except CardGone:
            held.tries -= 1
            if held.tries:
                return
            # It goes away in the middle each time and comes back each time: no guest's hand does that.
            seen = self._named(card, (), proven=False)
        held.tries, held.seen_at = 0, self._now()
        self._say(seen)

    def _known(self, uid: bytes) -> _Held:
        """Return what is remembered of a card, a new entry where it had been taken away."""
        # A chip that makes up its number at each reading is the one that is held, as long as such a one is there.
        name = b"\x08" if is_random_uid(uid) else uid
        now = self._now()
        held = self._held.pop(name, None)
        if held is None or now - held.seen_at >= self._options.gone_after_ms / 1000:
            held = _Held(now)
        held.seen_at = now
        self._held[name] = held
        if len(self._held) > REMEMBERED:
            del self._held[next(iter(self._held))]
        return held

    def _read(self, card: Card) -> line.Seen:
        chip = identify(card)
        proof = prove(card, chip, self._rules, self._random_bytes)
        wanted = self._options.read_ndef or self._options.identify_by == "ndef"
        texts = read_texts(card) if wanted else []
        return self._named(card, texts, chip, proof.uid, proof.proven, proof.counter)

    def _named(
        self, card: Card, texts: Sequence[NdefText], chip: str = "unknown", uid: bytes = b"",
        proven: bool | None = None, counter: int | None = None,
    ) -> line.Seen:  # fmt: skip
        text = texts[0].value if texts else ""
        number = (uid or card.uid).hex().upper()
        by_text = bool(text) and self._options.identify_by == "ndef"
        return line.Seen(
            technology="barcode" if by_text else "nfc",
            value=text if by_text else number,
            chip=chip,
            text=text,
            proven=proven,
            counter=counter,
        )


Serve = Callable[[line.Setup, Channel, Desk], None]


def main(serve: Serve) -> None:
    """Run `serve` for the daemon at the other end of the pipes, and never come back."""
    channel = Channel(_take_output())
    _limit_myself()
    status = EXIT_BROKEN
    try:
        setup = _first_line()
        rules = keys.load(setup.options.prove)
        threading.Thread(target=_listen, args=(channel,), daemon=True).start()
        serve(setup, channel, Desk(setup, rules, channel.say))
    except (Stopped, DeviceFault) as error:
        channel.say(line.Trouble(str(error)))
        status = EXIT_TROUBLE
    finally:
        # Without the library's own clean-up, in which a broken device could hang.
        os._exit(status)


def _first_line() -> line.Setup:
    setup = line.decode_to_process(sys.stdin.buffer.readline(line.LINE_BYTES_MAX))
    if not isinstance(setup, line.Setup):
        raise Stopped("the process was not told what to open")
    return setup


def _take_output() -> int:
    """Keep the pipe for messages, and send away whatever a library prints."""
    own = os.dup(1)
    away = os.open(os.devnull, os.O_RDWR)
    os.dup2(away, 1)
    os.dup2(away, 2)
    os.close(away)
    return own


def _limit_myself() -> None:
    """End with the daemon, leave no memory image with keys behind, and take no more memory than a reader needs."""
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    resource.setrlimit(resource.RLIMIT_AS, (_MEMORY_BYTES_MAX, _MEMORY_BYTES_MAX))
    signal.signal(signal.SIGINT, signal.SIG_IGN)


def _listen(channel: Channel) -> None:
    """Take the daemon's commands; when its end of the pipe closes, so does this process."""
    while received := sys.stdin.buffer.readline(line.LINE_BYTES_MAX):
        message = line.decode_to_process(received)
        if isinstance(message, line.Signal):
            channel.signals.append(message)
    os._exit(0)
