"""May this wallet do that, and what moves then? Pure: values in, facts or the one reason against them out.

A double-entry ledger in the manner of TigerBeetle: transfers never change once made, their ids come from whoever asks,
an id is good for one transfer only, and of an account that people hold no more can go than has come in.
"""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from gateway.domain import wallet_events as w
from gateway.domain.allowance_events import Allowance, AllowanceChanged
from gateway.domain.clock import Doubt
from gateway.domain.event import RequestRef
from gateway.domain.ledger import DEPOSITS, UPSTREAM, WALLET, Ledger, Posted, wallet
from gateway.domain.money import AMOUNT_MAX_MINOR, BALANCE_MAX_MINOR
from gateway.domain.reasons import Reason
from gateway.domain.wallet_terms import Guest, Opening, Policy, opening_change, standing

__all__ = ["Asked", "Book", "Facts", "Guest", "Opening", "Policy", "decide", "standing"]

HOLDS_MAX = 10_000
"""Holds open at one time in the venue (I9)."""


class Asked(msgspec.Struct, frozen=True, kw_only=True):
    """An order with all that is known about it at the moment of the decision.

    `known` is the transfer of the same id, if there is one; `original` and `refunded_minor` are of the transfer or hold
    that the order is about; `payee` is who receives a transfer. `doubt` is there while nobody vouches for
    the time.
    """

    order: w.Order
    guest: Guest
    now_ms: int
    request: RequestRef | None = None
    reader: str | None = None
    known: Posted | None = None
    original: Posted | None = None
    refunded_minor: int = 0
    payee: Guest | None = None
    directory_ms: int = 0
    doubt: Doubt | None = None


Facts = Sequence[w.WalletTransferred | w.WalletHeld | AllowanceChanged]


def decide(ledger: Ledger, policy: Policy, asked: Asked) -> Facts | Reason:
    """Return the facts that follow from an order, or the one reason against it.

    An order whose id has been used for the very same thing has happened already: no fact follows. One whose id was used
    for anything else is refused, and nothing happens.
    """
    order = asked.order
    if asked.known is not None:
        same = asked.known.fingerprint == (asked.request.fingerprint if asked.request else "")
        return () if same else Reason.IDEMPOTENCY_CONFLICT
    if reason := _unfit(ledger, policy, asked):
        return reason
    book = Book(ledger)
    facts: list[w.WalletTransferred | w.WalletHeld | AllowanceChanged] = []
    for guest in filter(None, (asked.guest, asked.payee)):
        facts += _opened(book, policy, order, guest)
    verdict = _hold(book, policy, asked) if order.action == "hold" else _transfer(book, policy, asked)
    if verdict is Reason.INSUFFICIENT_FUNDS and policy.allowance_margin_ms is not None:
        return _over_allowance(ledger, policy, asked)
    return verdict if isinstance(verdict, Reason) else (*facts, verdict)


def _over_allowance(ledger: Ledger, policy: Policy, asked: Asked) -> Reason:
    """Return whether money is missing, or no more than somebody who vouches for the time."""
    if asked.doubt is None:
        return Reason.OVER_ALLOWANCE
    believed = msgspec.structs.replace(asked, doubt=None, now_ms=asked.doubt.surely_ms(asked.now_ms))
    verdict = decide(ledger, policy, believed)
    return verdict if isinstance(verdict, Reason) else Reason.CLOCK_UNTRUSTED


class Book:
    """The accounts as they will be: a draft over the ledger, which itself changes by facts only."""

    def __init__(self, ledger: Ledger) -> None:
        """Begin with the ledger as it is."""
        self.ledger = ledger
        self.balances: dict[str, int] = {}

    def balance(self, account: str) -> int:
        """Return the drafted balance of an account."""
        known = self.balances.get(account)
        return self.ledger.account(account).balance_minor if known is None else known

    def available(self, account: str) -> int:
        """Return the drafted balance less what is held."""
        return self.balance(account) - self.ledger.account(account).held_minor

    def move(self, legs: Sequence[w.Leg]) -> dict[str, int]:
        """Draft the legs; returns the balances, afterwards, of the accounts they touch."""
        for leg in legs:
            self.balances[leg.debit] = self.balance(leg.debit) - leg.amount_minor
            self.balances[leg.credit] = self.balance(leg.credit) + leg.amount_minor
        return {name: self.balances[name] for leg in legs for name in (leg.debit, leg.credit)}


