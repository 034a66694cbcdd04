"""RDM6300 and its likes: readers of EM4100 tags (125 kHz) on a serial line, 9600 8N1.

A frame is `02`, ten hex digits of tag number, two hex digits of checksum, `03`; the checksum is the exclusive or of the
five bytes that the ten digits stand for. The module repeats it about every 50 ms while a tag is held.
Source: forum.hobbycomponents.com f=82 (its text; its raw dump is wrong).
"""

from __future__ import annotations

import re
from functools import reduce
from operator import xor

import msgspec

from drivers.codecs.decoder import Decoder

_FRAME = re.compile(rb"\x02([0-9A-Fa-f]{10})([0-9A-Fa-f]{2})\x03")
_BEGINNING = re.compile(rb"\x02[0-9A-Fa-f]{0,12}\Z")
_FRAME_BYTES = 14


class TagFrame(msgspec.Struct, frozen=True):
    """One frame: the tag's number as ten upper-case hex digits, of which the last eight are printed on most cards."""

    number: str

    def __repr__(self) -> str:
        return "TagFrame(number=<hidden>)"


class Rdm6300Decoder(Decoder[TagFrame]):
    """Finds frames whose checksum is right."""

    def _next_frame(self) -> TagFrame | None:
        while match := _FRAME.search(self._buffer):
            digits, checksum = match[1], match[2]
            self._drop(match.start(), "no frame")
            if checksum_of(digits) == int(checksum, 16):
                del self._buffer[:_FRAME_BYTES]
                return TagFrame(digits.decode("ascii").upper())
            self._drop(_FRAME_BYTES, "wrong checksum")
        beginning = _BEGINNING.search(self._buffer, max(0, len(self._buffer) - _FRAME_BYTES))
        self._drop(beginning.start() if beginning else len(self._buffer), "no frame")
        return None


def checksum_of(digits: bytes) -> int:
    """Return the checksum over ten hex digits: for `100086F444` it is 0x26."""
    return reduce(xor, bytes.fromhex(digits.decode("ascii")), 0)


def encode_frame(number: str) -> bytes:
    """Return the 14 bytes a reader sends for a tag `number` of ten hex digits; raises ValueError for another form."""
    digits = number.upper().encode("ascii")
    frame = b"\x02%b%02X\x03" % (digits, checksum_of(digits))
    if not _FRAME.fullmatch(frame):
        raise ValueError("a tag number has ten hex digits")
    return frame
