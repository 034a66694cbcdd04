"""What a movement of money is to the shift at whose till it happens. Amounts are whole minor units (I3).

A line is `<currency>/<kind>/<medium>`, such as `EUR/sales/cash`; its amount is never negative, for its kind says which
way the money went.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Literal, TypeAlias

import msgspec

MEDIA = ("cash", "card", "voucher", "wallet")
INTO_TILL = ("sales", "tips", "deposits", "top_ups", "cash_in")
OUT_OF_TILL = ("refunds", "tips_refunded", "deposits_returned", "payouts", "cash_out")
KINDS = ("sales", "refunds", "tips", "tips_refunded", "deposits", "deposits_returned", "top_ups", "payouts")
"""The kinds of turnover, as a report lists them; cash that is put in or taken out stands apart."""
_INTO = {"sales": "sales", "tips": "tips", "deposits": "deposits", "wallet": "top_ups"}
_BACK = {"sales": "refunds", "tips": "tips_refunded", "deposits": "deposits_returned", "wallet": "payouts"}


class Line(msgspec.Struct, frozen=True, array_like=True):
    """What one line of a shift has come to: the sum, and of how many movements."""

    amount_minor: int = 0
    count: int = 0


Lines: TypeAlias = Mapping[str, Line]


class Booked(msgspec.Struct, frozen=True):
    """The shift that a movement belongs to, and the lines it changed, as they are afterwards."""

    shift: str
    lines: dict[str, Line]


class InShift(msgspec.Struct, frozen=True):
    """An opening of a drawer belongs to a shift: its number in it, counted from 1, and when it was (UTC ms)."""

    shift: str
    number: int
    at_ms: int


def key(currency: str, kind: str, medium: str) -> str:
    """Return the name of a line."""
    return f"{currency}/{kind}/{medium}"


def parts(name: str) -> tuple[str, str, str]:
    """Return currency, kind and medium of a line's name."""
    currency, kind, medium = name.split("/")
    return currency, kind, medium


def classify(debit: str, credit: str) -> tuple[str, str] | None:
    """Return kind and medium of a leg from account to account; None for one that is nothing to a till."""
    source, target = debit.partition(":")[0], credit.partition(":")[0]
    if target in _INTO and (source in MEDIA[:3] or (source == "wallet" and target != "wallet")):
        return _INTO[target], source
    if source in _BACK and (target in MEDIA[:3] or (target == "wallet" and source != "wallet")):
        return _BACK[source], target
    return None


def add(lines: Lines, changes: Iterable[tuple[str, int]]) -> dict[str, Line]:
    """Return the lines that `changes`, names with amounts, touch, as they are afterwards; each counts once."""
    sums: dict[str, int] = {}
    for name, amount_minor in changes:
        sums[name] = sums.get(name, 0) + amount_minor
    before = {name: lines.get(name, Line()) for name in sums}
    return {name: Line(old.amount_minor + sums[name], old.count + 1) for name, old in before.items()}


def expected_minor(floats: Mapping[str, int], lines: Lines) -> dict[str, int]:
    """Return what should lie in the drawer, by currency: the float, and every movement of cash."""
    total = dict(floats)
    for name, line in lines.items():
        currency, kind, medium = parts(name)
        if medium == "cash":
            sign = -1 if kind in OUT_OF_TILL else 1
            total[currency] = total.get(currency, 0) + sign * line.amount_minor
    return total


def cash_moves(lines: Lines) -> int:
    """Return how often cash has moved: a count of the drawer is of the moment between two of these."""
    return sum(line.count for name, line in lines.items() if parts(name)[2] == "cash")


Direction: TypeAlias = Literal["in", "out"]
