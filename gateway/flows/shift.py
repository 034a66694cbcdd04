"""Shifts: a till opens with a float, cash goes in and out, the drawer is counted blind, and the report is printed.

What guests pay is booked by `gateway.flows.booking`; nothing here opens a drawer.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Annotated, Any, Protocol

import msgspec
import structlog
from msgspec import Meta

from drivers.document import Document
from gateway.config.schema import Limits, Name, Till, Venue
from gateway.domain import booking, printing, shifts
from gateway.domain import events as e
from gateway.domain import shift_events as s
from gateway.domain.answers import Answer, denied
from gateway.domain.ledger import transfer_id
from gateway.domain.money import AMOUNT_MAX_MINOR
from gateway.domain.reasons import Reason
from gateway.flows import shift_report
from gateway.flows.desk import Handler, RefusedRequest, Request, read_data
from gateway.flows.receipts import receipt
from gateway.flows.recorder import Recorder

log = structlog.get_logger(__name__)

CurrencyCode = Annotated[str, Meta(pattern="^[A-Z]{3}$", description="ISO 4217.")]
Whole = Annotated[int, Meta(ge=0, le=AMOUNT_MAX_MINOR)]
Pieces = dict[Annotated[str, Meta(pattern="^[1-9][0-9]{0,7}$")], Annotated[int, Meta(ge=0, le=100_000)]]
CURRENCIES_MAX = 8


class OpenShiftData(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Begin a shift with this change in the drawer."""

    floats: Annotated[
        dict[CurrencyCode, Whole],
        Meta(max_length=CURRENCIES_MAX, description='Minor units by currency: {"EUR": 15000} is 150.00 EUR.'),
    ] = {}


