"""A document as ESC/POS bytes.

Text goes out in the code pages of the printer's profile, changed as seldom as possible; a line with a character that
none of them has is drawn and sent as a picture (see `line_picture` for what that covers). Commands come from
python-escpos where it has them. Nothing a document says can become a command: control characters print as `?`, and
picture data never holds a real-time command, which would open the drawer from inside a logo.

One receipt of 40 lines takes a few milliseconds, one with a large picture some ten: call it in a thread.
"""

from __future__ import annotations

from collections.abc import Iterator

import msgspec
from PIL import Image as PillowImage

from drivers.api import DeviceFault
from drivers.codecs import escpos
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
    printable,
    wrap,
)
from drivers.printers import escpos_library
from drivers.printers.barcode_width import width_dots
from drivers.printers.escpos_picture import barcode_picture, fitted, qr_modules, qr_picture
from drivers.printers.escpos_profile import CodePage, Profile, encode_runs
from drivers.printers.lettering import Look, line_picture, look_of

FRAGMENT_DOTS = 256
"""Rows of a picture sent in one command: what the smallest buffers take."""

_BARCODES = {"upca": 65, "ean13": 67, "ean8": 68, "code39": 69, "itf": 70, "code128": 73}
"""`m` of `GS k`, function B."""


def render(
    document: Document, profile: Profile, copy_label: str | None = None, logo: PillowImage.Image | None = None
) -> bytes:
    """The document for a printer of this profile, from reset to the last line or cut.

    `logo` stands on top of every piece of paper; `copy_label` ("KOPIE") stands large at the top and the bottom of each.
    A barcode too wide for the paper is printed as text, because the printer would print nothing. Raises DeviceFault for
    a picture that cannot be decoded; `document.problems()` finds those beforehand.
    """
    receipt = _Receipt(profile, min(profile.width_chars, document.width_chars or profile.width_chars))
    for blocks in _pieces_of_paper(document.lines):
        receipt.logo(logo)
        receipt.label(copy_label)
        for block in blocks:
            if isinstance(block, Cut):
                receipt.label(copy_label)
            receipt.block(block)
        if not isinstance(blocks[-1], Cut):
            receipt.label(copy_label)
    return receipt.output()


def _pieces_of_paper(blocks: tuple[Block, ...]) -> Iterator[list[Block]]:
    """The blocks up to and with each cut."""
    piece: list[Block] = []
    for block in blocks:
        piece.append(block)
        if isinstance(block, Cut):
            yield piece
            piece = []
    if piece:
        yield piece


