from __future__ import annotations

from zoneinfo import ZoneInfo

import pytest

from gateway.domain import access, gates
from gateway.domain import events as e
from gateway.domain.access import Whereabouts, ZoneMap
from gateway.domain.reasons import Reason
from gateway.domain.state import OpenEntry, VenueState

ZONES = ZoneMap(within={"foyer": None, "hall": "foyer"}, capacity={})


def granted(entry: str = "e1", **fields: object) -> e.EntryGranted:
    given = {
        "entry": entry,
        "gate": "north",
        "credential": "ref",
        "holder": "guest-1",
        "entitlement": "ticket-1",
        "zone": "hall",
        "uses": 1,
        "source": "north-reader",
        "passage_observed": True,
    }
    return e.EntryGranted(**given | fields)


def venue(*events: e.AnyEvent) -> VenueState:
    state = VenueState(ZONES)
    for event in events:
        state.apply(event)
    return state


def refusal(state: VenueState, *, works: bool = True, active: bool = False) -> Reason | None:
    return gates.refusal(state, "north", lock_works=works, contact_works=True, contact_active=active)


def test_a_locked_gate_takes_a_guest() -> None:
    assert refusal(venue()) is None


@pytest.mark.parametrize(
    ("last", "reason"),
    [
        (granted(), Reason.BUSY),
        (e.GateForced(gate="north"), Reason.BUSY),
        (e.GateHeldOpen(gate="north"), Reason.BUSY),
        (e.GateFault(gate="north", why="no answer"), Reason.GATE_UNAVAILABLE),
    ],
)
def test_a_gate_takes_nobody_while_it_is_in_use_or_broken(last: e.AnyEvent, reason: Reason) -> None:
    assert refusal(venue(last)) is reason


def test_a_gate_without_its_lock_or_with_someone_in_it_takes_nobody() -> None:
    assert refusal(venue(), works=False) is Reason.GATE_UNAVAILABLE
    assert refusal(venue(), active=True) is Reason.BUSY


def test_the_contact_of_a_released_gate_is_the_passage() -> None:
    state = venue(granted())
    assert gates.contact_opened(state, "north", lock_moved=True) == [e.EntryPassed(entry="e1", gate="north")]
    assert gates.contact_opened(state, "north", lock_moved=False) == [e.GateForced(gate="north")]


def test_the_contact_of_a_locked_gate_is_an_alarm_and_ends_when_it_shuts() -> None:
    state = venue()
    assert gates.contact_opened(state, "north", lock_moved=True) == [e.GateForced(gate="north")]
    state.apply(e.GateForced(gate="north"))
    assert gates.contact_opened(state, "north", lock_moved=True) == [], "one alarm is enough"
    assert gates.contact_closed(state, "north") == [e.GateClosed(gate="north")]
    state.apply(e.GateClosed(gate="north"))
    assert state.gate("north").status == "locked"
    assert gates.contact_closed(state, "north") == []


def test_a_gate_held_open_says_so_once() -> None:
    state = venue()
    assert gates.held_open(state, "north") == [e.GateHeldOpen(gate="north")]
    state.apply(e.GateHeldOpen(gate="north"))
    assert gates.held_open(state, "north") == []


def test_nobody_came_so_the_entry_goes_back() -> None:
    state = venue(granted())
    [returned] = gates.passage_timed_out(state, "north", "e1", watched=True)
    state.apply(returned)
    assert state.uses == {"ticket-1": 0}
    assert state.where == {}
    assert +state.occupancy == {}
    assert state.gate("north").status == "locked"
    assert gates.passage_timed_out(state, "north", "e1", watched=True) == [], "once"


def test_i04_nobody_was_seen_by_a_contact_that_was_away_so_the_use_stays_taken() -> None:
    state = venue(granted())
    [unknown] = gates.passage_timed_out(state, "north", "e1", watched=False)
    assert unknown == e.EntryUnknown(entry="e1", gate="north", why="passage_unrecorded")
    state.apply(unknown)
    assert state.uses == {"ticket-1": 1}
    assert state.gate("north").status == "locked"


