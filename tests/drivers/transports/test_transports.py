from __future__ import annotations

import asyncio
import errno
import fcntl
import os
import socket
from contextlib import suppress

import pytest
import serialx

from drivers.api import DeviceFault, DeviceOffline
from drivers.transports import errors, open_transport, transport
from tests.drivers.pty_device import PtyDevice


@pytest.fixture
async def device():
    with PtyDevice() as device:
        yield device


class Peer:
    """A device on the network: one listening socket, one connection at a time."""

    def __init__(self) -> None:
        self.connected: asyncio.Queue[tuple[asyncio.StreamReader, asyncio.StreamWriter]] = asyncio.Queue()
        self._writers: list[asyncio.StreamWriter] = []

    def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._writers.append(writer)
        self.connected.put_nowait((reader, writer))

    async def __aenter__(self):
        self.server = await asyncio.start_server(self._accept, "127.0.0.1", 0)
        self.url = f"tcp://127.0.0.1:{self.server.sockets[0].getsockname()[1]}"
        return self

    async def __aexit__(self, *_):
        self.server.close()
        for writer in self._writers:
            writer.transport.abort()
            with suppress(OSError):
                await writer.wait_closed()


async def lost(link: transport.Transport) -> DeviceOffline:
    async with asyncio.timeout(3):
        return await link.lost()


async def test_serial_bytes_go_both_ways(device):
    got: asyncio.Queue[bytes] = asyncio.Queue()
    async with await open_transport(device.path, got.put_nowait) as link:
        device.send(b"hello")
        assert await asyncio.wait_for(got.get(), 3) == b"hello"
        link.write(b"there")
        assert device.read_now() == b"there"
        await link.drain()
        assert link.unsent_bytes == 0


async def test_serial_url_may_carry_the_speed(device):
    async with await open_transport(f"serial://{device.path}?baud=19200", lambda _: None):
        pass


async def test_bytes_reach_the_callback_inside_the_read(device):
    seen = []
    async with await open_transport(device.path, seen.append) as link:
        link.data_received(b"now")
        assert seen == [b"now"]


async def test_unplugged_serial_device_is_offline_at_once(device):
    async with await open_transport(device.path, lambda _: None) as link:
        device.unplug()
        reason = await lost(link)
        assert "unplugged" in str(reason)
        with pytest.raises(DeviceOffline):
            link.write(b"x")
        with pytest.raises(DeviceOffline):
            await link.drain()


async def test_writing_to_a_device_that_just_went_raises_offline(device):
    async with await open_transport(device.path, lambda _: None) as link:
        device.unplug()
        with pytest.raises(DeviceOffline):
            link.write(b"x")


async def test_a_port_is_opened_for_one_alone_and_the_other_is_told_who_has_it(device):
    async with await open_transport(device.path, lambda _: None):
        with pytest.raises(DeviceOffline, match="in use by another device of this gateway"):
            await open_transport(device.path, lambda _: None)


async def test_a_port_can_be_opened_again_after_it_was_closed(device):
    for _ in range(3):
        async with await open_transport(device.path, lambda _: None):
            pass


async def test_a_lock_held_by_another_process_is_named(device):
    fd = os.open(device.path, os.O_RDWR | os.O_NOCTTY)
    fcntl.flock(fd, fcntl.LOCK_EX)
    process = await asyncio.create_subprocess_exec("sleep", "30", pass_fds=[fd])
    os.close(fd)
    try:
        with pytest.raises(DeviceOffline, match=rf"sleep \(process {process.pid}\)"):
            await open_transport(device.path, lambda _: None)
    finally:
        process.kill()
        await process.wait()


async def test_missing_port_says_what_is_plugged_in(tmp_path, monkeypatch):
    (tmp_path / "usb-FTDI_A9X-if00").touch()
    monkeypatch.setattr(errors, "BY_ID", tmp_path)
    with pytest.raises(DeviceOffline, match=r"does not exist.*plugged in now: .*usb-FTDI_A9X-if00"):
        await open_transport("/dev/serial/by-id/none", lambda _: None)


