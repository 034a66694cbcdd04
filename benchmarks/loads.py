"""What guests notice of a drain and of a new directory: taps at the real daemon, beside the same taps at rest."""

from __future__ import annotations

import asyncio
import hashlib
import json
import sqlite3
import subprocess
import sys
import time
from base64 import b64encode
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import msgspec
import uvloop

from benchmarks.backlog import add_backlog, rows_of
from benchmarks.measure import Bench, Sizes
from benchmarks.people import ROOT, directory_for, ndjson
from benchmarks.venue import Venue, with_us
from benchmarks.wire import Timing, quantile

ROUND_TAPS = 200
WAIT_S = 170.0


class Loads(msgspec.Struct, frozen=True, kw_only=True):
    """Taps' p99 in ms at rest, during a drain and during a directory's load; rows a second of that and of an insert."""

    rest_p99_ms: float
    drain_p99_ms: float
    drain_taps: int
    drained_rate: float
    load_p99_ms: float
    load_taps: int
    directory_rows: int
    directory_rate: float
    bare_insert_rate: float

    @property
    def drain_ratio(self) -> float:
        """How much longer the slowest taps take during a drain."""
        return self.drain_p99_ms / self.rest_p99_ms

    @property
    def load_ratio(self) -> float:
        """How much longer they take during a load."""
        return self.load_p99_ms / self.rest_p99_ms

    @property
    def directory_ratio(self) -> float:
        """The share of the bare insert's rate."""
        return self.directory_rate / self.bare_insert_rate


def loads(guests: int, events: int, taps: int) -> Loads:
    """Measure with so many guests in the directory, so many events in the backlog, and so many taps at rest."""
    with closing(Venue(directory_for(guests))) as venue:
        venue.start_broker()
        return uvloop.run(_measure(venue, guests, events, taps))


async def _measure(venue: Venue, guests: int, events: int, taps: int) -> Loads:
    journal = venue.state_dir / "journal.db"
    sizes = Sizes(guests=guests, warm_up=min(200, taps))
    with closing(Bench(venue, sizes)) as bench, _upstream(venue.folder / "upstream", guests) as (url, through):
        await bench.prepare()
        rest = await bench.taps(taps, 1)
        venue.daemon.terminate()
        venue.daemon.wait(10)
        last_seq = await asyncio.to_thread(add_backlog, journal, events)
        draining = venue.folder / "draining.yaml"
        draining.write_text(venue.config.read_text() + f"upstream: {{url: '{url}', directory: false}}\n")
        await bench.restart_on(draining)
        began_s, began_seq = time.perf_counter(), through()
        drain = await _taps_while(bench, lambda: through() < last_seq)
        drained_rate = (through() - began_seq) / (time.perf_counter() - began_s)
        rest_again = await bench.taps(taps, 1)
        venue.daemon.terminate()
        venue.daemon.wait(10)
        loading = venue.folder / "loading.yaml"
        loading.write_text(venue.config.read_text() + f"upstream: {{url: '{url}'}}\n")
        before = (venue.state_dir / "directory.db").stat().st_ino
        await bench.restart_on(loading)
        load = await _taps_while(bench, lambda: (venue.state_dir / "directory.db").stat().st_ino == before)
        # The swap itself and what follows it count too.
        after = await bench.taps(ROUND_TAPS, 1)
    bare_rate, rows = await asyncio.to_thread(bare_insert, venue.state_dir / "directory.db", venue.folder / "bare.db")
    rate = await asyncio.to_thread(import_rate, guests, venue.folder)
    return Loads(
        rest_p99_ms=quantile([*rest.latencies_s, *rest_again.latencies_s], 0.99) * 1000,
        drain_p99_ms=quantile(drain, 0.99) * 1000,
        drain_taps=len(drain),
        drained_rate=drained_rate,
        load_p99_ms=quantile([*load, *after.latencies_s], 0.99) * 1000,
        load_taps=len(load) + ROUND_TAPS,
        directory_rows=rows,
        directory_rate=rate,
        bare_insert_rate=bare_rate,
    )


async def _taps_while(bench: Bench, goes_on: Callable[[], bool]) -> list[float]:
    latencies_s: list[float] = []
    until_s = time.monotonic() + WAIT_S
    while goes_on():
        if time.monotonic() > until_s:
            raise RuntimeError("it takes too long")
        timing: Timing = await bench.taps(ROUND_TAPS, 1)
        latencies_s += timing.latencies_s
    if not latencies_s:
        raise RuntimeError("it was over before anybody tapped: take more events and guests")
    return latencies_s


@contextmanager
def _upstream(folder: Path, guests: int) -> Iterator[tuple[str, Callable[[], int]]]:
    """An upstream that only counts, in a process that takes no time from the venue: in truth it is far away."""
    folder.mkdir()
    rows = folder / "directory.ndjson"
    with rows.open("w") as file:
        file.writelines(ndjson(guests))
    with rows.open("rb") as file:
        digest = b64encode(hashlib.file_digest(file, "sha256").digest()).decode()
    counted = folder / "through"
    command = [*with_us(), sys.executable, "-m", "benchmarks.counting", str(rows), digest, str(counted)]
    with subprocess.Popen(command, cwd=ROOT, text=True, stdout=subprocess.PIPE) as process:
        if process.stdout is None:
            raise RuntimeError("the upstream did not start")
        url = json.loads(process.stdout.readline())["ready"]
        try:
            yield url, lambda: int(counted.read_text() or "0") if counted.exists() else 0
        finally:
            process.terminate()


def bare_insert(directory: Path, target: Path) -> tuple[float, int]:
    """Insert the rows of a directory into empty tables in one transaction; returns rows a second, and how many."""
    schema = [text for (text,) in rows_of(directory, "SELECT sql FROM sqlite_schema WHERE sql IS NOT NULL")]
    tables = {name: rows_of(directory, f"SELECT * FROM {name}") for name in ("credentials", "entitlements", "wallets")}  # noqa: S608
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
    from benchmarks.people import import_guests  # noqa: PLC0415

    small, large = folder / "small", folder / "large"
    small.mkdir()
    large.mkdir()
    start_s = import_guests(small, 1).took_s
    return 2 * guests / (import_guests(large, guests).took_s - start_s)
