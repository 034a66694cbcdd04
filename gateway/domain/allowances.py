"""Allowances, the venue's side of the protocol: pure, from what came in to the facts that follow.

Upstream hands a part of a wallet's balance to a venue, as cash is handed from the safe to a till: from then on nobody
else can spend it, and this venue spends nothing else. So however many venues are cut off from each other, together
they never spend more than there is. (A "bounded counter": Balegas et al., "Extending Eventually Consistent Cloud
Databases for Enforcing Numeric Invariants", SRDS 2015.)

Each side tells the other only totals that never shrink, so a message may be lost, come twice, late, or after a newer
one: whoever receives it takes what is new in it, and nothing else.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, TypeAlias

import msgspec
from msgspec import Meta

from gateway.domain import wallet_events as w
from gateway.domain.allowance_events import Allowance, AllowanceChanged
from gateway.domain.ledger import UPSTREAM, Ledger, wallet
from gateway.domain.money import BALANCE_MAX_MINOR
from gateway.domain.wallet import Book, Policy

Total = Annotated[int, Meta(ge=0, le=BALANCE_MAX_MINOR)]
Holder = Annotated[str, Meta(min_length=1, max_length=200)]
BookName = Annotated[str, Meta(min_length=1, max_length=100)]
Currency = Annotated[str, Meta(pattern="^[A-Z]{3}$")]
Version = Annotated[int, Meta(ge=0, le=2**53)]
Facts: TypeAlias = Sequence[w.WalletTransferred | AllowanceChanged]


class Grant(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """From upstream: what it has handed to `book` of the wallet of `holder`, in all, until `until_ms` of UTC.

    `version` counts the changes of these terms, from 1; 0 says that nothing was ever granted. By `recall_minor`
    upstream wants to have that much back in all. `heard_…` repeats the newest statement that upstream has taken in.
    """

    book: BookName
    holder: Holder
    currency: Currency
    version: Version = 0
    granted_minor: Total = 0
    until_ms: Total = 0
    recall_minor: Total = 0
    heard_version: Version = 0
    heard_returned_minor: Total = 0


class Statement(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """To upstream: the newest grant that is on disk here, what was handed back in all, and how much more is wanted.

    Upstream takes `wanted_minor` seriously only with its own newest `version`: so a request that comes twice, or late,
    is granted once.
    """

    book: BookName
    holder: Holder
    currency: Currency
    version: Version = 0
    returned_minor: Total = 0
    wanted_minor: Total = 0


class GrantRefused(ValueError):
    """A grant that cannot be true; the message says why, and nothing of it was taken."""


def statement(ledger: Ledger, policy: Policy, holder: str, wanted_minor: int = 0) -> Statement:
    """Return what there is to say of an allowance. It may be said only of what is on disk."""
    own = ledger.allowance(holder)
    return Statement(
        book=ledger.book,
        holder=holder,
        currency=policy.currency,
        version=own.version,
        returned_minor=own.returned_minor,
        wanted_minor=max(0, min(wanted_minor, BALANCE_MAX_MINOR)),
    )


def received(ledger: Ledger, policy: Policy, grant: Grant, now_ms: int) -> Facts:
    """Return what follows from a grant: none when it says nothing new.

    Raises GrantRefused for one that contradicts what is known here, and for one that is meant for another book.
    """
    own = ledger.allowance(grant.holder)
    if fault := _fault(ledger, policy, own, grant):
        raise GrantRefused(fault)
    draft = _Draft(ledger, policy, grant.holder)
    if grant.version >= own.version:
        draft.take_over(grant)
        recalled_minor = max(0, grant.recall_minor - draft.allowance.returned_minor)
        draft.hand_back(min(recalled_minor, draft.free_minor))
        draft.hand_back(draft.ended_minor(now_ms))
    return draft.facts()


def ended(ledger: Ledger, policy: Policy, holder: str, now_ms: int) -> Facts:
    """Return the facts by which an allowance whose time is over goes back to upstream; what is held follows later."""
    draft = _Draft(ledger, policy, holder)
    draft.hand_back(draft.ended_minor(now_ms))
    return draft.facts()


def spend_until_ms(policy: Policy, own: Allowance) -> int:
    """Return until when an allowance may be spent here: a margin before upstream counts it as over."""
    return 0 if policy.allowance_margin_ms is None else own.until_ms - policy.allowance_margin_ms


class _Draft:
    """One allowance and its wallet as they will be, step by step."""

    def __init__(self, ledger: Ledger, policy: Policy, holder: str) -> None:
        self._policy = policy
        self._ledger = ledger
        self._holder = holder
        self._own = wallet(holder)
        self._book = Book(ledger)
        self._facts: list[w.WalletTransferred] = []
        self.allowance = ledger.allowance(holder)
        self._told = self.allowance

    @property
    def free_minor(self) -> int:
        """What lies in the wallet and is not held."""
        return max(0, self._book.available(self._own))

    def ended_minor(self, now_ms: int) -> int:
        """What has to go back, because its time is over."""
        locked_minor = self.allowance.locked_minor(now_ms, self._policy.allowance_margin_ms)
        return min(locked_minor, self.free_minor)

    def take_over(self, grant: Grant) -> None:
        """Take what is new in a grant."""
        before = self.allowance
        added_minor = grant.granted_minor - before.granted_minor
        self.allowance = msgspec.structs.replace(
            before,
            version=grant.version,
            granted_minor=grant.granted_minor,
            left_minor=before.left_minor + added_minor,
            until_ms=grant.until_ms,
            heard_version=max(before.heard_version, grant.heard_version),
            heard_returned_minor=max(before.heard_returned_minor, grant.heard_returned_minor),
        )
        if added_minor:
            self._move("grant", added_minor, w.Leg(UPSTREAM, self._own, added_minor))

    def hand_back(self, amount_minor: int) -> None:
        """Give money back to upstream, what was granted first."""
        if amount_minor > 0:
            own = self.allowance.drawn(amount_minor)
            self.allowance = msgspec.structs.replace(own, returned_minor=own.returned_minor + amount_minor)
            self._move("return", amount_minor, w.Leg(self._own, UPSTREAM, amount_minor))

    def facts(self) -> Facts:
        """Return what has changed."""
        if self._facts or self.allowance == self._told:
            return self._facts
        return [AllowanceChanged(holder=self._holder, allowance=self.allowance)]

    def _move(self, action: w.Action, amount_minor: int, leg: w.Leg) -> None:
        total_minor = self.allowance.granted_minor if action == "grant" else self.allowance.returned_minor
        self._facts.append(
            w.WalletTransferred(
                transfer=f"{self._ledger.book}/{self._holder}/{action}/{total_minor}",
                action=action,
                client="",
                holder=self._holder,
                currency=self._policy.currency,
                amount_minor=amount_minor,
                legs=(leg,),
                balances=self._book.move((leg,)),
                allowance=self.allowance,
            )
        )


def _fault(ledger: Ledger, policy: Policy, own: Allowance, grant: Grant) -> str:
    """Return why a grant cannot be true, or nothing."""
    if grant.book != ledger.book:
        return "it is for another journal; what a lost journal held is not granted again by itself"
    if {grant.currency, ledger.currency or policy.currency} != {policy.currency}:
        return f"it is in {grant.currency}, and wallets here hold {policy.currency}"
    if grant.heard_version > own.version or grant.heard_returned_minor > own.returned_minor:
        return "upstream has heard more than this journal holds: it was set back to an older copy"
    if grant.version < own.version:
        return ""
    if grant.version == own.version:
        same = (grant.granted_minor, grant.until_ms) == (own.granted_minor, own.until_ms)
        return "" if same else f"version {grant.version} was something else before"
    if grant.granted_minor < own.granted_minor:
        return "it grants less than an older version; what is to come back is recalled"
    balance_minor = ledger.account(wallet(grant.holder)).balance_minor + grant.granted_minor - own.granted_minor
    return "it is more than an account can hold" if balance_minor > BALANCE_MAX_MINOR else ""
