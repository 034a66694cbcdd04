"""Relays and contacts on the computer's own GPIO lines."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Mapping
from typing import Annotated, ClassVar

import msgspec
from msgspec import Meta

from drivers.api import DeviceFault, DeviceOffline, DeviceTimeout, DriverError, Emit, InputChanged, Online
from drivers.gates.pulses import PulseEnds
from drivers.transports.gpio import ChipLines, Lines, LineSetup, Pull, numbered

LOOK_S = 1.0
"""Inputs are told by the kernel; they are looked at as well, so that an edge that went missing is found."""

_Line = Annotated[int, Meta(ge=0, le=1023)]


class GpioOptions(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Lines of one GPIO chip. Relays and inputs are counted from 1 in the order their lines are named here."""

    chip: Annotated[
        str,
        Meta(
            pattern="^/dev/.+$",
            description="The GPIO chip; `gpiodetect` lists them, /dev/gpiochip0 on a Pi.",
            extra={"expected": "a GPIO chip, such as `/dev/gpiochip0`"},
        ),
    ] = "/dev/gpiochip0"
    relay_lines: Annotated[
        tuple[_Line, ...], Meta(max_length=64, description="Lines that drive relays: GPIO numbers, not header pins.")
    ] = ()
    input_lines: Annotated[
        tuple[_Line, ...], Meta(max_length=64, description="Lines that contacts are wired to: GPIO numbers.")
    ] = ()
    relays_active_low: Annotated[
        bool, Meta(description="True for relay boards that close a relay when their input is pulled low, as most do.")
    ] = False
    pull: Annotated[
        Pull, Meta(description="Resistor inside the chip: up for contacts to ground, down for contacts to 3.3 V.")
    ] = "up"
    debounce_ms: Annotated[
        int, Meta(ge=0, le=1000, description="A contact has to rest this long before its change counts.")
    ] = 10
    idle_closed: Annotated[
        tuple[int, ...],
        Meta(max_length=64, description="Inputs, from 1, whose contact is closed while nothing happens."),
    ] = ()

    def __post_init__(self) -> None:
        lines = [*self.relay_lines, *self.input_lines]
        if not lines:
            raise ValueError("relay_lines and input_lines are both empty; name at least one line")
        if len(set(lines)) < len(lines):
            raise ValueError("relay_lines and input_lines name a line twice; each line is one thing")
        if any(not 1 <= channel <= self.inputs for channel in self.idle_closed):
            raise ValueError(f"idle_closed names inputs from 1 to {self.inputs} only: there are {self.inputs}")

    @property
    def relays(self) -> int:
        """How many relays there are."""
        return len(self.relay_lines)

    @property
    def inputs(self) -> int:
        """How many inputs there are."""
        return len(self.input_lines)


class GpioRelay:
    """GPIO lines of the computer itself: relays and contacts by libgpiod 2, inputs told by the kernel.

    A timer here ends a pulse. A process that dies leaves a line as it was until the gateway is back, so a gate that
    has to be shut then needs a board that times its own pulse.
    """

    Options: ClassVar[type[msgspec.Struct]] = GpioOptions
    board_timed = False
    notice_s = LOOK_S

    def __init__(
        self, options: GpioOptions, emit: Emit, open_lines: Callable[[str, LineSetup], Lines] = ChipLines
    ) -> None:
        self.channels = options.relays
        self._options = options
        self._emit = emit
        self._open_lines = open_lines
        self._ends = PulseEnds(self._end_pulse)
        self._lines: Lines | None = None
        self._active: set[int] = set()
        self._broken: asyncio.Future[DriverError] | None = None

    async def run(self) -> None:
        """Serve until cancelled; raises DriverError when the lines cannot be had."""
        options = self._options
        setup = LineSetup(
            options.relay_lines, options.input_lines, options.relays_active_low, options.pull, options.debounce_ms
        )
        lines = self._open_lines(options.chip, setup)
        try:
            await self._serve(lines)
        finally:
            self._rest(lines)
            lines.close()

    async def pulse(self, channel: int, pulse_ms: int) -> None:
        """Close relay `channel` for `pulse_ms`; raises DeviceOffline, DeviceTimeout or DeviceFault as a lock does."""
        self._require(channel)
        self._write(channel, closed=True)
        self._ends.begin(channel, pulse_ms)

    async def hold(self, channel: int, active: bool) -> None:
        """Close (`active`) or open relay `channel` until told otherwise; raises as `pulse` does."""
        self._require(channel)
        with self._ends.hold(channel, active):
            self._write(channel, closed=active)

    async def _serve(self, lines: Lines) -> None:
        loop = asyncio.get_running_loop()
        self._broken, self._lines = loop.create_future(), lines
        before = frozenset(self._active)
        levels = lines.read()
        self._emit(Online(f"{len(self._options.relay_lines)} relays, {len(self._options.input_lines)} inputs"))
        self._note(levels, before)
        if self._options.input_lines:
            loop.add_reader(lines.fileno(), self._look)
        try:
            while not self._broken.done():
                await asyncio.wait({self._broken}, timeout=LOOK_S)
                self._look()
            raise self._broken.result()
        finally:
            if self._options.input_lines:
                loop.remove_reader(lines.fileno())

    def _look(self) -> None:
        if self._lines is None:
            return
        try:
            self._note(self._lines.read())
        except DriverError as error:
            self._break(error)

    def _note(self, levels: Mapping[int, bool], also: frozenset[int] = frozenset()) -> None:
        """Emit what changed, and at the start of a connection (`also`) again what was active before it."""
        channels = numbered(self._options.input_lines)
        for line, closed in levels.items():
            channel = channels[line]
            active = closed != (channel in self._options.idle_closed)
            if active != (channel in self._active) or channel in also:
                (self._active.add if active else self._active.discard)(channel)
                self._emit(InputChanged(channel, active))

    def _write(self, channel: int, *, closed: bool) -> None:
        if self._lines is None:
            raise DeviceOffline(f"{self._options.chip} is not open")
        try:
            self._lines.write(self._options.relay_lines[channel - 1], active=closed)
        except DriverError as error:
            self._break(error)
            raise DeviceTimeout(f"nobody knows whether the line moved: {error}") from error

    def _end_pulse(self, channel: int) -> None:
        with contextlib.suppress(DriverError):
            self._write(channel, closed=False)

    def _rest(self, lines: Lines) -> None:
        """Open every relay: a line that is given back may keep its level for ever."""
        self._lines = None
        self._ends.clear()
        for line in self._options.relay_lines:
            with contextlib.suppress(DriverError):
                lines.write(line, active=False)

    def _break(self, error: DriverError) -> None:
        if self._broken is not None and not self._broken.done():
            self._broken.set_result(error)

    def _require(self, channel: int) -> None:
        if not 1 <= channel <= self.channels:
            raise DeviceFault(f"there is no relay {channel} on {self._options.chip}: it has 1 to {self.channels}")
        if self._lines is None:
            raise DeviceOffline(f"the lines of {self._options.chip} are not open")
