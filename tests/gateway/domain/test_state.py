from __future__ import annotations

import pytest

from gateway.domain import events as e
from gateway.domain import state as state_module
from gateway.domain.access import Whereabouts, ZoneMap
from gateway.domain.reasons import Reason
from gateway.domain.state import FINISHED_JOBS_KEPT, VenueState, request_key
from tests.gateway.domain.samples import EVENT_TYPES, rebuilt, rows, sample, snapshot

ZONES = ZoneMap(within={"hall": None, "vip": "hall"}, capacity={})


def granted(**fields: object) -> e.EntryGranted:
    return sample(e.EntryGranted, **{"zone": "vip", "from_zone": None, "entitlement_before": None} | fields)


def test_occupancy_counts_guests_in_every_zone_around_them() -> None:
    state = VenueState(ZONES)
    state.apply(granted(holder="a"))
    state.apply(granted(holder="b", zone="hall", entry="e2"))
    assert state.occupancy == {"vip": 1, "hall": 2}
    state.apply(granted(holder="a", zone="", entry="e3"))
    assert +state.occupancy == {"hall": 1}
    assert state.where == {"b": Whereabouts("hall", "entitlement-1", 3)}


def test_a_new_zone_map_counts_everyone_again() -> None:
    state = VenueState(ZONES)
    state.apply(granted(holder="a"))
    state.set_zones(ZoneMap(within={"vip": "terrace", "terrace": None}, capacity={}))
    assert state.occupancy == {"vip": 1, "terrace": 1}


def test_an_entry_without_a_lock_here_has_no_outcome_to_wait_for() -> None:
    state = VenueState(ZONES)
    state.apply(granted(actuates=False, passage_observed=False))
    assert state.entries == {}


def test_an_entry_without_a_contact_is_over_with_the_pulse() -> None:
    state = VenueState(ZONES)
    state.apply(granted(entry="e", passage_observed=False))
    state.apply(e.GateReleased(entry="e", gate="gate-1"))
    assert state.entries == {}
    assert state.gate("gate-1").status == "locked"


def test_each_client_has_request_ids_of_its_own() -> None:
    assert request_key("a", "b1") != request_key("ab", "1")


def test_old_finished_jobs_are_forgotten_and_their_contents_named() -> None:
    state = VenueState(ZONES)
    for number in range(FINISHED_JOBS_KEPT + 2):
        state.apply(sample(e.PrintQueued, job=f"{number:04}"))
        state.apply(e.PrintDone(job=f"{number:04}", printer="p", confirmed=True))
    assert len(state.jobs) == FINISHED_JOBS_KEPT
    assert state.dropped_jobs == ["0000", "0001"]
    assert state.row("job", "0000") is None


def test_open_jobs_are_never_forgotten(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(state_module, "FINISHED_JOBS_KEPT", 1)
    state = VenueState(ZONES)
    for job in "abcd":
        state.apply(sample(e.PrintQueued, job=job))
    for job in "bcd":
        state.apply(e.PrintFailed(job=job, printer="p", reason=Reason.JOB_CANCELLED, message=""))
    assert list(state.jobs) == ["a", "d"]


def test_everything_comes_back_from_its_rows() -> None:
    state = VenueState(ZONES)
    for event_type in EVENT_TYPES:
        state.apply(sample(event_type))
        state.apply(granted(entry="still-open", gate="south", holder="b"))
        state.apply(sample(e.PrintQueued, job="waiting"))
        assert snapshot(rebuilt(state, rows(state))) == snapshot(state)


def test_rows_of_a_later_version_are_left_alone() -> None:
    state = VenueState(ZONES)
    state.load_row("wallet", "w1", b"[1]")
    assert snapshot(state) == snapshot(VenueState(ZONES))


def test_clear_forgets_everything() -> None:
    state = VenueState(ZONES)
    for event_type in EVENT_TYPES:
        state.apply(sample(event_type))
    state.clear()
    assert snapshot(state) == snapshot(VenueState(ZONES))
    assert state.dirty == set()
    assert state.dropped_jobs == []


def test_a_replay_over_newer_rows_forgets_the_same_jobs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(state_module, "FINISHED_JOBS_KEPT", 2)
    events = [sample(e.PrintQueued, job=job) for job in "abc"]
    events += [e.PrintDone(job=job, printer="p", confirmed=True) for job in "abc"]
    state = VenueState(ZONES)
    for event in events:
        state.apply(event)
    again = rebuilt(state, rows(state))
    for event in events:
        again.apply(event)
    assert set(again.jobs) == set(state.jobs) == {"b", "c"}


def test_the_queue_is_in_order_however_the_jobs_came_back() -> None:
    state = VenueState(ZONES)
    for job in "bca":
        state.apply(sample(e.PrintQueued, job=job, printer="bar"))
    assert [job.queued.job for job in state.jobs_for("bar")] == ["a", "b", "c"]
