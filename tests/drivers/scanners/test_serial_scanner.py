from __future__ import annotations

import asyncio

import pytest

from drivers.api import DeviceOffline, Driver, Noise, Reading
from drivers.scanners.serial_scanner import SerialScanner, SerialScannerOptions
from tests.drivers.pty_device import Events, PtyDevice, running


@pytest.fixture
async def device():
    with PtyDevice() as device:
        yield device


def scanner(device: PtyDevice, events: Events, **options: object) -> SerialScanner:
    return SerialScanner(SerialScannerOptions(port=device.path, **options), events)


async def test_a_scan_is_a_reading_with_its_symbology(device):
    events = Events()
    async with running(scanner(device, events), events):
        device.send(b"]Q1TICKET-1\r\n")
        assert await events.wait_for(Reading) == [Reading("barcode", "TICKET-1", "qr")]


async def test_the_same_code_again_is_the_same_scan_and_another_is_not(device):
    events = Events()
    async with running(scanner(device, events), events):
        device.send(b"A\rA\rB\rA\r")
        device.send(b"C\r")
        assert [reading.value for reading in await events.wait_for(Reading, 3)] == ["A", "B", "C"]


async def test_with_no_repeat_time_every_scan_counts(device):
    events = Events()
    async with running(scanner(device, events, repeat_ms=0), events):
        device.send(b"A\rA\r")
        assert len(await events.wait_for(Reading, 2)) == 2


async def test_prefix_suffix_and_aim_as_configured(device):
    events = Events()
    async with running(scanner(device, events, prefix="<", suffix=">", strip_aim=False), events):
        device.send(b"<]Q1T>\n")
        assert await events.wait_for(Reading) == [Reading("barcode", "]Q1T")]


async def test_i08_an_endless_line_is_noise_and_the_next_code_is_read(device):
    events = Events()
    driver = scanner(device, events)
    async with running(driver, events):
        async with asyncio.timeout(10):
            await device.send_all(b"x" * 40_000 + b"\rT1\r")
        assert await events.wait_for(Reading) == [Reading("barcode", "T1")]
        assert len(driver._decoder._buffer) <= 4096
        assert 1 <= len(events.of(Noise)) <= 3


async def test_unplugged_is_offline(device):
    events = Events()
    async with running(scanner(device, events), events) as task:
        device.unplug()
        with pytest.raises(DeviceOffline):
            await asyncio.wait_for(task, 2)


def test_it_is_a_driver():
    assert isinstance(SerialScanner(SerialScannerOptions(port="/dev/x"), Events()), Driver)
