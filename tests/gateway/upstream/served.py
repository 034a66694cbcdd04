"""The reference upstream as a process of its own that can be killed and started again, and a journal to relay."""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from random import Random
from typing import Any, Self
from uuid import UUID

import aiohttp

from gateway.config.upstream import Endpoint
from gateway.domain.upstream_events import EventSetAside, UpstreamLost, UpstreamRegained
from gateway.store.journal import Journal, Row
from gateway.store.reading import Reader
from gateway.upstream.http import Client
from gateway.upstream.https import HttpsSink
from gateway.upstream.outbox import Outbox
from gateway.upstream.relay import Relay
from gateway.upstream.sinks import Sink
from tests.gateway.store.journals import append
from tests.ports import free_port

READY_S = 20.0
NOW_MS = 1_780_000_500_000


class Served:
    """`python -m simulators.upstream`, or another program that serves the contract and prints that it is ready."""

    def __init__(self, folder: Path, *arguments: str | Path, program: Sequence[str] = ("-m", "simulators.upstream")):
        self.folder = folder
        folder.mkdir(parents=True, exist_ok=True)
        self._program = [*program, "--folder", str(folder), *map(str, arguments)]
        self._process: asyncio.subprocess.Process | None = None
        self.port = free_port()
        self.url = ""

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.kill()

    async def start(self) -> None:
        self._process = await asyncio.create_subprocess_exec(
            sys.executable, *self._program, "--port", str(self.port), stdout=asyncio.subprocess.PIPE
        )
        assert self._process.stdout is not None
        line = await asyncio.wait_for(self._process.stdout.readline(), READY_S)
        self.url = json.loads(line)["ready"]

    async def kill(self) -> None:
        if self._process is not None and self._process.returncode is None:
            self._process.kill()
            await self._process.wait()

    async def tell(self, what: str, message: Any) -> None:
        async with aiohttp.ClientSession() as session, session.post(f"{self.url}/control/{what}", json=message) as done:
            assert done.status == 204

    def received(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in (self.folder / "events.ndjson").read_bytes().splitlines()]

    def received_bodies(self) -> list[bytes]:
        """The bytes of `data` of each event."""
        lines = (self.folder / "events.ndjson").read_bytes().splitlines()
        return [line[line.index(b'"data":') + 7 : -1] for line in lines]


def some_rows(first: int, count: int) -> list[Row]:
    body = '{"kind":"entry.denied","entry":"%d","gate":"north","reason":"expired","why":"Grüße"}'
    return [Row(n, UUID(int=n).bytes, 1_780_000_000_000 + n, (body % n).encode()) for n in range(first, first + count)]


async def fill(journal: Journal, count: int) -> None:
    for first in range(journal.last_seq + 1, journal.last_seq + count + 1, 200):
        await append(journal, *some_rows(first, min(200, count - (first - 1) % count)))


class Venue:
    """A journal and its relay to one endpoint."""

    def __init__(self, journal: Journal, outbox: Outbox) -> None:
        self.journal = journal
        self.outbox = outbox
        self.facts: list[EventSetAside | UpstreamLost | UpstreamRegained] = []
        self.relay: Relay | None = None
        self._task: asyncio.Task[None] | None = None

    @property
    def aside(self) -> list[EventSetAside]:
        return [fact for fact in self.facts if isinstance(fact, EventSetAside)]

    def begin(self, sink: Sink) -> Relay:
        self.relay = Relay("main", sink, self.outbox, self.journal, Random(1), self.facts.append, lambda: NOW_MS)
        self._task = asyncio.get_running_loop().create_task(self.relay.run())
        return self.relay

    async def end(self) -> None:
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)


def ready_folder(folder: Path) -> Path:
    folder.mkdir(exist_ok=True)
    return folder


@asynccontextmanager
async def venue(folder: Path, rows: int, outbox: type[Outbox] = Outbox) -> AsyncIterator[Venue]:
    ready_folder(folder)
    journal = Journal.open(folder / "journal.db")
    await fill(journal, rows)
    made = Venue(journal, outbox(folder / "journal.db", "stadthalle"))
    try:
        yield made
    finally:
        await made.end()
        await made.outbox.close()
        journal.close()


def https(url: str, **more: Any) -> HttpsSink:
    return HttpsSink(Client(Endpoint(url=url, **more), "stadthalle"))


def journalled(folder: Path) -> list[bytes]:
    reader = Reader(folder / "journal.db")
    bodies = [row.body for row in reader.all_rows()]
    reader.close()
    return bodies
