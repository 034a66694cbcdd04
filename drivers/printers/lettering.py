"""Lines of text as pictures, for what a printer's own characters do not reach: any script of which a font is installed.

The fonts are looked for by name where the system keeps its fonts; all of them are optional packages of Debian. A
character that none of them has comes out as an empty box, so that nobody takes the line for complete.
"""

from __future__ import annotations

import functools
import itertools
import unicodedata
from collections.abc import Iterator

import msgspec
from PIL import Image, ImageDraw, ImageFont

from drivers.document import Align, Text, cell_count

LINE_DOTS = 30
"""Height of a text line: the 24 dots of font A and the printer's own spacing."""
BASELINE, UNDERLINE = 22 / 30, 27 / 30

FONTS = (
    "DejaVuSansMono.ttf",  # fonts-dejavu-core: Latin, Greek, Cyrillic, Hebrew, Arabic
    "DejaVuSans.ttf",  # likewise: Georgian, Armenian, symbols
    "DroidSansFallbackFull.ttf",  # fonts-droid-fallback: Chinese and Japanese
    "wqy-microhei.ttc",  # fonts-wqy-microhei: Chinese, Japanese, Korean
    "NotoSansCJK-Regular.ttc",  # fonts-noto-cjk: the same
    *(
        f"NotoSans{script}-Regular.ttf"  # fonts-noto-core
        for script in ("Thai", "Devanagari", "Bengali", "Tamil", "Telugu", "Gujarati", "Gurmukhi", "Khmer", "Lao")
    ),
    *(f"NotoSans{script}-Regular.ttf" for script in ("Myanmar", "Sinhala", "Ethiopic", "Arabic", "Hebrew")),
    "Symbola_hint.ttf",  # fonts-symbola: emoji, as line drawings, which print better than coloured ones
    "unifont.otf",  # fonts-unifont: nearly every character there is, coarse
)

Font = ImageFont.FreeTypeFont | ImageFont.ImageFont
_NOBODY_HAS = "\U0010ffff"


class Look(msgspec.Struct, frozen=True):
    """How a line of text looks."""

    align: Align = "left"
    bold: bool = False
    underline: bool = False
    double_width: bool = False
    double_height: bool = False


def look_of(text: Text) -> Look:
    """How a document wants its text to look."""
    return Look(text.align, text.bold, text.underline, text.double_width, text.double_height)


def line_picture(
    text: str, cell_dots: int, look: Look, font: str | None = None, line_dots: int = LINE_DOTS
) -> Image.Image:
    """One line of text in grey, each character in its cell of `cell_dots`, so that columns stay columns.

    Where on the paper it stands is not looked at. `font` is a TrueType file to try first. Scripts whose letters join or
    change places are laid out by Pillow, which does it right only where it was built with libraqm, as its wheels are; a
    line with a right-to-left script is set as one piece, in the one font that has most of it.
    """
    width = max(1, cell_count(text)) * cell_dots
    picture = Image.new("L", (width, line_dots), 255)
    pen = ImageDraw.Draw(picture)
    for left, piece, face in _pieces(text, font, cell_dots * 5 // 3):
        at, room = left * cell_dots, max(1, cell_count(piece)) * cell_dots
        _draw(picture, pen, piece, face, at, room, stroke=1 if look.bold else 0)
    if look.underline:
        y = round(line_dots * UNDERLINE)
        pen.line((0, y, width, y), fill=0, width=2)
    size = (width * (1 + look.double_width), line_dots * (1 + look.double_height))
    return picture.resize(size, Image.Resampling.NEAREST)


def _draw(
    picture: Image.Image, pen: ImageDraw.ImageDraw, text: str, face: Font, at: int, room: int, stroke: int
) -> None:
    """Draw the text into its cells, squeezed where the font is wider than they are."""
    baseline = round(picture.height * BASELINE)
    needed = int(pen.textlength(text, font=face)) + 2 * stroke
    if needed <= room or not text.strip():
        pen.text((at, baseline), text, fill=0, font=face, anchor="ls", stroke_width=stroke)
        return
    aside = Image.new("L", (needed, picture.height), 255)
    ImageDraw.Draw(aside).text((stroke, baseline), text, fill=0, font=face, anchor="ls", stroke_width=stroke)
    picture.paste(aside.resize((room, picture.height), Image.Resampling.LANCZOS), (at, 0))


def missing(text: str, font: str | None = None) -> str:
    """The characters of the text that no installed font has, each once."""
    return "".join(char for char in dict.fromkeys(text) if not any(_has(face, char) for face in _faces(font, 20)))


def _pieces(text: str, font: str | None, size: int) -> Iterator[tuple[int, str, Font]]:
    """What is drawn at once, with the cell it starts in and its font."""
    if any(unicodedata.bidirectional(char) in ("R", "AL") for char in text):
        yield 0, text, _best_face(text, font, size)
        return
    cell = 0
    for piece in _clusters(text):
        yield cell, piece, _best_face(piece, font, size)
        cell += cell_count(piece)


def _clusters(text: str) -> Iterator[str]:
    """A word of a script that is shaped, else a letter with its marks."""
    for shaped, run in itertools.groupby(text, key=_is_shaped):
        if shaped:
            yield "".join(run)
            continue
        letter = ""
        for char in run:
            if letter and not unicodedata.combining(char):
                yield letter
                letter = ""
            letter += char
        yield letter


def _is_shaped(char: str) -> bool:
    """Indic scripts, Thai, Lao, Tibetan, Myanmar and Khmer: their signs depend on what stands beside them."""
    return "\u0900" <= char <= "\u109f" or "\u1780" <= char <= "\u17ff"


def _best_face(text: str, font: str | None, size: int) -> Font:
    """The first font that has all of the text, else the one that has most of it."""
    faces = _faces(font, size)
    if text.isascii():
        return faces[0]
    return max(faces, key=lambda face: (sum(_has(face, char) for char in text), -faces.index(face)))


@functools.lru_cache(maxsize=16)
def _faces(font: str | None, size: int) -> tuple[Font, ...]:
    """The fonts there are, the one to try first in front; the last is inside Pillow and has Latin only."""
    found = [face for name in (font, *FONTS) if name and (face := _load(name, size)) is not None]
    return (*found, ImageFont.load_default(size))


def _load(name: str, size: int) -> Font | None:
    try:
        return ImageFont.truetype(name, size)
    except OSError:
        return None


@functools.lru_cache(maxsize=4096)
def _has(face: Font, char: str) -> bool:
    """Whether a font has the character: one it does not have looks like one that nobody has."""
    if char.isspace() or unicodedata.combining(char):
        return True
    drawn, unknown = face.getmask(char), face.getmask(_NOBODY_HAS)
    return drawn.size != unknown.size or bytes(drawn) != bytes(unknown)
