"""One label, laid out: what stands where, in dots from its top left corner. The languages of label printers write it.

Pure values, no I/O. Text is plain ASCII; everything else is a bitmap by the time it comes here.
"""

from __future__ import annotations

from typing import Literal

import msgspec


class TextAt(msgspec.Struct, frozen=True):
    """A line of ASCII in the printer's own characters; `wide` and `high` double it."""

    x: int
    y: int
    text: str
    bold: bool = False
    wide: bool = False
    high: bool = False


class BoxAt(msgspec.Struct, frozen=True):
    """A black rectangle, such as the line under a word."""

    x: int
    y: int
    width: int
    height: int


class BitmapAt(msgspec.Struct, frozen=True):
    """A picture of `row_bytes` x 8 by `height` dots; a set bit is black, the highest one leftmost."""

    x: int
    y: int
    row_bytes: int
    height: int
    data: bytes


class QrAt(msgspec.Struct, frozen=True):
    """A QR code of ASCII data, `size` dots a module."""

    x: int
    y: int
    data: str
    size: int
    level: Literal["L", "M", "Q", "H"]


class BarsAt(msgspec.Struct, frozen=True):
    """A barcode, narrow bars of `module` dots; `data` is complete but for the check digit of EAN and UPC."""

    x: int
    y: int
    symbology: Literal["ean13", "ean8", "upca", "code39", "code128", "itf"]
    data: str
    module: int
    height: int
    show_text: bool


Element = TextAt | BoxAt | BitmapAt | QrAt | BarsAt
Media = Literal["gap", "mark", "continuous"]


class Label(msgspec.Struct, frozen=True):
    """One label, or one piece of a continuous roll."""

    width: int
    height: int
    elements: tuple[Element, ...]
    cut: bool = False


class Stock(msgspec.Struct, frozen=True):
    """What is loaded: the printer's resolution and how its labels are told apart."""

    dpi: Literal[203, 300, 600] = 203
    media: Media = "gap"
    gap_mm: float = 3.0

    def dots(self, mm: float) -> int:
        """Millimetres in printer dots."""
        return round(mm * self.dpi / 25.4)


class Cell(msgspec.Struct, frozen=True):
    """The printer font that is used: its name, its magnification, and the dots of one character cell."""

    font: str
    times: int
    width: int
    height: int
