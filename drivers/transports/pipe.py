"""What asyncio has no pipe for: a device that is read and written by calls of our own, behind asyncio's interface."""

from __future__ import annotations

import asyncio
from abc import abstractmethod
from collections import deque


class Pipe(asyncio.Transport):
    """An `asyncio.Transport` for `Transport` to hold: buffering, closing and telling of it; a subclass moves bytes.

    A subclass takes bytes from `_waiting` when `_wake_writer` is called, reports them by `_left`, hands what it reads
    to the protocol, and calls `_lost` from the event loop when the device is gone.
    """

    def __init__(self, protocol: asyncio.Protocol) -> None:
        super().__init__()
        self._protocol = protocol
        self._loop = asyncio.get_running_loop()
        self._waiting: deque[bytes] = deque()
        self._unsent_bytes = 0
        self._paused_writing = False
        self._closing = False
        self._gone = False

    def write(self, data: bytes | bytearray | memoryview) -> None:
        """Take bytes; they leave this process in their order, as fast as the device takes them."""
        if self._closing or not data:
            return
        self._waiting.append(bytes(data))
        self._unsent_bytes += len(data)
        self._wake_writer()
        # Whatever is left unsent is worth a pause: `Transport.drain` waits until nothing is.
        if self._unsent_bytes and not self._paused_writing:
            self._paused_writing = True
            self._protocol.pause_writing()

    def get_write_buffer_size(self) -> int:
        """How many bytes wait to leave this process."""
        return self._unsent_bytes

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None:
        """Nothing to set: the protocol is paused whenever anything is unsent."""

    def is_closing(self) -> bool:
        """True once no more bytes are taken."""
        return self._closing

    def close(self) -> None:
        """Send what waits, then close."""
        self._closing = True
        if not self._unsent_bytes:
            self._lost(None)

    def abort(self) -> None:
        """Close now; what waits is thrown away."""
        self._closing = True
        self._lost(None)

    def _left(self, count: int) -> None:
        """Note that `count` bytes of those waiting have left this process."""
        if self._gone:
            return
        self._unsent_bytes -= count
        if self._unsent_bytes:
            return
        if self._paused_writing:
            self._paused_writing = False
            self._protocol.resume_writing()
        if self._closing:
            self._lost(None)

    def _lost(self, error: Exception | None) -> None:
        """Tell the protocol, once, that this is over. None: we closed it ourselves."""
        if self._gone:
            return
        self._gone = self._closing = True
        self._waiting.clear()
        self._unsent_bytes = 0
        self._release()
        self._loop.call_soon(self._protocol.connection_lost, error)

    @abstractmethod
    def _wake_writer(self) -> None:
        """Bytes are waiting; called from the event loop."""

    @abstractmethod
    def _release(self) -> None:
        """Let go of the device; called once, from the event loop."""
