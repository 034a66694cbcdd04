"""Facts about allowances: the part of a wallet that upstream has handed to this venue and to nobody else.

Movements of an allowance are `wallet.transferred` like all others; what is here tells of its terms.
"""

from __future__ import annotations

import msgspec

from gateway.domain.event import Event


class Allowance(msgspec.Struct, frozen=True, gc=False, omit_defaults=True):
    """One wallet's allowance, as this venue knows it. All but `left_minor` and `until_ms` only ever grow.

    `granted_minor` and `returned_minor` are totals since the beginning, so that a message that says them may be lost,
    repeated or late. `left_minor` is the part of the balance that came by grants and has not been spent. `heard_…` is
    what upstream has said it knows.
    """

    version: int = 0
    granted_minor: int = 0
    returned_minor: int = 0
    left_minor: int = 0
    until_ms: int = 0
    heard_version: int = 0
    heard_returned_minor: int = 0

    @property
    def settled(self) -> bool:
        """True when upstream has heard all there is to say."""
        return (self.heard_version, self.heard_returned_minor) == (self.version, self.returned_minor)

    def over(self, now_ms: int, margin_ms: int | None) -> bool:
        """Return whether nothing of it may be spent any more; without a margin this venue spends no allowances."""
        return margin_ms is None or now_ms >= self.until_ms - margin_ms

    def locked_minor(self, now_ms: int, margin_ms: int | None) -> int:
        """Return how much of the balance may not be spent, because its time is over."""
        return self.left_minor if self.over(now_ms, margin_ms) else 0

    def drawn(self, amount_minor: int) -> Allowance:
        """Return it after `amount_minor` has left the wallet: what was granted goes first, for it has an end."""
        return msgspec.structs.replace(self, left_minor=max(0, self.left_minor - amount_minor))


class AllowanceBookOpened(Event, frozen=True, tag="allowance.book_opened"):
    """This journal begins to hold allowances, under a name that no other journal has.

    A venue that lost its journal opens another book: what the old one held must not be granted to it a second time.
    """

    book: str


class AllowanceChanged(Event, frozen=True, tag="allowance.changed"):
    """The terms of an allowance are others, or upstream has heard of it; no money has moved."""

    holder: str
    allowance: Allowance
