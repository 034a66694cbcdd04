"""Many venues in one process: the real outbox, relay, sink and directory consumer, over very small journals."""

from __future__ import annotations

import asyncio
import json
import sqlite3
from importlib import resources
from pathlib import Path
from random import Random
from typing import Any
from uuid import UUID

from gateway.config.upstream import ChangeStream, SinkEntry
from gateway.domain.upstream_events import EventSetAside, UpstreamLost, UpstreamRegained
from gateway.store.rows import GENESIS, Row, chain
from gateway.upstream.changes import Arrived
from gateway.upstream.making import make_changes, make_sink
from gateway.upstream.outbox import Outbox
from gateway.upstream.relay import Relay
from gateway.upstream.sinks import SinkUnavailable

KEEP_S = 60.0
NOW_MS = 1_790_000_000_000


class SmallJournal:
    """The tables of a journal without its writer's thread and its long WAL; cursors stay in memory."""

    def __init__(self, path: Path, number: int) -> None:
        self.path = path
        self._number = number
        self._hash = GENESIS
        self._cursors: dict[str, int] = {}
        self._database = sqlite3.connect(path, isolation_level=None)
        self._database.execute("PRAGMA journal_mode = WAL")
        self._database.execute("PRAGMA synchronous = OFF")
        schema = resources.files("gateway.store.migrations").joinpath("0001_journal.sql").read_text()
        self._database.executescript(schema)
        self.last_seq = 0
        self.bodies: list[bytes] = []

    def add(self, count: int) -> None:
        self._database.execute("BEGIN")
        for seq in range(self.last_seq + 1, self.last_seq + count + 1):
            body = json.dumps({"kind": "entry.granted", "entry": f"{self._number}-{seq}", "gate": "north"}).encode()
            row = Row(seq, UUID(int=(self._number << 64) + seq).bytes, 1_780_000_000_000 + seq, body)
            self._hash = chain(self._hash, row)
            self._database.execute("INSERT INTO journal VALUES (?, ?, ?, ?, ?)", (*row, self._hash))
            self.bodies.append(body)
        self._database.execute("COMMIT")
        self.last_seq += count

    def cursor(self, name: str) -> int:
        return self._cursors.get(name, 0)

    def set_cursor(self, name: str, seq: int) -> None:
        self._cursors[name] = seq

    def close(self) -> None:
        self._database.close()


class SmallVenue:
    """One venue: its events go up, and it follows the changes of its directory."""

    def __init__(self, folder: Path, number: int, servers: str) -> None:
        self.name = f"v{number}"
        self.journal = SmallJournal(folder / f"{self.name}.db", number)
        self.cursors: list[int] = [1]
        self._outbox = Outbox(self.journal.path, self.name)
        sink = make_sink(SinkEntry(url=servers, keep_after_ack_s=KEEP_S), self.name, "bus")
        self.facts: list[EventSetAside | UpstreamLost | UpstreamRegained] = []
        self.relay = Relay("bus", sink, self._outbox, self.journal, Random(number), self.facts.append, lambda: NOW_MS)
        self._changes = make_changes(ChangeStream(url=servers), self.name)
        self._random = Random(-number)
        self._tasks: list[asyncio.Task[Any]] = []

    @property
    def aside(self) -> list[EventSetAside]:
        return [fact for fact in self.facts if isinstance(fact, EventSetAside)]

    def begin(self) -> None:
        loop = asyncio.get_running_loop()
        self._tasks = [loop.create_task(self.relay.run()), loop.create_task(self._follow())]

    async def end(self) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self._outbox.close()
        self.journal.close()

    async def _follow(self) -> None:
        """Take each batch that follows, as `DirectorySync` does once its checks are passed."""
        try:
            while True:
                try:
                    found = await self._changes.after(self.cursors[-1])
                    if isinstance(found, Arrived):
                        sent = json.loads(found.body)
                        if sent["cursor"] > self.cursors[-1]:
                            assert sent["after"] == self.cursors[-1], (self.name, sent, self.cursors)
                            self.cursors.append(sent["cursor"])
                        await self._changes.settle(taken=True)
                except SinkUnavailable:
                    await asyncio.sleep(0.2 + self._random.random())
        finally:
            await self._changes.close()
