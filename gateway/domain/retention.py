"""What is old enough to be forgotten."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress

from gateway.domain.state import Job

DAY_MS = 24 * 3600 * 1000


def old_receipts(jobs: Mapping[str, Job], before_ms: int) -> list[str]:
    """Return the finished jobs that were taken before that time (UTC milliseconds); their ids tell when, as UUIDv7."""
    return [name for name, job in jobs.items() if not job.open and (_made_ms(name) or before_ms) < before_ms]


def _made_ms(job: str) -> int | None:
    with suppress(ValueError):
        return int(job.replace("-", "")[:12], 16)
    return None
