"""The section `wallet`: who keeps the guests' wallets, and what they may spend. Its types describe the file too."""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from gateway.domain.money import BALANCE_MAX_MINOR

_Minor = Annotated[int, Meta(ge=1, le=BALANCE_MAX_MINOR)]


class OfflineLimits(msgspec.Struct, frozen=True, kw_only=True):
    """What wallets that upstream keeps may spend without asking it: terminal risk management, as EMV calls it."""

    transaction_max_minor: Annotated[
        _Minor | None, Meta(description="Largest single payment, in minor units. Left out: no limit.")
    ] = None
    wallet_total_max_minor: Annotated[
        _Minor | None,
        Meta(description="All that one wallet may spend since the last contact, in minor units. Left out: no limit."),
    ] = None
    venue_total_max_minor: Annotated[
        _Minor | None,
        Meta(description="All that the venue may take since the last contact, in minor units. Left out: no limit."),
    ] = None
    consecutive_max: Annotated[
        Annotated[int, Meta(ge=1, le=1_000_000)] | None,
        Meta(description="Payments in a row from one wallet since the last contact. Left out: no limit."),
    ] = None
    directory_age_max_h: Annotated[
        Annotated[float, Meta(gt=0, le=100_000)] | None,
        Meta(description="Oldest directory, in hours, by which a wallet may still spend. Left out: any age."),
    ] = None


class Allowances(msgspec.Struct, frozen=True, kw_only=True):
    """What this venue holds of wallets that upstream keeps, so that it overspends with no other venue."""

    ask_minor: Annotated[
        _Minor,
        Meta(description="How much of a wallet this venue wants to hold, in minor units, once its guest is here."),
    ] = 5_000
    low_minor: Annotated[
        _Minor, Meta(description="More is asked for when less than this is left, in minor units; at most `ask_minor`.")
    ] = 1_000
    expiry_margin_s: Annotated[
        float,
        Meta(
            ge=1,
            le=86_400,
            description="Seconds before the end of an allowance at which this venue stops spending it: more than its "
            "clock and upstream's can ever disagree.",
        ),
    ] = 300.0


class Wallet(msgspec.Struct, frozen=True, kw_only=True):
    """The guests' wallets: who keeps them, and what they may spend."""

    authority: Annotated[
        Literal["venue", "upstream"],
        Meta(
            description="Who says what is in a wallet: venue, a closed loop in which every wallet begins empty; or "
            "upstream, whose directory brings the balances."
        ),
    ] = "venue"
    arm_timeout_s: Annotated[
        float, Meta(ge=1, le=600, description="Seconds a reader waits for the card of a request that names it.")
    ] = 30.0
    hold_timeout_s: Annotated[
        float, Meta(ge=1, le=604_800, description="Seconds after which an amount held and not captured is free again.")
    ] = 900.0
    balance_max_minor: Annotated[
        _Minor, Meta(description="The most a wallet may hold, in minor units; more is not taken in.")
    ] = BALANCE_MAX_MINOR
    offline: Annotated[
        OfflineLimits, Meta(description="What may be spent without upstream; only with `authority: upstream`.")
    ] = OfflineLimits()
    allowances: Annotated[
        Allowances | None,
        Meta(
            description="Spend only what upstream has granted to this venue, so that venues that are cut off never "
            "overspend together; only with `authority: upstream`. `{}` takes the defaults. Left out: spend on trust."
        ),
    ] = None
