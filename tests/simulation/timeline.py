"""Virtual time: what happens in the world, in order, and an event loop that lives inside it.

The world outside the gateway is a heap of plain callbacks. The gateway runs on an asyncio loop of its own whose selector
has no file descriptors: when the loop has nothing to do, the selector plays the next thing of the world, or moves the
clock to the loop's next timer. No socket, no thread and no real second is involved.
"""

from __future__ import annotations

import asyncio
import heapq
from collections.abc import Callable
from random import Random
from typing import Any

START_MS = 1_800_000_000_000
STEPS_MAX = 200_000
"""Turns of the loop without any time passing, beyond which it hangs."""


class Killed(BaseException):
    """The gateway's process is gone: nothing of it runs any more."""


class Livelock(Exception):
    """The gateway is busy for ever without time passing."""


class Happening:
    """Something that will happen, unless it is cancelled."""

    __slots__ = ("args", "cancelled", "function")

    def __init__(self, function: Callable[..., object], args: tuple[Any, ...]) -> None:
        self.function = function
        self.args = args
        self.cancelled = False

    def cancel(self) -> None:
        self.cancelled = True


class Timeline:
    """The world's clock and what is going to happen in it."""

    def __init__(self) -> None:
        self.now_s = 0.0
        self.killed = False
        self._count = 0
        self._heap: list[tuple[float, int, Happening]] = []

    @property
    def now_ms(self) -> int:
        return START_MS + round(self.now_s * 1000)

    def after(self, delay_s: float, function: Callable[..., object], *args: Any) -> Happening:
        happening = Happening(function, args)
        self._count += 1
        heapq.heappush(self._heap, (self.now_s + max(0.0, delay_s), self._count, happening))
        return happening

    @property
    def next_s(self) -> float:
        while self._heap and self._heap[0][2].cancelled:
            heapq.heappop(self._heap)
        return self._heap[0][0] if self._heap else float("inf")

    def play_next(self) -> None:
        when, _, happening = heapq.heappop(self._heap)
        self.now_s = max(self.now_s, when)
        happening.function(*happening.args)

    def play_until(self, end: Callable[[], bool]) -> None:
        """Let the world go on while no gateway runs."""
        while not end() and self.next_s < float("inf"):
            self.play_next()


class _Selector:
    def __init__(self, loop: VirtualLoop, timeline: Timeline) -> None:
        self._loop = loop
        self._timeline = timeline
        self._steps = 0

    def select(self, timeout: float | None) -> list[Any]:
        timeline = self._timeline
        if timeline.killed:
            raise Killed
        if timeout is not None and timeout <= 0:
            self._steps += 1
            if self._steps > STEPS_MAX:
                raise Livelock("the loop turned without end")
            return []
        self._steps = 0
        timer_s = self._loop.next_timer_s
        if timeline.next_s <= timer_s:
            timeline.play_next()
        else:
            timeline.now_s = max(timeline.now_s, timer_s)
        if timeline.killed:
            raise Killed
        return []

    def close(self) -> None:
        pass


class VirtualLoop(asyncio.BaseEventLoop):
    """An event loop that waits for nothing real. `connect` makes the gateway's connection to the broker."""

    def __init__(self, timeline: Timeline, random: Random, connect: Callable[..., Any]) -> None:
        super().__init__()
        self._timeline = timeline
        self._random = random
        self._connect = connect
        self._selector = _Selector(self, timeline)
        # Below half a microsecond two moments of this clock are the same.
        self._clock_resolution = 1e-7

    @property
    def next_timer_s(self) -> float:
        return self._scheduled[0].when() if self._scheduled else float("inf")

    def time(self) -> float:
        return self._timeline.now_s

    def _process_events(self, event_list: list[Any]) -> None:
        pass

    def _write_to_self(self) -> None:
        pass

    def run_in_executor(self, executor, func, *args):
        """A thread of this world takes a random time and then has done it all at once."""
        future = self.create_future()

        def finish() -> None:
            if future.cancelled() or self._timeline.killed:
                return
            try:
                future.set_result(func(*args))
            except Exception as error:
                future.set_exception(error)

        self.call_later(self._random.uniform(0.0005, 0.05), finish)
        return future

    async def create_unix_connection(self, protocol_factory, path=None, **_):
        return await self._connect(protocol_factory)

    def abandon(self) -> None:
        """Drop what still runs, as a killed process drops it: nothing it does on the way out has any effect."""
        self.set_exception_handler(lambda *_: None)
        for task in asyncio.all_tasks(self):
            task._log_destroy_pending = False
            coroutine = task.get_coro()
            for _ in range(3):
                try:
                    coroutine.close()
                except BaseException:
                    continue
                break
        self._ready.clear()
        self._scheduled.clear()
        self.close()
