"""Who has a device node open: inotify through ctypes, one instance for the whole process.

Linux allows 128 inotify instances per user by default, and one process may host hundreds of ptys.
"""

from __future__ import annotations

import asyncio
import ctypes
import os
import struct
from collections.abc import Callable
from dataclasses import dataclass

IN_CLOSE = 0x18
IN_OPEN = 0x20
_HEADER = struct.Struct("iIII")


@dataclass
class _Node:
    path: str
    count: int
    tell: Callable[[int], None]


class OpenCounter:
    """Counts how often each watched node is open, beginning at zero when it is added."""

    _shared: OpenCounter | None = None

    def __init__(self) -> None:
        self._libc = ctypes.CDLL(None, use_errno=True)
        self._fd = -1
        self._nodes: dict[int, _Node] = {}

    @classmethod
    def shared(cls) -> OpenCounter:
        """The one counter of this process."""
        if cls._shared is None:
            cls._shared = cls()
        return cls._shared

    def add(self, path: str, tell: Callable[[int], None]) -> None:
        """Call `tell(count)` whenever the number of opens of `path` changes.

        Where the kernel gives no inotify, the node counts as open for ever: better a few lost bytes than none sent.
        """
        self._start()
        watch = self._libc.inotify_add_watch(self._fd, os.fsencode(path), IN_OPEN | IN_CLOSE) if self._fd >= 0 else -1
        if watch < 0:
            tell(1)
        else:
            self._nodes[watch] = _Node(path, 0, tell)

    def remove(self, path: str) -> None:
        """Forget `path`; the instance is given back with the last one."""
        for watch, node in tuple(self._nodes.items()):
            if node.path == path:
                del self._nodes[watch]
                self._libc.inotify_rm_watch(self._fd, watch)
        if not self._nodes and self._fd >= 0:
            asyncio.get_running_loop().remove_reader(self._fd)
            os.close(self._fd)
            self._fd = -1

    def _start(self) -> None:
        if self._fd < 0:
            self._fd = self._libc.inotify_init1(os.O_NONBLOCK | os.O_CLOEXEC)
            if self._fd >= 0:
                asyncio.get_running_loop().add_reader(self._fd, self._readable)

    def _readable(self) -> None:
        # All pending events are counted before anyone is told, so that a quick close and open is no change at all.
        touched: dict[int, int] = {}
        data = os.read(self._fd, 65536)
        while data:
            watch, mask, _, name_length = _HEADER.unpack_from(data)
            data = data[_HEADER.size + name_length :]
            if watch in self._nodes:
                touched.setdefault(watch, self._nodes[watch].count)
                self._nodes[watch].count += 1 if mask & IN_OPEN else -1 if mask & IN_CLOSE else 0
        for watch, before in touched.items():
            node = self._nodes.get(watch)
            if node is not None and node.count != before:
                node.tell(node.count)
