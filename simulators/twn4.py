"""A simulated Elatec TWN4 with the Simple Protocol firmware: lines of hex digits ended by CR (c3rebro/Elatec.NET)."""

from __future__ import annotations

import argparse
import asyncio
from typing import Any, ClassVar

from simulators.device import Command, CommandRefusedError, Device, Raw, Silent, parse_hex
from simulators.line import Line
from simulators.process import add_link, device_parser, run_device
from simulators.pty_line import PtyLine

VERSION = b"TWN4/B1.54/NCF4.51/SIMPLE"
MAX_LINE_BYTES = 512
MAX_TAP_MS = 3_600_000


class Hold(Command):
    """Hold a tag to the reader until `release`: its ID in hex and its type (40 EM4100, 80 ISO 14443A) in hex."""

    uid: str
    type: str = "80"


class Release(Command):
    """Take the tag away."""


class Tap(Command):
    """Hold a tag for `ms` milliseconds."""

    uid: str
    type: str = "80"
    ms: int = 200


class Twn4(Device):
    """The reader; `beeps` and `leds` are the last commands of their kind, in hex."""

    kind: ClassVar[str] = "twn4"
    commands: ClassVar[tuple[type[Command], ...]] = (Hold, Release, Tap, Silent, Raw)

    def __init__(self, line: Line) -> None:
        super().__init__(line)
        self._tag: tuple[int, bytes] | None = None
        self._buffer = bytearray()
        self._silent = False
        self._searches = 0
        self._beeps: list[str] = []
        self._leds: list[str] = []
        self._end: asyncio.TimerHandle | None = None

    def state(self) -> dict[str, Any]:
        """Adds `held`, `searches`, and what was sounded and shown."""
        return {
            **super().state(),
            "held": None if self._tag is None else self._tag[1].hex().upper(),
            "searches": self._searches,
            "beeps": self._beeps[-8:],
            "leds": self._leds[-8:],
        }

    def do(self, command: Command) -> dict[str, Any] | None:
        """`hold`, `release`, `tap` and `silent` besides what every device can."""
        match command:
            case Hold(uid=uid, type=kind):
                self._hold(uid, kind)
            case Tap(uid=uid, type=kind, ms=ms):
                if not 0 < ms <= MAX_TAP_MS:
                    raise CommandRefusedError(f"`ms` must be from 1 to {MAX_TAP_MS}")
                self._hold(uid, kind)
                self._end = asyncio.get_running_loop().call_later(ms / 1000, self._release)
            case Release():
                self._release()
            case Silent(on=on):
                self._silent = on
            case _:
                return super().do(command)
        return None

    def receive(self, data: bytes) -> None:
        """Answer each line."""
        self._buffer += data
        while b"\r" in self._buffer:
            line, _, rest = bytes(self._buffer).partition(b"\r")
            self._buffer[:] = rest
            if line and not self._silent:
                self.line.write(self._answer(line).hex().upper().encode() + b"\r")
        del self._buffer[:-MAX_LINE_BYTES]

    def close(self) -> None:
        """Stop the timer and give back the line."""
        self._stop_timer()
        super().close()

    def _answer(self, line: bytes) -> bytes:
        try:
            command = bytes.fromhex(line.decode())
        except ValueError:
            return b"\x01"
        match command[:2]:
            case b"\x00\x04":
                return bytes([0, len(VERSION)]) + VERSION
            case b"\x05\x00":
                return self._search()
            case b"\x04\x07":
                self._beeps.append(command.hex())
            case b"\x04\x10" | b"\x04\x11" | b"\x04\x12":
                self._leds.append(command.hex())
            case _:
                return b"\x02"
        self.changed()
        return b"\x00"

    def _search(self) -> bytes:
        self._searches += 1
        if self._tag is None:
            return b"\x00\x00"
        kind, number = self._tag
        return bytes([0, 1, kind, len(number) * 8, len(number)]) + number

    def _hold(self, uid: str, kind: str) -> None:
        number, kinds = parse_hex(uid), parse_hex(kind)
        if not 1 <= len(number) <= 16 or len(kinds) != 1:
            raise CommandRefusedError("`uid` has 1 to 16 bytes of hex, `type` one")
        self._stop_timer()
        self._tag = kinds[0], number
        self.changed()

    def _release(self) -> None:
        self._stop_timer()
        self._tag = None
        self.changed()

    def _stop_timer(self) -> None:
        if self._end is not None:
            self._end.cancel()


def main() -> None:
    """Run one reader on a pty."""
    parser = device_parser("twn4", __doc__)
    add_link(parser)

    def make(options: argparse.Namespace) -> Twn4:
        return Twn4(PtyLine(options.link))

    run_device(parser, make)


if __name__ == "__main__":
    main()
