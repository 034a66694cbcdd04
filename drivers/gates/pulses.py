"""Ends of pulses that this process has to time, for boards that cannot do it themselves."""

from __future__ import annotations

import asyncio
from collections.abc import Callable


class PulseEnds:
    """One timer a relay; `open_relay(channel)` is called when its pulse is over and must not raise."""

    def __init__(self, open_relay: Callable[[int], None]) -> None:
        self._open_relay = open_relay
        self._timers: dict[int, asyncio.TimerHandle] = {}

    @property
    def running(self) -> frozenset[int]:
        """The relays whose pulse has not ended."""
        return frozenset(self._timers)

    def begin(self, channel: int, pulse_ms: int) -> None:
        """End the pulse of relay `channel` in `pulse_ms`, or when one that runs would end if that is later."""
        loop = asyncio.get_running_loop()
        end_s = loop.time() + pulse_ms / 1000
        if (before := self._timers.get(channel)) is not None:
            end_s = max(end_s, before.when())
            before.cancel()
        self._timers[channel] = loop.call_at(end_s, self._end, channel)

    def cancel(self, channel: int) -> None:
        """Forget the pulse of one relay."""
        if (timer := self._timers.pop(channel, None)) is not None:
            timer.cancel()

    def clear(self) -> None:
        """Forget every pulse."""
        for channel in tuple(self._timers):
            self.cancel(channel)

    def _end(self, channel: int) -> None:
        del self._timers[channel]
        self._open_relay(channel)
