from __future__ import annotations

import asyncio

import pytest

from gateway.domain import events as e
from gateway.flows import recorder as recorder_module
from gateway.flows.recorder import Recorder
from gateway.store.journal import StorageUnavailable
from gateway.store.rows import id_text
from tests.gateway.domain.samples import sample, snapshot
from tests.gateway.fakes import START_MS, deterministic_ids, settle
from tests.gateway.flows.house import CLIENT, House

REF = e.RequestRef(CLIENT, "r1", "digest")


def queued(job: str = "j1", request: e.RequestRef | None = REF) -> e.PrintQueued:
    return sample(e.PrintQueued, job=job, printer="bar", request=request, copy_of=None)


async def test_i01_the_state_sees_an_event_at_once_and_everyone_else_when_it_is_on_disk() -> None:
    house = House()
    house.journal.hold()
    commit = house.recorder.record(queued())
    assert "j1" in house.state.jobs
    await settle()
    assert not commit.done()
    assert house.committed == []
    assert house.journal.disk.rows == []
    house.journal.release()
    await commit
    await settle()
    assert house.kinds() == ["PrintQueued"]
    assert house.statuses() == ["accepted"]


async def test_events_are_numbered_without_gaps_and_told_in_order() -> None:
    house = House()
    house.recorder.record(queued("a", None), queued("b", None))
    await house.recorder.record(queued("c", None))
    assert [one.entry.seq for one in house.committed] == [1, 2, 3]
    assert [one.entry.event.job for one in house.committed] == ["a", "b", "c"]
    assert [row.seq for row in house.journal.disk.rows] == [1, 2, 3]
    assert [row.body for row in house.journal.disk.rows] == [one.body for one in house.committed]
    ids = [one.entry.id for one in house.committed]
    assert ids == sorted(set(ids))


async def test_a_clock_that_goes_back_does_not_take_the_journal_with_it() -> None:
    house = House()
    await house.recorder.record(queued("a", None))
    house.clock.offset_ms = -3_600_000
    await house.recorder.record(queued("b", None))
    times = [row.at_ms for row in house.journal.disk.rows]
    assert times[1] >= times[0] >= START_MS
    assert house.recorder.now_ms() >= START_MS - 3_600_000, "a clock that was set right is followed"


async def test_i06_a_clock_that_goes_back_a_little_stands_still_so_that_nothing_expired_comes_to_life() -> None:
    house = House()
    before_ms = house.recorder.now_ms()
    house.clock.offset_ms = -59_000
    assert house.recorder.now_ms() == before_ms
    house.recorder.set_back_ms = 50_000
    assert house.recorder.now_ms() == before_ms - 59_000


async def test_a_journal_that_is_ahead_does_not_move_the_clock_of_the_next_run() -> None:
    house = House()
    house.clock.offset_ms = 3_600_000
    await house.recorder.record(queued("a", None))
    house.clock.offset_ms = 0
    recorder = Recorder(house.state, house.journal, house.clock, deterministic_ids())
    assert recorder.now_ms() < house.journal.disk.rows[0].at_ms
    assert recorder.clock_behind_ms > 3_500_000
    await recorder.record(queued("b", None))
    assert house.journal.disk.rows[1].at_ms >= house.journal.disk.rows[0].at_ms


async def test_old_answers_are_deleted_by_the_next_fold() -> None:
    house = House()
    await house.recorder.record(queued())
    await house.recorder.fold_everything()
    stored = [one for one in house.journal.disk.state if one[0] == "request"]
    assert stored
    house.recorder.forget_answers([one[1] for one in stored])
    await house.recorder.fold_everything()
    assert not [one for one in house.journal.disk.state if one[0] == "request"]


async def test_attachments_and_urgency_reach_the_journal() -> None:
    house = House()
    house.recorder.record(queued("a", None), attachments={"a": b"content"})
    house.recorder.record(queued("b", None), urgent=False)
    await settle()
    assert house.journal.attachment("a") == b"content"
    assert house.journal.urgent == [True, False]


