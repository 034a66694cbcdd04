"""Whatever happens, in whatever order: no ticket is used more often than it was sold, and no crash forgets anything."""

from __future__ import annotations

from collections import Counter
from functools import partial
from zoneinfo import ZoneInfo

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.domain import access, drawers, gates, printing, zones
from gateway.domain import events as e
from gateway.domain import state as state_module
from gateway.domain import zone_events as ze
from gateway.domain.reasons import Reason
from gateway.domain.state import VenueState
from tests.gateway.domain.samples import rebuilt, sample, snapshot

UTC = ZoneInfo("UTC")
HALF_A_DAY_MS = 13 * 3_600_000
ZONES = access.ZoneMap(within={"hall": None, "vip": "hall"}, capacity={"hall": 2, "vip": 1})
GATES = {
    "north": access.GateRule("north", None, "hall"),
    "south": access.GateRule("south", None, "hall", "off"),
    "vip-door": access.GateRule("vip-door", "hall", "vip"),
    "side": access.GateRule("side", None, "hall", "soft", passback_reset_ms=HALF_A_DAY_MS),
    "exit": access.GateRule("exit", "hall", None),
}
WATCHED = {"north", "vip-door", "exit"}
TICKETS = {
    "single": access.Entitlement("t-single", "single", ("hall",), uses_total=1),
    "deep": access.Entitlement("t-deep", "deep", ("vip",), uses_total=1),
    "again": access.Entitlement("t-again", "again", ("hall",), uses_total=1, reentry=True),
    "double": access.Entitlement("t-double", "double", ("hall",), uses_total=2),
    "daily": access.Entitlement("t-daily", "daily", ("hall",), uses_total=3, uses_per_day=1),
    "daily-again": access.Entitlement("t-da", "daily-again", ("vip",), uses_total=3, uses_per_day=2, reentry=True),
}
ACTIONS = [
    "tap",
    "tap",
    "tap",
    "pulsed",
    "not_pulsed",
    "unsure",
    "opened",
    "closed",
    "timed_out",
    "held_open",
    "restart",
    "half_a_day",
    "everyone_gone",
    "closed_down",
]


often = settings(max_examples=max(400, settings().max_examples))
"""Short histories are cheap, and what breaks here takes several unlucky steps."""


