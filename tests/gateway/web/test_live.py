"""The stream: batched, the same bytes for everybody, without names for viewers, and a slow browser harms nobody."""

from __future__ import annotations

import asyncio
import json

from gateway.domain import events as e
from gateway.domain.answers import Answer, failed
from gateway.domain.event import RequestRef
from gateway.domain.reasons import Reason
from gateway.flows.recorder import Committed
from gateway.web.live import (
    EVERY_S,
    FRAMES_WAITING_MAX,
    PARTS_EVERY_S,
    ROWS_KEPT,
    ROWS_SENT_MAX,
    SCREENS_MAX,
    WATCHERS_MAX,
    Live,
)
from gateway.web.rows import is_shown, row
from tests.gateway.domain.samples import EVENT_TYPES, sample
from tests.gateway.fakes import VirtualClockLoop
from tests.gateway.web.conftest import FakeVenue


def entry(seq: int, event=None, **more) -> Committed:
    return Committed(e.Entry(seq, f"id-{seq}", 1_780_000_000_000, event or sample(e.EntryDenied)), b"{}", **more)


def frames(watcher) -> list[tuple[str, object]]:
    found = []
    while not watcher.frames.empty():
        frame = watcher.frames.get_nowait()
        if frame is not None:
            event, data = frame.decode().strip().split("\n")
            found.append((event.removeprefix("event: "), json.loads(data.removeprefix("data: "))))
    return found


def in_virtual_time(story) -> None:
    loop = VirtualClockLoop()
    try:
        loop.run_until_complete(story(loop))
    finally:
        loop.close()


async def passed(loop, seconds: float) -> None:
    await asyncio.sleep(seconds)
    # Each part is looked at in a turn of its own.
    for _ in range(5):
        await asyncio.sleep(0)


def test_a_newcomer_gets_everything_and_then_what_changes():
    async def story(loop):
        venue = FakeVenue()
        live = Live(venue)
        live.committed([entry(1), entry(2)])
        watcher = live.watch("ada", sees_guests=True)
        whole = frames(watcher)
        assert [name for name, _ in whole] == ["parts", "rows"]
        assert set(whole[0][1]) == {"gateway", "devices", "charts"}
        assert [one["seq"] for one in whole[1][1]] == [1, 2]
        await passed(loop, 2)
        assert frames(watcher) == [], "nothing changed, so nothing is sent"
        venue.shown = {**venue.shown, "devices": [{"name": "x"}]}
        await passed(loop, PARTS_EVERY_S)
        assert frames(watcher) == [("parts", {"devices": [{"name": "x"}]})]
        live.leave(watcher)
        assert live._timer is None

    in_virtual_time(story)


def test_a_hundred_taps_a_second_are_five_messages():
    async def story(loop):
        live = Live(FakeVenue())
        watcher = live.watch("ada", sees_guests=True)
        frames(watcher)
        for number in range(100):
            live.committed([entry(number)])
            await passed(loop, 0.01)
        seen = frames(watcher)
        assert len(seen) <= 6
        assert sum(len(rows) for _, rows in seen) >= 80
        live.committed([entry(number) for number in range(5000)])
        await passed(loop, EVERY_S)
        assert [len(rows) for _, rows in frames(watcher)] == [ROWS_SENT_MAX]
        assert len(live._kept) == ROWS_KEPT
        live.leave(watcher)

    in_virtual_time(story)


def test_viewers_do_not_hear_who_it_was():
    async def story(loop):
        live = Live(FakeVenue())
        staff, viewer = live.watch("bea", sees_guests=True), live.watch("vic", sees_guests=False)
        for one in (staff, viewer):
            frames(one)
        live.committed([entry(1)])
        await passed(loop, EVERY_S)
        assert frames(staff)[0][1][0]["holder"] == "holder-1"
        assert "holder" not in frames(viewer)[0][1][0]
        live.close()

    in_virtual_time(story)


def test_i08_a_browser_that_takes_nothing_is_let_go():
    async def story(loop):
        live = Live(FakeVenue())
        slow, quick = live.watch("ada", sees_guests=True), live.watch("bea", sees_guests=True)
        for number in range(FRAMES_WAITING_MAX + 5):
            live.committed([entry(number)])
            await passed(loop, EVERY_S)
            assert frames(quick)
        assert slow.lost
        assert not quick.lost
        assert slow.frames.qsize() <= FRAMES_WAITING_MAX
        live.close()

    in_virtual_time(story)


