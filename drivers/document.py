"""The receipt a tablet sends: what a document may hold, what is wrong with one, and how it reads as plain text.

Pure: no I/O. A `Document` is a list of blocks, each a JSON object whose `type` names it. Structs carry the bounds that
JSON Schema can express; `problems()` finds the rest, such as a wrong check digit. Printers turn a document into their
own language and share `wrap`, `column_lines` and `printable` from here, so that every printer breaks lines alike.
"""

from __future__ import annotations

import io
import re
import unicodedata
from collections.abc import Callable, Iterator
from typing import Annotated, Literal, Protocol, runtime_checkable

import msgspec
from PIL import Image as PillowImage

MAX_BLOCKS = 500
MAX_TEXT_CHARS = 2_000
MAX_DOCUMENT_CHARS = 40_000
MAX_QR_BYTES = 1_000
MAX_IMAGE_BYTES = 128 * 1024
MAX_IMAGE_PIXELS = 1_000_000
MAX_DOCUMENT_PIXELS = 2_000_000

LOGO_NAME = "^[A-Za-z0-9_-]{1,64}$"

Align = Literal["left", "center", "right"]
Symbology = Literal["ean13", "ean8", "upca", "code39", "code128", "itf"]
WidthChars = Annotated[int, msgspec.Meta(ge=16, le=128, description="Characters of the normal font in one line.")]
Line = Annotated[str, msgspec.Meta(max_length=MAX_TEXT_CHARS, description="Text; a newline starts a new line.")]

_PNG_START = b"\x89PNG\r\n\x1a\n"
_CONTROL = re.compile(r"[\x00-\x09\x0b-\x1f\x7f-\x9f\ud800-\udfff]")
# Spaces and hyphens that differ only in how a typesetter breaks lines print as the plain ones every printer has.
GS1_DIGITS = {"ean13": 12, "ean8": 7, "upca": 11}
"""Digits of the GS1 codes without their check digit."""
_PLAIN = {0xA0: " ", 0x2007: " ", 0x2009: " ", 0x202F: " ", 0x2010: "-", 0x2011: "-", 0x2212: "-"}
_PLAIN |= dict.fromkeys((0xAD, 0x200B, 0x200C, 0x200D, 0x2060, 0xFEFF, 0xFE0E, 0xFE0F), "")


class _Block(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True, tag_field="type"):
    """What all blocks share: immutable, and an unknown field is an error."""


class Text(_Block, frozen=True, tag="text"):
    """One paragraph. Longer than the paper is wide, it wraps at spaces."""

    text: Line
    align: Align = "left"
    bold: bool = False
    underline: bool = False
    double_width: bool = False
    double_height: bool = False


