"""The accounts in memory: balances, holds, and what readers wait for. Only what has changed here is in it.

Every event carries the values after it, so that each account ends the same however often a stretch is replayed.
"""

from __future__ import annotations

from collections.abc import Callable, MutableMapping
from typing import Any, Literal

import msgspec

from gateway.domain import allowance_events as a
from gateway.domain import shift_events as s
from gateway.domain import wallet_events as w
from gateway.domain.accounts import Account, Accounts

WALLET = "wallet:"
DEPOSITS = "deposits"
UPSTREAM = "upstream"


class Posted(msgspec.Struct, frozen=True, array_like=True, omit_defaults=True):
    """What is kept of a transfer or hold: whose it was and where the money went, for a refund and to know its id.

    `by` is what a sale was paid with that no wallet paid.
    """

    action: w.Action | Literal["cash_moved"]
    holder: str
    fingerprint: str
    sales_minor: int = 0
    tips_minor: int = 0
    deposits_minor: int = 0
    by: str = ""

    @property
    def refundable_minor(self) -> int:
        """What can be refunded at most. A deposit is none of it: it goes back once, to whoever brings the cup."""
        return self.sales_minor + self.tips_minor


class Contact(msgspec.Struct, frozen=True, array_like=True):
    """The last word from upstream, and what the whole venue has spent since."""

    id: str = ""
    venue_minor: int = 0


ROW_TYPES: dict[str, Any] = {
    "account": Account,
    "hold": w.WalletHeld,
    "armed": w.WalletArmed,
    "transfer": Posted,
    "refunded": int,
    "contact": Contact,
    "currency": str,
    "allowance": a.Allowance,
    "book": str,
}
ON_DISK: frozenset[str] = frozenset({"transfer", "refunded"})
"""Kinds of rows that are looked up on disk once they are stored there, so that memory does not grow with the season."""


def wallet(holder: str) -> str:
    """Return the account of a guest."""
    return WALLET + holder


def transfer_id(client: str, request_id: str) -> str:
    """Return the id of what a request moves. Names of clients have no slash, so no two requests share one."""
    return f"{client}/{request_id}"


