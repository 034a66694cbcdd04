"""ZPL II, the language of Zebra's label printers and of many others: labels as commands, and the host status.

Sans-I/O. Source: Zebra's ZPL II Programming Guide, for `^FO`, `^A`, `^FH`, `^GB`, `^GF`, `^BQ`, `^BC` and relatives,
`^MN`, `^PW`, `^LL`, and for the three lines that answer `~HS`.

Text goes out in the bitmap fonts A and D, which have one width for all characters, and in ASCII only: which of the
other characters these fonts have differs between models.
"""

from __future__ import annotations

import re

import msgspec

from drivers.api import PrinterStatus
from drivers.codecs.decoder import Decoder
from drivers.codecs.label import BarsAt, BitmapAt, BoxAt, Cell, Element, Label, QrAt, Stock, TextAt

STATUS_REQUEST = b"~HS"
CELLS = {203: Cell("D", 1, 12, 18), 300: Cell("A", 3, 18, 27), 600: Cell("D", 2, 24, 36)}
"""By resolution. Font D is 10 dots wide and A is 5, with gaps of 2 and 1 between characters."""
_BASE = {"D": (18, 10), "A": (9, 5)}
QR_OFFSET_DOTS = 10
"""Printers set a QR code this much lower than its field says; so the field is set higher where there is room."""
STX, ETX = 0x02, 0x03
FRAME_BYTES = 128
_MEDIA = {"gap": "Y", "mark": "M", "continuous": "N"}
_BARCODES = {
    "code128": "^BCN,{h},{t},N,N",
    "ean13": "^BEN,{h},{t},N",
    "ean8": "^B8N,{h},{t},N",
    "upca": "^BUN,{h},{t},N,Y",
    "code39": "^B3N,N,{h},{t},N",
    "itf": "^B2N,{h},{t},N,N",
}
_NOT_IN_FONT = re.compile(r"[\\{|}]")
_NEEDS_HEX = re.compile(r"[^ -~]|[\^~_\\]")


def label(page: Label, stock: Stock) -> bytes:
    """One label, from `^XA` to `^XZ`. Nothing a document says can become a command."""
    head = f"^XA^CI28^MN{_MEDIA[stock.media]}^PW{page.width}^LL{page.height}^LH0,0^LS0"
    body = "".join(_element(each, CELLS[stock.dpi]) for each in page.elements)
    return (head + body + ("^MMC" if page.cut else "") + "^XZ\r\n").encode("ascii")


def is_plain(text: str) -> bool:
    r"""Whether the bitmap fonts print this text as it is: they have a cent sign for the backslash, and no braces."""
    return text.isascii() and text.isprintable() and not _NOT_IN_FONT.search(text)


def _element(element: Element, cell: Cell) -> str:
    match element:
        case TextAt():
            return _text(element, cell)
        case BoxAt(x, y, width, height):
            return f"^FO{x},{y}^GB{width},{height},{min(width, height)},B,0^FS"
        case BitmapAt():
            size = element.row_bytes * element.height
            return f"^FO{element.x},{element.y}^GFA,{size},{size},{element.row_bytes},{_compressed(element)}^FS"
        case QrAt(x, y, data, size, level):
            return f"^FO{x},{max(0, y - QR_OFFSET_DOTS)}^BQN,2,{size},{level}^FH_^FD{level}A,{_escaped(data)}^FS"
        case BarsAt():
            return _bars(element)


def _text(element: TextAt, cell: Cell) -> str:
    height, width = (size * cell.times for size in _BASE[cell.font])
    font = f"^A{cell.font}N,{height * (1 + element.high)},{width * (1 + element.wide)}"
    data = f"{font}^FH_^FD{_escaped(element.text)}^FS"
    # Bold is the same line again, a dot to the right.
    return "".join(f"^FO{element.x + shift},{element.y}{data}" for shift in range(1 + element.bold))


