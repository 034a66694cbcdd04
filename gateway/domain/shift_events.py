"""Facts about shifts: who had which till from when to when, what moved, what was counted, and what it should be."""

from __future__ import annotations

from typing import Literal, TypeAlias

from gateway.domain.booking import Booked, Direction, Line
from gateway.domain.event import Event, RequestRef


class ShiftOpened(Event, frozen=True, tag="shift.opened"):
    """A till has a shift. `floats` is the change that lies in its drawer, in minor units by currency."""

    shift: str
    till: str
    drawer: str
    client: str
    at_ms: int
    floats: dict[str, int]
    request: RequestRef | None = None


class ShiftCashMoved(Event, frozen=True, tag="shift.cash_moved"):
    """Cash was put into the drawer or taken out of it, for a reason and for no sale."""

    shift: str
    till: str
    client: str
    direction: Direction
    amount_minor: int
    currency: str
    reason: str
    booked: Booked
    request: RequestRef | None = None


class ShiftCounted(Event, frozen=True, tag="shift.counted"):
    """The drawer was counted, by someone who was not told what should be in it.

    `pieces` are numbers of coins and notes by their value in minor units, for currencies counted so. `cash_moves` is
    how often cash had moved until then.
    """

    shift: str
    till: str
    client: str
    counted: dict[str, int]
    pieces: dict[str, dict[str, int]]
    cash_moves: int
    request: RequestRef | None = None


class ShiftClosed(Event, frozen=True, tag="shift.closed"):
    """A shift is over. `number` counts the closed shifts of this till from 1, without gaps; it is that of the Z report.

    `expected` is what should have been in the drawer, `counted` what was. `openings` tells every opening that was kept,
    `opening_count` how many there were. `job` is the print job of its report; empty when none was printed.
    """

    shift: str
    till: str
    drawer: str
    number: int
    client: str
    at_ms: int
    opened_by: str
    opened_at_ms: int
    floats: dict[str, int]
    lines: dict[str, Line]
    expected: dict[str, int]
    counted: dict[str, int]
    openings: tuple[tuple[int, str, str], ...]
    opening_count: int
    forced_count: int
    job: str = ""
    printer: str = ""
    request: RequestRef | None = None


class ShiftReported(Event, frozen=True, tag="shift.reported"):
    """A report was asked for: an X of the open shift, its `number` counted in it, or the Z of that number again."""

    shift: str
    till: str
    client: str
    report: Literal["x", "z"]
    number: int
    job: str = ""
    printer: str = ""
    request: RequestRef | None = None


ShiftEvent: TypeAlias = ShiftOpened | ShiftCashMoved | ShiftCounted | ShiftClosed | ShiftReported
