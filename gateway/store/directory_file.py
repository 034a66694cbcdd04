"""Builds a directory file from rows in any order, in little memory, without holding up the journal's disk.

The rows are gathered in runs, read back sorted and written in key order, so that the pages of the new file are full and
a look-up touches few of them.
"""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Callable, Iterable, Iterator, Sequence
from importlib import resources
from itertools import chain, islice
from operator import itemgetter
from pathlib import Path
from typing import Any, TypeVar

import msgspec

from gateway.store.database import sync_folder
from gateway.store.directory import DIRECTORY_FILE, FORMAT, Summary
from gateway.store.directory_types import StoredEntitlement
from gateway.store.owners import own_like_folder
from gateway.store.runs import Runs
from gateway.store.trickle import Trickle

BATCH_ROWS = 5000
"""Rows that the new file gains at a time: each batch leaves the disk free again soon for the journal."""
ROWS_A_STATEMENT = 20
"""What SQLite does for a statement costs as much as what it does for a row."""
CACHE_KIB = 8192
FILE_MODE = 0o640
_ARRAY_OF_ONE = b"\x91"
"""How a MessagePack array of one begins: nearly every guest has one ticket."""

_decode = msgspec.msgpack.Decoder(StoredEntitlement).decode

Problem = Callable[[int, str], None]
T = TypeVar("T")
Rows = Iterator[tuple[Any, ...]]
StagedCredential = tuple[bytes, str, int, int | None, int, int]
"""ref, holder, state, valid_until_ms, kind, line."""
StagedEntitlement = tuple[str, bytes, int]
"""holder, the entitlement in MessagePack, line."""
StagedWallet = tuple[str, int, str, int, int]
"""holder, balance_minor, currency, counted_minor, line."""
_Id = tuple[str, int]
"""That of an entitlement, and its line."""