async def test_a_file_that_is_no_serial_port(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(DeviceFault, match="check that it is a serial port"):
        await open_transport(str(tmp_path / "file"), lambda _: None)


@pytest.mark.parametrize("connect", ["", "COM3", "usb", "tcp://host", "tcp://host:port", "http://host:80"])
async def test_what_names_no_connection_is_refused(connect):
    with pytest.raises(DeviceFault, match="names no connection"):
        await open_transport(connect, lambda _: None)


@pytest.mark.parametrize("connect", ["tcp://a..b:9100", f"tcp://{'x' * 64}.local:9100", "tcp://127.0.0.1:99999"])
async def test_an_address_that_cannot_be_one_is_offline_in_words(connect):
    with pytest.raises(DeviceOffline, match="is no address: check the spelling of the host, and that the port is"):
        await open_transport(connect, lambda _: None)


async def test_it_counts_what_it_has_taken(device):
    async with await open_transport(device.path, lambda _: None) as link:
        link.write(b"four")
        assert link.taken_bytes - link.unsent_bytes == 4


def test_permission_denied_names_the_group():
    text = str(errors.cannot_open_serial("/dev/ttyUSB0", PermissionError(errno.EACCES, "no")))
    assert "adduser" in text
    assert "dialout" in text


@pytest.mark.parametrize("code", [errno.EIO, errno.ENODEV, errno.ECONNRESET, errno.ETIMEDOUT, errno.EBADF])
def test_every_loss_has_words(code):
    assert "/dev/x" in str(errors.why_lost("/dev/x", OSError(code, "")))


async def test_i09_the_write_buffer_is_bounded_and_says_busy(device):
    device.deafen()
    async with await open_transport(device.path, lambda _: None) as link:
        link.write(bytes(transport.MAX_UNSENT_BYTES))
        with pytest.raises(DeviceFault, match="busy"):
            link.write(bytes(transport.MAX_UNSENT_BYTES))
        assert link.unsent_bytes <= transport.MAX_UNSENT_BYTES
        link.abort()


async def test_drain_means_that_the_last_byte_has_left(device):
    device.deafen()
    async with await open_transport(device.path, lambda _: None) as link:
        link.write(bytes(20_000))
        assert link.unsent_bytes > 0
        draining = asyncio.create_task(link.drain())
        device.listen()
        await asyncio.wait_for(draining, 5)
        assert link.unsent_bytes == 0
        await device.receive(20_000)


async def test_an_unplug_frees_whoever_drains(device):
    device.deafen()
    async with await open_transport(device.path, lambda _: None) as link:
        link.write(bytes(20_000))
        draining = asyncio.create_task(link.drain())
        await asyncio.sleep(0)
        device.unplug()
        with pytest.raises(DeviceOffline):
            await asyncio.wait_for(draining, 3)


async def test_cancelling_one_who_waits_for_the_loss_does_not_disturb_the_other(device):
    async with await open_transport(device.path, lambda _: None) as link:
        first = asyncio.create_task(link.lost())
        await asyncio.sleep(0)
        first.cancel()
        with suppress(asyncio.CancelledError):
            await first
        device.unplug()
        assert isinstance(await lost(link), DeviceOffline)


async def test_i08_a_babbling_device_is_read_no_faster_than_the_limit(monkeypatch):
    monkeypatch.setattr(transport, "MAX_BYTES_PER_SECOND", 4096)
    loop = asyncio.get_running_loop()
    arrivals: asyncio.Queue[tuple[float, int]] = asyncio.Queue()
    async with Peer() as peer, await open_transport(peer.url, lambda d: arrivals.put_nowait((loop.time(), len(d)))):
        _, writer = await peer.connected.get()
        writer.write(bytes(8 << 20))
        received = 0
        while received <= 4096:
            last_s, size = await asyncio.wait_for(arrivals.get(), 3)
            received += size
        next_s, _ = await asyncio.wait_for(arrivals.get(), 3)
        assert next_s - last_s > 0.5


async def test_tcp_goes_both_ways_without_nagle():
    got: asyncio.Queue[bytes] = asyncio.Queue()
    async with Peer() as peer, await open_transport(peer.url, got.put_nowait) as link:
        reader, writer = await peer.connected.get()
        writer.write(b"status")
        assert await asyncio.wait_for(got.get(), 3) == b"status"
        link.write(b"print")
        assert await asyncio.wait_for(reader.readexactly(5), 3) == b"print"
        sock = link._pipe.get_extra_info("socket")
        assert sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)
        assert sock.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE)
        writer.close()


async def test_tcp_close_sends_what_was_written():
    async with Peer() as peer:
        async with await open_transport(peer.url, lambda _: None) as link:
            reader, _ = await peer.connected.get()
            link.write(bytes(100_000))
        assert len(await asyncio.wait_for(reader.read(-1), 3)) == 100_000


async def test_tcp_peer_that_closes_is_offline():
    async with Peer() as peer, await open_transport(peer.url, lambda _: None) as link:
        _, writer = await peer.connected.get()
        writer.close()
        assert "closed the connection" in str(await lost(link))


async def test_tcp_refused_and_unknown():
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        with pytest.raises(DeviceOffline, match="refuses connections"):
            await open_transport(f"tcp://127.0.0.1:{unused.getsockname()[1]}", lambda _: None)
    with pytest.raises(DeviceOffline, match="check the spelling"):
        await open_transport("tcp://no-such-printer.invalid:9100", lambda _: None)


async def test_i12_the_serial_library_logs_no_bytes_even_at_debug(device, caplog):
    caplog.set_level("DEBUG")
    got: asyncio.Queue[bytes] = asyncio.Queue()
    async with await open_transport(device.path, got.put_nowait) as link:
        device.send(b"100086F444")
        await asyncio.wait_for(got.get(), 3)
        link.write(b"100086F444")
    assert "100086F444" not in caplog.text
    assert serialx