async def test_a_restart_rebuilds_the_state_from_the_disk() -> None:
    house = House()
    house.recorder.record(queued("a"), sample(e.EntryGranted, zone="hall"))
    house.recorder.record(e.PrintHeld(job="a", printer="bar", why="paper_out", request=REF))
    await settle()
    again = House(house.journal.disk)
    assert snapshot(again.state) == snapshot(house.state)
    await again.recorder.record(queued("b", None))
    assert [row.seq for row in again.journal.disk.rows] == [1, 2, 3, 4]


async def test_what_was_not_on_disk_at_a_crash_never_happened() -> None:
    house = House()
    await house.recorder.record(queued("a"))
    house.journal.hold()
    house.recorder.record(queued("b"))
    await settle()
    again = House(house.journal.disk)
    assert set(again.state.jobs) == {"a"}


# Failure.


async def test_i01_a_failed_commit_is_told_to_whoever_waits_and_to_nobody_as_done() -> None:
    house = House()
    refused: list[str] = []
    house.recorder.failure_listeners.append(lambda refs, _: refused.extend(ref.id for ref in refs))
    house.journal.fail("the disk is full")
    first = house.recorder.record(queued("a"))
    second = house.recorder.record(queued("b", e.RequestRef(CLIENT, "r2")))
    for commit in (first, second):
        with pytest.raises(StorageUnavailable, match="the disk is full"):
            await commit
    assert refused == ["r1", "r2"]
    assert house.committed == []
    assert house.recorder.lost is not None


async def test_i02_whoever_was_answered_before_is_not_told_that_nothing_was_done() -> None:
    house = House()
    refused: list[str] = []
    house.recorder.failure_listeners.append(lambda refs, _: refused.extend(ref.id for ref in refs))
    await house.recorder.record(queued("a"))
    await house.recorder.record(e.PrintStarted(job="a", printer="bar"))
    house.journal.fail("the disk is full")
    with pytest.raises(StorageUnavailable):
        await house.recorder.record(e.PrintDone(job="a", printer="bar", confirmed=True, request=REF))
    assert refused == [], "the receipt is on paper"


async def test_after_a_failure_nothing_is_taken_until_it_recovers_and_the_state_is_that_of_the_disk() -> None:
    house = House()
    await house.recorder.record(queued("a", None))
    house.journal.fail()
    house.recorder.record(queued("b"))
    await settle()
    with pytest.raises(StorageUnavailable):
        house.recorder.record(queued("c"))
    assert "b" in house.state.jobs

    house.recorder.recover()
    assert set(house.state.jobs) == {"a"}
    assert house.recorder.lost is None
    await house.recorder.record(queued("d", None))
    assert [row.seq for row in house.journal.disk.rows] == [1, 2]


async def test_a_recovery_that_fails_leaves_everything_refused() -> None:
    house = House()
    house.journal.fail()
    house.recorder.record(queued())
    await settle()
    house.journal.fail("still full")
    with pytest.raises(StorageUnavailable, match="still full"):
        house.recorder.recover()
    assert house.recorder.lost is not None


async def test_a_disk_that_failed_under_something_else_counts_as_lost_too() -> None:
    house = House()
    house.journal.failed = StorageUnavailable("a cursor could not be stored")
    assert house.recorder.lost is house.journal.failed
    assert not house.recorder.fold_if_due(force=True)
    house.recorder.recover()
    assert house.recorder.lost is None


async def test_a_commit_nobody_waits_for_any_more_is_no_trouble() -> None:
    house = House()
    house.journal.hold()
    commit = house.recorder.record(queued())
    commit.cancel()
    house.journal.release()
    await settle()
    assert house.kinds() == ["PrintQueued"]


# Answers.


