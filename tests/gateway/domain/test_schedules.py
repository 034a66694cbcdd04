from __future__ import annotations

from datetime import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.domain.schedules import LocalTime, Schedule, Window, covers, overlap

FRI_NIGHT = Window(4, time(18), time(2))


@pytest.mark.parametrize(
    ("windows", "clash"),
    [
        ([], False),
        ([FRI_NIGHT], False),
        ([FRI_NIGHT, Window(5, time(18), time(2))], False),
        ([FRI_NIGHT, Window(5, time(2), time(3))], False),
        ([FRI_NIGHT, Window(5, time(1, 59), time(3))], True),
        ([Window(0, time(8), time(12)), Window(0, time(8), time(12))], True),
        ([Window(0, time(8), time(12)), Window(0, time(11), time(13))], True),
        ([Window(6, time(22), time(3)), Window(0, time(2), time(4))], True),
        ([Window(6, time(22), time(3)), Window(0, time(3), time(4))], False),
        ([Window(0, time(), time()), Window(1, time(), time())], False),
    ],
)
def test_windows_that_share_a_minute_are_found(windows: list[Window], clash: bool) -> None:
    assert (overlap(windows) is not None) is clash


times = st.times().map(lambda t: t.replace(second=0, microsecond=0))
windows = st.lists(st.builds(Window, st.integers(0, 6), times, times), max_size=4)


@given(windows, st.integers(0, 6), times)
def test_without_overlap_no_minute_is_in_two_windows(windows: list[Window], day: int, clock: time) -> None:
    local = LocalTime("2026-07-03", day, clock)
    hits = sum(covers(Schedule("one", (window,)), local) for window in windows)
    assert hits <= 1 or overlap(windows) is not None
