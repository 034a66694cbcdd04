"""`python -m benchmarks.saturation`: latency against load, up to where the gateway cannot follow any more.

Clients come at random moments, so many a second on average, whether those before them were answered or not; a latency
counts from the moment at which a tap was due. Each step lasts some seconds. The last step is the first at which answers
come slower than taps. It prints a table, and writes `benchmarks/saturation.json` and the plot of docs/performance.md.
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import selectors
import sys
import time
from contextlib import closing
from pathlib import Path
from random import Random

import mqtt5
import msgspec
from rich.console import Console
from rich.table import Table

from benchmarks.crowd import arrivals_s
from benchmarks.measure import Bench, Sizes
from benchmarks.people import ROOT, directory_for, keep_out_of_git
from benchmarks.plot import Line, draw
from benchmarks.report import machine, rounded
from benchmarks.venue import Venue
from benchmarks.wire import BareClient, Question, quantile

RATES = (100, 200, 500, 1000, 2000, 3000, 4000, 5000, 6000, 7000, 8000, 10_000, 12_000)
STEP_S = 5.0
REST_S = 1.0
WAITING_MAX = 1500
"""With more unanswered, the step is over: a broker that holds more for the gateway would begin to drop."""
FOLLOWS = 0.95
"""A gateway follows when so large a share of a step's taps is answered by the time that the last one was due."""
PATIENCE_S = 30.0
OUTPUT = Path(__file__).with_name("saturation.json")
PLOT = ROOT / "docs" / "latency-against-load.png"


class Step(msgspec.Struct, frozen=True, kw_only=True):
    """One load: taps a second that came and that were answered, and latencies in ms from when a tap was due."""

    offered: float
    answered: float
    p50_ms: float
    p99_ms: float
    max_ms: float
    follows: bool


class OpenLoad:
    """Taps that come at their moments, whatever became of those before."""

    def __init__(self, client: BareClient, questions: list[Question], due_s: list[float]) -> None:
        self._client, self._questions, self._due_s = client, questions, due_s
        self._open: dict[str, float] = {}
        self._late_s: list[float] = []
        self._began_s = self._last_s = 0.0
        self._none_open = asyncio.Event()
        client.on_publish = self._took

    async def run(self) -> Step:
        """Send all, or as many as may wait, and return what came of them. Raises TimeoutError for a lost answer."""
        gc.collect()
        gc.disable()
        try:
            self._began_s = time.perf_counter()
            sent = await self._send()
            span_s = time.perf_counter() - self._began_s
            within = len(self._late_s)
            await asyncio.wait_for(self._none_open.wait(), PATIENCE_S)
        finally:
            gc.enable()
        return Step(
            offered=len(self._due_s) / self._due_s[-1],
            answered=sent / (self._last_s - self._began_s),
            p50_ms=quantile(self._late_s, 0.5) * 1000,
            p99_ms=quantile(self._late_s, 0.99) * 1000,
            max_ms=max(self._late_s) * 1000,
            follows=sent == len(self._due_s) and within >= FOLLOWS * sent and span_s < self._due_s[-1] / FOLLOWS,
        )

    async def _send(self) -> int:
        for sent, (question, moment_s) in enumerate(zip(self._questions, self._due_s, strict=True)):
            due_s = self._began_s + moment_s
            if len(self._open) >= WAITING_MAX:
                return sent
            # Also one who is late lets the answers in, or they would wait for a gap between taps.
            await asyncio.sleep(max(0.0, due_s - time.perf_counter()))
            self._open[question.id] = due_s
            self._none_open.clear()
            self._client.publish(question.topic, question.payload)
        return len(self._due_s)

    def _took(self, packet: mqtt5.PublishPacket) -> None:
        self._last_s = time.perf_counter()
        self._late_s.append(self._last_s - self._open.pop(_id_of(packet.payload).id))
        if not self._open:
            self._none_open.set()


class _Id(msgspec.Struct):
    id: str


_id_of = msgspec.json.Decoder(_Id).decode


async def steps(venue: Venue, sizes: Sizes, rates: list[int], step_s: float) -> list[Step]:
    """Raise the load step by step until the gateway does not follow, or the rates are used up."""
    dice, found = Random(0), []
    with closing(Bench(venue, sizes)) as bench:
        await bench.prepare()
        await bench.taps(sizes.warm_up, 64)
        for rate in rates:
            due_s = arrivals_s(round(rate * step_s), rate, dice)
            found.append(await OpenLoad(bench.client, [bench.question() for _ in due_s], due_s).run())
            print(f"{rate:,} a second: p50 {found[-1].p50_ms:.2f} ms, p99 {found[-1].p99_ms:.2f} ms", flush=True)
            if not found[-1].follows:
                break
            await asyncio.sleep(REST_S)
    return found


def print_steps(found: list[Step]) -> None:
    """Print one line for each load."""
    table = Table(title="Latency against load")
    for name in ("taps a second", "answered", "p50", "p99", "largest", ""):
        table.add_column(name, justify="right", no_wrap=True)
    for step in found:
        latencies = (f"{value:.2f} ms" for value in (step.p50_ms, step.p99_ms, step.max_ms))
        state = "follows" if step.follows else "too many"
        table.add_row(f"{step.offered:,.0f}", f"{step.answered:,.0f}", *latencies, state)
    Console().print(table)


def plot(found: list[Step], path: Path) -> None:
    """Draw p50 and p99 of the loads."""
    lines = [
        Line("p99", (180, 60, 40), [(step.offered, step.p99_ms) for step in found]),
        Line("p50", (40, 90, 160), [(step.offered, step.p50_ms) for step in found]),
    ]
    draw(path, "Latency of a tap over MQTT against load", "taps a second", "ms, from when the tap was due", lines)


def main() -> int:
    """Measure, print, and write JSON and plot; returns the exit status."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.saturation", description=__doc__)
    parser.add_argument("--guests", type=int, default=Sizes().guests, help="in the directory; each taps once")
    parser.add_argument("--rates", type=int, nargs="+", default=list(RATES), help="taps a second, one step for each")
    parser.add_argument("--step-s", type=float, default=STEP_S, help="how long each lasts")
    parser.add_argument("--output", type=Path, default=OUTPUT, help="where the JSON goes")
    parser.add_argument("--plot", type=Path, default=PLOT, help="where the PNG goes")
    given = parser.parse_args()
    keep_out_of_git()
    sizes = Sizes(guests=given.guests, warm_up=min(Sizes().warm_up, given.guests // 20))
    with closing(Venue(directory_for(given.guests))) as venue:
        venue.start_broker()
        # Other selectors count in whole milliseconds, which is longer than a tap takes.
        with asyncio.Runner(loop_factory=_microseconds) as runner:
            found = runner.run(steps(venue, sizes, given.rates, given.step_s))
    print_steps(found)
    document = msgspec.json.encode({"machine": machine(), "steps": [rounded(step) for step in found]})
    given.output.write_bytes(msgspec.json.format(document, indent=2) + b"\n")
    plot(found, given.plot)
    print(f"written: {given.output}, {given.plot}")
    return 0


def _microseconds() -> asyncio.AbstractEventLoop:
    return asyncio.SelectorEventLoop(selectors.SelectSelector())


if __name__ == "__main__":
    sys.exit(main())
