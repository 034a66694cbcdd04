"""Clients that ask without pause, remember what they asked, and ask again what was not answered."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import random
from collections.abc import AsyncIterator, Collection
from typing import Any, NamedTuple

from tests.e2e.guests import Guest
from tests.e2e.paper import receipt
from tests.e2e.tablet import Answer, Conversation, Tablet
from tests.e2e.venue import Venue

PULSE_PAUSE_S = 0.08
"""Longer than a pulse of the north gate, so that each pulse can be counted."""
NETWORKED_WORKERS = 4
ANSWER_S = 10.0
CANCEL_AGAIN_S = 0.05


class Asked(NamedTuple):
    """One request as it was sent."""

    tablet: Tablet
    target: str
    verb: str
    data: dict[str, Any]


class Load:
    """Guests at networked readers and at one with a lock, receipts, and a cash drawer."""

    def __init__(self, venue: Venue, entrance: Tablet, bar: Tablet, dice: random.Random) -> None:
        self.asked: dict[str, Asked] = {}
        self._venue = venue
        self._entrance = entrance
        self._bar = bar
        self._dice = dice
        self._numbers = itertools.count(1)
        self._guests: list[Guest] = venue.guests._free["barcode", None]
        self._settled: set[str] = set()

    def answers(self, request_id: str) -> list[Answer]:
        """Every answer so far to one request."""
        return self.asked[request_id].tablet.answers.get(request_id, [])

    @contextlib.asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Everybody asks until the block ends, however it ends."""
        workers = [self._networked() for _ in range(NETWORKED_WORKERS)]
        tasks = [asyncio.create_task(work) for work in (*workers, self._locked(), self._printing(), self._drawer())]
        try:
            yield
        finally:
            await _end(tasks)

    async def ask_again(self) -> None:
        """Repeat, with the same id, whatever has had no answer that ends it, and wait for one."""
        unsettled = [one for one in self.asked if one not in self._settled]
        waiting = []
        for request_id in unsettled:
            if not any(answer["status"] != "accepted" for answer in self.answers(request_id)):
                one, known = self.asked[request_id], len(self.answers(request_id))
                again = await one.tablet.ask(one.target, one.verb, one.data, request_id=request_id, expires_s=30)
                waiting.append((again, known))
        for again, known in waiting:
            await again.answer(ANSWER_S, since=known)
        self._settled |= {one for one in unsettled if self._is_settled(one)}

    def _is_settled(self, request_id: str) -> bool:
        return any(answer["status"] != "accepted" for answer in self.answers(request_id))

    async def _networked(self) -> None:
        while True:
            gate = self._dice.choice(("turnstile", "vip", "vip"))
            guest = self._dice.choice(self._guests)
            await self._ask(self._entrance, gate, "authenticate", {"credential": guest.credential})

    async def _locked(self) -> None:
        while True:
            guest = self._venue.guests.tag()
            await self._ask(self._entrance, "north", "authenticate", {"credential": guest.credential})
            await asyncio.sleep(PULSE_PAUSE_S)

    async def _printing(self) -> None:
        while True:
            text = f"Beleg Nr. {next(self._numbers)}."
            await self._ask(self._bar, "bar-printer", "print", receipt(text, cut=False))

    async def _drawer(self) -> None:
        while True:
            await self._ask(self._bar, "bar-drawer", "open", {"reason": "sale"})
            # Cut off between question and answer, the control would take one answer for the next.
            await asyncio.shield((await self._venue.device("bar-printer")).do("drawer", open=False))

    async def _ask(self, tablet: Tablet, target: str, verb: str, data: dict[str, Any]) -> None:
        request_id = f"{verb}-{next(self._numbers)}"
        self.asked[request_id] = Asked(tablet, target, verb, data)
        conversation: Conversation = await tablet.ask(target, verb, data, request_id=request_id, expires_s=30)
        await conversation.final(wait_s=60)


async def _end(tasks: Collection[asyncio.Task[None]]) -> None:
    """Cancel until all have ended: `asyncio.wait_for`, which the library uses, can lose a cancellation in 3.11."""
    while tasks:
        for task in tasks:
            task.cancel()
        ended, tasks = await asyncio.wait(tasks, timeout=CANCEL_AGAIN_S)
        for task in ended:
            assert task.cancelled(), task.exception()
