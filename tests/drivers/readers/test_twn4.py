from __future__ import annotations

import asyncio

import msgspec
import pytest

from drivers.api import DeviceFault, DeviceOffline, Driver, Noise, Online, Reading
from drivers.readers.twn4 import Twn4Options, Twn4Reader
from drivers.transports import Transport, open_transport
from drivers.transports.transport import OnBytes
from simulators.twn4 import Hold, Release, Silent, Twn4
from tests.drivers.pty_device import Events, PtyDevice, PtySide, running


@pytest.fixture
async def device():
    with PtyDevice() as device:
        yield device


@pytest.fixture
def twn4(device):
    simulated = Twn4(PtySide(device))
    device.on_bytes = simulated.receive
    return simulated


def reader(device: PtyDevice, events: Events, **options: int) -> Twn4Reader:
    return Twn4Reader(Twn4Options(port=device.path, search_ms=1, **options), events)


async def searched(twn4: Twn4, times: int) -> None:
    """Wait until the driver has searched so often again."""
    enough = asyncio.Event()
    last = twn4.state()["searches"] + times
    receive = twn4.line.device.on_bytes

    def count(data: bytes) -> None:
        receive(data)
        if twn4.state()["searches"] >= last:
            enough.set()

    twn4.line.device.on_bytes = count
    await asyncio.wait_for(enough.wait(), 2)


async def test_a_held_tag_is_one_reading_and_another_is_another(device, twn4):
    events = Events()
    async with running(reader(device, events), events):
        assert events.of(Online)[0].detail.startswith("TWN4/")
        twn4.do(Hold(uid="04DE5F1EACC040"))
        await events.wait_for(Reading)
        await searched(twn4, 5)
        twn4.do(Hold(uid="100086F444", type="40"))
        assert await events.wait_for(Reading, 2) == [Reading("nfc", "04DE5F1EACC040"), Reading("em4100", "100086F444")]


async def test_a_tag_taken_away_and_held_again_is_a_new_tap(device, twn4):
    events = Events()
    async with running(reader(device, events, gone_after_ms=100), events):
        twn4.do(Hold(uid="AABBCCDD"))
        await events.wait_for(Reading)
        twn4.do(Release())
        await asyncio.sleep(0.12)
        twn4.do(Hold(uid="AABBCCDD"))
        await events.wait_for(Reading, 2)


async def test_i06_an_answer_that_nobody_fetched_is_no_answer_to_what_is_asked_now(device, twn4, monkeypatch):
    events = Events()

    async def open_and_hand_over(port: str, on_bytes: OnBytes, *, baud: int) -> Transport:
        transport = await open_transport(port, on_bytes, baud=baud)
        device.send(b"0001800704DE5F1EACC040\r")
        return transport

    monkeypatch.setattr("drivers.readers.twn4.open_transport", open_and_hand_over)
    async with running(reader(device, events), events):
        assert events.of(Online)[0].detail.startswith("TWN4/")
        await searched(twn4, 3)
        assert events.of(Reading) == []
        twn4.do(Hold(uid="AABBCCDD"))
        assert await events.wait_for(Reading) == [Reading("nfc", "AABBCCDD")]


async def test_beep_and_light(device, twn4):
    events = Events()
    async with running(reader(device, events), events):
        driver = reader(device, events)
        with pytest.raises(DeviceOffline):
            await driver.beep()
    async with running(driver, events):
        await driver.beep(2, 150, 50)
        await driver.light("green", 20)
        await searched(twn4, 30)
        assert twn4.state()["beeps"] == ["0407646009" + "96003200"] * 2
        assert twn4.state()["leds"] == ["041007", "041007", "041207", "041102", "041207"]


async def test_an_order_that_is_given_up_leaves_its_late_answer_to_nobody(device, twn4):
    events, late, early = Events(), asyncio.Event(), []
    answer, owing = device.on_bytes, False

    def give_late(data: bytes) -> None:
        nonlocal owing
        owing = False
        answer(data)
        late.set()

    def dawdle(data: bytes) -> None:
        nonlocal owing
        if owing:
            early.append(data)
        if data.startswith(b"0407"):
            owing = True
            asyncio.get_running_loop().call_later(0.1, give_late, data)
        else:
            answer(data)

    device.on_bytes = dawdle
    driver = reader(device, events)
    async with running(driver, events):
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.03):
                await driver.beep()
        await asyncio.wait_for(late.wait(), 2)
        twn4.do(Hold(uid="01020304"))
        await events.wait_for(Reading)
        # Answers carry no number: a command that went out before it would have taken the late one for its own.
        assert early == []


async def test_the_tag_is_emitted_inside_the_read(device, twn4):
    events = Events()
    driver = reader(device, events)
    async with running(driver, events):
        asked = asyncio.Event()
        device.on_bytes = lambda data: asked.set() if data == b"050010\r" else None
        await asyncio.wait_for(asked.wait(), 2)
        driver._on_bytes(b"0001803807" + b"04DE5F1EACC040\r")
        assert events[-1] == Reading("nfc", "04DE5F1EACC040")


async def test_a_reader_that_falls_silent_is_offline(device, twn4):
    events = Events()
    async with running(reader(device, events, answer_timeout_ms=50), events) as task:
        twn4.do(Silent())
        with pytest.raises(DeviceOffline, match="no TWN4 answers"):
            await asyncio.wait_for(task, 2)


async def test_unplugged_is_offline(device, twn4):
    events = Events()
    async with running(reader(device, events), events) as task:
        device.unplug()
        with pytest.raises(DeviceOffline):
            await asyncio.wait_for(task, 2)


async def test_something_else_on_the_port_is_said(device):
    device.on_bytes = lambda data: device.send(b"00\r") if data.strip() else None
    with pytest.raises(DeviceFault, match="Simple Protocol"):
        await asyncio.wait_for(reader(device, Events()).run(), 2)


async def test_i08_garbage_is_noise_and_the_next_tag_is_read(device, twn4):
    events = Events()
    async with running(reader(device, events), events):
        await device.send_all(b"garbage" * 2000 + b"\r")
        twn4.do(Hold(uid="01020304"))
        assert await events.wait_for(Reading) == [Reading("nfc", "01020304")]
        assert len(events.of(Noise)) <= 3


async def test_it_is_a_driver_and_its_options_refuse_what_cannot_be():
    assert isinstance(Twn4Reader(Twn4Options(port="/dev/x"), Events()), Driver)
    with pytest.raises(msgspec.ValidationError):
        msgspec.convert({"port": "/dev/x", "search_ms": -1}, Twn4Options)