def _unfit(ledger: Ledger, policy: Policy, asked: Asked) -> Reason | None:
    """Return what is wrong with the order itself, whoever pays."""
    order, guest = asked.order, asked.guest
    openings = [each.opening for each in (guest, asked.payee) if each is not None and each.opening is not None]
    # What lies in the accounts keeps its currency, whatever the configuration says later.
    currencies = {order.currency, ledger.currency or policy.currency, *(opening.currency for opening in openings)}
    if currencies != {policy.currency}:
        return Reason.WRONG_CURRENCY
    amounts = (order.amount_minor, order.tip_minor, order.deposit_minor)
    sized = order.amount_minor >= 1 or order.action == "close_out"
    if not sized or min(amounts) < 0 or sum(amounts) > AMOUNT_MAX_MINOR:
        return Reason.INVALID_AMOUNT
    if asked.payee is not None and asked.payee.holder == guest.holder:
        return Reason.SAME_WALLET
    return None


def _opened(
    book: Book, policy: Policy, order: w.Order, guest: Guest
) -> Sequence[w.WalletTransferred | AllowanceChanged]:
    """Take in what upstream has put into the wallet, or taken out, since it was last looked at."""
    account, change = wallet(guest.holder), opening_change(book.ledger, policy, guest)
    taken_in = book.ledger.account(account).opening_minor
    returns = policy.allowance_margin_ms is not None and taken_in > 0 and guest.holder not in book.ledger.allowances
    if change == 0:
        return [AllowanceChanged(holder=guest.holder, allowance=Allowance())] if returns else []
    debit, credit = (UPSTREAM, account) if change > 0 else (account, UPSTREAM)
    legs = (w.Leg(debit, credit, abs(change)),)
    return [
        w.WalletTransferred(
            transfer=f"{order.transfer}/opening/{guest.holder}",
            action="opening",
            client=order.client,
            holder=guest.holder,
            currency=policy.currency,
            amount_minor=abs(change),
            legs=legs,
            balances=book.move(legs),
            opening_minor=taken_in + change,
            allowance=Allowance() if returns else None,
        )
    ]


def _transfer(book: Book, policy: Policy, asked: Asked) -> w.WalletTransferred | Reason:
    order, guest = asked.order, asked.guest
    own = wallet(guest.holder)
    legs = _legs(book, asked)
    if isinstance(legs, Reason):
        return legs
    total_minor = sum(leg.amount_minor for leg in legs)
    hold = book.ledger.holds.get(order.of) if order.action == "capture" else None
    if hold is None and (reason := _risk(book, policy, asked, total_minor)):
        return reason
    held_minor = book.ledger.account(own).held_minor - (hold.amount_minor if hold else 0)
    balances, locked_minor = book.move(legs), _locked_minor(book, policy, asked)
    if reason := _beyond(book, policy, legs, own, held_minor + locked_minor):
        return reason
    allowance, paid_minor = (
        book.ledger.allowance(guest.holder),
        sum(leg.amount_minor for leg in legs if leg.debit == own),
    )
    refund = order.action == "refund"
    return w.WalletTransferred(
        transfer=order.transfer,
        action=order.action,
        client=order.client,
        holder=guest.holder,
        currency=order.currency,
        amount_minor=total_minor,
        legs=legs,
        balances=balances,
        credential=guest.credential,
        reader=asked.reader,
        of=order.of or None,
        refunded_minor=asked.refunded_minor + total_minor if refund else None,
        held_minor=held_minor if hold else None,
        # What may not be spent stays whole, and is not paid for by what came in here.
        allowance=allowance.drawn(paid_minor) if paid_minor and allowance.left_minor and not locked_minor else None,
        spent=_spent(book.ledger, policy, asked, total_minor, 0 if hold else 1),
        request=asked.request,
    )


