"""Readers that beep, shine and write: after the commit, newest first, and never in anybody's way (I8)."""

from __future__ import annotations

import asyncio

import pytest

from drivers.api import Beeper, DeviceFault, Display, Light
from gateway.domain import events as e
from gateway.domain.feedback import Shown
from gateway.domain.feedback_book import Book
from gateway.domain.reasons import Reason
from gateway.flows.feedback import DEVICE_TIMEOUT_S, FeedbackFlow
from tests.gateway.domain.samples import sample
from tests.gateway.fakes import settle
from tests.gateway.flows.house import House


class FakeReader:
    """A reader with everything, and the port to it. It answers when `answer` is set, and breaks with `error`."""

    display_rows = 1

    def __init__(self) -> None:
        self.online = True
        self.told: list[tuple[object, ...]] = []
        self.answer = asyncio.Event()
        self.answer.set()
        self.error: Exception | None = None

    def live(self) -> FakeReader:
        return self

    async def _take(self, *what: object) -> None:
        if self.error is not None:
            raise self.error
        self.told.append(what)
        await self.answer.wait()

    async def beep(self, count: int, on_ms: int, off_ms: int) -> None:
        await self._take("beep", count, on_ms, off_ms)

    async def light(self, colour: str, on_ms: int) -> None:
        await self._take("light", colour, on_ms)

    async def show(self, text: str, on_ms: int) -> None:
        await self._take("show", text, on_ms)


class DumbReader:
    online = True

    def live(self) -> DumbReader:
        return self


class Room:
    def __init__(self) -> None:
        self.house = House()
        self.reader, self.other = FakeReader(), FakeReader()
        self.flow = FeedbackFlow(self.house.spawn, self.house.recorder.now_ms)
        self.flow.configure(Book(), 3.0, {"north": self.reader, "south": self.other, "dumb": DumbReader()})
        self.house.recorder.listeners.append(self.flow.committed)

    def denied(self, reason: Reason = Reason.EXPIRED, source: str = "north") -> e.EntryDenied:
        return sample(e.EntryDenied, reason=reason, source=source)

    def record(self, *events: e.AnyEvent) -> asyncio.Future[None]:
        return self.house.recorder.record(*events)


@pytest.fixture
def room() -> Room:
    return Room()


def test_the_capabilities_are_small() -> None:
    assert all(isinstance(FakeReader, type) and isinstance(FakeReader(), kind) for kind in (Beeper, Light, Display))
    assert not isinstance(DumbReader(), (Beeper, Light, Display))


async def test_i01_it_is_shown_when_the_decision_is_on_disk_and_not_before(room: Room) -> None:
    room.house.journal.hold()
    room.record(room.denied())
    await settle()
    assert room.reader.told == []
    room.house.journal.release()
    await settle()
    assert room.reader.told == [
        ("light", "red", 3000),
        ("beep", 1, 600, 0),
        ("show", "Nicht mehr gültig", 3000),
    ]


async def test_i08_a_reader_that_hangs_holds_up_nobody(room: Room) -> None:
    room.reader.answer.clear()
    room.record(room.denied())
    await settle()
    commit = room.record(room.denied(Reason.BLOCKED), room.denied(Reason.BUSY, "south"))
    await settle()
    assert commit.done()
    assert [what for what, *_ in room.other.told] == ["light", "beep", "show"]
    assert [what for what, *_ in room.reader.told] == ["light"]
    await asyncio.sleep(DEVICE_TIMEOUT_S + 0.1)
    assert room.reader.told[1][:2] == ("light", "red"), "the next outcome is shown after all"
    assert len(room.house.tasks) == 2


async def test_i09_only_the_newest_of_many_is_shown(room: Room) -> None:
    room.reader.answer.clear()
    for reason in [Reason.EXPIRED, *[Reason.BLOCKED] * 500, Reason.BUSY]:
        room.record(room.denied(reason))
    await settle()
    assert len(room.house.tasks) == 1
    room.reader.answer.set()
    await settle()
    lines = [text for what, text, *_ in room.reader.told if what == "show"]
    assert lines[-1] == "Bitte noch einmal"
    assert len(lines) <= 2


async def test_a_reader_that_fails_or_is_away_is_left_alone(room: Room) -> None:
    room.reader.error = DeviceFault("no answer to the light")
    room.record(room.denied())
    await settle()
    room.reader.error, room.reader.online = None, False
    room.record(room.denied())
    room.record(room.denied(source="dumb"), room.denied(source="turnstile"))
    await settle()
    assert room.reader.told == []
    room.reader.online = True
    room.record(room.denied())
    await settle()
    assert room.reader.told[0] == ("light", "red", 3000)


async def test_a_reader_that_refuses_its_light_beeps_all_the_same(room: Room) -> None:
    async def refused(colour: str, on_ms: int) -> None:
        raise DeviceFault("it knows no such command")

    room.reader.light = refused
    room.record(room.denied())
    await settle()
    assert [what for what, *_ in room.reader.told] == ["beep", "show"]


async def test_a_reader_that_waits_shows_it_until_its_time_is_over(room: Room) -> None:
    until_ms = room.house.recorder.now_ms() + 30_000
    room.flow.show(Shown("north", "present_card", {"amount": (1250, "EUR")}, until_ms))
    await settle()
    assert room.reader.told == [("light", "blue", 30_000), ("show", "Bitte Karte vorhalten 12,50 EUR", 30_000)]


async def test_a_tap_that_could_not_be_recorded_is_told_at_once(room: Room) -> None:
    room.flow.storage_refused("north")
    await settle()
    assert room.reader.told[-1] == ("show", "Bitte Personal rufen", 3000)
