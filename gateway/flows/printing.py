"""One printer: jobs are stored, wait their turn, are printed once, and end as what can truthfully be said of them."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from hashlib import sha256
from typing import Annotated, Literal, Protocol

import msgspec
import structlog
from msgspec import Meta

from drivers.api import DeviceOffline, DriverError, Printer, PrinterStatus
from drivers.document import Document, DocumentPrinter, Feed, Image, Rule, Text, problems
from gateway.config.schema import Limits
from gateway.domain import events as e
from gateway.domain import printing
from gateway.domain.answers import Answer, denied
from gateway.domain.reasons import Reason
from gateway.domain.state import Job
from gateway.flows.desk import Handler, RefusedRequest, Request, read_data
from gateway.flows.noting import note
from gateway.flows.print_offline import give_up_while_offline, refuse_while_offline
from gateway.flows.recorder import Recorder
from gateway.store.journal import JournalBusy, StorageUnavailable

log = structlog.get_logger(__name__)

MS_PER_S = 1000
LOOK_AGAIN_S = 1.0
"""When to try again where the link is said to be open and the driver says that it is not, and after a full journal."""
PROBLEMS_SHOWN = 10
COPY_LABEL = "KOPIE"

JobId = Annotated[str, Meta(min_length=1, max_length=64)]
InThread = Callable[[Callable[[], bytes]], Awaitable[bytes]]


class ReceiptPrinter(Printer, DocumentPrinter, Protocol):
    """A live printer: takes bytes, says how it is, and turns documents into its own language."""


class PrinterPort(Protocol):
    """A printer as the supervisor hands it out: the device behind it may come and go."""

    @property
    def online(self) -> bool:
        """True while the link is open and the printer works."""
        ...

    def printer(self) -> ReceiptPrinter:
        """Return the live printer; raises DeviceOffline while there is none."""
        ...


class PrintData(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """`data` of a `print` request. `title` names the job for people."""

    document: Document
    title: Annotated[str, Meta(max_length=80)] = ""


class RawData(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """`data` of a `print_raw` request: bytes in the printer's own language, in base64."""

    data: Annotated[bytes, Meta(min_length=1)]


