"""Answers to requests, as a pure projection of events.

What a client is told about its request is read off the journalled event that answers it, so nothing can be answered
before it is on disk (I1), and a repeated request gets the same answer again, whenever the daemon died (I2).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

import msgspec

from gateway.domain import bench, money
from gateway.domain import clock_events as c
from gateway.domain import events as e
from gateway.domain import redemption_events as r
from gateway.domain import shift_events as s
from gateway.domain import wallet_events as w
from gateway.domain import zone_events as z
from gateway.domain.ledger import wallet
from gateway.domain.reasons import Reason, message_for
from gateway.domain.shifts import differences_minor, totals

Status = Literal["accepted", "done", "denied", "failed", "unknown"]


class Answer(msgspec.Struct, frozen=True, gc=False, omit_defaults=True):
    """`accepted`, then one of the others; `done` and `denied` may come at once. `message` is for a person."""

    status: Status
    reason: Reason | None = None
    message: str = ""
    data: dict[str, Any] = {}

    @property
    def final(self) -> bool:
        """True when no further answer to the request will come."""
        return self.status != "accepted"


def denied(reason: Reason, message: str = "", **data: Any) -> Answer:  # noqa: ANN401
    """Return a refusal with its one reason and a sentence to act on."""
    return Answer("denied", reason, message or message_for(reason), data)


def failed(reason: Reason, message: str = "", **data: Any) -> Answer:  # noqa: ANN401
    """Return a failure: it was allowed and did not happen."""
    return Answer("failed", reason, message or message_for(reason), data)


BEGINNINGS: frozenset[type] = frozenset(
    {
        e.EntryGranted,
        e.EntryDenied,
        bench.BenchStarted,
        e.PrintQueued,
        e.PrintCancelled,
        e.DrawerOpening,
        w.WalletArmed,
        w.WalletCancelled,
        w.WalletHoldEnded,
        r.RedemptionArmed,
        r.RedemptionCancelled,
        r.RedemptionUndone,
        z.ZoneLockedDown,
        z.ZoneReleased,
        z.ZoneRestored,
        z.CredentialBlocked,
        z.CredentialUnblocked,
        c.ClockVouched,
        s.ShiftOpened,
        s.ShiftCashMoved,
        s.ShiftCounted,
        s.ShiftClosed,
        s.ShiftReported,
    }
)
"""The events that give a request its first answer; others say later what became of it."""
_AT_ONCE: frozenset[type] = frozenset(
    {w.WalletTransferred, w.WalletHeld, w.WalletDenied, w.WalletShown, r.RedemptionMade, r.RedemptionDenied}
)


def begins(event: e.AnyEvent) -> bool:
    """Return True for an event that gives a request its first answer.

    What a payment comes to is the first answer where no reader had to wait for the card.
    """
    return type(event) in BEGINNINGS or (type(event) in _AT_ONCE and getattr(event, "reader", None) is None)


def first_answer(event: e.AnyEvent) -> Answer | None:
    """Return the answer that an event with a `request` gives to it, or None for events that answer nothing."""
    match event:
        case e.EntryGranted():
            return Answer("done", None, "Come in.", _granted(event))
        case e.EntryDenied():
            return denied(event.reason, decision="denied", entry=event.entry, gate=event.gate)
        case e.PrintQueued():
            return Answer("accepted", None, "Queued.", {"job": event.job, "printer": event.printer})
        case e.PrintCancelled():
            return Answer("done", None, "Cancelled.", {"job": event.job})
        case e.DrawerOpening():
            return Answer("accepted", None, "Opening.", {"opening": event.opening, "drawer": event.drawer})
        case w.WalletArmed() | w.WalletTransferred() | w.WalletHeld() | w.WalletDenied() | w.WalletShown():
            return _wallet_answer(event)
        case r.RedemptionArmed() | r.RedemptionMade() | r.RedemptionUndone() | r.RedemptionDenied():
            return _redemption_answer(event)
        case w.WalletCancelled() | w.WalletHoldEnded() | r.RedemptionCancelled():
            return _ended_answer(event)
        case bench.BenchStarted():
            return Answer("accepted", None, "Under way.", {"test": event.test})
        case _:
            return _order_answer(event)


def _ended_answer(event: w.WalletCancelled | w.WalletHoldEnded | r.RedemptionCancelled) -> Answer:
    """Say that what waited or was held does so no more."""
    match event:
        case w.WalletCancelled():
            return Answer("done", None, "Cancelled. Nothing was charged.", {"transfer": event.transfer})
        case w.WalletHoldEnded():
            return Answer("done", None, "Released.", {"transfer": event.transfer})
        case r.RedemptionCancelled():
            return Answer("done", None, "Cancelled. Nothing was redeemed.", {"redemption": event.redemption})


def _order_answer(event: e.AnyEvent) -> Answer | None:
    """Return the answer to what staff order for zones and credentials."""
    match event:
        case z.ZoneLockedDown():
            return Answer("done", None, "Locked down: nobody is admitted.", {"zone": event.zone})
        case z.ZoneReleased():
            return Answer("done", None, "Released: its gates are being opened.", {"zone": event.zone})
        case z.ZoneRestored():
            return Answer("done", None, _restored(event), {"zone": event.zone, "still": list(event.still)})
        case z.CredentialBlocked():
            return Answer("done", None, "Blocked.", {"credential": event.credential, "holder": event.holder})
        case z.CredentialUnblocked():
            note = "Off the block list. What the directory says still counts."
            return Answer("done", None, note, {"credential": event.credential, "holder": event.holder})
        case c.ClockVouched():
            return Answer("done", None, "The time is believed.", {"at_ms": event.at_ms, "moved_ms": event.moved_ms})
        case _:
            return _shift_answer(event)


def _shift_answer(event: e.AnyEvent) -> Answer | None:
    """Return the answer to a request about a shift. Before it is closed none tells what should be in the drawer."""
    match event:
        case s.ShiftOpened():
            return Answer("done", None, "The shift is open.", {"shift": event.shift, "floats": event.floats})
        case s.ShiftCashMoved():
            amount = money.text(event.amount_minor, event.currency)
            way = "put into" if event.direction == "in" else "taken out of"
            data = {"shift": event.shift, "amount_minor": event.amount_minor, "currency": event.currency}
            return Answer("done", None, f"{amount} {way} the drawer.", data)
        case s.ShiftCounted():
            return Answer("done", None, "Counted.", {"shift": event.shift, "counted": event.counted})
        case s.ShiftClosed():
            return Answer("done", None, _closed(event), _closed_data(event))
        case s.ShiftReported():
            named = {"shift": event.shift, "report": event.report, "number": event.number, "job": event.job}
            return Answer("done", None, "The report is being printed." if event.job else "No printer was named.", named)
        case _:
            return None


def _closed(event: s.ShiftClosed) -> str:
    apart = [money.text(minor, currency) for currency, minor in differences_minor(event).items() if minor]
    return f"Closed with Z {event.number}. Difference: {', '.join(apart) or 'none'}."


def _closed_data(event: s.ShiftClosed) -> dict[str, Any]:
    sums = {"expected": event.expected, "counted": event.counted, "difference": differences_minor(event)}
    return {"shift": event.shift, "number": event.number, "job": event.job, "totals": totals(event.lines), **sums}


def _granted(event: e.EntryGranted) -> dict[str, Any]:
    data: dict[str, Any] = {"decision": "granted", "entry": event.entry, "gate": event.gate, "zone": event.zone}
    return data | ({"flags": list(event.flags)} if event.flags else {})


def _restored(event: z.ZoneRestored) -> str:
    if not event.still:
        return "Restored."
    around = ", ".join(zone or "the whole venue" for zone in event.still)
    return f"Restored, but still closed or released around it: {around}."


def later_answer(event: e.AnyEvent) -> Answer | None:
    """Return the answer that an event gives to a request accepted earlier, else None."""
    match event:
        case e.PrintHeld():
            note = f"Waiting: {event.why.replace('_', ' ')}."
            return Answer("accepted", None, note, {"job": event.job, "held": event.why})
        case e.PrintDone():
            note = "Printed." if event.confirmed else "Sent; this printer cannot confirm it."
            return Answer("done", None, note, {"job": event.job, "confirmed": event.confirmed})
        case e.PrintFailed():
            return failed(event.reason, event.message, job=event.job)
        case e.PrintUnknown():
            return Answer("unknown", Reason.OUTCOME_UNKNOWN, event.message, {"job": event.job})
        case e.DrawerOpened():
            return Answer("done", None, "Open.", {"opening": event.opening, "confirmed": event.confirmed})
        case e.DrawerFailed():
            return failed(event.reason, event.message, opening=event.opening)
        case e.DrawerUnknown():
            return Answer("unknown", Reason.OUTCOME_UNKNOWN, event.message, {"opening": event.opening})
        case w.WalletFailed():
            return failed(event.reason, transfer=event.transfer, reader=event.reader)
        case r.RedemptionFailed():
            return failed(event.reason, redemption=event.redemption, reader=event.reader)
        case _:
            return _bench_answer(event)


def _bench_answer(event: e.AnyEvent) -> Answer | None:
    if not isinstance(event, bench.BenchEnded):
        return None
    reasons = {"done": None, "failed": Reason.DEVICE_OFFLINE, "unknown": Reason.OUTCOME_UNKNOWN}
    return Answer(event.outcome, reasons[event.outcome], event.message or "Done.", {"test": event.test})


_DONE: dict[w.Action, str] = {
    "charge": "Paid",
    "top_up": "Topped up",
    "refund": "Given back",
    "tip": "Tip of",
    "deposit": "Deposit paid:",
    "deposit_return": "Deposit returned:",
    "capture": "Paid",
    "transfer": "Handed over",
    "close_out": "Pay out",
    "sale": "Sold for",
}


def _wallet_answer(
    event: w.WalletArmed | w.WalletTransferred | w.WalletHeld | w.WalletDenied | w.WalletShown,
) -> Answer:
    """Say what became of an order, with the balance the till may show."""
    match event:
        case w.WalletArmed():
            data = {"transfer": event.order.transfer, "reader": event.reader, "until_ms": event.until_ms}
            return Answer("accepted", None, f"Hold a card to {event.reader}.", data)
        case w.WalletDenied():
            known = {} if event.available_minor is None else {"available_minor": event.available_minor}
            return Answer("denied", event.reason, message_for(event.reason), {"transfer": event.transfer, **known})
        case w.WalletTransferred():
            note = f"{_DONE.get(event.action, event.action)} {money.text(event.amount_minor, event.currency)}."
            return Answer("done", None, note, _moved(event))
        case w.WalletHeld():
            note = f"Held {money.text(event.amount_minor, event.currency)}."
            more = {"amount_minor": event.amount_minor, "until_ms": event.until_ms}
            return Answer("done", None, note, {"transfer": event.transfer, **more, **_balance(event)})
        case w.WalletShown():
            note = f"{money.text(event.balance_minor - event.held_minor, event.currency)} left."
            return Answer("done", None, note, {"transfer": event.transfer, **_balance(event)})


def _moved(event: w.WalletTransferred) -> dict[str, Any]:
    data = {"transfer": event.transfer, "action": event.action, "amount_minor": event.amount_minor}
    whose: dict[str, Any] = {"currency": event.currency}
    if event.holder:
        whose |= {"holder": event.holder, "balance_minor": event.balances.get(wallet(event.holder))}
    more = {"credential": event.credential, "of": event.of, "refunded_minor": event.refunded_minor}
    return {**data, **whose, **{name: value for name, value in more.items() if value is not None}}


def _balance(event: w.WalletHeld | w.WalletShown) -> dict[str, Any]:
    left_minor = event.balance_minor - event.held_minor
    data = {"currency": event.currency, "holder": event.holder, "credential": event.credential}
    return {**data, "balance_minor": event.balance_minor, "held_minor": event.held_minor, "available_minor": left_minor}


def _redemption_answer(
    event: r.RedemptionArmed | r.RedemptionMade | r.RedemptionUndone | r.RedemptionDenied,
) -> Answer:
    """Say what became of a redemption, and what the guest still has."""
    data: dict[str, Any] = {"redemption": event.redemption}
    match event:
        case r.RedemptionArmed():
            more = {"reader": event.reader, "until_ms": event.until_ms}
            return Answer("accepted", None, f"Hold a card to {event.reader}.", data | more)
        case r.RedemptionDenied():
            about = {"item": event.item} if event.item else {}
            return Answer("denied", event.reason, message_for(event.reason), data | about)
        case r.RedemptionMade():
            note = f"Redeemed: {_counted(event.used)}." if event.used else f"There is: {_left(event.left)}."
            whose = {"holder": event.holder} | ({"credential": event.credential} if event.credential else {})
            return Answer("done", None, note, data | whose | {"used": _lines(event.used), "left": event.left})
        case r.RedemptionUndone():
            more = {"of": event.of, "holder": event.holder, "given_back": _lines(event.given_back)}
            return Answer("done", None, f"Given back: {_counted(event.given_back)}.", data | more)


def _lines(used: tuple[r.Used, ...]) -> list[dict[str, Any]]:
    return [{"entitlement": one.entitlement, "item": one.item, "count": one.count} for one in used]


def _counted(used: tuple[r.Used, ...]) -> str:
    counts: dict[str, int] = {}
    for one in used:
        counts[one.item] = counts.get(one.item, 0) + one.count
    return _left(dict(counts))


def _left(left: Mapping[str, int | None]) -> str:
    return ", ".join(f"{'any number of' if count is None else count} {item}" for item, count in left.items()) or "none"
