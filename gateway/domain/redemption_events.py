"""Facts about entitlements that are used up at a till: every count of uses is the one afterwards.

A redemption's id is made from the client's name and its request's id, such as `bar-tablet/r-17`.
"""

from __future__ import annotations

from typing import TypeAlias

import msgspec

from gateway.domain.event import Event, RequestRef
from gateway.domain.reasons import Reason


class Line(msgspec.Struct, frozen=True, omit_defaults=True):
    """`count` uses of whatever entitles to `item`, or of the one entitlement of that id."""

    item: str = ""
    entitlement: str = ""
    count: int = 1


class Used(msgspec.Struct, frozen=True, omit_defaults=True):
    """`count` uses of one entitlement that were taken or given back, and how often it is used afterwards.

    `day` and `uses_today` stand where the entitlement has a limit per day.
    """

    entitlement: str
    item: str
    count: int
    uses: int
    day: str = ""
    uses_today: int = 0


class RedemptionArmed(Event, frozen=True, tag="redemption.armed"):
    """The next tap at `reader` is for these lines and for nothing else, until it times out or is cancelled."""

    redemption: str
    client: str
    reader: str
    lines: tuple[Line, ...]
    until_ms: int
    request: RequestRef | None = None


class RedemptionMade(Event, frozen=True, tag="redemption.made"):
    """Uses were taken, all of `used` at once; none where the guest only asked what is there.

    `left` is what the guest could redeem of each item right afterwards; None is no limit.
    """

    redemption: str
    client: str
    holder: str
    used: tuple[Used, ...]
    left: dict[str, int | None]
    credential: str | None = None
    reader: str | None = None
    request: RequestRef | None = None


class RedemptionUndone(Event, frozen=True, tag="redemption.undone"):
    """Uses of the redemption `of` were given back. `undone` is all that was given back of it, by entitlement."""

    redemption: str
    of: str
    client: str
    holder: str
    given_back: tuple[Used, ...]
    undone: dict[str, int]
    request: RequestRef | None = None


class RedemptionDenied(Event, frozen=True, tag="redemption.denied"):
    """Nothing was used or given back, for exactly one reason. `item` is of the line that could not be served."""

    redemption: str
    client: str
    reason: Reason
    item: str = ""
    credential: str | None = None
    holder: str | None = None
    reader: str | None = None
    request: RequestRef | None = None


class RedemptionFailed(Event, frozen=True, tag="redemption.failed"):
    """A reader no longer waits for a tap, and nothing was used."""

    redemption: str
    reader: str
    reason: Reason
    request: RequestRef | None = None


class RedemptionCancelled(Event, frozen=True, tag="redemption.cancelled"):
    """A client took back a redemption for which a reader waited. Its own end, `redemption.failed`, comes with it."""

    redemption: str
    client: str
    request: RequestRef | None = None


RedemptionEvent: TypeAlias = (
    RedemptionArmed | RedemptionMade | RedemptionUndone | RedemptionDenied | RedemptionFailed | RedemptionCancelled
)