def test_i09_there_are_only_so_many_watchers():
    async def story(_loop):
        live = Live(FakeVenue())
        assert all(live.watch(f"user-{number}", sees_guests=True) for number in range(WATCHERS_MAX))
        assert live.watch("ada", sees_guests=True) is None
        live.close()

    in_virtual_time(story)


def test_i09_whoever_opens_more_and_more_screens_loses_their_own_oldest_and_shuts_nobody_out():
    async def story(_loop):
        live = Live(FakeVenue())
        opened = [live.watch("vic", sees_guests=False) for _ in range(WATCHERS_MAX + 3)]
        assert all(opened)
        gone, left = opened[:-SCREENS_MAX], opened[-SCREENS_MAX:]
        assert [one.lost for one in opened] == [True] * len(gone) + [False] * SCREENS_MAX
        for one in gone:
            assert frames(one)[-1] == ("crowded", {})
        assert live.watchers == SCREENS_MAX
        assert live.watch("ada", sees_guests=True) is not None
        # One that has gone leaves later than it was let go, and that takes nobody else's place.
        live.leave(gone[0])
        assert live.watchers == SCREENS_MAX + 1
        assert not any(one.lost for one in left)
        live.close()

    in_virtual_time(story)


def test_answers_go_to_whoever_asked_and_to_nobody_else():
    async def story(_loop):
        live = Live(FakeVenue())
        ada, bea = live.watch("ada", sees_guests=True), live.watch("bea", sees_guests=True)
        for one in (ada, bea):
            frames(one)
        waiting = live.await_answer("console/ada", "1")
        ref = RequestRef("console/ada", "1")
        live.committed([entry(1, request=ref, answer=Answer("done"))])
        assert (await waiting).status == "done"
        assert [name for name, _ in frames(ada)] == ["answer"]
        assert frames(bea) == []
        lost = live.await_answer("console/ada", "2")
        live.storage_failed([RequestRef("console/ada", "2"), RequestRef("bar-tablet", "2")], OSError())
        assert await lost == failed(Reason.STORAGE_UNAVAILABLE)
        live.close()

    in_virtual_time(story)


def test_i12_every_kind_of_event_makes_a_row_or_none_and_no_row_has_a_whole_reference():
    reference = "0123456789abcdef0123456789abcdef"
    shown = 0
    for event_type in EVENT_TYPES:
        fields = {"credential": reference} if "credential" in event_type.__struct_fields__ else {}
        one = entry(1, sample(event_type, **fields))
        if is_shown(one):
            shown += 1
            made = row(one, sees_guests=True)
            assert made.kind == event_type.__struct_config__.tag
            assert reference not in str(made)
    assert shown > 30


def test_what_somebody_typed_may_name_a_guest_and_is_not_for_viewers():
    name = "Ada Lovelace lost her ticket"
    typed = 0
    for event_type in EVENT_TYPES:
        free = [one for one in ("override_reason", "reason") if event_type.__annotations__.get(one) == "str"]
        one = entry(1, sample(event_type, **dict.fromkeys(free, name)))
        if free and is_shown(one):
            typed += 1
            assert row(one, sees_guests=True).note == name
            assert name not in str(row(one, sees_guests=False))
    assert typed >= 6
    denied = entry(1, sample(e.EntryDenied))
    assert row(denied, sees_guests=False).reason == row(denied, sees_guests=True).reason != ""


def test_a_look_at_everything_is_a_turn_for_each_part_and_sends_what_is_newest():
    async def story(loop):
        venue = FakeVenue()
        venue.shown = {"devices": [1], "gates": [1], "zones": [1]}
        live = Live(venue)
        first = live.watch("ada", sees_guests=True)
        frames(first)
        venue.shown = {"devices": [2], "gates": [2], "zones": [2]}
        live._round()
        assert frames(first) == []
        # Between two turns a newcomer looks at everything at once, and devices have changed again.
        venue.shown = {"devices": [3], "gates": [3], "zones": [3]}
        live.watch("bea", sees_guests=True)
        await passed(loop, 0)
        told = {}
        for name, data in frames(first):
            told |= data if name == "parts" else {}
        assert told == venue.shown

    in_virtual_time(story)
