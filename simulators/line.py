"""The cable between a simulated device and the gateway: what a pty and a TCP port have in common."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable
from typing import Any

READ_BYTES = 4096


def _ignore(*_: object) -> None:
    """Stand in until the device sets its own callbacks."""


class Line:
    """A cable that can be plugged, unplugged, read and written; a subclass knows what kind of cable.

    `opened` is true while the gateway's side has it open. Bytes written while nobody has it open are lost and bytes
    written faster than they are read overflow, both as on a real serial port; `dropped_bytes` counts them.
    """

    def __init__(self) -> None:
        self.on_bytes: Callable[[bytes], None] = _ignore
        self.on_open: Callable[[], None] = _ignore
        self.on_change: Callable[[], None] = _ignore
        self.plugged = False
        self.opened = False
        self.received_bytes = 0
        self.dropped_bytes = 0
        self.read_limit = READ_BYTES
        self._fd = -1
        self._paused = False

    def state(self) -> dict[str, Any]:
        """What is visible of the cable, as JSON-ready values."""
        return {
            "plugged": self.plugged,
            "opened": self.opened,
            "received_bytes": self.received_bytes,
            "dropped_bytes": self.dropped_bytes,
        }

    def plug(self) -> None:
        """Offer the line under its name. Raises `OSError` if the name or port is taken."""
        raise OSError("this line cannot be plugged in")

    def unplug(self) -> None:
        """Take the line away; the other side gets an I/O error or a closed connection."""

    def cut(self) -> None:
        """Break what the gateway has open, as abruptly as a pulled cable."""
        self.unplug()

    def write(self, data: bytes) -> None:
        """Send `data`, never waiting; what does not fit is dropped and counted."""
        written = 0
        if self.opened and self._fd >= 0:
            try:
                written = os.write(self._fd, data)
            except OSError:
                # Either the other side does not read (EAGAIN) or it has just gone; a wire cannot tell and loses both.
                written = 0
        self.dropped_bytes += len(data) - written

    def pause(self) -> None:
        """Stop reading, so that the other side feels backpressure."""
        if not self._paused:
            self._paused = True
            if self._fd >= 0:
                asyncio.get_running_loop().remove_reader(self._fd)

    def resume(self) -> None:
        """Read again."""
        if self._paused:
            self._paused = False
            self._start_reading()

    def _start_reading(self) -> None:
        if self._fd >= 0 and not self._paused:
            asyncio.get_running_loop().add_reader(self._fd, self._readable)

    def _readable(self) -> None:
        try:
            data = os.read(self._fd, self.read_limit)
        except BlockingIOError:
            return
        except OSError:
            data = b""
        if data:
            self.received_bytes += len(data)
            self.on_bytes(data)
        else:
            self._ended()

    def _ended(self) -> None:
        """The other side is gone for good."""

    def _set_opened(self, *, is_open: bool) -> None:
        if self.opened != is_open:
            self.opened = is_open
            self.on_open()
            self.on_change()
