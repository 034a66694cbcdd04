"""What upstream says of a wallet, what the venue allows, and how a wallet stands under both."""

from __future__ import annotations

import msgspec

from gateway.domain.accounts import Account
from gateway.domain.ledger import Ledger, wallet
from gateway.domain.money import BALANCE_MAX_MINOR


class Opening(msgspec.Struct, frozen=True):
    """What upstream says is in a wallet.

    `counted_minor` is how much of what this venue has moved in (or, with a minus, out) is in `balance_minor` already.
    """

    balance_minor: int
    currency: str
    counted_minor: int = 0

    @property
    def base_minor(self) -> int:
        """What is in the wallet but for anything this venue did."""
        return self.balance_minor - self.counted_minor


class Guest(msgspec.Struct, frozen=True):
    """Whose wallet it is. `opening` is None where the venue itself is the authority and wallets begin with nothing."""

    holder: str
    credential: str | None = None
    opening: Opening | None = None


class Policy(msgspec.Struct, frozen=True, kw_only=True):
    """What the venue allows. `…_max…` are the limits of EMV terminal risk management; None is no limit.

    With `allowance_margin_ms` only what upstream has granted is spent, until that long before it ends.
    """

    currency: str
    upstream: bool = False
    balance_max_minor: int = BALANCE_MAX_MINOR
    hold_timeout_ms: int = 900_000
    transaction_max_minor: int | None = None
    wallet_total_max_minor: int | None = None
    venue_total_max_minor: int | None = None
    consecutive_max: int | None = None
    directory_age_max_ms: int | None = None
    allowance_margin_ms: int | None = None


def standing(ledger: Ledger, guest: Guest, policy: Policy) -> Account:
    """Return how a wallet stands with upstream's news, which the next transfer takes in."""
    account = ledger.account(wallet(guest.holder))
    return Account(account.balance_minor + opening_change(ledger, policy, guest), account.held_minor)


def opening_change(ledger: Ledger, policy: Policy, guest: Guest) -> int:
    """Return by how much a wallet changes once it takes in what upstream has put into it, or taken out.

    Upstream may take back no more than is there; what is missing is taken from what comes in later. Where allowances
    are granted, what came in before goes back, once.
    """
    account = ledger.account(wallet(guest.holder))
    if not policy.upstream or guest.holder in ledger.allowances:
        return 0
    if policy.allowance_margin_ms is not None:
        return -min(account.opening_minor, account.available_minor)
    if guest.opening is None:
        return 0
    return max(guest.opening.base_minor - account.opening_minor, min(0, -account.available_minor))