class CashData(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Put cash into the drawer, or take it out, for no sale."""

    amount_minor: Annotated[int, Meta(ge=1, le=AMOUNT_MAX_MINOR, description="Whole minor units.")]
    reason: Annotated[str, Meta(min_length=1, max_length=200, description="Why; it stands in the journal.")]
    currency: CurrencyCode | None = None


class Counted(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """What lies in the drawer of one currency: as a total, or as numbers of pieces by their value in minor units."""

    currency: CurrencyCode | None = None
    total_minor: Whole | None = None
    pieces: Annotated[Pieces, Meta(max_length=40)] | None = None

    def sum_minor(self) -> int | None:
        """Return the total, or None where it is told in no way or in two that differ."""
        summed = None if self.pieces is None else sum(int(value) * count for value, count in self.pieces.items())
        if summed is None or self.total_minor is None:
            return self.total_minor if summed is None else summed
        return summed if summed == self.total_minor else None


class CountData(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """What was counted in the drawer, each currency once."""

    counted: Annotated[tuple[Counted, ...], Meta(min_length=1, max_length=CURRENCIES_MAX)]


class ReportData(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Close a shift, or report on it; on the printer of this name, else on the till's own."""

    printer: Annotated[Name, Meta(description="A printer of the configuration.")] | None = None


class ZReportData(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Print a Z report again."""

    number: Annotated[int, Meta(ge=1, description="The number of the report.")] | None = None
    printer: Annotated[Name, Meta(description="A printer of the configuration.")] | None = None


class StatusData(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Ask whether a shift is open. Takes nothing."""


class PrinterQueue(Protocol):
    """What of a printer's flow a report needs."""

    def look_again(self) -> None:
        """Look whether there is something to print."""
        ...


class ShiftFlow:
    """The shifts of every till."""

    def __init__(self, recorder: Recorder, printers: Mapping[str, PrinterQueue]) -> None:
        """Begin without tills; `printers` are those of the configuration in force, whichever it is."""
        self._recorder = recorder
        self._printers = printers
        self._tills: Mapping[str, Till] = {}
        self._limits = Limits()
        self._venue: Venue | None = None

    def configure(self, tills: Mapping[str, Till], limits: Limits, venue: Venue) -> None:
        """Take the tills of a configuration. A shift of a till that is gone stays open until the till is back."""
        self._tills, self._limits, self._venue = tills, limits, venue

    def handlers(self) -> Mapping[str, Mapping[str, Handler]]:
        """Return what serves each verb of each till."""
        takers: dict[str, Callable[[Request], Answer | None]] = {
            "open_shift": self.take_open,
            "cash_in": self.take_cash,
            "cash_out": self.take_cash,
            "count": self.take_count,
            "close_shift": self.take_close,
            "x_report": self.take_x_report,
            "z_report": self.take_z_report,
        }
        verbs = {verb: Handler(take) for verb, take in takers.items()}
        return {till: {**verbs, "status": Handler(self.take_status, repeatable=True)} for till in self._tills}

    def take_open(self, request: Request) -> None:
        """Begin a shift; a till has one at a time."""
        floats = read_data(request, OpenShiftData).floats
        if request.target in self._open:
            raise RefusedRequest(denied(Reason.SHIFT_OPEN))
        drawer = self._tills[request.target].drawer or ""
        self._recorder.record(
            s.ShiftOpened(
                shift=self._recorder.new_id(),
                till=request.target,
                drawer=drawer,
                client=request.client,
                at_ms=self._recorder.now_ms(),
                floats={self._currency: 0, **floats},
                request=request.ref,
            )
        )

    def take_cash(self, request: Request) -> Answer | None:
        """Record cash that is put in or taken out, with its reason."""
        if (known := self._recorder.transfer(transfer_id(request.client, request.id))) is not None:
            # The answer to it has been let go since; that it was done is remembered for ever.
            is_same = known.fingerprint == request.fingerprint
            return Answer("done", None, "This was done before.") if is_same else denied(Reason.IDEMPOTENCY_CONFLICT)
        asked, shift = read_data(request, CashData), self._shift(request)
        if not asked.reason.strip():
            raise RefusedRequest(denied(Reason.MALFORMED, "`data.reason` is blank. Say what the cash is for."))
        direction: booking.Direction = "in" if request.verb == "cash_in" else "out"
        currency = asked.currency or self._currency
        self._recorder.record(
            s.ShiftCashMoved(
                shift=shift.opened.shift,
                till=request.target,
                client=request.client,
                direction=direction,
                amount_minor=asked.amount_minor,
                currency=currency,
                reason=asked.reason,
                booked=shifts.moved(shift, direction, currency, asked.amount_minor),
                request=request.ref,
            )
        )
        return None

    def take_count(self, request: Request) -> None:
        """Record what was counted; whoever counted is told nothing of what should be there."""
        asked, shift = read_data(request, CountData), self._shift(request)
        counted: dict[str, int] = {}
        pieces: dict[str, dict[str, int]] = {}
        for number, one in enumerate(asked.counted):
            currency, sum_minor = one.currency or self._currency, one.sum_minor()
            if sum_minor is None or currency in counted:
                note = f"`data.counted[{number}]`: give `total_minor` or `pieces`, and each currency once."
                raise RefusedRequest(denied(Reason.MALFORMED, note))
            counted[currency] = sum_minor
            if one.pieces is not None:
                pieces[currency] = one.pieces
        self._recorder.record(
            s.ShiftCounted(
                shift=shift.opened.shift,
                till=request.target,
                client=request.client,
                counted=counted,
                pieces=pieces,
                cash_moves=booking.cash_moves(shift.lines),
                request=request.ref,
            )
        )

    def take_close(self, request: Request) -> None:
        """End a counted shift, tell the difference, and print the Z report in the same commit."""
        printer, shift = self._printer(request, read_data(request, ReportData).printer), self._shift(request)
        if refusal := shifts.close_refusal(shift):
            raise RefusedRequest(denied(refusal))
        closed = shifts.closing(self._recorder.state.shifts, shift, request.client, self._recorder.now_ms())
        closed = msgspec.structs.replace(closed, request=request.ref)
        if printer and printing.refusal(self._recorder.state, printer, self._limits.print_queue_jobs) is None:
            closed = msgspec.structs.replace(closed, printer=printer, job=self._recorder.new_id())
        self._record(closed, shift_report.z_report(closed, *self._style(request)))

    def take_x_report(self, request: Request) -> None:
        """Tell and print how an open shift stands; it changes nothing in it."""
        printer, shift = self._printer(request, read_data(request, ReportData).printer), self._shift(request)
        job = self._job(printer)
        reported = s.ShiftReported(
            shift=shift.opened.shift,
            till=request.target,
            client=request.client,
            report="x",
            number=shift.x_count + 1,
            printer=printer,
            job=job,
            request=request.ref,
        )
        now_ms = self._recorder.now_ms()
        self._record(reported, shift_report.x_report(shift, reported, now_ms, *self._style(request)))

    def take_z_report(self, request: Request) -> None:
        """Print the report of a closed shift again, marked as a copy; without a number the newest."""
        asked = read_data(request, ZReportData)
        number = asked.number or self._recorder.state.shifts.z_numbers.get(request.target, 0)
        closed = self._recorder.z_report(request.target, number)
        if closed is None:
            raise RefusedRequest(denied(Reason.UNKNOWN_REPORT))
        printer = self._printer(request, asked.printer)
        if not printer:
            raise RefusedRequest(denied(Reason.UNKNOWN_PRINTER, "Name a `printer`: this till has none of its own."))
        reported = s.ShiftReported(
            shift=closed.shift,
            till=request.target,
            client=request.client,
            report="z",
            number=number,
            printer=printer,
            job=self._job(printer),
            request=request.ref,
        )
        self._record(reported, shift_report.z_report(closed, *self._style(request)), copy_of=closed.job or None)

    def take_status(self, request: Request) -> Answer:
        """Answer whether a shift is open and since when; no sum is told, so that a count stays blind."""
        read_data(request, StatusData)
        shift = self._open.get(request.target)
        data: dict[str, Any] = {"open": shift is not None, "z_number": self._z_number(request.target)}
        if shift is not None:
            opened = shift.opened
            data |= {"shift": opened.shift, "client": opened.client, "at_ms": opened.at_ms}
            data |= {"counted": shifts.close_refusal(shift) is None, "openings": shift.opening_count}
        return Answer("done", None, "", data)

    # Parts.

    @property
    def _open(self) -> Mapping[str, shifts.Shift]:
        return self._recorder.state.shifts.open

    @property
    def _currency(self) -> str:
        return self._venue.currency if self._venue is not None else ""

    def _z_number(self, till: str) -> int:
        return self._recorder.state.shifts.z_numbers.get(till, 0)

    def _style(self, request: Request) -> tuple[Venue, str]:
        if self._venue is None:
            raise RefusedRequest(denied(Reason.BUSY))
        return self._venue, self._tills[request.target].language

    def _shift(self, request: Request) -> shifts.Shift:
        shift = self._open.get(request.target)
        if shift is None:
            raise RefusedRequest(denied(Reason.NO_SHIFT_OPEN))
        return shift

    def _printer(self, request: Request, named: str | None) -> str:
        """Return the printer of a report; empty where the till has none and none is named."""
        printer = named or self._tills[request.target].printer or ""
        if printer and printer not in self._printers:
            raise RefusedRequest(denied(Reason.UNKNOWN_PRINTER))
        return printer

    def _job(self, printer: str) -> str:
        if not printer:
            return ""
        if refusal := printing.refusal(self._recorder.state, printer, self._limits.print_queue_jobs):
            raise RefusedRequest(denied(refusal, "Too many receipts wait for this printer. Look whether it prints."))
        return self._recorder.new_id()

    def _record(self, fact: s.ShiftClosed | s.ShiftReported, report: Document, *, copy_of: str | None = None) -> None:
        """Record a fact and the print job of its report, both or none."""
        if not fact.job:
            self._recorder.record(fact)
            return
        content = msgspec.json.encode(report)
        queued: e.PrintQueued = receipt(self._recorder, self._limits, fact.printer, fact.job, fact.client, content)
        queued = msgspec.structs.replace(queued, copy_of=copy_of)
        self._recorder.record(fact, queued, attachments={fact.job: content})
        self._printers[fact.printer].look_again()