class Ledger:
    """All accounts. `touch(kind, key)` is told what must be stored again."""

    def __init__(self, touch: Callable[[str, str], None]) -> None:
        """Begin with nothing in any account."""
        self._touch = touch
        self.accounts = Accounts()
        self.holds: dict[str, w.WalletHeld] = {}
        self.armed: dict[str, w.WalletArmed] = {}
        self.transfers: dict[str, Posted] = {}
        self.refunded: dict[str, int] = {}
        self.contacts: dict[str, Contact] = {}
        self.currencies: dict[str, str] = {}
        self.allowances: dict[str, a.Allowance] = {}
        self.books: dict[str, str] = {}
        self.imbalance_minor = 0
        self.tables: dict[str, MutableMapping[str, Any]] = {
            "account": self.accounts,
            "hold": self.holds,
            "armed": self.armed,
            "transfer": self.transfers,
            "refunded": self.refunded,
            "contact": self.contacts,
            "currency": self.currencies,
            "allowance": self.allowances,
            "book": self.books,
        }

    @property
    def contact(self) -> Contact:
        """The last word from upstream."""
        return self.contacts.get("", _NO_CONTACT)

    @property
    def currency(self) -> str:
        """The currency of everything in the accounts; empty before the first transfer."""
        return self.currencies.get("", "")

    @property
    def book(self) -> str:
        """The name under which this journal holds allowances; empty before the first."""
        return self.books.get("", "")

    def allowance(self, holder: str) -> a.Allowance:
        """Return a wallet's allowance; one that was never granted is empty."""
        return self.allowances.get(holder, _NO_ALLOWANCE)

    def account(self, name: str) -> Account:
        """Return an account; one that was never used is empty."""
        return self.accounts.find(name) or _EMPTY

    def held_minor(self) -> int:
        """Return what is reserved in the whole venue."""
        return sum(hold.amount_minor for hold in self.holds.values())

    def check(self) -> None:
        """Add up all balances, after a rebuild. `imbalance_minor` is zero, or money was made or lost."""
        self.imbalance_minor = self.accounts.total_minor()

    # What each fact changes.

    def armed_for(self, event: w.WalletArmed) -> None:
        """A reader waits."""
        self.armed[event.reader] = event
        self._touch("armed", event.reader)

    def ended(self, event: w.WalletDenied | w.WalletFailed | w.WalletShown) -> None:
        """A reader waits no more."""
        self._disarm(event.reader, event.transfer)

    def transferred(self, event: w.WalletTransferred) -> None:
        """Money has moved."""
        self._disarm(event.reader, event.transfer)
        own, mine = wallet(event.holder), self._spent(event.spent)
        if event.opening_minor is not None:
            mine["opening_minor"] = event.opening_minor
        if event.held_minor is not None:
            mine["held_minor"] = event.held_minor
        for name, balance_minor in event.balances.items():
            if name == own:
                mine["balance_minor"] = balance_minor
            else:
                self._set(name, balance_minor=balance_minor)
        if mine:
            self._set(own, **mine)
        if event.allowance is not None:
            self._set_allowance(event.holder, event.allowance)
        self._remember(event)
        if self.currency != event.currency:
            self.currencies[""] = event.currency
            self._touch("currency", "")

    def held(self, event: w.WalletHeld) -> None:
        """Money is reserved."""
        self._disarm(event.reader, event.transfer)
        self.holds[event.transfer] = event
        self._touch("hold", event.transfer)
        self._set(wallet(event.holder), held_minor=event.held_minor, **self._spent(event.spent))
        self._post(event.transfer, Posted("hold", event.holder, _fingerprint(event)))

    def hold_ended(self, event: w.WalletHoldEnded) -> None:
        """Money is free again."""
        self._drop_hold(event.transfer)
        self._set(wallet(event.holder), held_minor=event.held_minor)

    def cash_moved(self, event: s.ShiftCashMoved) -> None:
        """Cash went into a drawer or out of it, for no sale; its id is good for that alone."""
        if (request := event.request) is not None:
            self._post(transfer_id(request.client, request.id), Posted("cash_moved", "", request.fingerprint))

    def contacted(self, event: w.WalletContact) -> None:
        """Upstream has spoken."""
        self.contacts[""] = Contact(event.contact)
        self._touch("contact", "")

    def book_opened(self, event: a.AllowanceBookOpened) -> None:
        """Allowances are held from here on."""
        self.books[""] = event.book
        self._touch("book", "")

    def allowance_changed(self, event: a.AllowanceChanged) -> None:
        """The terms of an allowance are others."""
        self._set_allowance(event.holder, event.allowance)

    def _set_allowance(self, holder: str, allowance: a.Allowance) -> None:
        self.allowances[holder] = allowance
        self._touch("allowance", holder)

    def _remember(self, event: w.WalletTransferred) -> None:
        if event.action in _FROM_UPSTREAM:
            return
        if event.of is not None and event.refunded_minor is not None:
            self.refunded[event.of] = event.refunded_minor
            self._touch("refunded", event.of)
        elif event.of is not None:
            self._drop_hold(event.of)
        lines = dict.fromkeys(("sales", "tips", "deposits"), 0)
        for leg in event.legs:
            kind = leg.credit.partition(":")[0]
            if (leg.debit == wallet(event.holder) or event.action == "sale") and kind in lines:
                lines[kind] += leg.amount_minor
        by = event.legs[0].debit.partition(":")[0] if event.action == "sale" else ""
        sums = lines["sales"], lines["tips"], lines["deposits"]
        self._post(event.transfer, Posted(event.action, event.holder, _fingerprint(event), *sums, by))

    def _post(self, transfer: str, posted: Posted) -> None:
        self.transfers[transfer] = posted
        self._touch("transfer", transfer)

    def _drop_hold(self, transfer: str) -> None:
        self.holds.pop(transfer, None)
        self._touch("hold", transfer)

    def _disarm(self, reader: str | None, transfer: str) -> None:
        if reader is not None and reader in self.armed and self.armed[reader].order.transfer == transfer:
            del self.armed[reader]
            self._touch("armed", reader)

    def _spent(self, spent: w.Spent | None) -> dict[str, Any]:
        """Note what the venue has spent; returns what of it the wallet remembers."""
        if spent is None:
            return {}
        self.contacts[""] = Contact(spent.contact, spent.venue_minor)
        self._touch("contact", "")
        return {"spent_minor": spent.wallet_minor, "spent_count": spent.wallet_count, "contact": spent.contact}

    def _set(self, name: str, **fields: Any) -> None:  # noqa: ANN401 - each field has its own type
        self.accounts[name] = msgspec.structs.replace(self.account(name), **fields)
        self._touch("account", name)


def _fingerprint(event: w.WalletTransferred | w.WalletHeld) -> str:
    return event.request.fingerprint if event.request is not None else ""


_EMPTY = Account()
_NO_ALLOWANCE = a.Allowance()
_FROM_UPSTREAM = frozenset({"opening", "grant", "return"})
"""What no client asked for: nobody refunds it, and nobody uses its id again."""
_NO_CONTACT = Contact()