class DirectoryFile:
    """A new directory in the making. Every method raises sqlite3.Error or OSError when the disk does not take it."""

    def __init__(self, state_dir: Path) -> None:
        """Begin anew in a state folder; what a broken import left there is removed."""
        self._folder = state_dir
        self._new_path = state_dir / f"{DIRECTORY_FILE}.new"
        self._remove()
        self._credentials: Runs[StagedCredential] = Runs(state_dir, StagedCredential, itemgetter(0))
        self._entitlements: Runs[StagedEntitlement] = Runs(state_dir, StagedEntitlement, itemgetter(0))
        self._wallets: Runs[StagedWallet] = Runs(state_dir, StagedWallet, itemgetter(0))
        self._ids: Runs[int] = Runs(state_dir, int, None)

    def stage_credentials(self, rows: Sequence[StagedCredential], size_bytes: int) -> None:
        """Gather credentials; together they are about so large."""
        self._credentials.add(rows, size_bytes)

    def stage_entitlements(self, rows: Sequence[StagedEntitlement], ids: Sequence[str], size_bytes: int) -> None:
        """Gather entitlements and their ids, of which numbers do that are the same for the same id."""
        self._entitlements.add(rows, size_bytes)
        self._ids.add([*map(hash, ids)], size_bytes)

    def stage_wallets(self, rows: Sequence[StagedWallet], size_bytes: int) -> None:
        """Gather wallets."""
        self._wallets.add(rows, size_bytes)

    def find_repeated_entitlements(self, problem: Problem) -> None:
        """Report each entitlement whose id an earlier line has."""
        if not _has_repeated(self._ids.batches()):
            return
        # By chance that happens once in a million files; else there is an id twice, which is worth another look.
        ids: Runs[_Id] = Runs(self._folder, _Id, itemgetter(0))
        try:
            for batch in self._entitlements.batches():
                ids.add([(_decode(body).id, line) for _, body, line in batch], sum(len(body) for _, body, _ in batch))
            _find_repeated((row for batch in ids.batches() for row in batch), "entitlement {!r}", problem)
        finally:
            ids.close()

    def build(self, summary: Summary, problem: Problem) -> None:
        """Write the new file in key order, reporting each credential and wallet that an earlier line has."""
        credentials = (row[:-1] for batch in self._credentials.batches() for row in batch)
        wallets = (row[:-1] for batch in self._wallets.batches() for row in batch)
        try:
            self.write(credentials, self._by_holder(), wallets, lambda: summary)
        except sqlite3.IntegrityError:
            # A key came twice. To look for it beforehand would cost every import what only a wrong one needs.
            refs = ((row[0], row[-1]) for batch in self._credentials.batches() for row in batch)
            holders = ((row[0], row[-1]) for batch in self._wallets.batches() for row in batch)
            _find_repeated(refs, "this credential", problem)
            _find_repeated(holders, "this wallet", problem)

    def write(self, credentials: Rows, entitlements: Rows, wallets: Rows, summary: Callable[[], Summary]) -> None:
        """Write the new file from rows in the order of their keys; `summary` is asked when all of them have passed."""
        new = _scratch(self._new_path)
        try:
            new.executescript(resources.files("gateway.store").joinpath("directory.sql").read_text(encoding="utf-8"))
            with Trickle(self._new_path) as trickle:
                _fill(new, "credentials", 5, credentials, trickle)
                _fill(new, "entitlements", 2, entitlements, trickle)
                _fill(new, "wallets", 4, wallets, trickle)
                meta = [("format", FORMAT), ("summary", msgspec.json.encode(summary()).decode())]
                _fill(new, "meta", 2, iter(meta), trickle)
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
        for runs in (self._credentials, self._entitlements, self._wallets, self._ids):
            runs.close()
        self._remove()

    def _remove(self) -> None:
        self._new_path.unlink(missing_ok=True)

    def _by_holder(self) -> Iterator[tuple[str, bytes]]:
        held_by, held = "", []
        for batch in self._entitlements.batches():
            for holder, body, _ in batch:
                if holder == held_by:
                    held.append(body)
                    continue
                if held:
                    yield held_by, _array(held)
                held_by, held = holder, [body]
        if held:
            yield held_by, _array(held)


def _has_repeated(batches: Iterable[list[int]]) -> bool:
    """Return whether the same number comes twice among numbers in order."""
    last = None
    for batch in batches:
        if batch[0] == last or len(set(batch)) < len(batch):
            return True
        last = batch[-1]
    return False


def _find_repeated(rows: Iterable[tuple[object, int]], what: str, problem: Problem) -> None:
    """Report each key that an earlier line has, of keys and lines in order; `what` may name the key."""
    last_key, first_line = None, 0
    for key, line in rows:
        if key == last_key:
            problem(line, f"{what.format(key)} is on line {first_line} already")
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
    for setting in (
        "journal_mode = OFF",
        "synchronous = OFF",
        f"cache_size = -{CACHE_KIB}",
        "locking_mode = EXCLUSIVE",
    ):
        connection.execute(f"PRAGMA {setting}").fetchall()
    return connection


def _fill(new: sqlite3.Connection, table: str, columns: int, rows: Rows, trickle: Trickle) -> None:
    """Write rows in small batches, each of which is on its way to the disk before the next but one is made."""
    row = f"({', '.join('?' * columns)})"
    one, many = (f"INSERT INTO {table} VALUES {', '.join([row] * count)}" for count in (1, ROWS_A_STATEMENT))  # noqa: S608
    while batch := list(islice(rows, BATCH_ROWS)):
        new.execute("BEGIN")
        whole = len(batch) // ROWS_A_STATEMENT * ROWS_A_STATEMENT
        for start in range(0, whole, ROWS_A_STATEMENT):
            new.execute(many, tuple(chain.from_iterable(batch[start : start + ROWS_A_STATEMENT])))
        new.executemany(one, batch[whole:])
        new.execute("COMMIT")
        trickle.step()
