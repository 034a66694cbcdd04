"""Unplugging: real ports under lasting names that appear and disappear, as udev makes them.

`make prove` does it a hundred times.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from random import Random

import pytest

from drivers.api import DeviceOffline
from drivers.gates.lcus import LcusOptions
from drivers.readers.rdm6300 import Rdm6300Options
from drivers.scanners.serial_scanner import SerialScannerOptions
from gateway.config.schema import Device
from gateway.devices.plugs import look, pause, port_path
from gateway.devices.supervisor import DeviceSlot, Supervisor
from tests.drivers.pty_device import PtyDevice, until
from tests.length import length

ROUNDS = length(12, 100)
OFFLINE_S, ONLINE_S = 2.0, 3.0
RELAY_OPEN = bytes.fromhex("A00100A1")
RELAY_CLOSED = bytes.fromhex("A00101A2")


class Socket:
    """A USB socket: plugging makes a new port behind the same lasting name, unplugging takes both away."""

    def __init__(self, name: Path) -> None:
        self.name = name
        self.device: PtyDevice | None = None

    def plug(self) -> None:
        self.device = PtyDevice()
        self.device.listen()
        self.name.symlink_to(self.device.path)

    def unplug(self) -> None:
        if self.device is not None:
            self.name.unlink()
            self.device.unplug()
            self.device = None


@asynccontextmanager
async def supervised(folder: Path) -> AsyncIterator[tuple[dict[str, Socket], dict[str, DeviceSlot]]]:
    sockets = {name: Socket(folder / f"usb-{name}") for name in ("relay", "reader", "scanner")}
    options = {
        "relay": ("lcus", LcusOptions(port=str(sockets["relay"].name))),
        "reader": ("rdm6300", Rdm6300Options(port=str(sockets["reader"].name))),
        "scanner": ("serial-scanner", SerialScannerOptions(port=str(sockets["scanner"].name))),
    }
    supervisor = Supervisor(asyncio.create_task, Random(1), lambda slot, event: None, lambda slot: None)
    devices = {name: Device(name, driver, made, name) for name, (driver, made) in options.items()}
    await supervisor.reconcile(devices)
    try:
        yield sockets, supervisor.slots
    finally:
        await supervisor.close()
        for socket in sockets.values():
            socket.unplug()


@pytest.mark.timeout(600)
async def test_devices_come_and_go_in_any_order(tmp_path: Path) -> None:
    random = Random(7)
    async with supervised(tmp_path) as (sockets, slots):
        for socket in sockets.values():
            socket.plug()
        await until(lambda: all(slot.online for slot in slots.values()), ONLINE_S)
        for _ in range(ROUNDS):
            chosen = random.sample(sorted(sockets), random.randint(1, 3))
            for name in chosen:
                sockets[name].unplug()
            await until(lambda chosen=chosen: not any(slots[name].online for name in chosen), OFFLINE_S)
            assert all(slots[name].online for name in sockets if name not in chosen), "the others go on"
            await asyncio.sleep(random.uniform(0, 0.4))
            for name in random.sample(chosen, len(chosen)):
                sockets[name].plug()
            await until(lambda chosen=chosen: all(slots[name].online for name in chosen), ONLINE_S)
        relay = sockets["relay"].device
        assert await relay.receive(4) == RELAY_OPEN, "a board that was just plugged in is told to open"
        relay.received.clear()
        await slots["relay"].lock().pulse(1, 50)
        assert await relay.receive(8) == RELAY_CLOSED + RELAY_OPEN
        assert all(slot.faults == {} for slot in slots.values()), "an unplugged device is no fault of its driver"


async def test_a_device_that_was_away_for_long_is_back_at_once(tmp_path: Path) -> None:
    async with supervised(tmp_path) as (sockets, slots):
        await asyncio.sleep(1.5)
        with pytest.raises(DeviceOffline, match="does not exist"):
            slots["relay"].lock()
        sockets["relay"].plug()
        assert await until(lambda: slots["relay"].online, ONLINE_S) < 1.0


async def test_a_pause_ends_when_something_else_stands_behind_the_name(tmp_path: Path) -> None:
    first, second, name = tmp_path / "first", tmp_path / "second", tmp_path / "name"
    first.touch()
    second.touch()
    name.symlink_to(first)
    loop = asyncio.get_running_loop()

    def swap() -> None:
        name.unlink()
        name.symlink_to(second)

    loop.call_later(0.1, swap)
    began_s = loop.time()
    await pause(name, 30)
    assert loop.time() - began_s < 5
    assert look(name) == look(second)
    assert look(tmp_path / "none") is None


def test_ports_are_found_in_the_options() -> None:
    assert port_path(LcusOptions(port="/dev/serial/by-id/x")) == Path("/dev/serial/by-id/x")
    assert port_path(LcusOptions(port="tcp://host:1")) is None
