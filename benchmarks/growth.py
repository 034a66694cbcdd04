"""`python -m benchmarks.growth`: what ten times as many guests cost, from 10,000 to 10,000,000.

For each number of guests a directory is imported, and the daemon started over it three times; nothing else differs. It
prints a table and writes `benchmarks/growth.json`. Ten million take some minutes and 5 GB under `.benchmarks/`.
"""

from __future__ import annotations

import argparse
import shutil
import sys
import tempfile
from contextlib import closing
from pathlib import Path
from statistics import median

import msgspec
import uvloop
from rich.console import Console
from rich.table import Table

from benchmarks.measure import Bench, Sizes
from benchmarks.people import KEPT, Import, import_guests, keep_out_of_git
from benchmarks.report import WIDTH, machine, rounded
from benchmarks.venue import Venue

GUESTS = (10_000, 100_000, 1_000_000, 10_000_000)
OUTPUT = Path(__file__).with_name("growth.json")
STARTS = 3
IN_FLIGHT = 64


class Cost(msgspec.Struct, frozen=True, kw_only=True):
    """What one number of guests costs. Latencies in ms, memory and files in MB of 10**6 bytes, the rest in s."""

    guests: int
    import_s: float
    import_peak_mb: float
    directory_mb: float
    start_s: float
    rss_mb: float
    tap_p50_ms: float
    tap_p99_ms: float
    tap64_rate: float
    rss_after_mb: float


COLUMNS = (
    ("guests", "guests", "{:,.0f}"),
    ("import", "import_s", "{:.1f} s"),
    ("importer's peak", "import_peak_mb", "{:,.0f} MB"),
    ("on disk", "directory_mb", "{:,.0f} MB"),
    ("start", "start_s", "{:.2f} s"),
    ("resident", "rss_mb", "{:.0f} MB"),
    ("tap p50", "tap_p50_ms", "{:.2f} ms"),
    ("p99", "tap_p99_ms", "{:.2f} ms"),
    ("64 in flight", "tap64_rate", "{:,.0f} /s"),
)


def cost_of(sizes: Sizes, starts: int) -> Cost:
    """Import so many guests, start a daemon over them so often, and let some of them tap."""
    folder = Path(tempfile.mkdtemp(prefix="growth-", dir=KEPT))
    try:
        imported = import_guests(folder, sizes.guests)
        with closing(Venue(folder)) as venue:
            venue.start_broker()
            return uvloop.run(_taps(venue, sizes, starts, imported))
    finally:
        shutil.rmtree(folder, ignore_errors=True)


async def _taps(venue: Venue, sizes: Sizes, starts: int, imported: Import) -> Cost:
    with closing(Bench(venue, sizes)) as bench:
        starts_s = [await bench.prepare(), *[await bench.restart() for _ in range(starts - 1)]]
        rss_mb = venue.resident_mb()
        # The pages of a directory that was just imported are still in memory, as on a machine that has run for a while.
        await bench.taps(sizes.warm_up, 1)
        tap = await bench.taps(sizes.taps, 1)
        tap64 = await bench.taps(sizes.taps64, IN_FLIGHT)
        return Cost(
            guests=sizes.guests,
            import_s=imported.took_s,
            import_peak_mb=imported.peak_mb,
            directory_mb=(venue.state_dir / "directory.db").stat().st_size / 1e6,
            start_s=median(starts_s),
            rss_mb=rss_mb,
            tap_p50_ms=tap.quantile_ms(0.5),
            tap_p99_ms=tap.quantile_ms(0.99),
            tap64_rate=tap64.rate,
            rss_after_mb=venue.resident_mb(),
        )


def print_costs(costs: list[Cost]) -> None:
    """Print one line for each number of guests."""
    table = Table(title="The cost of more guests")
    for name, _, _ in COLUMNS:
        table.add_column(name, justify="right", no_wrap=True)
    for cost in costs:
        table.add_row(*(pattern.format(getattr(cost, key)) for _, key, pattern in COLUMNS))
    console = Console()
    (console if console.is_terminal else Console(width=WIDTH + 20)).print(table)


def main() -> int:
    """Measure the numbers of guests of the command line; returns the exit status."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.growth", description=__doc__)
    parser.add_argument("--guests", type=int, nargs="+", default=list(GUESTS), help="how many; several in one run")
    parser.add_argument("--starts", type=int, default=STARTS, help="of the daemon; the median counts")
    parser.add_argument("--taps", type=int, default=2_000, help="with one in flight; three times as many with 64")
    parser.add_argument(
        "--output", type=Path, default=OUTPUT, help=f"where the JSON goes; {OUTPUT.name} beside this file"
    )
    given = parser.parse_args()
    keep_out_of_git()
    costs: list[Cost] = []
    for guests in given.guests:
        sizes = Sizes(guests=guests, taps=given.taps, taps64=given.taps * 3, warm_up=min(200, given.taps))
        costs.append(cost_of(sizes, given.starts))
        print(f"{guests:,} guests: done", flush=True)
    print_costs(costs)
    document = msgspec.json.encode({"machine": machine(), "costs": [rounded(cost) for cost in costs]})
    given.output.write_bytes(msgspec.json.format(document, indent=2) + b"\n")
    print(f"written: {given.output}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
