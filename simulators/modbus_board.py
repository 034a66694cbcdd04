"""A simulated Modbus RTU relay board with contact inputs, as Waveshare's.

Frames and the timed pulses are from the maker's manual (waveshare.com/wiki/Modbus_RTU_Relay), the framing from
"MODBUS over Serial Line" 1.02. Whether the real board refuses a pulse of no length is unverified; this one does.
"""

from __future__ import annotations

import argparse
import asyncio
from pathlib import Path
from typing import Any, ClassVar

from simulators.device import Command, CommandRefusedError, Device, Raw, Silent
from simulators.line import Line
from simulators.modbus import MAX_FRAME_BYTES, Fault, ModbusError, Request, expected_length, pack_bits, seal, unseal
from simulators.process import add_link, device_parser, run_device
from simulators.pty_line import PtyLine
from simulators.relays import Relays

# The standard asks for 3.5 characters (4 ms at 9600 baud). A pty delivers a frame in pieces whenever the sender is
# scheduled, so silence here is longer.
SILENCE_S = 0.03
ALL_CHANNELS = 0xFF
FLASH_UNIT_S = 0.1
MAX_FLASH = 0x7FFF


class Input(Command):
    """Set the contact input `channel` (from 1)."""

    channel: int
    active: bool


class PulseInput(Command, tag="pulse_input"):
    """Make the contact input `channel` active for `ms` milliseconds, as a person passing does."""

    channel: int
    ms: int = 300


class Log(Command):
    """Answer with the last relay changes and their times."""


