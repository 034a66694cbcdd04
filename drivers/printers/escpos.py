"""A receipt printer that speaks ESC/POS, on the network, on USB or on a serial port.

It is asked how it is when the link opens, every few seconds, and before a drawer pulse; where it can, it also says so
by itself (ASB). All bytes go out under one lock: a status request between the bytes of a picture would spoil it.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from typing import Annotated, ClassVar

import msgspec

from drivers.api import DeviceFault, DeviceOffline, DeviceTimeout, DriverError, Emit, Online, PrinterStatus
from drivers.codecs import escpos as commands
from drivers.document import Document, WidthChars
from drivers.printers import escpos_library
from drivers.printers.address import DEFAULT_BAUD, line_time_s
from drivers.printers.escpos_asking import StatusChannel
from drivers.printers.escpos_profile import load_profile
from drivers.printers.escpos_render import render
from drivers.printers.logo import Logos
from drivers.printers.printer_options import PrinterOptions
from drivers.transports import Transport, is_lost_within, open_transport

CHUNK_BYTES = 1024
MAX_MISSES = 2
"""Heartbeats in a row without an answer after which a printer that used to answer is taken for gone."""
PULSE_WAIT_S = 1.5
"""How long a drawer pulse waits for the job before it and for the printer's status; opened later, nobody would stand at
the drawer."""
PULSE_SEND_S = 0.5
"""How long the pulse itself may take to leave this process."""
QUIET_CLOSE_AFTER_S = 1.0
"""A link that lived this long and is closed between jobs was closed for idleness, and is opened again."""


class EscposOptions(PrinterOptions, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """What the YAML says of an ESC/POS printer."""

    profile: Annotated[str, msgspec.Meta(description="Model, by its name in python-escpos's profiles.")] = "default"
    width_chars: WidthChars | None = None
    font: Annotated[str, msgspec.Meta(description="TrueType file for text that no code page has.")] | None = None
    cancel_kanji: Annotated[bool, msgspec.Meta(description="For printers that print umlauts as ideographs.")] = False

    def __post_init__(self) -> None:
        """Refuse an address or a profile that can never work."""
        super().__post_init__()
        load_profile(self.profile)


class EscposPrinter:
    """ESC/POS receipt printer (Epson TM and alike) on the network, USB or serial: DLE EOT status and ASB."""

    Options: ClassVar[type[msgspec.Struct]] = EscposOptions

    def __init__(self, options: EscposOptions, emit: Emit) -> None:
        self._options = options
        self._emit = emit
        self._profile = load_profile(
            options.profile, width_chars=options.width_chars, font=options.font, cancel_kanji=options.cancel_kanji
        )
        self._asks = options.status == "auto"
        self._logos = Logos(options.logos, options.logo)
        self._channel = StatusChannel(emit, options.status_timeout_ms / 1000)
        self._lock = asyncio.Lock()
        self._link: Transport | None = None
        self._trouble = ""
        self._broken: DriverError | None = None

    def render(self, document: Document, copy_label: str | None = None) -> bytes:
        """See `DocumentPrinter.render`; call it in a thread."""
        return render(document, self._profile, copy_label, self._logos.picture(document))

    async def run(self) -> None:
        """Serve until cancelled or the printer is gone. A link closed for idleness is opened again without a word."""
        self._start_over()
        # A quarter of a second the first time; here, so that no receipt waits for it.
        await asyncio.to_thread(escpos_library.load)
        self._trouble = await asyncio.to_thread(self._logos.trouble)
        first = True
        while True:
            link = await self._open()
            opened_s = _now_s()
            async with link:
                try:
                    await self._serve(link, first=first)
                finally:
                    self._link = None
                    self._channel.close()
                reason = await link.lost()
            if self._broken is not None or _now_s() - opened_s < QUIET_CLOSE_AFTER_S:
                raise self._broken or reason
            first = False

    def _start_over(self) -> None:
        self._broken = None
        self._channel.restart()

    async def write(self, data: bytes) -> None:
        """Send a job. After DeviceFault some of it may have been printed, and the link is opened anew."""
        async with self._lock:
            link = self._open_link()
            link.write(data[:CHUNK_BYTES])
            try:
                async with asyncio.timeout(self._allowed_s(len(data))):
                    await link.drain()
                    for start in range(CHUNK_BYTES, len(data), CHUNK_BYTES):
                        link.write(data[start : start + CHUNK_BYTES])
                        await link.drain()
                    self._want_pushes(link)
                    # Over a network it is printing until the printer has all of it: a cable that is out holds it up.
                    await link.arrive()
            except (TimeoutError, DriverError) as error:
                raise self._break(link, _half_sent(link.name, error)) from error
            except asyncio.CancelledError:
                # On the same link, the next job would be read as the rest of this one.
                self._break(link, DeviceFault(f"{link.name}: a job was given up half-way; some of it may be printed"))
                raise

    async def status(self) -> PrinterStatus | None:
        """Ask the printer. None where it does not answer, is taking a job, or is never asked (`status: none`)."""
        self._open_link()
        if not self._asks:
            return None
        try:
            async with self._turn(self._options.status_timeout_ms / 1000) as link:
                return await self._channel.ask(link)
        except TimeoutError:
            return None

    async def kick(self, pin: int) -> None:
        """Pulse drawer pin 2 or 5, between jobs; a printer that cannot print gets the real-time pulse.

        Raises DeviceTimeout, with nothing sent, where the pulse would come late: when someone loads paper, say. A call
        that is cancelled sends nothing afterwards; what it had written is thrown away with the link.
        """
        self._open_link()
        wait_until_s = _now_s() + PULSE_WAIT_S
        try:
            async with self._turn(PULSE_WAIT_S) as link:
                async with asyncio.timeout_at(wait_until_s):
                    pulse = await self._pulse_for_now(link, pin)
                await self._send_pulse(link, pulse)
        except TimeoutError as error:
            raise DeviceTimeout(
                f"{self._options.connect} takes a job or does not answer, so the drawer was not opened; "
                "look at the printer"
            ) from error

    async def _pulse_for_now(self, link: Transport, pin: int) -> bytes:
        """Ask how the printer is and return the pulse that it carries out at once. Sends no pulse itself."""
        status = await self._channel.ask(link) if self._channel.answers else None
        if status is None and self._channel.answers:
            raise DeviceTimeout(f"{link.name} does not answer, so the drawer was not opened; look at the printer")
        # A printer that waits for paper keeps what comes in its turn, and would open the drawer with nobody there.
        stopped = status is not None and status.can_print is False
        return commands.real_time_drawer_pulse(pin) if stopped else commands.drawer_pulse(pin)

    async def _send_pulse(self, link: Transport, pulse: bytes) -> None:
        link.write(pulse)
        fault = DeviceFault(f"{link.name} did not take the drawer pulse in time; check whether the drawer is open")
        try:
            async with asyncio.timeout(PULSE_SEND_S):
                await link.arrive()
        except (TimeoutError, DriverError) as error:
            raise self._break(link, fault) from error
        except asyncio.CancelledError:
            # Whoever asked has gone: what is still here must not open the drawer when the printer listens again.
            self._break(link, fault)
            raise

    async def _open(self) -> Transport:
        """A new link. Under the lock, so that a job that comes meanwhile waits for it instead of failing."""
        async with self._lock:
            if self._broken is not None:
                raise self._broken
            self._channel.new_link()
            self._link = await open_transport(self._options.connect, self._channel.receive, baud=DEFAULT_BAUD)
            return self._link

    async def _serve(self, link: Transport, *, first: bool) -> None:
        """Return when the link is gone; raises DeviceTimeout when the printer no longer answers."""
        try:
            await self._greet(link, first=first)
            misses = 0
            while not await is_lost_within(link, self._options.heartbeat_s if self._asks else None):
                misses = 0 if await self._is_well(link) else misses + 1
                if misses >= MAX_MISSES:
                    raise DeviceTimeout(f"{link.name} no longer answers: check its power, its cable and its display")
        except DeviceOffline:
            # The link broke under a question; why, the link itself says best.
            link.abort()

    async def _greet(self, link: Transport, *, first: bool) -> None:
        """Learn how the printer is, then say that it is there."""
        status, answered_before = None, self._channel.answers
        if self._asks:
            async with self._lock:
                self._want_pushes(link)
                status = await self._channel.ask(link)
        if status is None and answered_before:
            raise DeviceTimeout(f"{link.name} is connected but does not answer: switch the printer off and on")
        if first:
            can_tell = "answers status requests" if status else "cannot say whether it has paper"
            self._emit(Online(f"{can_tell}; {self._trouble}" if self._trouble else can_tell))
            self._channel.announced()

    async def _is_well(self, link: Transport) -> bool:
        """Whether the printer answers, or never did; a job under way is watched by its own timeout."""
        if self._lock.locked():
            return True
        async with self._lock:
            status = await self._channel.ask(link)
        if status is not None or not self._channel.answers:
            return True
        self._channel.cannot_say()
        return False

    @contextlib.asynccontextmanager
    async def _turn(self, wait_s: float) -> AsyncIterator[Transport]:
        """The link with nobody else on it; raises TimeoutError when a job holds it for longer than `wait_s`."""
        async with asyncio.timeout(wait_s):
            await self._lock.acquire()
        try:
            yield self._open_link()
        finally:
            self._lock.release()

    def _want_pushes(self, link: Transport) -> None:
        """Switch automatic status on: at first, and after each job, whose reset (`ESC @`) may have switched it off.

        The printer executes it in its turn and answers with its status: the word that the job has been processed.
        """
        if self._asks:
            link.write(commands.ENABLE_ASB)

    def _allowed_s(self, byte_count: int) -> float:
        """How long a job may take."""
        return self._options.write_timeout_s + line_time_s(self._options.connect, byte_count)

    def _open_link(self) -> Transport:
        if self._link is None:
            raise DeviceOffline(f"{self._options.connect} is not connected: check its power and its cable")
        return self._link

    def _break(self, link: Transport, fault: DriverError) -> DriverError:
        """Give the link up, with what was not sent yet, so that nothing of it is carried out late."""
        self._broken = fault
        link.abort()
        return fault


def _half_sent(name: str, error: Exception) -> DeviceFault:
    why = "it takes no more data: load paper, close the cover" if isinstance(error, TimeoutError) else str(error)
    return DeviceFault(f"{name} got only part of a job, and some of it may be printed: {why}")


def _now_s() -> float:
    return asyncio.get_running_loop().time()
