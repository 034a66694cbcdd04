from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from pathlib import Path

import msgspec
import pytest

from drivers.api import DeviceFault, DeviceOffline, Driver, DriverError, InputChanged, Noise, Online, Reading, Tampered
from drivers.codecs.osdp_panel import SETTLED
from drivers.codecs.wiegand import frame_of
from drivers.readers import osdp_bus
from drivers.readers.osdp import OsdpReader, OsdpReaderOptions
from drivers.readers.osdp_bus import OsdpBus, OsdpBusOptions
from simulators.osdp import Osdp, Present, Reader, Tamper, Type
from tests.drivers.pty_device import Events, PtyDevice, PtySide
from tests.drivers.readers.osdp_peer import osdp, peripherals

KEY = bytes(range(16))
CARD = bytes.fromhex("EA0DC080")


@pytest.fixture
def key_file(tmp_path: Path) -> str:
    path = tmp_path / "osdp-key"
    path.write_text(KEY.hex() + "\n")
    path.chmod(0o600)
    return str(path)


class Served:
    """A driver that is run again whenever it ends, as the supervisor does, and what became of it."""

    def __init__(self) -> None:
        self.events = Events()
        self.errors: list[str] = []
        self._changed = asyncio.Event()

    async def keep(self, driver: Driver) -> None:
        while True:
            try:
                await driver.run()
            except DriverError as error:
                self.errors.append(str(error))
                self._changed.set()
            await asyncio.sleep(0.01)

    async def failed(self, count: int = 1) -> str:
        async with asyncio.timeout(5):
            while len(self.errors) < count:
                self._changed.clear()
                await self._changed.wait()
        return self.errors[-1]


class Bus:
    """A bus on a pty with readers on it, served."""

    def __init__(
        self, device: PtyDevice, addresses: tuple[int, ...], *, answer_timeout_ms: int = 40, **options: object
    ) -> None:
        self.device = device
        self.port = Served()
        self.driver = OsdpBus(
            OsdpBusOptions(port=device.path, poll_ms=5, answer_timeout_ms=answer_timeout_ms), self.port.events
        )
        self.served = {address: Served() for address in addresses}
        self.readers = {
            address: OsdpReader(
                OsdpReaderOptions(bus="bus", address=address, **options), self.served[address].events, self.driver
            )
            for address in addresses
        }

    def events(self, address: int) -> Events:
        return self.served[address].events

    @asynccontextmanager
    async def running(self) -> AsyncIterator[Bus]:
        tasks = [asyncio.create_task(self.port.keep(self.driver))]
        tasks += [asyncio.create_task(self.served[one].keep(self.readers[one])) for one in self.readers]
        try:
            yield self
        finally:
            for task in tasks:
                task.cancel()
            with suppress(asyncio.CancelledError):
                await asyncio.gather(*tasks)

    async def online(self) -> None:
        for address in self.readers:
            await self.events(address).wait_for(Online)


@pytest.fixture
async def device():
    with PtyDevice() as device:
        yield device


@pytest.fixture
async def libosdp_end(device):
    """The device's end of the line, read by libosdp's thread alone."""
    device.deafen()
    return device


def simulated(device: PtyDevice, readers: dict[int, Reader]) -> Osdp:
    line = PtySide(device)
    bus = Osdp(line, readers)
    device.on_bytes = bus.receive
    return bus


@asynccontextmanager
async def libosdp_bus(device: PtyDevice, key: bytes | None, **options: object) -> AsyncIterator[tuple[Bus, dict]]:
    async with AsyncExitStack() as stack:
        flags = () if key is None else (osdp.LibFlag.EnforceSecure,)
        peers = stack.enter_context(peripherals(device.master, {1: key, 5: key}, flags))
        bus = await stack.enter_async_context(Bus(device, (1, 5), answer_timeout_ms=200, **options).running())
        await bus.online()
        yield bus, peers


async def with_libosdp(device: PtyDevice, key: bytes | None, **options: object) -> str:
    async with libosdp_bus(device, key, **options) as (bus, peers):
        card = {"event": osdp.Event.CardRead, "reader_no": 0, "direction": 0, "format": osdp.CardFormat.Wiegand}
        peers[5].context.submit_event({**card, "length": 26, "data": CARD})
        assert await bus.events(5).wait_for(Reading) == [Reading("wiegand", "D41B81")]
        await bus.readers[1].beep(2, 100, 100)
        await bus.readers[1].light("green", 500)
        buzzer, led = peers[1].commands[-2:]
        assert (buzzer["rep_count"], buzzer["on_count"]) == (2, 1)
        assert (led["on_color"], led["timer_count"], led["temporary"]) == (2, 5, True)
        peers[5].context.submit_event(
            {**card, "length": 32, "format": osdp.CardFormat.Unspecified, "data": b"\4\5\6\7"}
        )
        assert (await bus.events(5).wait_for(Reading, 2))[1] == Reading("wiegand", "04050607")
        assert bus.events(1).of(Reading) == []
        return bus.events(1).of(Online)[0].detail


