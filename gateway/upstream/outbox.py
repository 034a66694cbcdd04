"""Reads the journal for the sinks and packs what it finds, in a thread of its own: no tap waits for it."""

from __future__ import annotations

import asyncio
import gzip
from collections.abc import Collection
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from gateway.flows.recorder import id_text
from gateway.store.reading import Reader
from gateway.store.rows import StoredRow
from gateway.upstream.cloudevents import cloud_event, source
from gateway.upstream.sinks import Pack

PACK_ROWS_MAX = 500
PACK_BYTES_MAX = 512 << 10
"""Before compression."""
ROWS_AT_A_TIME = 50
"""The interpreter is given up to taps between so many."""
GZIP_LEVEL = 1


class Outbox:
    """Packs for every sink. `venue` is the venue's id."""

    def __init__(self, journal: Path, venue: str) -> None:
        """Prepare; the journal is opened at the first use."""
        self._path = journal
        self._venue = venue
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="outbox")
        self._reader: Reader | None = None

    async def pack(self, after_seq: int, rows_max: int = PACK_ROWS_MAX, aside: Collection[int] = ()) -> Pack | None:
        """Return what comes after `after_seq` without the rows `aside`; None when nothing does.

        Raises StorageUnavailable when the journal cannot be read now.
        """
        work = asyncio.get_running_loop().run_in_executor(self._thread, self._pack, after_seq, rows_max, aside)
        return await work

    async def source(self) -> str:
        """Return the name of this journal, as it stands in every event; empty before the first one."""
        return await asyncio.get_running_loop().run_in_executor(self._thread, self._source)

    async def waiting_since_ms(self, after_seq: int) -> int | None:
        """Return when the first row after `after_seq` was recorded, in UTC milliseconds; None without one."""
        return await asyncio.get_running_loop().run_in_executor(self._thread, self._first_at_ms, after_seq)

    async def last_seq_before(self, at_ms: int, after_seq: int) -> int:
        """Return the last row that was recorded before `at_ms`; rows up to `after_seq` are known to be."""
        return await asyncio.get_running_loop().run_in_executor(self._thread, self._last_before, at_ms, after_seq)

    async def close(self) -> None:
        """Let go of the journal."""
        await asyncio.get_running_loop().run_in_executor(self._thread, self._close)
        self._thread.shutdown(wait=False)

    # In the thread.

    def _open(self) -> Reader:
        if self._reader is None:
            self._reader = Reader(self._path)
        return self._reader

    def _pack(self, after_seq: int, rows_max: int, aside: Collection[int]) -> Pack | None:
        reader = self._open()
        journal_id = reader.journal_id()
        pruned_seq, _ = reader.pruned()
        gap, after_seq = after_seq < pruned_seq, max(after_seq, pruned_seq)
        if journal_id is None:
            return None
        of, through_seq, size_bytes = source(self._venue, journal_id), after_seq, 0
        parts: list[bytes] = []
        events: list[tuple[int, str]] = []
        while len(parts) < rows_max and size_bytes < PACK_BYTES_MAX:
            rows = reader.rows(through_seq, min(ROWS_AT_A_TIME, rows_max - len(parts)))
            for row in rows:
                through_seq = row.seq
                if row.seq not in aside:
                    event_id = id_text(row.id)
                    parts.append(cloud_event(row, event_id, of))
                    events.append((row.seq, event_id))
                    size_bytes += len(parts[-1])
            if not rows:
                break
        if through_seq == after_seq:
            return None
        body = gzip.compress(b"[" + b",".join(parts) + b"]", GZIP_LEVEL, mtime=0)
        return Pack(of, after_seq, through_seq, tuple(events), body, gap)

    def _source(self) -> str:
        journal_id = self._open().journal_id()
        return source(self._venue, journal_id) if journal_id is not None else ""

    def _first_at_ms(self, after_seq: int) -> int | None:
        rows: list[StoredRow] = self._open().rows(after_seq, 1)
        return rows[0].at_ms if rows else None

    def _last_before(self, at_ms: int, after_seq: int) -> int:
        """Times never go backwards in a journal, so the row is found by halving."""
        reader = self._open()
        low, high = max(after_seq, reader.pruned()[0]), (reader.newest(1) or [_NO_ROW])[0].seq
        while low < high:
            middle = (low + high + 1) // 2
            rows = reader.rows(middle - 1, 1)
            if not rows or rows[0].at_ms >= at_ms:
                high = middle - 1
            else:
                low = middle
        return low

    def _close(self) -> None:
        if self._reader is not None:
            self._reader.close()
            self._reader = None


_NO_ROW = StoredRow(0, b"", 0, b"", b"")
