"""The least that the peer takes for a platform: it may connect and subscribe, and hears nothing more."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

CONNECT, SUBSCRIBE, PINGREQ = 1, 8, 12
CONNACK = bytes((0x20, 3, 0, 0, 0))
PINGRESP = bytes((0xD0, 0))


class PlatformStub:
    """A server of MQTT 5 (OASIS mqtt-v5.0, chapters 2 and 3) that says yes and confirms no publication."""

    @asynccontextmanager
    async def serving(self) -> AsyncIterator[int]:
        """Serve on a free port of loopback, which is handed out, until the context ends."""
        server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        try:
            yield server.sockets[0].getsockname()[1]
        finally:
            server.close()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(asyncio.IncompleteReadError, ConnectionError, asyncio.CancelledError):
            while True:
                kind = (await reader.readexactly(1))[0] >> 4
                body = await reader.readexactly(await _length(reader))
                writer.write(_reply(kind, body))
        writer.close()


def _reply(kind: int, body: bytes) -> bytes:
    if kind == CONNECT:
        return CONNACK
    if kind == SUBSCRIBE:
        # One filter in each packet, as the peer's client library sends them: granted with QoS 1, no properties.
        return bytes((0x90, 4)) + body[:2] + bytes((0, 1))
    return PINGRESP if kind == PINGREQ else b""


async def _length(reader: asyncio.StreamReader) -> int:
    length, shift = 0, 0
    while True:
        byte = (await reader.readexactly(1))[0]
        length |= (byte & 0x7F) << shift
        if not byte & 0x80:
            return length
        shift += 7
