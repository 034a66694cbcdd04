"""How fast a directory comes in, beside a bare bulk insert of the same rows.

The bare insert is the fastest that could be called the same work. It has the rows in memory, as they lie in the
finished directory: checked, their numbers keyed, and in the order of their keys. It puts them into the same tables,
with the same keys, in one transaction that is on disk at its end. The import reads them from NDJSON, in the order in
which they were sent.
"""

from __future__ import annotations

import shutil
import sqlite3
import tempfile
import time
from contextlib import closing
from pathlib import Path
from statistics import median

import msgspec

from benchmarks.backlog import rows_of
from benchmarks.people import KEPT, directory_for, import_guests

ROUNDS = 3
TABLES = ("credentials", "entitlements", "wallets")


class Bulk(msgspec.Struct, frozen=True, kw_only=True):
    """Rows a second of an import and of the bare insert, and what the first is of the second: medians of rounds."""

    rows: int
    import_rate: float
    bare_rate: float
    ratio: float


def bulk(guests: int) -> Bulk:
    """Measure with so many guests, each with a tag and a ticket."""
    imports, bares, rows = [], [], 0
    made = directory_for(guests) / "directory.db"
    for _ in range(ROUNDS):
        folder = Path(tempfile.mkdtemp(prefix="bulk-", dir=KEPT))
        try:
            bare, rows = bare_insert(made, folder / "bare.db")
            bares.append(bare)
            imports.append(import_rate(guests, folder))
        finally:
            shutil.rmtree(folder)
    ratios = [one / bare for one, bare in zip(imports, bares, strict=True)]
    return Bulk(rows=rows, import_rate=median(imports), bare_rate=median(bares), ratio=median(ratios))


def bare_insert(directory: Path, target: Path) -> tuple[float, int]:
    """Insert the rows of a directory into empty tables in one transaction; returns rows a second, and how many."""
    schema = [text for (text,) in rows_of(directory, "SELECT sql FROM sqlite_schema WHERE sql IS NOT NULL")]
    tables = {name: rows_of(directory, f"SELECT * FROM {name}") for name in TABLES}  # noqa: S608
    with closing(sqlite3.connect(target, isolation_level=None)) as database:
        database.execute("PRAGMA journal_mode = OFF")
        for text in schema:
            database.execute(str(text))
        began_s = time.perf_counter()
        database.execute("BEGIN")
        for name, rows in tables.items():
            if rows:
                marks = ", ".join("?" * len(rows[0]))
                database.executemany(f"INSERT INTO {name} VALUES ({marks})", rows)  # noqa: S608
        database.execute("COMMIT")
        count = sum(map(len, tables.values()))
        return count / (time.perf_counter() - began_s), count


def import_rate(guests: int, folder: Path) -> float:
    """Return how many rows a second `venue-gateway directory import` takes in, its own start left out."""
    small, large = folder / "small", folder / "large"
    small.mkdir()
    large.mkdir()
    start_s = import_guests(small, 1).took_s
    return 2 * guests / (import_guests(large, guests).took_s - start_s)
