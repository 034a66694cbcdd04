"""A document laid out on labels, in dots: the same for every label language.

A line goes out as text where the language can print it as it is, and as a picture otherwise. Each `cut` of a document
ends a label. What does not fit on a label is refused, because half a label is worse than none.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

import msgspec
from PIL import Image as PillowImage

from drivers.api import DeviceFault
from drivers.codecs.label import BarsAt, BitmapAt, BoxAt, Cell, Element, Label, QrAt, TextAt
from drivers.document import (
    GS1_DIGITS,
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
    cell_count,
    column_lines,
    decode_png,
    printable,
    wrap,
)
from drivers.printers.barcode_width import width_dots
from drivers.printers.escpos_picture import barcode_picture, fitted, qr_modules, qr_picture
from drivers.printers.lettering import Look, line_picture, look_of

HUMAN_READABLE_DOTS = 30
"""What the digits under a barcode need."""


class Page(msgspec.Struct, frozen=True):
    """What a label offers: its size in dots (`height` 0: a continuous roll), its margin, its characters."""

    width: int
    height: int
    margin: int
    cell: Cell
    is_plain: Callable[[str], bool] = str.isascii
    font: str | None = None
    cutter: bool = False

    @property
    def chars(self) -> int:
        """Characters a line."""
        return max(1, (self.width - 2 * self.margin) // self.cell.width)

    @property
    def room(self) -> int:
        """Dots between the margins."""
        return self.width - 2 * self.margin

    @property
    def line(self) -> int:
        """Height of a line of text with the space below it."""
        return self.cell.width * 5 // 2


def lay_out(
    document: Document, page: Page, copy_label: str | None = None, logo: PillowImage.Image | None = None
) -> list[Label]:
    """The document as labels, each with the mark of a copy and the logo on top.

    Raises DeviceFault when something is longer than the label, and for a picture that cannot be decoded.
    """
    return [_Sheet(page, document.width_chars).filled(piece, copy_label, logo) for piece in _pieces(document.lines)]


def _pieces(blocks: tuple[Block, ...]) -> Iterator[list[Block]]:
    """The blocks of each label: up to each cut. A cut with nothing before it makes no empty label."""
    piece: list[Block] = []
    for block in blocks:
        if not isinstance(block, Cut):
            piece.append(block)
        elif piece:
            yield piece
            piece = []
    if piece:
        yield piece


class _Sheet:
    """One label as it fills from the top."""

    def __init__(self, page: Page, width_chars: int | None) -> None:
        self._page = page
        self._chars = min(page.chars, width_chars or page.chars)
        self._y = page.margin
        self._elements: list[Element] = []

    def filled(self, blocks: list[Block], copy_label: str | None, logo: PillowImage.Image | None) -> Label:
        """The label with these blocks on it."""
        if logo is not None:
            self._picture(logo, "center")
        if copy_label is not None:
            self._text(f"*** {copy_label} ***", Look("center", bold=True))
        for block in blocks:
            self._block(block)
        needed = self._y + self._page.margin
        if self._page.height and needed > self._page.height:
            raise DeviceFault(
                f"this needs a label {needed} dots high, and the label has {self._page.height}: "
                "print less on it, or correct `height_mm`"
            )
        return Label(self._page.width, self._page.height or needed, tuple(self._elements), self._page.cutter)

    def _block(self, block: Block) -> None:
        match block:
            case Text():
                self._text(block.text, look_of(block))
            case Columns():
                for line in column_lines(block.cells, self._chars):
                    self._line(line.rstrip(), Look(bold=block.bold))
            case Rule():
                self._line(printable(block.char) * self._chars, Look())
            case Qr():
                self._qr(block)
            case Barcode():
                self._barcode(block)
            case Image():
                self._image(block)
            case Feed():
                self._y += block.lines * self._page.line
            case Cut():
                pass

    def _x(self, width: int, align: Align) -> int:
        spare = max(0, self._page.room - width)
        return self._page.margin + {"left": 0, "center": spare // 2, "right": spare}[align]

    def _text(self, text: str, look: Look) -> None:
        for line in wrap(printable(text), self._chars // 2 if look.double_width else self._chars):
            self._line(line, look)

    def _line(self, line: str, look: Look) -> None:
        cell = self._page.cell
        width = cell_count(line) * cell.width * (1 + look.double_width)
        height = self._page.line * (1 + look.double_height)
        x = self._x(width, look.align)
        if not self._page.is_plain(line):
            # The grey edges of letters become black or white; dots scattered around them would only blur.
            drawn = line_picture(line, cell.width, look, self._page.font, self._page.line)
            self._bitmap(drawn, x, PillowImage.Dither.NONE)
        elif line.strip():
            self._elements.append(TextAt(x, self._y, line, look.bold, look.double_width, look.double_height))
            if look.underline:
                self._elements.append(BoxAt(x, self._y + cell.height * (1 + look.double_height) + 1, width, 2))
        self._y += height

    def _picture(self, picture: PillowImage.Image, align: Align) -> None:
        drawn = fitted(picture, self._page.room, align)
        self._bitmap(drawn, self._page.margin)
        self._y += drawn.height

    def _bitmap(
        self, picture: PillowImage.Image, x: int, dither: PillowImage.Dither = PillowImage.Dither.FLOYDSTEINBERG
    ) -> None:
        row_bytes = (picture.width + 7) // 8
        white = PillowImage.new("L", (row_bytes * 8, picture.height), 255)
        white.paste(picture, (0, 0))
        # Pillow packs a set bit for white.
        data = bytes(0xFF - byte for byte in white.convert("1", dither=dither).tobytes())
        self._elements.append(BitmapAt(x, self._y, row_bytes, picture.height, data))

    def _image(self, block: Image) -> None:
        try:
            self._picture(decode_png(block.png), block.align)
        except ValueError as error:
            raise DeviceFault(str(error)) from error

    def _qr(self, block: Qr) -> None:
        modules = qr_modules(block)
        size = max(1, min(block.size, 10, self._page.room // modules))
        data = printable(block.data)
        if not self._page.is_plain(data):
            self._picture(qr_picture(block, size), block.align)
            return
        self._y += self._page.margin
        self._elements.append(QrAt(self._x(modules * size, block.align), self._y, data, size, block.error_correction))
        self._y += modules * size + self._page.margin

    def _barcode(self, block: Barcode) -> None:
        whole = printable(block.whole)
        module = next((m for m in (3, 2) if width_dots(block.symbology, whole, m) <= self._page.room), 0)
        if not module or not self._page.is_plain(whole):
            self._drawn_barcode(block, whole)
            return
        x = self._x(width_dots(block.symbology, whole, module), block.align)
        data = whole[: GS1_DIGITS.get(block.symbology)]
        bars = BarsAt(x, self._y, block.symbology, data, module, block.height, block.show_text)
        self._elements.append(bars)
        self._y += block.height + (HUMAN_READABLE_DOTS if block.show_text else self._page.margin)

    def _drawn_barcode(self, block: Barcode, data: str) -> None:
        picture = barcode_picture(block.symbology, data, block.height, self._page.room)
        if picture is not None:
            self._picture(picture, block.align)
        if picture is None or block.show_text:
            self._text(data, Look(block.align))
