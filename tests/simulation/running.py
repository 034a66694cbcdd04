"""Many seeds on all cores, one seed in full, and the mutants: what the command line and the tests call."""

from __future__ import annotations

import argparse
import gc
import multiprocessing
import os
import shutil
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.simulation.faults import Faults
from tests.simulation.mutants import MUTANTS, mutated
from tests.simulation.venue import close_directories
from tests.simulation.world import Result, play

SEEDS = 2000
SHOWN_MAX = 5
MUTANT_SEEDS = 200


@contextmanager
def workplace() -> Iterator[Path]:
    """A folder of our own, in memory where there is such a thing: the simulated disk needs no real one."""
    memory = Path("/dev/shm")
    folder = Path(tempfile.mkdtemp(prefix="venue-simulation-", dir=memory if os.access(memory, os.W_OK) else None))
    try:
        yield folder
    finally:
        close_directories(folder)
        shutil.rmtree(folder, ignore_errors=True)


def play_seed(job: tuple[int, Path, str]) -> Result:
    """Play one seed, as the gateway is or as a mutant."""
    seed, folder, mutant = job
    place = folder / str(os.getpid())
    with mutated(mutant):
        result = play(seed, place)
    gc.collect()
    return result


def _settle_memory() -> None:
    """Keep the collector away but between two seeds: elsewhere it would run finalizers at moments of its own choosing.

    After each seed it has little to look at, and what it frees is still warm in the processor's cache.
    """
    gc.collect()
    gc.freeze()
    gc.disable()


def play_seeds(seeds: Iterable[int], folder: Path, mutant: str = "") -> Iterator[Result]:
    """Play seeds on all cores; results come in the order of the seeds."""
    jobs = [(seed, folder, mutant) for seed in seeds]
    with multiprocessing.get_context("fork").Pool(os.cpu_count(), initializer=_settle_memory) as pool:
        yield from pool.imap(play_seed, jobs, chunksize=4)


def first_catch(job: tuple[str, int, Path]) -> tuple[str, int | None, str, str]:
    """Return (mutant, the first seed that catches it or None, the invariant, in words)."""
    mutant, seeds, folder = job
    for seed in range(seeds):
        result = play_seed((seed, folder, mutant))
        if result.violations:
            return mutant, seed, result.invariants[0], result.violations[0].splitlines()[0]
    return mutant, None, "", ""


def catch_mutants(seeds: int, folder: Path) -> list[tuple[str, int | None, str, str]]:
    """Let every mutant run until a seed catches it."""
    jobs = [(mutant, seeds, folder) for mutant in MUTANTS]
    with multiprocessing.get_context("fork").Pool(os.cpu_count(), initializer=_settle_memory) as pool:
        return pool.map(first_catch, jobs, chunksize=1)


def mutant_table(found: list[tuple[str, int | None, str, str]]) -> str:
    """Return the table of mutants as text."""
    width = max(len(name) for name in MUTANTS)
    lines = [f"{'mutant':{width}}  seed  by     what was seen"]
    for mutant, seed, invariant, what in found:
        lines.append(f"{mutant:{width}}  {'none' if seed is None else seed:>4}  {invariant:5}  {what[:110]}")
    return "\n".join(lines)


def show_seed(seed: int, mutant: str) -> int:
    """Play one seed and print all that happened in it."""
    with workplace() as folder, mutated(mutant):
        result = play(seed, folder, keep_lines=True)
    for line in result.lines:
        print(line)
    for violation in result.violations:
        print(f"\n{violation}")
    print(f"\nseed {seed}: {'FAILED' if result.violations else 'held'}, digest {result.digest}")
    return 1 if result.violations else 0


def run_seeds(count: int, begin: int) -> int:
    """Play many seeds and print what they saw."""
    began, totals, faults, failed = time.monotonic(), Counter[str](), Faults(), list[Result]()
    with workplace() as folder:
        for result in play_seeds(range(begin, begin + count), folder):
            totals.update(result.stats)
            faults.update(result.faults)
            if result.violations:
                failed.append(result)
    print(
        f"{count} seeds in {time.monotonic() - began:.1f} s: " + ", ".join(f"{n} {k}" for k, n in totals.most_common())
    )
    print(f"what went wrong in them:\n{faults.table()}")
    for result in failed[:SHOWN_MAX]:
        print(f"\nseed {result.seed} FAILED, digest {result.digest}: {result.violations[0]}")
        print(f"    replay it: make sim SEED={result.seed}")
    if failed:
        print(f"\n{len(failed)} of {count} seeds failed")
        return 1
    print("every invariant held in every one of them")
    return 0


def main() -> int:
    """Run the command line."""
    parser = argparse.ArgumentParser(prog="python -m tests.simulation", description=__doc__)
    parser.add_argument("--seed", type=int, help="play this one and print everything that happens")
    parser.add_argument("--seeds", type=int, default=SEEDS, help="how many seeds to play")
    parser.add_argument("--begin", type=int, default=0, help="the first seed")
    parser.add_argument("--mutant", default="", choices=["", *MUTANTS], help="with --seed: play it as this mutant")
    parser.add_argument("--mutants", action="store_true", help="show which seed catches each mutant")
    given = parser.parse_args()
    if given.mutants:
        with workplace() as folder:
            found = catch_mutants(MUTANT_SEEDS, folder)
        print(mutant_table(found))
        return 0 if all(seed is not None for _, seed, *_ in found) else 1
    if given.seed is not None:
        return show_seed(given.seed, given.mutant)
    return run_seeds(given.seeds, given.begin)


if __name__ == "__main__":
    sys.exit(main())
