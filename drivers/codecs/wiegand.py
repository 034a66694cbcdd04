"""Wiegand: what a card reader says in 26, 34 or 37 bits, and how a serial bridge passes such bits on.

The first bit makes the first half even, the last makes the last half odd; between them stand the facility code and the
card number. Sources: Civintec CN56 manual, p. 25 (26 and 34 bits); HID's formats H10301 (26) and H10304 (37, whose
halves share their middle bit). How a bridge frames the bits on its line is its maker's affair: `Framing` describes it.
"""

from __future__ import annotations

import re
from typing import Literal

import msgspec

from drivers.codecs.decoder import Decoder

Form = Literal["hex", "decimal", "bits", "binary"]
Value = Literal["hex", "facility-number", "number"]

MAX_BITS = 128
_LINE_MAX_BYTES = 256
_END = re.compile(rb"[\r\n]+")


class Format(msgspec.Struct, frozen=True):
    """A layout: how many bits, how many of them each parity bit looks at, and how many are the facility code."""

    bits: int
    half_bits: int
    facility_bits: int


FORMATS = {26: Format(26, 12, 8), 34: Format(34, 16, 16), 37: Format(37, 18, 16)}


class Card(msgspec.Struct, frozen=True):
    """A card's number without parity bits: `bits` is their text of 0 and 1, `facility` None where it is not known."""

    bits: str
    facility: int | None
    number: int

    def value(self, form: Value = "hex") -> str:
        """Return the number as text.

        hex: all bits, upper case, `D41B81`; facility-number: `212-7041`; number: `7041`. Where there is no facility
        code the last two are the whole number.
        """
        if form == "hex":
            return f"{int(self.bits, 2):0{(len(self.bits) + 3) // 4}X}"
        if form == "facility-number" and self.facility is not None:
            return f"{self.facility}-{self.number}"
        return str(self.number)

    def __repr__(self) -> str:
        return "Card(<hidden>)"


def read_frame(bits: str) -> Card | None:
    """Return the card in a frame of 26, 34 or 37 bits; None for another length or where a parity bit is wrong."""
    layout = FORMATS.get(len(bits))
    if layout is None:
        return None
    first, last = bits[: layout.half_bits + 1], bits[-layout.half_bits - 1 :]
    if first.count("1") % 2 or not last.count("1") % 2:
        return None
    return read_data(bits[1:-1], layout)


def read_data(bits: str, layout: Format | None = None) -> Card:
    """Return the card of bits that have no parity bits, or none any more."""
    at = layout.facility_bits if layout is not None else 0
    return Card(bits, int(bits[:at], 2) if at else None, int(bits[at:] or "0", 2))


def frame_of(data: int, bits: int) -> str:
    """Return the frame of 26, 34 or 37 bits around `data`; raises KeyError for another length."""
    layout = FORMATS[bits]
    inner = f"{data:0{bits - 2}b}"
    even = str(inner[: layout.half_bits].count("1") % 2)
    odd = str(1 - inner[-layout.half_bits :].count("1") % 2)
    return even + inner + odd


class Framing(msgspec.Struct, frozen=True, kw_only=True):
    """How a bridge writes a card on its serial line.

    `form` hex, decimal or bits is text in lines; binary is as many bytes as the bits need, the first bits first unless
    they are `left_aligned`. `bits` counts what the bridge passes on, and `parity` says whether that includes the parity
    bits. `start` and `end` stand around the number.
    """

    form: Form = "hex"
    bits: int = 26
    parity: bool = True
    left_aligned: bool = False
    start: bytes = b""
    end: bytes = b""

    @property
    def data_bytes(self) -> int:
        """How many bytes hold the bits."""
        return (self.bits + 7) // 8


class WiegandDecoder(Decoder[Card]):
    """Finds cards as a `Framing` describes them, and checks their parity where it is passed on."""

    LIMIT_BYTES = 4096

    def __init__(self, framing: Framing) -> None:
        super().__init__()
        self._framing = framing
        self._skipping = False

    def _next_frame(self) -> Card | None:
        return self._next_binary() if self._framing.form == "binary" else self._next_line()

    def _next_line(self) -> Card | None:
        while end := _END.search(self._buffer):
            line = bytes(self._buffer[: end.start()])
            del self._buffer[: end.end()]
            if (card := self._line(line)) is not None:
                return card
        if self._skipping or len(self._buffer) > _LINE_MAX_BYTES:
            self._skipping = True
            self._drop(len(self._buffer), "no end of line")
        return None

    def _line(self, line: bytes) -> Card | None:
        skipping, self._skipping = self._skipping, False
        text = line.removeprefix(self._framing.start).removesuffix(self._framing.end).strip()
        if not text and not skipping:
            return None
        bits = "" if skipping else _text_bits(text, self._framing)
        card = self._card(bits) if bits else None
        if card is None:
            self._refuse(len(line) + 1, "wrong parity" if bits else "no card number: is the framing right?")
        return card

    def _next_binary(self) -> Card | None:
        framing = self._framing
        size = len(framing.start) + framing.data_bytes + len(framing.end)
        while len(self._buffer) >= size:
            frame = bytes(self._buffer[:size])
            data = frame[len(framing.start) : len(framing.start) + framing.data_bytes]
            if frame.startswith(framing.start) and frame.endswith(framing.end):
                if (card := self._card(_binary_bits(data, framing))) is not None:
                    del self._buffer[:size]
                    return card
                self._drop(1, "wrong parity")
            else:
                self._drop(1, "no frame")
        return None

    def _card(self, bits: str) -> Card | None:
        if not bits:
            return None
        if self._framing.parity:
            return read_frame(bits)
        return read_data(bits, FORMATS.get(len(bits) + 2))


def _text_bits(text: bytes, framing: Framing) -> str:
    """Return the bits that a line's text stands for; nothing where it is none such or has too many."""
    if framing.form == "bits":
        return text.decode() if re.fullmatch(rb"[01]+", text) and len(text) == framing.bits else ""
    if framing.form == "hex":
        matches, base = re.fullmatch(rb"[0-9A-Fa-f]{1,64}", text), 16
    else:
        matches, base = re.fullmatch(rb"[0-9]{1,40}", text), 10
    number = int(text, base) if matches else -1
    if framing.form == "hex" and framing.left_aligned and number >= 0:
        number >>= max(len(text) * 4 - framing.bits, 0)
    return _padded(number, framing.bits)


def _binary_bits(data: bytes, framing: Framing) -> str:
    number = int.from_bytes(data, "big")
    if framing.left_aligned:
        number >>= len(data) * 8 - framing.bits
    return _padded(number, framing.bits)


def _padded(number: int, bits: int) -> str:
    return f"{number:0{bits}b}" if 0 <= number < 1 << bits else ""
