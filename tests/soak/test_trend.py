"""A soak that finds nothing proves nothing: here is what its judgement finds, and what it does not take for a leak."""

from __future__ import annotations

from random import Random

import pytest

from tests.soak.trend import trend

MINUTES = 60.0


def noisy(value: float, dice: Random) -> float:
    return value + dice.gauss(0, 1) + (40 if dice.random() < 0.05 else 0)


def test_noise_and_outliers_are_level() -> None:
    dice = Random(1)
    points = [(second * MINUTES, noisy(100, dice)) for second in range(500)]
    judged = trend("memory", points, 1.5)
    assert judged.level, judged
    assert 99 < judged.middle < 101


def test_a_saw_tooth_is_level() -> None:
    points = [(float(second), 50.0 + second % 30) for second in range(600)]
    assert trend("WAL", points, 1.0).level


def test_a_slow_leak_under_noise_is_found() -> None:
    dice = Random(2)
    points = [(float(second), noisy(100 + second / 100, dice)) for second in range(600)]
    judged = trend("memory", points, 4.0)
    assert not judged.level
    assert judged.rise == pytest.approx(6, abs=0.8)
    assert "RISES" in str(judged)


def test_a_leak_that_a_saw_tooth_hides_is_found() -> None:
    points = [(float(second), second / 50 + second % 30) for second in range(600)]
    assert not trend("descriptors", points, 5.0).level


def test_a_figure_that_falls_is_level() -> None:
    assert trend("memory", [(float(second), -2.0 * second) for second in range(50)], 0.0).level


def test_too_few_samples_say_nothing() -> None:
    with pytest.raises(ValueError, match="too few"):
        trend("memory", [(0.0, 1.0), (1.0, 1.0)], 1.0)


def test_thousands_of_samples_are_judged_soon() -> None:
    assert trend("memory", [(float(second), 5.0) for second in range(90_000)], 0.1).rise == 0
