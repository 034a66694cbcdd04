"""Ends of pulses that this process has to time, for boards that cannot do it, and holds that outlast them."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from contextlib import contextmanager


class PulseEnds:
    """One timer a relay; `open_relay(channel)` is called when its pulse is over and must not raise.

    A relay that is held has no timer. One whose hold failed is not held: the next pulse of it ends like any other.
    """

    def __init__(self, open_relay: Callable[[int], None]) -> None:
        self._open_relay = open_relay
        self._timers: dict[int, asyncio.TimerHandle] = {}
        self._held: set[int] = set()
        self._never_let_go: set[int] = set()
        self._on_the_way: list[int] = []

    @property
    def held(self) -> frozenset[int]:
        """The relays that are closed until told otherwise."""
        return frozenset(self._held)

    @property
    def may_be_closed(self) -> frozenset[int]:
        """The relays whose pulse has not ended, and those that were held, well or badly, and not let go since."""
        return frozenset(self._timers) | frozenset(self._on_the_way) | self._never_let_go

    def begin(self, channel: int, pulse_ms: int) -> None:
        """End the pulse of relay `channel` in `pulse_ms`, or when one that runs would end if that is later."""
        with self.pulse(channel, pulse_ms):
            pass

    @contextmanager
    def pulse(self, channel: int, pulse_ms: int) -> Iterator[None]:
        """Around sending the command that closes a relay: its time runs from the end of this, also after a failure.

        An earlier pulse does not end meanwhile, for its end could come right after this beginning.
        """
        timers, earlier_s = self._timers, self._take_timer(channel)
        self._on_the_way.append(channel)
        try:
            yield
        finally:
            self._on_the_way.remove(channel)
            end_s = asyncio.get_running_loop().time() + pulse_ms / 1000
            self._arm(timers, channel, max(end_s, earlier_s))

    @contextmanager
    def hold(self, channel: int, active: bool) -> Iterator[None]:
        """Around the command that closes a relay until told otherwise, or opens it; after a failure nothing is held."""
        timers, earlier_s = self._timers, self._take_timer(channel)
        self._held.discard(channel)
        if active:
            self._held.add(channel)
            self._never_let_go.add(channel)
        try:
            yield
        except BaseException:
            self._held.discard(channel)
            if earlier_s:
                self._arm(timers, channel, earlier_s)
            raise
        if not active:
            self._never_let_go.discard(channel)

    def clear(self) -> None:
        """Forget every pulse and every hold: the link is gone, and commands that fail with it begin nothing anew."""
        for channel in tuple(self._timers):
            self._take_timer(channel)
        self._timers = {}
        self._held.clear()
        self._never_let_go.clear()

    def _take_timer(self, channel: int) -> float:
        """Stop a relay's timer and return when it would have ended its pulse; 0 where there was none."""
        if (timer := self._timers.pop(channel, None)) is None:
            return 0.0
        timer.cancel()
        return timer.when()

    def _arm(self, timers: dict[int, asyncio.TimerHandle], channel: int, end_s: float) -> None:
        if timers is self._timers and channel not in self._held:
            end_s = max(end_s, self._take_timer(channel))
            timers[channel] = asyncio.get_running_loop().call_at(end_s, self._end, channel)

    def _end(self, channel: int) -> None:
        del self._timers[channel]
        self._open_relay(channel)
