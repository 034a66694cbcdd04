"""What may become of a print job: `queued → printing → done | failed | unknown`, and `held` while the printer cannot.

Every function looks at the state and returns the facts that follow, or none; nothing here changes anything.
"""

from __future__ import annotations

from collections.abc import Collection

from gateway.domain import events as e
from gateway.domain.reasons import Reason, message_for
from gateway.domain.state import Job, VenueState

WAITING = frozenset({"queued", "held"})
"""The states in which not a byte of a job has been sent, so that it may still be taken back."""

_LOOK = "Look at the paper before you ask for a copy."


def refusal(state: VenueState, printer: str, limit: int) -> Reason | None:
    """Return BUSY when `limit` jobs of this printer are open already, else None (I9)."""
    return Reason.BUSY if len(state.jobs_for(printer)) >= limit else None


def next_job(state: VenueState, printer: str) -> Job | None:
    """Return the oldest job that waits for this printer, or None."""
    return next(iter(_waiting(state, printer)), None)


def is_waiting(state: VenueState, job_id: str) -> bool:
    """Return True while nothing of the job has been sent and it is still wanted."""
    job = state.jobs.get(job_id)
    return job is not None and job.status in WAITING


def is_printing(state: VenueState, job_id: str) -> bool:
    """Return True between the first byte of a job and its outcome."""
    job = state.jobs.get(job_id)
    return job is not None and job.status == "printing"


def held(state: VenueState, job_id: str, why: str) -> list[e.AnyEvent]:
    """Say once for each cause that the job at the head waits for its printer."""
    job = state.jobs.get(job_id)
    if job is None or not job.open or (job.status == "held" and job.why == why):
        return []
    return [put_back(job.queued, why)]


def put_back(queued: e.PrintQueued, why: str) -> e.PrintHeld:
    """Return the fact that a job waits for its printer, nothing of it having been sent."""
    return e.PrintHeld(job=queued.job, printer=queued.printer, why=why, request=queued.request)


def outcome(queued: e.PrintQueued, before: bool | None, after: bool | None) -> e.PrintDone | e.PrintUnknown:
    """Return how a job ended whose bytes were all sent.

    `before` and `after` are whether the printer said that it can print: None means that it said nothing, which is
    never "fine". A printer that could tell before and cannot now has perhaps not finished.
    """
    if after or (after is None and before is None):
        return e.PrintDone(job=queued.job, printer=queued.printer, confirmed=bool(after), request=queued.request)
    trouble = "stopped answering" if after is None else "reported trouble"
    return unknown(queued, f"The printer {trouble} during this receipt. {_LOOK}")


def unknown(queued: e.PrintQueued, message: str) -> e.PrintUnknown:
    """Return the fact that some or all of a job may be on paper."""
    return e.PrintUnknown(job=queued.job, printer=queued.printer, message=message, request=queued.request)


def failed(queued: e.PrintQueued, reason: Reason, message: str = "") -> e.PrintFailed:
    """Return the fact that nothing of a job was printed, and nothing will be."""
    return e.PrintFailed(
        job=queued.job,
        printer=queued.printer,
        reason=reason,
        message=message or message_for(reason),
        request=queued.request,
    )


def expired(state: VenueState, printer: str, now_ms: int) -> list[e.AnyEvent]:
    """Return the end of every waiting job of this printer whose time is over."""
    return [failed(job.queued, Reason.JOB_EXPIRED) for job in _waiting(state, printer) if is_over(job.queued, now_ms)]


def is_over(queued: e.PrintQueued, now_ms: int) -> bool:
    """Return True when nobody wants a job any more of which nothing was sent by then (I6)."""
    return queued.expires_at_ms is not None and queued.expires_at_ms <= now_ms


def next_expiry_ms(state: VenueState, printer: str) -> int | None:
    """Return when the next waiting job of this printer expires, in UTC milliseconds, or None."""
    times = [job.queued.expires_at_ms for job in _waiting(state, printer)]
    return min((at_ms for at_ms in times if at_ms is not None), default=None)


def interrupted(queued: e.PrintQueued) -> e.PrintUnknown:
    """Return the end of a job that was cut off: some may be on paper, so it is never printed again by itself (I2)."""
    return unknown(queued, f"The gateway stopped during this receipt. {_LOOK}")


def after_restart(state: VenueState) -> list[e.AnyEvent]:
    """Return the facts for the jobs that a crash cut off. Those that waited go on in their order."""
    return [interrupted(job.queued) for job in state.jobs.values() if job.status == "printing"]


def after_removal(state: VenueState, printers: Collection[str]) -> list[e.AnyEvent]:
    """Return the end of the jobs that wait for a printer that is not among `printers`, those configured now."""
    return [
        failed(job.queued, Reason.CONFIGURATION_CHANGED)
        for job in state.jobs.values()
        if job.status in WAITING and job.queued.printer not in printers
    ]


def _waiting(state: VenueState, printer: str) -> list[Job]:
    return [job for job in state.jobs_for(printer) if job.status in WAITING]
