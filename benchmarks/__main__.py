"""`python -m benchmarks`: measure, print the table, write the JSON."""

from __future__ import annotations

import argparse
import signal
import sys
import time
from contextlib import closing
from pathlib import Path

import msgspec
import uvloop

from benchmarks.figures import Run
from benchmarks.measure import QUICK, Bench, Sizes
from benchmarks.peer import Installed, installed
from benchmarks.people import KEPT, directory_for, keep_out_of_git
from benchmarks.report import print_table, write_json
from benchmarks.venue import Venue

LATEST = Path(__file__).with_name("latest.json")


def main() -> int:
    """Run the benchmark of the command line; returns the exit status."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="a smoke run: few taps, few guests, figures of no worth")
    parser.add_argument("--repetitions", type=int, help=f"how many; {Sizes().repetitions} if left out")
    parser.add_argument("--output", type=Path, help=f"where the JSON goes; {LATEST.name} beside this file")
    parser.add_argument("--without-peer", action="store_true", help="install no other gateway to compare with")
    options = parser.parse_args()
    sizes = QUICK if options.quick else Sizes()
    if options.repetitions:
        sizes = msgspec.structs.replace(sizes, repetitions=options.repetitions)
    output = options.output or (KEPT / "quick.json" if options.quick else LATEST)
    # Ended by a signal, the venue must still be taken down.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    try:
        keep_out_of_git()
        peer = Installed(None, "left out by --without-peer") if options.without_peer else installed()
        runs = _measure(sizes, peer)
    except KeyboardInterrupt:
        return 130
    print_table(runs, peer.reason)
    write_json(output, runs, peer.reason)
    print(f"written: {output}")
    return 0


def _measure(sizes: Sizes, peer: Installed) -> list[Run]:
    began_s = time.monotonic()
    guests = directory_for(sizes.guests)
    print(f"{sizes.guests:,} guests in the directory ({time.monotonic() - began_s:.1f} s)", flush=True)
    with closing(Venue(guests)) as venue:
        venue.start_broker()
        venue.start_comparison()
        try:
            return uvloop.run(_repeat(venue, sizes, peer))
        except BaseException:
            print(venue.log_tail(), file=sys.stderr)
            raise


async def _repeat(venue: Venue, sizes: Sizes, peer: Installed) -> list[Run]:
    with closing(Bench(venue, sizes, peer)) as bench:
        print(f"first start: {await bench.prepare():.2f} s", flush=True)
        return [await _once(bench, number + 1, sizes.repetitions) for number in range(sizes.repetitions)]


async def _once(bench: Bench, number: int, of: int) -> Run:
    began_s = time.monotonic()
    run = await bench.run()
    print(f"repetition {number} of {of} ({time.monotonic() - began_s:.0f} s)", flush=True)
    return run


if __name__ == "__main__":
    sys.exit(main())
