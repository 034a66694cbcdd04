"""What guests notice of a drain and of a new directory: taps at the real daemon, in short turns with and without them.

The host of a virtual machine has good and bad minutes, so one phase at rest and one busy phase later say little. A
drain is held and let go on every fraction of a second, by an upstream that withholds its answers, and taps are timed at
rest and beside it in turn. A load cannot be held so: what it has written goes to the disk later, and would be in the
way of taps at rest. It runs whole, again and again, with a phase at rest before each that begins when nothing waits for
the disk.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import os
import subprocess
import sys
import time
from base64 import b64encode
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from random import Random
from typing import NamedTuple

import msgspec
import uvloop

from benchmarks.backlog import add_backlog
from benchmarks.measure import Bench, Sizes
from benchmarks.people import ROOT, directory_for, ndjson
from benchmarks.venue import Venue, with_us
from benchmarks.wire import quantile

TURN_TAPS = 250
"""Some 0.2 s."""
SETTLE_S = 0.02
"""Until what was under way has come to rest."""
TURNS_MAX = 60
REST_TURNS = 16
DRAWS = 300
DIRECTORY_FILE = "directory.db"


class Noticed(msgspec.Struct, frozen=True, kw_only=True):
    """Taps' p50 and p99 in ms at rest and beside something, and what the second p99 is of the first."""

    taps: int
    rest_p50_ms: float
    rest_p99_ms: float
    busy_p50_ms: float
    busy_p99_ms: float
    ratio: float
    ratio_low: float
    ratio_high: float


class Loads(msgspec.Struct, frozen=True, kw_only=True):
    """What taps notice of a drain, of which they leave so many events a second, and of a directory's load and swap."""

    drain: Noticed
    drained_rate: float
    load: Noticed
    load_s: float


class Turns(NamedTuple):
    """Latencies in s of taps at rest, and of those that had company, turn by turn."""

    rest: list[list[float]]
    busy: list[list[float]]


class Upstream(NamedTuple):
    """Where it is, how far the events have come, and what tells it what to give."""

    url: str
    through: Callable[[], int]
    give: Callable[[str], None]


def loads(guests: int, events: int, snapshots: int) -> Loads:
    """Measure with so many guests in the directory, so many events in the backlog, and so many snapshots in turn."""
    with closing(Venue(directory_for(guests))) as venue:
        venue.start_broker()
        return uvloop.run(_measure(venue, guests, events, snapshots))


async def _measure(venue: Venue, guests: int, events: int, snapshots: int) -> Loads:
    with closing(Bench(venue, Sizes(guests=guests))) as bench, _upstream(venue.folder / "upstream", guests) as upstream:
        await bench.prepare()
        _end_daemon(venue)
        drain, rate = await _drain(bench, venue, upstream, events)
        load, took_s = await _load(bench, venue, upstream, directory_for(guests) / DIRECTORY_FILE, snapshots)
    return Loads(drain=_noticed(drain), drained_rate=rate, load=_noticed(load), load_s=took_s)


async def _drain(bench: Bench, venue: Venue, upstream: Upstream, events: int) -> tuple[Turns, float]:
    """Time taps at rest and beside a drain in turn, until it is over or there are enough; also returns its pace."""
    last_seq = await asyncio.to_thread(add_backlog, venue.state_dir / "journal.db", events)
    config = venue.folder / "draining.yaml"
    config.write_text(venue.config.read_text() + f"upstream: {{url: '{upstream.url}', directory: false}}\n")
    upstream.give("events")
    await bench.restart_on(config)
    turns, busy_s, began_seq = Turns([], []), 0.0, upstream.through()
    while upstream.through() < last_seq and len(turns.busy) < TURNS_MAX:
        # Each comes first as often as the other.
        for busy in (True, False) if len(turns.busy) % 2 else (False, True):
            upstream.give("events" if busy else "")
            if not busy:
                await asyncio.sleep(SETTLE_S)
            began_s = time.perf_counter()
            (turns.busy if busy else turns.rest).append(await _turn(bench))
            busy_s += time.perf_counter() - began_s if busy else 0.0
    _end_daemon(venue)
    return turns, (upstream.through() - began_seq) / busy_s


async def _load(bench: Bench, venue: Venue, upstream: Upstream, first: Path, snapshots: int) -> tuple[Turns, float]:
    """Time taps at rest, and beside a load and for a turn after the swap; also returns what a load took in s."""
    config = venue.folder / "loading.yaml"
    config.write_text(venue.config.read_text() + f"upstream: {{url: '{upstream.url}'}}\n")
    in_use = venue.state_dir / DIRECTORY_FILE
    turns, took_s = Turns([], []), 0.0
    for _ in range(snapshots):
        in_use.unlink()
        os.link(first, in_use)
        before = in_use.stat().st_ino
        upstream.give("")
        await bench.restart_on(config)
        await asyncio.to_thread(os.sync)
        turns.rest.extend([await _turn(bench) for _ in range(REST_TURNS)])
        upstream.give("snapshot")
        began_s = time.perf_counter()
        while in_use.stat().st_ino == before:
            turns.busy.append(await _turn(bench))
        took_s += time.perf_counter() - began_s
        turns.busy.append(await _turn(bench))
        _end_daemon(venue)
    return turns, took_s / snapshots


async def _turn(bench: Bench) -> list[float]:
    return list((await bench.taps(TURN_TAPS, 1)).latencies_s)


def _noticed(turns: Turns) -> Noticed:
    """Return the quantiles, and the ratio of the p99s with its 95 % interval: that of turns drawn again and again."""
    dice = Random(0)
    drawn = (Turns(*(dice.choices(some, k=len(some)) for some in turns)) for _ in range(DRAWS))
    ratios = sorted(map(_ratio, drawn))
    rest, busy = ([one for turn in some for one in turn] for some in turns)
    return Noticed(
        taps=len(busy),
        rest_p50_ms=quantile(rest, 0.5) * 1000,
        rest_p99_ms=quantile(rest, 0.99) * 1000,
        busy_p50_ms=quantile(busy, 0.5) * 1000,
        busy_p99_ms=quantile(busy, 0.99) * 1000,
        ratio=_ratio(turns),
        ratio_low=quantile(ratios, 0.025),
        ratio_high=quantile(ratios, 0.975),
    )


def _ratio(turns: Turns) -> float:
    rest, busy = ([one for turn in some for one in turn] for some in turns)
    return quantile(busy, 0.99) / quantile(rest, 0.99)


def _end_daemon(venue: Venue) -> None:
    venue.daemon.terminate()
    venue.daemon.wait(10)


@contextmanager
def _upstream(folder: Path, guests: int) -> Iterator[Upstream]:
    """An upstream that only counts, in a process that takes no time from the venue: in truth it is far away."""
    folder.mkdir()
    rows = folder / "directory.ndjson"
    with rows.open("w") as file:
        file.writelines(ndjson(guests))
    with rows.open("rb") as file:
        digest = b64encode(hashlib.file_digest(file, "sha256").digest()).decode()
    counted = folder / "through"
    command = [*with_us(), sys.executable, "-m", "benchmarks.counting", str(rows), digest, str(counted)]
    with subprocess.Popen(command, cwd=ROOT, text=True, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        if process.stdout is None or process.stdin is None:
            raise RuntimeError("the upstream did not start")
        said, told = process.stdout, process.stdin
        url = json.loads(said.readline())["ready"]

        def give(what: str) -> None:
            told.write(f"{what}\n")
            told.flush()
            said.readline()

        try:
            yield Upstream(url, lambda: int(counted.read_text() or "0") if counted.exists() else 0, give)
        finally:
            process.terminate()
