"""A plot with two logarithmic axes, drawn with Pillow, which the gateway needs anyway."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from PIL import Image, ImageDraw, ImageFont

SIZE = (1000, 600)
LEFT, TOP, RIGHT, BOTTOM = 90, 60, 970, 520
INK, GRID, PAPER = (40, 40, 40), (220, 220, 220), (255, 255, 255)
DOT = 4

Colour = tuple[int, int, int]


class Line(NamedTuple):
    """One line: its name, its colour and its points, all of them greater than 0."""

    name: str
    colour: Colour
    points: Sequence[tuple[float, float]]


class Axis(NamedTuple):
    """Where the values between two powers of ten lie, in pixels."""

    low: int
    high: int
    first: float
    last: float

    def at(self, value: float) -> float:
        """Return the pixel of a value."""
        share = (math.log10(value) - self.low) / (self.high - self.low)
        return self.first + share * (self.last - self.first)

    def marks(self) -> Iterator[float]:
        """Yield the values of the grid: 1, 2, 5, 10, 20 and so on, within the axis."""
        for power in range(self.low, self.high):
            yield from (step * 10.0**power for step in (1, 2, 5))
        yield 10.0**self.high


def axis_of(values: Sequence[float], first: float, last: float) -> Axis:
    """Return the axis of whole powers of ten that holds all values."""
    low, high = math.floor(math.log10(min(values))), math.ceil(math.log10(max(values)))
    return Axis(low, max(high, low + 1), first, last)


def draw(path: Path, title: str, across: str, upwards: str, lines: Sequence[Line]) -> None:
    """Draw the lines into a PNG."""
    points = [point for line in lines for point in line.points]
    x = axis_of([x for x, _ in points], LEFT, RIGHT)
    y = axis_of([y for _, y in points], BOTTOM, TOP)
    image = Image.new("RGB", SIZE, PAPER)
    pen, font = ImageDraw.Draw(image), ImageFont.load_default(15)
    _grid(pen, font, x, y)
    pen.text((LEFT, 8), title, fill=INK, font=ImageFont.load_default(20))
    pen.text(((LEFT + RIGHT) / 2, BOTTOM + 50), across, fill=INK, font=font, anchor="mm")
    pen.text((LEFT, TOP - 6), upwards, fill=INK, font=font, anchor="lb")
    for line in lines:
        _line(pen, font, line, x, y)
    path.parent.mkdir(parents=True, exist_ok=True)
    image.save(path, optimize=True)


def _grid(pen: ImageDraw.ImageDraw, font: ImageFont.ImageFont | ImageFont.FreeTypeFont, x: Axis, y: Axis) -> None:
    for value in x.marks():
        pen.line((x.at(value), TOP, x.at(value), BOTTOM), fill=GRID)
        pen.text((x.at(value), BOTTOM + 18), f"{value:,.12g}", fill=INK, font=font, anchor="mm")
    for value in y.marks():
        pen.line((LEFT, y.at(value), RIGHT, y.at(value)), fill=GRID)
        pen.text((LEFT - 10, y.at(value)), f"{value:,.12g}", fill=INK, font=font, anchor="rm")


def _line(
    pen: ImageDraw.ImageDraw, font: ImageFont.ImageFont | ImageFont.FreeTypeFont, line: Line, x: Axis, y: Axis
) -> None:
    pixels = [(x.at(one), y.at(other)) for one, other in line.points]
    pen.line(pixels, fill=line.colour, width=3, joint="curve")
    for px, py in pixels:
        pen.ellipse((px - DOT, py - DOT, px + DOT, py + DOT), fill=line.colour)
    px, py = pixels[0]
    pen.text((px - 3 * DOT, py), line.name, fill=line.colour, font=font, anchor="rm")
