"""The bench: on record before anything moves, once, and the truth about what came of it."""

from __future__ import annotations

import asyncio

import pytest

from drivers.api import DeviceFault, DeviceOffline
from gateway.domain import bench
from gateway.domain.reasons import Reason
from gateway.flows.bench import DEVICE_TIMEOUT_S, BenchFlow
from tests.gateway.fakes import Disk, FakeLock, settle
from tests.gateway.flows.house import House

TRY = {"reason": "does it click", "channel": 2, "pulse_ms": 100}


class Board(FakeLock):
    """A relay board as the supervisor hands it out."""

    def live(self):
        return self.lock()


class Reader:
    """A reader that beeps and has no light."""

    online = True

    def __init__(self):
        self.beeps = []

    def live(self):
        return self

    async def beep(self, count, on_ms, off_ms):
        self.beeps.append((count, on_ms, off_ms))


class DisplayReader(Reader):
    """A reader of a model that may have a display."""

    display_rows = 0

    async def show(self, text, on_ms):
        raise AssertionError("nothing is shown where there is no display")


class Bench:
    def __init__(self, disk=None):
        self.house = House(disk, seed=2 if disk else 1)
        self.board, self.reader = Board(), Reader()
        self.flow = BenchFlow(self.house.recorder, self.house.spawn)
        handlers = self.flow.configure({"board": self.board, "reader": self.reader}, {"board"})
        grants = {"bar-tablet": {name: frozenset(verbs) for name, verbs in handlers.items()}}
        self.house.desk.configure(handlers, grants, 60_000)

    def pulse(self, data=None, *, id="r1", expires_in_s=5):  # noqa: A002
        return self.house.ask("board", "pulse", data or TRY, id=id, expires_in_s=expires_in_s)

    def outcomes(self):
        return [event.outcome for event in self.house.events if isinstance(event, bench.BenchEnded)]


async def test_i01_a_pulse_is_on_disk_before_it_is_sent():
    desk = Bench()
    desk.house.journal.hold()
    assert desk.pulse() is None
    await settle()
    assert desk.board.pulses == []
    desk.house.journal.release()
    await settle()
    assert desk.board.pulses == [(2, 100)]
    assert desk.outcomes() == ["done"]
    assert [answer.status for _, answer in desk.house.told] == ["accepted", "done"]
    started = desk.house.events[0]
    assert (started.client, started.reason, started.channel) == ("bar-tablet", "does it click", 2)


async def test_i02_the_same_request_pulses_once():
    desk = Bench()
    desk.pulse()
    await settle()
    desk.pulse()
    await settle()
    assert desk.board.pulses == [(2, 100)]


async def test_i02_after_a_crash_nobody_knows_and_nothing_moves():
    disk = Disk()
    first = Bench(disk)
    first.board.answer = asyncio.Event()
    first.pulse()
    await settle()
    after = Bench(disk)
    assert after.house.state.bench.busy("board")
    after.house.recorder.record(*bench.after_restart(after.house.state.bench))
    await settle()
    assert after.outcomes() == ["unknown"]
    assert not after.house.state.bench.busy("board")
    assert after.board.pulses == []
    first.board.answer.set()
    await settle()


@pytest.mark.parametrize(
    ("error", "outcome"),
    [(DeviceOffline("gone"), "failed"), (DeviceFault("no echo"), "unknown"), (ValueError("bug"), "unknown")],
)
async def test_what_came_of_it_is_told_as_it_is(error, outcome):
    desk = Bench()
    desk.board.error = error
    desk.pulse()
    await settle()
    assert desk.outcomes() == [outcome]


async def test_a_board_that_does_not_answer_is_not_waited_for():
    desk = Bench()
    desk.board.answer = asyncio.Event()
    desk.pulse()
    await asyncio.sleep(DEVICE_TIMEOUT_S + 0.1)
    assert desk.outcomes() == ["unknown"]


async def test_i06_a_pulse_needs_an_end_and_is_not_sent_after_it():
    desk = Bench()
    assert desk.pulse(expires_in_s=None).reason is Reason.EXPIRY_REQUIRED
    desk.house.journal.hold()
    desk.pulse(expires_in_s=1)
    await asyncio.sleep(2)
    desk.house.journal.release()
    await settle()
    assert desk.board.pulses == []
    assert desk.outcomes() == ["failed"]


async def test_i09_one_test_of_a_device_at_a_time():
    desk = Bench()
    desk.board.answer = asyncio.Event()
    desk.pulse()
    await settle()
    assert desk.pulse(id="r2").reason is Reason.BUSY
    desk.board.answer.set()
    await settle()


@pytest.mark.parametrize(
    "data",
    [
        {"reason": " ", "channel": 1},
        {"reason": "x", "channel": 0},
        {"reason": "x"},
        {**TRY, "pulse_ms": 60_000},
        {**TRY, "more": 1},
    ],
)
async def test_a_malformed_test_moves_nothing(data):
    desk = Bench()
    assert desk.pulse(data).reason is Reason.MALFORMED
    await settle()
    assert desk.board.pulses == []


async def test_a_reader_does_what_it_can_and_is_not_asked_for_more():
    desk = Bench()
    assert desk.flow.abilities("reader") == ["beep"]
    assert desk.flow.abilities("board") == ["pulse"]
    desk.house.ask("reader", "beep", {"reason": "x"}, id="b1")
    await settle()
    assert desk.reader.beeps == [(2, 150, 100)]
    refused = desk.house.ask("reader", "light", {"reason": "x"}, id="b2")
    assert (refused.reason, "It can: beep" in refused.message) == (Reason.UNKNOWN_VERB, True)
    desk.reader.online = False
    assert desk.house.ask("reader", "beep", {"reason": "x"}, id="b3").reason is Reason.DEVICE_OFFLINE


def test_a_display_is_offered_where_this_reader_has_one_and_not_for_its_model():
    flow, reader = BenchFlow(House().recorder, lambda _: None), DisplayReader()
    flow.configure({"reader": reader}, ())
    assert flow.abilities("reader") == ["beep"]
    reader.display_rows = 2
    assert flow.abilities("reader") == ["beep", "show"]
