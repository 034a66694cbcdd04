"""Unplugging: real ports under lasting names that appear and disappear, as udev makes them.

`make prove` does it a hundred times.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from random import Random

import msgspec
import pytest

from drivers.api import DeviceOffline, Emit, Online
from drivers.gates.hid_relay import HidRelayOptions
from drivers.gates.lcus import LcusOptions
from drivers.printers.escpos import EscposOptions
from drivers.readers.nfcpy import NfcpyOptions
from drivers.readers.pcsc import PcscOptions
from drivers.readers.rdm6300 import Rdm6300Options
from drivers.scanners.serial_scanner import SerialScannerOptions
from drivers.scanners.wedge import WedgeOptions
from gateway.config.schema import Device
from gateway.devices.plugs import Look, look, pause, port_path, watch_for
from gateway.devices.registry import DriverEntry
from gateway.devices.supervisor import RETRY_MAX_S, DeviceSlot, Supervisor
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
    assert await pause(partial(look, name), look(name), 30)
    assert loop.time() - began_s < 5
    assert look(name) == look(second)
    assert look(tmp_path / "none") == frozenset()


async def test_what_came_while_the_driver_was_failing_is_no_older_news_for_it(tmp_path: Path) -> None:
    loop, began_s, name = asyncio.get_running_loop(), asyncio.get_running_loop().time(), tmp_path / "name"
    before = look(name)
    name.touch()
    assert await pause(partial(look, name), before, 30)
    assert loop.time() - began_s < 5
    assert not await pause(partial(look, name), look(name), 0.01)


class UsbBus:
    """What the kernel and udev make under /dev/bus/usb, and a driver that looks for one device there."""

    Options = WedgeOptions

    def __init__(self, folder: Path) -> None:
        self.nodes = folder / "001"
        self.nodes.mkdir()
        self.attempts = 0
        self._number = 1

    def driver(self, _options: WedgeOptions, emit: Emit) -> UsbBus:
        self._emit = emit
        return self

    async def run(self) -> None:
        self.attempts += 1
        (node,) = list(self.nodes.iterdir()) or [None]
        if node is None or node.stat().st_mode & 0o777 != 0o660:
            raise DeviceOffline("not there, or nobody may open it yet")
        self._emit(Online())
        await until(lambda: not node.exists(), 60)
        raise DeviceOffline("gone")

    def plug(self) -> None:
        self._number += 1
        node = self.nodes / f"{self._number:03}"
        node.touch()
        node.chmod(0o600)

    def permit(self) -> None:
        for node in self.nodes.iterdir():
            node.chmod(0o660)

    def unplug(self) -> None:
        for node in self.nodes.iterdir():
            node.unlink()


async def test_a_device_on_usb_is_back_at_once_and_again_once_udev_lets_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("gateway.devices.plugs.USB_NODES", tmp_path)
    # As after a long absence: nothing but what is seen on the bus brings it back sooner.
    monkeypatch.setattr("gateway.devices.supervisor.RETRY_FIRST_S", RETRY_MAX_S)
    bus = UsbBus(tmp_path)
    entry = DriverEntry("scanner", bus.driver, WedgeOptions, "a scanner on a bus of the test's")
    supervisor = Supervisor(asyncio.create_task, Random(1), lambda *_: None, lambda _: None, {"wedge": entry})
    await supervisor.reconcile({"scanner": Device("scanner", "wedge", WedgeOptions(port="usb://0c2e:0b61"), "1")})
    slot = supervisor.slots["scanner"]
    try:
        await until(lambda: bus.attempts == 1)
        for late_s in (0.0, 0.3):
            bus.unplug()
            await until(lambda: slot.status == "offline")
            bus.plug()
            await asyncio.sleep(late_s)
            bus.permit()
            assert await until(lambda: slot.online, ONLINE_S) < 0.8
    finally:
        await supervisor.close()


def test_ports_are_found_in_the_options() -> None:
    assert port_path(LcusOptions(port="/dev/serial/by-id/x")) == Path("/dev/serial/by-id/x")
    assert port_path(LcusOptions(port="tcp://host:1")) is None


@pytest.mark.parametrize(
    ("options", "is_watched"),
    [
        (LcusOptions(port="/dev/serial/by-id/x"), True),
        (LcusOptions(port="tcp://host:1"), False),
        (WedgeOptions(port="usb://0c2e:0b61"), True),
        (EscposOptions(connect="usb://04b8:0e15/S1"), True),
        (EscposOptions(connect="tcp://host:9100"), False),
        (NfcpyOptions(connect="usb:1-1.4"), True),
        (HidRelayOptions(serial="BITFT"), True),
        (PcscOptions(reader="ACR122"), True),
    ],
)
def test_whatever_is_on_usb_is_seen_to_come(options: msgspec.Struct, is_watched: bool) -> None:
    watch: Look | None = watch_for(options)
    assert (watch is not None) == is_watched
