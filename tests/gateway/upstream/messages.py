"""Every message that comes down, one of each kind with every field filled in, and who reads it."""

from __future__ import annotations

import asyncio
import hashlib
import json
from base64 import b64encode
from collections.abc import Awaitable, Callable, Iterator
from contextlib import closing
from pathlib import Path
from random import Random
from typing import Any, TypeAlias
from zoneinfo import ZoneInfo

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from gateway.domain import orders as o
from gateway.store.credentials import CredentialKey
from gateway.store.directory import Directory
from gateway.store.directory_batch import Ground
from gateway.upstream import changes as directory_changes
from gateway.upstream import findings as findings_poll
from gateway.upstream import https
from gateway.upstream.courier import HttpsCourier
from gateway.upstream.fleet import FleetLink, enrol, why_of
from gateway.upstream.http import Answer
from gateway.upstream.orders import OrdersPoll
from simulators.upstream_directory import digest

Json: TypeAlias = Any
KEY = Ed25519PrivateKey.generate()
KEYS = [{"id": "k1", "key": b64encode(KEY.public_key().public_bytes_raw()).decode()}]
NOW_MS = 1_780_000_000_000
ORDER = {
    "id": "o-1", "venue": "hall", "kind": "restart", "version": 1, "issued_at_ms": NOW_MS, "expires_at_ms": NOW_MS + 1,
    "by": "ann", "reason": "why", "data": {},
}  # fmt: skip
FINDING = {
    "id": "f1", "what": "entered_elsewhere", "source": "/venues/hall/journals/0", "sequence": 7, "elsewhere": "arena",
    "note": "n",
}  # fmt: skip
GRANT = {
    "book": "b", "holder": "g1", "currency": "EUR", "version": 1, "granted_minor": 5, "until_ms": 9, "recall_minor": 1,
    "heard_version": 1, "heard_returned_minor": 1,
}  # fmt: skip
PASERK = "k4.public.Hrnbu7wEfAP9cGBOAHHwmH4Wsot1ciXBHwBBXQ4gsaI"
WHEN, LATER = "2026-07-01T20:00:00+02:00", "2026-07-02T20:00:00+02:00"
ROWS: list[Json] = [
    {"type": "credential", "technology": "em4100", "value": "0F0184A2C3", "holder": "g", "state": "active",
     "valid_until": LATER, "kind": "card"},
    {"type": "entitlement", "id": "e", "holder": "g", "zones": ["hall"], "valid_from": WHEN, "valid_until": LATER,
     "schedule": "s", "uses": 3, "reentry": True, "uses_per_day": 2, "item": None},
    {"type": "wallet", "holder": "g", "balance_minor": 100, "currency": "EUR", "counted_minor": 1},
    {"type": "schedule", "id": "s", "weekly": [{"days": ["mon"], "from": "10:00", "to": "12:00"}]},
    {"type": "zone", "id": "vip", "within": "hall"},
    {"type": "issuer_key", "id": "i", "issuer": "shop", "public_key": PASERK, "state": "active",
     "valid_from": WHEN, "valid_until": LATER},
]  # fmt: skip
GONE = [
    {"type": "credential", "technology": "em4100", "value": "0F0184A2C3"},
    {"type": "entitlement", "holder": "g", "id": "e"},
    {"type": "wallet", "holder": "g"},
    {"type": "schedule", "id": "s"},
    {"type": "zone", "id": "vip"},
    {"type": "issuer_key", "id": "i"},
]


def changes() -> Json:
    puts = [{"op": "put", "row": row} for row in ROWS]
    return {"after": 4, "cursor": 5, "changes": [*puts, *({"op": "delete", "row": row} for row in GONE)]}


MESSAGES: dict[str, tuple[int, Json]] = {
    "EventsTaken": (200, {"through_seq": 7}),
    "EventsMissing": (409, {"through_seq": 7}),
    "EventsRefused": (422, {"why": "no", "id": "x"}),
    "DirectoryChanges": (200, changes()),
    "AllowanceAnswers": (200, {"grants": [GRANT]}),
    "Findings": (200, {"after": 0, "cursor": 1, "findings": [FINDING]}),
    "Orders": (200, {"after": 0, "cursor": 1, "orders": [{"order": "{}", "key": "k1", "signature": "AA=="}]}),
    "Order": (200, ORDER),
    "Enrolled": (200, {"certificate": "PEM", "keys": KEYS}),
    "Renewed": (200, {"certificate": "PEM"}),
    "Refusal": (422, {"why": "no"}),
}
"""By the name of its schema in the document: with which status it comes, and one of it."""


