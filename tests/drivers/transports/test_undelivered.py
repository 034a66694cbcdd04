"""What a device did not get in time never reaches it: neither when its cable is back, nor when it takes data again.

A peer whose buffers are full stands for a network that is down: its system acknowledges nothing more, and the sender's
goes on trying.
"""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator

import pytest

from drivers.api import DeviceFault, DeviceOffline, DeviceTimeout
from drivers.codecs import modbus_rtu
from drivers.codecs.escpos import drawer_pulse
from drivers.codecs.lcus import encode_switch
from drivers.codecs.modbus_tcp import TcpAnswerDecoder
from drivers.gates.lcus import LcusOptions, LcusRelay
from drivers.gates.modbus_master import ModbusMaster
from drivers.noise import NoiseReport
from drivers.printers.escpos import EscposOptions, EscposPrinter
from drivers.transports import Transport, open_transport
from tests.drivers.pty_device import Events, PtyDevice, running

LATE = b"LATE"


class Jammed:
    """A peer that reads nothing until it is asked what it got."""

    def __init__(self) -> None:
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._listener.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        self.url = f"tcp://127.0.0.1:{self._listener.getsockname()[1]}"

    async def jam(self, link: Transport) -> None:
        """Write until the peer's buffers are full, and the rest is with our own system."""
        for _ in range(16):
            link.write(bytes(1024))
        await link.drain()
        assert link.undelivered_bytes > 0

    def take_all(self) -> bytes:
        """Return what arrived, once the connection has come to its end."""
        peer, _ = self._listener.accept()
        peer.settimeout(5)
        data = b""
        with peer:
            try:
                while part := peer.recv(65536):
                    data += part
            except ConnectionResetError:
                pass
        return data

    async def got(self) -> bytes:
        return await asyncio.to_thread(self.take_all)

    def close(self) -> None:
        self._listener.close()


@pytest.fixture
async def peer() -> AsyncIterator[Jammed]:
    jammed = Jammed()
    yield jammed
    jammed.close()


async def given_up(link: Transport, error: BaseException | None) -> None:
    async with link:
        link.write(LATE)
        if error is not None:
            raise error


async def test_who_gives_a_device_up_sends_it_nothing_more(peer: Jammed) -> None:
    link = await open_transport(peer.url, lambda _: None)
    await peer.jam(link)
    with pytest.raises(DeviceTimeout):
        await given_up(link, DeviceTimeout("it says nothing"))
    assert LATE not in await peer.got()


async def test_who_is_stopped_in_good_order_sends_what_was_written(peer: Jammed) -> None:
    link = await open_transport(peer.url, lambda _: None)
    await peer.jam(link)
    await given_up(link, None)
    assert (await peer.got()).endswith(LATE)


async def test_one_that_takes_all_and_hangs_up_has_all_and_one_that_breaks_off_has_not() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        address = f"tcp://127.0.0.1:{listener.getsockname()[1]}"
        for takes in (True, False):
            link = await open_transport(address, lambda _: None)
            peer, _ = listener.accept()
            link.write(LATE)
            if takes:
                assert peer.recv(4) == LATE
            # Closing with something unread breaks the connection off.
            peer.close()
            await asyncio.wait_for(link.lost(), 5)
            if takes:
                await link.arrive()
            else:
                with pytest.raises(DeviceOffline):
                    await link.arrive()
            await link.close()


async def test_i06_a_relay_behind_a_converter_is_not_closed_when_the_network_is_back(peer: Jammed) -> None:
    events = Events()
    driver = LcusRelay(LcusOptions(port=peer.url), events)
    async with running(driver, events):
        assert driver._transport is not None
        await peer.jam(driver._transport)
        with pytest.raises(DeviceTimeout, match="takes no data"):
            await asyncio.wait_for(driver.pulse(1, 60_000), 3)
    assert encode_switch(1, closed=True) not in await peer.got()


async def test_i06_a_command_to_a_board_that_nobody_acknowledged_is_taken_back(peer: Jammed) -> None:
    link = await open_transport(peer.url, lambda _: None)
    noise = NoiseReport(Events())
    master = ModbusMaster(link, noise, answer_timeout_s=0.1, frame_gap_s=0, decoder=TcpAnswerDecoder())
    await peer.jam(link)
    with pytest.raises(DeviceTimeout):
        await master.ask(modbus_rtu.read_coils(1, 8))
    assert not link.closed.done(), "a question may arrive late"
    command = modbus_rtu.flash_on(1, 0, 700)
    with pytest.raises(DeviceTimeout):
        await master.ask(command, urgent=True)
    await asyncio.wait_for(link.lost(), 3)
    assert TcpAnswerDecoder().begin(command)[6:] not in await peer.got()


@pytest.mark.parametrize("what", ["receipt", "pulse"])
async def test_i06_a_printer_gets_nothing_of_what_was_reported_as_not_taken(peer: Jammed, what: str) -> None:
    events = Events()
    driver = EscposPrinter(EscposOptions(connect=peer.url, status="none", write_timeout_s=0.3), events)
    async with running(driver, events):
        assert driver._link is not None
        await peer.jam(driver._link)
        with pytest.raises(DeviceFault):
            await asyncio.wait_for(driver.write(LATE) if what == "receipt" else driver.kick(2), 5)
    got = await peer.got()
    assert LATE not in got
    assert drawer_pulse(2) not in got


class Port(asyncio.Transport):
    """A serial line whose adapter takes nothing: what was written lies in the kernel. A pty has no such place."""

    def __init__(self) -> None:
        super().__init__({"serial": self})
        self.in_the_kernel = b""

    def write(self, data: bytes | bytearray | memoryview) -> None:
        self.in_the_kernel += bytes(data)

    def get_write_buffer_size(self) -> int:
        return 0

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None:
        """Nothing is held here."""

    def is_closing(self) -> bool:
        return False

    def pause_reading(self) -> None:
        """Nothing comes in."""

    def reset_write_buffer(self) -> None:
        self.in_the_kernel = b""

    def abort(self) -> None:
        assert not self.in_the_kernel, "the kernel would send it when the adapter takes data again"


async def test_bytes_that_the_kernel_holds_for_a_serial_line_are_thrown_away_with_the_link() -> None:
    link, port = Transport("/dev/x", lambda _: None), Port()
    link.connection_made(port)
    link.write(LATE)
    assert port.in_the_kernel == LATE
    link.abort()
    assert port.in_the_kernel == b""


async def test_a_serial_port_is_one_whose_kernel_buffer_can_be_emptied() -> None:
    with PtyDevice() as device:
        async with await open_transport(device.path, lambda _: None) as link:
            assert link._pipe is not None
            link._pipe.get_extra_info("serial").reset_write_buffer()
