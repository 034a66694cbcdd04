"""The event feed: the whole journal, in order, on one topic, at least once.

Its place is a cursor in the journal, moved as the broker acknowledges. After an outage or a restart it goes on from
there by reading the journal; once level with it, it passes live commits on without reading them again.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Protocol

import msgspec
import structlog

from gateway.flows.recorder import Committed
from gateway.mqtt.messages import timestamp
from gateway.mqtt.session import Session
from gateway.mqtt.topics import Topics
from gateway.mqtt5.connection import Outcome
from gateway.store.rows import id_text

CURSOR = "mqtt-feed"
BATCH_ENTRIES_MAX = 200
BATCH_BYTES_MAX = 128 * 1024
CATCH_UP_BATCHES_MAX = 2
"""Batches in flight while catching up: each costs the loop about a millisecond of reading, between taps."""
INFLIGHT_BATCHES_MAX = 8
"""Batches sent and not acknowledged. Beyond them live commits are left in the journal and read from it later."""
CURSOR_EVERY_S = 5.0
"""How often the cursor moves on disk. Each move wears the card; after a crash that much is sent again."""
RETRY_S = 1.0

log = structlog.get_logger()


class JournalRow(Protocol):
    """A stored entry, as the journal reads it."""

    @property
    def seq(self) -> int: ...  # noqa: D102
    @property
    def id(self) -> bytes: ...  # noqa: D102
    @property
    def at_ms(self) -> int: ...  # noqa: D102
    @property
    def body(self) -> bytes: ...  # noqa: D102


class FeedJournal(Protocol):
    """What the feed needs of the journal."""

    def read(self, after_seq: int, limit: int) -> Sequence[JournalRow]:
        """Return entries on disk after `after_seq`, in order."""
        ...

    def cursor(self, name: str) -> int:
        """Return the last seq a reader has done with."""
        ...

    def set_cursor(self, name: str, seq: int) -> None:
        """Move a reader's cursor with the next batch."""
        ...


class Item(msgspec.Struct, frozen=True):
    """One entry in its wire form."""

    seq: int
    json: bytes


class _Batch(msgspec.Struct):
    last_seq: int
    acknowledged: bool = False


def entry_json(seq: int, entry_id: str, at_ms: int, body: bytes) -> bytes:
    """Return a feed entry: the event's own JSON object with `seq`, `id` and `at` put in front."""
    return b'{"seq":%d,"id":"%s","at":"%s",%s' % (seq, entry_id.encode(), timestamp(at_ms).encode(), body[1:])


def batches(items: Iterable[Item], bytes_max: int = BATCH_BYTES_MAX) -> Iterator[tuple[int, bytes]]:
    """Yield (last seq, JSON array) for `items`, each array within the bounds of one message."""
    bytes_max = min(bytes_max, BATCH_BYTES_MAX)
    parts: list[bytes] = []
    size = last = 0
    for item in items:
        if parts and (len(parts) >= BATCH_ENTRIES_MAX or size + len(item.json) + len(b"[]") > bytes_max):
            yield last, b"[" + b",".join(parts) + b"]"
            parts, size = [], 0
        parts.append(item.json)
        size += len(item.json) + 1
        last = item.seq
    if parts:
        yield last, b"[" + b",".join(parts) + b"]"


