"""Upstream in virtual time: somebody above who gets every event, over a line that stalls, drops and loses answers.

It stands behind the interface of a sink. What goes over HTTPS, MQTT or NATS is tested with real servers elsewhere.
"""

from __future__ import annotations

import asyncio
import gzip
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from random import Random
from typing import TYPE_CHECKING, Any

import msgspec

from gateway.config.upstream import SinkEntry, Upstream
from gateway.upstream import face
from gateway.upstream.outbox import Outbox
from gateway.upstream.retention import Outlook
from gateway.upstream.sinks import Ahead, Behind, Pack, SinkUnavailable, Taken, Verdict
from tests.simulation.mutants import patched

if TYPE_CHECKING:
    from tests.simulation.observers import Observers
    from tests.simulation.timeline import Timeline
    from tests.simulation.world import World

ADDRESS = "https://office.example"
UPSTREAM = Upstream(url=ADDRESS, events=False, directory=False, sinks={"office": SinkEntry(url=ADDRESS)})
HANG_S = 4.0
NOT_FOUND = 404


class Office:
    """What outlives every life of the gateway: the events that arrived, and what is wrong with the line."""

    def __init__(self, timeline: Timeline, random: Random, observers: Observers) -> None:
        self.timeline = timeline
        self.random = random
        self.observers = observers
        self.faults = observers.faults
        # One venue in six has one, so that what is found without it is found as often as ever.
        self.is_there = random.random() < 0.17
        self.has_seq = 0
        self.forgot = False
        self.reachable = True
        self.loses = 0.0
        self.hangs = 0.0
        self.singly = random.random() < 0.5
        self.due_seq = 0

    def forget(self) -> None:
        """Its own disk is gone, and it goes on from a backup."""
        if self.has_seq:
            self.has_seq = self.random.randrange(self.has_seq)
            self.forgot = True
            self.faults.count("upstream", "went back to a backup")

    def mend(self) -> None:
        self.reachable, self.loses, self.hangs = True, 0.0, 0.0

    def mark_due(self) -> None:
        """What is on disk by now must be here at the end."""
        self.due_seq = self.observers.durable_seq

    def check_the_end(self) -> None:
        if self.is_there and self.has_seq < self.due_seq:
            self.observers.violated("I5", f"upstream has rows up to {self.has_seq} of {self.due_seq}")

    def take(self, pack: Pack, events: list[dict[str, Any]]) -> Verdict:
        """Take what follows on what is here, as the contract says."""
        if pack.after_seq > self.has_seq:
            if not self.forgot:
                what = f"upstream has rows up to {self.has_seq} and gets what follows {pack.after_seq}"
                self.observers.violated("I5", what)
            return Behind(self.has_seq)
        if pack.after_seq < self.has_seq:
            self.faults.count("upstream", "was sent a repeat")
            if self.has_seq < pack.through_seq and self.random.random() < 0.5:
                return Ahead(self.has_seq)
        numbers = [int(event["sequence"]) for event in events]
        if numbers != list(range(pack.after_seq + 1, pack.through_seq + 1)):
            self.observers.violated("I5", f"a pack of {pack.after_seq} to {pack.through_seq} holds {numbers}")
        self.has_seq = max(self.has_seq, pack.through_seq)
        self.observers.stats["office packs"] += 1
        return Taken()


class SimSink:
    """One life's way to the office."""

    keep_s = 0.0

    def __init__(self, office: Office) -> None:
        self._office = office

    @property
    def singly(self) -> bool:
        return self._office.singly

    async def deliver(self, pack: Pack) -> Verdict:
        office, random = self._office, self._office.random
        parts = pack.parts or [gzip.decompress(pack.body)]
        events = [one for part in parts for one in _events(part)]
        office.observers.wire.told_upstream(events, parts)
        await asyncio.sleep(random.choice((0.002, 0.03, 0.2)))
        if random.random() < office.hangs:
            office.faults.count("upstream", "hung")
            await asyncio.sleep(HANG_S)
        if not office.reachable or random.random() < office.loses:
            office.faults.count("upstream", "lost a pack" if office.reachable else "unreachable")
            raise SinkUnavailable("the line is down")
        verdict = office.take(pack, events)
        await asyncio.sleep(random.choice((0.002, 0.03, 0.2)))
        if random.random() < office.loses:
            office.faults.count("upstream", "lost an answer")
            raise SinkUnavailable("the line broke before an answer came")
        return verdict

    async def close(self) -> None:
        pass


class NothingThere:
    """What else would be asked of upstream: it is not there, as the contract allows."""

    seal = None

    async def ask(self, *_: Any, **__: Any) -> Any:
        await asyncio.sleep(0.05)
        raise SinkUnavailable("nothing is there", status=NOT_FOUND)

    async def close(self) -> None:
        pass


class Unwatched:
    """No kernel tells of the network here, and the journal is too short to prune."""

    def __init__(self, *_: Any) -> None:
        pass

    def close(self) -> None:
        pass

    async def look(self, *_: Any) -> Outlook:
        return Outlook()


@contextmanager
def upstream_of(world: World) -> Iterator[None]:
    """Let the gateway find this world's office where it would look for the real one."""
    stand_ins = {
        "make_sink": lambda *_: SimSink(world.office),
        "Client": lambda *_: NothingThere(),
        "Outbox": lambda _, venue: world.keep_open(Outbox(world.disk.path, venue)),
        "NetworkWatch": Unwatched,
        "Retention": Unwatched,
    }
    with ExitStack() as stack:
        for name, stand_in in stand_ins.items():
            stack.enter_context(patched(face, name, stand_in))
        yield


def _events(part: bytes) -> list[dict[str, Any]]:
    found = msgspec.json.decode(part)
    return found if isinstance(found, list) else [found]
