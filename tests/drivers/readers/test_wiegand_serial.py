from __future__ import annotations

import asyncio

import msgspec
import pytest

from drivers.api import DeviceOffline, Driver, Noise, Reading
from drivers.readers.wiegand_serial import WiegandSerialOptions, WiegandSerialReader
from simulators.wiegand import written
from tests.drivers.pty_device import Events, PtyDevice, running


@pytest.fixture
async def device():
    with PtyDevice() as device:
        yield device


def reader(device: PtyDevice, events: Events, **options: object) -> WiegandSerialReader:
    return WiegandSerialReader(WiegandSerialOptions(port=device.path, **options), events)


@pytest.mark.parametrize("framing", ["hex", "decimal", "bits", "binary"])
async def test_a_card_is_one_reading_in_every_framing(device, framing):
    events = Events()
    async with running(reader(device, events, framing=framing), events):
        device.send(written("D41B81", framing, 26) * 2)
        device.send(written("D41B82", framing, 26))
        assert await events.wait_for(Reading, 2) == [Reading("wiegand", "D41B81"), Reading("wiegand", "D41B82")]


async def test_facility_code_and_card_number_and_the_directorys_word(device):
    events = Events()
    async with running(reader(device, events, value="facility-number", technology="hid"), events):
        device.send(written("D41B81", "hex", 26))
        assert await events.wait_for(Reading) == [Reading("hid", "212-7041")]


async def test_a_wrong_parity_is_noise_and_no_card(device):
    events = Events()
    async with running(reader(device, events), events):
        device.send(b"3A83703\r\n" + written("1", "hex", 26))
        assert await events.wait_for(Reading) == [Reading("wiegand", "000001")]
        assert events.of(Noise) == [Noise(8, "wrong parity")]


async def test_the_reading_is_emitted_inside_the_read(device):
    events = Events()
    driver = reader(device, events)
    async with running(driver, events):
        driver._on_bytes(written("D41B81", "hex", 26))
        assert events[-1] == Reading("wiegand", "D41B81")


async def test_unplugged_is_offline(device):
    events = Events()
    async with running(reader(device, events), events) as task:
        device.unplug()
        with pytest.raises(DeviceOffline):
            await asyncio.wait_for(task, 2)


@pytest.mark.parametrize("options", [{"bits": 32}, {"bits": 3, "parity": False}, {"start": "0"}, {"framing": "x"}])
def test_options_refuse_what_cannot_be(options):
    with pytest.raises(msgspec.ValidationError):
        msgspec.convert({"port": "/dev/x", **options}, WiegandSerialOptions)


def test_it_is_a_driver():
    assert isinstance(WiegandSerialReader(WiegandSerialOptions(port="/dev/x"), Events()), Driver)
