"""Modbus RTU relay boards with inputs."""

from __future__ import annotations

import asyncio
import contextlib
from typing import Annotated, ClassVar

import msgspec
from msgspec import Meta

from drivers.api import DeviceFault, DeviceOffline, DeviceTimeout, DriverError, Emit, InputChanged, Online
from drivers.codecs import modbus_rtu
from drivers.codecs.modbus_rtu import Bits, ModbusException, Request
from drivers.gates.modbus_master import ModbusMaster
from drivers.noise import NoiseReport
from drivers.options import Baud, Port
from drivers.transports import Transport, open_transport

ATTEMPTS = 3
HEARTBEAT_S = 1.0
CLOSE_TIMEOUT_S = 1.0


class ModbusBoardOptions(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What every Modbus relay board has, however it is connected."""

    unit: Annotated[int, Meta(ge=1, le=247, description="The board's Modbus address, as set on the board.")] = 1
    relays: Annotated[int, Meta(ge=1, le=64, description="How many relays the board has.")] = 8
    inputs: Annotated[int, Meta(ge=0, le=64, description="How many inputs the board has; 0 for none.")] = 8
    idle_closed: Annotated[
        tuple[int, ...],
        Meta(max_length=64, description="Inputs, from 1, whose contact is closed while nothing happens."),
    ] = ()
    poll_ms: Annotated[int, Meta(ge=10, le=10_000, description="Pause between two looks at the inputs.")] = 50
    answer_timeout_ms: Annotated[
        int, Meta(ge=20, le=5_000, description="How long the board may take to answer one request.")
    ] = 200

    def __post_init__(self) -> None:
        if any(not 1 <= channel <= self.inputs for channel in self.idle_closed):
            raise ValueError(f"idle_closed names inputs from 1 to {self.inputs} only, which is what `inputs` says")


class ModbusRelayOptions(ModbusBoardOptions, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A Modbus RTU relay board, alone on its bus, with contacts on its inputs or without."""

    port: Port
    baud: Baud = 9600


class ModbusRelay:
    """Modbus RTU relay board with inputs (Waveshare and alike): coils, discrete inputs and flash-on at 9600 baud.

    A pulse is the board's own flash-on, which ends by itself, also if this process dies. Relays that are found closed
    when a connection begins are opened; those held by `hold` are opened when it ends.
    """

    Options: ClassVar[type[msgspec.Struct]] = ModbusRelayOptions
    board_timed = True

    def __init__(self, options: ModbusRelayOptions, emit: Emit) -> None:
        self._begin(options, emit, options.port, options.baud)

    def _begin(self, options: ModbusBoardOptions, emit: Emit, port: str, baud: int) -> None:
        """Start with no link; a network board has no use for `baud`."""
        self.channels = options.relays
        self.notice_s = ATTEMPTS * options.answer_timeout_ms / 1000 + options.poll_ms / 1000
        self._port = port
        self._baud = baud
        self._options = options
        self._emit = emit
        self._noise = NoiseReport(emit)
        self._master: ModbusMaster | None = None
        self._online = False
        self._active_inputs: set[int] = set()
        self._pulse_ends_s: dict[int, float] = {}
        self._held: set[int] = set()
        self._may_be_closed: set[int] = set()

    async def run(self) -> None:
        """Serve until cancelled; raises DriverError when the port is gone or the board has not answered three times."""
        try:
            async with await open_transport(self._port, self._on_bytes, baud=self._baud) as transport:
                await self._serve(transport)
        finally:
            self._noise.close()

    async def pulse(self, channel: int, pulse_ms: int) -> None:
        """Close relay `channel` for `pulse_ms`, rounded up to 100 ms, and return when the board has confirmed it.

        A pulse never shortens one that runs. Raises DeviceOffline when the board is not there, DeviceTimeout when it
        did not confirm (then nobody knows whether it did it), DeviceFault when it refused.
        """
        master = self._require(channel)
        if channel in self._held:
            await self._command(master, modbus_rtu.write_coil(self._options.unit, channel - 1, closed=True))
            return
        now_s = asyncio.get_running_loop().time()
        end_s = max(now_s + pulse_ms / 1000, self._pulse_ends_s.get(channel, 0.0))
        request = self._flash_on(channel, round((end_s - now_s) * 1000))
        self._pulse_ends_s[channel] = end_s
        try:
            await self._command(master, request)
        except DriverError:
            self._pulse_ends_s.pop(channel, None)
            raise

    async def hold(self, channel: int, active: bool) -> None:
        """Close (`active`) or open relay `channel` until told otherwise; raises as `pulse` does."""
        master = self._require(channel)
        self._pulse_ends_s.pop(channel, None)
        self._held.discard(channel)
        if active:
            self._held.add(channel)
            self._may_be_closed.add(channel)
        try:
            await self._command(master, modbus_rtu.write_coil(self._options.unit, channel - 1, closed=active))
        except DriverError:
            # A pulse must not take this relay for held: it would never end.
            self._held.discard(channel)
            raise
        if not active:
            self._may_be_closed.discard(channel)

    async def _serve(self, transport: Transport) -> None:
        self._master = master = self._new_master(transport)
        try:
            await self._open_closed_relays(master)
            first = await self._ask_patiently(master, self._poll_request())
            self._online = True
            self._emit(Online(f"unit {self._options.unit}"))
            self._note_inputs(first, also=frozenset(self._active_inputs))
            await self._poll(master, transport)
        finally:
            self._online = False
            await self._release(master, transport)
            self._master = None

    def _new_master(self, transport: Transport) -> ModbusMaster:
        # The standard's silence between frames: 3.5 characters of 11 bits, and 1.75 ms above 19200 baud.
        gap_s = 3.5 * 11 / self._baud if self._baud <= 19_200 else 0.00175
        answer_timeout_s = self._options.answer_timeout_ms / 1000
        return ModbusMaster(transport, self._noise, answer_timeout_s=answer_timeout_s, frame_gap_s=gap_s)

    async def _open_closed_relays(self, master: ModbusMaster) -> None:
        """Begin from a known state: whoever closed a relay before is not there any more to open it."""
        options = self._options
        relays = await self._ask_patiently(master, modbus_rtu.read_coils(options.unit, options.relays))
        for relay, closed in enumerate(relays.values):
            if closed:
                await self._command(master, modbus_rtu.write_coil(options.unit, relay, closed=False))

    async def _poll(self, master: ModbusMaster, transport: Transport) -> None:
        poll_s = self._options.poll_ms / 1000
        pause_s = poll_s if self._options.inputs else max(poll_s, HEARTBEAT_S)
        while True:
            await asyncio.wait({transport.closed}, timeout=pause_s)
            self._note_inputs(await self._ask_patiently(master, self._poll_request()))

    def _poll_request(self) -> Request:
        options = self._options
        if options.inputs:
            return modbus_rtu.read_discrete_inputs(options.unit, options.inputs)
        return modbus_rtu.read_coils(options.unit, options.relays)

    async def _ask_patiently(self, master: ModbusMaster, request: Request) -> Bits:
        """Read, and try again where no answer comes; a command is never sent twice like this."""
        for _ in range(ATTEMPTS):
            with contextlib.suppress(DeviceTimeout):
                answer = await master.ask(request)
                if isinstance(answer, Bits):
                    return answer
                raise DeviceFault(f"{self._name()} does not say its state: {_meaning(answer)}; check relays and inputs")
        raise DeviceOffline(
            f"{self._name()} does not answer: check its power, the A and B wires, its address and its baud rate"
        )

    async def _command(self, master: ModbusMaster, request: Request) -> None:
        answer = await master.ask(request, urgent=True)
        if isinstance(answer, ModbusException):
            raise DeviceFault(f"{self._name()} did not switch the relay: {answer.meaning}")

    async def _release(self, master: ModbusMaster, transport: Transport) -> None:
        """Open what `hold` left closed, if the board still listens, within a bounded time."""
        left, self._may_be_closed = sorted(self._may_be_closed), set()
        self._held.clear()
        self._pulse_ends_s.clear()
        if transport.closed.done():
            return
        with contextlib.suppress(DriverError, TimeoutError):
            async with asyncio.timeout(CLOSE_TIMEOUT_S):
                for channel in left:
                    await self._command(master, modbus_rtu.write_coil(self._options.unit, channel - 1, closed=False))

    def _note_inputs(self, answer: Bits, also: frozenset[int] = frozenset()) -> None:
        """Emit what changed, and at the start of a connection (`also`) again what was active before it."""
        if not self._options.inputs:
            return
        for channel, closed in enumerate(answer.values, start=1):
            active = closed != (channel in self._options.idle_closed)
            if active != (channel in self._active_inputs) or channel in also:
                (self._active_inputs.add if active else self._active_inputs.discard)(channel)
                self._emit(InputChanged(channel, active))

    def _flash_on(self, channel: int, pulse_ms: int) -> Request:
        try:
            return modbus_rtu.flash_on(self._options.unit, channel - 1, pulse_ms)
        except ValueError as error:
            raise DeviceFault(f"{self._name()} cannot do this pulse: {error}") from error

    def _require(self, channel: int) -> ModbusMaster:
        if not 1 <= channel <= self.channels:
            raise DeviceFault(f"there is no relay {channel} on {self._name()}: it has 1 to {self.channels}")
        if self._master is None or not self._online:
            raise DeviceOffline(f"{self._name()} is not connected")
        return self._master

    def _name(self) -> str:
        return f"Modbus unit {self._options.unit} on {self._port}"

    def _on_bytes(self, data: bytes) -> None:
        if self._master is not None:
            self._master.receive_data(data)


def _meaning(answer: object) -> str:
    return answer.meaning if isinstance(answer, ModbusException) else "it answered something else"
