"""Every event there is, filled in, and ways to compare two states."""

from __future__ import annotations

import typing
from collections.abc import Iterator, Mapping
from typing import Any, Literal

import msgspec

from gateway.domain import events as e
from gateway.domain import redemption_events as r
from gateway.domain import wallet_events as w
from gateway.domain.allowance_events import Allowance
from gateway.domain.booking import Booked, InShift, Line
from gateway.domain.reasons import Reason
from gateway.domain.state import DrawerState, GateState, VenueState

EVENT_TYPES: tuple[type[e.Event], ...] = typing.get_args(e.AnyEvent)
REF = e.RequestRef("bar-tablet", "request-1", "digest")
OF_MONEY: dict[str, Any] = {
    "order": w.Order(transfer="transfer-1", action="charge", client="client-1", currency="EUR", amount_minor=3),
    "legs": (w.Leg("wallet:holder-1", "sales:client-1", 3),),
    "balances": {"wallet:holder-1": 7, "sales:client-1": 3},
    "lines": (r.Line("drink", count=2), r.Line(entitlement="e-1")),
    "used": (r.Used("e-1", "drink", 2, 3, "2026-07-03", 2),),
    "given_back": (r.Used("e-1", "drink", 1, 2),),
    "left": {"drink": 4, "cloakroom": None},
    "undone": {"e-1": 1},
    "spent": w.Spent("contact-1", 3, 1, 3),
    "allowance": Allowance(2, 9, 3, 4, 5, 1, 3),
    "booked": Booked("shift-1", {"EUR/sales/cash": Line(3, 1)}),
    "in_shift": InShift("shift-1", 3, 3),
    "floats": {"EUR": 3},
    "expected": {"EUR": 6},
    "counted": {"EUR": 5},
    "pieces": {"EUR": {"1": 5}},
    "openings": ((3, "client-1", "reason-1"),),
}
OF_SHIFTS: dict[str, Any] = {"lines": {"EUR/sales/cash": Line(3, 1)}}
"""What has one meaning in the facts about shifts and another in those about redemptions."""


def sample(event_type: type[e.Event], **given: Any) -> Any:
    """Return an event of this type with every field filled in."""
    hints = typing.get_type_hints(event_type)
    return event_type(
        **{field: given.get(field, _value(field, hints[field])) for field in event_type.__struct_fields__}
    )


def bare(event_type: type[e.Event]) -> Any:
    """Return an event of this type with nothing but what it must have."""
    hints = typing.get_type_hints(event_type)
    fields = msgspec.structs.fields(event_type)
    return event_type(**{field.name: _value(field.name, hints[field.name]) for field in fields if field.required})


def _value(field: str, hint: Any) -> Any:
    known = OF_SHIFTS if typing.get_origin(hint) is dict and field in OF_SHIFTS else OF_MONEY
    if field in known:
        return known[field]
    if typing.get_origin(hint) is Literal:
        return typing.get_args(hint)[0]
    if typing.get_origin(hint) is tuple:
        return (f"{field}-1",)
    for kind in typing.get_args(hint) or (hint,):
        match kind:
            case _ if kind is e.RequestRef:
                return REF
            case _ if kind is Reason:
                return Reason.BUSY
            case _ if kind is bool:
                return True
            case _ if kind is int:
                return 3
            case _ if kind is str:
                return f"{field}-1"
    return REF


def snapshot(state: VenueState) -> Mapping[str, Any]:
    """Return what a state knows, without what only a look-up has put into it."""
    parts = (state.ledger, state.redemptions, state.shifts)
    return {
        "uses": {key: uses for key, uses in state.uses.items() if uses},
        "day_uses": dict(state.day_uses),
        "where": dict(state.where),
        "closures": dict(state.closures),
        "blocks": dict(state.blocks),
        "occupancy": {zone: count for zone, count in state.occupancy.items() if count},
        "entries": dict(_plain(state.entries)),
        "gates": {key: value for key, value in _plain(state.gates) if value != msgspec.to_builtins(GateState())},
        "jobs": dict(_plain(state.jobs)),
        "drawers": {key: value for key, value in _plain(state.drawers) if value != msgspec.to_builtins(DrawerState())},
        "queue": [job.queued.job for job in state.jobs_for("bar")],
        "requests": dict(_plain(state.requests)),
        "clock": dict(_plain(state.clocks)),
        **{kind: dict(_plain(table)) for part in parts for kind, table in part.tables.items()},
    }


def _plain(table: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    for key, value in table.items():
        yield key, msgspec.to_builtins(value)


def rows(state: VenueState) -> dict[tuple[str, str], bytes]:
    """Return the stored form of everything that was ever touched."""
    found = {(kind, key): state.row(kind, key) for kind, key in state.dirty}
    return {place: row for place, row in found.items() if row is not None}


def rebuilt(state: VenueState, stored: Mapping[tuple[str, str], bytes]) -> VenueState:
    """Return a new state read from stored rows, in the order a database gives them."""
    fresh = VenueState(state.zones)
    for (kind, key), value in sorted(stored.items()):
        fresh.load_row(kind, key, value)
    return fresh
