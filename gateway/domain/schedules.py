"""Weekly schedules on the venue's wall clock: past midnight, and over both changes of the clock. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date, datetime, time, timedelta
from itertools import pairwise
from zoneinfo import ZoneInfo

import msgspec

MS_PER_S = 1000
DAYS = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
MINUTES_PER_DAY = 24 * 60
MINUTES_PER_WEEK = 7 * MINUTES_PER_DAY


class Window(msgspec.Struct, frozen=True):
    """A span of local wall-clock time on weekday `day` (Monday is 0). It runs past midnight when `end` ≤ `start`."""

    day: int
    start: time
    end: time

    def __str__(self) -> str:
        return f"{DAYS[self.day]} {self.start:%H:%M} to {self.end:%H:%M}"


class Schedule(msgspec.Struct, frozen=True):
    """When an entitlement counts: any of the weekly windows, in the venue's time zone."""

    id: str
    windows: tuple[Window, ...]


class LocalTime(msgspec.Struct, frozen=True):
    """An instant as the venue's clock shows it: the date as 2026-07-03, the weekday (Monday is 0) and the time."""

    day: str
    weekday: int
    clock: time


def local_time(now_ms: int, timezone: ZoneInfo) -> LocalTime:
    """Return what the clock shows at `now_ms` (UTC milliseconds)."""
    local = datetime.fromtimestamp(now_ms / MS_PER_S, tz=timezone)
    return LocalTime(local.date().isoformat(), local.weekday(), local.time())


def is_far_ahead(day: str, local: LocalTime) -> bool:
    """Return True where `day`, a date such as 2026-07-03, is later than the day after today."""
    return day > local.day and date.fromisoformat(day) - date.fromisoformat(local.day) > timedelta(days=1)


def covers(schedule: Schedule, local: LocalTime) -> bool:
    """Return True when the wall clock stands in one of the weekly windows.

    On the two nights of a clock change a window keeps its local start and end, so it lasts an hour more or less. A
    window that runs past midnight belongs to the day on which it starts.
    """
    today, clock = local.weekday, local.clock
    yesterday = (today - 1) % 7
    for window in schedule.windows:
        past_midnight = window.end <= window.start
        if window.day == today and window.start <= clock and (past_midnight or clock < window.end):
            return True
        if past_midnight and window.day == yesterday and clock < window.end:
            return True
    return False


def in_schedule(schedule: Schedule, now_ms: int, timezone: ZoneInfo) -> bool:
    """Return True when `now_ms` (UTC milliseconds) lies in the schedule at a venue in `timezone`."""
    return covers(schedule, local_time(now_ms, timezone))


def overlap(windows: Sequence[Window]) -> tuple[Window, Window] | None:
    """Return two windows that share a minute of the week, or None. Such a schedule says one thing twice, or two."""
    spans = sorted((_span(window) for window in windows), key=lambda span: span[:2])
    for (_, end, earlier), (start, _, later) in pairwise(spans):
        if start < end:
            return earlier, later
    if spans:
        _, end, last = max(spans, key=lambda span: span[1])
        start, _, first = spans[0]
        # The week is a circle: the last window may run into the first one of next Monday.
        if end - MINUTES_PER_WEEK > start:
            return last, first
    return None


def _span(window: Window) -> tuple[int, int, Window]:
    start = window.day * MINUTES_PER_DAY + window.start.hour * 60 + window.start.minute
    end = window.day * MINUTES_PER_DAY + window.end.hour * 60 + window.end.minute
    return start, end if end > start else end + MINUTES_PER_DAY, window
