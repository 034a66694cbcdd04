"""An onlooker at the broker who sees every message of the venue, keeps it and can be asked about it."""

from __future__ import annotations

import asyncio
import contextlib
import json
import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any, NamedTuple, Self

import aiomqtt

from tests.e2e.broker import listens
from tests.e2e.bulletin import WAIT_S, Bulletin
from tests.e2e.settings import BASE

RETRY_S = 0.02


class Seen(NamedTuple):
    """One message as it came from the broker."""

    topic: str
    payload: bytes
    retain: bool


class Observer:
    """Connected by the gateway's own Unix socket, where no ACL hides anything; comes back when the broker does."""

    def __init__(self, socket: Path, journal: Path) -> None:
        self.seen: list[Seen] = []
        self.retained: dict[str, dict[str, Any]] = {}
        self.feed: list[dict[str, Any]] = []
        self.connections = 0
        self._feed_order: list[tuple[int, int]] = []
        self._socket = socket
        self._journal = journal
        self._bulletin = Bulletin()
        self._task: asyncio.Task[None] | None = None
        self.connected = False

    async def __aenter__(self) -> Self:
        self._task = asyncio.create_task(self._run())
        await self.is_connected()
        return self

    async def __aexit__(self, *_: object) -> None:
        assert self._task is not None
        self._task.cancel()
        with contextlib.suppress(asyncio.CancelledError, aiomqtt.MqttError):
            await self._task

    async def is_connected(self) -> None:
        """Wait until it listens."""
        await self._bulletin.until(lambda: self.connected, lambda: "the observer at the broker")

    @property
    def mark(self) -> int:
        """Where the journal stands now, for `event(since=…)`; the feed tells of it a moment later."""
        seen = max((entry["seq"] for entry in self.feed), default=0)
        try:
            with closing(sqlite3.connect(f"file:{self._journal}?mode=ro", uri=True)) as journal:
                ((last,),) = journal.execute("SELECT max(seq) FROM journal").fetchall()
        except sqlite3.OperationalError:
            # There is none yet, or the gateway is away and left it as it was at the last of the feed.
            return seen
        return max(seen, last or 0)

    async def state(self, topic: str, wait_s: float = WAIT_S, **fields: Any) -> dict[str, Any]:
        """The retained state on `<base>/<topic>`, once it holds these fields; `status` fields count as its own."""

        def find() -> dict[str, Any] | None:
            state = self.retained.get(f"{BASE}/{topic}")
            flat = {**state.get("status", {}), **state} if state else {}
            return state if state is not None and fields.items() <= flat.items() else None

        def what() -> str:
            return f"{topic} with {fields}; it is {self.retained.get(f'{BASE}/{topic}')}"

        return await self._bulletin.until(find, what, wait_s)

    async def no_state(self, topic: str) -> None:
        """Wait until the retained state on `<base>/<topic>` is cleared."""
        await self.until(lambda: f"{BASE}/{topic}" not in self.retained, f"{topic} cleared")

    async def event(self, kind: str, *, since: int = 0, wait_s: float = WAIT_S, **fields: Any) -> dict[str, Any]:
        """The first journal entry on the feed of this kind with these fields, after the mark `since`."""

        def find() -> dict[str, Any] | None:
            return next(iter(self.events(kind, since=since, **fields)), None)

        def what() -> str:
            return (
                f"{kind} {fields} on the feed; since then came {[one for one in self.feed if one['seq'] > since][-8:]}"
            )

        return await self._bulletin.until(find, what, wait_s)

    def events(self, kind: str, *, since: int = 0, **fields: Any) -> list[dict[str, Any]]:
        """Every journal entry so far of this kind with these fields, each once."""
        wanted = {"kind": kind, **fields}
        found = {one["seq"]: one for one in self.feed if one["seq"] > since and wanted.items() <= one.items()}
        return list(found.values())

    async def until(self, find: Callable[[], Any], what: str, wait_s: float = WAIT_S) -> Any:
        """Wait until `find()`, looked at after each message, returns something."""
        return await self._bulletin.until(find, lambda: what, wait_s)

    def feed_problems(self) -> list[str]:
        """What is wrong with the order of the feed: within one connection each entry follows the one before.

        Entries may come again, from some point on, when the gateway connected anew; the same seq is the same entry.
        """
        by_seq: dict[int, dict[str, Any]] = {}
        problems: list[str] = []
        last_seq, last_connection = 0, 0
        for entry, (seq, connection) in zip(self.feed, self._feed_order, strict=True):
            if by_seq.setdefault(seq, entry) != entry:
                problems.append(f"seq {seq} came with two contents: {by_seq[seq]} and {entry}")
            if seq > last_seq + 1 and last_seq and connection == last_connection:
                problems.append(f"the feed jumped from {last_seq} to {seq}")
            last_seq, last_connection = seq, connection
        return problems

    async def _run(self) -> None:
        while True:
            # The library leaves a socket open that it could not connect, so it is only used where somebody listens.
            if await listens(self._socket):
                with contextlib.suppress(aiomqtt.MqttError):
                    await self._look_on()
            self.connected = False
            await asyncio.sleep(RETRY_S)

    async def _look_on(self) -> None:
        protocol = aiomqtt.ProtocolVersion.V5
        async with aiomqtt.Client(str(self._socket), transport="unix", protocol=protocol) as client:
            # What the broker retains now says nothing of what it retained before it was killed.
            self.retained.clear()
            await client.subscribe(f"{BASE}/#", qos=1)
            self.connections += 1
            self.connected = True
            self._bulletin.post()
            async for message in client.messages:
                self._take(Seen(message.topic.value, bytes(message.payload or b""), message.retain))

    def _take(self, message: Seen) -> None:
        self.seen.append(message)
        topic = message.topic.removeprefix(f"{BASE}/")
        if topic == "events":
            entries = json.loads(message.payload)
            self.feed += entries
            self._feed_order += [(entry["seq"], self.connections) for entry in entries]
        elif topic.startswith("gateway/") or topic.endswith("/state"):
            self._keep_state(message)
        self._bulletin.post()

    def _keep_state(self, message: Seen) -> None:
        if message.payload:
            self.retained[message.topic] = json.loads(message.payload)
        else:
            self.retained.pop(message.topic, None)
