from __future__ import annotations

from gateway.domain import events as e
from gateway.domain.retention import old_receipts
from gateway.domain.state import Job, JobStatus

OLD, NEW = "0197d0c8-5f3e-7abc-8def-0123456789ab", "0197d0c8-6000-7abc-8def-0123456789ab"
BETWEEN_MS = 0x0197D0C85FFF


def job(name: str, status: JobStatus) -> Job:
    queued = e.PrintQueued(job=name, printer="bar", client="bar", content="raw", size_bytes=1, digest="")
    return Job(queued, status)


def test_finished_receipts_go_by_their_age_and_waiting_ones_stay() -> None:
    jobs = {OLD: job(OLD, "done"), NEW: job(NEW, "done"), "no-id": job("no-id", "failed")}
    assert old_receipts(jobs, BETWEEN_MS) == [OLD]
    assert old_receipts({OLD: job(OLD, "held")}, BETWEEN_MS) == []
