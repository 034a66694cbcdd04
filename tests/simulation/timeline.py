"""Virtual time: what happens in the world, in order, and an event loop that lives inside it.

The world outside the gateway is a heap of plain callbacks. The gateway runs on an asyncio loop of its own that has no
selector and no file descriptors: when it has nothing to do, it plays the next thing of the world, or
moves the clock to the next timer of the loop. No socket, no thread and no real second is involved.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextvars import Context, copy_context
from heapq import heappop, heappush
from math import inf
from random import Random
from typing import Any

import msgspec

START_MS = 1_800_000_000_000
TURNS_MAX = 200_000
"""Turns of the loop without any time passing, beyond which it hangs."""
SAME_MOMENT_S = 1e-7
"""Two timers that are less than this apart are due together."""


class Killed(BaseException):
    """The gateway's process is gone: nothing of it runs any more."""


class Livelock(Exception):
    """The gateway is busy for ever without time passing."""


class Happening(msgspec.Struct):
    """Something that will happen, unless it is cancelled."""

    function: Callable[..., object]
    args: tuple[Any, ...]
    cancelled: bool = False

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
        return self.at(self.now_s + delay_s if delay_s > 0 else self.now_s, function, *args)

    def at(self, when_s: float, function: Callable[..., object], *args: Any) -> Happening:
        happening = Happening(function, args)
        self._count = count = self._count + 1
        heappush(self._heap, (when_s, count, happening))
        return happening

    @property
    def next_s(self) -> float:
        heap = self._heap
        while heap and heap[0][2].cancelled:
            heappop(heap)
        return heap[0][0] if heap else inf

    def go_on(self, timer_s: float) -> None:
        """Play the next thing of the world, or move on to a timer of the loop that is due before it."""
        heap = self._heap
        while heap and heap[0][2].cancelled:
            heappop(heap)
        if heap and heap[0][0] <= timer_s:
            when, _, happening = heappop(heap)
            self.now_s = max(self.now_s, when)
            happening.function(*happening.args)
        elif timer_s > self.now_s:
            self.now_s = timer_s

    def play_until(self, end: Callable[[], bool]) -> None:
        """Let the world go on while no gateway runs."""
        while not end() and self.next_s < inf:
            self.go_on(inf)


class Handle(msgspec.Struct):
    """What was asked of the loop, as asyncio's own handles and with less in it."""

    callback: Callable[..., object] | None
    args: tuple[Any, ...]
    context: Context
    is_cancelled: bool = False

    def cancel(self) -> None:
        self.is_cancelled = True
        # What it would have called holds on to much of a life.
        self.callback, self.args = None, ()

    def cancelled(self) -> bool:
        return self.is_cancelled


class VirtualLoop(asyncio.BaseEventLoop):
    """An event loop that waits for nothing real. `connect` makes the gateway's connection to the broker."""

    def __init__(self, timeline: Timeline, random: Random, connect: Callable[..., Any]) -> None:
        super().__init__()
        self._timeline = timeline
        self._random = random
        self._connect = connect
        self._count = 0
        self._timers: list[tuple[float, int, Handle]] = []

    def time(self) -> float:
        return self._timeline.now_s

    # What follows does what `BaseEventLoop` does, in fewer steps: thousands of seeds pass through here.

    def call_soon(self, callback, *args, context=None):
        handle = Handle(callback, args, context or copy_context())
        self._ready.append(handle)
        return handle

    def call_later(self, delay, callback, *args, context=None):
        return self.call_at(self._timeline.now_s + delay, callback, *args, context=context)

    def call_at(self, when, callback, *args, context=None):
        handle = Handle(callback, args, context or copy_context())
        self._count += 1
        heappush(self._timers, (when, self._count, handle))
        return handle

    def _run_once(self) -> None:
        """Turn until somebody stops the loop, which `run_forever` would look at after each turn."""
        timeline, ready, timers = self._timeline, self._ready, self._timers
        turns = 0
        while not self._stopping:
            turns += 1
            if not ready and self._let_time_pass():
                turns = 0
            if timeline.killed:
                raise Killed
            if turns > TURNS_MAX:
                raise Livelock("the loop turned without end")
            end_s = timeline.now_s + SAME_MOMENT_S
            while timers and timers[0][0] < end_s:
                ready.append(heappop(timers)[2])
            for _ in range(len(ready)):
                handle = ready.popleft()
                if not handle.is_cancelled:
                    try:
                        handle.context.run(handle.callback, *handle.args)
                    except (SystemExit, KeyboardInterrupt):
                        raise
                    except BaseException as error:  # noqa: BLE001 - whoever listens to the loop judges it
                        self.call_exception_handler({"message": f"in {handle.callback}", "exception": error})

    def _let_time_pass(self) -> bool:
        """Let the world go on until the loop has something to do; False where a timer is due now."""
        timeline, ready, timers = self._timeline, self._ready, self._timers
        passed = False
        while not ready and not timeline.killed:
            while timers and timers[0][2].is_cancelled:
                heappop(timers)
            timer_s = timers[0][0] if timers else inf
            if timer_s <= timeline.now_s:
                break
            timeline.go_on(timer_s)
            passed = True
            if timer_s < timeline.now_s + SAME_MOMENT_S:
                break
        return passed

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
            except Exception as error:  # noqa: BLE001 - it belongs to whoever awaits the thread
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
            # The collector comes by rarely, and asyncio looks through every task there is for those of one loop.
            asyncio._unregister_task(task)
            coroutine = task.get_coro()
            for _ in range(3):
                try:
                    coroutine.close()
                except BaseException:  # noqa: BLE001 - whatever the dead still say
                    continue
                break
        self._ready.clear()
        self._timers.clear()
        self.close()
