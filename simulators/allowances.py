"""The upstream's side of allowances, as a reference: pure, from the messages of the contract to the messages of it.

A `Treasury` keeps what is free of each wallet and what each venue's journal (`book`) holds of it. It moves money from
one to the other and back and never knows, nor needs to know, what was spent: that comes with the journal's events.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

Message = dict[str, Any]
"""A grant or a statement as it is on the wire, decoded from JSON."""


@dataclass
class Part:
    """What one venue's journal holds of one wallet. Totals only ever grow."""

    version: int = 0
    granted_minor: int = 0
    until_ms: int = 0
    recall_minor: int = 0
    heard_version: int = 0
    returned_minor: int = 0
    written_off_minor: int = 0
    closed: bool = False

    @property
    def out_minor(self) -> int:
        """What has been granted and did not come back."""
        return self.granted_minor - self.returned_minor - self.written_off_minor


class Treasury:
    """Every wallet of one currency. `duration_ms` is how long a grant counts; `margin_ms` how far clocks may differ."""

    def __init__(
        self, free_minor: Mapping[str, int], *, currency: str = "EUR", duration_ms: int = 86_400_000, margin_ms: int = 0
    ) -> None:
        """Begin with what is in each wallet and nothing granted."""
        self.free_minor = dict(free_minor)
        self.currency = currency
        self.duration_ms = duration_ms
        self.margin_ms = margin_ms
        self.parts: dict[tuple[str, str], Part] = {}

    def heard(self, statement: Mapping[str, Any], now_ms: int) -> Message:
        """Take a statement in, as often and as late as it comes, and return the grant that answers it."""
        book, holder = statement["book"], statement["holder"]
        part = self.parts.setdefault((book, holder), Part())
        version, returned_minor = statement.get("version", 0), statement.get("returned_minor", 0)
        is_newest = version == part.version and returned_minor >= part.returned_minor
        part.heard_version = max(part.heard_version, version)
        if returned_minor > part.returned_minor:
            self._take_back(part, holder, returned_minor - part.returned_minor)
        if is_newest and (wanted_minor := statement.get("wanted_minor", 0)):
            self.grant(book, holder, wanted_minor, now_ms)
        return self.terms(book, holder)

    def grant(self, book: str, holder: str, wanted_minor: int, now_ms: int) -> Message:
        """Hand over so much more, or what there is; a venue that was written off gets nothing."""
        part = self.parts.setdefault((book, holder), Part())
        amount_minor = min(wanted_minor, self.free_minor.get(holder, 0))
        if amount_minor > 0 and not part.closed:
            self.free_minor[holder] -= amount_minor
            part.granted_minor += amount_minor
            part.version += 1
            part.until_ms = now_ms + self.duration_ms
        return self.terms(book, holder)

    def recall(self, book: str, holder: str, amount_minor: int) -> Message:
        """Ask for so much of it back; it is free when the venue says that it has given it back."""
        part = self.parts.setdefault((book, holder), Part())
        part.recall_minor = part.returned_minor + amount_minor
        return self.terms(book, holder)

    def write_off(self, book: str, holder: str, now_ms: int) -> int:
        """Count what a lost venue holds as free again, and return how much that is.

        This alone may cost money: what the venue had spent and never told. It spends nothing after this moment, as long
        as no two clocks are further apart than `margin_ms`. Raises ValueError before that time.
        """
        part = self.parts[book, holder]
        if now_ms < part.until_ms + self.margin_ms:
            raise ValueError(f"the venue may still spend it; wait until {part.until_ms + self.margin_ms}")
        out_minor = max(0, part.out_minor)
        part.closed = True
        part.written_off_minor += out_minor
        self.free_minor[holder] = self.free_minor.get(holder, 0) + out_minor
        return out_minor

    def terms(self, book: str, holder: str) -> Message:
        """Return the message that says how an allowance stands; it may be sent at any time and any number of times."""
        part = self.parts.get((book, holder), Part())
        return {
            "book": book,
            "holder": holder,
            "currency": self.currency,
            "version": part.version,
            "granted_minor": part.granted_minor,
            "until_ms": part.until_ms,
            "recall_minor": part.recall_minor,
            "heard_version": part.heard_version,
            "heard_returned_minor": part.returned_minor,
        }

    def _take_back(self, part: Part, holder: str, amount_minor: int) -> None:
        part.returned_minor += amount_minor
        # What was written off was counted as free then.
        again_minor = min(amount_minor, part.written_off_minor)
        part.written_off_minor -= again_minor
        self.free_minor[holder] = self.free_minor.get(holder, 0) + amount_minor - again_minor