class Cell(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """One cell of a `Columns` block."""

    text: Line
    align: Align = "left"
    chars: Annotated[int, msgspec.Meta(ge=1, le=128, description="Fixed width in characters.")] | None = None
    share: Annotated[int, msgspec.Meta(ge=1, le=100, description="Share of the width the fixed cells leave.")] = 1


class Columns(_Block, frozen=True, tag="columns"):
    """Cells side by side, one space between them; each wraps inside its own width."""

    cells: Annotated[tuple[Cell, ...], msgspec.Meta(min_length=1, max_length=8)]
    bold: bool = False


class Rule(_Block, frozen=True, tag="rule"):
    """A line across the paper, made of one character."""

    char: Annotated[str, msgspec.Meta(min_length=1, max_length=1, description="An ASCII character.")] = "-"


class Qr(_Block, frozen=True, tag="qr"):
    """A QR code, model 2. Printed smaller than `size` asks where the paper is too narrow for it."""

    data: Annotated[str, msgspec.Meta(min_length=1, max_length=MAX_QR_BYTES, description="At most 1000 UTF-8 bytes.")]
    size: Annotated[int, msgspec.Meta(ge=1, le=16, description="Printer dots a side of one module.")] = 6
    error_correction: Literal["L", "M", "Q", "H"] = "M"
    align: Align = "center"


class Barcode(_Block, frozen=True, tag="barcode"):
    """A one-dimensional code. EAN and UPC are given with or without their check digit."""

    symbology: Symbology
    data: Annotated[str, msgspec.Meta(min_length=1, max_length=48)]
    height: Annotated[int, msgspec.Meta(ge=8, le=255, description="Printer dots.")] = 64
    show_text: bool = True
    align: Align = "center"

    @property
    def whole(self) -> str:
        """The code as it is printed: an EAN or UPC that was given without its check digit has it here."""
        digits = GS1_DIGITS.get(self.symbology)
        return self.data + check_digit(self.data) if digits == len(self.data) else self.data


class Image(_Block, frozen=True, tag="image"):
    """A PNG. Printed in black and white, one dot a pixel; wider than the paper, it is scaled down."""

    png: Annotated[bytes, msgspec.Meta(min_length=1, max_length=MAX_IMAGE_BYTES, description="PNG file in base64.")]
    align: Align = "center"


class Feed(_Block, frozen=True, tag="feed"):
    """Empty lines."""

    lines: Annotated[int, msgspec.Meta(ge=1, le=40)] = 1


class Cut(_Block, frozen=True, tag="cut"):
    """Feed past the cutter and cut. A printer that has only one kind of cut uses that one."""

    mode: Literal["full", "partial"] = "full"


Block = Text | Columns | Rule | Qr | Barcode | Image | Feed | Cut


class Document(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """A receipt. `width_chars` lays it out narrower than the printer's own line; wider is ignored.

    `logo` names a picture stored on the gateway, printed on top; empty for none. Left out, it is the printer's own.
    """

    lines: Annotated[tuple[Block, ...], msgspec.Meta(min_length=1, max_length=MAX_BLOCKS)]
    width_chars: WidthChars | None = None
    logo: (
        Annotated[
            str, msgspec.Meta(pattern=f"{LOGO_NAME}|^$", description="A logo stored on the gateway; empty: none.")
        ]
        | None
    ) = None


@runtime_checkable
class DocumentPrinter(Protocol):
    """A printer that can turn a document into its own bytes."""

    def render(self, document: Document, copy_label: str | None = None) -> bytes:
        """The document in the printer's language; `copy_label` ("KOPIE") marks every piece of paper as a copy.

        Blocking, and some ten milliseconds where images are involved: call it through `asyncio.to_thread`.
        Expects a document in which `problems()` found nothing; raises DriverError for an image it cannot read.
        """
        ...


def problems(document: Document) -> list[str]:
    """Everything the struct bounds cannot say, each as `lines[3]: what is wrong, and what would be right`.

    Decodes the images, a few milliseconds each. Empty when the document can be printed.
    """
    if (pixels := sum(_pixels(block) for block in document.lines)) > MAX_DOCUMENT_PIXELS:
        # Said before anything is decoded: many small files can hold seconds of work.
        return [f"lines: images of {pixels} pixels together; at most {MAX_DOCUMENT_PIXELS} fit in one document"]
    found = [f"lines[{index}]: {what}" for index, block in enumerate(document.lines) for what in _of(block)]
    chars = sum(len(text) for block in document.lines for text in _texts(block))
    if chars > MAX_DOCUMENT_CHARS:
        found.append(f"lines: {chars} characters of text; at most {MAX_DOCUMENT_CHARS} fit in one document")
    return found


def _of(block: Block) -> Iterator[str]:
    for text in _texts(block):
        if match := _CONTROL.search(text):
            yield f"control character U+{ord(match[0]):04X} in the text; only a newline is allowed"
    match block:
        case Rule(char=char) if not "!" <= char <= "~":
            yield "char: give one visible ASCII character, such as '-'"
        case Qr(data=data):
            yield from _qr_problems(data)
        case Barcode():
            yield from _barcode_problems(block)
        case Image(png=png):
            yield from _image_problems(png)


def _texts(block: Block) -> Iterator[str]:
    match block:
        case Text(text=text):
            yield text
        case Columns(cells=cells):
            yield from (cell.text for cell in cells)


def _qr_problems(data: str) -> Iterator[str]:
    if _CONTROL.search(data):
        yield "data: a control character cannot be printed in a QR code; encode binary data as text first"
    elif (size := len(data.encode())) > MAX_QR_BYTES:
        yield f"data: {size} bytes in UTF-8; at most {MAX_QR_BYTES} fit"


def check_digit(digits: str) -> str:
    """The GS1 check digit of an EAN or UPC number given without it (GS1 General Specifications, 7.9)."""
    total = sum(int(digit) * (3 if place % 2 == 0 else 1) for place, digit in enumerate(reversed(digits)))
    return str(-total % 10)


def _gs1_problem(data: str, length: int) -> str | None:
    if not re.fullmatch(rf"[0-9]{{{length - 1},{length}}}", data):
        return f"give {length} digits, or {length - 1} without the check digit"
    expected = check_digit(data[: length - 1])
    return f"the check digit should be {expected}, not {data[-1]}" if data[length - 1 :] not in ("", expected) else None


def _must_match(pattern: str, advice: str) -> Callable[[str], str | None]:
    return lambda data: None if re.fullmatch(pattern, data) else advice


_BARCODE_RULES: dict[str, Callable[[str], str | None]] = {
    "ean13": lambda data: _gs1_problem(data, GS1_DIGITS["ean13"] + 1),
    "ean8": lambda data: _gs1_problem(data, GS1_DIGITS["ean8"] + 1),
    "upca": lambda data: _gs1_problem(data, GS1_DIGITS["upca"] + 1),
    "itf": _must_match(r"([0-9]{2})+", "give an even number of digits; a leading 0 makes it even"),
    "code39": _must_match(r"[0-9A-Z \-.$/+%]+", "use only 0-9, A-Z (capitals), space and - . $ / + %"),
    "code128": _must_match(r"[ -~]+", "use only ASCII characters from space to ~"),
}


def _barcode_problems(block: Barcode) -> Iterator[str]:
    if advice := _BARCODE_RULES[block.symbology](block.data):
        yield f"data: not a valid {block.symbology}: {advice}"


def _png_size(png: bytes) -> tuple[int, int]:
    """Width and height a PNG claims in its IHDR chunk, without decoding it; raises ValueError."""
    if not png.startswith(_PNG_START) or png[12:16] != b"IHDR" or len(png) < 24:
        raise ValueError("png: not a PNG file; send a PNG, base64-encoded")
    return int.from_bytes(png[16:20], "big"), int.from_bytes(png[20:24], "big")


def _pixels(block: Block) -> int:
    if not isinstance(block, Image):
        return 0
    try:
        width, height = _png_size(block.png)
    except ValueError:
        return 0
    # A picture that is too large by itself is refused by its own line, and never decoded.
    return width * height if width * height <= MAX_IMAGE_PIXELS else 0


def decode_png(png: bytes) -> PillowImage.Image:
    """The picture in grey (mode `L`), transparency on white. Raises ValueError that says what would be right.

    Safe against decompression bombs: the size is bounded from the header before a pixel is decoded, and Pillow
    decodes no more than the header promised.
    """
    width, height = _png_size(png)
    if not 0 < width * height <= MAX_IMAGE_PIXELS:
        raise ValueError(f"png: {width} x {height} pixels; at most {MAX_IMAGE_PIXELS} in all can be printed")
    try:
        with PillowImage.open(io.BytesIO(png), formats=["PNG"]) as opened:
            picture = opened.convert("RGBA")
    except Exception as error:  # Pillow raises whatever its chunk parsers run into, from SyntaxError to zlib.error.
        raise ValueError("png: the file is damaged; export it again") from error
    paper = PillowImage.new("RGBA", picture.size, "white")
    return PillowImage.alpha_composite(paper, picture).convert("L")


def _image_problems(png: bytes) -> Iterator[str]:
    try:
        decode_png(png)
    except ValueError as error:
        yield str(error)


def printable(text: str) -> str:
    """Text as it goes on paper: composed (NFC), typesetter's spaces and hyphens made plain, control characters `?`.

    The last is a guard: a control character in a text would be a command to the printer, or to its drawer.
    """
    if text.isascii() and text.isprintable():
        return text
    composed = unicodedata.normalize("NFC", text).translate(_PLAIN)
    return _CONTROL.sub("?", composed)


def cell_count(text: str) -> int:
    """Character cells the text takes on paper: East Asian wide characters take two, combining marks none."""
    if text.isascii():
        return len(text)
    return sum(_cells(char) for char in text)


def _cells(char: str) -> int:
    if unicodedata.combining(char):
        return 0
    return 2 if unicodedata.east_asian_width(char) in "WF" else 1


def wrap(text: str, width: int) -> list[str]:
    """Lines of at most `width` cells: broken at spaces, inside a word only where it is longer than a line."""
    return [line for paragraph in text.split("\n") for line in _wrap_paragraph(paragraph, width)]


def _wrap_paragraph(text: str, width: int) -> list[str]:
    if cell_count(text) <= width:
        return [text]
    lines, line = [], ""
    for token in re.findall(r" +|[^ ]+", text):
        if cell_count(line + token) <= width:
            line += token
            continue
        if line.strip():
            lines.append(line.rstrip())
        *full, line = _chop(token, width) if token.strip() else [""]
        lines += full
    return [*lines, line.rstrip()] if line.strip() or not lines else lines


def _chop(word: str, width: int) -> list[str]:
    """The word in pieces of at most `width` cells."""
    pieces = [""]
    for char in word:
        if pieces[-1] and cell_count(pieces[-1]) + _cells(char) > width:
            pieces.append("")
        pieces[-1] += char
    return pieces


def pad(text: str, width: int, align: Align) -> str:
    """The text filled with spaces to `width` cells."""
    room = max(0, width - cell_count(text))
    before = {"left": 0, "center": room // 2, "right": room}[align]
    return " " * before + text + " " * (room - before)


def column_lines(cells: tuple[Cell, ...], width: int) -> list[str]:
    """The cells side by side in lines of exactly `width` cells; short ones are padded below."""
    widths = _column_widths(cells, width - (len(cells) - 1))
    wrapped = [wrap(printable(cell.text), room) for cell, room in zip(cells, widths, strict=True)]
    rows = range(max(len(lines) for lines in wrapped))
    return [
        " ".join(
            pad(lines[row] if row < len(lines) else "", room, cell.align)
            for cell, lines, room in zip(cells, wrapped, widths, strict=True)
        )
        for row in rows
    ]


def _column_widths(cells: tuple[Cell, ...], room: int) -> list[int]:
    """Widths that add up to `room`. Fixed widths too wide for the paper shrink in proportion, down to one."""
    flexible = sum(1 for cell in cells if cell.chars is None)
    fixed = sum(cell.chars or 0 for cell in cells)
    if flexible and fixed + flexible <= room:
        shared = iter(_split(room - fixed, [cell.share for cell in cells if cell.chars is None]))
        return [cell.chars or next(shared) for cell in cells]
    if not flexible and fixed <= room:
        return [cell.chars or 1 for cell in cells]
    return _split(room, [cell.chars or 1 for cell in cells])


def _split(room: int, weights: list[int]) -> list[int]:
    """`room` in parts of at least one, proportional to the weights, adding up to it exactly."""
    spare, total, parts = room - len(weights), sum(weights), []
    for weight in weights:
        part = spare * weight // total if total else 0
        parts.append(1 + part)
        spare, total = spare - part, total - weight
    return parts


def plain_text(document: Document, width: int) -> list[str]:
    """The receipt as lines of at most `width` cells: what a person would read on paper, codes in brackets."""
    width = min(width, document.width_chars or width)
    return [line.rstrip() for block in document.lines for line in _plain_block(block, width)]


def _plain_block(block: Block, width: int) -> list[str]:
    match block:
        case Text():
            room = width // 2 if block.double_width else width
            return [pad(line, width, block.align) for line in wrap(printable(block.text), room)]
        case Columns():
            return column_lines(block.cells, width)
        case Rule():
            return [block.char * width]
        case Qr():
            return [pad(line, width, block.align) for line in wrap(f"[qr {printable(block.data)}]", width)]
        case Barcode():
            return [pad(line, width, block.align) for line in wrap(f"[{block.symbology} {block.data}]", width)]
        case Image():
            return [pad("[image]", width, block.align)]
        case Feed():
            return [""] * block.lines
        case Cut():
            return ["- " * (width // 2)]