class _Receipt:
    """The bytes of one receipt as they grow, and what the printer is set to by now."""

    def __init__(self, profile: Profile, width: int) -> None:
        self._profile = profile
        self._width = width
        self._builder = escpos_library.new_builder(profile.data, profile.width_dots)
        self._page: CodePage | None = None
        self._look: Look | None = None
        self._draws = profile.can("bitImageRaster") or profile.can("bitImageColumn")
        self._raw(escpos.INIT + escpos.ASCII_IS_ASCII + (escpos.CANCEL_KANJI if profile.cancel_kanji else b""))

    def output(self) -> bytes:
        return bytes(self._builder.output)

    def logo(self, picture: PillowImage.Image | None) -> None:
        """The venue's picture, in the middle; a printer that prints none goes without."""
        if picture is not None and self._draws:
            self._picture(picture, "center")

    def label(self, text: str | None) -> None:
        """The mark of a copy."""
        if text is not None:
            self._text(f"*** {text} ***", Look("center", bold=True, double_width=True, double_height=True))

    def block(self, block: Block) -> None:
        """Add one block."""
        match block:
            case Text():
                self._text(block.text, look_of(block))
            case Columns():
                for line in column_lines(block.cells, self._width):
                    self._line(line.rstrip(), Look(bold=block.bold))
            case Rule():
                self._line(printable(block.char) * self._width, Look())
            case Qr():
                self._qr(block)
            case Barcode():
                self._barcode(block)
            case Image():
                self._image(block)
            case Feed():
                self._builder.print_and_feed(block.lines)
            case Cut():
                self._builder.cut("PART" if block.mode == "partial" else "FULL")

    def _raw(self, data: bytes) -> None:
        self._builder._raw(data)  # noqa: SLF001 - the library's documented way to add bytes of one's own.

    def _set(self, look: Look) -> None:
        """Set the look of what follows, if it is not that already."""
        if look == self._look:
            return
        fields = msgspec.structs.asdict(look)
        self._builder.set(**fields, normal_textsize=not (look.double_width or look.double_height))
        self._look = look

    def _text(self, text: str, look: Look) -> None:
        for line in wrap(printable(text), self._width // 2 if look.double_width else self._width):
            self._line(line, look)

    def _line(self, line: str, look: Look) -> None:
        """One printed line, in code pages or as a picture; `?` for what a printer without pictures does not have."""
        runs = encode_runs(self._profile, line, self._page)
        if runs is None and self._draws:
            self._drawn_line(line, look)
            return
        if runs is None:
            known = {char for page in self._profile.pages for char in page.codes}
            line = "".join(char if char.isascii() or char in known else "?" for char in line)
            runs = encode_runs(self._profile, line, self._page) or []
        self._set(look)
        for page, data in runs:
            if page is not None and page != self._page:
                self._raw(bytes((0x1B, 0x74, page.slot)))
            self._page = page
            self._raw(data)
        self._raw(b"\n")

    def _drawn_line(self, line: str, look: Look) -> None:
        cell_dots = self._profile.width_dots // self._profile.width_chars
        self._picture(line_picture(line, cell_dots, look, self._profile.font), look.align)

    def _picture(self, picture: PillowImage.Image, align: Align) -> None:
        """A picture by the command the model has; one that prints no pictures gets a note instead."""
        if not self._draws:
            self._line("[picture]", Look(align))
            return
        raster = self._profile.can("bitImageRaster")
        # The picture is placed by white space of its own: not every printer aligns pictures.
        self._set(Look())
        dense = raster or self._profile.can("highDensity")
        bare = escpos_library.new_builder(self._profile.data, self._profile.width_dots)
        bare.image(
            fitted(picture, self._profile.width_dots, align),
            high_density_vertical=dense,
            high_density_horizontal=dense,
            impl="bitImageRaster" if raster else "bitImageColumn",
            fragment_height=FRAGMENT_DOTS,
        )
        self._raw(escpos.without_real_time(bare.output))

    def _image(self, block: Image) -> None:
        try:
            picture = decode_png(block.png)
        except ValueError as error:
            raise DeviceFault(str(error)) from error
        self._picture(picture, block.align)

    def _qr(self, block: Qr) -> None:
        """A QR code no wider than the paper: the printer prints nothing at all of a wider one."""
        size = max(1, min(block.size, self._profile.width_dots // qr_modules(block)))
        if not self._profile.can("qrCode"):
            self._picture(qr_picture(block, size), block.align)
            return
        self._set(Look(block.align))
        level = "LMQH".index(block.error_correction)
        self._builder.qr(printable(block.data), ec=level, size=size, native=True)
        self._raw(b"\n")

    def _barcode(self, block: Barcode) -> None:
        data = printable(block.whole)
        if not self._profile.can("barcodeB"):
            self._drawn_barcode(block, data)
            return
        self._set(Look(block.align))
        module_dots = next((w for w in (3, 2) if width_dots(block.symbology, data, w) <= self._profile.width_dots), 0)
        if module_dots:
            self._raw(_barcode_command(block, data, module_dots))
        else:
            self._text(data, Look(block.align))

    def _drawn_barcode(self, block: Barcode, data: str) -> None:
        picture = barcode_picture(block.symbology, data, block.height, self._profile.width_dots)
        if picture is not None:
            self._picture(picture, block.align)
        if picture is None or block.show_text:
            self._text(data, Look(block.align))


def _barcode_command(block: Barcode, data: str, module_dots: int) -> bytes:
    """Text position, height, module width and the code (`GS H`, `GS h`, `GS w`, `GS k`, function B)."""
    number = _BARCODES[block.symbology]
    # Code set B throughout: the pairs of digits of set C are bytes that can read as a real-time command.
    raw = b"{B" + data.replace("{", "{{").encode() if number == 73 else data.encode()
    settings = bytes(
        (0x1D, 0x48, 2 * block.show_text, 0x1D, 0x66, 0, 0x1D, 0x68, block.height, 0x1D, 0x77, module_dots)
    )
    return settings + bytes((0x1D, 0x6B, number, len(raw))) + raw
