"""Writes the journal's work to disk: one transaction at a time, in one statement where it can."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from time import perf_counter
from typing import TypeVar

from gateway.store.buckets import Buckets
from gateway.store.database import FRAME_BYTES, PAGE_BYTES, execute_rows, open_writer
from gateway.store.errors import StorageUnavailable, from_sqlite
from gateway.store.rows import GENESIS, Row, chain

ROWS_PER_STATEMENT = 256
WAL_SOFT_BYTES = 512 << 10
"""A WAL of this size is copied into the database when nobody waits."""
WAL_HARD_BYTES = 1 << 20
"""A WAL of this size is copied between two commits although somebody waits, for some 3 ms. Four times as much, four
times less often, holds up a window of 64 taps for 11 ms, and with it the 99th percentile; half as much costs speed.
A second thread that copies beside the commits halved the longest wait and doubled the 99th."""
PROBE_BYTES = 64 << 10
"""Room that must be left before a full disk counts as usable again, so that it does not fail and recover in turns."""

ROW_OVERHEAD_BYTES = 70
PRUNED_PAGES = 128
"""About how many pages one piece of pruning touches."""

Item = TypeVar("Item")


@dataclass(slots=True)
class Work:
    """What goes to disk in one transaction. Work with neither rows nor attachments may be lost and is not synced."""

    rows: Sequence[Row] = ()
    attachments: Sequence[tuple[str, bytes]] = ()
    state: Sequence[tuple[str, str, bytes | None]] = ()
    fold_seq: int | None = None
    cursors: Sequence[tuple[str, int]] = ()
    forget: Sequence[str] = ()
    """Ids of attachments that are no longer needed."""
    prune_through: int | None = None
    """The oldest rows go, up to and with this one; what they are chained by stays."""

    @property
    def must_last(self) -> bool:
        """True when somebody acts on it once it is written."""
        return bool(self.rows or self.attachments)

    @property
    def is_plain(self) -> bool:
        """True for journal rows only, few enough for one statement."""
        others = self.attachments or self.state or self.cursors or self.forget or self.fold_seq is not None
        others = others or self.prune_through is not None
        return not others and len(self.rows) <= ROWS_PER_STATEMENT


class Committer:
    """The one connection that writes the journal. Used by one thread at a time."""

    def __init__(self, path: Path) -> None:
        """Open or create the database. Raises StorageUnavailable."""
        self._path = path
        self._wal_bytes = 0
        self._broken: StorageUnavailable | None = None
        self.times = Buckets()
        """How long commits took, from the first byte to the end of the sync."""
        self._open()

    def _open(self) -> None:
        self._connection = open_writer(self._path)
        self._wal_bytes = 0
        found = self._connection.execute("SELECT hash FROM journal ORDER BY seq DESC LIMIT 1").fetchall()
        self._link: bytes = found[0][0] if found else GENESIS

    def commit(self, work: Work) -> None:
        """Write all of `work` or nothing. When it returns, rows and attachments have reached the disk.

        Raises StorageUnavailable; from a fatal one there is no way back but a new process.
        """
        if self._broken is not None:
            raise self._broken
        began_s = perf_counter()
        try:
            self._link = self._write(work)
        except sqlite3.Error as error:
            raise self._note(error) from error
        if work.must_last:
            self.times.took(perf_counter() - began_s)
        self._wal_bytes += _wal_bytes(work)

    @property
    def wants_checkpoint(self) -> bool:
        """True when a pause should be used to copy the WAL into the database."""
        return self._wal_bytes >= WAL_SOFT_BYTES

    @property
    def needs_checkpoint(self) -> bool:
        """True when the WAL must be copied now, pause or not."""
        return self._wal_bytes >= WAL_HARD_BYTES

    def checkpoint(self) -> None:
        """Copy the WAL into the database; the next commit then starts it over, in place."""
        try:
            ((busy, in_wal, copied),) = self._connection.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchall()
        except sqlite3.Error as error:
            # The rows are safe in the WAL. What is wrong shows at the next commit, at once if a sync failed.
            self._note(error)
            self._wal_bytes = 0
            return
        # A reader in the middle of the WAL holds the rest back; it is tried again when as much has been added.
        self._wal_bytes = 0 if busy or copied == in_wal else min(in_wal * FRAME_BYTES, WAL_SOFT_BYTES - 1)

    def recover(self) -> None:
        """Open the database anew and write something of a size. Raises StorageUnavailable."""
        if self._broken is not None:
            raise self._broken
        self._connection.close()
        # Should the opening fail, nobody may ask for a checkpoint on what is closed.
        self._wal_bytes = 0
        self._open()
        try:
            with self._transaction():
                probe = "INSERT OR REPLACE INTO meta (key, value) VALUES ('probe', zeroblob(?))"
                self._connection.execute(probe, (PROBE_BYTES,))
            with self._transaction():
                self._connection.execute("DELETE FROM meta WHERE key = 'probe'")
        except sqlite3.Error as error:
            raise self._note(error) from error

    def close(self) -> None:
        """Copy what is left of the WAL and close."""
        if self._broken is None:
            self.checkpoint()
        self._connection.close()

    def _note(self, error: sqlite3.Error) -> StorageUnavailable:
        unavailable = from_sqlite(error, self._path)
        if unavailable.fatal:
            self._broken = unavailable
        return unavailable

    def _write(self, work: Work) -> bytes:
        """Write in as few statements as can be and return the hash of the last row."""
        if work.is_plain:
            # A statement on its own is its own transaction: begin, insert, commit and sync in one call.
            return self._insert_rows(work.rows, self._link)
        if work.must_last:
            with self._transaction():
                return self._write_parts(work)
        # The next commit syncs this too, and before itself: the WAL has an order. So a fold needs no sync of its own.
        self._connection.execute("PRAGMA synchronous = NORMAL")
        with self._transaction():
            link = self._write_parts(work)
        self._connection.execute("PRAGMA synchronous = FULL")
        return link

    @contextmanager
    def _transaction(self) -> Iterator[None]:
        self._connection.execute("BEGIN IMMEDIATE")
        try:
            yield
            self._connection.execute("COMMIT")
        except BaseException:
            with suppress(sqlite3.Error):
                self._connection.execute("ROLLBACK")
            raise

    def _write_parts(self, work: Work) -> bytes:
        link = self._link
        for rows in _chunks(work.rows):
            link = self._insert_rows(rows, link)
        run = self._connection.execute
        for attachment in work.attachments:
            run("INSERT OR REPLACE INTO attachments (id, body) VALUES (?, ?)", attachment)
        self._write_state(work.state)
        for cursor in work.cursors:
            run("INSERT OR REPLACE INTO cursors (name, seq) VALUES (?, ?)", cursor)
        for attachment_id in work.forget:
            run("DELETE FROM attachments WHERE id = ?", (attachment_id,))
        if work.prune_through is not None:
            self._prune(work.prune_through)
        if work.fold_seq is not None:
            run("INSERT OR REPLACE INTO meta (key, value) VALUES ('fold_seq', ?)", (work.fold_seq,))
        return link

    def _prune(self, through_seq: int) -> None:
        """Delete the oldest rows; the last hash of them stays, so that what is left can still be checked from there."""
        run = self._connection.execute
        first = "SELECT 'journal_id', id FROM journal ORDER BY seq LIMIT 1"
        run(f"INSERT OR IGNORE INTO meta (key, value) {first}")
        kept = "INSERT OR REPLACE INTO meta (key, value) SELECT ?, {0} FROM journal WHERE seq = ?"
        run(kept.format("seq"), ("pruned_seq", through_seq))
        run(kept.format("hash"), ("pruned_hash", through_seq))
        run("DELETE FROM journal WHERE seq <= ?", (through_seq,))

    def _insert_rows(self, rows: Sequence[Row], link: bytes) -> bytes:
        values: list[object] = []
        for row in rows:
            link = chain(link, row)
            values += row
            values.append(link)
        if values:
            execute_rows(self._connection, "INSERT INTO journal", 5, values)
        return link

    def _write_state(self, rows: Sequence[tuple[str, str, bytes | None]]) -> None:
        kept = [row for row in rows if row[2] is not None]
        for chunk in _chunks(kept):
            values: list[object] = [value for row in chunk for value in row]
            execute_rows(self._connection, "INSERT OR REPLACE INTO state", 3, values)
        gone = [row[:2] for row in rows if row[2] is None]
        for pairs in _chunks(gone):
            keys: list[object] = [value for pair in pairs for value in pair]
            execute_rows(self._connection, "DELETE FROM state WHERE (kind, key) IN (", 2, keys, ")")


def _chunks(rows: Sequence[Item]) -> Iterator[Sequence[Item]]:
    return (rows[start : start + ROWS_PER_STATEMENT] for start in range(0, len(rows), ROWS_PER_STATEMENT))


def _wal_bytes(work: Work) -> int:
    """Return about how much `work` added to the WAL. SQLite tells the true size only at a checkpoint."""
    rows = sum(len(row.body) + ROW_OVERHEAD_BYTES for row in work.rows) * 4 // 3
    attachments = sum(len(body) for _, body in work.attachments)
    scattered = len(work.state) + len(work.cursors) + 2 * len(work.forget)
    scattered += PRUNED_PAGES if work.prune_through is not None else 0
    return ((rows + attachments) // PAGE_BYTES + scattered + 2) * FRAME_BYTES
