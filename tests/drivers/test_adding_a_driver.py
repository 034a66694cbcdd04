"""The example of docs/adding-a-driver.md is taken out of the page and run."""

from __future__ import annotations

import asyncio
import re
import sys
from pathlib import Path
from types import ModuleType

import pytest

from drivers.api import DeviceOffline, Driver, Noise, Reading
from gateway.config.loading import loads
from gateway.config.schema import DriverKind
from gateway.devices.registry import kinds
from tests.drivers.pty_device import Events, PtyDevice, running

PAGE = Path(__file__).parents[2] / "docs" / "adding-a-driver.md"
BLOCKS = re.findall(r"^```(python|yaml)\n(.*?)^```", PAGE.read_text(encoding="utf-8"), re.DOTALL | re.MULTILINE)
SOURCE, YAML = BLOCKS[0][1], BLOCKS[2][1]
TAG = b"\n100086F444\r"


@pytest.fixture
def example(monkeypatch) -> ModuleType:
    module = ModuleType("parallax_example")
    monkeypatch.setitem(sys.modules, module.__name__, module)
    exec(compile(SOURCE, str(PAGE), "exec"), module.__dict__)
    return module


@pytest.fixture
async def device():
    with PtyDevice() as device:
        yield device


def test_the_example_has_less_than_80_lines():
    assert len(SOURCE.splitlines()) < 80


async def test_a_held_tag_is_one_reading_between_noise(example, device):
    events = Events()
    driver = example.ParallaxReader(example.ParallaxOptions(port=device.path), events)
    assert isinstance(driver, Driver)
    async with running(driver, events):
        device.send(b"\xff\x00" + TAG[:5] + TAG * 3 + b"\n0A0B0C0D0E\r")
        assert await events.wait_for(Reading, 2) == [Reading("em4100", "100086F444"), Reading("em4100", "0A0B0C0D0E")]
        assert sum(noise.byte_count for noise in events.of(Noise)) == 7


async def test_unplugged_is_offline_and_a_babbling_line_stays_bounded(example, device):
    events = Events()
    driver = example.ParallaxReader(example.ParallaxOptions(port=device.path), events)
    async with running(driver, events) as task:
        await device.send_all(b"\n123" * 5000 + TAG)
        await events.wait_for(Reading)
        assert len(driver._decoder._buffer) < 12
        device.unplug()
        with pytest.raises(DeviceOffline):
            await asyncio.wait_for(task, 2)


def test_its_line_in_the_registry_and_its_yaml_are_right(example):
    reader = example.ParallaxReader
    known = {**kinds(), "parallax": DriverKind("reader", reader.Options, reader.__doc__.splitlines()[0])}
    text = "venue: {id: v, timezone: Europe/Berlin, currency: EUR}\nbroker: unix:///run/mqtt.sock\n" + YAML
    loaded = loads(
        (text + "zones: {hall: {}}\ngates: {door: {to: hall, readers: [north-reader]}}\n").encode(), "x.yaml", known
    )
    assert loaded.devices["north-reader"].options.port.endswith("28340-if00")
