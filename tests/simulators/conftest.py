"""Simulators as real processes, and the gateway's end of their cables."""

from __future__ import annotations

import asyncio
import contextlib
import os
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from simulators.control import Control
from simulators.venue import SimulatedVenue

TIMEOUT_S = 10.0


class SerialPeer:
    """The gateway's end of a pty: plain reads and writes, no library between the test and the bytes."""

    def __init__(self, link: Path) -> None:
        self._fd = os.open(link, os.O_RDWR | os.O_NOCTTY | os.O_NONBLOCK)
        self._received = bytearray()

    def write(self, data: bytes) -> int:
        return os.write(self._fd, data)

    async def read(self, count: int) -> bytes:
        async with asyncio.timeout(TIMEOUT_S):
            while len(self._received) < count:
                self._received += await self._read_some()
        data = bytes(self._received[:count])
        del self._received[:count]
        return data

    def close(self) -> None:
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1

    async def _read_some(self) -> bytes:
        loop = asyncio.get_running_loop()
        readable = loop.create_future()
        loop.add_reader(self._fd, lambda: readable.done() or readable.set_result(None))
        try:
            await readable
        finally:
            loop.remove_reader(self._fd)
        return os.read(self._fd, 4096)


class Running:
    """One simulator process, its control and where it is."""

    def __init__(self, venue: SimulatedVenue, name: str, control: Control) -> None:
        self.venue = venue
        self.device = venue.device(name)
        self.control = control
        self._writers: list[asyncio.StreamWriter] = []

    @property
    def link(self) -> Path:
        assert self.device.link is not None
        return self.device.link

    async def connect(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        reader, writer = await asyncio.open_connection(self.device.host, self.device.port)
        self._writers.append(writer)
        return reader, writer

    async def close(self) -> None:
        for writer in self._writers:
            writer.transport.abort()
            with contextlib.suppress(ConnectionError):
                await writer.wait_closed()
        await self.venue.__aexit__(None, None, None)


@pytest.fixture
async def start(tmp_path: Path) -> AsyncIterator[Callable[..., Awaitable[Running]]]:
    all_running: list[Running] = []

    async def start_one(simulator: str, **options: Any) -> Running:
        venue = SimulatedVenue(tmp_path / f"venue-{len(all_running)}", {"it": {"simulator": simulator, **options}})
        await venue.__aenter__()
        all_running.append(Running(venue, "it", await venue.control("it")))
        return all_running[-1]

    yield start_one
    for running in all_running:
        await running.close()


@pytest.fixture
def open_line() -> Iterator[Callable[[Path], SerialPeer]]:
    peers: list[SerialPeer] = []

    def open_one(link: Path) -> SerialPeer:
        peers.append(SerialPeer(link))
        return peers[-1]

    yield open_one
    for peer in peers:
        peer.close()
