"""A gate with a Modbus board and a passage contact: passed, timed out, forced, held open, fault."""

from __future__ import annotations

import pytest

from tests.e2e.guests import Guest
from tests.e2e.venue import Venue

pytestmark = pytest.mark.asyncio(loop_scope="module")
VENUE = {"parts": ("south",)}
GATE = "devices/south/state"


async def scan(venue: Venue, guest: Guest) -> dict[str, object]:
    """Scan a code; returns the decision."""
    mark = venue.observer.mark
    await (await venue.device("south-scanner")).do("scan", text=guest.value)

    def decision() -> dict[str, object] | None:
        found = [
            entry for kind in ("granted", "denied") for entry in venue.observer.events(f"entry.{kind}", since=mark)
        ]
        return found[0] if found else None

    entry: dict[str, object] = await venue.observer.until(decision, "a decision")
    return entry


async def test_the_gate_opens_for_one_passage_and_sees_it(venue: Venue) -> None:
    mark, board = venue.observer.mark, await venue.device("south-board")
    before = await venue.pulses("south-board")
    granted = await scan(venue, venue.guests.code())
    assert granted["passage_observed"]
    await venue.observer.state(GATE, state="released")
    state = await board.until(lambda s: s["relays"][0]["switched_on"] == before + 1)
    await board.do("pulse_input", channel=1, ms=100)
    await venue.observer.event("entry.passed", since=mark, entry=granted["entry"])
    await venue.observer.state(GATE, state="locked")
    await venue.admits("south")
    state = await board.until(lambda s: s["relays"][0]["pulses"] == before + 1)
    # The board ends its own pulse, so that a dead gateway leaves no gate open.
    assert 150 <= state["relays"][0]["last_pulse_ms"] <= 400


async def test_while_one_guest_is_expected_the_next_one_waits(venue: Venue) -> None:
    mark = venue.observer.mark
    await scan(venue, venue.guests.code())
    await venue.observer.state(GATE, state="released")
    waiting = venue.guests.code()
    assert (await scan(venue, waiting))["reason"] == "busy"
    board = await venue.device("south-board")
    await board.do("pulse_input", channel=1, ms=100)
    await venue.observer.event("entry.passed", since=mark)
    await venue.observer.state(GATE, state="locked")
    await venue.admits("south")
    # Refused before the ticket was touched: the one use is still there.
    async with venue.client("entrance") as reader:
        assert (await (await venue.authenticate(reader, "turnstile", waiting)).final())["status"] == "done"


async def test_who_does_not_walk_through_gets_the_entry_back(venue: Venue) -> None:
    guest, mark = venue.guests.code(), venue.observer.mark
    granted = await scan(venue, guest)
    inside = (await venue.observer.state(GATE, state="released"))["status"]["inside"]
    returned = await venue.observer.event("entry.returned", since=mark, entry=granted["entry"])
    assert (returned["uses"], returned["holder"]) == (0, guest.holder)
    await venue.observer.state(GATE, state="locked", inside=inside - 1)
    again = await scan(venue, guest)
    assert (again["kind"], again["uses"]) == ("entry.granted", 1)
    await venue.observer.event("entry.returned", since=mark, entry=again["entry"])


async def test_a_passage_nobody_released_is_an_alarm(venue: Venue) -> None:
    await venue.observer.state(GATE, state="locked")
    mark, board = venue.observer.mark, await venue.device("south-board")
    await board.do("input", channel=1, active=True)
    await venue.observer.event("gate.forced", since=mark, gate="south")
    await venue.observer.state(GATE, state="forced")
    assert (await scan(venue, venue.guests.code()))["reason"] == "busy"
    await board.do("input", channel=1, active=False)
    await venue.observer.event("gate.closed", since=mark, gate="south")
    await venue.observer.state(GATE, state="locked")


async def test_a_gate_that_stays_open_is_an_alarm(venue: Venue) -> None:
    mark, board = venue.observer.mark, await venue.device("south-board")
    await scan(venue, venue.guests.code())
    await venue.observer.state(GATE, state="released")
    await board.do("input", channel=1, active=True)
    await venue.observer.event("entry.passed", since=mark)
    await venue.observer.event("gate.held_open", since=mark, gate="south")
    await venue.observer.state(GATE, state="held_open")
    await board.do("input", channel=1, active=False)
    await venue.observer.event("gate.closed", since=mark, gate="south")
    await venue.observer.state(GATE, state="locked")


async def test_a_board_that_confirms_nothing_is_a_fault_and_the_outcome_unknown(venue: Venue) -> None:
    await venue.observer.state(GATE, state="locked")
    mark, board = venue.observer.mark, await venue.device("south-board")
    before, guest = await venue.pulses("south-board"), venue.guests.code()
    await board.do("silent", on=True)
    granted = await scan(venue, guest)
    if granted["kind"] == "entry.granted":
        # Nobody knows whether the pulse went out, so it is never sent again and the ticket stays used (I2, I4).
        await venue.observer.event("entry.unknown", since=mark, entry=granted["entry"])
        await venue.observer.event("gate.fault", since=mark, gate="south")
        await venue.observer.state(GATE, state="fault")
    assert (await scan(venue, venue.guests.code()))["reason"] == "gate_unavailable"
    await board.do("silent", on=False)
    await venue.observer.state(GATE, state="locked")
    assert await venue.pulses("south-board") == before
    await venue.observer.state("devices/south-board/state", state="online")
    passing = await scan(venue, venue.guests.code())
    assert passing["kind"] == "entry.granted"
    await venue.observer.event("entry.returned", since=mark, entry=passing["entry"])


async def test_a_gate_recovers_from_a_fault_that_did_not_cost_the_link(venue: Venue) -> None:
    await venue.observer.state(GATE, state="locked")
    mark, board = venue.observer.mark, await venue.device("south-board")
    await board.do("silent", on=True)
    await scan(venue, venue.guests.code())
    await venue.observer.event("gate.fault", since=mark, gate="south")
    await board.do("silent", on=False)
    await venue.observer.event("gate.restored", since=mark, gate="south")
    await venue.observer.state(GATE, state="locked")
