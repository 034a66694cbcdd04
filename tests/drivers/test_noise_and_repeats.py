from __future__ import annotations

import asyncio

from drivers import noise
from drivers.api import Noise
from drivers.noise import NoiseReport
from drivers.repeats import REMEMBERED, RepeatFilter
from tests.drivers.pty_device import Events


def test_a_held_value_is_new_once_and_again_when_it_was_gone():
    repeats = RepeatFilter(gone_after_ms=500)
    seen_s = (0.0, 0.25, 0.5, 0.75, 1.125, 1.625)
    assert [repeats.is_new("A", at_s) for at_s in seen_s] == [True, *[False] * 4, True]


def test_another_value_in_between_is_new_at_once_and_does_not_make_the_first_new():
    repeats = RepeatFilter(gone_after_ms=300)
    assert [repeats.is_new(value, 0.05 * at) for at, value in enumerate("ABAB")] == [True, True, False, False]


def test_i09_a_repeat_filter_remembers_a_bounded_number():
    repeats = RepeatFilter(gone_after_ms=300)
    for number in range(1000):
        repeats.is_new(str(number), 0.0)
    assert len(repeats._last_seen_s) == REMEMBERED


async def test_i08_noise_is_said_at_once_and_then_at_most_once_an_interval(monkeypatch):
    monkeypatch.setattr(noise, "INTERVAL_S", 0.05)
    events = Events()
    report = NoiseReport(events)
    for _ in range(1000):
        report.add(1, "no frame")
    assert events == [Noise(1, "no frame")]
    assert await events.wait_for(Noise, 2) == [Noise(1, "no frame"), Noise(999, "no frame")]
    report.add(5, "no frame")
    report.close()
    assert events[2:] == [Noise(5, "no frame")]
    await asyncio.sleep(0.1)
    assert len(events) == 3