class JobData(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """`data` of a `reprint` or `cancel` request."""

    job: JobId


class StatusData(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """`data` of a `status` request: nothing."""


class PrintFlow:
    """The queue of one printer. What waits is in the state, so a restart goes on where the last run stopped."""

    def __init__(
        self,
        name: str,
        recorder: Recorder,
        port: PrinterPort,
        limits: Limits,
        *,
        copy_label: str = COPY_LABEL,
        in_thread: InThread = asyncio.to_thread,
    ) -> None:
        """Join a printer of the configuration to its queue; `run()` prints.

        `in_thread` runs the rendering where it delays nobody.
        """
        self.name = name
        self._recorder = recorder
        self._port = port
        self._limits = limits
        self._copy_label = copy_label
        self._in_thread = in_thread
        self._wake = asyncio.Event()
        self._said: PrinterStatus | None = None
        self._expiry_timer: asyncio.TimerHandle | None = None
        self._again_timer: asyncio.TimerHandle | None = None

    def configure(self, limits: Limits) -> None:
        """Hold the jobs that come from now on to the limits of another configuration."""
        self._limits = limits

    def handlers(self) -> Mapping[str, Handler]:
        """Return what serves each verb of this printer at the desk."""
        return {
            "print": Handler(self.take_print),
            "print_raw": Handler(self.take_raw),
            "reprint": Handler(self.take_reprint),
            "cancel": Handler(self.take_cancel),
            "status": Handler(self.take_status, repeatable=True),
        }

    # Requests. Each is decided at once; what becomes of the job is told by the journal.

    def take_print(self, request: Request) -> None:
        """Queue a document. Raises RefusedRequest: `malformed` names the block, `busy` means the queue is full."""
        document = read_data(request, PrintData).document
        if found := problems(_without_images(document))[:PROBLEMS_SHOWN]:
            raise RefusedRequest(denied(Reason.MALFORMED, f"data.document.{found[0]}.", problems=found))
        self._queue(request, "document", msgspec.json.encode(document))

    def take_raw(self, request: Request) -> None:
        """Queue bytes in the printer's own language."""
        self._queue(request, "raw", read_data(request, RawData).data)

    def take_reprint(self, request: Request) -> None:
        """Queue a finished job again, marked as a copy."""
        job = self._job(request)
        if job.open:
            raise RefusedRequest(_wrong_state(job, "It is not finished, so there is nothing to copy yet."))
        content = self._recorder.journal.attachment(job.queued.job)
        if content is None:
            raise RefusedRequest(denied(Reason.UNKNOWN_JOB, "The content of this job is no longer kept."))
        self._queue(request, job.queued.content, content, copy_of=job.queued.job)

    def take_cancel(self, request: Request) -> None:
        """Take a job back of which nothing was sent yet."""
        job = self._job(request)
        if job.status not in printing.WAITING:
            raise RefusedRequest(_wrong_state(job, "Only a job that waits can be cancelled."))
        self._recorder.record(
            e.PrintCancelled(job=job.queued.job, printer=self.name, client=request.client, request=request.ref),
            printing.failed(job.queued, Reason.JOB_CANCELLED),
        )
        self._wake.set()

    def take_status(self, request: Request) -> Answer:
        """Answer how the printer is and which jobs are open; a field that is missing means "cannot say"."""
        read_data(request, StatusData)
        said = msgspec.structs.asdict(self._said) if self._said and self._port.online else {}
        jobs = [
            {"job": job.queued.job, "status": job.status, "why": job.why, "client": job.queued.client}
            for job in self._recorder.state.jobs_for(self.name)
        ]
        known = {field: value for field, value in said.items() if value is not None}
        return Answer("done", None, "", {"connected": self._port.online, "printer": known, "jobs": jobs})

    # The printer and the journal, as they come and go.

    def printer_changed(self, status: PrinterStatus | None = None) -> None:
        """The printer said how it is, or its link came or went: a job that is held looks again."""
        give_up_while_offline(self._recorder, self.name, self._limits, self._port)
        before = self._said
        self._said = status or (self._said if self._port.online else None)
        # A status that says nothing new, such as the answer to the question just asked, must not ask it again.
        if status is None or status != before:
            self._wake.set()

    def look_again(self) -> None:
        """Go on after the journal was recovered and the state rebuilt."""
        self._wake.set()

    def close(self) -> None:
        """Stop the timers; the printer is no longer served."""
        for timer in (self._expiry_timer, self._again_timer):
            if timer is not None:
                timer.cancel()

    def _look_again_soon(self) -> None:
        """A link that is renewed without a word is missing for a moment, and no event tells of its return."""
        if self._port.online:
            self._look_again_in_a_while()

    def _look_again_in_a_while(self) -> None:
        self._again_timer = asyncio.get_running_loop().call_later(LOOK_AGAIN_S, self._wake.set)

    async def run(self) -> None:
        """Print, one job after the other, until cancelled."""
        try:
            while True:
                self._wake.clear()
                if not await self._next():
                    await self._wake.wait()
        finally:
            self.close()

    async def _next(self) -> bool:
        """Serve the job at the head. False when there is nothing to do until something changes."""
        try:
            self._expire()
            job = printing.next_job(self._recorder.state, self.name)
            return job is not None and await self._serve(job.queued)
        except JournalBusy:
            # The journal was not lost, so nothing tells when it takes something again.
            self._look_again_in_a_while()
        except StorageUnavailable as error:
            log.error("printing_waits_for_storage", printer=self.name, why=str(error))
        except Exception:
            # A bug in one driver must not stop the daemon (I8); the job has ended as unknown.
            log.exception("printing_failed", printer=self.name)
        return False

    async def _serve(self, queued: e.PrintQueued) -> bool:
        asked = await self._ask()
        self._expire()
        if not printing.is_waiting(self._recorder.state, queued.job):
            return True
        if isinstance(asked, str):
            self._note(*printing.held(self._recorder.state, queued.job, asked))
            return False
        try:
            # On disk before the first byte (I1), and with it everything recorded earlier, the job itself included.
            await self._recorder.record(e.PrintStarted(job=queued.job, printer=self.name))
            return await self._print(queued, *asked)
        except BaseException:
            # Stopped, or a driver that broke down: the job must not stay `printing` with nobody printing it.
            if printing.is_printing(self._recorder.state, queued.job):
                self._note(printing.interrupted(queued))
            raise

    async def _ask(self) -> tuple[ReceiptPrinter, bool | None] | str:
        """Return the printer and whether it says that it can print, or the word for why it cannot."""
        if not self._port.online:
            return "offline"
        try:
            printer = self._port.printer()
            status = await _status(printer)
        except DeviceOffline:
            self._look_again_soon()
            return "offline"
        # A silent printer that said earlier that it cannot print is held; one that could is known to be able to tell.
        said = status or self._said
        if said is not None and said.can_print is False:
            return _trouble(said)
        return printer, said.can_print if said is not None else None

    async def _print(self, queued: e.PrintQueued, printer: ReceiptPrinter, before: bool | None) -> bool:
        data = await self._rendered(queued, printer)
        if printing.is_over(queued, self._recorder.now_ms()):
            # It took the disk too long to store the start, and nobody waits for the receipt any more (I6).
            data = printing.failed(queued, Reason.JOB_EXPIRED)
        if isinstance(data, e.PrintFailed):
            self._end(data)
            return True
        try:
            await printer.write(data)
        except DeviceOffline:
            # Nothing was sent: the job waits for the printer to come back.
            self._look_again_soon()
            self._end(printing.put_back(queued, "offline"))
            return False
        except (DriverError, TimeoutError) as error:
            self._end(printing.unknown(queued, str(error)))
            return True
        self._end(printing.outcome(queued, before, await _can_print(printer)))
        return True

    async def _rendered(self, queued: e.PrintQueued, printer: ReceiptPrinter) -> bytes | e.PrintFailed:
        content = self._recorder.journal.attachment(queued.job)
        if content is None:
            return printing.failed(queued, Reason.STORAGE_UNAVAILABLE, "The job's content is lost. Send it again.")
        label = self._copy_label if queued.copy_of is not None else None
        to_bytes = _raw_bytes if queued.content == "raw" else _document_bytes
        try:
            return await self._in_thread(lambda: to_bytes(printer, content, label))
        except (DriverError, ValueError) as error:
            return printing.failed(queued, Reason.MALFORMED, str(error))
        except Exception:
            # Whatever a rendering library runs into with one receipt, the next one shall print.
            log.exception("print_render_failed", printer=self.name, job=queued.job)
            return printing.failed(queued, Reason.DEVICE_FAULT, "This receipt could not be rendered; see the log.")

    def _end(self, event: e.PrintDone | e.PrintFailed | e.PrintHeld | e.PrintUnknown) -> None:
        """Record what became of a job, unless the state was rebuilt meanwhile and has already given it up."""
        if printing.is_printing(self._recorder.state, event.job):
            self._note(event)
        else:
            log.error("print_outcome_too_late", printer=self.name, job=event.job, outcome=type(event).__name__)

    # The queue.

    def _queue(
        self, request: Request, kind: Literal["document", "raw"], content: bytes, copy_of: str | None = None
    ) -> None:
        refuse_while_offline(self._limits, self._port)
        if refusal := printing.refusal(self._recorder.state, self.name, self._limits.print_queue_jobs):
            raise RefusedRequest(denied(refusal, "Too many receipts wait for this printer. Look whether it prints."))
        latest_ms = self._recorder.now_ms() + int(self._limits.print_hold_s * MS_PER_S)
        job = self._recorder.new_id()
        queued = e.PrintQueued(
            job=job,
            printer=self.name,
            client=request.client,
            content=kind,
            size_bytes=len(content),
            digest=sha256(content).hexdigest(),
            expires_at_ms=min(request.expires_at_ms or latest_ms, latest_ms),
            copy_of=copy_of,
            request=request.ref,
        )
        self._recorder.record(queued, attachments={job: content})
        self._wake.set()
        self._plan_expiry()

    def _job(self, request: Request) -> Job:
        job = self._recorder.state.jobs.get(read_data(request, JobData).job)
        if job is None or job.queued.printer != self.name:
            raise RefusedRequest(denied(Reason.UNKNOWN_JOB))
        return job

    def _expire(self) -> None:
        """End what waited too long, also behind a job that is held or takes its time."""
        stored = self._note(*printing.expired(self._recorder.state, self.name, self._recorder.now_ms()))
        # While nothing can be recorded a due job stays due, and its timer must not spin.
        self._plan_expiry(at_least_s=0.0 if stored else LOOK_AGAIN_S)

    def _plan_expiry(self, *, at_least_s: float = 0.0) -> None:
        if self._expiry_timer is not None:
            self._expiry_timer.cancel()
        if (at_ms := printing.next_expiry_ms(self._recorder.state, self.name)) is None:
            return
        delay_s = max(at_least_s, (at_ms - self._recorder.now_ms()) / MS_PER_S)
        self._expiry_timer = asyncio.get_running_loop().call_later(delay_s, self._expiry_due)

    def _expiry_due(self) -> None:
        self._expire()
        self._wake.set()

    def _note(self, *events: e.AnyEvent) -> bool:
        return note(self._recorder, self.name, *events)


async def _status(printer: Printer) -> PrinterStatus | None:
    """Ask; a printer that answers wrongly says as little as one that does not answer. Raises DeviceOffline."""
    try:
        return await printer.status()
    except DeviceOffline:
        raise
    except (DriverError, TimeoutError):
        return None


async def _can_print(printer: Printer) -> bool | None:
    try:
        status = await _status(printer)
    except DeviceOffline:
        return None
    return status.can_print if status is not None else None


def _trouble(status: PrinterStatus) -> str:
    """The word for why a printer cannot print, the one a person can do something about first."""
    if status.cover_open:
        return "cover_open"
    return "paper_out" if status.paper_out else status.error or "offline"


def _without_images(document: Document) -> Document:
    """The document with its pictures left out: decoding them takes too long for the loop that opens gates (I8)."""
    lines = tuple(Feed() if isinstance(block, Image) else block for block in document.lines)
    return msgspec.structs.replace(document, lines=lines)


def _document_bytes(printer: DocumentPrinter, content: bytes, copy_label: str | None) -> bytes:
    document = msgspec.json.decode(content, type=Document)
    if found := problems(document):
        raise ValueError(f"data.document.{found[0]}.")
    return printer.render(document, copy_label)


def _raw_bytes(printer: DocumentPrinter, content: bytes, copy_label: str | None) -> bytes:
    """Raw bytes as they are; a copy has its mark on top, since nobody knows where else in them it could stand."""
    if copy_label is None:
        return content
    mark = Text(text=f"*** {copy_label} ***", align="center", bold=True, double_width=True, double_height=True)
    return printer.render(Document(lines=(mark, Rule()))) + content


def _wrong_state(job: Job, why: str) -> Answer:
    return denied(Reason.WRONG_JOB_STATE, f"This job is {job.status}. {why}", job=job.queued.job, state=job.status)
