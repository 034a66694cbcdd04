"""Modbus TCP relay boards with inputs."""

from __future__ import annotations

import asyncio
from typing import Annotated, ClassVar, Literal

import msgspec
from msgspec import Meta

from drivers.api import DriverError, Emit
from drivers.codecs import modbus_rtu
from drivers.codecs.modbus_tcp import TcpAnswerDecoder
from drivers.gates.modbus_master import ModbusMaster
from drivers.gates.modbus_relay import ModbusBoardOptions, ModbusRelay
from drivers.gates.pulses import PulseEnds
from drivers.options import TCP_ADDRESS
from drivers.transports import Transport

NO_BAUD = 115_200
"""A socket has no speed of its own; whatever stands here is not used."""


class ModbusTcpOptions(ModbusBoardOptions, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A Modbus TCP relay board, with contacts on its inputs or without."""

    port: Annotated[
        str,
        Meta(
            pattern=rf"^{TCP_ADDRESS}$",
            description="The board's address; 502 is the standard's port.",
            examples=["tcp://192.168.1.200:502"],
        ),
    ]
    pulse: Annotated[
        Literal["board", "gateway"],
        Meta(
            description="Who ends a pulse: board, by the flash-on command of Waveshare's boards; or gateway, for a "
            "board that knows plain coils only."
        ),
    ] = "board"


class ModbusTcpRelay(ModbusRelay):
    """Modbus TCP relay board with inputs (Waveshare and any other): coils, discrete inputs, flash-on where it has it.

    With `pulse: gateway` a timer here opens the relay again; a gateway that was killed amid a pulse leaves the gate
    open until it is back, when every relay is opened first.
    """

    Options: ClassVar[type[msgspec.Struct]] = ModbusTcpOptions

    def __init__(self, options: ModbusTcpOptions, emit: Emit) -> None:
        self._begin(options, emit, options.port, NO_BAUD)
        self.board_timed = options.pulse == "board"
        self._ends = PulseEnds(self._end_pulse)
        self._line: Transport | None = None
        self._opening: set[asyncio.Task[None]] = set()

    async def pulse(self, channel: int, pulse_ms: int) -> None:
        """Close relay `channel` for `pulse_ms` and return when the board has confirmed it; raises as a lock does."""
        if self.board_timed:
            await super().pulse(channel, pulse_ms)
            return
        master = self._require(channel)
        self._may_be_closed.add(channel)
        with self._ends.pulse(channel, pulse_ms):
            await self._command(master, modbus_rtu.write_coil(self._options.unit, channel - 1, closed=True))

    async def hold(self, channel: int, active: bool) -> None:
        """Close (`active`) or open relay `channel` until told otherwise; raises as `pulse` does."""
        with self._ends.hold(channel, active):
            await super().hold(channel, active)

    async def _serve(self, transport: Transport) -> None:
        self._line = transport
        try:
            await super()._serve(transport)
        finally:
            self._ends.clear()
            self._line = None

    def _new_master(self, transport: Transport) -> ModbusMaster:
        # Frames carry their own length, so no silence has to part them.
        answer_timeout_s = self._options.answer_timeout_ms / 1000
        return ModbusMaster(
            transport, self._noise, answer_timeout_s=answer_timeout_s, frame_gap_s=0.0, decoder=TcpAnswerDecoder()
        )

    def _end_pulse(self, channel: int) -> None:
        if self._master is None:
            return
        task = asyncio.get_running_loop().create_task(self._open_again(self._master, channel))
        self._opening.add(task)
        task.add_done_callback(self._opening.discard)

    async def _open_again(self, master: ModbusMaster, channel: int) -> None:
        try:
            await self._command(master, modbus_rtu.write_coil(self._options.unit, channel - 1, closed=False))
        except DriverError:
            # The relay may still be closed. A new connection begins with opening it, so force one.
            if self._line is not None:
                self._line.abort()
        else:
            if channel not in self._ends.may_be_closed:
                self._may_be_closed.discard(channel)
