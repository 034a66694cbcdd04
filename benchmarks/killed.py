"""What is answered must still be there after kill -9: a load that is cut off, and a look into the journal."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import mqtt5
import msgspec

from benchmarks.wire import PATIENCE_S, BareClient, Question


class _Id(msgspec.Struct):
    id: str


class _Entry(msgspec.Struct):
    request: _Id | None = None


_id_of = msgspec.json.Decoder(_Id).decode
_entry = msgspec.json.Decoder(_Entry).decode


class CutOff:
    """Requests of one client, so many in flight, to a gateway that is killed amid them."""

    def __init__(self, client: BareClient, ask: Callable[[], Question], in_flight: int) -> None:
        self._client, self._ask, self._in_flight = client, ask, in_flight
        self.answered: set[str] = set()

    async def after(self, count: int, kill: Callable[[], None]) -> None:
        """Call `kill` when so many are answered; whatever the broker still hands over afterwards is answered too.

        Raises TimeoutError when so many are not answered.
        """
        enough: asyncio.Future[None] = asyncio.get_running_loop().create_future()

        def took(packet: mqtt5.PublishPacket) -> None:
            self.answered.add(_id_of(packet.payload).id)
            if not enough.done():
                self._send_next()
                if len(self.answered) >= count:
                    enough.set_result(None)

        self._client.on_publish = took
        for _ in range(self._in_flight):
            self._send_next()
        await asyncio.wait_for(enough, PATIENCE_S)
        kill()

    def _send_next(self) -> None:
        question = self._ask()
        self._client.publish(question.topic, question.payload)


def last_seq(journal: Path) -> int:
    """Return the number of the last entry, 0 if there is none."""
    with closing(_opened(journal)) as database:
        ((last,),) = database.execute("SELECT coalesce(max(seq), 0) FROM journal").fetchall()
    return int(last)


def requests_after(journal: Path, seq: int) -> set[str]:
    """Return the ids of all requests that entries after `seq` answer."""
    with closing(_opened(journal)) as database:
        rows = database.execute("SELECT body FROM journal WHERE seq > ?", (seq,))
        return {entry.request.id for (body,) in rows if (entry := _entry(body)).request}


def _opened(journal: Path) -> sqlite3.Connection:
    return sqlite3.connect(f"file:{journal}?mode=ro", uri=True)
