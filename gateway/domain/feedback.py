"""What a guest sees and hears at a reader: which outcome a fact is, and what that looks and sounds like. Pure.

An outcome is a word: `granted`, `paid`, `redeemed`, `present_card`, …, or the reason word of a refusal, as
`no_uses_left`; what is configured for `denied` counts for every refusal that has nothing of its own. The built-in texts
are in `feedback_texts`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from string import Formatter
from typing import Any, Literal

import msgspec

from gateway.domain import events as e
from gateway.domain import money
from gateway.domain import redemption_events as r
from gateway.domain import wallet_events as w
from gateway.domain.answers import Answer
from gateway.domain.ledger import wallet
from gateway.domain.reasons import Reason

Tone = Literal["none", "short", "long", "double", "triple"]
Colour = Literal["none", "green", "red", "amber", "blue", "white"]
FIELDS = ("amount", "balance", "items", "left", "holder")
"""What a text may have in braces; what is not known of an outcome is left empty."""


class Signal(msgspec.Struct, frozen=True):
    """How one outcome is told: a tone, a colour, and a line of text in each language."""

    tone: Tone
    colour: Colour
    text: Mapping[str, str]


class Told(msgspec.Struct, frozen=True):
    """What a client that stands before the guest shows: a tone, a colour, and a line in each language of the venue."""

    tone: Tone
    colour: Colour
    text: dict[str, str]


class Shown(msgspec.Struct, frozen=True):
    """One outcome at one reader or client, with what its texts may speak of; `until_ms` where it stands until then."""

    place: str
    outcome: str
    values: Mapping[str, Any] = {}
    until_ms: int | None = None


WAITING, CANCELLED = "present_card", "cancelled"
_PAID = {
    "charge": "paid",
    "tip": "paid",
    "capture": "paid",
    "transfer": "paid",
    "deposit": "paid",
    "top_up": "topped_up",
    "refund": "refunded",
    "deposit_return": "refunded",
    "close_out": "paid_out",
}
OUTCOMES: tuple[str, ...] = (
    "granted",
    "denied",
    "paid",
    "topped_up",
    "refunded",
    "paid_out",
    "held",
    "balance",
    "redeemed",
    "vouchers",
    WAITING,
    CANCELLED,
    "failed",
)
"""The words for what can come out, besides the reason words."""
_CALLED_OFF = frozenset({Reason.PAYMENT_CANCELLED, Reason.REDEMPTION_CANCELLED})
_NOBODY_CAME = frozenset(
    {
        Reason.PAYMENT_TIMED_OUT,
        Reason.REDEMPTION_TIMED_OUT,
        Reason.PAYMENT_INTERRUPTED,
        Reason.REDEMPTION_INTERRUPTED,
        Reason.CONFIGURATION_CHANGED,
    }
)
_VERBS = {"authenticate": "granted", "redeem": "redeemed", "hold": "held", "balance": "balance"} | _PAID
"""Verbs whose answers concern a guest, and the outcome of each when it is done."""
_BRACES = f"only {', '.join('{' + name + '}' for name in FIELDS)} can stand in braces"


def shown_by(event: e.AnyEvent) -> Shown | None:
    """Return what a fact shows and where: at the reader where somebody tapped; None for what no guest sees."""
    match event:
        case e.EntryGranted():
            return Shown(event.source, "granted", {"holder": event.holder})
        case e.EntryDenied():
            return Shown(event.source, event.reason.value, {"holder": event.holder or ""})
        case w.WalletArmed():
            order = event.order
            amount = (order.total_minor, order.currency) if order.total_minor else None
            return Shown(event.reader, WAITING, {"amount": amount}, event.until_ms)
        case r.RedemptionArmed():
            return Shown(event.reader, WAITING, {}, event.until_ms)
        case w.WalletFailed() | r.RedemptionFailed():
            return Shown(event.reader, CANCELLED if event.reason in _CALLED_OFF else "failed")
        case _:
            reader = getattr(event, "reader", None)
            return _at_a_till(event, reader) if reader is not None else None


def _at_a_till(event: e.AnyEvent, reader: str) -> Shown | None:
    match event:
        case w.WalletTransferred():
            left_minor = event.balances.get(wallet(event.holder), 0)
            values = {"amount": (event.amount_minor, event.currency), "balance": (left_minor, event.currency)}
            return Shown(reader, _PAID.get(event.action, "paid"), values | {"holder": event.holder})
        case w.WalletHeld():
            balance = (event.balance_minor - event.held_minor, event.currency)
            amount = (event.amount_minor, event.currency)
            return Shown(reader, "held", {"amount": amount, "balance": balance, "holder": event.holder})
        case w.WalletShown():
            balance = (event.balance_minor - event.held_minor, event.currency)
            return Shown(reader, "balance", {"balance": balance, "holder": event.holder})
        case r.RedemptionMade():
            items: dict[str, int | None] = {}
            for used in event.used:
                items[used.item] = (items.get(used.item) or 0) + used.count
            told: dict[str, Any] = {"items": items, "left": event.left, "holder": event.holder}
            return Shown(reader, "redeemed" if event.used else "vouchers", told)
        case w.WalletDenied() | r.RedemptionDenied():
            return Shown(reader, event.reason.value, {"holder": event.holder or ""})
        case _:
            return None


def spoken(text: str, language: str, values: Mapping[str, Any]) -> str:
    """Return a text with what is known put in for its braces, as people of this language write it."""
    if "{" not in text:
        return text
    return text.format_map({name: _word(values.get(name), language) for name in FIELDS}).strip()


def text_fault(text: str) -> str:
    """Return what is wrong with a text that is to be shown, or nothing."""
    try:
        parts = list(Formatter().parse(text))
    except ValueError:
        return _BRACES
    wrong = [name for _, name, form, convert in parts if name is not None and (name not in FIELDS or form or convert)]
    return _BRACES if wrong else ""


def names_holder(text: str) -> bool:
    """Return True for a text that would show who the guest is."""
    return "{holder}" in text


def answered(verb: str, answer: Answer, place: str) -> Shown | None:
    """Return what the answer to a client shows the guest; None for what concerns no guest, or is not over yet."""
    if verb not in _VERBS or not answer.final:
        return None
    data = answer.data
    if verb == "authenticate" and answer.status == "done":
        # Somebody stands at a gate for this one, and its text knows nothing of money.
        return Shown(place, "granted")
    values = {
        "amount": _amount(data, "amount_minor"),
        "balance": _amount(data, "available_minor") or _amount(data, "balance_minor"),
        "items": _counts(data.get("used", ())),
        "left": data.get("left"),
        "holder": data.get("holder"),
    }
    if answer.status == "done":
        return Shown(place, _outcome(verb, data), values)
    reason = answer.reason.value if answer.reason is not None else "failed"
    if answer.reason in _CALLED_OFF:
        return Shown(place, CANCELLED, values)
    return Shown(place, "failed" if answer.reason in _NOBODY_CAME else reason, values)


def _outcome(verb: str, data: Mapping[str, Any]) -> str:
    if verb == "redeem":
        return "redeemed" if data.get("used") else "vouchers"
    action = str(data.get("action", verb))
    return _PAID.get(action, _VERBS[verb])


def _amount(data: Mapping[str, Any], name: str) -> tuple[int, str] | None:
    known = "currency" in data and data.get(name) is not None
    return (data[name], data["currency"]) if known else None


def _counts(lines: Iterable[Mapping[str, Any]]) -> dict[str, int]:
    counts: dict[str, int] = {}
    for line in lines:
        counts[line["item"]] = counts.get(line["item"], 0) + line["count"]
    return counts


def _word(value: Any, language: str) -> str:  # noqa: ANN401 - whatever an outcome knows
    match value:
        case None | "":
            return ""
        case (int(amount_minor), str(currency)):
            written = money.text(amount_minor, currency)
            return written.replace(".", ",") if language == "de" else written
        case dict():
            return ", ".join(f"{'∞' if count is None else count} {item}" for item, count in value.items())
        case _:
            return str(value)
