"""Pages of the journal for whoever asks, read in a thread of their own: no tap waits for somebody else's history."""

from __future__ import annotations

from pathlib import Path

import aiosqlite

from gateway.store.errors import from_sqlite
from gateway.store.rows import StoredRow

QUERY = "SELECT seq, id, at_ms, body, hash FROM journal WHERE seq > ? ORDER BY seq LIMIT ?"
OLD_ANSWERS = "SELECT key FROM state WHERE kind = 'request' AND json_extract(value, '$.at_ms') < ? LIMIT ?"


class History:
    """A slow lane to the journal beside the fast one that decisions use."""

    def __init__(self, path: Path) -> None:
        """Read from the journal at `path`; it is opened for each page, so nothing pins the WAL in between."""
        self._address = f"{path.absolute().as_uri()}?mode=ro"
        self._path = path

    async def answers_before(self, before_ms: int, limit: int) -> list[str]:
        """Return the keys of at most `limit` stored answers from before that time. Raises StorageUnavailable."""
        try:
            async with aiosqlite.connect(self._address, uri=True) as journal:
                rows = await journal.execute_fetchall(OLD_ANSWERS, (before_ms, limit))
        except aiosqlite.Error as error:
            raise from_sqlite(error, self._path) from error
        return [row[0] for row in rows]

    async def page(self, after_seq: int, limit: int) -> list[StoredRow]:
        """Return at most `limit` rows on disk after `after_seq`, in order. Raises StorageUnavailable."""
        try:
            async with aiosqlite.connect(self._address, uri=True) as journal:
                rows = await journal.execute_fetchall(QUERY, (after_seq, limit))
        except aiosqlite.Error as error:
            raise from_sqlite(error, self._path) from error
        return [StoredRow._make(row) for row in rows]
