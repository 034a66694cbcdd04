"""What upstream finds comes down once, in order, and becomes facts; an outage leaves two."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from random import Random
from typing import Any

import pytest

from gateway.config.upstream import Endpoint
from gateway.domain.upstream_events import UpstreamFound, UpstreamLost, UpstreamRegained
from gateway.upstream import relay as relaying
from gateway.upstream.findings import FindingsPoll
from gateway.upstream.http import Client
from simulators.upstream import Faults, Upstream
from tests.gateway.upstream.served import NOW_MS, fill, ready_folder, venue
from tests.gateway.upstream.test_directory import entitlement
from tests.gateway.upstream.test_relay import FakeSink
from tests.gateway.upstream.waiting import until

SOURCE = "/venues/stadthalle/journals/0197c0de-0000-7000-8000-000000000000"
ARENA = "/venues/arena/journals/0197c0de-0000-7000-8000-00000000000f"


class Told:
    """The facts as the venue's state would keep their number."""

    def __init__(self) -> None:
        self.facts: list[UpstreamFound] = []

    def cursor(self) -> int:
        return self.facts[-1].cursor if self.facts else 0

    def record(self, facts: Sequence[UpstreamFound]) -> asyncio.Future[None]:
        self.facts += facts
        done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        done.set_result(None)
        return done


async def source() -> str:
    return SOURCE


@asynccontextmanager
async def asking(folder: Path) -> AsyncIterator[tuple[Upstream, Told, FindingsPoll]]:
    above, told = Upstream(ready_folder(folder)), Told()
    port = await above.start(0)
    client = Client(Endpoint(url=f"http://127.0.0.1:{port}"), "stadthalle")
    poll = FindingsPoll(client, source, told.cursor, told.record, Random(1))
    task = asyncio.get_running_loop().create_task(poll.run())
    try:
        yield above, told, poll
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        await above.stop()


def finding(number: int, **more: Any) -> dict[str, Any]:
    given = {"id": f"f{number}", "what": "entered_elsewhere", "source": SOURCE, "sequence": 100 + number}
    return {**given, "elsewhere": "arena", **more}


async def test_each_finding_is_recorded_once_and_in_order(tmp_path: Path):
    async with asking(tmp_path / "up") as (above, told, _):
        above.faults = [Faults(path="/findings", times=1, cut_after_bytes=40)]
        for number in (1, 2):
            above.findings.add("stadthalle", finding(number))
        above.findings.add("stadthalle", finding(2))
        await until(lambda: len(told.facts) == 2)
        above.findings.add("arena", finding(9))
        above.findings.add("stadthalle", finding(3, source=ARENA))
        await until(lambda: len(told.facts) == 3)
        assert [(one.finding, one.cursor, one.event_seq) for one in told.facts] == [
            ("f1", 1, 101), ("f2", 2, 102), ("f3", 3, 0)
        ]  # fmt: skip


@pytest.mark.parametrize(
    "wrong", [{"what": "stolen"}, {"sequence": 0}, {"sequence": 2**60}, {"id": ""}, {"note": "x" * 301}, {"source": 7}]
)
async def test_a_wrong_finding_is_refused_with_all_that_came_with_it(tmp_path: Path, wrong: dict[str, Any]):
    async with asking(tmp_path / "up") as (above, told, poll):
        above.findings.add("stadthalle", finding(1))
        above.findings.add("stadthalle", {**finding(2), **wrong})
        await until(lambda: poll.why)
        assert "these are no findings" in poll.why or "do not follow" in poll.why
        assert told.facts == [] or [one.finding for one in told.facts] == ["f1"]


async def test_an_upstream_that_compares_nothing_is_no_trouble(tmp_path: Path):
    async with asking(tmp_path / "up") as (above, _, poll):
        above.faults = [Faults(path="/findings", status=404)]
        poll.try_now()
        await until(lambda: any("/findings" in request for request in above.requests))
        assert poll.why == ""


def granted(of: str, sequence: int) -> bytes:
    data = {"kind": "entry.granted", "holder": "g1", "entitlement": "e1"}
    event = {"source": of, "sequence": f"{sequence:016}", "type": "venue.entry.granted", "data": data}
    return json.dumps(event).encode()


async def test_the_reference_tells_both_venues_of_a_ticket_that_both_let_in(tmp_path: Path):
    above = Upstream(ready_folder(tmp_path / "up"))
    above.directory.set([entitlement(1, uses=1)])
    above.findings.saw([granted(SOURCE, 7), granted(SOURCE, 8), granted(ARENA, 3)])
    here = await above.findings.since("stadthalle", 0, 0)
    there = await above.findings.since("arena", 0, 0)
    await above.stop()
    assert here is not None
    assert there is not None
    assert [(one["sequence"], one["elsewhere"]) for one in here["findings"]] == [(7, "arena")]
    assert [(one["sequence"], one["elsewhere"]) for one in there["findings"]] == [(3, "stadthalle")]


async def test_an_outage_leaves_a_fact_when_it_begins_and_one_when_it_ends(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(relaying, "LOST_AFTER_S", 0.0)
    async with venue(tmp_path, 20) as made:
        sink = FakeSink()
        relay = made.begin(sink)
        await until(lambda: relay.through_seq == 20)
        sink.away = True
        await fill(made.journal, 5)
        relay.news()
        await until(lambda: made.facts)
        relay.try_now()
        await until(lambda: sink.attempts >= 4)
        sink.away = False
        relay.try_now()
        await until(lambda: relay.through_seq == 25)
        assert made.facts == [
            UpstreamLost(sink="main", through_seq=20, since_ms=NOW_MS, why="it is away"),
            UpstreamRegained(sink="main", after_seq=20, since_ms=NOW_MS),
        ]


async def test_a_short_failure_is_no_outage(tmp_path: Path):
    async with venue(tmp_path, 20) as made:
        sink = FakeSink()
        sink.away = True
        relay = made.begin(sink)
        await until(lambda: sink.attempts >= 2)
        sink.away = False
        relay.try_now()
        await until(lambda: relay.through_seq == 20)
        assert made.facts == []
