"""What a client sends to ask for something of a wallet. Amounts are whole minor units: 1250 is 12.50 EUR."""

from __future__ import annotations

from collections.abc import Collection
from typing import Annotated, Literal, TypeAlias

from msgspec import Meta, Struct

from gateway.domain.money import AMOUNT_MAX_MINOR
from gateway.flows.lookup import Presented

Amount = Annotated[
    int, Meta(ge=1, le=AMOUNT_MAX_MINOR, description="Whole minor units of the currency: 1250 is 12.50 EUR.")
]
Part = Annotated[
    int,
    Meta(ge=0, le=AMOUNT_MAX_MINOR, description="Whole minor units, on top of `amount_minor`; paid in the same tap."),
]
Currency = Annotated[
    str,
    Meta(pattern="^[A-Z]{3}$", description="ISO 4217; anything but the venue's own is refused. Left out: that one."),
]
TransferId = Annotated[
    str,
    Meta(min_length=3, max_length=128, description="The `transfer` from an earlier answer: the client, `/`, the id."),
]
ReaderName = Annotated[
    str, Meta(min_length=1, max_length=63, description="The reader that waits for the guest's card.")
]
Reference = Annotated[
    str, Meta(pattern="^[0-9a-f]{32}$", description="The `credential` from an earlier answer or from the event feed.")
]
Shown: TypeAlias = Presented | Reference


class Payer(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Whose wallet: that of the next card held to `reader`, or that of `credential`. Exactly one of them."""

    reader: ReaderName | None = None
    credential: Shown | None = None
    currency: Currency | None = None


class ChargeData(Payer, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Pay for something, in one tap with a tip and with a deposit."""

    amount_minor: Amount
    tip_minor: Part = 0
    deposit_minor: Part = 0


class TopUpData(Payer, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Put money into a wallet that was taken in cash, by card or for a voucher."""

    amount_minor: Amount
    by: Annotated[Literal["cash", "card", "voucher"], Meta(description="What the guest gave for it.")]


class TipData(Payer, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Give a tip to this till."""

    amount_minor: Amount


class DepositData(Payer, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Pay a deposit, as for a cup, or get it back."""

    amount_minor: Amount
    action: Annotated[Literal["pay", "return"], Meta(description="`return` gives it back.")] = "pay"
    by: Annotated[
        Literal["cash", "card"] | None, Meta(description="With `return`: give it back so, to a guest without a wallet.")
    ] = None


class SellData(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Take money for something that no wallet pays."""

    amount_minor: Amount
    by: Annotated[Literal["cash", "card", "voucher"], Meta(description="What the guest gave for it.")]
    tip_minor: Part = 0
    deposit_minor: Part = 0
    currency: Currency | None = None


class HoldData(Payer, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Reserve an amount, to be captured in whole or in part, or released by `cancel`."""

    amount_minor: Amount


class TransferData(Payer, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Hand money from one wallet to another; `reader` or `credential` is who pays."""

    amount_minor: Amount
    to: Annotated[Shown, Meta(description="Whose wallet receives it.")]


class CloseOutData(Payer, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Empty a wallet and pay the guest what was in it."""

    by: Annotated[Literal["cash", "card"], Meta(description="How the guest gets it.")] = "cash"


class BalanceData(Payer, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Ask what is in a wallet."""


class RefundData(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Give back what was charged, in whole or in part, into the wallet it came from. A deposit is none of it."""

    transfer: TransferId
    amount_minor: Amount | None = None
    currency: Currency | None = None


class CaptureData(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Take what was held, or less; the rest is free again."""

    transfer: TransferId
    amount_minor: Amount | None = None
    tip_minor: Part = 0
    deposit_minor: Part = 0
    currency: Currency | None = None


class CancelData(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Take back what an earlier request of this client asked: its reader waits no more, or its hold is released."""

    request: Annotated[str, Meta(min_length=1, max_length=64, description="The id of that request.")]


def parts(data: ChargeData | CaptureData | SellData) -> dict[str, int]:
    """Return what is paid on top of the amount, as fields of an order."""
    return {"tip_minor": data.tip_minor, "deposit_minor": data.deposit_minor}


def no_reader(name: str, known: Collection[str]) -> str:
    """Return what to tell a client that named a reader which is not there."""
    return f"There is no reader {name!r} here. Readers are: {', '.join(sorted(known)) or 'none'}."
