"""An RS-485 bus with OSDP readers on it: one serial port, one frame at a time, everyone asked in turn."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Annotated, ClassVar

import msgspec
from msgspec import Meta

from drivers.api import DeviceFault, DeviceOffline, DriverError, Emit, Online
from drivers.codecs.decoder import Refused
from drivers.codecs.osdp import Frame, OsdpDecoder
from drivers.codecs.osdp_panel import CameOnline, Lost, Panel, PanelEvent
from drivers.noise import NoiseReport
from drivers.options import Baud, Port
from drivers.transports import Transport, open_transport

PROBE_S = 1.0
"""A reader that is away is asked so seldom, because everyone else waits while it says nothing."""
SILENCE_CHARACTERS = 2
BITS_A_CHARACTER = 10


class OsdpBusOptions(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The serial port of an RS-485 bus with OSDP readers; each reader names it as its `bus`."""

    port: Port
    baud: Baud = 9600
    poll_ms: Annotated[
        int, Meta(ge=5, le=1000, description="How often each reader is asked; the bus itself may be slower.")
    ] = 25
    answer_timeout_ms: Annotated[
        int, Meta(ge=20, le=1000, description="How long a reader may take to answer; the standard allows 200.")
    ] = 200


class Seat:
    """One reader's place on the bus: its panel, whom to tell, and how its service ended."""

    def __init__(self, panel: Panel, on_event: Callable[[PanelEvent], None], *, known: str = "") -> None:
        """Take the panel's side of the reader; the reason `known` why it is away ends nothing when it is met again."""
        self.panel = panel
        self.ended: asyncio.Future[DriverError] = asyncio.get_running_loop().create_future()
        self.asked_s = 0.0
        self._on_event = on_event
        self._known = known

    def tell(self, event: PanelEvent) -> None:
        """Pass an event on; the loss of the reader ends its service."""
        if self.ended.done():
            return
        if isinstance(event, CameOnline):
            self._known = ""
        if isinstance(event, Lost):
            self.end(DeviceOffline(f"OSDP reader {self.panel.address} {event.why}"))
        else:
            self._on_event(event)

    def end(self, error: DriverError) -> None:
        """Note why there is no reader here, unless that is known: then wait for it however long it takes."""
        if str(error) != self._known and not self.ended.done():
            self.ended.set_result(error)


class OsdpBus:
    """OSDP bus (RS-485, IEC 60839-11-5): one serial port that several OSDP readers share.

    Asks each reader in turn, as soon as the one before has answered and no sooner than its `poll_ms`. It has nothing to
    read itself: its readers are devices of their own.
    """

    Options: ClassVar[type[msgspec.Struct]] = OsdpBusOptions

    def __init__(self, options: OsdpBusOptions, emit: Emit) -> None:
        self._options = options
        self._emit = emit
        self._noise = NoiseReport(emit)
        self._decoder = OsdpDecoder()
        self._seats: dict[int, Seat] = {}
        self._transport: Transport | None = None
        self._asked: Seat | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._quiet_from_s = 0.0
        self._free_s = 0.0
        self._probe_from_s = 0.0

    async def run(self) -> None:
        """Serve the readers until cancelled; raises DriverError when the port cannot be opened or is gone."""
        options = self._options
        self._decoder = OsdpDecoder()
        why: DriverError = DeviceOffline(f"the OSDP bus on {options.port} was stopped")
        try:
            async with await open_transport(options.port, self._on_bytes, baud=options.baud) as transport:
                self._transport = transport
                self._emit(Online())
                self._turn()
                raise await transport.lost()
        except DriverError as error:
            why = error
            raise
        finally:
            self._stop(why)

    @contextmanager
    def seated(self, seat: Seat) -> Iterator[None]:
        """Serve a reader inside the block; raises DeviceFault when its address is taken."""
        address = seat.panel.address
        if address in self._seats:
            raise DeviceFault(f"there is an OSDP reader {address} on {self._options.port} already: change one address")
        self._seats[address] = seat
        self.hurry()
        try:
            yield
        finally:
            # Who was asked last may be answering still, so its turn ends as every other: nobody talks into it.
            seat.ended.cancel()
            del self._seats[address]

    def hurry(self) -> None:
        """Look again who is next: there is something new to send."""
        if self._asked is None and self._transport is not None:
            self._turn()

    def _stop(self, why: DriverError) -> None:
        for seat in self._seats.values():
            seat.end(why)
        self._transport, self._asked = None, None
        self._set_timer(None, self._turn)
        self._noise.close()

    def _turn(self) -> None:
        """Ask the reader that is due first, or wait until one is."""
        seat = min(self._seats.values(), key=self._rank, default=None)
        if seat is None:
            self._set_timer(None, self._turn)
            return
        now_s = asyncio.get_running_loop().time()
        # Nobody talks into an answer; but a line that is never quiet must not keep everyone from being found silent.
        quiet_s = min(self._quiet_from_s, self._free_s + self._options.answer_timeout_ms / 1000)
        start_s = max(self._rank(seat)[0], quiet_s)
        if start_s > now_s:
            self._set_timer(start_s, self._turn)
        else:
            self._ask(seat, now_s)

    def _rank(self, seat: Seat) -> tuple[float, float]:
        """Return when a reader is due and when it was asked last: of those due, the one longest ago goes first."""
        if not seat.panel.present:
            return max(seat.asked_s, self._probe_from_s), seat.asked_s
        pause_s = 0.0 if seat.panel.in_a_hurry else self._options.poll_ms / 1000
        return seat.asked_s + pause_s, seat.asked_s

    def _ask(self, seat: Seat, now_s: float) -> None:
        if self._transport is None:
            return
        self._asked = seat
        seat.asked_s = now_s
        # Where the link has just broken, or its converter takes nothing, no answer is how that ends.
        with suppress(DriverError):
            self._transport.write(seat.panel.frame())
        self._set_timer(now_s + self._options.answer_timeout_ms / 1000, self._on_silence)

    def _on_silence(self) -> None:
        seat = self._asked
        self._decoder.reset()
        if seat is not None:
            if not seat.panel.present:
                self._probe_from_s = asyncio.get_running_loop().time() + PROBE_S
            events = seat.panel.silent()
            self._answered(seat)
            self._tell(seat, events)

    def _on_bytes(self, data: bytes) -> None:
        self._quiet_from_s = asyncio.get_running_loop().time() + self._silence_s
        self._decoder.receive_data(data)
        for event in self._decoder:
            if isinstance(event, Refused):
                self._noise.add(event.byte_count, event.why)
            else:
                self._heard(event)

    def _heard(self, frame: Frame) -> None:
        seat = self._asked
        events = None if seat is None else seat.panel.take(frame)
        if seat is not None and events is not None:
            self._answered(seat)
            self._tell(seat, events)

    def _tell(self, seat: Seat, events: list[PanelEvent]) -> None:
        for event in events:
            seat.tell(event)

    def _answered(self, seat: Seat) -> None:
        """Go on with whoever is next, from the loop: events are told first."""
        if self._asked is seat:
            self._asked = None
            self._free_s = asyncio.get_running_loop().time()
            self._set_timer(self._quiet_from_s, self._turn)

    @property
    def _silence_s(self) -> float:
        return SILENCE_CHARACTERS * BITS_A_CHARACTER / self._options.baud

    def _set_timer(self, at_s: float | None, callback: Callable[[], None]) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._timer = None if at_s is None else asyncio.get_running_loop().call_at(at_s, callback)