def _bars(element: BarsAt) -> str:
    command = _BARCODES[element.symbology].format(h=element.height, t="Y" if element.show_text else "N")
    # In Code 128 a `>` begins an invocation; `>:` starts in subset B and `>0` is the character itself.
    data = ">:" + element.data.replace(">", ">0") if element.symbology == "code128" else element.data
    return f"^FO{element.x},{element.y}^BY{element.module},2.5,{element.height}{command}^FH_^FD{_escaped(data)}^FS"


def _escaped(text: str) -> str:
    """Text for `^FD` under `^FH_`: whatever is no plain character, or means something in ZPL, as hexadecimal."""
    return _NEEDS_HEX.sub(lambda match: "".join(f"_{byte:02X}" for byte in match[0].encode()), text)


def _compressed(bitmap: BitmapAt) -> str:
    """Hexadecimal with ZPL's run lengths: `,` fills a row with white, `:` repeats the row before."""
    rows, before = [], b""
    for start in range(0, len(bitmap.data), bitmap.row_bytes):
        row = bitmap.data[start : start + bitmap.row_bytes]
        rows.append(":" if row == before else _compressed_row(row))
        before = row
    return "".join(rows)


def _compressed_row(row: bytes) -> str:
    digits = row.hex().upper()
    bare = digits.rstrip("0")
    text = re.sub(r"(.)\1{2,}", lambda match: _times(len(match[0])) + match[1], bare)
    return text + ("," if len(bare) < len(digits) else "")


def _times(count: int) -> str:
    """A run length: `G` to `Y` are 1 to 19, `g` to `z` are 20 to 400 in twenties."""
    text = ""
    while count >= 20:
        twenties = min(count // 20, 20)
        text += chr(ord("g") + twenties - 1)
        count -= 20 * twenties
    return text + (chr(ord("G") + count - 1) if count else "")


class HostStatus(msgspec.Struct, frozen=True):
    """One of the three lines of an answer to `~HS`: its fields as they came."""

    fields: tuple[str, ...]


class HostStatusDecoder(Decoder[HostStatus]):
    """Lines between STX and ETX; what stands around them is refused but for line ends."""

    LIMIT_BYTES = 4096

    def _next_frame(self) -> HostStatus | None:
        while self._buffer:
            start = self._buffer.find(STX)
            if start < 0:
                self._skip(len(self._buffer))
                return None
            self._skip(start)
            end = self._buffer.find(ETX)
            if end < 0 and len(self._buffer) <= FRAME_BYTES:
                return None
            body = bytes(self._buffer[1:end]) if end > 0 else b""
            if 0 < end <= FRAME_BYTES and re.fullmatch(rb"[0-9A-Za-z,. -]+", body):
                del self._buffer[: end + 1]
                return HostStatus(tuple(body.decode("ascii").split(",")))
            self._drop(1, "a status line that is none")
        return None

    def _skip(self, count: int) -> None:
        ends = sum(byte in b"\r\n" for byte in self._buffer[:count])
        if ends == count:
            del self._buffer[:count]
        else:
            self._drop(count, "neither a status line nor a line end")


def status_of(lines: list[HostStatus]) -> PrinterStatus | None:
    """What the first two lines of `~HS` say; None when they are not those of a printer.

    First line: field 2 paper out, 3 pause, 11 and 12 too cold and too hot. Second: field 3 head up, 4 ribbon out.
    """
    if len(lines) < 2 or len(lines[0].fields) < 12 or len(lines[1].fields) < 4:
        return None
    first, second = lines[0].fields, lines[1].fields
    flags = {"paused": first[2], "head too cold": first[10], "head too hot": first[11], "ribbon out": second[3]}
    error = next((word for word in ("ribbon out", "head too hot", "head too cold") if flags[word] == "1"), None)
    paper_out, head_up = first[1] == "1", second[2] == "1"
    # A printer that runs out of something pauses by itself; alone, the pause is somebody's button.
    if error is None and flags["paused"] == "1" and not paper_out and not head_up:
        error = "paused"
    return PrinterStatus(online=flags["paused"] != "1", cover_open=head_up, paper_out=paper_out, error=error)
