from __future__ import annotations

import asyncio

import pytest

from drivers.api import DeviceFault, DeviceOffline, DeviceTimeout, Driver, Lock, Noise
from drivers.gates.lcus import LcusOptions, LcusRelay
from tests.drivers.pty_device import Events, PtyDevice, running

ON, OFF = bytes.fromhex("A00101A2"), bytes.fromhex("A00100A1")
ON_2, OFF_2 = bytes.fromhex("A00201A3"), bytes.fromhex("A00200A2")


@pytest.fixture
async def device():
    with PtyDevice() as device:
        yield device


def relay(device: PtyDevice, events: Events, channels: int = 1) -> LcusRelay:
    return LcusRelay(LcusOptions(port=device.path, channels=channels), events)


async def test_a_connection_begins_with_open_relays(device):
    events = Events()
    async with running(relay(device, events, channels=2), events):
        assert await device.receive(8) == OFF + OFF_2


async def test_a_pulse_is_on_now_and_off_after_its_time(device):
    events = Events()
    driver = relay(device, events)
    async with running(driver, events):
        await device.receive(4)
        began_s = asyncio.get_running_loop().time()
        await driver.pulse(1, 80)
        assert await device.receive(8) == ON + OFF
        assert asyncio.get_running_loop().time() - began_s >= 0.078  # some loops tell the time in whole milliseconds


async def test_a_pulse_writes_before_anything_else_may_run(device):
    events = Events()
    driver = relay(device, events)
    async with running(driver, events):
        await device.receive(4)
        device.deafen()
        with pytest.raises(StopIteration):
            driver.pulse(1, 80).send(None)
        assert device.read_now() == ON


async def test_another_pulse_extends_the_first_and_a_shorter_one_does_not_cut_it(device):
    events = Events()
    driver = relay(device, events)
    async with running(driver, events):
        await device.receive(4)
        began_s = asyncio.get_running_loop().time()
        for pulse_ms in (50, 250, 50):
            await driver.pulse(1, pulse_ms)
        assert await device.receive(16) == ON * 3 + OFF
        assert asyncio.get_running_loop().time() - began_s >= 0.248
        assert device.received == b""


async def test_hold_stays_until_told_otherwise_and_a_pulse_does_not_end_it(device):
    events = Events()
    driver = relay(device, events, channels=2)
    async with running(driver, events):
        await device.receive(8)
        await driver.pulse(1, 30)
        await driver.hold(1, active=True)
        await driver.pulse(1, 30)
        await driver.pulse(2, 100)
        assert await device.receive(20) == ON * 3 + ON_2 + OFF_2
        await driver.hold(1, active=False)
        assert await device.receive(4) == OFF


async def test_a_relay_still_closed_is_opened_when_the_run_ends(device):
    events = Events()
    driver = relay(device, events, channels=2)
    async with running(driver, events):
        await device.receive(8)
        await driver.pulse(2, 60_000)
        await device.receive(4)
    assert await device.receive(4) == OFF_2
    with pytest.raises(DeviceOffline, match="not connected"):
        await driver.pulse(1, 100)


async def test_calls_before_and_after_a_connection_are_refused(device):
    driver = relay(device, Events())
    for call in (driver.pulse(1, 100), driver.hold(1, active=True)):
        with pytest.raises(DeviceOffline, match="not connected"):
            await call


@pytest.mark.parametrize("channel", [0, 3, -1])
async def test_a_channel_the_board_does_not_have(device, channel):
    events = Events()
    driver = relay(device, events, channels=2)
    async with running(driver, events):
        with pytest.raises(DeviceFault, match="there is no relay"):
            await driver.pulse(channel, 100)


async def test_unplugged_amid_a_pulse(device):
    events = Events()
    driver = relay(device, events)
    async with running(driver, events) as task:
        await driver.pulse(1, 60_000)
        device.unplug()
        with pytest.raises(DeviceOffline):
            await asyncio.wait_for(task, 2)
        with pytest.raises(DeviceOffline):
            await driver.pulse(1, 100)
    assert not driver._ends.may_be_closed


async def test_a_command_that_jams_is_thrown_away_and_not_carried_out_later(device):
    events = Events()
    driver = relay(device, events)
    async with running(driver, events) as task:
        await device.receive(4)
        device.deafen()
        driver._transport.write(bytes(100_000))
        with pytest.raises(DeviceOffline, match="takes no data"):
            await driver.pulse(1, 100)
        with pytest.raises(DeviceOffline):
            await asyncio.wait_for(task, 2)
    jammed = b"".join(iter(device.read_now, b""))
    assert ON not in jammed


async def test_i02_a_link_that_breaks_under_a_command_leaves_open_whether_the_board_took_it(device):
    events = Events()
    driver = relay(device, events)
    async with running(driver, events):
        await device.receive(4)
        device.deafen()
        driver._transport.write(bytes(100_000))
        pulse = asyncio.create_task(driver.pulse(1, 100))
        await asyncio.sleep(0)
        device.unplug()
        with pytest.raises(DeviceTimeout, match="while a command was on its way"):
            await asyncio.wait_for(pulse, 2)


class Stuck:
    """A transport with a command gone and the one behind it still here."""

    name, taken_bytes, unsent_bytes, undelivered_bytes, aborted = "/dev/stuck", 8, 4, 4, False

    async def arrive(self) -> None:
        await asyncio.Event().wait()

    def abort(self) -> None:
        self.aborted, self.unsent_bytes = True, 0


@pytest.mark.parametrize(("before_bytes", "kind"), [(0, DeviceTimeout), (4, DeviceOffline)])
async def test_i02_only_a_command_that_is_here_as_a_whole_was_not_sent(before_bytes, kind):
    stuck = Stuck()
    with pytest.raises(kind, match="takes no data"):
        await LcusRelay(LcusOptions(port="/dev/x"), Events())._sent(stuck, before_bytes)
    assert stuck.aborted


async def test_a_board_that_talks_is_noise(device):
    events = Events()
    async with running(relay(device, events), events):
        device.send(b"CH1: OFF\r\n")
        assert (await events.wait_for(Noise))[0].byte_count == 10


def test_it_is_a_driver_and_a_lock():
    driver = LcusRelay(LcusOptions(port="/dev/x", channels=4), Events())
    assert isinstance(driver, Driver)
    assert isinstance(driver, Lock)
    assert (driver.channels, driver.board_timed) == (4, False)
