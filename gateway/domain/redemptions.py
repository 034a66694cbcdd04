"""The redemptions in memory: what readers wait for, and what was used and given back under which id.

Only `armed` stays in memory; what was made is looked up on disk once it is stored there. The counts of uses themselves
are those of all entitlements, in `state`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import msgspec

from gateway.domain import redemption_events as r
from gateway.domain.event import RequestRef
from gateway.domain.reasons import Reason


class Part(msgspec.Struct, frozen=True, array_like=True):
    """What a redemption took of one entitlement, and on which day of the venue's calendar where that counts."""

    entitlement: str
    item: str
    count: int
    day: str


class Redeemed(msgspec.Struct, frozen=True, array_like=True):
    """What is kept of a redemption, or of what was undone under an id: whose it was, to undo it and to know its id."""

    holder: str
    fingerprint: str
    parts: tuple[Part, ...] = ()


ROW_TYPES: dict[str, Any] = {
    "redeem_armed": r.RedemptionArmed,
    "redemption": Redeemed,
    "redemption_undone": dict[str, int],
}
ON_DISK: frozenset[str] = frozenset({"redemption", "redemption_undone"})
"""Kinds of rows that are looked up on disk once they are stored there, so that memory does not grow with the season."""


class Redemptions:
    """All redemptions.

    `touch(kind, key)` is told what must be stored again; `set_uses(entitlement, uses)` and
    `set_day_uses(entitlement, day, uses)` take each new count.
    """

    def __init__(
        self,
        touch: Callable[[str, str], None],
        set_uses: Callable[[str, int], None],
        set_day_uses: Callable[[str, str, int], None],
    ) -> None:
        """Begin with nothing redeemed."""
        self._touch = touch
        self._set_uses = set_uses
        self._set_day_uses = set_day_uses
        self.armed: dict[str, r.RedemptionArmed] = {}
        self.made: dict[str, Redeemed] = {}
        self.undone: dict[str, dict[str, int]] = {}
        self.tables: dict[str, dict[str, Any]] = {
            "redeem_armed": self.armed,
            "redemption": self.made,
            "redemption_undone": self.undone,
        }

    def waiting(self, redemption: str) -> r.RedemptionArmed | None:
        """Return the redemption of this id for which a reader waits."""
        return next((armed for armed in self.armed.values() if armed.redemption == redemption), None)

    # What each fact changes.

    def armed_for(self, event: r.RedemptionArmed) -> None:
        """A reader waits."""
        self.armed[event.reader] = event
        self._touch("redeem_armed", event.reader)

    def ended(self, event: r.RedemptionDenied | r.RedemptionFailed) -> None:
        """A reader waits no more."""
        self._disarm(event.reader, event.redemption)

    def redeemed(self, event: r.RedemptionMade) -> None:
        """Uses were taken."""
        self._disarm(event.reader, event.redemption)
        for used in event.used:
            self._use(used)
        parts = tuple(Part(used.entitlement, used.item, used.count, used.day) for used in event.used)
        self._keep(event.redemption, Redeemed(event.holder, _fingerprint(event.request), parts))

    def given_back(self, event: r.RedemptionUndone) -> None:
        """Uses were given back."""
        for used in event.given_back:
            self._use(used)
        self.undone[event.of] = event.undone
        self._touch("redemption_undone", event.of)
        self._keep(event.redemption, Redeemed(event.holder, _fingerprint(event.request)))

    def _use(self, used: r.Used) -> None:
        self._set_uses(used.entitlement, used.uses)
        self._set_day_uses(used.entitlement, used.day, used.uses_today)

    def _keep(self, redemption: str, redeemed: Redeemed) -> None:
        self.made[redemption] = redeemed
        self._touch("redemption", redemption)

    def _disarm(self, reader: str | None, redemption: str) -> None:
        if reader is not None and reader in self.armed and self.armed[reader].redemption == redemption:
            del self.armed[reader]
            self._touch("redeem_armed", reader)


CHANGES: dict[type, Callable[[Any, Any], None]] = {
    r.RedemptionArmed: lambda state, event: state.redemptions.armed_for(event),
    r.RedemptionMade: lambda state, event: state.redemptions.redeemed(event),
    r.RedemptionUndone: lambda state, event: state.redemptions.given_back(event),
    r.RedemptionDenied: lambda state, event: state.redemptions.ended(event),
    r.RedemptionFailed: lambda state, event: state.redemptions.ended(event),
}
"""What each fact changes in the state that holds the redemptions."""


# How a reader's wait ends when nobody comes: each function looks at the state and returns the facts that follow.


def given_up(armed: r.RedemptionArmed, reason: Reason) -> r.RedemptionFailed:
    """Return the fact that a reader waits no more, and nothing was used."""
    return r.RedemptionFailed(redemption=armed.redemption, reader=armed.reader, reason=reason, request=armed.request)


def cancelled(
    redemptions: Redemptions, redemption: str, client: str, request: RequestRef
) -> tuple[r.RedemptionCancelled, r.RedemptionFailed] | None:
    """Return the facts that take back a redemption for which a reader waits; None when none does."""
    armed = redemptions.waiting(redemption)
    if armed is None:
        return None
    told = r.RedemptionCancelled(redemption=redemption, client=client, request=request)
    return told, given_up(armed, Reason.REDEMPTION_CANCELLED)


def after_restart(redemptions: Redemptions) -> list[r.RedemptionFailed]:
    """Return the facts for readers that waited when the daemon stopped: they wait no more, and nothing was used."""
    return [given_up(armed, Reason.REDEMPTION_INTERRUPTED) for armed in redemptions.armed.values()]


def _fingerprint(request: RequestRef | None) -> str:
    return request.fingerprint if request is not None else ""
