"""Characters as a thermal head prints them: fixed cells of 12×24 (font A) or 9×17 (font B) dots."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from pathlib import Path

import barcode
from PIL import Image, ImageChops, ImageDraw, ImageFont

CELLS = {"A": (12, 24), "B": (9, 17)}
_POINTS = {"A": 20, "B": 15}
# DejaVu Sans Mono comes with Debian's fonts-dejavu-core, and otherwise with python-barcode, which has no bold.
_SYSTEM = Path("/usr/share/fonts/truetype/dejavu")
_PACKAGED = Path(barcode.__file__).parent / "fonts" / "DejaVuSansMono.ttf"

Font = ImageFont.FreeTypeFont | ImageFont.ImageFont


@dataclass(frozen=True)
class Style:
    """How a character looks. `width` and `height` are magnifications from 1 to 8, `underline` dots thick."""

    font: str = "A"
    bold: bool = False
    width: int = 1
    height: int = 1
    underline: int = 0
    reverse: bool = False

    @property
    def cell(self) -> tuple[int, int]:
        """The size of a character in dots."""
        width, height = CELLS[self.font]
        return width * self.width, height * self.height


@cache
def _typeface(points: int, *, bold: bool) -> tuple[Font, bool]:
    """A font, and whether it has the wanted weight."""
    names = [(_SYSTEM / "DejaVuSansMono-Bold.ttf", True)] if bold else []
    names += [(_SYSTEM / "DejaVuSansMono.ttf", not bold), (_PACKAGED, not bold)]
    for path, right_weight in names:
        if path.is_file():
            return ImageFont.truetype(str(path), points), right_weight
    return ImageFont.load_default(points), not bold


@cache
def glyph(character: str, style: Style) -> Image.Image:
    """The character's cell, ink 255 on 0. Block and line characters fill it, so that rules join."""
    size = style.cell
    cell = _line_drawing(character, size) or _drawn(character, style).resize(size, Image.Resampling.LANCZOS)
    if style.underline:
        ImageDraw.Draw(cell).rectangle((0, size[1] - style.underline, size[0], size[1]), fill=255)
    return ImageChops.invert(cell) if style.reverse else cell


def _drawn(character: str, style: Style) -> Image.Image:
    scale = max(style.width, style.height)
    width, height = CELLS[style.font]
    font, right_weight = _typeface(_POINTS[style.font] * scale, bold=style.bold)
    cell = Image.new("L", (width * scale, height * scale))
    stroke = 0 if right_weight else max(1, scale // 2)
    baseline = round(height * scale * 0.79)
    draw = ImageDraw.Draw(cell)
    if isinstance(font, ImageFont.FreeTypeFont):
        draw.text((width * scale / 2, baseline), character, fill=255, font=font, anchor="ms", stroke_width=stroke)
    else:
        draw.text((0, 0), character, fill=255, font=font)
    return cell


def _line_drawing(character: str, size: tuple[int, int]) -> Image.Image | None:
    width, height = size
    middle, centre = height // 2, width // 2
    boxes = {
        "─": [(0, middle - 1, width, middle)],
        "═": [(0, middle - 3, width, middle - 2), (0, middle + 1, width, middle + 2)],
        "│": [(centre - 1, 0, centre, height)],
        "█": [(0, 0, width, height)],
        "▀": [(0, 0, width, middle - 1)],
        "▄": [(0, middle, width, height)],
    }.get(character)
    if boxes is None:
        return None
    cell = Image.new("L", size)
    for box in boxes:
        ImageDraw.Draw(cell).rectangle(box, fill=255)
    return cell