async def test_libosdps_readers_on_one_bus_without_a_secure_channel(libosdp_end):
    assert "no secure channel" in await with_libosdp(libosdp_end, None)


async def test_libosdps_readers_on_one_bus_in_the_secure_channel(libosdp_end, key_file):
    assert ", secure channel" in await with_libosdp(libosdp_end, KEY, key_file=key_file)


@pytest.mark.parametrize("key", [None, KEY], ids=["plain", "secure"])
async def test_i06_a_card_that_libosdp_kept_while_nobody_asked_it_opens_nothing(libosdp_end, key_file, key):
    options = {} if key is None else {"key_file": key_file}
    flags = () if key is None else (osdp.LibFlag.EnforceSecure,)
    card = {"event": osdp.Event.CardRead, "reader_no": 0, "direction": 0, "format": osdp.CardFormat.Wiegand}
    with peripherals(libosdp_end.master, {1: key}, flags) as peers:
        for number in (1, 2):
            peers[1].context.submit_event({**card, "length": 26, "data": bytes([number, 0, 0, 0])})
        async with Bus(libosdp_end, (1,), answer_timeout_ms=200, **options).running() as bus:
            (online,) = await bus.events(1).wait_for(Online)
            assert online.detail.endswith("thrown away what it kept from before: 2")
            peers[1].context.submit_event({**card, "length": 26, "data": CARD})
            assert await bus.events(1).wait_for(Reading) == [Reading("wiegand", "D41B81")]


async def test_i06_a_card_held_up_while_the_bus_was_unplugged_opens_nothing_when_it_is_back(device):
    bus_device = simulated(device, {1: Reader(1, None)})
    bus = Bus(device, (1,))
    for number in (1, 2):
        # The readers have a supply of their own: only the gateway's adapter is plugged out and in.
        bus_device.do(Present(address=1, bits=frame_of(0xBAD, 26)))
        async with bus.running():
            await bus.events(1).wait_for(Online, number)
            bus_device.do(Present(address=1, bits=frame_of(number, 26)))
            assert (await bus.events(1).wait_for(Reading, number))[-1].value == f"{number:06X}"


@pytest.mark.parametrize("key", [None, KEY], ids=["plain", "secure"])
async def test_libosdp_is_asked_again_when_its_answer_was_lost_and_the_channel_goes_on(libosdp_end, key_file, key):
    options = {} if key is None else {"key_file": key_file}
    async with libosdp_bus(libosdp_end, key, **options) as (bus, peers):
        card = {"event": osdp.Event.CardRead, "reader_no": 0, "direction": 0, "format": osdp.CardFormat.Wiegand}
        for count in range(1, 3):
            for _ in range(SETTLED):
                await bus.readers[1].beep()
            # libosdp carries a repeated command out anew, so a card in the lost answer would be gone: it comes after.
            peers[1].wire.lose = 1
            await bus.readers[1].beep(count)
            assert peers[1].wire.lose == 0
            peers[1].context.submit_event({**card, "length": 26, "data": CARD})
            await bus.events(1).wait_for(Reading, count)
        assert bus.served[1].errors == []


@pytest.mark.parametrize("key", [None, KEY], ids=["plain", "secure"])
async def test_libosdps_reader_shows_lines_on_its_display(libosdp_end, key_file, key):
    options = {} if key is None else {"key_file": key_file}
    with peripherals(libosdp_end.master, {1: key}, text_level=2) as peers:
        async with Bus(libosdp_end, (1,), answer_timeout_ms=200, **options).running() as bus:
            (online,) = await bus.events(1).wait_for(Online)
            assert "2 rows of text" in online.detail
            await bus.readers[1].show("Größe unbekannt, bitte zum Service", 2500)
            await bus.readers[1].show("Willkommen", 3000)
    texts = [one for one in peers[1].commands if one["command"] == osdp.Command.Text]
    assert [(one["offset_row"], one["data"], one["temp_time"]) for one in texts] == [
        (1, "Groesse".ljust(16), 3),
        (2, "unbekannt, bitte", 3),
        (1, "Willkommen".ljust(16), 3),
        (2, " " * 16, 3),
    ]
    assert {(one["control_code"], one["offset_col"]) for one in texts} == {(3, 1)}


async def test_libosdps_reader_without_a_display_is_sent_no_text(libosdp_end):
    async with libosdp_bus(libosdp_end, None) as (bus, peers):
        await bus.readers[1].show("Willkommen", 3000)
        await bus.readers[1].beep()
        assert bus.readers[1].display_rows == 0
        assert [one["command"] for one in peers[1].commands] == [osdp.Command.Status, osdp.Command.Buzzer]


