"""Makes packs of what stands in the journal. Nothing here waits, and it needs little else of the gateway.

It runs in a thread of the gateway (`outbox`), and for a sink that is far behind in a process of its own (`packer`).
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from pathlib import Path

import msgspec
from isal import isal_zlib

from gateway.store.reading import JoinedRows, Reader
from gateway.store.rows import id_text
from gateway.upstream.cloudevents import cloud_events, source
from gateway.upstream.sinks import Pack

PACK_ROWS_MAX = 500
PACK_BYTES_MAX = 512 << 10
"""Before compression; the last step may go over it."""
PACK_ROWS_MIN = 100
"""Of a backlog a pack gets as many in any case; larger ones hardly bring more events a second (decision 0008)."""
ROWS_AT_A_TIME = 100
"""A pack grows by so many while the one before it is under way; between them the interpreter is given up to taps."""
GZIP_LEVEL = 1
_GZIP_WINDOW_BITS = 31
"""Of zlib: a window of 32 KiB, and gzip's own header and trailer."""


def _always() -> bool:
    return True


class Wanted(msgspec.Struct, frozen=True):
    """What a pack shall be: its bounds, the rows it passes over, and its form.

    A pack is `enough` when that says so, or it is full. That is asked where the pack is made.
    """

    rows_max: int = PACK_ROWS_MAX
    aside: Collection[int] = ()
    singly: bool = False
    enough: Callable[[], bool] = _always


class Packing:
    """Packs of one journal; `venue` is the venue's id. Every method raises StorageUnavailable."""

    def __init__(self, journal: Path, venue: str, *, mapped: bool = False) -> None:
        """Prepare; the journal is opened at the first use, `mapped` as for `Reader`."""
        self._path = journal
        self._mapped = mapped
        self._venue = venue
        self._reader: Reader | None = None
        self._source = ""

    @property
    def reader(self) -> Reader:
        """The journal."""
        if self._reader is None:
            self._reader = Reader(self._path, mapped=self._mapped)
        return self._reader

    def source(self) -> str:
        """Return the name of this journal, which it has for good from its first event on; empty before."""
        if not self._source and (journal_id := self.reader.journal_id()) is not None:
            self._source = source(self._venue, journal_id)
        return self._source

    def pack(self, after_seq: int, wanted: Wanted) -> Pack | None:
        """Return what comes after `after_seq`; None when nothing does."""
        reader, of = self.reader, self.source()
        rows = reader.joined_rows(after_seq, min(ROWS_AT_A_TIME, wanted.rows_max))
        if not of or not rows.row_count:
            return None
        gap, after_seq = self._begin(after_seq, rows)
        made: _Singly | _Batch = _Singly() if wanted.singly else _Batch()
        last = rows
        while rows.row_count:
            last = rows
            made.add(cloud_events(rows, of, wanted.aside))
            room = wanted.rows_max - made.count
            if room <= 0 or made.size_bytes >= PACK_BYTES_MAX or (made.count >= PACK_ROWS_MIN and wanted.enough()):
                break
            rows = reader.joined_rows(last.last_seq, min(ROWS_AT_A_TIME, room))
        body, parts = made.finished()
        return Pack(of, after_seq, last.last_seq, id_text(last.last_id), made.count, body, parts, gap)

    def close(self) -> None:
        """Let go of the journal."""
        if self._reader is not None:
            self._reader.close()
            self._reader, self._source = None, ""

    def _begin(self, after_seq: int, first: JoinedRows) -> tuple[bool, int]:
        """Return whether rows before the first are no longer here, and what it follows then."""
        if first.first_seq == after_seq + 1:
            return False, after_seq
        pruned_seq = min(self.reader.pruned()[0], first.first_seq - 1)
        return after_seq < pruned_seq, max(after_seq, pruned_seq)


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
