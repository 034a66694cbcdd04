"""A simulated RDM6300 reader for EM4100 tags.

While a tag is held it sends, every 50 ms, STX, ten hex digits, their exclusive-or as two hex digits, ETX
(9600 8N1; forum.hobbycomponents.com f=82).
"""

from __future__ import annotations

import argparse
import asyncio
import string
import time
from functools import reduce
from operator import xor
from typing import Any, ClassVar

from simulators.device import Command, CommandRefusedError, Device, Raw
from simulators.line import Line
from simulators.process import add_link, device_parser, run_device
from simulators.pty_line import PtyLine

REPEAT_S = 0.05
MAX_TAP_MS = 3_600_000


class Hold(Command):
    """Hold the tag with these ten hex digits to the reader until `release`."""

    uid: str


class Release(Command):
    """Take the tag away."""


class Tap(Command):
    """Hold the tag for `ms` milliseconds; at least one frame is sent."""

    uid: str
    ms: int = 200


def frame(uid: str) -> bytes:
    """The fourteen bytes of one reading of the tag `uid` (ten hex digits)."""
    checksum = reduce(xor, bytes.fromhex(uid))
    return b"\x02%s%02X\x03" % (uid.encode(), checksum)


class Rdm6300(Device):
    """The reader; it only talks. `frames_sent` counts the readings that left it, also those nobody received."""

    kind: ClassVar[str] = "rdm6300"
    commands: ClassVar[tuple[type[Command], ...]] = (Hold, Release, Tap, Raw)

    def __init__(self, line: Line) -> None:
        super().__init__(line)
        self._uid: str | None = None
        self._frames_sent = 0
        self._first_frame_at: float | None = None
        self._repeat: asyncio.TimerHandle | None = None
        self._end: asyncio.TimerHandle | None = None

    def state(self) -> dict[str, Any]:
        """Adds `held` (the tag's digits or null), `frames_sent` and `first_frame_at` (of the held tag)."""
        return {
            **super().state(),
            "held": self._uid,
            "frames_sent": self._frames_sent,
            "first_frame_at": self._first_frame_at,
        }

    def do(self, command: Command) -> dict[str, Any] | None:
        """`hold`, `release` and `tap` besides what every device can."""
        match command:
            case Hold(uid=uid):
                self._hold(uid)
            case Tap(uid=uid, ms=ms):
                self._tap(uid, ms)
            case Release():
                self._release()
            case _:
                return super().do(command)
        return None

    def close(self) -> None:
        """Stop sending and give back the line."""
        self._stop_timers()
        super().close()

    def _tap(self, uid: str, ms: int) -> None:
        if not 0 < ms <= MAX_TAP_MS:
            raise CommandRefusedError(f"`ms` must be from 1 to {MAX_TAP_MS}")
        self._hold(uid)
        self._end = asyncio.get_running_loop().call_later(ms / 1000, self._release)

    def _hold(self, uid: str) -> None:
        if len(uid) != 10 or not set(uid) <= set(string.hexdigits):
            raise CommandRefusedError("`uid` must be ten hex digits, as an EM4100 tag has")
        self._stop_timers()
        self._uid = uid.upper()
        self._first_frame_at = time.monotonic()
        self._send(asyncio.get_running_loop().time())
        self.changed()

    def _send(self, due: float) -> None:
        if self._uid is not None:
            self.line.write(frame(self._uid))
            self._frames_sent += 1
            # From the time it was due, not from now: a late timer must not make the reader slower.
            self._repeat = asyncio.get_running_loop().call_at(due + REPEAT_S, self._send, due + REPEAT_S)

    def _release(self) -> None:
        self._stop_timers()
        self._uid = None
        self.changed()

    def _stop_timers(self) -> None:
        for timer in (self._repeat, self._end):
            if timer is not None:
                timer.cancel()


def main() -> None:
    """Run one reader on a pty."""
    parser = device_parser("rdm6300", __doc__)
    add_link(parser)

    def make(options: argparse.Namespace) -> Rdm6300:
        return Rdm6300(PtyLine(options.link))

    run_device(parser, make)


if __name__ == "__main__":
    main()
