"""Reporting a line that babbles, without babbling oneself."""

from __future__ import annotations

import asyncio

from drivers.api import Emit, Noise

INTERVAL_S = 1.0


class NoiseReport:
    """Emits `Noise` at once when a line begins to babble, and then at most one a second with the count since."""

    def __init__(self, emit: Emit) -> None:
        self._emit = emit
        self._byte_count = 0
        self._why = ""
        self._timer: asyncio.TimerHandle | None = None

    def add(self, byte_count: int, why: str) -> None:
        """Count bytes that were refused, and `why`; call it from the event loop."""
        self._byte_count += byte_count
        self._why = why
        if self._timer is None:
            self._report()

    def close(self) -> None:
        """Emit what is still to be said and stop."""
        if self._timer is not None:
            self._timer.cancel()
        self._timer = None
        if self._byte_count:
            self._say()

    def _report(self) -> None:
        self._timer = None
        if self._byte_count:
            self._say()
            self._timer = asyncio.get_running_loop().call_later(INTERVAL_S, self._report)

    def _say(self) -> None:
        noise = Noise(self._byte_count, self._why)
        self._byte_count = 0
        self._emit(noise)
