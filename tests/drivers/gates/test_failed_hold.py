"""What every lock promises: after a hold that failed, the next pulse ends, and no relay stays closed for ever."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager, suppress

import msgspec
import pytest
from pymodbus.constants import ExcCodes

from drivers.api import DeviceOffline, DeviceTimeout, Driver, DriverError
from drivers.gates import hid_relay, mqtt_relay
from drivers.gates.gpio_relay import GpioRelay
from drivers.gates.hid_relay import HidRelay, HidRelayOptions
from drivers.gates.lcus import LcusOptions, LcusRelay
from drivers.gates.modbus_tcp import ModbusTcpRelay
from drivers.gates.shelly import ShellyOptions, ShellyRelay
from drivers.gates.tasmota import TasmotaOptions, TasmotaRelay
from gateway.devices.registry import kinds
from tests.drivers.gates import test_gpio_relay as gpio
from tests.drivers.gates import test_hid_relay as hid
from tests.drivers.gates import test_modbus_relay as modbus
from tests.drivers.gates import test_modbus_tcp as modbus_tcp
from tests.drivers.mqtt_devices import FakeBus, Gen1, Gen2, Sonoff
from tests.drivers.pty_device import Events, PtyDevice, until
from tests.ports import free_port

PULSE_MS = 150


class Rig(msgspec.Struct):
    """A driver and its board: how a hold is made to fail and to work again, and whether relay 1 is closed."""

    driver: Driver
    fail: Callable[[], object]
    work: Callable[[], object]
    closed: Callable[[], bool]


@asynccontextmanager
async def lcus() -> AsyncIterator[Rig]:
    """The line jams, so the driver gives the link up."""
    with PtyDevice() as device:
        state = [False]

        def obey(_: bytes) -> None:
            for at in range(len(device.received) - 3):
                if device.received[at : at + 2] == b"\xa0\x01":
                    state[0] = device.received[at + 2] == 1

        device.on_bytes = obey
        driver = LcusRelay(LcusOptions(port=device.path), Events())

        def jam() -> None:
            device.deafen()
            driver._transport.write(bytes(100_000))

        def drain() -> None:
            device.received.clear()
            device.listen()

        yield Rig(driver, jam, drain, lambda: state[0])


class FlashingBoard(modbus.Board):
    """A Modbus board that also ends its own pulse, and may do what it is told and not say so."""

    def serve(self, request: bytes) -> bytes:
        answer = super().serve(request)
        if request[1:3] == b"\x05\x02":
            self.coils[request[3]] = True
            seconds = int.from_bytes(request[4:6]) / 10
            asyncio.get_running_loop().call_later(seconds, self.coils.__setitem__, request[3], False)
        return answer


@asynccontextmanager
async def modbus_rtu() -> AsyncIterator[Rig]:
    """The board closes the relay and its answer is lost."""
    with PtyDevice() as device:
        board = FlashingBoard(device)

        def answer(how: Callable[[bytes, bytes], bytes]) -> None:
            board.answer = how

        yield Rig(
            modbus.relay(board, Events()),
            lambda: answer(modbus.silent_on(5)),
            lambda: answer(lambda _, answer: answer),
            lambda: board.coils[0],
        )


class RefusingBoard(modbus_tcp.Board):
    """A Modbus TCP board that closes the relay and then says that something is wrong with it."""

    refuses = False

    async def act(self, function, start, address, count, registers, values):
        await super().act(function, start, address, count, registers, values)
        return ExcCodes.DEVICE_FAILURE if self.refuses and function == modbus_tcp.WRITE_COIL else None


@asynccontextmanager
async def modbus_over_tcp() -> AsyncIterator[Rig]:
    board = RefusingBoard(free_port())
    async with modbus_tcp.serving(board):
        yield Rig(
            ModbusTcpRelay(board.options(pulse="gateway"), Events()),
            lambda: setattr(board, "refuses", True),
            lambda: setattr(board, "refuses", False),
            lambda: board.coils[0],
        )


@asynccontextmanager
async def hid_board() -> AsyncIterator[Rig]:
    """The relay does not move, and the board says so."""
    board = hid.FakeBoard()
    yield Rig(
        HidRelay(HidRelayOptions(), Events(), hid.FakeUsb(board)),
        lambda: setattr(board, "stuck", True),
        lambda: setattr(board, "stuck", False),
        lambda: board.closed[0],
    )


@asynccontextmanager
async def gpio_lines() -> AsyncIterator[Rig]:
    """The kernel takes a line away; the driver asks for it anew."""
    chip = gpio.Chip()
    yield Rig(
        GpioRelay(gpio.OPTIONS, Events(), chip),
        lambda: setattr(chip.lines, "error", DeviceTimeout("the kernel does not answer")),
        lambda: setattr(chip.lines, "error", None),
        lambda: chip.lines.outputs[17],
    )


@asynccontextmanager
async def shelly_gen1() -> AsyncIterator[Rig]:
    bus = FakeBus()
    yield mute(ShellyRelay(ShellyOptions(topic="door", generation=1), Events(), bus), bus, Gen1("door"))


@asynccontextmanager
async def shelly_gen2() -> AsyncIterator[Rig]:
    """The device refuses, and the link stands."""
    bus = FakeBus()
    device = bus.attach(Gen2("door"))
    yield Rig(
        ShellyRelay(ShellyOptions(topic="door"), Events(), bus),
        lambda: setattr(device, "refuse", True),
        lambda: setattr(device, "refuse", False),
        lambda: device.closed,
    )


@asynccontextmanager
async def tasmota() -> AsyncIterator[Rig]:
    bus = FakeBus()
    yield mute(TasmotaRelay(TasmotaOptions(topic="door"), Events(), bus), bus, Sonoff("door"))


def mute(driver: Driver, bus: FakeBus, device: Gen1 | Sonoff) -> Rig:
    """A device that does what it is told and whose words are lost."""
    bus.attach(device)
    return Rig(
        driver,
        lambda: setattr(device, "publish", lambda *_: None),
        lambda: setattr(device, "publish", bus.said),
        lambda: device.closed,
    )


RIGS = {
    "lcus": lcus,
    "modbus-relay": modbus_rtu,
    "modbus-tcp": modbus_over_tcp,
    "hid-relay": hid_board,
    "gpio": gpio_lines,
    "shelly": shelly_gen2,
    "shelly of generation 1": shelly_gen1,
    "tasmota": tasmota,
}


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hid_relay, "POLL_S", 0.02)
    monkeypatch.setattr(mqtt_relay, "HEARTBEAT_S", 0.02)
    monkeypatch.setattr(mqtt_relay, "CONFIRM_TIMEOUT_S", 0.1)


@asynccontextmanager
async def kept_running(driver: Driver) -> AsyncIterator[None]:
    """Run it again whenever its link broke, as the supervisor does."""

    async def keep() -> None:
        while True:
            with suppress(DriverError):
                await driver.run()
            await asyncio.sleep(0.02)

    task = asyncio.create_task(keep())
    try:
        yield
    finally:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task


async def when_online(command: Callable[[], object]) -> None:
    async with asyncio.timeout(5):
        while True:
            try:
                return await command()
            except DeviceOffline:
                await asyncio.sleep(0.01)


@pytest.mark.parametrize("kind", RIGS)
async def test_a_pulse_after_a_hold_that_failed_ends(kind: str) -> None:
    async with AsyncExitStack() as stack:
        rig = await stack.enter_async_context(RIGS[kind]())
        await stack.enter_async_context(kept_running(rig.driver))
        await when_online(lambda: rig.driver.pulse(1, 20))
        await until(lambda: not rig.closed())
        rig.fail()
        with pytest.raises(DriverError):
            await rig.driver.hold(1, True)
        rig.work()
        await when_online(lambda: rig.driver.pulse(1, PULSE_MS))
        await until(rig.closed, 1)
        await until(lambda: not rig.closed(), 2)


@pytest.mark.parametrize("kind", RIGS)
async def test_what_a_failed_hold_may_have_closed_is_open_when_the_run_ends(kind: str) -> None:
    async with AsyncExitStack() as stack:
        rig = await stack.enter_async_context(RIGS[kind]())
        async with kept_running(rig.driver):
            await when_online(lambda: rig.driver.hold(1, False))
            rig.fail()
            with pytest.raises(DriverError):
                await rig.driver.hold(1, True)
            rig.work()
        await until(lambda: not rig.closed(), 2)


def test_every_lock_is_in_here() -> None:
    gates = {name for name, kind in kinds().items() if kind.kind == "gate"}
    assert gates == {rig.split()[0] for rig in RIGS}