class CannedClient:
    """Answers everything with the same."""

    seal = None

    def __init__(self, answer: Answer) -> None:
        self.answer = answer

    async def ask(self, *_: Any, **__: Any) -> Answer:
        return self.answer

    async def close(self) -> None: ...


class Reader:
    """Hands a message to the part of the gateway that reads it, and keeps what came of it."""

    def __init__(self, folder: Path) -> None:
        key = CredentialKey.load_or_create(folder)
        with closing(Directory.open(folder)) as directory:
            self._ground = Ground(directory.overlay.summary, key, ("hall",), ZoneInfo("Europe/Berlin"))
        self.facts: list[Any] = []
        self.granted: list[Any] = []
        self.readers: dict[str, Callable[[Answer], Awaitable[object]]] = {
            **dict.fromkeys(("EventsTaken", "EventsMissing", "EventsRefused"), self._events),
            "DirectoryChanges": self._changes,
            "AllowanceAnswers": self._allowances,
            "Findings": self._findings,
            "Orders": self._orders,
            "Order": self._order,
            "Enrolled": lambda answer: enrol(CannedClient(answer), None),  # type: ignore[arg-type]
            "Renewed": self._renewed,
            "Refusal": self._refusal,
        }

    async def read(self, name: str, status: int, body: bytes, **headers: str) -> object:
        return await self.readers[name](Answer(status, {"Content-Digest": digest(body), **headers}, body))

    async def _events(self, answer: Answer) -> object:
        return https._verdict(answer, 7)

    async def _changes(self, answer: Answer) -> object:
        arrived = directory_changes.Arrived(answer.body, answer.headers.get("Content-Digest"))
        directory_changes._cursor_of(arrived.body)
        return directory_changes._read(arrived, 4, self._ground)

    async def _allowances(self, answer: Answer) -> None:
        courier = HttpsCourier(CannedClient(answer), Random(1), self.granted.append, lambda: None)  # type: ignore[arg-type]
        await courier._exchange()

    async def _findings(self, answer: Answer) -> object:
        return findings_poll._facts(findings_poll._read(answer, 0), FINDING["source"])

    async def _orders(self, answer: Answer) -> None:
        await self._poll(answer)

    async def _order(self, answer: Answer) -> None:
        """An order inside its envelope, signed as upstream would sign whatever it makes."""
        text = answer.body.decode(errors="replace")
        signature = b64encode(KEY.sign(o.PREFIX + text.encode(errors="replace"))).decode()
        told = {"after": 0, "cursor": 1, "orders": [{"order": text, "key": "k1", "signature": signature}]}
        await self._poll(Answer(200, {}, json.dumps(told).encode()))

    async def _poll(self, answer: Answer) -> None:
        poll = OrdersPoll(CannedClient(answer), lambda: 0, self._record, self, Random(1))  # type: ignore[arg-type]
        await poll.look()
        if poll.why:
            self.facts.append(poll.why)

    async def _renewed(self, answer: Answer) -> object:
        link = FleetLink(CannedClient(answer), lambda: 0, self._record, self, self._nothing, Random(1))  # type: ignore[arg-type]
        return await link.renew("")

    async def _refusal(self, answer: Answer) -> object:
        return why_of(answer)

    async def _nothing(self) -> None: ...

    def _record(self, fact: Any) -> asyncio.Future[None]:
        self.facts.append(fact)
        done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        done.set_result(None)
        return done

    # The carrier of orders.

    def situation(self) -> o.Situation:
        keys = {"k1": KEY.public_key().public_bytes_raw()}
        return o.Situation(venue="hall", now_ms=NOW_MS, keys=keys, allowed=("restart",), versions={})

    def check_free(self, order: o.Order) -> None: ...

    def carry_out(self, order: o.Order) -> None:
        self.facts.append(order)


def places(value: Json, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Yield the path to every part of a message, the whole of it first."""
    yield path
    inner = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, one in inner:
        yield from places(one, (*path, key))


def replaced(value: Json, path: tuple[Any, ...], fresh: Json) -> Json:
    """Return the message with another part at `path`; left out where that is `...`."""
    if not path:
        return None if fresh is ... else fresh
    copy = dict(value) if isinstance(value, dict) else list(value)
    if len(path) == 1 and fresh is ...:
        del copy[path[0]]
    else:
        copy[path[0]] = replaced(value[path[0]], path[1:], fresh)
    return copy


def sha256(body: bytes) -> bytes:
    return hashlib.sha256(body).digest()
