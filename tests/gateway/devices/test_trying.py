"""`venue-gateway test` where no daemon runs: it opens the device itself."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import ClassVar

import msgspec
import pytest

from drivers.api import DeviceOffline, InputChanged, Online, PrinterStatus, Reading
from drivers.codecs import osdp_messages as m
from drivers.document import Document, problems
from drivers.readers.osdp import OsdpReaderOptions
from drivers.readers.osdp_bus import OsdpBusOptions
from gateway.config.schema import Broker, Configuration, Device, Venue
from gateway.devices import trying
from gateway.devices.registry import DriverEntry
from gateway.devices.trying import Trial, try_alone
from simulators.osdp import Osdp, Reader
from tests.drivers.pty_device import PtyDevice, PtySide, until


class NoOptions(msgspec.Struct):
    pass


class AtPrinter(msgspec.Struct):
    printer: str = "paper"


class Fake:
    """Any device: comes online, says what `says` lists, and notes what it is told to do."""

    Options: ClassVar[type[msgspec.Struct]] = NoOptions
    says: ClassVar[list[object]] = []
    told: ClassVar[list[object]] = []
    missing: ClassVar[str] = ""
    channels = 2
    board_timed = True

    def __init__(self, options, emit: Callable[[object], None]) -> None:
        self.emit = emit

    async def run(self) -> None:
        if self.missing:
            raise DeviceOffline(self.missing)
        self.emit(Online("a fake"))
        for event in self.says:
            self.emit(event)
        await asyncio.get_running_loop().create_future()

    async def pulse(self, channel: int, pulse_ms: int) -> None:
        self.told.append(("pulse", channel, pulse_ms))

    async def beep(self, count: int, on_ms: int, off_ms: int) -> None:
        self.told.append("beep")

    async def status(self) -> PrinterStatus:
        return PrinterStatus(online=True, paper_out=False)

    def render(self, document: Document, copy_label: str | None = None) -> bytes:
        assert problems(document) == []
        return b"page"

    async def write(self, data: bytes) -> None:
        self.told.append(data)


class FakeDrawer:
    def __init__(self, options, printer: Fake) -> None:
        self.printer = printer

    async def open(self) -> None:
        self.printer.told.append("open")


@pytest.fixture(autouse=True)
def fresh():
    Fake.says, Fake.told, Fake.missing = [], [], ""


ENTRIES = {
    "reader": DriverEntry("reader", Fake, NoOptions, ""),
    "board": DriverEntry("gate", Fake, NoOptions, ""),
    "paper": DriverEntry("printer", Fake, NoOptions, ""),
    "till": DriverEntry("drawer", FakeDrawer, AtPrinter, ""),
}


async def tried(device: str, **fields: object) -> tuple[bool, list[str]]:
    configuration = Configuration(
        venue=Venue("v", "UTC", "EUR"),
        broker=Broker("unix:///none"),
        devices={name: Device(name, name, entry.options(), name) for name, entry in ENTRIES.items()},
    )
    said: list[str] = []
    ok = await try_alone(configuration, Trial(device=device, **fields), said.append, ENTRIES)
    return ok, said


async def test_a_reader_beeps_and_reads_and_says_nothing_of_the_card():
    Fake.says = [Reading("em4100", "100086F444")]
    ok, said = await tried("reader", wait_s=1)
    assert ok
    assert Fake.told == ["beep"]
    assert said[-1] == "read: em4100, 10 characters"
    assert not any("100086F444" in line for line in said)


async def test_a_reader_that_reads_nothing_fails():
    ok, said = await tried("reader", wait_s=0.1)
    assert not ok
    assert said[-1] == "nothing was read"


async def test_a_board_moves_only_when_that_is_allowed():
    Fake.says = [InputChanged(3, True)]
    ok, said = await tried("board")
    assert ok
    assert Fake.told == []
    assert said[1:] == [
        "2 relays, the board ends a pulse",
        "a fake",
        "input 3 is active",
        "this closes relay 1 for 500 ms; nothing was moved, say --yes to do it",
    ]
    ok, said = await tried("board", yes=True, channel=2, pulse_ms=50)
    assert ok
    assert Fake.told == [("pulse", 2, 50)]


async def test_a_printer_tells_its_status_and_prints_a_page():
    ok, said = await tried("paper")
    assert ok
    assert said[1] == "it says: online True, paper out False"
    assert Fake.told == [b"page"]


async def test_a_drawer_opens_through_its_printer_only_when_that_is_allowed():
    ok, said = await tried("till")
    assert (ok, Fake.told) == (True, [])
    assert said[-1] == "this opens till; nothing was moved, say --yes to do it"
    ok, _ = await tried("till", yes=True)
    assert (ok, Fake.told) == (True, ["open"])


async def test_a_device_that_is_not_there_is_told_in_words(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(trying, "OPEN_S", 2)
    Fake.missing = "/dev/x does not exist: check the cable"
    ok, said = await tried("board", yes=True)
    assert (ok, said) == (False, ["board: offline, /dev/x does not exist: check the cable"])


async def test_a_reader_on_a_bus_is_tried_with_its_bus() -> None:
    said: list[str] = []
    with PtyDevice() as line:
        reader = Reader(1, None, display_rows=1)
        line.on_bytes = Osdp(PtySide(line), {1: reader}).receive
        devices = (
            Device("doors-bus", "osdp-bus", OsdpBusOptions(port=line.path, poll_ms=5), "1"),
            Device("door", "osdp", OsdpReaderOptions(bus="doors-bus", address=1), "1"),
        )
        configuration = Configuration(
            venue=Venue("v", "UTC", "EUR"),
            broker=Broker("unix:///none"),
            devices={one.name: one for one in devices},
        )
        trying = asyncio.create_task(try_alone(configuration, Trial(device="door", wait_s=5), said.append))
        await until(lambda: reader.beeps or trying.done())
        reader.queue(m.RAW, bytes([0, 1, 26, 0]) + bytes.fromhex("EA0DC080"))
        assert await trying
    assert said[0].startswith("door: online, address 1")
    assert said[-1] == "read: wiegand, 6 characters"
    assert "its display was told to show: Venue Gateway" in said
    assert [row.rstrip() for row in reader.display] == ["Venue Gateway"]
