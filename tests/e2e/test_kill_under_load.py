"""kill -9 at random moments under load, again and again: what was answered is in the journal, exactly once.

`VENUE_KILL_CYCLES` says how often (50 if unset, 200 in `make prove`), `VENUE_KILL_SEED` repeats a run.
"""

from __future__ import annotations

import asyncio
import os
import random
from collections import Counter
from typing import Any

import pytest

from tests.e2e.load import Load
from tests.e2e.paper import printed
from tests.e2e.venue import Venue
from tests.length import length

pytestmark = [pytest.mark.asyncio(loop_scope="module"), pytest.mark.timeout(1800)]

CYCLES = int(os.environ.get("VENUE_KILL_CYCLES", length("50", "200")))
SEED = int(os.environ.get("VENUE_KILL_SEED", random.SystemRandom().randrange(10**6)))
LONGEST_S = 0.4
KILLED_AT_START = 0.15
FIRST = {"entry.granted", "entry.denied", "print.queued", "drawer.opening"}
"""The entries that a request brings about; later ones tell what became of it."""


async def test_i02_what_was_answered_is_in_the_journal_once_however_often_the_daemon_is_killed(
    start_venue: Any, record_property: Any
) -> None:
    record_property("VENUE_KILL_SEED", SEED)
    dice = random.Random(SEED)
    venue: Venue = await start_venue(("north", "bar"), guests=200 + 20 * CYCLES)
    async with venue.client("entrance") as entrance, venue.client("bar-tablet") as bar:
        load = Load(venue, entrance, bar, dice)
        pulses, seq = 0, 0
        for _ in range(CYCLES):
            async with load.running():
                await asyncio.sleep(dice.uniform(0, LONGEST_S))
                await venue.daemon.kill()
            if dice.random() < KILLED_AT_START:
                await venue.daemon.start()
                await asyncio.sleep(dice.uniform(0, LONGEST_S))
                await venue.daemon.kill()
            await venue.start_daemon(online=False)
            pulses, seq = await no_pulse_without_its_grant(venue, pulses, seq)
            await load.ask_again()
        await venue.daemon.logged("device_status", device="bar-printer", status="online")
        assert await venue.daemon.stop() == 0
        verified = await venue.command("journal", "verify")
        assert verified.status == 0, verified.out
        counted = every_answer_is_in_the_journal_once(venue, load)
        assert counted["done"] > CYCLES, counted
        await nothing_happened_twice(venue)
    killed = sum(row["kind"] == "gateway.started" and not row["clean"] for row in venue.journal())
    assert killed >= CYCLES


async def no_pulse_without_its_grant(venue: Venue, pulses: int, seq: int) -> tuple[int, int]:
    """Since the last look the relay closed at most once for each grant; after the start it did not close at all."""
    now = await venue.pulses("north-relay")
    rows = venue.journal(seq)
    grants = sum(row["kind"] == "entry.granted" and row["gate"] == "north" for row in rows)
    assert now - pulses <= grants
    return now, rows[-1]["seq"] if rows else seq


def every_answer_is_in_the_journal_once(venue: Venue, load: Load) -> Counter[str]:
    """Hold every answer against the journal; returns how many requests ended in which way."""
    rows = [row for row in venue.journal() if row["kind"] in FIRST and "request" in row]
    stored = Counter(row["request"]["id"] for row in rows)
    kinds = {row["request"]["id"]: row["kind"] for row in rows}
    assert not {request: count for request, count in stored.items() if count > 1}
    assert stored.keys() <= load.asked.keys()
    counted: Counter[str] = Counter()
    for request in load.asked:
        answers = load.answers(request)
        promised = [answer for answer in answers if answer["status"] in {"accepted", "done", "unknown"}]
        counted[answers[-1]["status"] if answers else "nothing"] += 1
        if promised:
            assert stored[request] == 1, (request, answers)
            assert kinds[request] != "entry.denied", (request, answers)
        # Two answers that end a request must be the same one.
        ends = {(one["status"], str(one.get("data"))) for one in answers if one["status"] != "accepted"}
        assert len(ends) <= 1, (request, answers)
    return counted


async def nothing_happened_twice(venue: Venue) -> None:
    rows = venue.journal()
    paper = await printed(venue, "bar-printer")
    jobs = [row for row in rows if row["kind"] == "print.queued"]
    starts = Counter(row["job"] for row in rows if row["kind"] == "print.started")
    ends = Counter(row["job"] for row in rows if row["kind"] in {"print.done", "print.failed", "print.unknown"})
    printed_or_unknown = {row["job"] for row in rows if row["kind"] in {"print.done", "print.unknown"}}
    assert max(starts.values()) == 1
    assert all(ends[row["job"]] <= 1 for row in jobs)
    assert printed_or_unknown <= starts.keys()
    assert printed_or_unknown
    numbers = Counter(word for word in paper.replace("Beleg Nr. ", "§").split("§")[1:])
    assert not {text: count for text, count in numbers.items() if count > 1}
    kicks = (await (await venue.device("bar-printer")).state())["kick_count"]
    opened = sum(row["kind"] == "drawer.opened" for row in rows)
    assert opened <= kicks <= sum(row["kind"] == "drawer.opening" for row in rows)
