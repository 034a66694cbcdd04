"""A stored document as a picture, for a screen: the layout of the paper, drawn with the renderer's own parts.

It shows what the printer was told, on paper 80 mm wide; how dark it came out nobody can know from here.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

import msgspec
from PIL import Image as PillowImage

from drivers.document import (
    Align,
    Barcode,
    Block,
    Columns,
    Cut,
    Document,
    Feed,
    Image,
    Qr,
    Rule,
    Text,
    column_lines,
    decode_png,
    pad,
    printable,
    wrap,
)
from drivers.printers.escpos_picture import barcode_picture, fitted, qr_modules, qr_picture
from drivers.printers.lettering import LINE_DOTS, Look, line_picture, look_of

CELL_DOTS = 12
WIDTH_CHARS = 48
MARGIN_DOTS = 24
GAP_DOTS = 12
HEIGHT_DOTS_MAX = 12_000
"""About a metre and a half of paper; what is longer ends with a note."""
RAW_LINES_MAX = 200
_TEXT_RUN = re.compile(rb"[\x20-\x7e\x80-\xff]{3,}")


def document_picture(
    document: Document, width_chars: int = WIDTH_CHARS, copy_label: str | None = None, font: str | None = None
) -> PillowImage.Image:
    """The document on white paper, in grey (mode `L`), one pixel a printer dot.

    Takes some ten milliseconds, more with large pictures: call it in a thread. What cannot be decoded shows
    as a note in its place.
    """
    width = min(width_chars, document.width_chars or width_chars)
    pieces = list(_label(copy_label, width, font))
    for block in document.lines:
        pieces += _drawn(block, width, font)
    return _joined([*pieces, *_label(copy_label, width, font)], width_chars * CELL_DOTS)


def raw_picture(content: bytes, width_chars: int = WIDTH_CHARS) -> PillowImage.Image:
    """What can be read of a job in the printer's own language: its runs of text, below a note that says so."""
    note = f"[raw job, {len(content)} bytes: only its text is shown]"
    found = [run.decode("cp437") for run in _TEXT_RUN.findall(content)]
    lines = [line for text in found[:RAW_LINES_MAX] for line in wrap(printable(text), width_chars)][:RAW_LINES_MAX]
    pieces = [_line(line, width_chars, None, bold=place == 0) for place, line in enumerate([note, "", *lines])]
    return _joined(pieces, width_chars * CELL_DOTS)


def _label(text: str | None, width: int, font: str | None) -> Iterator[PillowImage.Image]:
    if text is not None:
        mark = Text(text=f"*** {text} ***", align="center", bold=True, double_width=True, double_height=True)
        yield from _text(mark, width, font)


def _drawn(block: Block, width: int, font: str | None) -> Iterator[PillowImage.Image]:
    match block:
        case Text():
            yield from _text(block, width, font)
        case Columns():
            yield from (_line(line, width, font, bold=block.bold) for line in column_lines(block.cells, width))
        case Rule():
            yield _line(printable(block.char) * width, width, font)
        case Feed():
            yield PillowImage.new("L", (1, LINE_DOTS * block.lines), 255)
        case Cut():
            yield _cut_mark(width * CELL_DOTS)
        case Qr() | Barcode() | Image():
            yield from _symbol(block, width, font)


def _text(block: Text, width: int, font: str | None) -> Iterator[PillowImage.Image]:
    room = width // 2 if block.double_width else width
    for line in wrap(printable(block.text), room):
        look = msgspec.structs.replace(look_of(block), underline=block.underline and bool(line.strip()))
        yield line_picture(pad(line, room, block.align), CELL_DOTS, look, font)


def _line(text: str, width: int, font: str | None, *, bold: bool = False) -> PillowImage.Image:
    return line_picture(pad(text, width, "left"), CELL_DOTS, Look(bold=bold), font)


def _symbol(block: Qr | Barcode | Image, width: int, font: str | None) -> Iterator[PillowImage.Image]:
    dots = width * CELL_DOTS
    picture: PillowImage.Image | None
    try:
        picture = _picture(block, dots)
    except ValueError as error:
        picture = None
        yield from _text(Text(text=f"[{error}]"), width, font)
    if picture is not None:
        align: Align = block.align
        yield fitted(picture, dots, align)
        yield PillowImage.new("L", (1, GAP_DOTS), 255)
    if isinstance(block, Barcode) and (picture is None or block.show_text):
        yield from _text(Text(text=block.whole, align=block.align), width, font)


def _picture(block: Qr | Barcode | Image, dots: int) -> PillowImage.Image | None:
    match block:
        case Qr():
            return qr_picture(block, max(1, min(block.size, dots // qr_modules(block))))
        case Barcode():
            return barcode_picture(block.symbology, block.whole, block.height, dots)
        case Image():
            return decode_png(block.png)


def _cut_mark(width_dots: int) -> PillowImage.Image:
    """A dashed line where the paper is cut."""
    mark = PillowImage.new("L", (width_dots, 2 * LINE_DOTS), 255)
    for left in range(0, width_dots, 16):
        mark.paste(150, (left, LINE_DOTS, left + 8, LINE_DOTS + 2))
    return mark


def _joined(pieces: list[PillowImage.Image], width_dots: int) -> PillowImage.Image:
    """The pieces one below the other, with a margin around."""
    shown: list[PillowImage.Image] = []
    height = 0
    for piece in pieces:
        height += piece.height
        if height > HEIGHT_DOTS_MAX:
            shown.append(_line("[…]", 4, None, bold=True))
            break
        shown.append(piece)
    size = (width_dots + 2 * MARGIN_DOTS, sum(piece.height for piece in shown) + 2 * MARGIN_DOTS)
    paper = PillowImage.new("L", size, 255)
    top = MARGIN_DOTS
    for piece in shown:
        paper.paste(piece.convert("L"), (MARGIN_DOTS, top))
        top += piece.height
    return paper
