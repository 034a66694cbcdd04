"""Feedback on its whole way: from a committed decision to the bytes that a real driver puts on its reader's line."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack

import pytest

from drivers.api import Beeper, Light
from drivers.codecs import osdp_messages as m
from drivers.readers.osdp import OsdpReader, OsdpReaderOptions
from drivers.readers.osdp_bus import OsdpBus, OsdpBusOptions
from drivers.readers.pcsc import PcscOptions, PcscReader
from drivers.readers.twn4 import Twn4Options, Twn4Reader
from gateway.devices.registry import DRIVERS
from gateway.domain import events as e
from gateway.domain.feedback_book import Book
from gateway.domain.reasons import Reason
from gateway.flows.feedback import FeedbackFlow
from simulators.osdp import Osdp, Reader
from simulators.twn4 import Twn4
from tests.drivers.pty_device import Events, PtyDevice, PtySide, running, until
from tests.gateway.domain.samples import sample
from tests.gateway.flows.house import House


class Slot:
    """A driver that is online."""

    online = True

    def __init__(self, driver: object) -> None:
        self.driver = driver

    def live(self) -> object:
        return self.driver


@pytest.fixture
async def device() -> AsyncIterator[PtyDevice]:
    with PtyDevice() as device:
        yield device


def deny(driver: object) -> House:
    """Record a refusal at the reader, as the entry flow does."""
    house = House()
    flow = FeedbackFlow(house.spawn, house.recorder.now_ms)
    flow.configure(Book(), 3.0, {"north": Slot(driver)})
    house.recorder.listeners.append(flow.committed)
    house.recorder.record(sample(e.EntryDenied, reason=Reason.EXPIRED, source="north"))
    return house


async def test_a_twn4_shows_red_and_beeps_long(device: PtyDevice) -> None:
    twn4, events = Twn4(PtySide(device)), Events()
    device.on_bytes = twn4.receive
    driver = Twn4Reader(Twn4Options(port=device.path, search_ms=1), events)
    async with running(driver, events):
        house = deny(driver)
        await until(lambda: twn4.state()["beeps"])
        assert twn4.state()["leds"][-2:] == ["041207", "041101"]
        assert twn4.state()["beeps"] == ["0407646009" + "58020000"], "600 ms and no pause"
        await asyncio.gather(*house.tasks)


async def test_an_osdp_reader_shows_red_beeps_long_and_says_why(device: PtyDevice) -> None:
    reader = Reader(1, None, display_rows=2)
    device.on_bytes = Osdp(PtySide(device), {1: reader}).receive
    bus_events, events = Events(), Events()
    bus = OsdpBus(OsdpBusOptions(port=device.path, poll_ms=5), bus_events)
    driver = OsdpReader(OsdpReaderOptions(bus="bus", address=1), events, bus)
    async with AsyncExitStack() as stack:
        await stack.enter_async_context(running(bus, bus_events))
        await stack.enter_async_context(running(driver, events))
        house = deny(driver)
        await until(lambda: reader.display[1].rstrip() == "gueltig")
        assert [row.rstrip() for row in reader.display] == ["Nicht mehr", "gueltig"]
        assert reader.lights[-1] == m.set_led("red", 3000).hex()
        assert reader.beeps == [m.sound_buzzer(1, 600, 0).hex()]
        await asyncio.gather(*house.tasks)


async def test_a_fenced_reader_hands_both_to_its_process(monkeypatch: pytest.MonkeyPatch) -> None:
    driver, sent = PcscReader(PcscOptions(reader="ACR122U"), Events()), []
    monkeypatch.setattr(driver._fence, "send", sent.append)
    house = deny(driver)
    await until(lambda: len(sent) == 2)
    await asyncio.gather(*house.tasks)
    assert b'"what":"red","duration_ms":3000' in sent[0]
    assert b'"what":"beep","duration_ms":600' in sent[1]


def test_every_reader_with_a_light_or_a_buzzer_is_heard_of() -> None:
    able = {name for name, entry in DRIVERS.items() if issubclass(entry.build, (Beeper, Light))}
    assert able == {"nfcpy", "pcsc", "osdp", "twn4"}
