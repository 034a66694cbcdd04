"""A serial cable made of a pty: the gateway opens a symlink, the simulator holds the other end."""

from __future__ import annotations

import asyncio
import fcntl
import os
import pty
import termios
import tty
from pathlib import Path
from typing import Any

from simulators.inotify import OpenCounter
from simulators.line import Line


class PtyLine(Line):
    """A pty whose slave side is found at the symlink `link`.

    The simulator keeps the slave open itself, so that the gateway may close and open it again without the master
    getting EIO; who else has it open is learnt from inotify.
    """

    def __init__(self, link: Path) -> None:
        super().__init__()
        self.link = link
        self._slave = -1
        self._counter = OpenCounter.shared()

    def state(self) -> dict[str, Any]:
        """The cable's state and where it is."""
        return {**super().state(), "link": str(self.link)}

    def plug(self) -> None:
        """Make a new pty and point the link at it. Raises `OSError`, also when `link` is something else than a link."""
        if self.plugged:
            return
        if self.link.exists() and not self.link.is_symlink():
            raise FileExistsError(f"{self.link} is in the way and is not a symlink; name another --link")
        self._fd, self._slave = pty.openpty()
        tty.setraw(self._slave)
        os.set_blocking(self._fd, False)
        self._counter.add(os.ttyname(self._slave), self._peers)
        self._point_link()
        self.plugged = True
        self._start_reading()
        self.on_change()

    def unplug(self) -> None:
        """Remove the link and close the pty: a reader of it gets EIO."""
        if not self.plugged:
            return
        self.link.unlink(missing_ok=True)
        asyncio.get_running_loop().remove_reader(self._fd)
        self._counter.remove(os.ttyname(self._slave))
        os.close(self._slave)
        os.close(self._fd)
        self._fd = self._slave = -1
        self.plugged = False
        self._set_opened(is_open=False)
        self.on_change()

    def _point_link(self) -> None:
        # A rename replaces a stale link in one step: whoever looks finds the old pty or the new one, never none.
        self.link.parent.mkdir(parents=True, exist_ok=True)
        fresh = self.link.with_name(f".{self.link.name}.{os.getpid()}")
        fresh.unlink(missing_ok=True)
        fresh.symlink_to(os.ttyname(self._slave))
        fresh.rename(self.link)

    def _peers(self, count: int) -> None:
        if count == 0:
            self._forget_last_peer()
        self._set_opened(is_open=count > 0)

    def _forget_last_peer(self) -> None:
        # A real port forgets unread bytes and an exclusive open when it is closed. Here our own open slave
        # would keep both alive, and the next opener would read stale frames or get EBUSY.
        termios.tcflush(self._slave, termios.TCIFLUSH)
        fcntl.ioctl(self._slave, termios.TIOCNXCL)
