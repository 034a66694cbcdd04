"""Rows that were rewritten to erase a guest: how the chain tells them from rows that somebody changed.

A rewritten row keeps the hash by which the next one is chained. A later event, itself in the chain, names the row and a
mark of what stands in it now; nothing else explains a row that does not fit.
"""

from __future__ import annotations

from collections.abc import Iterable

import msgspec

from gateway.store.rows import StoredRow, chain

KIND = b'"kind":"holder.erased"'
MARK_DIGITS = 32


class _Erased(msgspec.Struct):
    rows: tuple[str, ...] = ()


def mark(row: StoredRow) -> str:
    """Return what names a row and all that stands in it now: `seq:digest`."""
    return f"{row.seq}:{chain(row.hash, row).hex()[:MARK_DIGITS]}"


def explained_by(row: StoredRow) -> tuple[str, ...]:
    """Return the marks of the rows that were rewritten, if this row is the event that tells of it."""
    if KIND not in row.body[: len(KIND) + 1]:
        return ()
    try:
        return msgspec.json.decode(row.body, type=_Erased).rows
    except msgspec.MsgspecError:
        return ()


class Suspects:
    """Rows that do not fit, until an event explains them."""

    def __init__(self) -> None:
        """Begin with none."""
        self._marks: dict[str, int] = {}

    def add(self, row: StoredRow) -> None:
        """Suspect a row."""
        self._marks[mark(row)] = row.seq

    def hear(self, row: StoredRow) -> None:
        """Take from a row that fits what it explains of earlier ones."""
        for explained in explained_by(row):
            self._marks.pop(explained, None)

    @property
    def first(self) -> int | None:
        """The first row that nothing explains; None when there is none."""
        return min(self._marks.values(), default=None)


def unexplained(rows: Iterable[tuple[bytes, StoredRow]]) -> int | None:
    """Return the first row that was changed, of rows each given with the hash before it; None when none was."""
    suspects = Suspects()
    for previous, row in rows:
        if row.hash == chain(previous, row):
            suspects.hear(row)
        else:
            suspects.add(row)
    return suspects.first