class Feed:
    """Publishes the journal. `committed` listens to the recorder; `close()` stores the cursor."""

    def __init__(self, session: Session, topics: Topics, journal: FeedJournal) -> None:
        self._session = session
        self._topic = topics.events
        self._journal = journal
        self._sent_seq = self.acknowledged_seq = self._stored_seq = journal.cursor(CURSOR)
        self._inflight: deque[_Batch] = deque()
        self._behind = True
        self._closed = False
        self._timer: asyncio.TimerHandle | None = None
        self._retry: asyncio.TimerHandle | None = None
        session.state_listeners.append(self._state_changed)
        session.drained_listeners.append(self._catch_up)

    def committed(self, entries: Sequence[Committed]) -> None:
        """Pass a commit on, or leave it in the journal for later."""
        if self._behind or not self._usable:
            self._behind = True
            return None
        fresh = [one for one in entries if one.entry.seq > self._sent_seq]
        if fresh and fresh[0].entry.seq != self._sent_seq + 1:
            self._behind = True
            return self._catch_up()
        self._send_all(
            Item(one.entry.seq, entry_json(one.entry.seq, one.entry.id, one.entry.at_ms, one.body)) for one in fresh
        )
        return None

    def close(self) -> None:
        """Store the cursor a last time; after this the journal may be closed."""
        self._store_cursor()
        self._closed = True
        if self._retry is not None:
            self._retry.cancel()

    @property
    def _usable(self) -> bool:
        return self._session.connected and not self._closed

    def _state_changed(self, connected: bool, _why: str) -> None:
        # What was sent and not acknowledged may be lost, so it is sent again: at least once.
        self._inflight.clear()
        self._sent_seq = self.acknowledged_seq
        self._behind = True
        if connected:
            self._catch_up()
        else:
            self._store_cursor()

    def _catch_up(self) -> None:
        """Read and send until level with the journal or enough is in flight; acknowledgements call again."""
        while (
            not self._closed and self._behind and self._session.connected and len(self._inflight) < CATCH_UP_BATCHES_MAX
        ):
            rows = self._read()
            if not rows:
                return
            # Fewer than asked for means the end: from here on live commits follow without a gap, in the same thread.
            self._behind = len(rows) >= BATCH_ENTRIES_MAX
            items = (Item(row.seq, entry_json(row.seq, id_text(row.id), row.at_ms, row.body)) for row in rows)
            if not self._send_all(items):
                # Whoever made room tells so; what this broker never takes is tried again in a while, and not at once.
                self._try_later()
                return

    def _read(self) -> Sequence[JournalRow]:
        try:
            rows = self._journal.read(self._sent_seq, BATCH_ENTRIES_MAX)
        except Exception as error:  # noqa: BLE001 - whatever the disk says, the feed waits and tries again
            log.warning("mqtt.feed_waits", why=str(error))
            self._try_later()
            return ()
        if not rows:
            self._behind = False
        return rows

    def _try_later(self) -> None:
        if self._retry is None:
            self._retry = asyncio.get_running_loop().call_later(RETRY_S, self._retry_now)

    def _retry_now(self) -> None:
        self._retry = None
        self._catch_up()

    def _send_all(self, items: Iterable[Item]) -> bool:
        """Send as much as there is room for; False when some of it is left in the journal."""
        for last_seq, payload in batches(items, self._session.payload_max):
            if len(self._inflight) >= INFLIGHT_BATCHES_MAX or not self._send(last_seq, payload):
                self._behind = True
                return False
        return True

    def _send(self, last_seq: int, payload: bytes) -> bool:
        batch = _Batch(last_seq)
        if not self._session.publish(self._topic, payload, on_ack=self._acknowledgement(batch)):
            return False
        self._inflight.append(batch)
        self._sent_seq = last_seq
        return True

    def _acknowledgement(self, batch: _Batch) -> Callable[[Outcome], None]:
        def acknowledged(outcome: Outcome) -> None:
            if outcome is Outcome.LOST:
                return
            # A refused batch would be refused again: the session has logged it, and the feed must not stand still.
            batch.acknowledged = True
            while self._inflight and self._inflight[0].acknowledged:
                self.acknowledged_seq = self._inflight.popleft().last_seq
            self._store_cursor_soon()
            self._catch_up()

        return acknowledged

    def _store_cursor_soon(self) -> None:
        if self._timer is None and not self._closed:
            self._timer = asyncio.get_running_loop().call_later(CURSOR_EVERY_S, self._store_cursor)

    def _store_cursor(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if self._closed or self.acknowledged_seq == self._stored_seq:
            return
        try:
            self._journal.set_cursor(CURSOR, self.acknowledged_seq)
            self._stored_seq = self.acknowledged_seq
        except Exception as error:  # noqa: BLE001 - the cursor then moves with a later acknowledgement
            log.warning("mqtt.feed_cursor_not_stored", why=str(error))
