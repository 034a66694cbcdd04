"""Reads the journal for the sinks and packs what it finds, in a thread of its own: no tap waits for it."""

from __future__ import annotations

import asyncio
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from drivers.transports.cores import roam
from gateway.store.rows import StoredRow
from gateway.upstream.backlog import Backlog
from gateway.upstream.packing import Packing, Wanted
from gateway.upstream.sinks import Pack


class Outbox:
    """Packs for every sink. `venue` is the venue's id."""

    def __init__(self, journal: Path, venue: str) -> None:
        """Prepare; the journal is opened at the first use."""
        self._path = journal
        self._venue = venue
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="outbox", initializer=roam)
        self._packing = Packing(journal, venue)

    async def pack(self, after_seq: int, wanted: Wanted | None = None) -> Pack | None:
        """Return what comes after `after_seq`; None when nothing does.

        Raises StorageUnavailable when the journal cannot be read now.
        """
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._thread, self._packing.pack, after_seq, wanted or Wanted())

    def backlog(self) -> Backlog:
        """Return what packs for one sink that is far behind; nothing runs yet."""
        return Backlog(self._path, self._venue)

    async def source(self) -> str:
        """Return the name of this journal, as it stands in every event; empty before the first one."""
        return await asyncio.get_running_loop().run_in_executor(self._thread, self._packing.source)

    async def waiting_since_ms(self, after_seq: int) -> int | None:
        """Return when the first row after `after_seq` was recorded, in UTC milliseconds; None without one."""
        return await asyncio.get_running_loop().run_in_executor(self._thread, self._first_at_ms, after_seq)

    async def last_seq_before(self, at_ms: int, after_seq: int) -> int:
        """Return the last row that was recorded before `at_ms`; rows up to `after_seq` are known to be."""
        return await asyncio.get_running_loop().run_in_executor(self._thread, self._last_before, at_ms, after_seq)

    async def close(self) -> None:
        """Let go of the journal."""
        await asyncio.get_running_loop().run_in_executor(self._thread, self._packing.close)
        self._thread.shutdown(wait=False)

    # In the thread.

    def _first_at_ms(self, after_seq: int) -> int | None:
        rows: list[StoredRow] = self._packing.reader.rows(after_seq, 1)
        return rows[0].at_ms if rows else None

    def _last_before(self, at_ms: int, after_seq: int) -> int:
        """Times never go backwards in a journal, so the row is found by halving."""
        reader = self._packing.reader
        low, high = max(after_seq, reader.pruned()[0]), (reader.newest(1) or [_NO_ROW])[0].seq
        while low < high:
            middle = (low + high + 1) // 2
            rows = reader.rows(middle - 1, 1)
            if not rows or rows[0].at_ms >= at_ms:
                high = middle - 1
            else:
                low = middle
        return low


_NO_ROW = StoredRow(0, b"", 0, b"", b"")
