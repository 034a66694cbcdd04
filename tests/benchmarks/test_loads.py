"""What the benchmark makes of taps at rest and beside something."""

from __future__ import annotations

from random import Random

import pytest

from benchmarks.loads import Turns, _noticed

SLOW_S, QUICK_S = 0.004, 0.001


def turns(slow_share: float, count: int, dice: Random) -> list[list[float]]:
    return [[SLOW_S if dice.random() < slow_share else QUICK_S for _ in range(250)] for _ in range(count)]


def test_what_slows_two_taps_of_a_hundred_shows_in_the_p99() -> None:
    dice = Random(1)
    found = _noticed(Turns(turns(0.001, 40, dice), turns(0.03, 40, dice)))
    assert (found.rest_p99_ms, found.busy_p99_ms) == (1, 4)
    assert found.ratio == pytest.approx(4)
    assert found.ratio_low <= found.ratio <= found.ratio_high


def test_where_nothing_differs_the_interval_holds_one() -> None:
    dice = Random(2)
    # Right at the quantile the ratio is one or the other by chance, and the interval has to say so.
    found = _noticed(Turns(turns(0.01, 40, dice), turns(0.01, 40, dice)))
    assert found.ratio_low < 1 < found.ratio_high
