"""Devices on the network: printers, and serial devices behind a serial-to-Ethernet converter."""

from __future__ import annotations

import asyncio
import socket

from drivers.transports.errors import cannot_open_tcp
from drivers.transports.transport import OnBytes, Transport

CONNECT_TIMEOUT_S = 5.0

_OPTIONS = (
    # Without it a command can wait 40 ms for the acknowledgement of the one before.
    (socket.IPPROTO_TCP, socket.TCP_NODELAY, 1),
    # A device that lost its power says nothing: these notice within about 20 s, also with a command under way.
    (socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1),
    (socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, 10),
    (socket.IPPROTO_TCP, socket.TCP_KEEPINTVL, 3),
    (socket.IPPROTO_TCP, socket.TCP_KEEPCNT, 3),
    (socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, 20_000),
)


async def open_tcp(host: str, port: int, on_bytes: OnBytes) -> Transport:
    """Connect to `host` (a name or an address) and return the connection; raises DeviceOffline when it cannot."""
    transport = Transport(f"tcp://{host}:{port}", on_bytes)
    loop = asyncio.get_running_loop()
    try:
        async with asyncio.timeout(CONNECT_TIMEOUT_S):
            pipe, _ = await loop.create_connection(lambda: transport, host, port)
        for level, option, value in _OPTIONS:
            pipe.get_extra_info("socket").setsockopt(level, option, value)
    except (OSError, UnicodeError, OverflowError) as error:
        # The last two are an address that cannot be one: a label too long or empty, a port too high.
        transport.abort()
        raise cannot_open_tcp(transport.name, error) from error
    transport.start_reading()
    return transport
