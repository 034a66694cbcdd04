from __future__ import annotations

import pytest

from gateway.domain import events as e
from gateway.domain.access import ZoneMap
from gateway.domain.answers import Answer, denied, failed, first_answer, later_answer
from gateway.domain.reasons import Reason, message_for
from gateway.domain.state import VenueState, request_key
from tests.gateway.domain.samples import EVENT_TYPES, REF, sample


def story(*events: e.AnyEvent) -> tuple[VenueState, list[tuple[str, Reason | None]]]:
    state = VenueState(ZoneMap({}, {}))
    told = []
    for event in events:
        answered = state.apply(event)
        if answered is not None:
            ref, answer = answered
            assert ref == REF
            told.append((answer.status, answer.reason))
    return state, told


QUEUED = sample(e.PrintQueued, job="j")
OPENING = sample(e.DrawerOpening, opening="o", drawer="d")


def test_a_grant_and_a_refusal_are_final_at_once() -> None:
    assert story(sample(e.EntryGranted))[1] == [("done", None)]
    assert story(sample(e.EntryDenied, reason=Reason.BLOCKED))[1] == [("denied", Reason.BLOCKED)]


@pytest.mark.parametrize(
    ("end", "told"),
    [
        (e.PrintDone(job="j", printer="p", confirmed=True, request=REF), ("done", None)),
        (e.PrintDone(job="j", printer="p", confirmed=False, request=REF), ("done", None)),
        (
            e.PrintFailed(job="j", printer="p", reason=Reason.JOB_EXPIRED, message="m", request=REF),
            ("failed", Reason.JOB_EXPIRED),
        ),
        (e.PrintUnknown(job="j", printer="p", message="m", request=REF), ("unknown", Reason.OUTCOME_UNKNOWN)),
    ],
)
def test_a_job_is_accepted_then_told_when_it_waits_and_how_it_ended(
    end: e.AnyEvent, told: tuple[str, Reason | None]
) -> None:
    held = e.PrintHeld(job="j", printer="p", why="paper_out", request=REF)
    state, heard = story(QUEUED, held, e.PrintStarted(job="j", printer="p"), end)
    assert heard == [("accepted", None), ("accepted", None), told]
    stored = state.requests[request_key(REF.client, REF.id)]
    assert stored.fingerprint == REF.fingerprint
    assert stored.answer.final


@pytest.mark.parametrize(
    ("end", "told"),
    [
        (e.DrawerOpened(opening="o", drawer="d", confirmed=True, request=REF), ("done", None)),
        (
            e.DrawerFailed(opening="o", drawer="d", reason=Reason.DEVICE_OFFLINE, message="m", request=REF),
            ("failed", Reason.DEVICE_OFFLINE),
        ),
        (e.DrawerUnknown(opening="o", drawer="d", message="m", request=REF), ("unknown", Reason.OUTCOME_UNKNOWN)),
    ],
)
def test_a_drawer_opening_is_accepted_then_told_how_it_ended(end: e.AnyEvent, told: tuple[str, Reason | None]) -> None:
    assert story(OPENING, end)[1] == [("accepted", None), told]


def test_a_cancel_is_answered_beside_the_job_it_ends() -> None:
    assert first_answer(e.PrintCancelled(job="j", printer="p", client="c")) == Answer(
        "done", None, "Cancelled.", {"job": "j"}
    )


def test_an_entry_at_a_wired_reader_answers_no_request() -> None:
    assert story(sample(e.EntryGranted, request=None))[1] == []


def test_no_event_answers_twice() -> None:
    for event_type in EVENT_TYPES:
        event = sample(event_type)
        assert first_answer(event) is None or later_answer(event) is None


def test_only_accepted_is_not_final() -> None:
    finals = {status: Answer(status).final for status in ("accepted", "done", "denied", "failed", "unknown")}
    assert finals == {"accepted": False, "done": True, "denied": True, "failed": True, "unknown": True}


def test_a_refusal_speaks_even_without_words_of_its_own() -> None:
    assert denied(Reason.BUSY).message == message_for(Reason.BUSY)
    assert failed(Reason.BUSY, "own words", job="j") == Answer("failed", Reason.BUSY, "own words", {"job": "j"})
