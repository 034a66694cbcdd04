"""GPIO lines of the computer itself, by libgpiod 2 (the character device /dev/gpiochipN)."""

from __future__ import annotations

import errno
from collections.abc import Iterable, Mapping, Sequence
from datetime import timedelta
from typing import Literal, Protocol

import gpiod
import msgspec
from gpiod.line import Bias, Direction, Edge, Value

from drivers.api import DeviceFault, DeviceOffline, DriverError

CONSUMER = "venue-gateway"

Pull = Literal["up", "down", "none"]
_BIAS = {"up": Bias.PULL_UP, "down": Bias.PULL_DOWN, "none": Bias.DISABLED}


class LineSetup(msgspec.Struct, frozen=True):
    """Which lines of a chip are outputs and inputs, by their numbers on the chip, and how they are wired."""

    outputs: tuple[int, ...]
    inputs: tuple[int, ...]
    outputs_active_low: bool = False
    pull: Pull = "up"
    debounce_ms: int = 10


class Lines(Protocol):
    """Lines that were requested from a chip; every level is logical, active or not."""

    def fileno(self) -> int:
        """Return what becomes readable when an input changes."""
        ...

    def write(self, line: int, *, active: bool) -> None:
        """Set an output; raises DriverError."""
        ...

    def read(self) -> Mapping[int, bool]:
        """Return the level of every input now, throwing away what was noted of its changes; raises DriverError."""
        ...

    def close(self) -> None:
        """Give the lines back; they keep their level or float, as the chip does it."""
        ...


class ChipLines:
    """Lines of a real chip. Outputs begin inactive, inputs tell of both edges."""

    def __init__(self, chip: str, setup: LineSetup) -> None:
        """Request the lines for this process alone; raises DriverError."""
        self._chip = chip
        self._inputs = setup.inputs
        try:
            self._request = gpiod.request_lines(chip, consumer=CONSUMER, config=line_settings(setup))
        except (OSError, ValueError) as error:
            raise cannot_open_chip(chip, error) from error

    def fileno(self) -> int:
        """Return the request's descriptor: readable when an input has changed."""
        return self._request.fd

    def write(self, line: int, *, active: bool) -> None:
        """Set an output."""
        try:
            self._request.set_value(line, Value.ACTIVE if active else Value.INACTIVE)
        except OSError as error:
            raise cannot_open_chip(self._chip, error) from error

    def read(self) -> Mapping[int, bool]:
        """Return the level of every input now; noted edges are read away first, so that none is lost between."""
        if not self._inputs:
            return {}
        try:
            while self._request.wait_edge_events(timedelta(0)):
                self._request.read_edge_events()
            values = self._request.get_values(list(self._inputs))
        except OSError as error:
            raise cannot_open_chip(self._chip, error) from error
        return {line: value is Value.ACTIVE for line, value in zip(self._inputs, values, strict=True)}

    def close(self) -> None:
        """Give the lines back."""
        self._request.release()


def line_settings(setup: LineSetup) -> dict[Iterable[int | str] | int | str, gpiod.LineSettings | None]:
    """Return libgpiod's settings of each line."""
    output = gpiod.LineSettings(
        direction=Direction.OUTPUT, active_low=setup.outputs_active_low, output_value=Value.INACTIVE
    )
    sensor = gpiod.LineSettings(
        direction=Direction.INPUT,
        edge_detection=Edge.BOTH,
        bias=_BIAS[setup.pull],
        # A closed contact pulls the line to where it was not pulled before; "active" stands for closed.
        active_low=setup.pull == "up",
        debounce_period=timedelta(milliseconds=setup.debounce_ms),
    )
    return {**dict.fromkeys(setup.outputs, output), **dict.fromkeys(setup.inputs, sensor)}


def cannot_open_chip(chip: str, error: Exception) -> DriverError:
    """Return what an error of the chip means to a technician."""
    code = error.errno if isinstance(error, OSError) else None
    if code in {errno.ENOENT, errno.ENODEV, errno.ENXIO}:
        return DeviceOffline(f"{chip} does not exist: `gpiodetect` lists the chips of this computer")
    if code in {errno.EACCES, errno.EPERM}:
        return DeviceOffline(f"{chip} may not be opened: add the gateway's user to the group gpio")
    if code == errno.EBUSY:
        return DeviceOffline(f"a line of {chip} is in use: `gpioinfo` shows by whom; disable that or take another line")
    if code == errno.EINVAL or isinstance(error, ValueError):
        return DeviceFault(f"{chip} has no such line, or cannot pull it that way: {error}; `gpioinfo` lists its lines")
    return DeviceOffline(f"{chip} cannot be used: {error}")


def numbered(lines: Sequence[int]) -> dict[int, int]:
    """Return line → channel from 1, in the order the lines are named."""
    return {line: channel for channel, line in enumerate(lines, start=1)}
