"""Facts about money: every amount is in minor units of the venue's currency, every balance is the one afterwards.

Accounts are `wallet:<holder>`, `sales:<till>`, `tips:<till>`, `cash:<till>`, `card:<till>`, `voucher:<till>`,
`deposits` and `upstream`; a till is the client that asked. A balance is credits minus debits, so a wallet's is what the
guest has, and that of `cash:bar` is what has come into that till, with a minus sign. All of them add up to zero.
"""

from __future__ import annotations

from typing import Literal, TypeAlias

import msgspec

from gateway.domain.allowance_events import Allowance
from gateway.domain.booking import Booked
from gateway.domain.event import Event, RequestRef
from gateway.domain.reasons import Reason

Action: TypeAlias = Literal[
    "charge",
    "top_up",
    "refund",
    "tip",
    "deposit",
    "deposit_return",
    "hold",
    "capture",
    "transfer",
    "close_out",
    "balance",
    "opening",
    "grant",
    "return",
    "sale",
]
Medium: TypeAlias = Literal["cash", "card", "voucher"]


class Order(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What a client asks to do with a wallet. `transfer` is its id, made from the client's name and its request's id.

    `by` is how money comes in or goes out, `to` the holder that receives a transfer, `of` the transfer or hold that a
    refund or capture is about.
    """

    transfer: str
    action: Action
    client: str
    currency: str
    amount_minor: int = 0
    tip_minor: int = 0
    deposit_minor: int = 0
    by: Medium = "cash"
    to: str = ""
    of: str = ""

    @property
    def total_minor(self) -> int:
        """What the wallet pays for all of it."""
        return self.amount_minor + self.tip_minor + self.deposit_minor


class Leg(msgspec.Struct, frozen=True):
    """One movement: `amount_minor`, more than zero, leaves account `debit` and arrives at account `credit`."""

    debit: str
    credit: str
    amount_minor: int


class Spent(msgspec.Struct, frozen=True):
    """What has been spent since `contact`, the last word from upstream: by this wallet and by the whole venue."""

    contact: str
    wallet_minor: int
    wallet_count: int
    venue_minor: int


class WalletArmed(Event, frozen=True, tag="wallet.armed"):
    """The next tap at `reader` is for this order and for nothing else, until it times out or is cancelled."""

    reader: str
    order: Order
    until_ms: int
    request: RequestRef | None = None


class WalletTransferred(Event, frozen=True, tag="wallet.transferred"):
    """Money has moved, all legs at once. `balances` are those of every account of the legs, afterwards.

    `refunded_minor` is how much of `of` has been given back with this; `held_minor` what stays held in the wallet after
    a capture; `opening_minor` what upstream has put into the wallet in all; `allowance` how the wallet's allowance
    stands afterwards, where one was granted, spent or handed back. `booked` is the shift it belongs to. A sale that no
    wallet pays has no `holder`.
    """

    transfer: str
    action: Action
    client: str
    holder: str
    currency: str
    amount_minor: int
    legs: tuple[Leg, ...]
    balances: dict[str, int]
    credential: str | None = None
    reader: str | None = None
    of: str | None = None
    refunded_minor: int | None = None
    held_minor: int | None = None
    opening_minor: int | None = None
    allowance: Allowance | None = None
    spent: Spent | None = None
    booked: Booked | None = None
    request: RequestRef | None = None


class WalletHeld(Event, frozen=True, tag="wallet.held"):
    """A part of a wallet is reserved until `until_ms`; `held_minor` is all that is reserved of it afterwards."""

    transfer: str
    client: str
    holder: str
    currency: str
    amount_minor: int
    held_minor: int
    balance_minor: int
    until_ms: int
    credential: str | None = None
    reader: str | None = None
    spent: Spent | None = None
    request: RequestRef | None = None


class WalletHoldEnded(Event, frozen=True, tag="wallet.hold_ended"):
    """A hold is over and nothing of it was taken."""

    transfer: str
    holder: str
    held_minor: int
    why: Literal["released", "timed_out"]
    request: RequestRef | None = None


class WalletDenied(Event, frozen=True, tag="wallet.denied"):
    """An order was refused for exactly one reason; nothing has changed. `available_minor` is what could be spent."""

    transfer: str
    action: Action
    client: str
    amount_minor: int
    reason: Reason
    credential: str | None = None
    holder: str | None = None
    reader: str | None = None
    available_minor: int | None = None
    request: RequestRef | None = None


class WalletFailed(Event, frozen=True, tag="wallet.failed"):
    """A reader no longer waits for a tap, and nothing was charged."""

    transfer: str
    reader: str
    reason: Reason
    request: RequestRef | None = None


class WalletCancelled(Event, frozen=True, tag="wallet.cancelled"):
    """A client took back an order for which a reader waited. Its own end, `wallet.failed`, comes with it."""

    transfer: str
    client: str
    request: RequestRef | None = None


class WalletShown(Event, frozen=True, tag="wallet.shown"):
    """A guest tapped to see the balance."""

    transfer: str
    client: str
    holder: str
    currency: str
    balance_minor: int
    held_minor: int
    credential: str | None = None
    reader: str | None = None
    request: RequestRef | None = None


class WalletContact(Event, frozen=True, tag="wallet.contact"):
    """Upstream has spoken: what may be spent without it counts from zero again. `contact` names the occasion."""

    contact: str
