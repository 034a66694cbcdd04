"""`make soak HOURS=n`: a whole venue with faults, and at the end a verdict on every figure that should stay level.

In the first third of the time the daemon dies too; then one life of it is measured to the end, under everything else.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import sys
import time
from collections.abc import AsyncIterator
from random import Random

from gateway.store import audit
from tests.e2e.bulletin import poll
from tests.e2e.venue import Venue
from tests.soak.life import GUESTS, Life, everything
from tests.soak.samples import Samples

DEADLY = 1 / 3
WARM_UP = 0.2
"""Of the measured life: caches fill, and the allocator finds its size."""
SAMPLES = 480
SETTLED_S = 20.0


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.soak")
    parser.add_argument("--hours", type=float, default=0.2)
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    found = asyncio.run(soak(options.hours * 3600, Random(options.seed)))
    for problem in found:
        print(f"NOT RIGHT: {problem}")
    print("all is level and nothing is lost" if not found else f"{len(found)} things are not right")
    return 1 if found else 0


async def soak(duration_s: float, dice: Random) -> list[str]:
    """Live that long, and return what was not as it should be."""
    venue = Venue(change=everything, guests=GUESTS)
    venue.daemon.module = "tests.soak.daemon"
    try:
        async with venue:
            life = Life(venue, dice)
            async with working(life):
                await live_deadly(life, duration_s * DEADLY)
                samples = await live_measured(life, duration_s * (1 - DEADLY))
            print(f"{len(samples.trends())} figures; {dict(sorted(life.counted.items()))}")
            print(f"{'figure':<24} {'median':>12} {'trend adds':>12} {'may add':>10}")
            for one in samples.trends():
                print(one)
            return [*life.broken, *samples.problems(), *await the_end(venue)]
    finally:
        venue.remove()


@contextlib.asynccontextmanager
async def working(life: Life) -> AsyncIterator[None]:
    """Let everybody be there."""
    people = asyncio.create_task(life.people())
    try:
        yield
        assert not people.done(), people
    finally:
        people.cancel()
        with contextlib.suppress(asyncio.CancelledError, BaseExceptionGroup):
            await people


async def live_deadly(life: Life, duration_s: float) -> None:
    """Let the daemon be killed and stopped too."""
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(duration_s):
            await life.troubles(deadly=True)
    await mended(life)
    look(life)


async def live_measured(life: Life, duration_s: float) -> Samples:
    """Measure one life of the daemon while all else goes wrong around it."""
    samples, pid = Samples(life.venue.state_dir), life.venue.daemon.pid
    began_s, every_s = time.monotonic(), duration_s * (1 - WARM_UP) / SAMPLES
    troubles = asyncio.create_task(life.troubles(deadly=False))
    events = 0
    while (now_s := time.monotonic() - began_s) < duration_s:
        await asyncio.sleep(every_s)
        events = max((entry["seq"] for entry in life.venue.observer.feed[-50:]), default=events)
        if now_s > duration_s * WARM_UP:
            samples.take(now_s, pid, events)
        look(life)
    troubles.cancel()
    await asyncio.gather(troubles, return_exceptions=True)
    await mended(life)
    assert life.venue.daemon.pid == pid, "the daemon ended although nobody killed it"
    return samples


async def mended(life: Life) -> None:
    """Wait until whatever was broken last is whole again."""
    async with asyncio.timeout(SETTLED_S):
        await poll(lambda: asyncio.sleep(0, life.venue.daemon.running), "the daemon runs", SETTLED_S)
        for name in life.venue.simulators.devices:
            await (await life.venue.device(name)).do("plug")
        await life.venue.observer.state("gateway/state", wait_s=SETTLED_S, state="online")


def look(life: Life) -> None:
    """Hold everything that was said since the last look against the contract, and let it go."""
    life.broken += life.venue.problems()
    observer, daemon = life.venue.observer, life.venue.daemon
    for kept in (observer.feed, observer._feed_order):
        del kept[:-100]
    if len(daemon.lines) > 10_000:
        life.venue._text_checked -= len(daemon.text) - 1000
        for told in (daemon.lines, daemon.text):
            del told[:-1000]


async def the_end(venue: Venue) -> list[str]:
    """Stop in order, and look at what is on disk."""
    found = [] if await venue.daemon.stop() == 0 else ["the daemon did not stop in order"]
    verdict = audit.verify(venue.state_dir / "journal.db")
    if verdict.bad_seq is not None:
        found.append(verdict.problem)
    print(f"{verdict.rows} journal entries, each fits the chain")
    return found + venue.problems(stored=True)


if __name__ == "__main__":
    sys.exit(main())
