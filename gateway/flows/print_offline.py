"""Receipts of a printer that is unplugged, where the configuration says that none shall wait for it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from gateway.config.schema import Limits
from gateway.domain import printing
from gateway.domain.answers import denied
from gateway.domain.reasons import Reason
from gateway.flows.desk import RefusedRequest
from gateway.flows.noting import note
from gateway.flows.recorder import Recorder

if TYPE_CHECKING:
    from gateway.flows.printing import PrinterPort


def refuse_while_offline(limits: Limits, port: PrinterPort) -> None:
    """Raise RefusedRequest for a new receipt while its printer is away; what may wait is let through."""
    if limits.print_when_offline == "refuse" and not port.online:
        raise RefusedRequest(denied(Reason.DEVICE_OFFLINE))


def give_up_while_offline(recorder: Recorder, printer: str, limits: Limits, port: PrinterPort) -> None:
    """End the receipts that wait for a printer which is away; nothing of them was printed."""
    if limits.print_when_offline == "keep" or port.online:
        return
    waiting = [job for job in recorder.state.jobs_for(printer) if job.status in printing.WAITING]
    note(recorder, printer, *(printing.failed(job.queued, Reason.DEVICE_OFFLINE) for job in waiting))
