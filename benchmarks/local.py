"""A reader and a relay board wired to the gateway, whose other ends this process holds: nothing sits in between."""

from __future__ import annotations

import fcntl
import os
import pty
import select
import termios
import time
import tty
from collections.abc import Callable, Sequence

from drivers.codecs.lcus import encode_switch
from drivers.codecs.rdm6300 import encode_frame

CLOSE, OPEN = encode_switch(1, closed=True), encode_switch(1, closed=False)
PATIENCE_MS = 5000


class Wire:
    """One pty: the gateway opens `port`, we are the device."""

    def __init__(self) -> None:
        self._device, self._port = pty.openpty()
        tty.setraw(self._port)
        self.port = os.ttyname(self._port)
        self._poll = select.poll()
        self._poll.register(self._device, select.POLLIN)

    def fileno(self) -> int:
        """What select(2) waits for."""
        return self._device

    def say(self, data: bytes) -> None:
        """Send bytes to the gateway."""
        os.write(self._device, data)

    def hear(self) -> bytes:
        """Wait for bytes of the gateway; raises TimeoutError when none come."""
        if not self._poll.poll(PATIENCE_MS):
            raise TimeoutError(f"the gateway wrote nothing to the relay board within {PATIENCE_MS} ms")
        return os.read(self._device, 256)

    def forget(self) -> None:
        """Be as a port that was just plugged in: a killed gateway leaves it locked and with bytes unread."""
        termios.tcflush(self._port, termios.TCIOFLUSH)
        fcntl.ioctl(self._port, termios.TIOCNXCL)
        while self._poll.poll(0):
            os.read(self._device, 256)

    def close(self) -> None:
        """Unplug."""
        os.close(self._device)
        os.close(self._port)


class LocalGate:
    """An RDM6300 reader and a one-relay LCUS board."""

    def __init__(self) -> None:
        self.reader, self.relay = Wire(), Wire()
        self._open = True

    def restarted(self) -> None:
        """Make ready for a gateway that starts."""
        self._open = True
        self.reader.forget()
        self.relay.forget()

    def close(self) -> None:
        """Unplug both."""
        self.reader.close()
        self.relay.close()

    def tap(self, tag: str) -> float:
        """Hold a tag to the reader; returns the time from its frame's last byte to the relay's first, in s."""
        frame = encode_frame(tag)
        self.reader.say(frame[:-1])
        began_s = time.perf_counter()
        self.reader.say(frame[-1:])
        heard = self.relay.hear()
        # Where a pulse has ended meanwhile, the relay opens for the guest before.
        while heard.startswith(OPEN):
            heard = heard[len(OPEN) :] or self.relay.hear()
        took_s = time.perf_counter() - began_s
        if heard not in {CLOSE, CLOSE + OPEN}:
            raise RuntimeError(f"the relay board was told {heard.hex(' ')} instead of one pulse")
        self._open = heard.endswith(OPEN)
        return took_s

    def until_open(self) -> None:
        """Wait until the relay was told to open again."""
        while not self._open:
            self._open = self.relay.hear().endswith(OPEN)


def taps_in_turn(gates: Sequence[LocalGate], next_tag: Callable[[], str], count: int) -> list[float]:
    """Hold `count` tags to the readers in turn, and return what each took, in s.

    Each comes as soon as the relay was told to close for the one before, like the commits they are compared with. They
    go to many gates, because a reader that says more than 300 things a second is taken to be broken.
    """
    for gate in gates:
        gate.relay.forget()
    times_s = [gates[number % len(gates)].tap(next_tag()) for number in range(count)]
    for gate in gates:
        gate.until_open()
    return times_s


def taps_at_rest(gate: LocalGate, next_tag: Callable[[], str], count: int) -> list[float]:
    """Hold `count` tags to one reader, each after the relay has opened and all has come to rest; returns times in s."""
    gate.relay.forget()
    times_s = []
    for _ in range(count):
        times_s.append(gate.tap(next_tag()))
        gate.until_open()
    return times_s
