"""Telling a tag that is still held, or a code that is still in view, from a new one."""

from __future__ import annotations

REMEMBERED = 8
"""How many different ones are remembered: as many as could lie on one reader at once, and more."""


class RepeatFilter:
    """Lets each value through once until it has not been seen for `gone_after_ms`.

    Each value has a time of its own, so two tags held together, whose frames alternate, are one presentation each.
    """

    def __init__(self, gone_after_ms: int) -> None:
        self._gone_after_s = gone_after_ms / 1000
        self._last_seen_s: dict[str, float] = {}

    def is_new(self, value: str, now_s: float) -> bool:
        """Note that `value` was seen at `now_s`, seconds of a monotonic clock; True when it had been gone."""
        last_seen_s = self._last_seen_s.pop(value, None)
        self._last_seen_s[value] = now_s
        if len(self._last_seen_s) > REMEMBERED:
            del self._last_seen_s[next(iter(self._last_seen_s))]
        return last_seen_s is None or now_s - last_seen_s >= self._gone_after_s
