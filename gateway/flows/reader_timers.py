"""How long each reader waits for a tap. Timers run by the loop's clock; what they do reads the state again."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

MS_PER_S = 1000
SHORTEST_S = 0.001


class ReaderTimers:
    """One timer a reader."""

    def __init__(self, now_ms: Callable[[], int]) -> None:
        """Take the clock that deadlines are told by."""
        self._now_ms = now_ms
        self._timers: dict[str, asyncio.TimerHandle] = {}

    def start(self, reader: str, at_ms: int, fire: Callable[[], None]) -> None:
        """Call `fire` at `at_ms`, UTC milliseconds, instead of whatever was to be called for this reader."""
        self.stop(reader)
        delay_s = max(SHORTEST_S, (at_ms - self._now_ms()) / MS_PER_S)
        self._timers[reader] = asyncio.get_running_loop().call_later(delay_s, fire)

    def stop(self, reader: str) -> None:
        """Call nothing for this reader."""
        timer = self._timers.pop(reader, None)
        if timer is not None:
            timer.cancel()

    def stop_all(self) -> None:
        """Call nothing any more."""
        for reader in list(self._timers):
            self.stop(reader)
