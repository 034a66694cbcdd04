"""Orders of staff, from a tablet to the relays: lockdown, emergency release, block, override, and the question why."""

from __future__ import annotations

from typing import Any

import pytest

from tests.e2e.venue import Venue

pytestmark = pytest.mark.asyncio(loop_scope="module")
VENUE = {"parts": ("north", "south")}
BOARDS = ("north-relay", "south-board")


async def relays_are(venue: Venue, closed: bool) -> None:
    for name in BOARDS:
        await (await venue.device(name)).until(lambda s: s["relays"][0]["on"] is closed)


async def order(venue: Venue, verb: str, **data: Any) -> dict[str, Any]:
    async with venue.client("supervisor") as supervisor:
        return await (await supervisor.ask("gateway", verb, {"reason": "drill", **data})).final()


async def test_an_emergency_holds_the_gates_open_across_a_lost_cable_and_a_killed_daemon(start_venue: Any) -> None:
    venue: Venue = await start_venue(("north", "south"))
    assert (await order(venue, "emergency_release", zone="hall"))["status"] == "done"
    await relays_are(venue, True)
    await venue.observer.state("devices/north/state", state="emergency")
    board = await venue.device("north-relay")
    await board.do("unplug")
    await venue.observer.state("devices/north-relay/state", state="offline")
    switched = (await board.state())["relays"][0]["switched_on"]
    await board.do("plug")
    await board.until(lambda s: s["relays"][0]["on"] and s["relays"][0]["switched_on"] > switched)
    await venue.daemon.kill()
    switched = (await board.state())["relays"][0]["switched_on"]
    await venue.start_daemon()
    await board.until(lambda s: s["relays"][0]["on"] and s["relays"][0]["switched_on"] > switched)
    await relays_are(venue, True)
    mark = venue.observer.mark
    await (await venue.device("north-reader")).do("tap", uid=venue.guests.tag().value)
    assert (await venue.observer.event("entry.denied", since=mark))["reason"] == "emergency"
    assert (await order(venue, "restore", zone="hall"))["status"] == "done"
    await relays_are(venue, False)
    await venue.observer.state("devices/north/state", state="locked")
    await (await venue.device("north-reader")).do("tap", uid=venue.guests.tag().value)
    await venue.observer.event("gate.released", since=mark, gate="north")


async def test_a_lockdown_and_a_block_act_at_once_and_end(venue: Venue) -> None:
    guest = venue.guests.code(uses=None)
    async with venue.client("entrance") as entrance:
        await order(venue, "lock_down")
        locked = await (await venue.authenticate(entrance, "turnstile", guest)).final()
        await venue.observer.state("devices/turnstile/state", state="locked_down")
        await venue.observer.state("gateway/zones", venue="lockdown")
        await order(venue, "restore")
        await order(venue, "block", credential=guest.credential)
        blocked = await (await venue.authenticate(entrance, "turnstile", guest)).final()
        await order(venue, "unblock", credential=guest.credential)
        admitted = await (await venue.authenticate(entrance, "turnstile", guest)).final()
    assert [locked["reason"], blocked["reason"], admitted["status"]] == ["gate_locked", "blocked", "done"]


async def test_an_override_opens_the_gate_once_and_why_tells_of_every_rule(venue: Venue) -> None:
    guest, before, mark = venue.guests.code(), await venue.pulses("north-relay"), venue.observer.mark
    async with venue.client("supervisor") as supervisor:
        asked = await (await supervisor.ask("north", "why", {"credential": guest.credential})).final()
        assert (asked["data"]["decision"], asked["data"]["rules"]["gate"]) == ("granted", "ok")
        opened = await (await supervisor.ask("north", "override", {"reason": "broken reader"})).final()
        assert opened["status"] == "done"
    granted = await venue.observer.event("entry.granted", since=mark, gate="north")
    assert (granted["override_by"], granted["override_reason"]) == ("supervisor", "broken reader")
    await venue.closed("north-relay", before + 1)


async def test_a_client_without_the_grant_gives_no_order(venue: Venue) -> None:
    async with venue.insider("entrance") as entrance:
        answer = await (await entrance.ask("gateway", "emergency_release", {"reason": "r"})).final()
    assert answer["reason"] == "not_granted"
