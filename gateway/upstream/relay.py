"""Brings the journal to one sink: at least once, in order, nothing skipped, at the sink's own pace (I5).

Its place is a cursor in the journal. One pack is under way at a time, and the next is made meanwhile. What the sink can
never take is set aside with an alarm, and the rest goes on.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from random import Random
from typing import Protocol

import structlog

from gateway.domain.upstream_events import EventSetAside, UpstreamLost, UpstreamRegained
from gateway.store.errors import StorageUnavailable
from gateway.upstream.backoff import Backoff
from gateway.upstream.outbox import Outbox
from gateway.upstream.packing import PACK_ROWS_MAX, Wanted
from gateway.upstream.sinks import FAILED, Ahead, Behind, Pack, Refused, Sink, SinkUnavailable, Verdict

log = structlog.get_logger(__name__)

CURSOR = "upstream:{name}"
CURSOR_EVERY_S = 5.0
"""How often the cursor moves on disk. Each move wears the card; after a crash that much is sent again."""
GATHER_S = 0.05
"""A sink that is level gets what was committed within this time in one pack."""
ASIDE_IN_A_ROW_MAX = 16
"""So many events refused and none taken between them is no poison: then nothing more is set aside."""
TROUBLE_AFTER_S = 30.0
LOST_AFTER_S = 10.0
"""Shorter failures are no outage, for which somebody would want a report."""
SETTLING_STEPS = 64
GUESTS_S = 1.0
"""So long after something was committed guests are about."""
PACE_S = 0.025
"""Then packs begin so far apart: each takes the loop for a millisecond or some, and a tap would wait for it."""
BACKLOG_ROWS = 20_000
"""So far behind, a sink that takes what it is given gets its packs from a process of their own."""


class Places(Protocol):
    """What a relay needs of the journal in the loop's thread."""

    @property
    def last_seq(self) -> int:
        """The newest row on disk."""
        ...

    def cursor(self, name: str) -> int:
        """Return the last seq a reader has done with."""
        ...

    def set_cursor(self, name: str, seq: int) -> None:
        """Move a reader's cursor, some time soon."""
        ...


class Settling:
    """Remembers for so long what was acknowledged when, in a few steps."""

    def __init__(self, keep_s: float) -> None:
        self._keep_s = keep_s
        self._steps: deque[tuple[float, int]] = deque(maxlen=SETTLING_STEPS)
        self._settled_seq = 0

    def settled_seq(self, seq: int, now_s: float) -> int:
        """Return what was acknowledged long enough ago, when all up to `seq` is acknowledged now."""
        if not self._keep_s:
            return seq
        while self._steps and now_s - self._steps[0][0] >= self._keep_s:
            self._settled_seq = self._steps.popleft()[1]
        # Now and then a step: the oldest is never pushed out before its time.
        if not self._steps or now_s - self._steps[-1][0] >= 2 * self._keep_s / SETTLING_STEPS:
            self._steps.append((now_s, seq))
        # After it went back, less is acknowledged than was.
        self._settled_seq = min(self._settled_seq, seq)
        return self._settled_seq


