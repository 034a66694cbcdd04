from __future__ import annotations

import asyncio
from collections.abc import Callable

import msgspec
import pytest

from drivers.api import DeviceFault, DeviceOffline, DeviceTimeout, Driver, InputChanged, Lock, Noise, Online
from drivers.codecs.modbus_rtu import with_crc
from drivers.gates.modbus_master import MAX_WAITING
from drivers.gates.modbus_relay import ModbusRelay, ModbusRelayOptions
from tests.drivers.pty_device import Events, PtyDevice, running

FLASH_700 = bytes.fromhex("0105020000078DB0")


class Board:
    """The slave's side: answers each eight-byte request, well or badly as the test wishes."""

    def __init__(self, device: PtyDevice) -> None:
        self.device = device
        self.coils = [False] * 8
        self.inputs = [False] * 8
        self.writes: list[bytes] = []
        self.functions: list[int] = []
        self.answer: Callable[[bytes, bytes], bytes] = lambda _, answer: answer
        self._buffer = bytearray()
        device.on_bytes = self.receive

    def receive(self, data: bytes) -> None:
        self._buffer += data
        while len(self._buffer) >= 8:
            request = bytes(self._buffer[:8])
            del self._buffer[:8]
            assert with_crc(request[:-2]) == request
            self.functions.append(request[1])
            if answer := self.answer(request, self.serve(request)):
                self.device.send(answer)

    def serve(self, request: bytes) -> bytes:
        if request[1] == 5:
            self.writes.append(request)
            if request[2] == 0:
                self.coils[request[3]] = request[4] == 0xFF
            return request
        bits = self.coils if request[1] == 1 else self.inputs
        return with_crc(bytes([request[0], request[1], 1, sum(bit << at for at, bit in enumerate(bits))]))


@pytest.fixture
async def board():
    with PtyDevice() as device:
        yield Board(device)


def relay(board: Board, events: Events, **options: object) -> ModbusRelay:
    defaults = {"poll_ms": 10, "answer_timeout_ms": 50, "baud": 115_200}
    return ModbusRelay(ModbusRelayOptions(port=board.device.path, **{**defaults, **options}), events)


def silent_on(function: int) -> Callable[[bytes, bytes], bytes]:
    return lambda request, answer: b"" if request[1] == function else answer


async def test_a_pulse_is_the_boards_own_flash_on(board):
    events = Events()
    driver = relay(board, events)
    async with running(driver, events):
        await driver.pulse(1, 700)
        assert board.writes == [FLASH_700]
        await driver.pulse(3, 650)
        assert board.writes[1][:6] == bytes.fromhex("010502020007")


async def test_a_shorter_pulse_does_not_cut_one_that_runs(board):
    events = Events()
    driver = relay(board, events)
    async with running(driver, events):
        await driver.pulse(1, 60_000)
        await driver.pulse(1, 700)
        first, second = (int.from_bytes(write[4:6]) for write in board.writes)
        assert first == 600
        assert 590 <= second <= 600


async def test_on_an_idle_bus_a_pulse_writes_before_anything_else_may_run(board):
    events = Events()
    driver = relay(board, events, poll_ms=5_000)
    async with running(driver, events):
        await asyncio.sleep(0.05)
        board.device.deafen()
        driver.pulse(1, 700).send(None)
        assert board.device.read_now() == FLASH_700
        board.device.listen()
        board.device.send(FLASH_700)


async def test_a_pulse_goes_before_the_polls_and_only_one_request_is_on_the_bus(board):
    events = Events()
    driver = relay(board, events)
    async with running(driver, events):
        held_back: list[bytes] = []
        asked = asyncio.Event()

        def hold_back(request: bytes, answer: bytes) -> bytes:
            held_back.append(answer)
            asked.set()
            return b""

        board.answer = hold_back
        await asyncio.wait_for(asked.wait(), 3)
        pulses = [asyncio.create_task(driver.pulse(channel, 700)) for channel in (1, 2)]
        await asyncio.sleep(0)
        assert len(held_back) == 1
        board.answer = lambda _, answer: answer
        board.functions.clear()
        board.device.send(held_back[0])
        await asyncio.gather(*pulses)
        assert board.functions[:2] == [5, 5]


