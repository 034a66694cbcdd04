"""Is a figure level? The slope by Theil and Sen, which outliers and saw teeth do not bend, against a bound."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import combinations
from statistics import median
from typing import NamedTuple

POINTS_MAX = 240
"""Pairs grow with the square: of more points, the medians of neighbours are taken."""
POINTS_MIN = 8

Point = tuple[float, float]


class Trend(NamedTuple):
    """A figure over time: where it stands, what the trend adds from the first point to the last, and what it may."""

    name: str
    middle: float
    rise: float
    bound: float

    @property
    def level(self) -> bool:
        """True when the trend adds no more than its bound."""
        return self.rise <= self.bound

    def __str__(self) -> str:
        verdict = "level" if self.level else "RISES"
        return f"{self.name:<24} {self.middle:>12,.1f} {self.rise:>+12,.2f} {self.bound:>10,.1f}  {verdict}"


def trend(name: str, points: Sequence[Point], bound: float) -> Trend:
    """Judge points of (time, value). Raises ValueError for too few of them to say anything."""
    if len(points) < POINTS_MIN:
        raise ValueError(f"{len(points)} samples of {name} are too few to see a trend; let it run longer")
    thinned = _thinned(points)
    slope = median((y2 - y1) / (x2 - x1) for (x1, y1), (x2, y2) in combinations(thinned, 2) if x2 > x1)
    return Trend(name, median(value for _, value in points), slope * (points[-1][0] - points[0][0]), bound)


def _thinned(points: Sequence[Point]) -> list[Point]:
    size = -(-len(points) // POINTS_MAX)
    groups = [points[at : at + size] for at in range(0, len(points), size)]
    return [(median(x for x, _ in group), median(y for _, y in group)) for group in groups]
