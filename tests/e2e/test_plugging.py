"""Devices unplugged and back: the gateway says so, and works again by itself."""

from __future__ import annotations

import pytest

from tests.e2e.venue import Venue
from tests.length import length

pytestmark = pytest.mark.asyncio(loop_scope="module")
VENUE = {"parts": ("north", "south"), "guests": length(120, 400)}
TIMES = length(6, 100)


@pytest.mark.timeout(length(60, 1200))
async def test_devices_unplugged_and_back_again_and_again_work_each_time(venue: Venue) -> None:
    names = ("north-reader", "north-relay", "south-board", "south-scanner")
    async with venue.client("entrance") as entrance:
        for number in range(TIMES):
            mark, before = venue.observer.mark, await venue.pulses("north-relay")
            for name in names:
                await (await venue.device(name)).do("unplug")
            for name in names:
                state = await venue.observer.state(f"devices/{name}/state", state="offline")
                assert state["why"]
            refused = await (await venue.authenticate(entrance, "north", venue.guests.tag())).final()
            assert refused["reason"] == "gate_unavailable"
            for name in names:
                await (await venue.device(name)).do("plug")
            for name in names:
                await venue.observer.state(f"devices/{name}/state", state="online")
            # What happened while it was away is not made up for: no pulse, no entry.
            assert await venue.pulses("north-relay") == before
            guest = venue.guests.tag() if number % 2 else venue.guests.tag(uses=None)
            await (await venue.device("north-reader")).do("tap", uid=guest.value)
            await venue.observer.event("gate.released", since=mark, gate="north")
            await venue.closed("north-relay", before + 1)


async def test_a_board_lost_during_a_release_hands_the_entry_back_or_says_unknown(venue: Venue) -> None:
    await venue.observer.state("devices/south/state", state="locked")
    mark, board = venue.observer.mark, await venue.device("south-board")
    await board.do("silent", on=True)
    await (await venue.device("south-scanner")).do("scan", text=venue.guests.code().value)
    granted = await venue.observer.event("entry.granted", since=mark)
    await board.do("unplug")
    ends = ("entry.returned", "entry.unknown")

    def end() -> object:
        return next(
            (one for kind in ends for one in venue.observer.events(kind, since=mark, entry=granted["entry"])), None
        )

    await venue.observer.until(end, "an end of the entry")
    await board.do("silent", on=False)
    await board.do("plug")
    await venue.observer.state("devices/south-board/state", state="online")
    await venue.observer.state("devices/south/state", state="locked")


async def test_a_passage_contact_found_active_after_the_cable_is_back_is_an_alarm(venue: Venue) -> None:
    await venue.observer.state("devices/south/state", state="locked")
    mark, board = venue.observer.mark, await venue.device("south-board")
    await board.do("unplug")
    await venue.observer.state("devices/south-board/state", state="offline")
    await board.do("input", channel=1, active=True)
    await board.do("plug")
    await venue.observer.event("gate.forced", since=mark, gate="south")
    await board.do("input", channel=1, active=False)
    await venue.observer.event("gate.closed", since=mark, gate="south")