class Venue:
    """The domain alone, driven by a list of things that happen; keeps every event and the state's rows after each."""

    def __init__(self) -> None:
        self.state = VenueState(ZONES)
        self.history: list[e.AnyEvent] = []
        self.stored: dict[tuple[str, str], bytes] = {}
        self.rows_after: list[dict[tuple[str, str], bytes]] = [{}]
        self.taken: Counter[str] = Counter()
        self.passed_on_a_use: Counter[str] = Counter()
        self.taken_on: Counter[tuple[str, str]] = Counter()
        self.now_ms = 1_000
        self._grants: dict[str, e.EntryGranted] = {}
        self._use_of: dict[str, str] = {}
        self._newest_use: dict[str, str] = {}
        self._uses_passed_on: set[str] = set()

    def record(self, *events: e.AnyEvent) -> None:
        for event in events:
            self.history.append(event)
            self.state.apply(event)
            self._count(event)
            self._store_rows()

    def _store_rows(self) -> None:
        for kind, key in self.state.dirty:
            row = self.state.row(kind, key)
            if row is None:
                self.stored.pop((kind, key), None)
            else:
                self.stored[kind, key] = row
        self.state.dirty.clear()
        self.rows_after.append(dict(self.stored))

    def _count(self, event: e.AnyEvent) -> None:
        match event:
            case e.EntryGranted():
                self._grants[event.entry] = event
                self.taken[event.entitlement] += event.uses - event.uses_before
                self.taken_on[event.entitlement, event.day] += event.uses_today - event.uses_today_before
                if event.uses > event.uses_before:
                    self._newest_use[event.entitlement] = event.entry
                self._use_of[event.entry] = self._newest_use.get(event.entitlement, event.entry)
            case e.EntryReturned():
                assert event.entry not in self._uses_passed_on, "somebody passed a gate by this use"
                grant = self._grants[event.entry]
                self.taken[event.entitlement] -= grant.uses - grant.uses_before
                self.taken_on[grant.entitlement, grant.day] -= grant.uses_today - grant.uses_today_before
            case e.EntryPassed():
                self._uses_passed_on.add(self._use_of[event.entry])
                grant = self._grants[event.entry]
                self.passed_on_a_use[grant.entitlement] += grant.uses - grant.uses_before

    def happen(self, action: str, guest: str, gate: str) -> None:
        open_here = [entry for entry in self.state.entries.values() if entry.granted.gate == gate]
        match action:
            case "tap":
                self.tap(guest, gate)
            case "restart":
                self.restart(gate)
            case "half_a_day" | "everyone_gone" | "closed_down":
                self.house_changes(action)
            case "opened" | "closed" | "held_open" if gate in WATCHED:
                self.contact(action, gate)
            case "pulsed" if open_here:
                self.record(e.GateReleased(entry=open_here[0].granted.entry, gate=gate))
            case "not_pulsed" if open_here:
                self.record(gates.hand_back(self.state, open_here[0], "release_failed"))
            case "unsure" if open_here:
                entry = open_here[0].granted.entry
                self.record(e.EntryUnknown(entry=entry, gate=gate, why="release_unrecorded"))
                self.record(e.GateFault(gate=gate, why="no answer"))
            case "timed_out" if open_here:
                self.record(*gates.passage_timed_out(self.state, gate, open_here[0].granted.entry, watched=True))

    def house_changes(self, action: str) -> None:
        match action:
            case "half_a_day":
                self.now_ms += HALF_A_DAY_MS
            case "everyone_gone":
                self.record(*zones.reset(self.state, "hall", self.now_ms, self.now_ms))
            case "closed_down":
                order = ze.ZoneRestored if "vip" in self.state.closures else ze.ZoneLockedDown
                self.record(order(zone="vip", client="desk", reason="r"))

    def contact(self, action: str, gate: str) -> None:
        opened = partial(gates.contact_opened, lock_moved=True)
        told = {"opened": opened, "closed": gates.contact_closed, "held_open": gates.held_open}
        self.record(*told[action](self.state, gate))

    def restart(self, gate: str) -> None:
        self.record(*gates.after_restart(self.state))
        if self.state.gate(gate).status == "fault":
            self.record(e.GateRestored(gate=gate))

    def tap(self, guest: str, gate: str) -> None:
        number = len(self.history)
        request = e.RequestRef("reader", f"request-{number}")
        closure = zones.closure_at(GATES[gate], ZONES, self.state.closures)
        refusal = gates.refusal(
            self.state, gate, lock_works=True, contact_works=True, contact_active=False, closure=closure
        )
        presence = self.state.presence(guest)
        verdict = refusal or access.decide(
            GATES[gate], ZONES, access.Credential("ref", guest), [TICKETS[guest]], {}, presence, self.now_ms, UTC
        )
        entry = f"entry-{number}"
        if isinstance(verdict, Reason):
            self.record(e.EntryDenied(entry=entry, gate=gate, reason=verdict, source="s", request=request))
            return
        before = presence.whereabouts
        today = verdict.today or access.DayUses("", 0)
        counted = self.state.day_uses.get(verdict.entitlement)
        self.record(
            e.EntryGranted(
                entry=entry,
                gate=gate,
                credential="ref",
                holder=guest,
                entitlement=verdict.entitlement,
                zone=GATES[gate].to_zone or "",
                uses=verdict.uses,
                uses_before=presence.uses.get(verdict.entitlement, 0),
                source="s",
                from_zone=before.zone if before else None,
                entitlement_before=before.entitlement if before else None,
                since_ms=self.now_ms,
                since_before_ms=before.since_ms if before else 0,
                day=today.day,
                uses_today=today.uses,
                uses_today_before=counted.uses if counted and counted.day == today.day else 0,
                flags=verdict.flags,
                passage_observed=gate in WATCHED,
                request=request,
            )
        )


