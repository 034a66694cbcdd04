"""Builds a directory file from rows in any order, in little memory, without holding up the journal's disk.

The rows are gathered in a staging file, read back sorted and written in key order, so that the pages of the new file
are full and a look-up touches few of them.
"""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Callable, Iterable, Iterator, Sequence
from importlib import resources
from itertools import groupby, islice
from pathlib import Path
from typing import Any, TypeVar

import msgspec

from gateway.store.database import sync_folder
from gateway.store.directory import DIRECTORY_FILE, FORMAT, Summary
from gateway.store.owners import own_like_folder

BATCH_ROWS = 5000
"""Rows between two syncs of the new file: each leaves the disk free again soon for the journal's own sync."""
SORT_KIB = 8192
FILE_MODE = 0o640
_ARRAY_OF_ONE = b"\x91"
"""How a MessagePack array of one begins: nearly every guest has one ticket."""

Problem = Callable[[int, str], None]
T = TypeVar("T")
Rows = Iterator[tuple[Any, ...]]
StagedCredential = tuple[bytes, str, int, int | None, int, int]
"""ref, holder, state, valid_until_ms, kind, line."""
StagedEntitlement = tuple[str, str, bytes, int]
"""id, holder, the entitlement in MessagePack, line."""
StagedWallet = tuple[str, int, str, int, int]
"""holder, balance_minor, currency, counted_minor, line."""

_STAGING = (
    (
        "CREATE TABLE credentials"
        " (ref BLOB, holder TEXT, state INTEGER, valid_until_ms INTEGER, kind INTEGER, line INTEGER)"
    ),
    "CREATE TABLE entitlements (id TEXT, holder TEXT, body BLOB, line INTEGER)",
    "CREATE TABLE wallets (holder TEXT, balance_minor INTEGER, currency TEXT, counted_minor INTEGER, line INTEGER)",
)