async def test_inputs_are_told_when_active_at_the_start_and_at_each_change(board):
    events = Events()
    board.inputs[2] = True
    async with running(relay(board, events), events):
        await events.wait_for(InputChanged, 1)
        board.inputs[0] = True
        await events.wait_for(InputChanged, 2)
        board.inputs[2] = False
        await events.wait_for(InputChanged, 3)
    assert isinstance(events[0], Online)
    assert events.of(InputChanged) == [InputChanged(3, True), InputChanged(1, True), InputChanged(3, False)]


async def test_a_contact_that_is_closed_when_idle_is_active_when_it_opens(board):
    events = Events()
    board.inputs[1] = True
    async with running(relay(board, events, idle_closed=(2,)), events):
        board.inputs[1] = False
        assert await events.wait_for(InputChanged) == [InputChanged(2, True)]


async def test_after_a_reconnection_what_was_active_is_told_again_as_it_is_now(board):
    events = Events()
    driver = relay(board, events)
    board.inputs[0] = board.inputs[1] = True
    async with running(driver, events):
        await events.wait_for(InputChanged, 2)
    board.inputs[1] = False
    async with running(driver, events):
        told = await events.wait_for(InputChanged, 4)
    assert told[2:] == [InputChanged(1, True), InputChanged(2, False)]


async def test_relays_found_closed_are_opened_before_online(board):
    events = Events()
    board.coils[4] = True
    async with running(relay(board, events), events):
        assert not any(board.coils)


async def test_hold_and_release(board):
    events = Events()
    driver = relay(board, events)
    async with running(driver, events):
        await driver.hold(2, active=True)
        assert board.coils[1]
        await driver.pulse(2, 100)
        assert board.writes[-1] == with_crc(bytes.fromhex("01050001FF00"))
        await driver.hold(2, active=False)
        assert not board.coils[1]
        await driver.hold(3, active=True)
    assert board.coils == [False] * 8


async def test_an_exception_is_a_fault_with_its_meaning(board):
    events = Events()
    driver = relay(board, events)
    async with running(driver, events):
        board.answer = lambda request, answer: with_crc(b"\x01\x85\x02") if request[1] == 5 else answer
        with pytest.raises(DeviceFault, match="no such relay"):
            await driver.pulse(8, 700)


async def test_a_board_without_these_inputs_says_so_before_online(board):
    events = Events()
    board.answer = lambda request, answer: with_crc(b"\x01\x82\x01") if request[1] == 2 else answer
    with pytest.raises(DeviceFault, match="check relays and inputs"):
        await asyncio.wait_for(relay(board, events).run(), 3)
    assert events.of(Online) == []


async def test_no_inputs_means_only_coils_are_read(board):
    events = Events()
    async with running(relay(board, events, inputs=0), events):
        pass
    assert set(board.functions) == {1}


async def test_an_unconfirmed_pulse_times_out_and_is_sent_once(board):
    events = Events()
    driver = relay(board, events)
    async with running(driver, events):
        board.answer = silent_on(5)
        with pytest.raises(DeviceTimeout, match="within 50 ms"):
            await driver.pulse(1, 700)
        board.answer = lambda _, answer: answer
        await driver.pulse(2, 700)
        assert [write[3] for write in board.writes] == [0, 1]


async def test_a_pulse_that_failed_does_not_lengthen_the_next(board):
    events = Events()
    driver = relay(board, events)
    async with running(driver, events):
        board.answer = lambda request, answer: with_crc(b"\x01\x85\x04") if request[1] == 5 else answer
        with pytest.raises(DeviceFault):
            await driver.pulse(1, 60_000)
        board.answer = lambda _, answer: answer
        await driver.pulse(1, 700)
        assert board.writes[-1] == FLASH_700


async def test_three_polls_without_an_answer_are_offline(board):
    events = Events()
    driver = relay(board, events)
    async with running(driver, events) as task:
        board.functions.clear()
        board.answer = silent_on(2)
        with pytest.raises(DeviceOffline, match="does not answer"):
            await asyncio.wait_for(task, 3)
        assert 3 <= board.functions.count(2) <= 4
    with pytest.raises(DeviceOffline):
        await driver.pulse(1, 700)