def _beyond(book: Book, policy: Policy, legs: Sequence[w.Leg], own: str, held_minor: int) -> Reason | None:
    """Debits never exceed credits where the money is somebody's: in wallets and among the deposits."""
    for leg in legs:
        reserved = held_minor if leg.debit == own else book.ledger.account(leg.debit).held_minor
        if leg.debit.startswith(WALLET) and book.balance(leg.debit) < reserved:
            return Reason.INSUFFICIENT_FUNDS
        if leg.debit == DEPOSITS and book.balance(DEPOSITS) < 0:
            return Reason.NO_DEPOSIT_OPEN
        if leg.credit.startswith(WALLET) and book.balance(leg.credit) > policy.balance_max_minor:
            return Reason.OVER_BALANCE_LIMIT
        if max(abs(book.balance(leg.debit)), abs(book.balance(leg.credit))) > BALANCE_MAX_MINOR:
            return Reason.OVER_BALANCE_LIMIT
    return None


def _hold(book: Book, policy: Policy, asked: Asked) -> w.WalletHeld | Reason:
    order, guest = asked.order, asked.guest
    account = wallet(guest.holder)
    if len(book.ledger.holds) >= HOLDS_MAX:
        return Reason.BUSY
    if reason := _risk(book, policy, asked, order.total_minor):
        return reason
    locked_minor = _locked_minor(book, policy, asked)
    if order.total_minor > book.available(account) - locked_minor:
        return Reason.INSUFFICIENT_FUNDS
    until_ms = asked.now_ms + policy.hold_timeout_ms
    allowance = book.ledger.allowance(guest.holder)
    if not locked_minor and allowance.left_minor and policy.allowance_margin_ms is not None:
        # What is held of an allowance is captured before its end, or not at all.
        until_ms = min(until_ms, allowance.until_ms - policy.allowance_margin_ms)
    return w.WalletHeld(
        transfer=order.transfer,
        client=order.client,
        holder=guest.holder,
        currency=order.currency,
        amount_minor=order.total_minor,
        held_minor=book.ledger.account(account).held_minor + order.total_minor,
        balance_minor=book.balance(account),
        until_ms=until_ms,
        credential=guest.credential,
        reader=asked.reader,
        spent=_spent(book.ledger, policy, asked, 0, 1),
        request=asked.request,
    )


def _legs(book: Book, asked: Asked) -> tuple[w.Leg, ...] | Reason:
    """Return where the money goes, or why it cannot."""
    order, holder = asked.order, asked.guest.holder
    own = wallet(holder) if holder else f"{order.by}:{order.client}"
    match order.action:
        case "charge" | "sale":
            return _paid(order, own)
        case "capture":
            return _captured(book.ledger, asked) or _paid(order, own)
        case "refund":
            return _refunded(asked)
        case "tip":
            return (w.Leg(own, f"tips:{order.client}", order.amount_minor),)
        case "deposit":
            return (w.Leg(own, DEPOSITS, order.amount_minor),)
        case "deposit_return":
            return (w.Leg(DEPOSITS, own, order.amount_minor),)
        case "top_up":
            return (w.Leg(f"{order.by}:{order.client}", own, order.amount_minor),)
        case "transfer" if asked.payee is not None:
            return (w.Leg(own, wallet(asked.payee.holder), order.amount_minor),)
        case "close_out":
            return _emptied(book, order, own)
        case _:
            return Reason.UNKNOWN_VERB


def _paid(order: w.Order, own: str) -> tuple[w.Leg, ...]:
    lines = (
        (f"sales:{order.client}", order.amount_minor),
        (f"tips:{order.client}", order.tip_minor),
        (DEPOSITS, order.deposit_minor),
    )
    return tuple(w.Leg(own, account, amount_minor) for account, amount_minor in lines if amount_minor)


def _captured(ledger: Ledger, asked: Asked) -> Reason | None:
    """Return why a hold cannot be captured: it is unknown, over, too late, or too small."""
    hold = ledger.holds.get(asked.order.of)
    if hold is None:
        known = asked.original is not None and asked.original.action == "hold"
        return Reason.HOLD_ENDED if known else Reason.UNKNOWN_TRANSFER
    if asked.now_ms >= hold.until_ms:
        return Reason.HOLD_ENDED
    return Reason.OVER_HELD_AMOUNT if asked.order.total_minor > hold.amount_minor else None


