"""The LCUS serial relay board."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Iterable
from typing import Annotated, ClassVar

import msgspec
from msgspec import Meta

from drivers.api import DeviceFault, DeviceOffline, DeviceTimeout, DriverError, Emit, Online
from drivers.codecs.lcus import encode_switch
from drivers.gates.pulses import PulseEnds
from drivers.noise import NoiseReport
from drivers.options import Port
from drivers.transports import Transport, open_transport

WRITE_TIMEOUT_S = 0.5


class LcusOptions(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """An LCUS-1, -2, -4 or -8 board; its speed is always 9600 baud."""

    port: Port
    channels: Annotated[int, Meta(ge=1, le=8, description="How many relays the board has.")] = 1


class LcusRelay:
    """LCUS serial relay board (LCUS-1 to -8): four-byte switch commands at 9600 baud, and no answer to any of them.

    The board cannot time a pulse, so a timer here opens the relay again, and every relay is opened when a connection
    begins and when it ends: a gateway that was killed amid a pulse leaves the gate open only until it is back.
    """

    Options: ClassVar[type[msgspec.Struct]] = LcusOptions
    board_timed = False

    def __init__(self, options: LcusOptions, emit: Emit) -> None:
        self.channels = options.channels
        self._options = options
        self._emit = emit
        self._noise = NoiseReport(emit)
        self._transport: Transport | None = None
        self._ends = PulseEnds(self._end_pulse)

    async def run(self) -> None:
        """Serve until cancelled; raises DriverError when the port cannot be opened or is gone."""
        try:
            async with await open_transport(self._options.port, self._on_bytes) as transport:
                await self._serve(transport)
        finally:
            self._noise.close()

    async def pulse(self, channel: int, pulse_ms: int) -> None:
        """Close relay `channel` now and open it after `pulse_ms`, or when a pulse that runs already would end if later.

        Raises DeviceOffline when the board is not there, or took nothing of the command within half a second: then the
        command is thrown away and not carried out later. Raises DeviceTimeout when nobody knows what the board took,
        and DeviceFault for a channel the board does not have.
        """
        transport = self._require(channel)
        before_bytes = transport.taken_bytes
        transport.write(encode_switch(channel, closed=True))
        self._ends.begin(channel, pulse_ms)
        await self._sent(transport, before_bytes)

    async def hold(self, channel: int, active: bool) -> None:
        """Close (`active`) or open relay `channel` until told otherwise; raises as `pulse` does."""
        transport = self._require(channel)
        before_bytes = transport.taken_bytes
        with self._ends.hold(channel, active):
            transport.write(encode_switch(channel, closed=active))
            await self._sent(transport, before_bytes)

    async def _serve(self, transport: Transport) -> None:
        try:
            self._open_relays(transport, range(1, self.channels + 1))
            self._transport = transport
            self._emit(Online())
            raise await transport.lost()
        finally:
            self._transport = None
            self._stop(transport)

    def _stop(self, transport: Transport) -> None:
        closed = sorted(self._ends.may_be_closed)
        self._ends.clear()
        if not transport.closed.done():
            with contextlib.suppress(DriverError):
                self._open_relays(transport, closed)

    def _open_relays(self, transport: Transport, channels: Iterable[int]) -> None:
        for channel in channels:
            transport.write(encode_switch(channel, closed=False))

    def _require(self, channel: int) -> Transport:
        if not 1 <= channel <= self.channels:
            raise DeviceFault(f"there is no relay {channel} on {self._options.port}: it has 1 to {self.channels}")
        if self._transport is None:
            raise DeviceOffline(f"the relay board on {self._options.port} is not connected")
        return self._transport

    def _end_pulse(self, channel: int) -> None:
        if self._transport is None:
            return
        try:
            self._transport.write(encode_switch(channel, closed=False))
        except DriverError:
            # The relay may still be closed. A new connection begins with opening it, so force one.
            self._transport.abort()

    async def _sent(self, transport: Transport, before_bytes: int) -> None:
        """Return when a command has left this process, and over a network has arrived at the board's converter.

        The transport had taken `before_bytes` when it was written.
        """
        if not transport.undelivered_bytes:
            return
        try:
            async with asyncio.timeout(WRITE_TIMEOUT_S):
                await transport.arrive()
        except TimeoutError:
            untouched = transport.taken_bytes - transport.unsent_bytes <= before_bytes
            transport.abort()
            # Offline means that the relay did not move, which is only known while the whole command is still here.
            kind = DeviceOffline if untouched else DeviceTimeout
            raise kind(f"{transport.name} takes no data: unplug the relay board and plug it in again") from None
        except DriverError as error:
            raise DeviceTimeout(f"the link broke while a command was on its way: {error}") from error
        except asyncio.CancelledError:
            transport.abort()
            raise

    def _on_bytes(self, data: bytes) -> None:
        self._noise.add(len(data), "an LCUS board never says anything")
