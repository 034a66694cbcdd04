"""`python -m benchmarks.upstream`: what a backlog and a new directory cost, and what guests notice of them.

A backlog drains over HTTPS and to JetStream, beside a bare client that makes the same posts in the same run and one
that sends event by event; taps are timed at rest, during a drain, and while a directory is loaded and swapped in; and
the directory's load is set beside a bare bulk insert of the same rows. It prints a table and writes
`benchmarks/upstream.json`, which keeps the parts that are measured at another time.
"""

from __future__ import annotations

import argparse
import asyncio
import shutil
import sys
import tempfile
from pathlib import Path

import msgspec
import uvloop

from benchmarks.backlog import add_backlog
from benchmarks.bulk import Bulk, bulk
from benchmarks.drains import Drain, https_drain, jetstream_drain
from benchmarks.loads import Loads, loads
from benchmarks.people import KEPT, keep_out_of_git
from benchmarks.report import machine
from benchmarks.venue import free_ports

OUTPUT = Path(__file__).with_name("upstream.json")
PARTS = ("https", "jetstream", "taps", "directory")


class Figure(msgspec.Struct, frozen=True):
    """One line of the table: what was measured, and what it has to be: at least so much, or at most."""

    name: str
    value: float
    at_least: float | None = None
    at_most: float | None = None

    @property
    def must(self) -> str:
        """What it has to be."""
        return f">= {self.at_least:g}" if self.at_least is not None else f"<= {self.at_most:g}"

    @property
    def holds(self) -> bool:
        """Whether it is as it has to be."""
        low = self.at_least is None or self.value >= self.at_least
        return low and (self.at_most is None or self.value <= self.at_most)


def figures_of(drains: dict[str, Drain], seen: Loads | None, directory: Bulk | None) -> list[Figure]:
    """Return what is judged."""
    found = []
    for name, drain in drains.items():
        found.append(Figure(f"{name}: of the bare client's rate", drain.of_bare, at_least=0.5))
        found.append(Figure(f"{name}: times one request per event", drain.times_single, at_least=20))
    if seen is not None:
        found.append(Figure("tap p99 during a drain, of that at rest", seen.drain.ratio, at_most=1.5))
        found.append(Figure("tap p99 during a directory's load, of that at rest", seen.load.ratio, at_most=1.5))
    if directory is not None:
        found.append(Figure("directory: of a bare bulk insert's rate", directory.ratio, at_least=0.3))
    return found


async def _drains(parts: list[str], events: int, singles: int) -> dict[str, Drain]:
    found: dict[str, Drain] = {}
    if not {"https", "jetstream"} & {*parts}:
        return found
    folder = Path(tempfile.mkdtemp(prefix="backlog-", dir=KEPT))
    try:
        journal = folder / "journal.db"
        await asyncio.to_thread(add_backlog, journal, events)
        if "https" in parts:
            found["https"] = await https_drain(journal, singles)
        if "jetstream" in parts:
            found["jetstream"] = await jetstream_drain(journal, singles, free_ports(1)[0])
        return found
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def main() -> int:
    """Measure what the command line names; returns the exit status."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.upstream", description=__doc__)
    parser.add_argument("--parts", nargs="+", choices=PARTS, default=list(PARTS), help="all of them, if left out")
    parser.add_argument("--events", type=int, default=1_000_000, help="of the backlog")
    parser.add_argument("--singles", type=int, default=2_000, help="requests with one event each")
    parser.add_argument("--guests", type=int, default=500_000, help="with a tag and a ticket each: two rows")
    parser.add_argument("--snapshots", type=int, default=3, help="that are loaded beside taps")
    parser.add_argument("--output", type=Path, default=OUTPUT, help=f"where the JSON goes; {OUTPUT.name} beside this")
    given = parser.parse_args()
    keep_out_of_git()
    parts: dict[str, Drain | Loads | Bulk] = {}
    drains = uvloop.run(_drains(given.parts, given.events, given.singles))
    seen = loads(given.guests, given.events, given.snapshots) if "taps" in given.parts else None
    directory = bulk(given.guests) if "directory" in given.parts else None
    figures = figures_of(drains, seen, directory)
    parts |= drains
    if seen is not None:
        parts["taps"] = seen
    if directory is not None:
        parts["directory"] = directory
    for name, part in parts.items():
        print(f"{name}: {part}")
    print(f"{'figure':<55} {'must be':>8} {'is':>8}")
    for figure in figures:
        print(f"{figure.name:<55} {figure.must:>8} {figure.value:>8.2f}  {'holds' if figure.holds else 'MISSED'}")
    # What is measured in pieces is kept in one file.
    kept = msgspec.json.decode(given.output.read_bytes()) if given.output.exists() else {}
    kept |= {"machine": machine()} | {name: msgspec.to_builtins(part) for name, part in parts.items()}
    kept["figures"] = {**kept.get("figures", {}), **{one.name: round(one.value, 3) for one in figures}}
    given.output.write_bytes(msgspec.json.format(msgspec.json.encode(kept), indent=2) + b"\n")
    print(f"written: {given.output}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
