"""How long what has gone up stays here, and how long the disk will last."""

from __future__ import annotations

import os
from pathlib import Path

import msgspec

from gateway.domain.wording import counted
from gateway.store.journal import Journal
from gateway.upstream.outbox import Outbox

DAY_MS = 24 * 3600 * 1000
WARN_DAYS = 14.0
"""So long before the disk is full, people are told."""
HURRY_DAYS = 3.0
"""So long before, everything goes that every sink has, however young."""
ROWS_TO_JUDGE = 1_000
"""From fewer rows a day nobody can say how fast a disk fills."""


class Outlook(msgspec.Struct, frozen=True):
    """How it stands with the disk. `days_left` at the pace of the last day is None while nobody can say."""

    days_left: float | None = None

    def trouble(self) -> str:
        """Return a warning, or an empty text."""
        if self.days_left is None or self.days_left >= WARN_DAYS:
            return ""
        left = counted(round(self.days_left), "day")
        return f"disk: full in about {left} at the pace of the last day; see that upstream is back"


class Retention:
    """Prunes the journal. Nothing goes that any of those who read it has not done with."""

    def __init__(self, journal: Journal, path: Path, outbox: Outbox) -> None:
        self._journal = journal
        self._path = path
        self._outbox = outbox

    async def look(self, now_ms: int, keep_days: float, done_seq: int) -> Outlook:
        """Prune what is older than `keep_days`, up to `done_seq` at most, and return how long the disk will last.

        Raises StorageUnavailable when the journal cannot be read now, and OSError.
        """
        day_ago_seq = await self._outbox.last_seq_before(now_ms - DAY_MS, self._journal.pruned_seq)
        outlook = Outlook(self._days_left(self._journal.last_seq - day_ago_seq))
        hurry = outlook.days_left is not None and outlook.days_left < HURRY_DAYS
        before_ms = now_ms if hurry else now_ms - round(keep_days * DAY_MS)
        old_seq = await self._outbox.last_seq_before(before_ms, self._journal.pruned_seq)
        self._journal.prune(min(old_seq, done_seq))
        return outlook

    def _days_left(self, rows_a_day: int) -> float | None:
        rows = self._journal.last_seq - self._journal.pruned_seq
        if rows_a_day < ROWS_TO_JUDGE:
            return None
        disk = os.statvfs(self._path.parent)
        bytes_a_row = self._path.stat().st_size / rows
        return disk.f_bavail * disk.f_frsize / (bytes_a_row * rows_a_day)
