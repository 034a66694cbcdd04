"""Hand-written stand-ins for the journal and the desk, and a face that runs against a real broker."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Sequence
from random import Random
from typing import NamedTuple

import msgspec

from gateway.config.schema import Broker
from gateway.domain import events as e
from gateway.domain.answers import Answer
from gateway.flows.desk import Request
from gateway.flows.recorder import Committed
from gateway.mqtt.face import MqttFace
from gateway.mqtt.requests import keyed_digest
from gateway.mqtt5.connection import Limits
from gateway.store.rows import id_text
from tests.gateway.mqtt.broker import WAIT_S, BrokerProcess

NOW_MS = 1_780_000_000_000
BASE = "venue/hall"


class FakeRow(NamedTuple):
    seq: int
    id: bytes
    at_ms: int
    body: bytes


class FakeJournal:
    """A journal in memory: what is appended is on disk."""

    def __init__(self) -> None:
        self.rows: list[FakeRow] = []
        self.cursors: dict[str, int] = {}
        self.reads = 0
        self.broken: Exception | None = None

    def append(self, event: e.AnyEvent, request: e.RequestRef | None = None, answer: Answer | None = None) -> Committed:
        seq = len(self.rows) + 1
        row = FakeRow(seq, seq.to_bytes(16, "big"), NOW_MS + seq, msgspec.json.encode(event))
        self.rows.append(row)
        return Committed(e.Entry(seq, id_text(row.id), row.at_ms, event), row.body, request, answer)

    def read(self, after_seq: int, limit: int) -> list[FakeRow]:
        self.reads += 1
        if self.broken is not None:
            raise self.broken
        return self.rows[after_seq : after_seq + limit]

    def cursor(self, name: str) -> int:
        return self.cursors.get(name, 0)

    def set_cursor(self, name: str, seq: int) -> None:
        self.cursors[name] = seq


class FakeDesk:
    """Remembers what was asked; answers `status` and `replay` at once, everything else later."""

    def __init__(self) -> None:
        self.requests: list[Request] = []
        self.asked = asyncio.Event()

    def handle(self, request: Request) -> Answer | None:
        self.requests.append(request)
        self.asked.set()
        return Answer("done", None, "Fine.", {"n": len(self.requests)}) if request.verb == "status" else None


class Running(NamedTuple):
    """A face at work, with its fakes."""

    face: MqttFace
    desk: FakeDesk
    journal: FakeJournal

    def commit(self, *committed: Committed) -> None:
        self.face.answers.committed(committed)
        self.face.feed.committed(committed)

    async def state(self, connected: bool) -> None:
        """Wait until the session is in that state."""
        changed = asyncio.Event()
        self.face.session.state_listeners.append(lambda _connected, _why: changed.set())
        async with asyncio.timeout(WAIT_S):
            while self.face.session.connected is not connected:
                changed.clear()
                await changed.wait()

    async def fed(self, seq: int) -> None:
        """Wait until the broker has acknowledged the feed up to `seq`."""
        assert await self.face.session.drain(WAIT_S)
        assert self.face.feed.acknowledged_seq == seq


@contextlib.asynccontextmanager
async def running(
    broker: BrokerProcess,
    *,
    journal: FakeJournal | None = None,
    url: str = "",
    limits: Limits | None = None,
    wait: bool = True,
) -> AsyncIterator[Running]:
    desk, journal = FakeDesk(), journal or FakeJournal()
    face = MqttFace(
        "hall",
        Broker(url or f"unix://{broker.socket}"),
        journal,
        desk.handle,
        digest=keyed_digest(b"k" * 32),
        now_ms=lambda: NOW_MS,
        random=Random(1),
        limits=limits,
    )
    task = asyncio.create_task(face.session.run())
    running = Running(face, desk, journal)
    try:
        if wait:
            await running.state(True)
        yield running
    finally:
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task
        face.announcer.close()
        face.feed.close()


def printed(number: int) -> e.PrintDone:
    return e.PrintDone(job=f"job-{number}", printer="bar-printer", confirmed=True)


def answers(payload: object) -> dict[str, object]:
    assert isinstance(payload, bytes)
    decoded: dict[str, object] = msgspec.json.decode(payload)
    return decoded


def seqs(payloads: Sequence[bytes]) -> list[int]:
    return [entry["seq"] for payload in payloads for entry in msgspec.json.decode(payload)]
