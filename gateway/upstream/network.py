"""Knows when the network comes back: the kernel says so (rtnetlink(7)), and nobody has to wait out a pause."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable
from contextlib import suppress

import structlog

log = structlog.get_logger(__name__)

_GROUPS = 0x1 | 0x10 | 0x40 | 0x100 | 0x400
"""RTMGRP_LINK, _IPV4_IFADDR, _IPV4_ROUTE, _IPV6_IFADDR and _IPV6_ROUTE of linux/rtnetlink.h."""
SETTLE_S = 0.2
"""An address, its route and the name server come one after the other."""
READ_BYTES = 64 << 10


class NetworkWatch:
    """Calls `changed` shortly after a link, an address or a route has changed."""

    def __init__(self, changed: Callable[[], None], opened: Callable[[], socket.socket] | None = None) -> None:
        """Begin at once; where the kernel cannot be asked, pauses simply end by themselves."""
        self._changed = changed
        self._loop = asyncio.get_running_loop()
        self._timer: asyncio.TimerHandle | None = None
        self._socket: socket.socket | None = None
        try:
            self._socket = (opened or _netlink)()
            self._loop.add_reader(self._socket, self._readable)
        except OSError as error:
            log.debug("network_not_watched", why=str(error))

    def close(self) -> None:
        """Stop."""
        if self._timer is not None:
            self._timer.cancel()
        if self._socket is not None:
            self._loop.remove_reader(self._socket)
            self._socket.close()
            self._socket = None

    def _readable(self) -> None:
        # What it says is not read: whatever changed, trying again is right. ENOBUFS says that more was lost.
        with suppress(OSError):
            if self._socket is not None:
                self._socket.recv(READ_BYTES)
        if self._timer is None:
            self._timer = self._loop.call_later(SETTLE_S, self._settled)

    def _settled(self) -> None:
        self._timer = None
        self._changed()


def _netlink() -> socket.socket:
    watched = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_NONBLOCK, socket.NETLINK_ROUTE)
    try:
        watched.bind((0, _GROUPS))
    except OSError:
        watched.close()
        raise
    return watched
