"""A till's shift, from the float to the Z report. Pure: the table of open shifts, and the facts that follow."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

import msgspec

from gateway.domain import booking
from gateway.domain import shift_events as s
from gateway.domain.booking import Booked, InShift, Line
from gateway.domain.reasons import Reason
from gateway.domain.wallet_events import Leg

OPENINGS_KEPT = 200
"""The newest openings of a drawer that a shift keeps with client and reason; all of them stand in the journal (I9)."""
NOBODY = ""


class Opening(msgspec.Struct, frozen=True, array_like=True):
    """The drawer was told to open: when, by whom and why. `client` is empty where it opened unasked."""

    at_ms: int
    client: str
    reason: str


class Shift(msgspec.Struct):
    """An open shift."""

    opened: s.ShiftOpened
    lines: dict[str, Line] = {}
    counted: s.ShiftCounted | None = None
    openings: dict[int, Opening] = {}
    opening_count: int = 0
    forced: list[int] = []
    x_count: int = 0


ROW_TYPES: dict[str, Any] = {"shift": Shift, "z_number": int, "z_report": s.ShiftClosed}
ON_DISK: frozenset[str] = frozenset({"z_report"})
"""Reports of closed shifts are looked up on disk, so that memory does not grow with the season."""


def report_key(till: str, number: int) -> str:
    """Return the key under which a Z report is stored."""
    return f"{till}/{number}"


class Shifts:
    """The open shift of each till, and the number of its last Z. `touch(kind, key)` is told what must be stored."""

    def __init__(self, touch: Callable[[str, str], None]) -> None:
        """Begin with no shift open."""
        self._touch = touch
        self.open: dict[str, Shift] = {}
        self.z_numbers: dict[str, int] = {}
        self.z_reports: dict[str, s.ShiftClosed] = {}
        self.tables: dict[str, dict[str, Any]] = {
            "shift": self.open,
            "z_number": self.z_numbers,
            "z_report": self.z_reports,
        }

    def at_drawer(self, drawer: str) -> Shift | None:
        """Return the shift to which a drawer belongs at present."""
        return next((shift for shift in self.open.values() if shift.opened.drawer == drawer), None)

    # What each fact changes. One that names another shift than the open one is replayed over newer rows.

    def opened(self, event: s.ShiftOpened) -> None:
        """A shift has begun."""
        self.open[event.till] = Shift(event)
        self._touch("shift", event.till)

    def booked(self, booked: Booked | None) -> None:
        """Money has moved at a till."""
        if booked is not None and (shift := self._of(booked.shift)) is not None:
            shift.lines.update(booked.lines)
            self._touch("shift", shift.opened.till)

    def counted(self, event: s.ShiftCounted) -> None:
        """A drawer was counted."""
        if (shift := self._of(event.shift)) is not None:
            shift.counted = event
            self._touch("shift", event.till)

    def drawer_opened(self, place: InShift | None, client: str, reason: str) -> None:
        """A drawer was told to open, or opened unasked."""
        if place is None or (shift := self._of(place.shift)) is None:
            return
        shift.openings[place.number] = Opening(place.at_ms, client, reason)
        shift.opening_count = max(shift.opening_count, place.number)
        if client == NOBODY and place.number not in shift.forced:
            shift.forced = sorted([*shift.forced, place.number])[-OPENINGS_KEPT:]
        for number in sorted(shift.openings)[:-OPENINGS_KEPT]:
            del shift.openings[number]
        self._touch("shift", shift.opened.till)

    def reported(self, event: s.ShiftReported) -> None:
        """An X report was made."""
        if event.report == "x" and (shift := self._of(event.shift)) is not None:
            shift.x_count = event.number
            self._touch("shift", event.till)

    def closed(self, event: s.ShiftClosed) -> None:
        """A shift is over."""
        if self._of(event.shift) is not None:
            del self.open[event.till]
            self._touch("shift", event.till)
        self.z_numbers[event.till] = max(event.number, self.z_numbers.get(event.till, 0))
        self._touch("z_number", event.till)
        self.z_reports[report_key(event.till, event.number)] = event
        self._touch("z_report", report_key(event.till, event.number))

    def _of(self, shift_id: str) -> Shift | None:
        return next((shift for shift in self.open.values() if shift.opened.shift == shift_id), None)


def booked(shift: Shift, legs: Iterable[Leg], currency: str) -> Booked | None:
    """Return what a transfer of these legs is to a shift; None where it is nothing to it."""
    changes = [
        (booking.key(currency, *found), leg.amount_minor)
        for leg in legs
        if (found := booking.classify(leg.debit, leg.credit)) is not None
    ]
    return Booked(shift.opened.shift, booking.add(shift.lines, changes)) if changes else None


def moved(shift: Shift, direction: booking.Direction, currency: str, amount_minor: int) -> Booked:
    """Return what cash that is put in or taken out is to a shift."""
    name = booking.key(currency, f"cash_{direction}", "cash")
    return Booked(shift.opened.shift, booking.add(shift.lines, [(name, amount_minor)]))


def next_opening(shift: Shift, at_ms: int) -> InShift:
    """Return the place of an opening in the shift to which the drawer belongs."""
    return InShift(shift.opened.shift, shift.opening_count + 1, at_ms)


def close_refusal(shift: Shift) -> Reason | None:
    """Return why a shift cannot be closed: nobody has counted, or cash has moved since."""
    if shift.counted is None:
        return Reason.NOT_COUNTED
    return Reason.COUNT_OUTDATED if shift.counted.cash_moves != booking.cash_moves(shift.lines) else None


def closing(shifts: Shifts, shift: Shift, client: str, at_ms: int) -> s.ShiftClosed:
    """Return the fact that a counted shift is over."""
    opened = shift.opened
    counted = dict(shift.counted.counted) if shift.counted is not None else {}
    expected = booking.expected_minor(opened.floats, shift.lines)
    return s.ShiftClosed(
        shift=opened.shift,
        till=opened.till,
        drawer=opened.drawer,
        number=shifts.z_numbers.get(opened.till, 0) + 1,
        client=client,
        at_ms=at_ms,
        opened_by=opened.client,
        opened_at_ms=opened.at_ms,
        floats=opened.floats,
        lines=dict(sorted(shift.lines.items())),
        expected=expected,
        counted={currency: counted.get(currency, 0) for currency in {**expected, **counted}},
        openings=tuple((one.at_ms, one.client, one.reason) for _, one in sorted(shift.openings.items())),
        opening_count=shift.opening_count,
        forced_count=len(shift.forced),
    )


def differences_minor(closed: s.ShiftClosed) -> dict[str, int]:
    """Return, by currency, how much more was counted than there should be; less than zero where some is missing."""
    return {currency: counted - closed.expected.get(currency, 0) for currency, counted in closed.counted.items()}


def totals(lines: Mapping[str, Line]) -> dict[str, Any]:
    """Return lines as an answer tells them: currency → kind → medium → amount and count."""
    told: dict[str, Any] = {}
    for name, line in sorted(lines.items()):
        currency, kind, medium = booking.parts(name)
        of_kind = told.setdefault(currency, {}).setdefault(kind, {})
        of_kind[medium] = {"amount_minor": line.amount_minor, "count": line.count}
    return told
