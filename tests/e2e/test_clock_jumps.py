"""The wall clock jumps an hour ahead and back under a running daemon: guests go on, nothing expired comes to life."""

from __future__ import annotations

import contextlib
import sqlite3
import time
from datetime import datetime
from typing import Any

import pytest

from tests.e2e.faulty import faulty_venue
from tests.e2e.tablet import envelope
from tests.e2e.venue import Venue
from tests.length import length

pytestmark = [pytest.mark.asyncio(loop_scope="module"), pytest.mark.timeout(300)]

HOUR_MS = 3_600_000
JUMPS = length((HOUR_MS, -HOUR_MS, 0), (HOUR_MS, 0, -HOUR_MS, 0) * 10)


async def taps_are_served(venue: Venue) -> None:
    """A wired reader needs no clock: its gate opens, once."""
    pulses, mark = await venue.pulses("north-relay"), venue.observer.mark
    await (await venue.device("north-reader")).do("tap", uid=venue.guests.tag().value)
    await venue.observer.event("gate.released", since=mark)
    await venue.closed("north-relay", pulses + 1)


async def test_i06_a_clock_that_jumps_stops_no_guest_and_revives_no_request(start_venue: Any) -> None:
    async with faulty_venue(start_venue, ("north",)) as (venue, faults):
        async with venue.client("entrance") as entrance:
            await taps_are_served(venue)
            jumped = False
            over = envelope("over", {"credential": venue.guests.tag().credential}, expires_s=-1)
            for number, offset_ms in enumerate(JUMPS):
                faults.set_clock(offset_ms)
                await taps_are_served(venue)
                # Over before the first jump, so it is not served, whatever the clock says now: by one that is an hour
                # back it would have an hour to go, which is more than any request may have.
                expired = await entrance.send("north", "authenticate", over, request_id="over")
                answer = await expired.answer(since=number)
                assert answer["reason"] == ("expiry_too_far" if offset_ms < 0 else "request_expired")
                jumped |= datetime.fromisoformat(answer["at"]).timestamp() - time.time() > HOUR_MS / 2000
        assert jumped, "the clock never jumped"
        assert await venue.daemon.stop() == 0
        faults.set_clock(0)
        assert times_ms(venue) == sorted(times_ms(venue))
        assert (await venue.command("journal", "verify")).status == 0
        await venue.start_daemon()
        await taps_are_served(venue)
        # The journal is an hour ahead, so the next start believes no clock until somebody vouches for it.
        mark = venue.observer.mark
        assert (await venue.command("clock", "vouch")).status == 0
        await venue.observer.event("clock.vouched", since=mark)
        async with venue.client("entrance") as entrance:
            answer = await (await venue.authenticate(entrance, "vip", venue.guests.code())).final()
            assert answer["status"] == "done"


def times_ms(venue: Venue) -> list[int]:
    """When each journal entry says that it was made."""
    address = f"file:{venue.state_dir / 'journal.db'}?mode=ro"
    with contextlib.closing(sqlite3.connect(address, uri=True)) as database:
        return [at_ms for (at_ms,) in database.execute("SELECT at_ms FROM journal ORDER BY seq")]
