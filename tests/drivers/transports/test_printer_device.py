"""A printer behind the kernel's driver, with a pty in the place of /dev/usb/lp0."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import os
import tty
from collections.abc import Iterator
from pathlib import Path

import pytest

from drivers.api import DeviceOffline
from drivers.transports import open_transport, printer_device
from drivers.transports.printer_errors import cannot_open_printer


class Device:
    """The far end of a pty that stands under the name of a printer."""

    def __init__(self, link: Path) -> None:
        self.fd, self._near = os.openpty()
        tty.setraw(self._near)
        os.set_blocking(self.fd, False)
        link.symlink_to(os.ttyname(self._near))
        self.link = link
        self.connect = f"lp://{link}"

    async def received(self, count: int) -> bytes:
        data = b""
        async with asyncio.timeout(5):
            while len(data) < count:
                with contextlib.suppress(BlockingIOError):
                    data += os.read(self.fd, 65536)
                await asyncio.sleep(0)
        return data

    def unplug(self) -> None:
        for descriptor in (self.fd, self._near):
            if descriptor >= 0:
                os.close(descriptor)
        self.fd = self._near = -1


@pytest.fixture
def device(tmp_path: Path) -> Iterator[Device]:
    made = Device(tmp_path / "lp0")
    yield made
    made.unplug()


async def test_more_than_the_kernel_takes_at_once_arrives_whole(device: Device) -> None:
    data = bytes(range(256)) * 400
    async with await open_transport(device.connect, lambda _: None) as link:
        link.write(data)
        reading = asyncio.create_task(device.received(len(data)))
        await asyncio.wait_for(link.drain(), 5)
        assert await reading == data
        assert link.unsent_bytes == 0


async def test_what_the_printer_says_comes_in(device: Device) -> None:
    heard = asyncio.Queue[bytes]()
    async with await open_transport(device.connect, heard.put_nowait):
        os.write(device.fd, b"\x12")
        assert await asyncio.wait_for(heard.get(), 5) == b"\x12"


async def test_an_unplugged_printer_is_noticed_at_once(device: Device) -> None:
    async with await open_transport(device.connect, lambda _: None) as link:
        device.unplug()
        error = await asyncio.wait_for(link.lost(), 2)
    assert "is gone: unplugged" in str(error) or "may have been switched off" in str(error)


async def test_closing_sends_what_waits(device: Device) -> None:
    link = await open_transport(device.connect, lambda _: None)
    link.write(b"x" * 30_000)
    reading = asyncio.create_task(device.received(30_000))
    await link.close()
    assert await reading == b"x" * 30_000


async def test_a_printer_out_of_paper_gets_the_rest_when_it_takes_it_again(
    device: Device, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(printer_device, "REFUSED_WRITE_S", 0.01)
    refusals = iter(
        (OSError(errno.ENOSPC, "No space left on device"), OSError(errno.ENOSPC, "No space left on device"))
    )
    plain = os.write

    def write(descriptor: int, data: bytes) -> int:
        if (refusal := next(refusals, None)) is not None:
            raise refusal
        return plain(descriptor, data)

    async with await open_transport(device.connect, lambda _: None) as link:
        monkeypatch.setattr(printer_device.os, "write", write)
        link.write(b"late")
        await asyncio.wait_for(link.drain(), 5)
        assert await device.received(4) == b"late"


async def test_one_that_is_lost_after_a_part_is_not_said_to_have_got_nothing(
    device: Device, monkeypatch: pytest.MonkeyPatch
) -> None:
    plain, parts = os.write, iter((3,))

    def write(descriptor: int, data: bytes) -> int:
        if (size := next(parts, 0)) == 0:
            raise OSError(errno.ENODEV, "No such device")
        return plain(descriptor, data[:size])

    async with await open_transport(device.connect, lambda _: None) as link:
        monkeypatch.setattr(printer_device.os, "write", write)
        link.write(b"receipt")
        with pytest.raises(DeviceOffline):
            await asyncio.wait_for(link.drain(), 5)
        with pytest.raises(DeviceOffline):
            link.write(b"nothing of this is sent")
        assert await device.received(3) == b"rec"


async def test_a_printer_that_answers_reads_with_nothing_is_not_taken_for_gone(tmp_path: Path) -> None:
    """A FIFO with no writer reads as an end of file, again and again, as some printers do."""
    os.mkfifo(tmp_path / "lp0")
    reader = os.open(tmp_path / "lp0", os.O_RDONLY | os.O_NONBLOCK)
    async with await open_transport(f"lp://{tmp_path / 'lp0'}", lambda _: None) as link:
        link.write(b"still here")
        await asyncio.wait_for(link.drain(), 5)
        assert not link.closed.done()
    os.close(reader)


async def test_a_device_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(DeviceOffline, match=r"lp9 does not exist: check the printer's power and cable"):
        await open_transport(f"lp://{tmp_path / 'lp9'}", lambda _: None)


@pytest.mark.parametrize(
    ("code", "says"),
    [(errno.EACCES, "adduser"), (errno.EBUSY, "CUPS"), (errno.EIO, "cannot be opened: Input/output error")],
)
def test_every_reason_says_what_to_do(code: int, says: str) -> None:
    assert says in str(cannot_open_printer("/dev/usb/lp0", OSError(code, "")))