def _refunded(asked: Asked) -> tuple[w.Leg, ...] | Reason:
    """Give back from the sale first, then from the tip, each up to what was paid; never a deposit."""
    original, order = asked.original, asked.order
    if original is None or not original.refundable_minor:
        return Reason.UNKNOWN_TRANSFER
    if asked.refunded_minor + order.amount_minor > original.refundable_minor:
        return Reason.OVER_CHARGED_AMOUNT
    own = wallet(original.holder) if original.holder else f"{original.by}:{order.client}"
    skip, left = asked.refunded_minor, order.amount_minor
    legs: list[w.Leg] = []
    lines = (
        (f"sales:{order.client}", original.sales_minor),
        (f"tips:{order.client}", original.tips_minor),
    )
    for account, line_minor in lines:
        part = min(left, max(0, line_minor - skip))
        skip, left = max(0, skip - line_minor), left - part
        if part:
            legs.append(w.Leg(account, own, part))
    return tuple(legs)


def _emptied(book: Book, order: w.Order, own: str) -> tuple[w.Leg, ...] | Reason:
    if book.ledger.account(own).held_minor:
        return Reason.HOLD_OPEN
    if book.balance(own) <= 0:
        return Reason.INSUFFICIENT_FUNDS
    return (w.Leg(own, f"{order.by}:{order.client}", book.balance(own)),)


# Risk.

_SPENDING = frozenset({"charge", "tip", "deposit", "hold", "capture", "transfer", "close_out"})


def _risk(book: Book, policy: Policy, asked: Asked, total_minor: int) -> Reason | None:
    """Return why a wallet that upstream keeps may not spend this much without asking it."""
    if not policy.upstream or asked.order.action not in _SPENDING:
        return None
    if reason := _age_fault(policy, asked):
        return reason
    account = wallet(asked.guest.holder)
    if total_minor > book.available(account) - _locked_minor(book, policy, asked):
        return Reason.INSUFFICIENT_FUNDS
    before = _since_contact(book.ledger, account)
    # What is held may still be captured, so it counts as spent.
    checks = (
        (total_minor, policy.transaction_max_minor),
        (before.wallet_minor + book.ledger.account(account).held_minor + total_minor, policy.wallet_total_max_minor),
        (before.venue_minor + book.ledger.held_minor() + total_minor, policy.venue_total_max_minor),
        (before.wallet_count + 1, policy.consecutive_max),
    )
    over = any(limit is not None and value > limit for value, limit in checks)
    return Reason.OVER_OFFLINE_LIMIT if over else None


def _age_fault(policy: Policy, asked: Asked) -> Reason | None:
    """Return why the directory is too old to spend by; while nobody vouches for the time the clock's policy says."""
    age_max_ms, doubt, now_ms = policy.directory_age_max_ms, asked.doubt, asked.now_ms
    if age_max_ms is None:
        return None
    suspended = doubt if doubt is not None and doubt.suspends_rules else None
    if suspended is not None:
        now_ms = suspended.surely_ms(now_ms)
    if now_ms - asked.directory_ms > age_max_ms:
        return Reason.DIRECTORY_STALE
    return suspended.verdict() if suspended is not None else None


def _locked_minor(book: Book, policy: Policy, asked: Asked) -> int:
    """Return how much of the wallet is an allowance that may not be spent: its time is over, or may be.

    Upstream may have written off what has ended. So in doubt none is spent, whatever the policy: a clock that is behind
    would make two of one euro.
    """
    allowance = book.ledger.allowance(asked.guest.holder)
    if asked.doubt is not None:
        return allowance.left_minor
    return allowance.locked_minor(asked.now_ms, policy.allowance_margin_ms)


def _since_contact(ledger: Ledger, account: str) -> w.Spent:
    """Return what was spent since upstream last spoke; what was counted before that is over."""
    contact, own = ledger.contact, ledger.account(account)
    current = own.contact == contact.id
    wallet_minor, wallet_count = (own.spent_minor, own.spent_count) if current else (0, 0)
    return w.Spent(contact.id, wallet_minor, wallet_count, contact.venue_minor)


def _spent(ledger: Ledger, policy: Policy, asked: Asked, amount_minor: int, count: int) -> w.Spent | None:
    if not policy.upstream or asked.order.action not in _SPENDING:
        return None
    before = _since_contact(ledger, wallet(asked.guest.holder))
    return w.Spent(
        before.contact,
        before.wallet_minor + amount_minor,
        before.wallet_count + count,
        before.venue_minor + amount_minor,
    )
