"""Real-time commands: a printer obeys them the moment they arrive, before everything that waits in its buffer.

It looks for them in the raw bytes and knows nothing of images and barcodes, so that the same bytes inside a picture
are obeyed too. Epson's reference warns of exactly this; it is no fault of the simulator.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

CLEAR = bytes((1, 3, 20, 1, 6, 2, 8))


@dataclass(frozen=True)
class RealTime:
    """`status n` (DLE EOT), `enquiry n` (DLE ENQ), `pulse pin×100ms` (DLE DC4 1) or `clear` (DLE DC4 8)."""

    kind: Literal["status", "enquiry", "pulse", "clear"]
    n: int = 0
    t: int = 0


class RealTimeScanner:
    """Finds real-time commands in bytes that arrive in any pieces."""

    def __init__(self) -> None:
        self._tail = bytearray()

    def feed(self, data: bytes) -> list[tuple[int, RealTime]]:
        """The commands that are complete with `data`, in order, each with the position in `data` where it ends."""
        found: list[tuple[int, RealTime]] = []
        for end, byte in enumerate(data, start=1):
            self._tail.append(byte)
            while self._tail and not _could_begin(self._tail):
                del self._tail[0]
            command = _match(bytes(self._tail))
            if command is not None:
                found.append((end, command))
                self._tail.clear()
        return found


def _could_begin(tail: bytearray) -> bool:
    """Whether `tail` is the beginning of a real-time command, or a whole one."""
    if tail[0] != 0x10:
        return False
    match bytes(tail[1:]):
        case b"" | b"\x04" | b"\x05" | b"\x14" | b"\x14\x01" | b"\x14\x01\x00" | b"\x14\x01\x01":
            return True
        case bytes(rest) if rest[0] == 0x14 and rest[1] == 8:
            return CLEAR.startswith(rest[2:])
        case _:
            return _match(bytes(tail)) is not None


def _match(tail: bytes) -> RealTime | None:
    match tuple(tail):
        case (0x10, 0x04, (1 | 2 | 3 | 4) as n):
            return RealTime("status", n)
        case (0x10, 0x05, (0 | 1 | 2) as n):
            return RealTime("enquiry", n)
        case (0x10, 0x14, 1, (0 | 1) as pin, t) if 1 <= t <= 8:
            return RealTime("pulse", pin, t)
        case (0x10, 0x14, 8, *rest) if bytes(rest) == CLEAR:
            return RealTime("clear")
        case _:
            return None