async def test_an_answer_is_kept_in_memory_and_after_a_fold_in_the_stored_rows() -> None:
    house = House()
    await house.recorder.record(queued())
    kept = house.recorder.answered(CLIENT, "r1")
    assert (kept.fingerprint, kept.answer.status) == ("digest", "accepted")
    assert house.recorder.fold_if_due(force=True)
    await settle()
    assert house.state.requests == {}, "what stands on disk needs no memory"
    assert house.recorder.answered(CLIENT, "r1") == kept
    assert House(house.journal.disk).recorder.answered(CLIENT, "r1") == kept
    assert house.recorder.answered(CLIENT, "other") is None
    assert house.recorder.answered("other", "r1") is None


async def test_i01_an_answer_that_is_not_on_disk_is_known_as_such() -> None:
    house = House()
    house.journal.hold()
    house.recorder.record(queued())
    assert house.recorder.awaits_disk(CLIENT, "r1")
    assert not house.recorder.awaits_disk(CLIENT, "r2")
    house.journal.release()
    await settle()
    assert not house.recorder.awaits_disk(CLIENT, "r1")


async def test_i01_of_two_answers_the_newer_one_counts() -> None:
    house = House()
    house.journal.hold()
    house.recorder.record(queued())
    house.recorder.record(e.PrintDone(job="j1", printer="bar", confirmed=True, request=REF))
    house.journal.release()
    await settle()
    assert not house.recorder.awaits_disk(CLIENT, "r1")


# Folding.


async def test_a_fold_goes_in_small_chunks_and_is_whole_only_at_its_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(recorder_module, "FOLD_ROWS_PER_CHUNK", 4)
    house = House()
    for number in range(10):
        house.recorder.record(queued(f"j{number}", None))
    await settle()
    assert not house.recorder.fold_if_due(), "ten rows are not worth it"
    assert house.recorder.fold_if_due(force=True)
    assert house.recorder.folding
    assert not house.recorder.fold_if_due(force=True), "one at a time"
    await asyncio.sleep(0)
    assert house.journal.fold_seq == 0
    await settle()
    assert house.journal.fold_chunks == [4, 4, 2]
    assert house.journal.fold_seq == 10
    assert not house.recorder.folding
    assert not house.recorder.fold_if_due(force=True), "nothing has changed since"
    assert snapshot(House(house.journal.disk).state) == snapshot(house.state)


async def test_a_fold_is_due_when_enough_has_changed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(recorder_module, "DIRTY_ROWS_MAX", 2)
    house = House()
    house.recorder.record(queued("a", None), queued("b", None))
    assert house.recorder.fold_if_due()


async def test_an_answer_that_changes_during_a_fold_is_not_forgotten() -> None:
    house = House()
    await house.recorder.record(queued())
    house.recorder.fold_if_due(force=True)
    house.recorder.record(e.PrintDone(job="j1", printer="bar", confirmed=True, request=REF))
    await settle()
    assert house.recorder.answered(CLIENT, "r1").answer.status == "done"
    house.recorder.fold_if_due(force=True)
    await settle()
    assert house.recorder.answered(CLIENT, "r1").answer.status == "done"


async def test_i02_a_crash_amid_a_fold_loses_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(recorder_module, "FOLD_ROWS_PER_CHUNK", 1)
    house = House()
    for number in range(5):
        house.recorder.record(queued(f"j{number}", None))
    await settle()
    house.recorder.fold_if_due(force=True)
    for number in range(5):
        house.recorder.record(e.PrintDone(job=f"j{number}", printer="bar", confirmed=True))
    for _ in range(4):
        await asyncio.sleep(0)
    assert house.journal.fold_seq == 0
    assert house.journal.disk.state
    assert snapshot(House(house.journal.disk).state) == snapshot(house.state)


async def test_a_fold_that_fails_can_be_begun_again_after_the_recovery() -> None:
    house = House()
    await house.recorder.record(queued())
    house.recorder.fold_if_due(force=True)
    house.journal.failed = StorageUnavailable("full")
    await settle()
    assert not house.recorder.folding
    house.recorder.recover()
    assert house.recorder.fold_if_due(force=True)
    await settle()
    assert house.journal.fold_seq == 1


def test_ids_are_written_as_everyone_writes_them() -> None:
    assert id_text(bytes(range(16))) == "00010203-0405-0607-0809-0a0b0c0d0e0f"