happenings = st.lists(
    st.tuples(st.sampled_from(ACTIONS), st.sampled_from(sorted(TICKETS)), st.sampled_from(sorted(GATES))), max_size=40
)


def lived(steps: list[tuple[str, str, str]]) -> Venue:
    venue = Venue()
    for step in steps:
        venue.happen(*step)
    return venue


@often
@given(happenings)
def test_i04_no_ticket_is_ever_used_more_often_than_it_was_sold(steps: list[tuple[str, str, str]]) -> None:
    venue = Venue()
    for step in steps:
        venue.happen(*step)
        for ticket in TICKETS.values():
            used = venue.state.uses.get(ticket.id, 0)
            assert used == venue.taken[ticket.id], "the count is what was taken and not handed back"
            assert 0 <= used <= ticket.uses_total
            assert venue.passed_on_a_use[ticket.id] <= ticket.uses_total
            counted = venue.state.day_uses.get(ticket.id, access.DayUses("", 0))
            assert counted.uses == venue.taken_on[ticket.id, counted.day]
        for (name, day), taken in venue.taken_on.items():
            limit = next((one.uses_per_day for one in TICKETS.values() if one.id == name), None)
            assert 0 <= taken <= (limit or 0), (name, day)


quick = st.builds(
    lambda guest, steps: [("tap", guest, "north"), *((action, guest, gate) for action, gate in steps)],
    st.sampled_from(["deep", "again", "daily-again"]),
    st.lists(
        st.tuples(
            st.sampled_from(["tap", "opened", "timed_out"]), st.sampled_from(["north", "south", "vip-door", "exit"])
        ),
        max_size=20,
    ),
)
"""One guest who hurries from gate to gate while the one before still waits for them."""


@often
@given(quick)
def test_i04_a_use_by_which_somebody_passed_a_gate_is_never_handed_back(steps: list[tuple[str, str, str]]) -> None:
    venue = lived(steps)
    for ticket in TICKETS.values():
        assert venue.state.uses.get(ticket.id, 0) == venue.taken[ticket.id]


@often
@given(quick, st.data())
def test_i02_a_crash_amid_a_fold_forgets_no_guest_in_a_hurry(
    steps: list[tuple[str, str, str]], data: st.DataObject
) -> None:
    assert_survives_a_half_written_fold(lived(steps), data)


@often
@given(happenings)
def test_occupancy_is_always_the_number_of_guests_who_are_there(steps: list[tuple[str, str, str]]) -> None:
    state = lived(steps).state
    expected: Counter[str] = Counter()
    for here in state.where.values():
        expected.update(ZONES.path(here.zone))
    assert +state.occupancy == expected
    assert all(count >= 0 for count in state.occupancy.values())
    assert {entry.granted.gate for entry in state.entries.values()} <= set(GATES)


@often
@given(happenings, st.data())
def test_i02_events_replayed_over_the_rows_they_led_to_change_nothing(
    steps: list[tuple[str, str, str]], data: st.DataObject
) -> None:
    venue = lived(steps)
    start = data.draw(st.integers(0, len(venue.history)))
    again = rebuilt(venue.state, venue.stored)
    for event in venue.history[start:]:
        again.apply(msgspec.json.decode(msgspec.json.encode(event), type=e.AnyEvent))
    assert snapshot(again) == snapshot(venue.state)


