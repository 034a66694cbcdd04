from __future__ import annotations

import asyncio

import pytest

from drivers.api import DeviceFault, DeviceOffline, DeviceTimeout
from drivers.codecs.modbus_rtu import Bits, Written, flash_on, read_coils, with_crc
from drivers.gates.modbus_master import ModbusMaster
from drivers.noise import NoiseReport
from tests.drivers.pty_device import Events

READ, PULSE, OTHER_PULSE = read_coils(1, 8), flash_on(1, 0, 700), flash_on(1, 1, 700)
COILS = with_crc(b"\x01\x01\x01\x00")


class Wire:
    """A transport that remembers what was written and when."""

    name = "/dev/wire"

    def __init__(self) -> None:
        self.closed: asyncio.Future[DeviceOffline] = asyncio.get_running_loop().create_future()
        self.written: list[bytes] = []
        self.written_at_s: list[float] = []
        self.unsent_bytes = 0
        self.aborted = False
        self.changed = asyncio.Event()

    @property
    def undelivered_bytes(self) -> int:
        return self.unsent_bytes

    def write(self, data: bytes) -> None:
        self.written.append(data)
        self.written_at_s.append(asyncio.get_running_loop().time())
        self.changed.set()

    def abort(self) -> None:
        self.aborted = True
        self.closed.set_result(DeviceOffline("gone"))

    async def wait_for(self, count: int) -> None:
        async with asyncio.timeout(3):
            while len(self.written) < count:
                self.changed.clear()
                await self.changed.wait()


def master_on(wire: Wire, *, answer_timeout_s: float = 1.0, frame_gap_s: float = 0.0) -> ModbusMaster:
    noise = NoiseReport(Events())
    return ModbusMaster(wire, noise, answer_timeout_s=answer_timeout_s, frame_gap_s=frame_gap_s)


async def test_an_urgent_request_overtakes_those_that_wait_but_not_the_one_on_the_line():
    wire = Wire()
    master = master_on(wire)
    reads = [asyncio.create_task(master.ask(READ)) for _ in range(3)]
    await wire.wait_for(1)
    pulses = [asyncio.create_task(master.ask(pulse, urgent=True)) for pulse in (PULSE, OTHER_PULSE)]
    await asyncio.sleep(0)
    assert wire.written == [READ.frame]
    for count, answer in enumerate((COILS, PULSE.frame, OTHER_PULSE.frame, COILS, COILS), start=1):
        await wire.wait_for(count)
        master.receive_data(answer)
    assert await asyncio.gather(*pulses) == [Written(), Written()]
    assert await asyncio.gather(*reads) == [Bits((False,) * 8)] * 3
    assert wire.written[1:3] == [PULSE.frame, OTHER_PULSE.frame]


async def test_the_line_is_left_quiet_after_the_last_byte():
    wire = Wire()
    master = master_on(wire, frame_gap_s=0.05)
    master.receive_data(b"\xff")
    heard_at_s = asyncio.get_running_loop().time()
    asking = asyncio.create_task(master.ask(PULSE, urgent=True))
    await wire.wait_for(1)
    assert wire.written_at_s[0] - heard_at_s >= 0.048
    master.receive_data(PULSE.frame)
    assert await asking == Written()


async def test_a_request_whose_caller_went_away_is_not_sent():
    wire = Wire()
    master = master_on(wire)
    first, second = (asyncio.create_task(master.ask(pulse)) for pulse in (PULSE, OTHER_PULSE))
    await wire.wait_for(1)
    second.cancel()
    await asyncio.wait({second})
    master.receive_data(PULSE.frame)
    assert await first == Written()
    assert wire.written == [PULSE.frame]


async def test_a_command_that_is_stuck_here_when_its_time_is_up_is_thrown_away():
    wire = Wire()
    wire.unsent_bytes = 8
    with pytest.raises((DeviceTimeout, DeviceOffline)):
        await master_on(wire, answer_timeout_s=0.01).ask(PULSE, urgent=True)
    assert wire.aborted


async def test_a_refused_write_fails_its_request_and_the_next_is_tried():
    wire = Wire()
    remember = wire.write

    def refuse(data: bytes) -> None:
        wire.write = remember
        raise DeviceFault("busy")

    wire.write = refuse
    master = master_on(wire)
    with pytest.raises(DeviceFault):
        await master.ask(PULSE)
    asking = asyncio.create_task(master.ask(OTHER_PULSE))
    await wire.wait_for(1)
    master.receive_data(OTHER_PULSE.frame)
    assert await asking == Written()


async def test_a_late_answer_is_not_taken_for_the_next_one():
    wire = Wire()
    master = master_on(wire, answer_timeout_s=0.05)
    with pytest.raises(DeviceTimeout):
        await master.ask(PULSE)
    master.receive_data(PULSE.frame)
    asking = asyncio.create_task(master.ask(PULSE))
    await wire.wait_for(2)
    assert not asking.done()
    master.receive_data(PULSE.frame)
    assert await asking == Written()


async def test_i02_a_link_that_breaks_says_of_each_command_whether_the_board_may_have_it():
    wire = Wire()
    master = master_on(wire)
    on_the_line, waiting = (asyncio.create_task(master.ask(pulse, urgent=True)) for pulse in (PULSE, OTHER_PULSE))
    await wire.wait_for(1)
    wire.closed.set_result(DeviceOffline("gone"))
    with pytest.raises(DeviceTimeout, match="before the board answered: gone"):
        await on_the_line
    with pytest.raises(DeviceOffline):
        await waiting
    assert wire.written == [PULSE.frame]
