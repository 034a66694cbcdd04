"""Reads the journal for the sinks and packs what it finds, in a thread of its own: no tap waits for it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import msgspec
from isal import isal_zlib

from drivers.transports.cores import roam
from gateway.flows.recorder import id_text
from gateway.store.reading import Reader
from gateway.store.rows import StoredRow
from gateway.upstream.cloudevents import cloud_events, source
from gateway.upstream.sinks import Pack

PACK_ROWS_MAX = 500
PACK_BYTES_MAX = 512 << 10
"""Before compression."""
PACK_ROWS_MIN = 250
"""With fewer, what each pack costs by itself weighs more than its events; of a backlog it gets as many in any case."""
ROWS_AT_A_TIME = 50
"""A pack grows by so many while the one before it is under way; between them the interpreter is given up to taps."""
GZIP_LEVEL = 1
_GZIP_WINDOW_BITS = 31
"""Of zlib: a window of 32 KiB, and gzip's own header and trailer."""


def _always() -> bool:
    return True


class Wanted(msgspec.Struct, frozen=True):
    """What a pack shall be: its bounds, the rows it passes over, and its form.

    A pack is `enough` when that says so, or it is full. That is asked in the outbox's thread.
    """

    rows_max: int = PACK_ROWS_MAX
    aside: Collection[int] = ()
    singly: bool = False
    enough: Callable[[], bool] = _always


class Outbox:
    """Packs for every sink. `venue` is the venue's id."""

    def __init__(self, journal: Path, venue: str) -> None:
        """Prepare; the journal is opened at the first use."""
        self._path = journal
        self._venue = venue
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="outbox", initializer=roam)
        self._reader: Reader | None = None

    async def pack(self, after_seq: int, wanted: Wanted | None = None) -> Pack | None:
        """Return what comes after `after_seq`; None when nothing does.

        Raises StorageUnavailable when the journal cannot be read now.
        """
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._thread, self._pack, after_seq, wanted or Wanted())

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

    def _pack(self, after_seq: int, wanted: Wanted) -> Pack | None:
        reader = self._open()
        journal_id = reader.journal_id()
        if journal_id is None:
            return None
        pruned_seq, _ = reader.pruned()
        gap, after_seq = after_seq < pruned_seq, max(after_seq, pruned_seq)
        of = source(self._venue, journal_id)
        through_seq, through_digits = after_seq, ""
        made = _Singly() if wanted.singly else _Batch()
        while made.count < wanted.rows_max and made.size_bytes < PACK_BYTES_MAX:
            rows = reader.hex_rows(through_seq, min(ROWS_AT_A_TIME, wanted.rows_max - made.count))
            if rows:
                through_seq, through_digits = rows[-1][:2]
                made.add(cloud_events(rows, of, wanted.aside))
            if not rows or (made.count >= PACK_ROWS_MIN and wanted.enough()):
                break
        if through_seq == after_seq:
            return None
        body, parts = made.finished()
        through_id = id_text(bytes.fromhex(through_digits))
        return Pack(of, after_seq, through_seq, through_id, made.count, body, parts, gap)

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


class _Batch:
    """Events as one compressed array; it is compressed while it grows, so that little is left to do at its end."""

    def __init__(self) -> None:
        self._gzip = isal_zlib.compressobj(GZIP_LEVEL, wbits=_GZIP_WINDOW_BITS)
        self._pieces = [self._gzip.compress(b"[")]
        self.count = self.size_bytes = 0

    def add(self, events: list[bytes]) -> None:
        """Add the next events."""
        joined = b",".join(events)
        if events:
            self._pieces.append(self._gzip.compress(b"," + joined if self.count else joined))
        self.count += len(events)
        self.size_bytes += len(joined)

    def finished(self) -> tuple[bytes, tuple[bytes, ...]]:
        """Return the body."""
        self._pieces += self._gzip.compress(b"]"), self._gzip.flush()
        return b"".join(self._pieces), ()


class _Singly:
    """Events one by one, as they are."""

    def __init__(self) -> None:
        self._parts: list[bytes] = []
        self.size_bytes = 0

    @property
    def count(self) -> int:
        """How many there are."""
        return len(self._parts)

    def add(self, events: list[bytes]) -> None:
        """Add the next events."""
        self._parts += events
        self.size_bytes += sum(map(len, events))

    def finished(self) -> tuple[bytes, tuple[bytes, ...]]:
        """Return the parts."""
        return b"", tuple(self._parts)


_NO_ROW = StoredRow(0, b"", 0, b"", b"")
