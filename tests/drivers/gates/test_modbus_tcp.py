"""The driver against a Modbus TCP server that this project did not write."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager

import msgspec
import pytest
from pymodbus.server import ModbusTcpServer
from pymodbus.simulator import DataType, SimData, SimDevice

from drivers.api import Contacts, DeviceFault, DeviceOffline, DeviceTimeout, Driver, InputChanged, Lock, Online
from drivers.gates.modbus_tcp import ModbusTcpOptions, ModbusTcpRelay
from tests.drivers.pty_device import Events, running, until
from tests.ports import free_port

READ_INPUTS, WRITE_COIL = 2, 5
COILS_TO_FLASH = 0x240


class Board:
    """pymodbus's server: its frames and its refusals, with a board's coils and inputs behind them."""

    def __init__(self, port: int) -> None:
        self.port = port
        self.coils = [False] * 16
        self.inputs = [False] * 16
        self.received: list[bytes] = []
        blocks = [SimData(0, values=[False] * COILS_TO_FLASH, datatype=DataType.BITS)]
        self.device = SimDevice(1, (blocks, [*blocks], [SimData(0)], [SimData(0)]), action=self.act)

    async def act(self, function, start, address, count, registers, values):
        if function == WRITE_COIL and values is not None and address < len(self.coils):
            self.coils[address] = bool(values[0])
        source = self.inputs if function == READ_INPUTS else self.coils
        registers[0] = sum(bit << at for at, bit in enumerate(source))

    def traced(self, sending: bool, data: bytes) -> bytes:
        if not sending:
            self.received.append(data)
        return data

    def options(self, **given: object) -> ModbusTcpOptions:
        defaults = {"poll_ms": 10, "answer_timeout_ms": 300}
        return ModbusTcpOptions(port=f"tcp://127.0.0.1:{self.port}", **{**defaults, **given})


@asynccontextmanager
async def serving(board: Board):
    server = ModbusTcpServer(board.device, address=("127.0.0.1", board.port), trace_packet=board.traced)
    await server.serve_forever(background=True)
    try:
        yield server
    finally:
        await server.shutdown()


async def test_inputs_are_told_and_pulses_are_timed_here_for_a_plain_board():
    board, events = Board(free_port()), Events()
    async with serving(board):
        driver = ModbusTcpRelay(board.options(pulse="gateway", idle_closed=(2,)), events)
        board.inputs[1] = True
        async with running(driver, events):
            assert not driver.board_timed
            board.inputs[0] = True
            await until(lambda: InputChanged(1, True) in events)
            board.inputs[1] = False
            await until(lambda: InputChanged(2, True) in events)
            await driver.pulse(3, 100)
            assert board.coils[2]
            await until(lambda: not board.coils[2])
            await driver.hold(4, True)
            assert board.coils[3]
        await until(lambda: not board.coils[3])


async def test_a_relay_found_closed_is_opened_at_the_start():
    board, events = Board(free_port()), Events()
    board.coils[5] = True
    async with serving(board), running(ModbusTcpRelay(board.options(), events), events):
        assert not board.coils[5]


async def test_the_flash_on_command_goes_out_as_the_board_wants_it():
    board, events = Board(free_port()), Events()
    async with serving(board):
        driver = ModbusTcpRelay(board.options(answer_timeout_ms=50), events)
        async with running(driver, events):
            assert driver.board_timed
            # pymodbus knows coils as truth values only, so it has no answer to a duration.
            with pytest.raises((DeviceFault, DeviceTimeout)):
                await driver.pulse(2, 700)
        assert any(frame.endswith(bytes.fromhex("0006010502010007")) for frame in board.received)


async def test_a_board_that_goes_away_is_missed_and_found_again():
    board, events = Board(free_port()), Events()
    driver = ModbusTcpRelay(board.options(), events)
    async with serving(board) as server:
        task = asyncio.create_task(driver.run())
        await events.wait_for(Online)
        await server.shutdown()
        with pytest.raises(DeviceOffline):
            async with asyncio.timeout(2):
                await task
    with pytest.raises(DeviceOffline, match="refuses connections"):
        await driver.run()
    async with serving(board), running(driver, events):
        assert len(events.of(Online)) == 2
    with pytest.raises(DeviceOffline):
        await driver.pulse(1, 700)


def test_it_is_a_lock_with_contacts():
    driver = ModbusTcpRelay(ModbusTcpOptions(port="tcp://board.local:502"), lambda _: None)
    assert isinstance(driver, Driver)
    assert isinstance(driver, Lock)
    assert isinstance(driver, Contacts)
    with pytest.raises(msgspec.ValidationError):
        msgspec.convert({"port": "/dev/ttyUSB0"}, ModbusTcpOptions)