def test_a_gate_whose_contact_does_not_answer_is_unavailable() -> None:
    found = gates.refusal(venue(), "north", lock_works=True, contact_works=False, contact_active=False)
    assert found is Reason.GATE_UNAVAILABLE


def test_entries_and_alarms_of_a_gate_that_was_removed_end() -> None:
    released = e.GateReleased(entry="e2", gate="south")
    state = venue(granted(), granted("e2", gate="south"), released, e.GateForced(gate="exit"))
    assert gates.after_removal(state, ["north", "south", "exit"]) == []
    found = gates.after_removal(state, ["north"])
    assert found == [
        e.EntryUnknown(entry="e2", gate="south", why="passage_unrecorded"),
        e.GateClosed(gate="exit"),
    ]
    for event in found:
        state.apply(event)
    assert gates.after_removal(state, ["north"]) == []


@pytest.mark.parametrize(
    ("alarm", "known", "told"),
    [
        ("", None, []),
        ("forced", None, [e.GateForced(gate="north")]),
        ("forced", e.GateForced(gate="north"), []),
        ("held_open", e.GateForced(gate="north"), [e.GateHeldOpen(gate="north")]),
        ("held_open", e.GateHeldOpen(gate="north"), []),
    ],
)
def test_an_alarm_is_told_again_where_it_is_not_known(
    alarm: str, known: e.AnyEvent | None, told: list[e.AnyEvent]
) -> None:
    state = venue(*([known] if known else []))
    assert gates.still_open(state, "north", alarm) == told


def test_a_timer_of_an_entry_that_is_over_gives_nothing_back() -> None:
    state = venue(granted(), e.EntryPassed(entry="e1", gate="north"), granted("e2", holder="guest-2"))
    assert gates.passage_timed_out(state, "north", "e1", watched=True) == []


def test_a_use_taken_at_another_gate_meanwhile_is_not_given_back_with_this_one() -> None:
    other = granted("e2", gate="south", uses=2, uses_before=1)
    state = venue(granted(), other)
    [returned] = gates.passage_timed_out(state, "north", "e1", watched=True)
    assert isinstance(returned, e.EntryReturned)
    assert returned.uses == 1


def test_a_guest_who_moved_on_stays_there_when_the_entry_goes_back() -> None:
    state = venue(granted(zone="foyer"), granted("e2", gate="inner", uses=1, uses_before=1, from_zone="foyer"))
    found = gates.passage_timed_out(state, "north", "e1", watched=True)
    assert found == [e.EntryUnknown(entry="e1", gate="north", why="went_on")]
    state.apply(found[0])
    assert state.where == {"guest-1": Whereabouts("hall", "ticket-1")}
    assert state.uses == {"ticket-1": 1}


def test_i04_a_guest_seen_at_an_inner_gate_keeps_no_use_that_the_outer_one_missed() -> None:
    ticket = access.Entitlement("ticket-1", "guest-1", ("hall",), uses_total=1)
    front, door = access.GateRule("north", None, "foyer"), access.GateRule("door", "foyer", "hall")
    state = venue(
        granted(zone="foyer", since_ms=1),
        e.GateReleased(entry="e1", gate="north"),
        granted("e2", gate="door", uses=1, uses_before=1, from_zone="foyer", entitlement_before="ticket-1", since_ms=2),
        e.EntryPassed(entry="e2", gate="door"),
    )
    for event in gates.passage_timed_out(state, "north", "e1", watched=True):
        state.apply(event)
    uses = state.uses["ticket-1"]
    state.apply(granted("e3", gate="exit", zone="", uses=uses, uses_before=uses))
    state.apply(e.EntryPassed(entry="e3", gate="exit"))
    for rule in (front, door):
        guest = access.Credential("ref", "guest-1")
        verdict = access.decide(rule, ZONES, guest, [ticket], {}, state.presence("guest-1"), 3, ZoneInfo("UTC"))
        assert verdict is Reason.NO_USES_LEFT


