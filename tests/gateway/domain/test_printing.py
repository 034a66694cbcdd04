from __future__ import annotations

import pytest

from gateway.domain import events as e
from gateway.domain import printing
from gateway.domain.access import ZoneMap
from gateway.domain.reasons import Reason
from gateway.domain.state import VenueState


def queued(job: str, printer: str = "bar", **fields: object) -> e.PrintQueued:
    given = {"job": job, "printer": printer, "client": "till", "content": "document", "size_bytes": 9, "digest": "d"}
    return e.PrintQueued(**given | fields)


def venue(*events: e.AnyEvent) -> VenueState:
    state = VenueState(ZoneMap({}, {}))
    for event in events:
        state.apply(event)
    return state


def started(job: str) -> e.PrintStarted:
    return e.PrintStarted(job=job, printer="bar")


def held(job: str, why: str = "paper_out") -> e.PrintHeld:
    return e.PrintHeld(job=job, printer="bar", why=why)


def test_jobs_are_served_in_the_order_they_came() -> None:
    state = venue(queued("a"), queued("x", "other"), queued("b"))
    assert printing.next_job(state, "bar").queued.job == "a"
    state.apply(held("a"))
    assert printing.next_job(state, "bar").queued.job == "a", "a held job keeps its place"
    state.apply(started("a"))
    assert printing.next_job(state, "bar").queued.job == "b"
    state.apply(e.PrintFailed(job="b", printer="bar", reason=Reason.JOB_CANCELLED, message=""))
    assert printing.next_job(state, "bar") is None


def test_i09_a_full_queue_is_busy_and_the_one_beside_it_is_not() -> None:
    state = venue(queued("a"), held("a"), queued("b"), started("b"))
    assert printing.refusal(state, "bar", 2) is Reason.BUSY
    assert printing.refusal(state, "bar", 3) is None
    assert printing.refusal(state, "other", 2) is None
    state.apply(e.PrintDone(job="b", printer="bar", confirmed=True))
    assert printing.refusal(state, "bar", 2) is None


def test_a_job_is_held_once_for_each_cause() -> None:
    state = venue(queued("a"))
    assert printing.held(state, "a", "paper_out") == [held("a")]
    state.apply(held("a"))
    assert printing.held(state, "a", "paper_out") == []
    assert printing.held(state, "a", "cover_open") == [held("a", "cover_open")]
    assert printing.held(state, "gone", "paper_out") == []


@pytest.mark.parametrize(
    ("before", "after", "expected"),
    [
        (True, True, e.PrintDone(job="a", printer="bar", confirmed=True)),
        (None, True, e.PrintDone(job="a", printer="bar", confirmed=True)),
        (None, None, e.PrintDone(job="a", printer="bar", confirmed=False)),
    ],
)
def test_a_job_is_confirmed_only_by_a_printer_that_says_it_is_fine(
    before: bool | None, after: bool | None, expected: e.AnyEvent
) -> None:
    assert printing.outcome(queued("a"), before, after) == expected


@pytest.mark.parametrize(
    ("before", "after", "word"),
    [(True, None, "stopped answering"), (True, False, "trouble"), (None, False, "trouble")],
)
def test_a_printer_that_falls_silent_or_complains_leaves_the_job_unknown(
    before: bool | None, after: bool | None, word: str
) -> None:
    outcome = printing.outcome(queued("a"), before, after)
    assert isinstance(outcome, e.PrintUnknown)
    assert word in outcome.message


def test_i06_jobs_expire_that_wait_and_only_those() -> None:
    state = venue(
        queued("a", expires_at_ms=1_000),
        started("a"),
        queued("b", expires_at_ms=1_000),
        held("b"),
        queued("c", expires_at_ms=1_001),
        queued("d"),
        queued("x", "other", expires_at_ms=1),
    )
    assert printing.next_expiry_ms(state, "bar") == 1_000
    [end] = printing.expired(state, "bar", 1_000)
    assert (end.job, end.reason) == ("b", Reason.JOB_EXPIRED)
    state.apply(end)
    assert printing.next_expiry_ms(state, "bar") == 1_001
    assert printing.expired(state, "bar", 1_000) == []


def test_without_waiting_jobs_nothing_expires() -> None:
    assert printing.next_expiry_ms(venue(queued("a", expires_at_ms=5), started("a")), "bar") is None


def test_i02_after_a_restart_a_job_cut_off_is_unknown_and_the_others_go_on_in_order() -> None:
    state = venue(queued("a"), started("a"), queued("b"), held("b"), queued("c"))
    found = printing.after_restart(state)
    assert [(type(event), event.job) for event in found] == [(e.PrintUnknown, "a")]
    for event in found:
        state.apply(event)
    assert printing.after_restart(state) == []
    assert [job.queued.job for job in state.jobs_for("bar")] == ["b", "c"]


def test_jobs_of_a_printer_that_is_gone_from_the_configuration_fail() -> None:
    state = venue(queued("a"), queued("b", "gone"), queued("c", "gone"), held("c"), queued("d", "gone"), started("d"))
    found = printing.after_removal(state, {"bar"})
    assert [(event.job, event.reason) for event in found] == [
        ("b", Reason.CONFIGURATION_CHANGED),
        ("c", Reason.CONFIGURATION_CHANGED),
    ]


def test_waiting_and_printing_are_told_apart() -> None:
    state = venue(queued("a"), queued("b"), held("b"), queued("c"), started("c"))
    assert [printing.is_waiting(state, job) for job in "abcx"] == [True, True, False, False]
    assert [printing.is_printing(state, job) for job in "abcx"] == [False, False, True, False]


def test_every_end_names_the_request_it_answers() -> None:
    ref = e.RequestRef("till", "r1")
    job = queued("a", request=ref)
    ends = [
        printing.put_back(job, "offline"),
        printing.outcome(job, None, None),
        printing.unknown(job, "who knows"),
        printing.failed(job, Reason.JOB_EXPIRED),
        printing.interrupted(job),
    ]
    assert {(end.job, end.printer, end.request) for end in ends} == {("a", "bar", ref)}
