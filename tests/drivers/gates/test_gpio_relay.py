"""The driver over hand-written lines, and libgpiod's own settings objects as they are handed to it.

No kernel here has gpio-sim, and umockdev answers no GPIO ioctl, so a real chip is not opened in these tests.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import os

import gpiod
import msgspec
import pytest
from gpiod.line import Bias, Direction, Edge, Value

from drivers.api import Contacts, DeviceFault, DeviceOffline, DeviceTimeout, Driver, DriverError, InputChanged, Lock
from drivers.gates.gpio_relay import GpioOptions, GpioRelay
from drivers.transports.gpio import ChipLines, LineSetup, cannot_open_chip, line_settings
from tests.drivers.pty_device import Events, running, until

OPTIONS = GpioOptions(relay_lines=(17, 27), input_lines=(5, 6), idle_closed=(2,))


class FakeLines:
    """Lines with levels; `move` is a contact that changes, told by the kernel through a readable descriptor."""

    def __init__(self, setup: LineSetup) -> None:
        self.outputs = dict.fromkeys(setup.outputs, False)
        self.inputs = dict.fromkeys(setup.inputs, False)
        self.error: DriverError | None = None
        self.is_open = True
        self._told, self._tell = os.pipe()
        os.set_blocking(self._told, False)

    def move(self, line: int, closed: bool) -> None:
        self.inputs[line] = closed
        os.write(self._tell, b"e")

    def fileno(self) -> int:
        return self._told

    def write(self, line: int, *, active: bool) -> None:
        if self.error is not None:
            raise self.error
        self.outputs[line] = active

    def read(self) -> dict[int, bool]:
        if self.error is not None:
            raise self.error
        with contextlib.suppress(BlockingIOError):
            os.read(self._told, 100)
        return dict(self.inputs)

    def close(self) -> None:
        self.is_open = False
        os.close(self._told)
        os.close(self._tell)


class Chip:
    """Hands out lines and keeps the last, with contacts as `levels` says when they are opened."""

    def __init__(self, **levels: bool) -> None:
        self.levels = {int(line[1:]): closed for line, closed in levels.items()}
        self.lines: FakeLines | None = None

    def __call__(self, name: str, setup: LineSetup) -> FakeLines:
        assert name == "/dev/gpiochip0"
        self.lines = FakeLines(setup)
        self.lines.inputs |= self.levels
        return self.lines


async def test_relays_and_contacts_count_in_the_order_of_their_lines():
    chip, events = Chip(_6=True), Events()
    driver = GpioRelay(OPTIONS, events, chip)
    async with running(driver, events):
        lines = chip.lines
        assert events.of(InputChanged) == [], "input 2 is closed while nothing happens"
        lines.move(5, True)
        await events.wait_for(InputChanged)
        lines.move(6, False)
        assert await events.wait_for(InputChanged, 2) == [InputChanged(1, True), InputChanged(2, True)]
        await driver.pulse(2, 30)
        assert lines.outputs == {17: False, 27: True}
        await until(lambda: not lines.outputs[27])
        await driver.hold(1, True)
        await driver.pulse(1, 10)
        assert lines.outputs[17]
    assert lines.outputs == {17: False, 27: False}, "a line that is given back may keep its level for ever"
    assert not lines.is_open


async def test_what_was_active_before_is_told_again_after_a_new_start():
    chip, events = Chip(_6=True, _5=True), Events()
    driver = GpioRelay(OPTIONS, events, chip)
    async with running(driver, events):
        await events.wait_for(InputChanged)
    chip.levels[5] = False
    async with running(driver, events):
        assert await events.wait_for(InputChanged, 2) == [InputChanged(1, True), InputChanged(1, False)]


async def test_a_chip_that_fails_ends_the_link():
    chip, events = Chip(), Events()
    driver = GpioRelay(OPTIONS, events, chip)
    task = asyncio.create_task(driver.run())
    await until(lambda: chip.lines is not None)
    await asyncio.sleep(0)
    chip.lines.error = DeviceOffline("the chip is gone")
    with pytest.raises(DeviceTimeout, match="the chip is gone"):
        await driver.pulse(1, 10)
    with pytest.raises(DeviceOffline, match="the chip is gone"):
        await task
    with pytest.raises(DeviceOffline):
        await driver.pulse(1, 10)
    with pytest.raises(DeviceFault, match="it has 1 to 2"):
        await driver.hold(3, True)


def test_libgpiod_is_asked_for_what_the_options_say():
    settings = line_settings(LineSetup((17,), (5,), outputs_active_low=True, pull="up", debounce_ms=20))
    output, sensor = settings[17], settings[5]
    assert isinstance(output, gpiod.LineSettings)
    assert (output.direction, output.active_low, output.output_value) == (Direction.OUTPUT, True, Value.INACTIVE)
    assert (sensor.direction, sensor.bias, sensor.edge_detection) == (Direction.INPUT, Bias.PULL_UP, Edge.BOTH)
    assert sensor.active_low, "a contact to ground reads low when it is closed"
    assert sensor.debounce_period.total_seconds() == 0.02
    down = line_settings(LineSetup((), (5,), pull="down"))[5]
    assert (down.bias, down.active_low) == (Bias.PULL_DOWN, False)


def test_a_chip_that_is_not_there_says_what_to_do():
    with pytest.raises(DeviceOffline, match="gpiodetect"):
        ChipLines("/dev/gpiochip99", LineSetup((1,), ()))
    assert isinstance(cannot_open_chip("c", OSError(errno.EBUSY, "busy")), DeviceOffline)
    assert isinstance(cannot_open_chip("c", OSError(errno.EINVAL, "no")), DeviceFault)
    assert "group gpio" in str(cannot_open_chip("c", OSError(errno.EACCES, "no")))


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({}, "both empty"),
        ({"relay_lines": [4], "input_lines": [4]}, "a line twice"),
        ({"input_lines": [4], "idle_closed": [2]}, "1 to 1 only"),
    ],
)
def test_options_that_cannot_be_are_refused(given: dict[str, object], words: str):
    with pytest.raises(msgspec.ValidationError, match=words):
        msgspec.convert(given, GpioOptions)


def test_it_is_a_lock_with_contacts():
    driver = GpioRelay(OPTIONS, lambda _: None, Chip())
    assert all(isinstance(driver, kind) for kind in (Driver, Lock, Contacts))
    assert (driver.channels, driver.board_timed) == (2, False)