async def test_libosdps_reader_with_another_key_is_refused(libosdp_end, key_file):
    with peripherals(libosdp_end.master, {1: bytes(16)}, (osdp.LibFlag.EnforceSecure,)):
        async with Bus(libosdp_end, (1,), answer_timeout_ms=200, key_file=key_file).running() as bus:
            assert "key" in await bus.served[1].failed()
            assert bus.events(1).of(Online) == []


async def test_libosdps_new_reader_is_given_the_key(libosdp_end, key_file):
    with peripherals(libosdp_end.master, {1: None}, (osdp.LibFlag.InstallMode,)):
        async with Bus(libosdp_end, (1,), answer_timeout_ms=200, key_file=key_file, install_key=True).running() as bus:
            (online,) = await bus.events(1).wait_for(Online)
            assert "took the venue's key" in online.detail


async def test_an_absent_reader_is_offline_and_costs_the_other_only_its_silence(device, monkeypatch):
    monkeypatch.setattr(osdp_bus, "PROBE_S", 0.1)
    readers = {1: Reader(1, None), 5: Reader(5, None)}
    readers[5].away = True
    bus_device = simulated(device, readers)
    async with Bus(device, (1, 5)).running() as bus:
        assert "does not answer" in await bus.served[5].failed()
        bus_device.do(Present(address=1, bits=frame_of(0xD41B81, 26)))
        assert await bus.events(1).wait_for(Reading) == [Reading("wiegand", "D41B81")]
        readers[5].away = False
        await bus.events(5).wait_for(Online)
        assert bus.served[5].errors == [bus.served[5].errors[0]]


async def test_a_reader_that_goes_away_is_offline_and_comes_back_by_itself(device, key_file):
    readers = {1: Reader(1, KEY), 2: Reader(2, KEY)}
    simulated(device, readers)
    async with Bus(device, (1, 2), key_file=key_file).running() as bus:
        await bus.online()
        readers[2].away = True
        assert "does not answer" in await asyncio.wait_for(bus.served[2].failed(), 2)
        readers[2].away = False
        readers[2].forget()
        await asyncio.wait_for(bus.events(2).wait_for(Online, 2), 3)
        assert bus.served[1].errors == []


async def test_lost_and_broken_replies_lose_no_card_and_tell_none_twice(device):
    readers = {1: Reader(1, None)}
    bus_device = simulated(device, readers)
    async with Bus(device, (1,)).running() as bus:
        await bus.online()
        for count in range(1, 6):
            readers[1].corrupt = 2
            bus_device.do(Present(address=1, bits=frame_of(count, 26)))
            await bus.events(1).wait_for(Reading, count)
        assert [reading.value for reading in bus.events(1).of(Reading)] == [f"{count:06X}" for count in range(1, 6)]
        assert bus.served[1].errors == []
        assert bus.port.events.of(Noise) != []


async def test_unplugged_every_reader_is_offline_with_the_buss_reason(device):
    simulated(device, {1: Reader(1, None), 2: Reader(2, None)})
    async with Bus(device, (1, 2)).running() as bus:
        await bus.online()
        device.unplug()
        for served in (bus.port, bus.served[1], bus.served[2]):
            assert "unplugged" in await asyncio.wait_for(served.failed(), 2)
        with pytest.raises(DeviceOffline):
            await bus.readers[1].beep()


async def test_a_port_that_is_not_there_takes_its_readers_along(tmp_path):
    with PtyDevice() as device:
        device.path = str(tmp_path / "none")
        async with Bus(device, (1,)).running() as bus:
            assert "does not exist" in await bus.served[1].failed()


async def test_a_reader_that_stays_away_says_so_again(device, monkeypatch):
    monkeypatch.setattr("drivers.readers.osdp.PATIENCE_S", 0.3)
    monkeypatch.setattr(osdp_bus, "PROBE_S", 0.01)
    simulated(device, {})
    async with Bus(device, (1,)).running() as bus:
        await bus.port.events.wait_for(Online)
        await bus.served[1].failed(3)
        assert all("does not answer" in error for error in bus.served[1].errors)


async def test_the_housing_is_told_once_a_change(device):
    bus_device = simulated(device, {1: Reader(1, None)})
    async with Bus(device, (1,)).running() as bus:
        await bus.online()
        for active in (True, True, False):
            bus_device.do(Tamper(address=1, active=active))
        assert await bus.events(1).wait_for(Tampered, 2) == [Tampered(True), Tampered(False)]
        assert bus.events(1).of(InputChanged) == []


