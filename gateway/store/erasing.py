"""Rewrites the rows of a journal that nobody has open, in one transaction, and leaves nothing of the old ones."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import closing
from pathlib import Path

from gateway.store.database import open_writer
from gateway.store.directory import DIRECTORY_FILE
from gateway.store.errors import from_sqlite
from gateway.store.redaction import mark
from gateway.store.rows import GENESIS, Row, StoredRow, chain

CHUNK_ROWS = 1000

Rewrite = Callable[[bytes], bytes]
RewriteState = Callable[[str, str, bytes], tuple[str, bytes]]
Tell = Callable[[int, Sequence[str]], Sequence[Row]]
"""Returns the rows that tell of what was rewritten, to follow the row of this number, from the marks."""


def rewrite_journal(
    path: Path,
    rewrite: Rewrite,
    rewrite_state: RewriteState,
    tell: Tell,
    concerns: Callable[[bytes], bool],
    kept_attachments: Collection[str] = (),
) -> tuple[int, int]:
    """Rewrite journal, state and attachments, and add the rows that tell of it; all of it or nothing.

    Attachments that are concerned are deleted, except those kept. Returns how many journal rows and how many others
    changed. Raises StorageUnavailable.
    """
    try:
        with closing(open_writer(path)) as connection:
            # What is overwritten or freed is zeroed, also what earlier changes left in free pages.
            connection.execute("PRAGMA secure_delete = ON").fetchall()
            connection.execute("BEGIN IMMEDIATE")
            marks = list(_rewrite_rows(connection, rewrite))
            others = _rewrite_state(connection, rewrite_state)
            others += _drop_attachments(connection, concerns, kept_attachments)
            if marks or others:
                _append(connection, tell, marks)
            connection.execute("COMMIT")
            connection.execute("VACUUM")
            connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
    except sqlite3.Error as error:
        raise from_sqlite(error, path) from error
    return len(marks), others


def forget_in_directory(state_dir: Path, holders: Collection[str]) -> int:
    """Take holders out of the directory, which nobody has open; returns how many rows went.

    Raises StorageUnavailable.
    """
    path, gone = state_dir / DIRECTORY_FILE, 0
    if not path.exists():
        return 0
    try:
        with closing(sqlite3.connect(path, isolation_level=None)) as connection:
            connection.execute("PRAGMA secure_delete = ON").fetchall()
            for holder in holders:
                for table in ("credentials", "entitlements", "wallets"):
                    gone += connection.execute(f"DELETE FROM {table} WHERE holder = ?", (holder,)).rowcount  # noqa: S608 - names of our own
            connection.execute("VACUUM")
    except sqlite3.Error as error:
        raise from_sqlite(error, path) from error
    return gone


def refs_in_directory(state_dir: Path, holder: str) -> list[str]:
    """Return the references of a holder's credentials. Raises StorageUnavailable."""
    path = state_dir / DIRECTORY_FILE
    if not path.exists():
        return []
    try:
        with closing(sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True)) as connection:
            rows = connection.execute("SELECT ref FROM credentials WHERE holder = ?", (holder,)).fetchall()
    except sqlite3.Error as error:
        raise from_sqlite(error, path) from error
    return [row[0].hex() for row in rows]


def _rewrite_rows(connection: sqlite3.Connection, rewrite: Rewrite) -> Iterator[str]:
    """Rewrite the bodies and yield the mark of each changed row; the hashes stay."""
    after = 0
    query = "SELECT seq, id, at_ms, body, hash FROM journal WHERE seq > ? ORDER BY seq LIMIT ?"
    while rows := connection.execute(query, (after, CHUNK_ROWS)).fetchall():
        for row in map(StoredRow._make, rows):
            body = rewrite(row.body)
            if body != row.body:
                connection.execute("UPDATE journal SET body = ? WHERE seq = ?", (body, row.seq))
                yield mark(row._replace(body=body))
        after = rows[-1][0]


def _rewrite_state(connection: sqlite3.Connection, rewrite: RewriteState) -> int:
    changed = 0
    for kind, key, value in connection.execute("SELECT kind, key, value FROM state").fetchall():
        new_key, new_value = rewrite(kind, key, value)
        if (new_key, new_value) != (key, value):
            connection.execute("DELETE FROM state WHERE kind = ? AND key = ?", (kind, key))
            connection.execute("INSERT INTO state (kind, key, value) VALUES (?, ?, ?)", (kind, new_key, new_value))
            changed += 1
    return changed


def _drop_attachments(connection: sqlite3.Connection, concerns: Callable[[bytes], bool], kept: Collection[str]) -> int:
    ids = [one for (one,) in connection.execute("SELECT id FROM attachments").fetchall() if one not in kept]
    gone = 0
    for one in ids:
        ((body,),) = connection.execute("SELECT body FROM attachments WHERE id = ?", (one,)).fetchall()
        if concerns(body):
            connection.execute("DELETE FROM attachments WHERE id = ?", (one,))
            gone += 1
    return gone


def _append(connection: sqlite3.Connection, tell: Tell, marks: Sequence[str]) -> None:
    newest = connection.execute("SELECT seq, hash FROM journal ORDER BY seq DESC LIMIT 1").fetchall()
    seq, link = newest[0] if newest else (0, GENESIS)
    for row in tell(seq, marks):
        link = chain(link, row)
        connection.execute("INSERT INTO journal VALUES (?, ?, ?, ?, ?)", (*row, link))
