"""How long things take, counted into buckets: cheap enough for the writer's thread, and read by whoever watches."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Sequence

MILLISECONDS = (0.0005, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5)
"""Upper bounds in seconds for what a disk or a loop does."""
SECONDS = (0.005, 0.01, 0.02, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)
"""Upper bounds in seconds for what people and motors do."""


class Buckets:
    """A histogram. One thread counts, another may read: a reader may miss the newest, and never sees nonsense."""

    __slots__ = ("bounds", "counts", "total_s")

    def __init__(self, bounds: Sequence[float] = MILLISECONDS) -> None:
        """Count by these upper bounds, in seconds and rising; what is longer has a bucket of its own."""
        self.bounds = bounds
        self.counts = [0] * (len(bounds) + 1)
        self.total_s = 0.0

    def took(self, seconds: float) -> None:
        """Count one."""
        self.counts[bisect_left(self.bounds, seconds)] += 1
        self.total_s += seconds