async def test_digits_are_a_reading_once_ended(device):
    bus_device = simulated(device, {1: Reader(1, None)})
    async with Bus(device, (1,), keypad=True).running() as bus:
        await bus.online()
        bus_device.do(Type(address=1, keys="99*12"))
        bus_device.do(Type(address=1, keys="34#"))
        assert await bus.events(1).wait_for(Reading) == [Reading("keypad", "1234")]


async def test_facility_and_number_and_wrong_parity(device):
    bus_device = simulated(device, {1: Reader(1, None)})
    async with Bus(device, (1,), value="facility-number", technology="hid").running() as bus:
        await bus.online()
        bus_device.do(Present(address=1, bits="0" + frame_of(0xD41B81, 26)[1:]))
        bus_device.do(Present(address=1, bits=frame_of(0xD41B81, 26)))
        assert await bus.events(1).wait_for(Reading) == [Reading("hid", "212-7041")]
        assert bus.events(1).of(Noise)[0].why == "a card with wrong parity"


async def test_i08_a_bus_full_of_garbage_is_survived(device):
    bus_device = simulated(device, {1: Reader(1, None)})
    async with Bus(device, (1,)).running() as bus:
        await bus.online()
        await device.send_all(b"\x53\x81\xa0\x05\x04" * 4000)
        bus_device.do(Present(address=1, bits=frame_of(1, 26)))
        await bus.events(1).wait_for(Reading)
        assert len(bus.driver._decoder._buffer) <= 4096


async def test_i08_a_line_that_is_never_quiet_loses_its_readers_instead_of_hiding_that(device):
    readers = {1: Reader(1, None)}
    simulated(device, readers)
    async with Bus(device, (1,)).running() as bus:
        await bus.online()
        readers[1].away = True
        babble = asyncio.create_task(babbling(bus.driver))
        assert "does not answer" in await asyncio.wait_for(bus.served[1].failed(), 5)
        babble.cancel()
        readers[1].away = False
        await bus.events(1).wait_for(Online, 2)


async def babbling(driver: OsdpBus) -> None:
    while True:
        driver._on_bytes(b"\x00")
        await asyncio.sleep(0.001)


async def test_two_readers_at_one_address_are_refused(device):
    simulated(device, {1: Reader(1, None)})
    async with Bus(device, (1,)).running() as bus:
        await bus.online()
        twin = OsdpReader(OsdpReaderOptions(bus="bus", address=1), Events(), bus.driver)
        with pytest.raises(DeviceFault, match="already"):
            await twin.run()


@pytest.mark.parametrize(("text", "mode", "says"), [
    (KEY.hex(), 0o644, "chmod 600"), ("0011", 0o600, "32 hex digits"), ("zz" * 16, 0o600, "32 hex digits"),
])  # fmt: skip
async def test_i12_a_key_file_that_cannot_be_right_is_named_and_never_shown(tmp_path, text, mode, says):
    path = tmp_path / "key"
    path.write_text(text)
    path.chmod(mode)
    with PtyDevice() as device:
        bus = OsdpBus(OsdpBusOptions(port=device.path), Events())
        driver = OsdpReader(OsdpReaderOptions(bus="bus", key_file=str(path)), Events(), bus)
        with pytest.raises(DeviceFault, match=says) as caught:
            await driver.run()
    assert text not in str(caught.value)


async def test_the_key_is_a_systemd_credential(tmp_path, monkeypatch, device):
    path = tmp_path / "osdp"
    path.write_text(KEY.hex())
    monkeypatch.setenv("CREDENTIALS_DIRECTORY", str(tmp_path))
    simulated(device, {1: Reader(1, KEY)})
    async with Bus(device, (1,), key_file="osdp").running() as bus:
        (online,) = await bus.events(1).wait_for(Online)
        assert ", secure channel" in online.detail
    monkeypatch.delenv("CREDENTIALS_DIRECTORY")
    with pytest.raises(DeviceFault, match="LoadCredential"):
        await bus.readers[1].run()


@pytest.mark.parametrize("options", [{}, {"bus": "b", "address": 127}, {"bus": "b", "install_key": True}])
def test_options_refuse_what_cannot_be(options):
    with pytest.raises(msgspec.ValidationError):
        msgspec.convert(options, OsdpReader.Options)


def test_both_are_drivers_and_their_options_document_themselves():
    bus = OsdpBus(OsdpBusOptions(port="/dev/x"), Events())
    assert isinstance(bus, Driver)
    assert isinstance(OsdpReader(OsdpReaderOptions(bus="bus"), Events(), bus), Driver)
    for options in (OsdpBusOptions, OsdpReaderOptions):
        schema = msgspec.json.schema(options)["$defs"][options.__name__]
        for field in schema["properties"].values():
            assert "description" in field or "description" in field["anyOf"][0]
