"""What driver tests share: a device's end of a serial line, and a record of what a driver said."""

from __future__ import annotations

import asyncio
import os
import tty
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from typing import Self, TypeVar

from drivers.api import DeviceEvent, Driver, DriverError, Online
from simulators.line import Line

PATIENCE_S = 5.0
Kind = TypeVar("Kind")


class PtyDevice:
    """The device end of a pty; `path` is the port a driver opens."""

    def __init__(self) -> None:
        self.master, self._slave = os.openpty()
        tty.setraw(self._slave)
        os.set_blocking(self.master, False)
        self.path = os.ttyname(self._slave)
        self.received = bytearray()
        self.on_bytes: Callable[[bytes], None] = lambda _: None
        self._changed = asyncio.Event()

    def __enter__(self) -> Self:
        self.listen()
        return self

    def __exit__(self, *_: object) -> None:
        self.unplug()

    def listen(self) -> None:
        asyncio.get_running_loop().add_reader(self.master, self._read)

    def deafen(self) -> None:
        """Stop reading, so that what the driver writes jams."""
        asyncio.get_running_loop().remove_reader(self.master)

    def send(self, data: bytes) -> None:
        assert os.write(self.master, data) == len(data)

    async def send_all(self, data: bytes) -> None:
        """Send more than the line buffers, as fast as the driver reads it."""
        while data:
            with suppress(BlockingIOError):
                data = data[os.write(self.master, data) :]
            await asyncio.sleep(0)

    def read_now(self) -> bytes:
        """Return what lies on the line this instant, with no turn of the loop in between."""
        try:
            return os.read(self.master, 4096)
        except BlockingIOError:
            return b""

    async def receive(self, count: int) -> bytes:
        async with asyncio.timeout(PATIENCE_S):
            while len(self.received) < count:
                self._changed.clear()
                await self._changed.wait()
        taken = bytes(self.received[:count])
        del self.received[:count]
        return taken

    def unplug(self) -> None:
        if self.master >= 0:
            self.deafen()
            os.close(self.master)
            os.close(self._slave)
            self.master = -1

    def _read(self) -> None:
        with suppress(OSError):
            data = os.read(self.master, 4096)
            self.received += data
            self._changed.set()
            self.on_bytes(data)


class PtySide(Line):
    """The simulator's end of a pty that a test already holds."""

    def __init__(self, device: PtyDevice) -> None:
        super().__init__()
        self.device = device

    def write(self, data: bytes) -> None:
        self.device.send(data)


class Events(list[DeviceEvent]):
    """An `emit` that remembers, and lets a test wait for what it expects."""

    def __init__(self) -> None:
        super().__init__()
        self._changed = asyncio.Event()

    def __call__(self, event: DeviceEvent) -> None:
        self.append(event)
        self._changed.set()

    def of(self, kind: type[Kind]) -> list[Kind]:
        return [event for event in self if isinstance(event, kind)]

    async def wait_for(self, kind: type[Kind], count: int = 1) -> list[Kind]:
        async with asyncio.timeout(PATIENCE_S):
            while len(self.of(kind)) < count:
                self._changed.clear()
                await self._changed.wait()
        return self.of(kind)


async def until(condition: Callable[[], object], limit_s: float = PATIENCE_S) -> float:
    """Wait until `condition()` holds, and return how many seconds that took; fails after `limit_s`."""
    began_s = asyncio.get_running_loop().time()
    async with asyncio.timeout(limit_s):
        while True:
            if condition():
                return asyncio.get_running_loop().time() - began_s
            await asyncio.sleep(0.005)


@asynccontextmanager
async def running(driver: Driver, events: Events) -> AsyncIterator[asyncio.Task[None]]:
    """Run `driver` until the block ends; it is online when the block begins."""
    before = len(events.of(Online))
    task = asyncio.create_task(driver.run())
    online = asyncio.create_task(events.wait_for(Online, before + 1))
    await asyncio.wait({task, online}, return_when=asyncio.FIRST_COMPLETED)
    online.cancel()
    if task.done():
        task.result()
    try:
        yield task
    finally:
        task.cancel()
        with suppress(asyncio.CancelledError, DriverError):
            await task
