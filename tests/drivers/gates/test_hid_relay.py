"""The driver over a stand-in for the system's USB; `tests/drivers/transports/test_hid_usb.py` has pyusb and libusb."""

from __future__ import annotations

import asyncio
import threading

import pytest

from drivers.api import DeviceFault, DeviceOffline, DeviceTimeout, Driver, Lock, Online
from drivers.gates import hid_relay
from drivers.gates.hid_relay import HidRelay, HidRelayOptions
from drivers.transports import hid
from drivers.transports.hid import HidFound
from tests.drivers.pty_device import Events, running, until


class FakeBoard:
    def __init__(self, serial: str = "BITFT", product: str = "USBRelay2", path: str = "1-1.2") -> None:
        self.serial, self.product, self.path = serial, product, path
        self.closed = [False] * 8
        self.stuck = False
        self.here = True
        self.users = 0
        self.hang: threading.Event | None = None


class FakeUsb:
    """Boards on a bus; a board that is gone answers nothing."""

    def __init__(self, *boards: FakeBoard) -> None:
        self.boards = list(boards)
        self.reports: list[bytes] = []

    def find(self, vendor: int, product: int) -> list[HidFound]:
        assert (vendor, product) == (0x16C0, 0x05DF)
        return [HidFound(board.product, board.path, board) for board in self.boards if board.here]

    def open(self, board: FakeBoard) -> None:
        board.users += 1

    def close(self, board: FakeBoard) -> None:
        board.users = 0

    def probe(self, board: FakeBoard) -> None:
        self._alive(board)

    def set_feature(self, board: FakeBoard, report: int, data: bytes) -> None:
        self._alive(board)
        assert len(data) == 8
        self.reports.append(data)
        if not board.stuck:
            board.closed[data[1] - 1] = data[0] == 0xFF

    def get_feature(self, board: FakeBoard, report: int, length: int) -> bytes:
        self._alive(board)
        if not board.product.startswith("USBRelay"):
            raise DeviceTimeout("no such report")
        state = sum(closed << at for at, closed in enumerate(board.closed))
        return board.serial.encode() + bytes([0, 0, state])

    def _alive(self, board: FakeBoard) -> None:
        if board.hang is not None:
            board.hang.wait(5)
        if not board.here:
            raise DeviceOffline("gone")


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hid_relay, "POLL_S", 0.02)


def relay(usb: FakeUsb, events: Events, **options: object) -> HidRelay:
    return HidRelay(HidRelayOptions(**{"channels": 2, **options}), events, usb)


async def test_a_pulse_closes_the_relay_and_a_timer_opens_it():
    board, events = FakeBoard(), Events()
    board.closed[1] = True
    usb = FakeUsb(board)
    driver = relay(usb, events)
    async with running(driver, events):
        assert not any(board.closed), "whoever closed it before is not there any more"
        assert events.of(Online) == [Online("USBRelay2 BITFT on 1-1.2")]
        await driver.pulse(1, 50)
        assert board.closed[0]
        await until(lambda: not board.closed[0])
        await driver.hold(2, True)
        await driver.pulse(2, 50)
        assert board.closed[1]
    assert not any(board.closed)
    assert board.users == 0


async def test_a_pulse_lasts_from_when_the_board_was_told_also_where_its_thread_was_busy():
    board, events = FakeBoard(), Events()
    driver = relay(FakeUsb(board), events)
    async with running(driver, events):
        board.hang = threading.Event()
        pulse = asyncio.create_task(driver.pulse(1, 150))
        await asyncio.sleep(0.3)
        board.hang.set()
        await pulse
        assert board.closed[0]
        assert await until(lambda: not board.closed[0]) > 0.1


async def test_a_board_that_hangs_is_at_rest_and_let_go_when_it_comes_back(monkeypatch):
    monkeypatch.setattr(hid, "CALL_TIMEOUT_S", 0.2)
    board, events = FakeBoard(), Events()
    driver = relay(FakeUsb(board), events)
    async with running(driver, events) as task:
        board.hang = threading.Event()
        with pytest.raises(DeviceTimeout):
            await driver.pulse(1, 60_000)
        with pytest.raises(DeviceTimeout):
            await asyncio.wait_for(task, 5)
    assert board.users == 1
    board.hang.set()
    await until(lambda: board.users == 0)
    assert not any(board.closed), "the order that comes through late closes the relay for no longer than a moment"


async def test_a_pulse_nobody_confirmed_is_ended_all_the_same():
    board, events = FakeBoard(), Events()
    usb = FakeUsb(board)
    driver = relay(usb, events)
    async with running(driver, events):
        board.stuck = True
        with pytest.raises(DeviceFault, match="did not move"):
            await driver.pulse(1, 50)
        board.stuck = False
        board.closed[0] = True
        await until(lambda: not board.closed[0])


async def test_a_relay_that_does_not_move_is_a_fault():
    board, events = FakeBoard(), Events()
    driver = relay(FakeUsb(board), events)
    async with running(driver, events):
        board.stuck = True
        with pytest.raises(DeviceFault, match="did not move relay 1"):
            await driver.pulse(1, 50)
        with pytest.raises(DeviceFault, match="it has 1 to 2"):
            await driver.pulse(3, 50)


async def test_a_board_that_tells_nothing_is_driven_all_the_same():
    board, events = FakeBoard(product="HIDRelay"), Events()
    driver = relay(FakeUsb(board), events, channels=1)
    async with running(driver, events):
        await driver.pulse(1, 30)
        assert board.closed[0]
        await until(lambda: not board.closed[0])


async def test_boards_are_told_apart_by_serial_number_and_by_socket():
    first, second = FakeBoard("AAAAA", path="1-1"), FakeBoard("BBBBB", path="1-2")
    usb = FakeUsb(first, second)
    for options, meant in (({"serial": "BBBBB"}, second), ({"usb_path": "1-1"}, first)):
        events = Events()
        driver = relay(usb, events, **options)
        async with running(driver, events):
            await driver.hold(1, True)
            assert meant.closed[0]
            assert [board for board in (first, second) if board.users] == [meant]
    with pytest.raises(DeviceFault, match="2 USB relay boards are plugged in: name one"):
        await relay(usb, Events()).run()
    with pytest.raises(DeviceOffline, match="CCCCC is not plugged in"):
        await relay(usb, Events(), serial="CCCCC").run()


async def test_an_unplugged_board_ends_the_link_and_works_again():
    board, events = FakeBoard(), Events()
    driver = relay(FakeUsb(board), events)
    task = asyncio.create_task(driver.run())
    await events.wait_for(Online)
    board.here = False
    with pytest.raises(DeviceOffline):
        async with asyncio.timeout(2):
            await task
    with pytest.raises(DeviceOffline):
        await driver.pulse(1, 50)
    board.here = True
    async with running(driver, events):
        await driver.pulse(1, 50)
        assert board.closed[0]


async def test_i08_a_board_that_hangs_costs_its_own_thread_only(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(hid, "CALL_TIMEOUT_S", 0.05)
    board, events = FakeBoard(), Events()
    driver = relay(FakeUsb(board), events)
    board.hang = threading.Event()
    try:
        with pytest.raises(DeviceTimeout, match="unplug it and plug it in again"):
            async with asyncio.timeout(2):
                await driver.run()
    finally:
        board.hang.set()


def test_it_is_a_lock():
    driver = HidRelay(HidRelayOptions(), lambda _: None, FakeUsb())
    assert isinstance(driver, Driver)
    assert isinstance(driver, Lock)
