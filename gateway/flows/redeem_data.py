"""What a client sends to redeem entitlements."""

from __future__ import annotations

from typing import Annotated

from msgspec import Meta, Struct

from gateway.flows.purchase_data import ReaderName, Shown

LINES_MAX = 16
COUNT_MAX = 1_000

Count = Annotated[int, Meta(ge=1, le=COUNT_MAX, description="How many uses.")]
Item = Annotated[
    str,
    Meta(
        pattern="^[a-z0-9][a-z0-9-]{0,62}$",
        description="What of: drink, cloakroom, … Any entitlement to it serves; the one that ends first goes first.",
    ),
]
EntitlementId = Annotated[
    str, Meta(min_length=1, max_length=200, description="The one entitlement of this id, and no other.")
]
RedemptionId = Annotated[
    str,
    Meta(min_length=3, max_length=128, description="The `redemption` from an earlier answer: the client, `/`, the id."),
]


class LineData(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """So many uses of an `item`, or of one `entitlement`. One of the two, or both."""

    item: Item | None = None
    entitlement: EntitlementId | None = None
    count: Count = 1


Lines = Annotated[tuple[LineData, ...], Meta(max_length=LINES_MAX)]


class RedeemData(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Use up entitlements of the next guest who taps at `reader`, or of `credential`; exactly one of them.

    All `lines` together or nothing. Without lines nothing is used, and the answer says what the guest has.
    """

    lines: Annotated[Lines, Meta(description="What to redeem, all of it or nothing; at most 16 lines.")] = ()
    reader: ReaderName | None = None
    credential: Shown | None = None


class UndoData(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Give uses of a redemption back, in part or all that is left of it."""

    redemption: RedemptionId
    lines: Annotated[Lines | None, Meta(description="What to give back. Left out: all that is left of it.")] = None