class ModbusBoard(Device):
    """The board at Modbus address `unit`. It only answers what is addressed to it and has a right CRC."""

    kind: ClassVar[str] = "modbus_board"
    commands: ClassVar[tuple[type[Command], ...]] = (Input, PulseInput, Raw, Silent, Log)

    def __init__(
        self, line: Line, relays: int = 8, inputs: int = 8, unit: int = 1, log_file: Path | None = None
    ) -> None:
        super().__init__(line)
        self._unit = unit
        self._relays = Relays(relays, log_file)
        self._inputs = [False] * inputs
        self._buffer = bytearray()
        self._silence: asyncio.TimerHandle | None = None
        self._timers: dict[int, asyncio.TimerHandle] = {}
        self._input_timers: dict[int, asyncio.TimerHandle] = {}
        self._requests = 0
        self._bad_frames = 0
        self._silent = False

    def state(self) -> dict[str, Any]:
        """Adds `relays`, `inputs` (a list, channel 1 first), `requests`, `bad_frames`, `unit` and `silent`."""
        return {
            **super().state(),
            "unit": self._unit,
            "relays": self._relays.state(),
            "inputs": list(self._inputs),
            "requests": self._requests,
            "bad_frames": self._bad_frames,
            "buffered_bytes": len(self._buffer),
            "silent": self._silent,
        }

    def do(self, command: Command) -> dict[str, Any] | None:
        """`input`, `pulse_input`, `silent` and `log` besides what every device can."""
        match command:
            case Input(channel=channel, active=active):
                self._set_input(channel, active=active)
            case PulseInput(channel=channel, ms=ms):
                self._pulse_input(channel, ms)
            case Silent(on=on):
                self._silent = on
                self.changed()
            case Log():
                return {"log": self._relays.log()}
            case _:
                return super().do(command)
        return None

    def close(self) -> None:
        """Stop every pulse, close the log and give back the line."""
        for timer in (*self._timers.values(), *self._input_timers.values()):
            timer.cancel()
        if self._silence is not None:
            self._silence.cancel()
        super().close()
        self._relays.close()

    def receive(self, data: bytes) -> None:
        """Collect a frame: it ends where its function says, or else with silence on the line."""
        self._buffer += data
        if self._silence is not None:
            self._silence.cancel()
        length = expected_length(self._buffer)
        if length is not None and len(self._buffer) >= length and unseal(self._buffer[:length]) is not None:
            self._handle(bytes(self._buffer[:length]))
            del self._buffer[:length]
        if len(self._buffer) > MAX_FRAME_BYTES:
            self._line_silent()
        if self._buffer:
            self._silence = asyncio.get_running_loop().call_later(SILENCE_S, self._line_silent)
        self.changed()

    def _line_silent(self) -> None:
        frame, self._buffer = bytes(self._buffer), bytearray()
        self._handle(frame)

    def _handle(self, frame: bytes) -> None:
        body = unseal(frame)
        if body is None:
            self._bad_frames += 1
        elif body[0] in (0, self._unit) and not self._silent:
            self._requests += 1
            answer = self._answer(Request(body))
            # Address 0 is a broadcast: every board obeys and none answers.
            if body[0] == self._unit:
                self.line.write(seal(answer))
        self.changed()

    def _answer(self, request: Request) -> bytes:
        try:
            match request.function:
                case 0x01:
                    bits = [self._relays.is_on(channel) for channel in range(1, len(self._relays) + 1)]
                    return request.head + pack_bits(request.select(bits))
                case 0x02:
                    return request.head + pack_bits(request.select(self._inputs))
                case 0x03:
                    return request.head + self._register(request)
                case 0x05:
                    self._write_coil(request)
                    return request.body
                case 0x0F:
                    self._write_coils(request)
                    return request.body[:6]
                case _:
                    return request.refusal(Fault.ILLEGAL_FUNCTION)
        except ModbusError as error:
            return request.refusal(error.code)

    def _register(self, request: Request) -> bytes:
        values = {0x4000: self._unit, 0x8000: 100}  # its address and its software version, 1.00
        if request.address not in values or request.value != 1:
            raise ModbusError(Fault.ILLEGAL_ADDRESS)
        return b"\x02" + values[request.address].to_bytes(2, "big")

    def _write_coil(self, request: Request) -> None:
        mode, number = divmod(request.address, 256)
        channels = range(1, len(self._relays) + 1) if number == ALL_CHANNELS else [number + 1]
        if number != ALL_CHANNELS and number >= len(self._relays):
            raise ModbusError(Fault.ILLEGAL_ADDRESS)
        for channel in channels:
            match mode:
                case 0x00:
                    self._switch(channel, request.value)
                case 0x02 | 0x04:
                    self._flash(channel, request.value, on=mode == 0x02)
                case _:
                    raise ModbusError(Fault.ILLEGAL_ADDRESS)

    def _switch(self, channel: int, value: int) -> None:
        wanted = {0xFF00: True, 0x0000: False, 0x5500: not self._relays.is_on(channel)}
        if value not in wanted:
            raise ModbusError(Fault.ILLEGAL_VALUE)
        self._set(channel, on=wanted[value])

    def _flash(self, channel: int, value: int, *, on: bool) -> None:
        if not 1 <= value <= MAX_FLASH:
            raise ModbusError(Fault.ILLEGAL_VALUE)
        self._set(channel, on=on)
        loop = asyncio.get_running_loop()
        self._timers[channel] = loop.call_later(value * FLASH_UNIT_S, lambda: self._end_flash(channel, on=not on))

    def _end_flash(self, channel: int, *, on: bool) -> None:
        self._set(channel, on=on)
        self.changed()

    def _set(self, channel: int, *, on: bool) -> None:
        # Any command replaces a pulse that is still running.
        timer = self._timers.pop(channel, None)
        if timer is not None:
            timer.cancel()
        self._relays.set(channel, on=on)

    def _write_coils(self, request: Request) -> None:
        bits = request.written_bits()
        request.select([False] * len(self._relays))
        for offset, on in enumerate(bits):
            self._set(request.address + offset + 1, on=on)

    def _pulse_input(self, channel: int, ms: int) -> None:
        self._set_input(channel, active=True)
        loop = asyncio.get_running_loop()
        self._input_timers[channel] = loop.call_later(ms / 1000, lambda: self._set_input(channel, active=False))

    def _set_input(self, channel: int, *, active: bool) -> None:
        if not 1 <= channel <= len(self._inputs):
            raise CommandRefusedError(f"this board has inputs 1 to {len(self._inputs)}")
        timer = self._input_timers.pop(channel, None)
        if timer is not None:
            timer.cancel()
        self._inputs[channel - 1] = active
        self.changed()


def main() -> None:
    """Run one board on a pty."""
    parser = device_parser("modbus_board", __doc__)
    add_link(parser)
    for name in ("relays", "inputs"):
        parser.add_argument(f"--{name}", type=int, choices=range(1, 33), default=8, metavar="N", help="(default: 8)")
    parser.add_argument("--unit", type=int, choices=range(1, 248), default=1, metavar="N", help="address (default: 1)")
    parser.add_argument("--log", type=Path, metavar="FILE", help="append each relay change as a line of JSON")

    def make(options: argparse.Namespace) -> ModbusBoard:
        return ModbusBoard(PtyLine(options.link), options.relays, options.inputs, options.unit, options.log)

    run_device(parser, make)


if __name__ == "__main__":
    main()
