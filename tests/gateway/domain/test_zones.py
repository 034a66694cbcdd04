from __future__ import annotations

from datetime import datetime, time
from zoneinfo import ZoneInfo

import pytest

from gateway.domain import events as e
from gateway.domain import zone_events as z
from gateway.domain.access import GateRule, ZoneMap
from gateway.domain.clock import AHEAD_MAX_MS
from gateway.domain.state import VenueState
from gateway.domain.zones import VENUE, Closure, closure_at, closure_of, closures_around, last_reset_ms, reset
from tests.gateway.domain.samples import sample

BERLIN = ZoneInfo("Europe/Berlin")
ZONES = ZoneMap(within={"foyer": None, "hall": "foyer", "vip": "hall", "yard": None}, capacity={})
GATES = {
    "front": GateRule("front", None, "foyer"),
    "front-out": GateRule("front-out", "foyer", None),
    "hall-door": GateRule("hall-door", "foyer", "hall"),
    "hall-out": GateRule("hall-out", "hall", "foyer"),
    "vip-door": GateRule("vip-door", "hall", "vip"),
    "vip-out": GateRule("vip-out", "vip", "hall"),
    "yard-gate": GateRule("yard-gate", None, "yard"),
}
EVERY_GATE = set(GATES)
LOCKDOWN, EMERGENCY = Closure("lockdown", "desk", "r"), Closure("emergency", "desk", "r")


def gates_in(kind: str, **closures: Closure) -> set[str]:
    named = {VENUE if zone == "venue" else zone: closure for zone, closure in closures.items()}
    return {name for name, rule in GATES.items() if closure_at(rule, ZONES, named) == kind}


def test_in_normal_times_no_gate_is_closed() -> None:
    assert gates_in("lockdown") == gates_in("emergency") == set()


def test_a_lockdown_closes_the_ways_into_a_zone_and_further_in_and_keeps_nobody_in() -> None:
    assert gates_in("lockdown", hall=LOCKDOWN) == {"hall-door", "vip-door"}
    assert gates_in("lockdown", vip=LOCKDOWN) == {"vip-door"}
    assert gates_in("lockdown", venue=LOCKDOWN) == {"front", "hall-door", "vip-door", "yard-gate"}


def test_an_emergency_opens_the_ways_into_out_of_and_inside_a_zone() -> None:
    assert gates_in("emergency", vip=EMERGENCY) == {"vip-door", "vip-out"}
    assert gates_in("emergency", hall=EMERGENCY) == {"hall-door", "hall-out", "vip-door", "vip-out"}
    assert gates_in("emergency", foyer=EMERGENCY) == EVERY_GATE - {"yard-gate"}
    assert gates_in("emergency", venue=EMERGENCY) == EVERY_GATE


def test_an_emergency_goes_before_a_lockdown() -> None:
    assert gates_in("emergency", venue=LOCKDOWN, vip=EMERGENCY) == {"vip-door", "vip-out"}
    assert gates_in("lockdown", venue=LOCKDOWN, vip=EMERGENCY) == {"front", "hall-door", "yard-gate"}
    assert closure_of("vip", ZONES, {"vip": EMERGENCY, "foyer": LOCKDOWN}) == "emergency"
    assert closure_of("hall", ZONES, {"vip": EMERGENCY, "foyer": LOCKDOWN}) == "lockdown"
    assert closure_of("yard", ZONES, {"vip": EMERGENCY, "foyer": LOCKDOWN}) is None


def test_whoever_restores_a_zone_hears_what_goes_on_around_it() -> None:
    closures = {"vip": EMERGENCY, "foyer": LOCKDOWN, VENUE: LOCKDOWN}
    assert closures_around("vip", ZONES, closures) == ("foyer", VENUE)
    assert closures_around(VENUE, ZONES, closures) == ()