def test_i04_a_guest_seen_to_leave_has_used_the_ticket() -> None:
    state = venue(granted(), granted("out", gate="exit", zone="", uses=1, uses_before=1, from_zone="hall"))
    state.apply(e.EntryPassed(entry="out", gate="exit"))
    [unknown] = gates.passage_timed_out(state, "north", "e1", watched=True)
    assert unknown == e.EntryUnknown(entry="e1", gate="north", why="went_on")


def test_i04_two_entries_into_one_zone_are_told_apart() -> None:
    again = granted(
        "e2", gate="south", uses=1, uses_before=1, since_ms=2, from_zone="hall", entitlement_before="ticket-1",
        since_before_ms=1,
    )  # fmt: skip
    state = venue(granted(since_ms=1), again, e.EntryPassed(entry="e2", gate="south"))
    for event in gates.passage_timed_out(state, "north", "e1", watched=True):
        state.apply(event)
    assert state.where == {"guest-1": Whereabouts("hall", "ticket-1", 2)}
    assert state.uses == {"ticket-1": 1}


def test_an_entry_after_which_the_guest_tapped_elsewhere_and_went_nowhere_goes_back() -> None:
    again = granted(
        "e2", gate="south", uses=1, uses_before=1, since_ms=2, from_zone="hall", entitlement_before="ticket-1",
        since_before_ms=1,
    )  # fmt: skip
    state = venue(granted(since_ms=1), again)
    for gate, entry in (("south", "e2"), ("north", "e1")):
        [returned] = gates.passage_timed_out(state, gate, entry, watched=True)
        state.apply(returned)
    assert state.where == {}
    assert state.uses == {"ticket-1": 0}


def test_a_group_of_whom_none_went_through_is_outside_in_whatever_order_its_entries_end() -> None:
    second = granted(
        "e2", gate="south", uses=2, uses_before=1, since_ms=2, from_zone="hall", entitlement_before="ticket-1",
        since_before_ms=1,
    )  # fmt: skip
    state = venue(granted(since_ms=1), second)
    for gate, entry in (("north", "e1"), ("south", "e2")):
        [returned] = gates.passage_timed_out(state, gate, entry, watched=True)
        state.apply(returned)
    assert state.where == {}
    assert state.uses == {"ticket-1": 0}


def test_a_guest_who_did_not_walk_out_is_still_inside() -> None:
    state = venue(
        granted("in"),
        e.EntryPassed(entry="in", gate="north"),
        granted("out", gate="exit", zone="", uses=1, uses_before=1, from_zone="hall", entitlement_before="ticket-1"),
    )
    assert state.where == {}
    [returned] = gates.passage_timed_out(state, "exit", "out", watched=True)
    state.apply(returned)
    assert state.where == {"guest-1": Whereabouts("hall", "ticket-1")}
    assert state.occupancy == {"hall": 1, "foyer": 1}
    assert state.uses == {"ticket-1": 1}


def test_a_guest_who_came_from_an_outer_zone_goes_back_there() -> None:
    before = granted("first", zone="foyer")
    deeper = granted("e2", entitlement="upgrade", from_zone="foyer", entitlement_before="ticket-1")
    state = venue(before, e.EntryPassed(entry="first", gate="north"), deeper)
    returned = gates.hand_back(state, OpenEntry(deeper), "release_failed")
    state.apply(returned)
    assert state.where == {"guest-1": Whereabouts("foyer", "ticket-1")}
    assert state.uses == {"ticket-1": 1, "upgrade": 0}
    assert returned.why == "release_failed"


def test_i02_after_a_crash_open_entries_are_unknown_and_keep_their_use() -> None:
    state = venue(granted(), e.GateReleased(entry="e1", gate="north"), granted("e2", gate="south", holder="guest-2"))
    found = gates.after_restart(state)
    assert found == [
        e.EntryUnknown(entry="e1", gate="north", why="passage_unrecorded"),
        e.EntryUnknown(entry="e2", gate="south", why="release_unrecorded"),
    ]
    for event in found:
        state.apply(event)
    assert state.entries == {}
    assert state.uses == {"ticket-1": 1}
    assert state.gate("north").status == state.gate("south").status == "locked"