class DirectoryFile:
    """A new directory in the making. Every method raises sqlite3.Error or OSError when the disk does not take it."""

    def __init__(self, state_dir: Path) -> None:
        """Begin anew in a state folder; what a broken import left there is removed."""
        self._folder = state_dir
        self._staging_path = state_dir / f"{DIRECTORY_FILE}.staging"
        self._new_path = state_dir / f"{DIRECTORY_FILE}.new"
        self._remove()
        self._staging = _scratch(self._staging_path)
        for statement in _STAGING:
            self._staging.execute(statement)
        self._staging.execute("BEGIN")

    def stage_credentials(self, rows: Iterable[StagedCredential]) -> None:
        """Gather credentials."""
        self._staging.executemany("INSERT INTO credentials VALUES (?, ?, ?, ?, ?, ?)", rows)

    def stage_entitlements(self, rows: Iterable[StagedEntitlement]) -> None:
        """Gather entitlements."""
        self._staging.executemany("INSERT INTO entitlements VALUES (?, ?, ?, ?)", rows)

    def stage_wallets(self, rows: Iterable[StagedWallet]) -> None:
        """Gather wallets."""
        self._staging.executemany("INSERT INTO wallets VALUES (?, ?, ?, ?, ?)", rows)

    def find_repeated_entitlements(self, problem: Problem) -> None:
        """Report each entitlement whose id an earlier line has."""
        # Nearly always there is none, and SQLite says so at once.
        rows = self._staging.execute(
            "SELECT id, line FROM entitlements"
            " WHERE id IN (SELECT id FROM entitlements GROUP BY id HAVING COUNT(*) > 1) ORDER BY id, line"
        )
        for entitlement_id, group in groupby(rows, key=lambda row: row[0]):
            (_, first), *others = group
            for _, line in others:
                problem(line, f"entitlement {entitlement_id!r} is on line {first} already")

    def build(self, summary: Summary, problem: Problem) -> None:
        """Write the new file in key order, reporting each credential and wallet that an earlier line has."""
        run = self._staging.execute
        credentials = run("SELECT ref, holder, state, valid_until_ms, kind FROM credentials ORDER BY ref")
        wallets = run("SELECT holder, balance_minor, currency, counted_minor FROM wallets ORDER BY holder")
        try:
            self.write(credentials, self._by_holder(), wallets, lambda: summary)
        except sqlite3.IntegrityError:
            # A key came twice. To look for it beforehand would cost every import what only a wrong one needs.
            _find_repeated(run("SELECT ref, line FROM credentials ORDER BY ref, line"), "credential", problem)
            _find_repeated(run("SELECT holder, line FROM wallets ORDER BY holder, line"), "wallet", problem)

    def write(self, credentials: Rows, entitlements: Rows, wallets: Rows, summary: Callable[[], Summary]) -> None:
        """Write the new file from rows in the order of their keys; `summary` is asked when all of them have passed."""
        new = _scratch(self._new_path)
        try:
            new.executescript(resources.files("gateway.store").joinpath("directory.sql").read_text(encoding="utf-8"))
            with self._new_path.open("rb") as file:
                _fill(new, "INSERT INTO credentials VALUES (?, ?, ?, ?, ?)", credentials, file.fileno())
                _fill(new, "INSERT INTO entitlements VALUES (?, ?)", entitlements, file.fileno())
                _fill(new, "INSERT INTO wallets VALUES (?, ?, ?, ?)", wallets, file.fileno())
                meta = [("format", FORMAT), ("summary", msgspec.json.encode(summary()).decode())]
                _fill(new, "INSERT INTO meta VALUES (?, ?)", iter(meta), file.fileno())
        finally:
            new.close()

    def publish(self) -> None:
        """Put the new file in the place of the old one, at once and for good."""
        descriptor = os.open(self._new_path, os.O_RDWR)
        try:
            os.fchmod(descriptor, FILE_MODE)
            own_like_folder(descriptor, self._folder)
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
        self._new_path.rename(self._folder / DIRECTORY_FILE)
        sync_folder(self._folder)

    def close(self) -> None:
        """Remove what is not the directory."""
        self._staging.close()
        self._remove()

    def _remove(self) -> None:
        for path in (self._staging_path, self._new_path):
            path.unlink(missing_ok=True)

    def _by_holder(self) -> Iterator[tuple[str, bytes]]:
        rows = self._staging.execute("SELECT holder, body FROM entitlements ORDER BY holder, line")
        if (first := rows.fetchone()) is None:
            return
        held_by, held = first[0], [first[1]]
        for holder, body in rows:
            if holder != held_by:
                yield held_by, _array(held)
                held_by, held = holder, []
            held.append(body)
        yield held_by, _array(held)


def _find_repeated(rows: Iterable[tuple[object, int]], what: str, problem: Problem) -> None:
    """Report each key that an earlier line has, of keys and lines in order."""
    last_key, first_line = None, 0
    for key, line in rows:
        if key == last_key:
            problem(line, f"this {what} is on line {first_line} already")
        else:
            last_key, first_line = key, line


def _array(items: Sequence[bytes]) -> bytes:
    """Return encoded items as one MessagePack array, as they are."""
    if len(items) == 1:
        return _ARRAY_OF_ONE + items[0]
    return msgspec.msgpack.encode([msgspec.Raw(item) for item in items])


def _scratch(path: Path) -> sqlite3.Connection:
    """Open a file that is thrown away if anything goes wrong, so it needs no journal."""
    connection = sqlite3.connect(path, isolation_level=None)
    for setting in ("journal_mode = OFF", "synchronous = OFF", f"cache_size = -{SORT_KIB}", "locking_mode = EXCLUSIVE"):
        connection.execute(f"PRAGMA {setting}").fetchall()
    return connection


def _fill(new: sqlite3.Connection, insert: str, rows: Iterator[Sequence[Any]], descriptor: int) -> None:
    """Write rows in small batches, each synced: one sync of everything would hold up the journal's for seconds."""
    while batch := list(islice(rows, BATCH_ROWS)):
        new.execute("BEGIN")
        new.executemany(insert, batch)
        new.execute("COMMIT")
        os.fdatasync(descriptor)
