"""TSPL2, the language of TSC's label printers and of most cheap ones: labels as commands, and the status byte.

Sans-I/O. Source: the TSPL/TSPL2 Programming Language manual of TSC, for `SIZE`, `GAP`, `TEXT`, `BITMAP`, `BARCODE`,
`PRINT`, `QRCODE`, and for the bits that answer `ESC ! ?`. An immediate command is obeyed wherever it stands, so no
bitmap ever holds one.
"""

from __future__ import annotations

import re

import msgspec

from drivers.api import PrinterStatus
from drivers.codecs.label import BarsAt, BitmapAt, BoxAt, Cell, Element, Label, QrAt, Stock, TextAt

STATUS_REQUEST = b"\x1b!?"
CELLS = {203: Cell("2", 1, 12, 20), 300: Cell("3", 1, 16, 24), 600: Cell("5", 1, 32, 48)}
"""By resolution: the built-in fonts 2, 3 and 5, which have one width for all characters."""
_IMMEDIATE = re.compile(rb"\x1b(?=!)")
_BARCODES = {"code128": "128", "ean13": "EAN13", "ean8": "EAN8", "upca": "UPCA", "code39": "39", "itf": "25"}
_WIDE = {1: 3, 2: 5, 3: 8, 4: 10}
"""How many dots a wide bar of Code 39 and Interleaved 2 of 5 has, by those of a narrow one."""
WORDS = {0x80: "error", 0x08: "ribbon out", 0x02: "paper jam", 0x10: "paused"}


def label(page: Label, stock: Stock) -> bytes:
    """One label, from `SIZE` to `PRINT`. Nothing a document says can become a command."""
    mm = 25.4 / stock.dpi
    gap = {"gap": f"GAP {stock.gap_mm:g} mm,0 mm", "mark": f"BLINE {stock.gap_mm:g} mm,0 mm", "continuous": "GAP 0,0"}
    head = (
        f"SIZE {page.width * mm:.1f} mm,{page.height * mm:.1f} mm",
        gap[stock.media],
        "DIRECTION 1,0",
        "REFERENCE 0,0",
        "CODEPAGE UTF-8",
        "SET CUTTER 1" if page.cut else "SET CUTTER OFF",
        "CLS",
    )
    body = [_element(each, CELLS[stock.dpi]) for each in page.elements]
    return b"\r\n".join([line.encode("ascii") for line in head] + body + [b"PRINT 1,1", b""])


def is_plain(text: str) -> bool:
    """Whether text can stand between TSPL's quotes as it is: ASCII, and neither a quote nor the escape character."""
    return text.isascii() and text.isprintable() and '"' not in text and "\\" not in text


def _element(element: Element, cell: Cell) -> bytes:
    match element:
        case TextAt():
            return _text(element, cell)
        case BoxAt(x, y, width, height):
            return f"BAR {x},{y},{width},{height}".encode()
        case BitmapAt():
            # Here a set bit is white.
            data = _IMMEDIATE.sub(b"\x1a", bytes(0xFF - byte for byte in element.data))
            head = f"BITMAP {element.x},{element.y},{element.row_bytes},{element.height},0,"
            return head.encode() + data
        case QrAt(x, y, data, size, level):
            return f'QRCODE {x},{y},{level},{size},A,0,"{_quoted(data)}"'.encode()
        case BarsAt():
            wide = _WIDE[element.module] if element.symbology in ("code39", "itf") else element.module
            return (
                f'BARCODE {element.x},{element.y},"{_BARCODES[element.symbology]}",{element.height},'
                f'{int(element.show_text)},0,{element.module},{wide},"{_quoted(element.data)}"'
            ).encode()


def _text(element: TextAt, cell: Cell) -> bytes:
    wide, high = cell.times * (1 + element.wide), cell.times * (1 + element.high)
    lines = [
        f'TEXT {element.x + shift},{element.y},"{cell.font}",0,{wide},{high},"{_quoted(element.text)}"'
        for shift in range(1 + element.bold)
    ]
    return "\r\n".join(lines).encode()


def _quoted(text: str) -> str:
    """The text, if it can stand between quotes; the layout draws all other. Raises ValueError."""
    if not is_plain(text):
        raise ValueError("this text cannot stand in a TSPL command")
    return text


class StatusByte(msgspec.Struct, frozen=True):
    """The answer to `ESC ! ?`."""

    value: int


def status_of(answer: StatusByte) -> PrinterStatus:
    """What the byte says: bit 0 head open, 1 jam, 2 paper out, 3 ribbon out, 4 paused, 5 printing, 7 other error."""
    value = answer.value
    error = next((word for bit, word in WORDS.items() if value & bit), None)
    return PrinterStatus(
        online=not value & 0x9F, cover_open=bool(value & 0x01), paper_out=bool(value & 0x04), error=error
    )
