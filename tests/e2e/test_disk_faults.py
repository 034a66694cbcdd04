"""The real daemon on a disk whose syncs fail, whose writes fail, and which does not answer for seconds."""

from __future__ import annotations

import asyncio
import errno
import random
import time
from typing import Any

import pytest

from gateway.housekeeping import EXIT_STORAGE
from tests.e2e.faulty import faulty_venue
from tests.e2e.load import Load
from tests.e2e.test_kill_under_load import every_answer_is_in_the_journal_once, no_pulse_without_its_grant
from tests.faults.library import SYNCS, TRUNCATIONS, WRITES
from tests.length import length

pytestmark = [pytest.mark.asyncio(loop_scope="module"), pytest.mark.timeout(900)]

CYCLES = length(1, 30)
STALL_S = length(3.0, 10.0)
AT_ONCE_S = 1.0
"""Far less than the disk needs, and enough for a machine that is busy with other tests."""


@pytest.mark.parametrize("seed", [1])
async def test_i01_after_a_failed_sync_the_daemon_exits_promises_nothing_and_recovers_from_disk(
    start_venue: Any, seed: int
) -> None:
    dice = random.Random(seed)
    async with (
        faulty_venue(start_venue, ("north", "bar"), guests=200 + 40 * CYCLES) as (venue, faults),
        venue.client("entrance") as entrance,
        venue.client("bar-tablet") as bar,
    ):
        load = Load(venue, entrance, bar, dice)
        pulses, seq = 0, 0
        for _ in range(CYCLES):
            async with load.running():
                faults.fail(SYNCS, errno.EIO, first=dice.randrange(60), count=1)
                assert await venue.daemon.ended() == EXIT_STORAGE
            assert faults.failed == 1
            faults.mend()
            await venue.start_daemon(online=False)
            pulses, seq = await no_pulse_without_its_grant(venue, pulses, seq)
            await load.ask_again()
        assert await venue.daemon.stop() == 0
        verified = await venue.command("journal", "verify")
        assert verified.status == 0, verified.out
        counted = every_answer_is_in_the_journal_once(venue, load)
        assert counted["done"] > CYCLES, counted


@pytest.mark.parametrize("error", length([errno.ENOSPC], [errno.EIO, errno.ENOSPC]))
async def test_i01_writes_that_fail_here_and_there_lose_nothing_and_the_daemon_goes_on(
    start_venue: Any, error: int
) -> None:
    dice = random.Random(error)
    async with (
        faulty_venue(start_venue, ("north", "bar"), guests=200 + 40 * CYCLES) as (venue, faults),
        venue.client("entrance") as entrance,
        venue.client("bar-tablet") as bar,
    ):
        load, pid = Load(venue, entrance, bar, dice), venue.daemon.pid
        for _ in range(CYCLES):
            mark = venue.daemon.mark
            async with load.running():
                count = dice.choice((1, 1, 5))
                faults.fail(WRITES | TRUNCATIONS, error, first=dice.randrange(200), count=count)
                await venue.daemon.logged("storage_recovered", since=mark)
            faults.mend()
            await load.ask_again()
        assert venue.daemon.pid == pid
        assert await venue.daemon.stop() == 0
        assert (await venue.command("journal", "verify")).status == 0
        failed_and_stored(venue, load)


def failed_and_stored(venue: Any, load: Load) -> None:
    """A request that was told `failed` has done nothing, and one that was told `done` stands in the journal once."""
    stored = [row["request"]["id"] for row in venue.journal() if row["kind"] == "entry.granted"]
    assert len(stored) == len(set(stored))
    for request in load.asked:
        final = {answer["status"] for answer in load.answers(request) if answer["status"] != "accepted"}
        if request.startswith("authenticate") and "done" in final:
            assert request in stored


@pytest.mark.timed
async def test_i09_while_the_disk_does_not_answer_everyone_hears_busy_and_nothing_is_lost(start_venue: Any) -> None:
    async with faulty_venue(start_venue, ("north",)) as (venue, faults):
        async with venue.client("entrance") as entrance:
            reader, pulses = await venue.device("north-reader"), await venue.pulses("north-relay")
            faults.delay_syncs(60_000)
            began, mark = time.monotonic(), venue.daemon.mark
            early = [await venue.authenticate(entrance, "vip", venue.guests.code(), expires_s=50) for _ in range(20)]
            guest = venue.guests.tag()
            await reader.do("tap", uid=guest.value)
            await asyncio.sleep(STALL_S - (time.monotonic() - began))
            asked = time.monotonic()
            late = [await venue.authenticate(entrance, "vip", venue.guests.code(), expires_s=50) for _ in range(20)]
            answers = [await one.final() for one in late]
            assert time.monotonic() - asked < AT_ONCE_S
            assert {(one["status"], one["reason"]) for one in answers} == {("denied", "busy")}
            await reader.do("tap", uid=venue.guests.tag().value)
            await venue.daemon.logged("tap_refused", since=mark)
            assert not any(one.answers for one in early)
            assert await venue.pulses("north-relay") == pulses
            faults.mend()
            assert [(await one.final())["status"] for one in early] == ["done"] * 20
            # Whoever tapped before the disk stood still went away long ago: the gate stays shut, the ticket is good.
            if STALL_S > 6:
                await venue.observer.event("entry.returned")
                assert await venue.pulses("north-relay") == pulses
            await reader.do("tap", uid=venue.guests.tag().value)
            await venue.observer.event("gate.released", wait_s=20)
        assert await venue.daemon.stop() == 0
        assert (await venue.command("journal", "verify")).status == 0
