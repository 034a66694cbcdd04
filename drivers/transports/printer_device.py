"""A printer behind the kernel's own driver: `/dev/usb/lp0` (usblp) or `/dev/lp0`.

Facts from the kernel's drivers/usb/class/usblp.c: read and write take O_NONBLOCK, poll reports both, an unplugged
printer reads as ENODEV and hangs up, one without paper may refuse a write with ENOSPC, and a read may return nothing.
"""

from __future__ import annotations

import asyncio
import errno
import os
import select
from collections.abc import Callable

from drivers.transports.pipe import Pipe
from drivers.transports.printer_errors import cannot_open_printer
from drivers.transports.transport import OnBytes, Transport

READ_BYTES = 1024
QUIET_READ_S = 0.1
"""Pause after a read of nothing: a printer may answer every poll so, and must not keep the processor busy."""
REFUSED_WRITE_S = 0.25
"""Pause after a write that the printer refuses for want of paper."""


async def open_printer_device(path: str, on_bytes: OnBytes) -> Transport:
    """Open printer device `path` for reading and writing, or only writing where it cannot be read.

    Raises DeviceOffline when it is not there or may not be opened.
    """
    transport = Transport(path, on_bytes)
    try:
        descriptor, can_read = _open(path)
    except OSError as error:
        raise await asyncio.to_thread(cannot_open_printer, path, error) from error
    transport.connection_made(_DevicePipe(transport, descriptor, can_read=can_read))
    transport.start_reading()
    return transport


def _open(path: str) -> tuple[int, bool]:
    try:
        return os.open(path, os.O_RDWR | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC), True
    except OSError as error:
        # A one-way printer port can be written only.
        if error.errno not in {errno.EINVAL, errno.EACCES}:
            raise
        return os.open(path, os.O_WRONLY | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC), False


class _DevicePipe(Pipe):
    def __init__(self, protocol: asyncio.Protocol, descriptor: int, *, can_read: bool) -> None:
        super().__init__(protocol)
        self._descriptor = descriptor
        self._can_read = can_read
        self._timers: dict[str, asyncio.TimerHandle] = {}

    def pause_reading(self) -> None:
        """Let no bytes in for now."""
        self._loop.remove_reader(self._descriptor)

    def resume_reading(self) -> None:
        """Let bytes in."""
        if self._can_read and not self._gone:
            self._loop.add_reader(self._descriptor, self._readable)

    def _readable(self) -> None:
        try:
            data = os.read(self._descriptor, READ_BYTES)
        except BlockingIOError:
            return
        except OSError as error:
            self._lost(error)
            return
        if data:
            self._protocol.data_received(data)
        elif _hung_up(self._descriptor):
            self._lost(OSError(errno.ENODEV, os.strerror(errno.ENODEV)))
        else:
            self.pause_reading()
            self._later("read", QUIET_READ_S, self.resume_reading)

    def _wake_writer(self) -> None:
        if "write" not in self._timers:
            self._write_some()

    def _write_some(self) -> None:
        self._timers.pop("write", None)
        self._loop.remove_writer(self._descriptor)
        taken = 0
        while self._waiting and not self._gone:
            try:
                count = os.write(self._descriptor, self._waiting[0])
            except BlockingIOError:
                self._loop.add_writer(self._descriptor, self._write_some)
                return
            except OSError as error:
                if error.errno == errno.ENOSPC:
                    self._later("write", REFUSED_WRITE_S, self._write_some)
                elif taken:
                    # Whoever writes may be told that nothing was sent only where that is so.
                    self._loop.call_soon(self._lost, error)
                else:
                    self._lost(error)
                return
            taken += count
            self._took(count)

    def _took(self, count: int) -> None:
        rest = self._waiting.popleft()[count:]
        if rest:
            self._waiting.appendleft(rest)
        self._left(count)

    def _later(self, what: str, delay_s: float, do: Callable[[], None]) -> None:
        self._timers[what] = self._loop.call_later(delay_s, do)

    def _release(self) -> None:
        for timer in self._timers.values():
            timer.cancel()
        self._loop.remove_reader(self._descriptor)
        self._loop.remove_writer(self._descriptor)
        os.close(self._descriptor)


def _hung_up(descriptor: int) -> bool:
    """Whether the kernel says that nobody is behind the device any more."""
    poll = select.poll()
    poll.register(descriptor, 0)
    return any(event & select.POLLHUP for _, event in poll.poll(0))