async def test_two_lost_polls_are_not(board):
    events = Events()
    lost = 0

    def lose_two(request: bytes, answer: bytes) -> bytes:
        nonlocal lost
        lost += request[1] == 2
        return b"" if request[1] == 2 and lost <= 2 else answer

    async with running(relay(board, events), events) as task:
        board.answer = lose_two
        board.inputs[0] = True
        await events.wait_for(InputChanged)
        assert lost >= 3
        assert not task.done()


async def test_a_bad_crc_counts_as_no_answer_and_is_noise(board):
    events = Events()
    async with running(relay(board, events), events) as task:
        board.answer = lambda _, answer: answer[:-1] + bytes([answer[-1] ^ 0xFF])
        with pytest.raises(DeviceOffline, match="does not answer"):
            await asyncio.wait_for(task, 3)
    assert events.of(Noise)[0].why == "wrong CRC"


async def test_half_an_answer_is_no_answer(board):
    events = Events()
    async with running(relay(board, events), events) as task:
        board.answer = lambda _, answer: answer[:3]
        with pytest.raises(DeviceOffline):
            await asyncio.wait_for(task, 3)


async def test_a_silent_board_is_offline_from_the_start(board):
    board.answer = lambda _request, _answer: b""
    with pytest.raises(DeviceOffline, match="A and B wires"):
        await asyncio.wait_for(relay(board, Events()).run(), 3)


async def test_i08_noise_around_the_answers_does_no_harm(board):
    events = Events()
    driver = relay(board, events)
    async with running(driver, events):
        board.answer = lambda _, answer: b"\x00\x01\x02\xff" * 20 + answer + b"\x01\x85\x00"
        await driver.pulse(1, 700)
        board.inputs[5] = True
        await events.wait_for(InputChanged)
        assert 1 <= len(events.of(Noise)) <= 2


async def test_unplugged_is_offline_quickly_also_for_a_pulse_under_way(board):
    events = Events()
    driver = relay(board, events, answer_timeout_ms=5_000)
    async with running(driver, events) as task:
        asked = asyncio.Event()

        def note(request: bytes, answer: bytes) -> bytes:
            if request[1] != 5:
                return answer
            asked.set()
            return b""

        board.answer = note
        pulse = asyncio.create_task(driver.pulse(1, 700))
        await asyncio.wait_for(asked.wait(), 3)
        board.device.unplug()
        with pytest.raises(DeviceOffline):
            await asyncio.wait_for(task, 2)
        # The board has heard it, and nobody knows whether it moved the relay before it was unplugged (I2).
        with pytest.raises(DeviceTimeout):
            await pulse


async def test_i09_waiting_commands_are_bounded_and_the_next_is_busy_at_once(board):
    events = Events()
    driver = relay(board, events, poll_ms=5_000, answer_timeout_ms=2_000)
    async with running(driver, events):
        board.answer = lambda _request, _answer: b""
        pulses = [asyncio.create_task(driver.pulse(1, 700)) for _ in range(MAX_WAITING + 5)]
        refused, waiting = await asyncio.wait(pulses, timeout=0.1)
        assert len(waiting) <= MAX_WAITING + 1
        for pulse in refused:
            with pytest.raises(DeviceFault, match="busy"):
                pulse.result()
        for pulse in waiting:
            pulse.cancel()
        await asyncio.gather(*waiting, return_exceptions=True)
        assert len(board.writes) == 1


@pytest.mark.parametrize(("channel", "pulse_ms"), [(0, 700), (9, 700), (1, 0), (1, 4_000_000)])
async def test_what_the_board_cannot_do_is_a_fault(board, channel, pulse_ms):
    events = Events()
    driver = relay(board, events)
    async with running(driver, events):
        with pytest.raises(DeviceFault):
            await driver.pulse(channel, pulse_ms)
    assert board.writes == []


@pytest.mark.parametrize("idle_closed", [[9], [0]])
def test_options_name_only_inputs_that_are_there(idle_closed):
    with pytest.raises(msgspec.ValidationError, match="idle_closed"):
        msgspec.convert({"port": "/dev/x", "idle_closed": idle_closed}, ModbusRelayOptions)


def test_it_is_a_driver_and_a_lock():
    driver = ModbusRelay(ModbusRelayOptions(port="/dev/x"), Events())
    assert isinstance(driver, Driver)
    assert isinstance(driver, Lock)
    assert (driver.channels, driver.board_timed) == (8, True)