def assert_survives_a_half_written_fold(venue: Venue, data: st.DataObject) -> None:
    """Some rows stand as they were at the last fold, others as they were at any later moment: replay mends both."""
    end = len(venue.history)
    folded = data.draw(st.integers(0, end), label="last whole fold")
    places = sorted(set().union(*venue.rows_after))
    stored = {}
    for place in places:
        moment = data.draw(st.sampled_from([folded, data.draw(st.integers(folded, end))]), label=str(place))
        if place in venue.rows_after[moment]:
            stored[place] = venue.rows_after[moment][place]
    again = rebuilt(venue.state, stored)
    for event in venue.history[folded:]:
        again.apply(event)
    assert snapshot(again) == snapshot(venue.state)


@often
@given(happenings, st.data())
def test_i02_a_crash_amid_a_fold_loses_nothing_of_an_entry(
    steps: list[tuple[str, str, str]], data: st.DataObject
) -> None:
    assert_survives_a_half_written_fold(lived(steps), data)


COUNTER_ACTIONS = ["queue", "start", "hold", "done", "unknown", "fail", "cancel", "open", "opened", "alarm", "restart"]


def at_the_counter(steps: list[tuple[str, int]]) -> Venue:
    venue = Venue()
    for number, (action, choice) in enumerate(steps):
        ref = e.RequestRef("till", f"request-{number:03}")
        match action:
            case "queue":
                venue.record(sample(e.PrintQueued, job=f"job-{number:03}", printer="bar", request=ref))
            case "restart":
                venue.record(*printing.after_restart(venue.state), *drawers.after_restart(venue.state))
            case "open" | "opened" | "alarm":
                the_drawer(venue, action, ref)
            case _:
                the_printer(venue, action, choice, ref)
    return venue


def the_drawer(venue: Venue, action: str, ref: e.RequestRef) -> None:
    opening = next(iter(venue.state.drawer("drawer").openings.values()), None)
    if action == "alarm":
        venue.record(*drawers.left_open(venue.state, "drawer"))
        venue.record(*drawers.contact_closed("drawer"))
    elif action == "open":
        venue.record(sample(e.DrawerOpening, opening=ref.id, drawer="drawer", request=ref))
    elif opening is not None:
        venue.record(drawers.opened(opening, confirmed=False))


def the_printer(venue: Venue, action: str, choice: int, ref: e.RequestRef) -> None:
    jobs = venue.state.jobs_for("bar")
    if not jobs:
        return
    job = jobs[choice % len(jobs)].queued
    match action:
        case "start":
            venue.record(e.PrintStarted(job=job.job, printer="bar"))
        case "hold":
            venue.record(*printing.held(venue.state, job.job, "paper_out"))
        case "done" | "unknown":
            venue.record(printing.outcome(job, None if action == "done" else True, None))
        case "fail":
            venue.record(printing.failed(job, Reason.JOB_EXPIRED))
        case "cancel":
            venue.record(e.PrintCancelled(job=job.job, printer="bar", client="till", request=ref))
            venue.record(printing.failed(job, Reason.JOB_CANCELLED))


counter_steps = st.lists(st.tuples(st.sampled_from(COUNTER_ACTIONS), st.integers(0, 3)), max_size=30)


@pytest.fixture(scope="module", autouse=True)
def _few_jobs_kept() -> object:
    """With 200 kept, no short history would ever forget one."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(state_module, "FINISHED_JOBS_KEPT", 2)
        yield


@often
@given(counter_steps, st.data())
def test_i02_print_jobs_and_openings_replayed_over_their_rows_change_nothing(
    steps: list[tuple[str, int]], data: st.DataObject
) -> None:
    venue = at_the_counter(steps)
    start = data.draw(st.integers(0, len(venue.history)))
    again = rebuilt(venue.state, venue.stored)
    for event in venue.history[start:]:
        again.apply(event)
    assert snapshot(again) == snapshot(venue.state)


@often
@given(counter_steps, st.data())
def test_i02_a_crash_amid_a_fold_loses_no_job_no_opening_and_no_answer(
    steps: list[tuple[str, int]], data: st.DataObject
) -> None:
    assert_survives_a_half_written_fold(at_the_counter(steps), data)
