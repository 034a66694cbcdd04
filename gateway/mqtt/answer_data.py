"""The `data` of each answer, by verb and status: what a client may rely on. For the AsyncAPI document and its checks.

Answers are projections of journalled events (`gateway.domain.answers`); these types say what those projections hold.
The end-to-end tests hold every answer they see against them.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta

Minor = Annotated[int, Meta(description="Whole minor units of the currency: 1250 is 12.50 EUR.")]
UtcMs = Annotated[int, Meta(ge=0, description="UTC milliseconds since 1970.")]
Counts = Annotated[dict[str, int | None], Meta(description="By item; null where there is no limit.")]


class _Data(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Further fields may be added, so whoever reads it ignores what it does not know."""


class TransferArmed(_Data, frozen=True, kw_only=True):
    """A reader waits for the guest's card until `until_ms`."""

    transfer: str
    reader: str
    until_ms: UtcMs


class TransferDone(_Data, frozen=True, kw_only=True):
    """Money that moved. `balance_minor` is the wallet's afterwards; it and `holder` are missing where there is none."""

    transfer: str
    action: str
    amount_minor: Minor
    currency: str
    holder: str = ""
    balance_minor: Minor | None = None
    credential: str | None = None
    of: Annotated[str | None, Meta(description="The transfer that this gives back or captures.")] = None
    refunded_minor: Minor | None = None


class TransferDenied(_Data, frozen=True, kw_only=True):
    """A payment that was not made. `available_minor` stands where the till may know it."""

    transfer: str = ""
    available_minor: Minor | None = None
    reader: str = ""


class BalanceShown(_Data, frozen=True, kw_only=True):
    """What is in a wallet. `available_minor` is without what is held."""

    transfer: str
    currency: str
    holder: str
    balance_minor: Minor
    held_minor: Minor
    available_minor: Minor
    credential: str | None = None


class HoldMade(BalanceShown, frozen=True, kw_only=True):
    """What was reserved, and what is left."""

    amount_minor: Minor
    until_ms: UtcMs


class JobQueued(_Data, frozen=True, kw_only=True):
    """A print job that waits, or goes on waiting because of what `held` says."""

    job: str
    printer: str = ""
    held: str = ""


class JobDone(_Data, frozen=True, kw_only=True):
    """A job that was sent. `confirmed` is false where the printer cannot say that it came out."""

    job: str
    confirmed: bool


class DrawerBegun(_Data, frozen=True, kw_only=True):
    """The drawer is about to be pulsed."""

    opening: str
    drawer: str


class DrawerDone(_Data, frozen=True, kw_only=True):
    """The drawer was pulsed. `confirmed` is false where no contact saw it open."""

    opening: str
    confirmed: bool


class Admitted(_Data, frozen=True, kw_only=True):
    """A guest was let in at a gate."""

    decision: Literal["granted"]
    entry: str
    gate: str
    zone: str
    flags: tuple[str, ...] = ()


class Refused(_Data, frozen=True, kw_only=True):
    """A guest was not let in; `reason` of the answer says why. Empty where it was not asked of the rules."""

    decision: Literal["denied", ""] = ""
    entry: str = ""
    gate: str = ""


class JournalPage(_Data, frozen=True, kw_only=True):
    """Entries of the journal in order; `more` is true while another page follows."""

    entries: tuple[dict[str, Any], ...]
    last_seq: Annotated[int, Meta(ge=0)]
    more: bool


class Cancelled(_Data, frozen=True, kw_only=True):
    """What waits no more: one of the three."""

    job: str = ""
    transfer: str = ""
    redemption: str = ""


class RedeemArmed(_Data, frozen=True, kw_only=True):
    """A reader waits for the guest's card or code until `until_ms`."""

    redemption: str
    reader: str
    until_ms: UtcMs


class UsedLine(_Data, frozen=True, kw_only=True):
    """So many uses of one entitlement."""

    entitlement: str
    item: str
    count: int


class RedeemDone(_Data, frozen=True, kw_only=True):
    """What was used up, and what the guest has left."""

    redemption: str
    holder: str
    used: tuple[UsedLine, ...]
    left: Counts
    credential: str | None = None


Told = Mapping[str, type[msgspec.Struct]]
_MOVED: Told = {"done": TransferDone, "denied": TransferDenied}
_MONEY: Told = {"accepted": TransferArmed, **_MOVED}
_PAPER: Told = {"accepted": JobQueued, "done": JobDone}
_GATE: Told = {"done": Admitted, "denied": Refused}
ANSWER_DATA: Mapping[str, Told] = {
    "charge": _MONEY,
    "top_up": _MONEY,
    "tip": _MONEY,
    "deposit": _MONEY,
    "transfer": _MONEY,
    "close_out": _MONEY,
    "refund": _MOVED,
    "capture": _MOVED,
    "sell": _MOVED,
    "balance": {"accepted": TransferArmed, "done": BalanceShown},
    "hold": {"accepted": TransferArmed, "done": HoldMade, "denied": TransferDenied},
    "print": _PAPER,
    "print_raw": _PAPER,
    "reprint": _PAPER,
    "open": {"accepted": DrawerBegun, "done": DrawerDone},
    "authenticate": _GATE,
    "override": _GATE,
    "replay": {"done": JournalPage},
    "cancel": {"done": Cancelled},
    "redeem": {"accepted": RedeemArmed, "done": RedeemDone},
}
"""Verbs that are missing answer with what their page of the docs says."""
