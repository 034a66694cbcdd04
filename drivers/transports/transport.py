"""One open connection to a device, whether it runs over a serial port or a socket."""

from __future__ import annotations

import array
import asyncio
import contextlib
import fcntl
import socket
import struct
import termios
from collections.abc import Callable
from typing import Self, cast

from drivers.api import DeviceFault, DeviceOffline, DriverError
from drivers.transports.errors import why_lost

OnBytes = Callable[[bytes], None]

MAX_UNSENT_BYTES = 256 * 1024
MAX_BYTES_PER_SECOND = 64 * 1024
"""Far above what any reader, board or printer says, far below what would starve the other devices."""

CLOSE_TIMEOUT_S = 1.0
LOOK_S = 0.005
"""How often is looked whether the last bytes have arrived, of which nothing tells."""
QUIET_S = 0.05
"""USB adapters hand over what they hold within a millisecond of the first read, the slowest (FTDI's) within 16, and a
serial line that pauses for so long has ended what it had to say."""
QUIET_WITHIN_S = 1.0


class Transport(asyncio.Protocol):
    """A connection that is open until `closed` is done.

    Bytes that arrive go to `on_bytes` inside the read itself, with no task or queue between. `closed` gets its
    result, the DeviceOffline that tells why, as soon as the connection is gone for whatever reason.
    """

    def __init__(self, name: str, on_bytes: OnBytes) -> None:
        self.name = name
        self.closed: asyncio.Future[DeviceOffline] = asyncio.get_running_loop().create_future()
        self._loop = asyncio.get_running_loop()
        self._on_bytes = on_bytes
        self._pipe: asyncio.Transport | None = None
        self._sent = asyncio.Event()
        self._sent.set()
        self._closing = False
        self._took_all = False
        self._taken_bytes = 0
        self._window_start_s = 0.0
        self._window_bytes = 0
        self._resume_timer: asyncio.TimerHandle | None = None

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, kind: type[BaseException] | None, error: BaseException | None, _: object) -> None:
        # Whoever gives a device up tells the flows so: what is still under way must not be carried out after that.
        if isinstance(error, DriverError) and self.undelivered_bytes:
            self.abort()
        await self.close()

    @property
    def unsent_bytes(self) -> int:
        """How many written bytes are still in this process; 0 once the connection is gone."""
        return 0 if self._pipe is None else self._pipe.get_write_buffer_size()

    @property
    def undelivered_bytes(self) -> int:
        """How many written bytes may still be on their way: on a network those that nobody has acknowledged too.

        The system sends these again and again, for as long as the connection stands, and after an ordinary close.
        """
        sock = None if self._pipe is None else self._pipe.get_extra_info("socket")
        return self.unsent_bytes or (0 if sock is None else _unacknowledged_bytes(sock.fileno()))

    @property
    def taken_bytes(self) -> int:
        """How many bytes `write` has taken so far; those that are not `unsent_bytes` have left this process."""
        return self._taken_bytes

    def write(self, data: bytes) -> None:
        """Hand `data` to the operating system at once as far as it takes it, and buffer the rest, in order.

        Raises DeviceOffline when the connection is gone, DeviceFault when more than `MAX_UNSENT_BYTES` would wait:
        then nothing of `data` was taken.
        """
        pipe = self._require_open()
        if pipe.get_write_buffer_size() + len(data) > MAX_UNSENT_BYTES:
            raise DeviceFault(f"{self.name} is busy: it takes no more data; check whether it has stopped or is jammed")
        try:
            pipe.write(data)
        except OSError as error:
            raise why_lost(self.name, error) from error
        # A write that the system refuses closes the pipe without raising.
        self._require_open()
        self._taken_bytes += len(data)

    async def drain(self) -> None:
        """Return when every byte written has left this process; raises DeviceOffline when the connection is gone."""
        await self._sent.wait()
        self._require_open()

    async def arrive(self) -> None:
        """Return when every byte written has left this process, and on a network has arrived; raises as `drain` does.

        Wait for this, for a time, and then `abort`, where a command is worth nothing later. A printer that took it all
        and then closed the connection has it.
        """
        await self._sent.wait()
        while self.undelivered_bytes:
            await asyncio.wait({self.closed}, timeout=LOOK_S)
        if not self._took_all:
            self._require_open()

    async def lost(self) -> DeviceOffline:
        """Wait until the connection is gone and return why, for `raise await transport.lost()`."""
        # wait() and not `await self.closed`: cancelling the caller must not cancel the future that others watch.
        await asyncio.wait({self.closed})
        return self.closed.result()

    async def close(self) -> None:
        """Send what was written, for a second at most, and close. Safe to call again."""
        self._closing = True
        if self._pipe is not None:
            self._pipe.close()
            await asyncio.wait({self.closed}, timeout=CLOSE_TIMEOUT_S)
        self.abort()

    def abort(self) -> None:
        """Close at once and throw away what was not sent, so that no command is carried out late."""
        self._closing = True
        if self._pipe is None:
            return
        if (sock := self._pipe.get_extra_info("socket")) is not None:
            # Closing with a zero linger time drops also what the kernel would go on sending for minutes.
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        if (port := self._pipe.get_extra_info("serial")) is not None:
            # The kernel holds some too, for an adapter that takes none now, and would wait for it at the closing.
            with contextlib.suppress(OSError, termios.error):
                port.reset_write_buffer()
        self._pipe.abort()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Keep the pipe; asyncio calls this."""
        # A cast and not isinstance: uvloop's transports are no subclasses of asyncio's.
        self._pipe = pipe = cast("asyncio.Transport", transport)
        # With a high-water mark of 0 the pipe calls pause_writing whenever anything is left unsent, so that
        # drain() means "sent", not "nearly sent".
        pipe.set_write_buffer_limits(high=0)
        # Nothing is read until the driver has the connection in hand and has said that it is online.
        pipe.pause_reading()

    def start_reading(self) -> None:
        """Let bytes in; whoever opens a connection calls this last."""
        if self._pipe is not None:
            self._pipe.resume_reading()

    async def forget_held(self) -> None:
        """Throw away what the device held while nobody read it, which comes when somebody does, until it pauses.

        One that never pauses is read from its middle on. A reader calls this before it says that it is online: whoever
        showed a card to a gateway that was not there has gone, and a gate that opens now opens for whoever stands
        there. Raises DeviceOffline when the connection is lost meanwhile.
        """
        now_s = self._loop.time
        last_s, until_s = now_s(), now_s() + QUIET_WITHIN_S

        def forget(_: bytes) -> None:
            nonlocal last_s
            last_s = now_s()

        on_bytes, self._on_bytes = self._on_bytes, forget
        try:
            while not self.closed.done() and (left_s := min(last_s + QUIET_S, until_s) - now_s()) > 0:
                await asyncio.wait({self.closed}, timeout=left_s)
        finally:
            self._on_bytes = on_bytes
        if self.closed.done():
            raise self.closed.result()

    def data_received(self, data: bytes) -> None:
        """Pass bytes on; a device that babbles is read no faster than `MAX_BYTES_PER_SECOND`."""
        self._on_bytes(data)
        now_s = self._loop.time()
        if now_s - self._window_start_s >= 1:
            self._window_start_s, self._window_bytes = now_s, 0
        self._window_bytes += len(data)
        if self._window_bytes > MAX_BYTES_PER_SECOND and self._pipe is not None:
            self._pipe.pause_reading()
            self._resume_timer = self._loop.call_at(self._window_start_s + 1, self._pipe.resume_reading)

    def pause_writing(self) -> None:
        """Note that bytes are left in this process; the pipe calls this."""
        self._sent.clear()

    def resume_writing(self) -> None:
        """Note that the last byte has left; the pipe calls this."""
        self._sent.set()

    def connection_lost(self, exc: Exception | None) -> None:
        """Tell everyone who waits; the pipe calls this once."""
        # A pipe that we ended has thrown away what it had.
        self._took_all = exc is None and not self._closing and not self.undelivered_bytes
        self._pipe = None
        if self._resume_timer is not None:
            self._resume_timer.cancel()
        if not self.closed.done():
            self.closed.set_result(self._offline() if self._closing else why_lost(self.name, exc))
        self._sent.set()

    def _require_open(self) -> asyncio.Transport:
        if self._pipe is None or self._pipe.is_closing():
            raise self.closed.result() if self.closed.done() else self._offline()
        return self._pipe

    def _offline(self) -> DeviceOffline:
        return DeviceOffline(f"the connection to {self.name} is closed")


def _unacknowledged_bytes(descriptor: int) -> int:
    count = array.array("i", [0])
    try:
        fcntl.ioctl(descriptor, termios.TIOCOUTQ, count)
    except OSError:
        # The socket was closed meanwhile.
        return 0
    return count[0]


async def is_lost_within(link: Transport, wait_s: float | None) -> bool:
    """Wait for the loss of a link, for `wait_s` seconds at most; return whether it came."""
    try:
        async with asyncio.timeout(wait_s):
            await link.lost()
    except TimeoutError:
        return False
    return True
