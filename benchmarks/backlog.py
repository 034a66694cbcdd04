"""A journal with a backlog: rows as the gateway writes them, chained and folded, that nobody upstream has yet."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path
from random import Random
from uuid import UUID

from gateway.store.database import open_writer
from gateway.store.rows import GENESIS, Row, chain

CHUNK_ROWS = 10_000
FIRST_MS = 1_780_000_000_000
EVERY_MS = 37


def add_backlog(path: Path, count: int) -> int:
    """Add `count` rows to the journal `path`, which nobody has open; returns the last seq.

    The local feed has read them, and the folded state knows of them: only upstream is behind.
    """
    dice = Random(count)
    with closing(open_writer(path)) as journal:
        last = journal.execute("SELECT seq, hash, at_ms FROM journal ORDER BY seq DESC LIMIT 1").fetchone()
        seq, link, at_ms = last or (0, GENESIS, FIRST_MS)
        # A journal that goes on must not run ahead of the clock, which would not be trusted then.
        every_ms = 0 if last else EVERY_MS
        end = seq + count
        while seq < end:
            rows = []
            for _ in range(min(CHUNK_ROWS, end - seq)):
                seq, at_ms = seq + 1, at_ms + every_ms
                row = Row(seq, UUID(int=dice.getrandbits(128), version=4).bytes, at_ms, _body(dice, seq))
                link = chain(link, row)
                rows.append((*row, link))
            journal.execute("BEGIN")
            journal.executemany("INSERT INTO journal VALUES (?, ?, ?, ?, ?)", rows)
            journal.execute("COMMIT")
        journal.execute("INSERT OR REPLACE INTO meta VALUES ('fold_seq', ?)", (seq,))
        journal.execute("INSERT OR REPLACE INTO cursors VALUES ('mqtt-feed', ?)", (seq,))
        journal.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    return seq


def _body(dice: Random, seq: int) -> bytes:
    entry, ref = UUID(int=dice.getrandbits(128), version=4), f"{dice.getrandbits(128):032x}"
    return (
        f'{{"kind":"entry.denied","entry":"{entry}","gate":"gate-{seq % 64:02}","reason":"no_uses_left",'
        f'"credential":{{"ref":"{ref}","technology":"em4100"}},"holder":"guest-{seq}"}}'
    ).encode()


def rows_of(path: Path, query: str) -> list[tuple[object, ...]]:
    """Return what a query finds in a database that is only read."""
    with closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True)) as database:
        return database.execute(query).fetchall()