@pytest.mark.parametrize(
    ("now", "due"),
    [
        (datetime(2026, 7, 3, 5, 0, tzinfo=BERLIN), datetime(2026, 7, 3, 5, 0, tzinfo=BERLIN)),
        (datetime(2026, 7, 3, 4, 59, 59, tzinfo=BERLIN), datetime(2026, 7, 2, 5, 0, tzinfo=BERLIN)),
        (datetime(2026, 7, 3, 23, 0, tzinfo=BERLIN), datetime(2026, 7, 3, 5, 0, tzinfo=BERLIN)),
        (datetime(2026, 10, 25, 4, 59, tzinfo=BERLIN), datetime(2026, 10, 24, 5, 0, tzinfo=BERLIN)),
        (datetime(2026, 10, 25, 5, 0, tzinfo=BERLIN), datetime(2026, 10, 25, 5, 0, tzinfo=BERLIN)),
    ],
)
def test_the_reset_time_is_that_of_the_venues_clock(now: datetime, due: datetime) -> None:
    found = last_reset_ms(time(5), int(now.timestamp() * 1000), BERLIN)
    assert found == int(due.timestamp() * 1000)


def test_a_reset_time_that_the_clock_skips_still_comes_once() -> None:
    at_four = int(datetime(2026, 3, 29, 4, 0, tzinfo=BERLIN).timestamp() * 1000)
    day_before = int(datetime(2026, 3, 28, 2, 30, tzinfo=BERLIN).timestamp() * 1000)
    due_ms = last_reset_ms(time(2, 30), at_four, BERLIN)
    assert day_before < due_ms <= at_four


def guest_in(state: VenueState, holder: str, zone: str, since_ms: int) -> None:
    state.apply(sample(e.EntryGranted, holder=holder, zone=zone, since_ms=since_ms, entry=holder))


def test_a_reset_empties_the_zone_and_those_inside_it_of_all_who_came_before() -> None:
    state = VenueState(ZONES)
    guest_in(state, "old-vip", "vip", 100)
    guest_in(state, "old-hall", "hall", 100)
    guest_in(state, "new-hall", "hall", 200)
    guest_in(state, "old-foyer", "foyer", 100)
    [fact] = reset(state, "hall", 200, 1_000)
    assert (fact.guests, set(fact.zones)) == (2, {"hall", "vip"})
    state.apply(fact)
    assert set(state.where) == {"new-hall", "old-foyer"}
    assert +state.occupancy == {"hall": 1, "foyer": 2}
    assert reset(state, "hall", 200, 1_000) == []


def test_a_reset_takes_along_who_came_by_a_clock_that_was_far_ahead() -> None:
    state = VenueState(ZONES)
    guest_in(state, "ten-years", "hall", 10 * 365 * AHEAD_MAX_MS)
    guest_in(state, "an-hour", "hall", 3_600_000)
    [fact] = reset(state, "hall", 200, 1_000)
    state.apply(fact)
    assert set(state.where) == {"an-hour"}
    assert reset(state, "hall", 200, 1_000) == []


def test_a_reset_means_the_same_under_another_zone_map() -> None:
    state = VenueState(ZONES)
    guest_in(state, "old-vip", "vip", 100)
    [fact] = reset(state, "hall", 200, 1_000)
    state.set_zones(ZoneMap(within={"vip": None}, capacity={}))
    state.apply(fact)
    assert state.where == {}


def test_blocks_of_a_credential_and_of_a_holder_are_two_things() -> None:
    state = VenueState(ZONES)
    state.apply(z.CredentialBlocked(client="c", reason="r", credential="x"))
    assert state.is_blocked("x", "anyone")
    assert not state.is_blocked("y", "x")
    state.apply(z.CredentialUnblocked(client="c", reason="r", holder="x"))
    assert state.is_blocked("x", "")
    state.apply(z.CredentialBlocked(client="c", reason="r", holder="g"))
    assert state.presence("g", "y").blocked
    state.apply(z.CredentialUnblocked(client="c", reason="r", credential="x"))
    assert not state.is_blocked("x", "h")


def test_nobody_named_is_never_blocked() -> None:
    state = VenueState(ZONES)
    state.apply(z.CredentialBlocked(client="c", reason="r", credential="x"))
    assert not state.is_blocked("", "")
