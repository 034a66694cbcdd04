"""The journal as it is written, from any entry on: live messages, and a replay of whatever was missed."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncGenerator, Awaitable, Callable
from typing import Any

import msgspec

from gateway.client.connection import Connection
from gateway.client.messages import Entry, ReplayPage, entry

log = logging.getLogger("gateway.client")

BATCHES_MAX = 1000
"""Messages that may wait for a slow reader; what is over comes by replay."""

Replay = Callable[[int], Awaitable[ReplayPage]]


class _Missed(Exception):
    """There is a gap: the replay has what is missing."""


class Feed:
    """Entries in order and without gaps, each once."""

    def __init__(self, connection: Connection, replay: Replay, after_seq: int | None) -> None:
        """Begin after an entry, or with the next one when `after_seq` is None."""
        self._connection = connection
        self._replay = replay
        self._last = after_seq
        self._batches: asyncio.Queue[bytes | None] = asyncio.Queue(BATCHES_MAX)

    async def entries(self) -> AsyncGenerator[Entry, None]:
        """Yield entries for ever. Raises Denied without the grant `gateway: [replay]`."""
        async with self._connection.listening(f"{self._connection.base}/events", self._hear):
            while True:
                async for one in self._missed():
                    yield one
                try:
                    while True:
                        for one in self._fresh(await self._batches.get()):
                            yield one
                except _Missed:
                    continue

    def _hear(self, payload: bytes | None) -> None:
        if self._batches.full():
            # The oldest goes, and with it the order: the gap is seen by its number and replayed.
            self._batches.get_nowait()
        self._batches.put_nowait(payload)

    async def _missed(self) -> AsyncGenerator[Entry, None]:
        while self._last is not None:
            page = await self._replay(self._last)
            for message in page.entries:
                one = entry(message)
                self._last = one.seq
                yield one
            if not page.more:
                return

    def _fresh(self, payload: bytes | None) -> list[Entry]:
        """Return what of a message is new. Raises _Missed when something before it is not there."""
        if payload is None:
            raise _Missed
        if not (found := _entries(payload)):
            return []
        if self._last is None:
            self._last = found[0].seq - 1
        fresh = [one for one in found if one.seq > self._last]
        if fresh and fresh[0].seq != self._last + 1:
            raise _Missed
        if fresh:
            self._last = fresh[-1].seq
        return fresh


def _entries(payload: bytes) -> list[Entry]:
    """Return what a message holds; nothing where it is not understood, for then the next one shows a gap."""
    try:
        return [entry(one) for one in msgspec.json.decode(payload, type=list[dict[str, Any]])]
    except (msgspec.DecodeError, UnicodeError, KeyError) as error:
        log.warning("a message of the event feed was not understood: %s", error)
        return []
