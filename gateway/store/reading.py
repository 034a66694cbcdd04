"""Reading `journal.db`, in the loop beside the writer or from another process.

Every statement is fetched to its end at once: an open one would keep the WAL from starting over.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Collection, Iterator, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any, NamedTuple

from gateway.store.database import open_reader
from gateway.store.errors import StorageUnavailable, from_sqlite
from gateway.store.redaction import unexplained
from gateway.store.rows import GENESIS, StoredRow

CHUNK_ROWS = 1000
MAPPED_BYTES_MAX = 1 << 40
"""SQLite takes as much of it as it can."""
BETWEEN_BODIES = b"\x1e"
"""ASCII's record separator, which stands in no JSON."""
_NUMBERS_BYTES = 33
_IDS_BYTES = 48
_JOINED = """
SELECT CAST(group_concat((seq + 10000000000000000) || (at_ms + 1000000000000000), '') AS BLOB),
       CAST(group_concat(id || hash, '') AS BLOB),
       CAST(group_concat(body, char(30)) AS BLOB)
FROM (SELECT seq, id, at_ms, body, hash FROM journal WHERE seq > ? ORDER BY seq LIMIT ?)
"""


class JoinedRows(NamedTuple):
    """Consecutive rows as three strings of bytes, which costs a third of what a tuple for each does.

    `numbers` has 33 digits a row: 1, `seq` in 16, 1, and `at_ms` in 15. `ids` has 48 bytes a row: the id and the hash.
    Between `bodies` stands `BETWEEN_BODIES`.
    """

    numbers: bytes
    ids: bytes
    bodies: bytes

    @property
    def row_count(self) -> int:
        """How many rows there are."""
        return len(self.numbers) // _NUMBERS_BYTES

    @property
    def first_seq(self) -> int:
        """The number of the first row."""
        return int(self.numbers[1:17])

    @property
    def last_seq(self) -> int:
        """The number of the last row."""
        return int(self.numbers[-_NUMBERS_BYTES + 1 : -_NUMBERS_BYTES + 17])

    @property
    def last_id(self) -> bytes:
        """The id of the last row."""
        return self.ids[-_IDS_BYTES : -_IDS_BYTES + 16]


class Reader:
    """A read-only connection to the journal. Lookups by key take some microseconds.

    Every method raises StorageUnavailable when the file cannot be read.
    """

    def __init__(self, path: Path, *, mapped: bool = False) -> None:
        """Open an existing journal. Raises StorageUnavailable.

        When it is `mapped` into memory, long reads take a tenth less; but a disk that fails then ends the process.
        """
        self._path = path
        self._connection = open_reader(path)
        if mapped:
            self._fetch(f"PRAGMA mmap_size = {MAPPED_BYTES_MAX}", ())

    def close(self) -> None:
        """Close the connection."""
        self._connection.close()

    def rows(self, after_seq: int, limit: int) -> list[StoredRow]:
        """Return at most `limit` journal rows after `after_seq`, in order."""
        query = "SELECT seq, id, at_ms, body, hash FROM journal WHERE seq > ? ORDER BY seq LIMIT ?"
        return [StoredRow._make(row) for row in self._fetch(query, (after_seq, limit))]

    def joined_rows(self, after_seq: int, limit: int) -> JoinedRows:
        """Return at most `limit` rows after `after_seq`, read in one step, during which others have the interpreter."""
        numbers, ids, bodies = self._fetch(_JOINED, (after_seq, limit))[0]
        return JoinedRows(numbers or b"", ids or b"", bodies or b"")

    def all_rows(self, after_seq: int = 0) -> Iterator[StoredRow]:
        """Yield every journal row after `after_seq`, holding no lock between chunks."""
        while rows := self.rows(after_seq, CHUNK_ROWS):
            yield from rows
            after_seq = rows[-1].seq

    def newest(self, count: int) -> list[StoredRow]:
        """Return the last `count` journal rows, in order."""
        query = "SELECT seq, id, at_ms, body, hash FROM journal ORDER BY seq DESC LIMIT ?"
        return [StoredRow._make(row) for row in reversed(self._fetch(query, (count,)))]

    def state_row(self, kind: str, key: str) -> bytes | None:
        """Return one folded row, or None."""
        return self._value("SELECT value FROM state WHERE kind = ? AND key = ?", (kind, key))

    def state_rows(self, kinds: Collection[str] | None) -> Iterator[tuple[str, str, bytes]]:
        """Yield folded rows as (kind, key, value), sorted; of all kinds when None."""
        query = "SELECT kind, key, value FROM state WHERE (kind, key) > (?, ?) ORDER BY kind, key LIMIT ?"
        place: tuple[str, str] = ("", "")
        while rows := self._fetch(query, (*place, CHUNK_ROWS)):
            yield from (row for row in rows if kinds is None or row[0] in kinds)
            place = rows[-1][:2]

    def attachment(self, attachment_id: str) -> bytes | None:
        """Return the content stored under this id, or None."""
        return self._value("SELECT body FROM attachments WHERE id = ?", (attachment_id,))

    def cursors(self) -> dict[str, int]:
        """Return how far each reader of the journal has come."""
        return dict(self._fetch("SELECT name, seq FROM cursors", ()))

    def fold_seq(self) -> int:
        """Return the row up to which the folded state is complete; 0 before the first fold."""
        found = self._fetch("SELECT value FROM meta WHERE key = 'fold_seq'", ())
        return found[0][0] if found else 0

    def pruned(self) -> tuple[int, bytes]:
        """Return the last row that was pruned, and its hash; 0 and the hash before all rows when none was."""
        found = dict(self._fetch("SELECT key, value FROM meta WHERE key IN ('pruned_seq', 'pruned_hash')", ()))
        return found.get("pruned_seq", 0), found.get("pruned_hash", GENESIS)

    def journal_id(self) -> bytes | None:
        """Return the id of the first event that ever was in this journal, which is its name; None before it."""
        first = self._value("SELECT value FROM meta WHERE key = 'journal_id'", ())
        return first or self._value("SELECT id FROM journal ORDER BY seq LIMIT 1", ())

    def _value(self, query: str, parameters: tuple[object, ...]) -> bytes | None:
        found = self._fetch(query, parameters)
        return found[0][0] if found else None

    def _fetch(self, query: str, parameters: tuple[object, ...]) -> list[tuple[Any, ...]]:
        try:
            return self._connection.execute(query, parameters).fetchall()
        except sqlite3.Error as error:
            raise from_sqlite(error, self._path) from error


def check_chain(rows: Sequence[StoredRow], path: Path) -> None:
    """Raise StorageUnavailable for a journal whose newest rows were changed. `verify` checks all of them."""
    bad_seq = unexplained((previous.hash, row) for previous, row in pairwise(rows))
    gap = next((row.seq for previous, row in pairwise(rows) if row.seq != previous.seq + 1), None)
    if (found := bad_seq or gap) is not None:
        message = f"{path}: row {found} does not fit the chain; look with `venue-gateway journal verify`"
        raise StorageUnavailable(f"{message} and restore a backup", fatal=True)
