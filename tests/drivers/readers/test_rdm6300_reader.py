from __future__ import annotations

import asyncio

import msgspec
import pytest

from drivers.api import DeviceOffline, Driver, Noise, Reading
from drivers.codecs.rdm6300 import encode_frame
from drivers.readers.rdm6300 import Rdm6300Options, Rdm6300Reader
from tests.drivers.pty_device import Events, PtyDevice, running

TAG = b"\x02100086F44426\x03"
OTHER = encode_frame("0A0B0C0D0E")


@pytest.fixture
async def device():
    with PtyDevice() as device:
        yield device


def reader(device: PtyDevice, events: Events, **options: int) -> Rdm6300Reader:
    return Rdm6300Reader(Rdm6300Options(port=device.path, **options), events)


async def test_a_held_tag_is_one_reading(device):
    events = Events()
    async with running(reader(device, events), events):
        for _ in range(20):
            device.send(TAG)
        device.send(OTHER)
        assert await events.wait_for(Reading, 2) == [Reading("em4100", "100086F444"), Reading("em4100", "0A0B0C0D0E")]


async def test_a_tag_that_was_taken_away_is_a_new_reading(device):
    events = Events()
    async with running(reader(device, events, gone_after_ms=100), events):
        device.send(TAG)
        await events.wait_for(Reading, 1)
        await asyncio.sleep(0.12)
        device.send(TAG)
        assert len(await events.wait_for(Reading, 2)) == 2


async def test_the_reading_is_emitted_inside_the_read(device):
    events = Events()
    driver = reader(device, events)
    async with running(driver, events):
        driver._on_bytes(TAG)
        assert events[-1] == Reading("em4100", "100086F444")


async def test_a_frame_in_two_halves_and_one_cut_off_between_garbage(device):
    events = Events()
    async with running(reader(device, events), events):
        device.send(b"\xff\x00" + TAG[:7])
        await events.wait_for(Noise)
        device.send(TAG[7:] + OTHER[:5] + OTHER)
        assert [reading.value for reading in await events.wait_for(Reading, 2)] == ["100086F444", "0A0B0C0D0E"]


async def test_i08_endless_garbage_stays_bounded_and_the_next_tag_is_read(device):
    events = Events()
    driver = reader(device, events)
    async with running(driver, events):
        async with asyncio.timeout(10):
            await device.send_all(b"\x02123garbage\x00" * 3000 + TAG)
        await events.wait_for(Reading)
        assert len(events.of(Noise)) <= 3
        assert len(driver._decoder._buffer) < 14
    assert sum(noise.byte_count for noise in events.of(Noise)) == 12 * 3000


async def test_unplugged_is_offline_quickly_and_plugged_in_again_it_reads(device):
    events = Events()
    async with running(reader(device, events), events) as task:
        device.send(TAG[:5])
        device.unplug()
        with pytest.raises(DeviceOffline, match="unplugged"):
            await asyncio.wait_for(task, 2)


async def test_the_same_driver_runs_again_and_half_a_frame_of_before_is_forgotten(device):
    events = Events()
    driver = reader(device, events)
    async with running(driver, events):
        device.send(b"\x00" + TAG[:5])
        await events.wait_for(Noise)
    async with running(driver, events):
        device.send(TAG)
        assert await events.wait_for(Reading) == [Reading("em4100", "100086F444")]


async def test_a_missing_port_is_offline(tmp_path):
    driver = Rdm6300Reader(Rdm6300Options(port=str(tmp_path / "none")), Events())
    with pytest.raises(DeviceOffline, match="does not exist"):
        await driver.run()


@pytest.mark.parametrize(
    "options", [{}, {"port": "ttyUSB0"}, {"port": "/dev/x", "gone_after_ms": 0}, {"port": "/dev/x", "prot": 1}]
)
def test_options_refuse_what_cannot_be(options):
    with pytest.raises(msgspec.ValidationError):
        msgspec.convert(options, Rdm6300Reader.Options)


def test_it_is_a_driver_and_its_options_document_themselves():
    assert isinstance(Rdm6300Reader(Rdm6300Options(port="/dev/x"), Events()), Driver)
    schema = msgspec.json.schema(Rdm6300Options)["$defs"]["Rdm6300Options"]
    assert all("description" in field for field in schema["properties"].values())
    assert schema["additionalProperties"] is False
