"""The reference upstream's directory: its rows, a snapshot of them, and every change since by its number."""

from __future__ import annotations

import asyncio
import hashlib
import json
from base64 import b64encode
from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

Row = dict[str, Any]
Change = dict[str, Any]

KEYS: Mapping[str, tuple[str, ...]] = {
    "credential": ("technology", "value"),
    "entitlement": ("holder", "id"),
    "wallet": ("holder",),
    "schedule": ("id",),
    "zone": ("id",),
    "issuer_key": ("id",),
}
CHANGES_MAX = 5_000
KEPT_BATCHES = 10_000


class Snapshot(NamedTuple):
    """The whole directory at one cursor."""

    cursor: int
    content: bytes
    etag: str


class Gone(Exception):
    """Changes after this cursor are no longer known; only a snapshot helps."""


def digest(content: bytes) -> str:
    """Return the field value of Content-Digest and Repr-Digest (RFC 9530)."""
    return f"sha-256=:{b64encode(hashlib.sha256(content).digest()).decode()}:"


def key_of(row: Row) -> tuple[str, ...]:
    """Return what tells a row from all others."""
    return (row["type"], *(str(row[name]) for name in KEYS[row["type"]]))


class DirectoryOfAll:
    """All rows, and batches of changes in the order in which they happened."""

    def __init__(self) -> None:
        self.cursor = 0
        self._rows: dict[tuple[str, ...], Row] = {}
        self._batches: list[tuple[int, list[Change]]] = []
        self._changed = asyncio.Event()

    def set(self, rows: Iterable[Row]) -> None:
        """Take other rows altogether; changes from before are forgotten."""
        self._rows = {key_of(row): row for row in rows}
        self.cursor += 1
        self._batches.clear()
        self._wake()

    def change(self, changes: list[Change]) -> int:
        """Change rows; returns the new cursor."""
        changes = [{"op": "put", **change} for change in changes]
        for change in changes:
            row = change["row"]
            if change["op"] == "put":
                self._rows[key_of(row)] = row
            else:
                self._rows.pop(key_of(row), None)
        self.cursor += 1
        self._batches.append((self.cursor, changes))
        del self._batches[:-KEPT_BATCHES]
        self._wake()
        return self.cursor

    def single_use(self, holder: str, entitlement: str) -> bool:
        """Return whether an entitlement admits once in all."""
        row = self._rows.get(("entitlement", holder, entitlement))
        return row is not None and row.get("uses") == 1

    def snapshot(self) -> Snapshot:
        """Return everything as NDJSON."""
        lines = (json.dumps(row, separators=(",", ":"), ensure_ascii=False) for row in self._rows.values())
        content = "".join(f"{line}\n" for line in lines).encode()
        return Snapshot(self.cursor, content, f'"{self.cursor}-{hashlib.sha256(content).hexdigest()[:16]}"')

    async def since(self, after: int, wait_s: float) -> dict[str, Any] | None:
        """Return what changed after a cursor, waiting for it; None when nothing does in time. Raises Gone."""
        self._check(after)
        if after == self.cursor:
            try:
                await asyncio.wait_for(self._changed.wait(), wait_s)
            except TimeoutError:
                return None
            # Another directory altogether may have come.
            self._check(after)
        return self._between(after)

    def _check(self, after: int) -> None:
        oldest = self._batches[0][0] - 1 if self._batches else self.cursor
        if after > self.cursor or after < oldest:
            raise Gone

    def _between(self, after: int) -> dict[str, Any]:
        changes: list[Change] = []
        cursor = after
        for number, batch in self._batches:
            if number > after and (not changes or len(changes) + len(batch) <= CHANGES_MAX):
                changes += batch
                cursor = number
            elif number > after:
                break
        return {"after": after, "cursor": cursor, "changes": changes}

    def _wake(self) -> None:
        self._changed.set()
        self._changed = asyncio.Event()
