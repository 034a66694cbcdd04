"""A long backlog is packed by a process of its own; whatever becomes of it, every event goes up once and in order."""

import asyncio
import os
import signal
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import structlog.testing

from gateway.upstream import relay as relaying
from gateway.upstream.backlog import Backlog
from gateway.upstream.packer import NICENESS
from gateway.upstream.sinks import Pack, Verdict
from tests.gateway.upstream.nats_server import NatsServer
from tests.gateway.upstream.served import Venue, fill, journalled, venue
from tests.gateway.upstream.test_jetstream import sink, stored, stream
from tests.gateway.upstream.test_relay import FakeSink
from tests.gateway.upstream.waiting import until

ROWS = 6000


class SlowSink(FakeSink):
    """Takes nothing until it is let go on, so that the process is ready meanwhile."""

    def __init__(self, stop_at: int) -> None:
        super().__init__()
        self.stop_at = stop_at
        self.go_on = asyncio.Event()

    async def deliver(self, pack: Pack) -> Verdict:
        if pack.after_seq >= self.stop_at:
            await self.go_on.wait()
        return await super().deliver(pack)


@pytest.fixture(autouse=True)
def _soon_a_backlog(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(relaying, "BACKLOG_ROWS", 1000)
    with structlog.testing.capture_logs():
        yield


async def _begun(made: Venue, sink: SlowSink) -> Backlog:
    """Begin a relay and return its backlog, once the process is ready and the sink waits."""
    backlog = made.begin(sink)._backlog
    await until(lambda: backlog.ready)
    return backlog


def _process(backlog: Backlog) -> asyncio.subprocess.Process:
    assert backlog._starting is not None
    return backlog._starting.result()


async def test_i05_a_long_backlog_comes_from_a_process_of_its_own_once_and_in_order(tmp_path: Path):
    async with venue(tmp_path, ROWS) as made:
        sink = SlowSink(stop_at=300)
        backlog = await _begun(made, sink)
        process = _process(backlog)
        # Taps come first, also where a core is shared.
        assert os.getpriority(os.PRIO_PROCESS, process.pid) == NICENESS
        sink.go_on.set()
        await until(lambda: sink.through == ROWS)
        assert sink.taken == list(range(1, ROWS + 1))
        # What packs ends by itself at the end of the journal, and is not needed for a few events more.
        await until(lambda: process.returncode is not None)
        await until(lambda: not backlog.ready)


async def test_i05_a_process_that_is_killed_is_done_without(tmp_path: Path):
    async with venue(tmp_path, ROWS) as made:
        sink = SlowSink(stop_at=300)
        backlog = await _begun(made, sink)
        with structlog.testing.capture_logs() as logged:
            os.kill(_process(backlog).pid, signal.SIGKILL)
            sink.go_on.set()
            await until(lambda: sink.through == ROWS)
        assert sink.taken == list(range(1, ROWS + 1))
        assert [one["event"] for one in logged].count("upstream_packer_failed") == 1
        assert not backlog.ready


async def test_i05_a_process_that_cannot_be_started_is_done_without(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(sys, "executable", str(tmp_path / "nothing"))
    async with venue(tmp_path, ROWS) as made:
        sink = FakeSink()
        made.begin(sink)
        await until(lambda: sink.through == ROWS)
        assert sink.taken == list(range(1, ROWS + 1))


async def test_i05_poison_in_a_long_backlog_is_set_aside_alone(tmp_path: Path):
    async with venue(tmp_path, ROWS) as made:
        sink = SlowSink(stop_at=300)
        sink.poison = {2500, 4000}
        await _begun(made, sink)
        sink.go_on.set()
        await until(lambda: sink.through == ROWS)
        assert [one.event_seq for one in made.aside] == [2500, 4000]
        assert sink.taken == [seq for seq in range(1, ROWS + 1) if seq not in sink.poison]


async def test_i05_a_sink_that_lost_events_within_a_backlog_gets_them_again(tmp_path: Path):
    async with venue(tmp_path, ROWS) as made:
        sink = SlowSink(stop_at=3000)
        await _begun(made, sink)
        await until(lambda: sink.through >= 3000)
        sink.through = 1000
        sink.go_on.set()
        await until(lambda: sink.through == ROWS)
        assert sorted(set(sink.taken)) == list(range(1, ROWS + 1))
        assert sink.taken[-5000:] == list(range(1001, ROWS + 1))


async def test_nothing_of_a_process_is_left_when_the_relay_ends(tmp_path: Path):
    async with venue(tmp_path, ROWS) as made:
        backlog = await _begun(made, SlowSink(stop_at=300))
        process = _process(backlog)
        await made.end()
        assert process.returncode is not None


async def test_nothing_is_left_of_a_process_that_is_half_started(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    started: list[asyncio.subprocess.Process] = []
    spawn = asyncio.create_subprocess_exec

    async def slow_spawn(*command: str, **more: Any) -> asyncio.subprocess.Process:
        process = await spawn(*command, **more)
        started.append(process)
        await asyncio.sleep(0)
        return process

    monkeypatch.setattr(asyncio, "create_subprocess_exec", slow_spawn)
    for steps in range(6):
        backlog = Backlog(tmp_path / "journal.db", "stadthalle")
        backlog.start()
        for _ in range(steps):
            await asyncio.sleep(0)
        await backlog.stop()
    assert started
    assert all(process.returncode is not None for process in started)


async def test_i05_a_server_that_is_killed_within_a_backlog_loses_nothing_and_keeps_the_order(tmp_path: Path):
    async with venue(tmp_path / "venue", ROWS) as made, NatsServer(tmp_path / "nats") as server:
        await stream(server)
        relay = made.begin(sink(server.url))
        await until(lambda: relay._backlog.ready)
        await server.kill()
        await until(lambda: relay.why or relay.through_seq == ROWS)
        await server.start()
        await fill(made.journal, 1500)
        relay.news()
        relay.try_now()
        await until(lambda: relay.through_seq == ROWS + 1500)
        assert await stored(server) == journalled(tmp_path / "venue")