class Relay:
    """One sink's way through the journal. `run` is its task; `news` and `try_now` wake it."""

    def __init__(
        self,
        name: str,
        sink: Sink,
        outbox: Outbox,
        journal: Places,
        random: Random,
        record: Callable[[EventSetAside | UpstreamLost | UpstreamRegained], None],
        now_ms: Callable[[], int],
        lost: UpstreamLost | None = None,
    ) -> None:
        """Begin where the cursor stands.

        `record` is told of each event that the sink can never take, and of each outage; `lost` is the one that was on
        when the gateway stopped.
        """
        self.name = name
        self.sink = sink
        self._outbox = outbox
        self._backlog = outbox.backlog()
        self._journal = journal
        self._record = record
        self._now_ms = now_ms
        self._lost = lost
        self._failing_since_ms = 0
        self._cursor = CURSOR.format(name=name)
        self.through_seq = self._stored_seq = journal.cursor(self._cursor)
        self._settling = Settling(sink.keep_s)
        self._backoff = Backoff(random)
        self._news = asyncio.Event()
        self._news_s: float | None = None
        self._retry = asyncio.Event()
        self._reached_seq = self.through_seq
        self._went_back_to: int | None = None
        self._aside: dict[int, None] = {}
        self._aside_in_a_row = 0
        self._delivering = False
        self._rows_max = PACK_ROWS_MAX
        self._ahead: asyncio.Task[Pack | None] | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._failing_since_s: float | None = None
        self._closed = False
        self.why = ""
        self.set_aside_count = 0
        self.sent_count = 0

    def close(self) -> None:
        """Store the cursor a last time, and no more after this: another relay may have it by now."""
        self._store_cursor()
        self._closed = True

    async def run(self) -> None:
        """Go on until cancelled."""
        try:
            while True:
                try:
                    await self._next()
                except (SinkUnavailable, StorageUnavailable) as error:
                    await self._failed(error)
                except Exception:
                    # Whatever one pack runs into, it is sent again: no event may stay behind (I5).
                    log.exception("upstream_failed", part=self.name)
                    await self._failed(SinkUnavailable(FAILED))
        finally:
            await self._drop_ahead()
            self.close()
            await self.sink.close()

    def news(self) -> None:
        """Something was committed. It shortens no pause: only the network's word does."""
        self._news_s = asyncio.get_running_loop().time()
        self._news.set()

    def try_now(self) -> None:
        """The network has changed: whatever pause is on is over."""
        self._backoff.worked()
        self._retry.set()
        self._news.set()

    @property
    def done_seq(self) -> int:
        """What nobody will ever have to send to this sink again."""
        return self._settling.settled_seq(self._stored_seq, asyncio.get_running_loop().time())

    @property
    def behind(self) -> int:
        """How many events the sink does not have."""
        return max(0, self._journal.last_seq - self.through_seq)

    def trouble(self) -> str:
        """Return what is wrong, in words; empty while all is well or has not been wrong for long."""
        since_s = self._failing_since_s
        if since_s is None or asyncio.get_running_loop().time() - since_s < TROUBLE_AFTER_S:
            return ""
        return f"upstream {self.name}: {self.why}; {self.behind} events wait"

    async def _next(self) -> None:
        """Deliver one pack, or wait for something to deliver."""
        self._news.clear()
        pack = await self._take_ahead() or await self._pack(self.through_seq)
        if pack is None:
            await self._news.wait()
            await asyncio.sleep(GATHER_S)
            return
        began_s = asyncio.get_running_loop().time()
        self._delivering = True
        if not self._backlog.ready:
            # A process of its own works ahead by itself.
            self._ahead = asyncio.get_running_loop().create_task(self._pack(pack.through_seq))
        verdict = await self._deliver(pack)
        if isinstance(verdict, Refused):
            await self._refused(pack, verdict)
        elif isinstance(verdict, Behind):
            await self._go_back(pack, verdict)
        elif isinstance(verdict, Ahead):
            await self._go_ahead(pack, verdict)
        else:
            self._taken(pack)
        await self._give_way(began_s)

    async def _give_way(self, began_s: float) -> None:
        """Leave the loop to taps for a while after a pack that began then, if there are any."""
        now_s = asyncio.get_running_loop().time()
        if self._news_s is not None and now_s - self._news_s < GUESTS_S:
            await asyncio.sleep(began_s + PACE_S - now_s)

    async def _deliver(self, pack: Pack) -> Verdict | None:
        try:
            return await self.sink.deliver(pack) if pack.count else None
        finally:
            # What was packed meanwhile is enough: the line is free.
            self._delivering = False

    async def _pack(self, after_seq: int) -> Pack | None:
        aside = tuple(self._aside)
        if self._backlog.ready:
            pack = await self._backlog.take(after_seq, aside, singly=self.sink.singly)
            if pack is not None:
                return pack
        wanted = Wanted(self._rows_max, aside, self.sink.singly, lambda: not self._delivering)
        return await self._outbox.pack(after_seq, wanted)

    async def _take_ahead(self) -> Pack | None:
        ahead, self._ahead = self._ahead, None
        return await ahead if ahead is not None else None

    async def _drop_ahead(self) -> None:
        ahead, self._ahead = self._ahead, None
        if ahead is not None:
            ahead.cancel()
            with suppress(asyncio.CancelledError, StorageUnavailable):
                await ahead
        await self._backlog.stop()

    def _taken(self, pack: Pack) -> None:
        self._worked()
        if pack.gap:
            log.warning("upstream_gap", sink=self.name, through_seq=pack.after_seq)
        if self._went_back_to is not None and pack.through_seq >= self._reached_seq:
            self._went_back_to = None
        self._reached_seq = max(self._reached_seq, pack.through_seq)
        self.through_seq = pack.through_seq
        self.sent_count += pack.count
        self._aside = {seq: None for seq in self._aside if seq > self.through_seq}
        if pack.count:
            self._aside_in_a_row = 0
        self._rows_max = min(PACK_ROWS_MAX, self._rows_max * 2)
        if self._rows_max == PACK_ROWS_MAX and self.behind >= BACKLOG_ROWS:
            self._backlog.start()
        self._store_cursor_soon()

    async def _go_back(self, pack: Pack, behind: Behind) -> None:
        """The sink has lost what it had, or is new: it gets it again, as far as it is still here."""
        if behind.through_seq >= pack.after_seq or pack.gap or behind.through_seq == self._went_back_to:
            raise SinkUnavailable(f"it says that it has {behind.through_seq} and refuses what follows {pack.after_seq}")
        self._worked()
        self._went_back_to = behind.through_seq
        log.warning("upstream_goes_back", sink=self.name, from_seq=pack.after_seq, to_seq=behind.through_seq)
        await self._drop_ahead()
        self.through_seq = max(0, behind.through_seq)
        self._store_cursor_soon()

    async def _go_ahead(self, pack: Pack, ahead: Ahead) -> None:
        """The sink has more than the cursor says, which is written now and then only: it is not sent again."""
        if not pack.after_seq < ahead.through_seq < pack.through_seq:
            raise SinkUnavailable(f"it says that it has {ahead.through_seq} and leaves {pack.through_seq}")
        self._worked()
        await self._drop_ahead()
        self.through_seq = ahead.through_seq
        self._store_cursor_soon()

    async def _refused(self, pack: Pack, refused: Refused) -> None:
        """Find the event at fault, by its name or by halving, and set it aside."""
        await self._drop_ahead()
        events = pack.events
        named = next((seq for seq, event_id in events if event_id == refused.event_id), None)
        if named is None and len(events) > 1:
            self._worked()
            self._rows_max = max(1, len(events) // 2)
            return
        seq, event_id = next(one for one in events if named is None or one[0] == named)
        self._aside_in_a_row += 1
        if self._aside_in_a_row > ASIDE_IN_A_ROW_MAX:
            raise SinkUnavailable(f"it refuses every event ({refused.why}); look at upstream, nothing is left out")
        self._worked()
        self._aside[seq] = None
        self.set_aside_count += 1
        log.error("upstream_event_set_aside", sink=self.name, seq=seq, id=event_id, why=refused.why)
        self._record(EventSetAside(sink=self.name, event_seq=seq, event_id=event_id, why=refused.why))

    def _worked(self) -> None:
        if self._failing_since_s is not None:
            log.info("upstream_connected", sink=self.name, behind=self.behind)
        if (lost := self._lost) is not None:
            self._lost = None
            self._record(UpstreamRegained(sink=self.name, after_seq=lost.through_seq, since_ms=lost.since_ms))
        self._backoff.worked()
        self._failing_since_s, self.why = None, ""

    async def _failed(self, error: SinkUnavailable | StorageUnavailable) -> None:
        await self._drop_ahead()
        loop = asyncio.get_running_loop()
        if str(error) != self.why:
            log.warning("upstream_unavailable", sink=self.name, why=str(error), behind=self.behind)
        if self._failing_since_s is None:
            self._failing_since_s, self._failing_since_ms = loop.time(), self._now_ms()
        self.why = str(error)
        if self._lost is None and loop.time() - self._failing_since_s >= LOST_AFTER_S:
            since_ms = self._failing_since_ms
            self._lost = UpstreamLost(sink=self.name, through_seq=self.through_seq, since_ms=since_ms, why=self.why)
            self._record(self._lost)
        self._store_cursor()
        self._retry.clear()
        pause_s = self._backoff.pause_s(getattr(error, "retry_after_s", 0.0))
        with suppress(TimeoutError):
            async with asyncio.timeout(pause_s):
                await self._retry.wait()

    def _store_cursor_soon(self) -> None:
        if self._timer is None and not self._closed:
            self._timer = asyncio.get_running_loop().call_later(CURSOR_EVERY_S, self._store_cursor)

    def _store_cursor(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if self.through_seq != self._stored_seq and not self._closed:
            self._journal.set_cursor(self._cursor, self.through_seq)
            self._stored_seq = self.through_seq
