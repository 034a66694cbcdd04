"""A whole venue without its hardware: the recorder, the desk and whatever flows a test puts in."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine, Mapping
from typing import Any

import msgspec

from gateway.domain import drawers, gates, printing, purchases, redemptions
from gateway.domain import events as e
from gateway.domain.access import ZoneMap
from gateway.domain.answers import Answer
from gateway.domain.state import VenueState
from gateway.flows.desk import Desk, Handler, Request
from gateway.flows.recorder import Committed, Recorder
from tests.gateway.fakes import START_MS, Disk, FakeClock, FakeJournal, deterministic_ids

ZONES = ZoneMap(within={"hall": None, "vip": "hall"}, capacity={"hall": None, "vip": None})
CLIENT = "bar-tablet"


class House:
    """One run of the gateway over a disk. A second one over the same disk is the run after a crash."""

    def __init__(self, disk: Disk | None = None, seed: int = 1) -> None:
        self.journal = FakeJournal(disk)
        self.clock = FakeClock()
        self.recorder = Recorder(VenueState(ZONES), self.journal, self.clock, deterministic_ids(seed))
        self.recorder.restore()
        self.desk = Desk(self.recorder)
        self.told: list[tuple[str, Answer]] = []
        self.committed: list[Committed] = []
        self.tasks: set[asyncio.Task[Any]] = set()
        self.recorder.listeners.append(self._heard)

    @property
    def state(self) -> VenueState:
        return self.recorder.state

    @property
    def events(self) -> list[e.AnyEvent]:
        """Everything on disk in this run, in order."""
        return [one.entry.event for one in self.committed]

    def kinds(self) -> list[str]:
        return [type(event).__name__ for event in self.events]

    def _heard(self, committed: Any) -> None:
        self.committed += committed
        self.told += [(one.request.id, one.answer) for one in committed if one.answer is not None]

    def spawn(self, work: Coroutine[Any, Any, Any]) -> asyncio.Task[Any]:
        task = asyncio.get_running_loop().create_task(work)
        self.tasks.add(task)
        return task

    def settle_the_past(self) -> None:
        """Do what a start does: say what nobody can know any more."""
        found = [module.after_restart(self.state) for module in (gates, printing, drawers)]
        found.append(purchases.after_restart(self.state.ledger))
        found.append(redemptions.after_restart(self.state.redemptions))
        if events := [event for events in found for event in events]:
            self.recorder.record(*events)

    def serve(self, target: str, handlers: Mapping[str, Handler], *verbs: str) -> None:
        """Let the client ask this target for these verbs, or all of them."""
        granted = frozenset(verbs or handlers)
        self.desk.configure({target: handlers}, {CLIENT: {target: granted}}, 60_000)

    def ask(self, target: str, verb: str, data: object = None, *, id: str = "r1", **fields: Any) -> Answer | None:  # noqa: A002
        return self.desk.handle(request(target, verb, data, id=id, **fields))

    def statuses(self, request_id: str = "r1") -> list[str]:
        """What a request was told, in order."""
        return [answer.status for one, answer in self.told if one == request_id]

    async def crash(self) -> None:
        """Stop everything as it stands; nothing more reaches the disk."""
        self.journal.hold()
        for task in self.tasks:
            task.cancel()
        await asyncio.gather(*self.tasks, return_exceptions=True)


def request(
    target: str,
    verb: str,
    data: object = None,
    *,
    id: str = "r1",  # noqa: A002
    client: str = CLIENT,
    expires_in_s: float | None = None,
    raw: bytes | None = None,
) -> Request:
    """Return a request as it comes out of its envelope."""
    body = raw if raw is not None else msgspec.json.encode(data or {})
    now_ms = START_MS + asyncio.get_running_loop().time() * 1000
    expires_at_ms = None if expires_in_s is None else int(now_ms + expires_in_s * 1000)
    return Request(client, id, target, verb, body, expires_at_ms, f"{target}/{verb}/{body!r}")
