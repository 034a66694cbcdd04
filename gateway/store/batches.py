"""What waits for the writer: rows that are committed together, and chunks of folded state."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from gateway.store.committer import ROWS_PER_STATEMENT
from gateway.store.rows import Row
from gateway.store.writer import Outcome

BATCH_BYTES_MAX = 256 << 10

StateRow = tuple[str, str, bytes | None]


@dataclass(slots=True)
class Batch:
    """Rows that will be committed together, and who waits for them."""

    rows: list[Row] = field(default_factory=list)
    attachments: list[tuple[str, bytes]] = field(default_factory=list)
    waiters: list[Outcome] = field(default_factory=list)
    size_bytes: int = 0
    due: bool = False

    def takes(self, rows: int, size_bytes: int) -> bool:
        """Return whether so much more fits in."""
        return len(self.rows) + rows <= ROWS_PER_STATEMENT and self.size_bytes + size_bytes <= BATCH_BYTES_MAX


@dataclass(frozen=True, slots=True)
class Fold:
    """A chunk of state rows; it goes to disk after row `after_seq`, whose effects it may hold."""

    rows: Sequence[StateRow]
    through_seq: int | None
    after_seq: int
    done: Outcome
