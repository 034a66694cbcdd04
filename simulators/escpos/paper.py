"""The paper: what was printed since the last cut, as a picture and as text."""

from __future__ import annotations

import random
from dataclasses import dataclass
from pathlib import Path

from PIL import Image, ImageChops, ImageDraw, ImageFilter

PRINT_DOTS = 576
MARGIN_DOTS = 32
MAX_LENGTH_DOTS = 60_000
# From print head to cutter: what was not fed past it is cut off with the next receipt.
CUTTER_DOTS = 96
DESK, PAPER, INK = (214, 210, 202), (253, 252, 248), (38, 36, 40)
DESK_DOTS = 28


@dataclass(frozen=True)
class Receipt:
    """One piece of paper, rolled off and cut. `ink` is 255 where it is printed; `fed_dots` is the blank end."""

    ink: Image.Image
    text: str
    fed_dots: int

    def save(self, picture: Path, text: Path) -> None:
        """Write both files; each appears whole or not at all."""
        for path, write in ((text, self._save_text), (picture, self._save_picture)):
            part = path.with_name(f".{path.name}.part")
            write(part)
            part.replace(path)

    def _save_text(self, path: Path) -> None:
        path.write_text(self.text, encoding="utf-8")

    def _save_picture(self, path: Path) -> None:
        photograph(self.ink).save(path, format="PNG")


class Paper:
    """The roll above the print head. Lengths are dots of 1/8 mm."""

    def __init__(self) -> None:
        self._clear()

    def _clear(self) -> None:
        self._stamps: list[tuple[int, int, Image.Image]] = []
        self._lines: list[str] = []
        self._length = 0
        self._last_ink = 0

    @property
    def used(self) -> bool:
        """Whether anything was printed since the last cut."""
        return bool(self._stamps)

    @property
    def full(self) -> bool:
        """Whether the piece is longer than any receipt."""
        return self._length > MAX_LENGTH_DOTS

    def stamp(self, image: Image.Image, x: int) -> None:
        """Print `image` with its top left at `x` and the present position, without feeding."""
        self._stamps.append((x, self._length, image))
        self._last_ink = max(self._last_ink, self._length + image.height)

    def feed(self, dots: int) -> None:
        """Feed paper."""
        self._length += dots

    def write(self, line: str) -> None:
        """Add a line to the text; an image that comes in slices is mentioned once."""
        if line != "[image]" or self._lines[-1:] != [line]:
            self._lines.append(line.rstrip())

    def cut(self) -> Receipt:
        """Take off what was printed."""
        length = max(self._length, self._last_ink, 1)
        ink = Image.new("L", (PRINT_DOTS, length))
        for x, y, image in self._stamps:
            ink.paste(ImageChops.lighter(ink.crop((x, y, x + image.width, y + image.height)), image), (x, y))
        receipt = Receipt(ink, "\n".join(self._lines).rstrip("\n") + "\n", length - self._last_ink)
        self._clear()
        return receipt


def photograph(ink: Image.Image) -> Image.Image:
    """The receipt as it lies on a desk: white paper with a torn edge, dark ink, a soft shadow."""
    width, height = ink.width + 2 * MARGIN_DOTS, ink.height + 2 * MARGIN_DOTS
    size = (width + 2 * DESK_DOTS, height + 2 * DESK_DOTS)
    shape = _outline(size, width, height)
    picture = Image.new("RGB", size, DESK)
    shadow = ImageChops.offset(shape, 3, 6).filter(ImageFilter.GaussianBlur(8))
    picture.paste((120, 116, 108), mask=shadow.point([value * 6 // 10 for value in range(256)]))
    picture.paste(PAPER, mask=shape)
    picture.paste(INK, (DESK_DOTS + MARGIN_DOTS, DESK_DOTS + MARGIN_DOTS), mask=ink)
    return picture


def _outline(size: tuple[int, int], width: int, height: int) -> Image.Image:
    """The paper's shape: straight sides, the cutter's fine teeth above and below."""
    shape = Image.new("L", size)
    teeth = random.Random(height)
    left, right, top, bottom = DESK_DOTS, DESK_DOTS + width, DESK_DOTS, DESK_DOTS + height
    upper = [(x, top + 3 * (index % 2) + teeth.randint(0, 1)) for index, x in enumerate(range(left, right + 1, 5))]
    lower = [(x, bottom - 3 * (index % 2) - teeth.randint(0, 1)) for index, x in enumerate(range(right, left - 1, -5))]
    ImageDraw.Draw(shape).polygon([*upper, *lower], fill=255)
    return shape
