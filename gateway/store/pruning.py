"""Which old rows of the journal go next: a few at a time, never the newest, never one that is not folded."""

from __future__ import annotations

PRUNE_ROWS = 200
"""Old rows deleted in one go: a tap may have to wait for it, for about a millisecond."""
PRUNE_PAUSE_MS = 50
KEPT_ROWS = 1_000
"""The newest rows are never pruned, whoever has them."""


class Pruning:
    """What may go, and what has gone. `pruned_seq` is the last row that was pruned, 0 when none was."""

    def __init__(self) -> None:
        self.pruned_seq = 0
        self._through_seq = 0

    def allow(self, through_seq: int, fold_seq: int, last_seq: int) -> None:
        """Let rows go up to and with `through_seq`, as far as the state is folded and not the newest."""
        self._through_seq = max(self._through_seq, min(through_seq, fold_seq, last_seq - KEPT_ROWS))

    @property
    def piece(self) -> int | None:
        """The row up to which is pruned next; None when nothing is to be."""
        seq = min(self._through_seq, self.pruned_seq + PRUNE_ROWS)
        return seq if seq > self.pruned_seq else None
