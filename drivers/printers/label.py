"""What label printers of every language share: the connection, the status, and a document made into labels."""

from __future__ import annotations

import asyncio
from typing import Annotated, Literal, Protocol

import msgspec

from drivers.api import DeviceFault, DeviceOffline, DeviceTimeout, DriverError, Emit, Online, PrinterStatus
from drivers.codecs.label import Cell, Label, Media, Stock
from drivers.document import Document
from drivers.noise import NoiseReport
from drivers.printers.address import DEFAULT_BAUD, line_time_s
from drivers.printers.label_layout import Page, lay_out
from drivers.printers.logo import Logos
from drivers.printers.printer_options import PrinterOptions
from drivers.transports import Transport, is_lost_within, open_transport

CHUNK_BYTES = 4096
MAX_MISSES = 2
"""Questions in a row without an answer after which a printer that used to answer is taken for gone."""


class LabelOptions(PrinterOptions, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """What the YAML says of a label printer."""

    width_mm: Annotated[float, msgspec.Meta(ge=10, le=220, description="Width of the label.")]
    height_mm: (
        Annotated[float, msgspec.Meta(ge=5, le=1000, description="Height of the label; left out on a continuous roll.")]
        | None
    ) = None
    media: Annotated[
        Media, msgspec.Meta(description="How labels are told apart: gap, black mark on the back, or not at all.")
    ] = "gap"
    gap_mm: Annotated[float, msgspec.Meta(ge=0, le=25, description="Height of the gap or the mark.")] = 3.0
    margin_mm: Annotated[float, msgspec.Meta(ge=0, le=20, description="What stays empty at every edge.")] = 1.5
    dpi: Annotated[Literal[203, 300, 600], msgspec.Meta(description="Resolution, as on the printer's label.")] = 203
    cutter: Annotated[bool, msgspec.Meta(description="Cut after each label.")] = False
    font: Annotated[str, msgspec.Meta(description="TrueType file for text beyond ASCII.")] | None = None

    def __post_init__(self) -> None:
        """Refuse an address that can never work, and labels without a height."""
        super().__post_init__()
        if self.height_mm is None and self.media != "continuous":
            raise ValueError("height_mm: say how high the labels are, or write `media: continuous` for a roll without")
        if self.width_mm <= 2 * self.margin_mm + 5:
            raise ValueError("margin_mm: the margins leave no room on the label")


class Language(Protocol):
    """One label language, as the driver needs it."""

    status_request: bytes
    cells: dict[int, Cell]

    def is_plain(self, text: str) -> bool:
        """Whether the printer prints this text itself; everything else is drawn."""
        ...

    def label(self, page: Label, stock: Stock) -> bytes:
        """One label as commands."""
        ...

    def receive(self, data: bytes) -> tuple[PrinterStatus | None, int]:
        """Take bytes from the printer: the status they complete, and how many bytes were none."""
        ...

    def forget(self) -> None:
        """Drop what has come of an answer: the next question begins."""
        ...


class LabelPrinter:
    """One label printer over all its links. A language makes a driver of it."""

    def __init__(self, options: LabelOptions, emit: Emit, language: Language) -> None:
        self._options = options
        self._emit = emit
        self._language = language
        self._noise = NoiseReport(emit)
        self._stock = Stock(options.dpi, options.media, options.gap_mm)
        self._logos = Logos(options.logos, options.logo)
        self._lock = asyncio.Lock()
        self._link: Transport | None = None
        self._broken: DriverError | None = None
        self._answer: asyncio.Future[PrinterStatus] | None = None
        self._said: PrinterStatus | None = None
        self._answers = False

    def render(self, document: Document, copy_label: str | None = None) -> bytes:
        """See `DocumentPrinter.render`; call it in a thread."""
        labels = lay_out(document, self._page(), copy_label, self._logos.picture(document))
        return b"".join(self._language.label(label, self._stock) for label in labels)

    def _page(self) -> Page:
        options, dots = self._options, self._stock.dots
        return Page(
            width=dots(options.width_mm),
            height=0 if options.media == "continuous" else dots(options.height_mm or 0),
            margin=dots(options.margin_mm),
            cell=self._language.cells[options.dpi],
            is_plain=self._language.is_plain,
            font=options.font,
            cutter=options.cutter,
        )

    async def run(self) -> None:
        """Serve until cancelled or the printer is gone; then raises the DriverError that says why."""
        self._start_over()
        trouble = await asyncio.to_thread(self._logos.trouble)
        async with await open_transport(self._options.connect, self._received, baud=DEFAULT_BAUD) as link:
            self._link = link
            try:
                await self._serve(link, trouble)
            finally:
                self._link = None
                self._noise.close()
            raise self._broken or await link.lost()

    def _start_over(self) -> None:
        self._broken = None
        self._said = None

    async def _serve(self, link: Transport, trouble: str) -> None:
        """Return when the link is gone; raises DeviceTimeout when the printer no longer answers."""
        status = await self._asked(link)
        can_tell = "answers status requests" if status else "cannot say whether it has labels"
        self._emit(Online(f"{can_tell}; {trouble}" if trouble else can_tell))
        self._publish(status)
        misses = 0
        while not await is_lost_within(link, self._options.heartbeat_s if self._asks else None):
            if self._lock.locked():
                continue
            status = await self._asked(link)
            misses = 0 if status or not self._answers else misses + 1
            self._publish(status or PrinterStatus())
            if misses >= MAX_MISSES:
                raise DeviceTimeout(f"{link.name} no longer answers: check its power, its cable and its display")

    async def write(self, data: bytes) -> None:
        """Send a job. After DeviceFault some of it may have been printed, and the link is opened anew."""
        async with self._lock:
            link = self._open_link()
            try:
                async with asyncio.timeout(
                    self._options.write_timeout_s + line_time_s(self._options.connect, len(data))
                ):
                    for start in range(0, len(data), CHUNK_BYTES):
                        link.write(data[start : start + CHUNK_BYTES])
                        await link.drain()
                    # Over a network it is printing until the printer has all of it: a cable that is out holds it up.
                    await link.arrive()
            except (TimeoutError, DriverError) as error:
                why = "it takes no more data: load labels, close the head" if isinstance(error, TimeoutError) else error
                fault = DeviceFault(f"{link.name} got only part of a job, and some of it may be printed: {why}")
                raise self._break(link, fault) from error
            except asyncio.CancelledError:
                # On the same link, the next job would be read as the rest of this one.
                self._break(link, DeviceFault(f"{link.name}: a job was given up half-way; some may be printed"))
                raise

    async def status(self) -> PrinterStatus | None:
        """Ask the printer. None where it does not answer, is taking a job, or is never asked."""
        link = self._open_link()
        if not self._asks or self._lock.locked():
            return None
        status = await self._asked(link)
        self._publish(status)
        return status

    async def kick(self, pin: int) -> None:
        """Raise DeviceOffline: nothing can be plugged into a label printer."""
        raise DeviceOffline(f"{self._options.connect} is a label printer and has no connector for a drawer (pin {pin})")

    @property
    def _asks(self) -> bool:
        return self._options.status == "auto"

    async def _asked(self, link: Transport) -> PrinterStatus | None:
        """Ask once, between jobs; None without an answer. Raises DeviceOffline when the link is gone."""
        if not self._asks:
            return None
        async with self._lock:
            self._language.forget()
            self._answer = asyncio.get_running_loop().create_future()
            try:
                link.write(self._language.status_request)
                async with asyncio.timeout(self._options.status_timeout_ms / 1000):
                    status = await self._answer
            except TimeoutError:
                return None
            finally:
                self._answer = None
        self._answers = True
        return status

    def _received(self, data: bytes) -> None:
        status, refused = self._language.receive(data)
        if status is not None and self._answer is not None and not self._answer.done():
            self._answer.set_result(status)
        elif status is not None:
            refused += len(data)
        if refused:
            self._noise.add(refused, "not the answer to a status request")

    def _publish(self, status: PrinterStatus | None) -> None:
        if status is not None and status != self._said:
            self._said = status
            self._emit(status)

    def _open_link(self) -> Transport:
        if self._link is None:
            raise DeviceOffline(f"{self._options.connect} is not connected: check its power and its cable")
        return self._link

    def _break(self, link: Transport, fault: DriverError) -> DriverError:
        self._broken = fault
        link.abort()
        return fault
