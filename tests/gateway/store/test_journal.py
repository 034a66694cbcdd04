from __future__ import annotations

import asyncio
import sqlite3
from hashlib import sha256
from pathlib import Path

import pytest

import gateway.store.journal as journal_module
from gateway.store import audit
from gateway.store.committer import Committer, Work
from gateway.store.journal import Journal, JournalBusy, Row, StorageUnavailable, StoredRow
from gateway.store.writer import Outcome
from tests.gateway.store.journals import Told, Waiter, alter, append, fold, row, rows, scribble, size_of


async def test_i01_done_comes_only_after_the_rows_can_be_read_from_the_file(journal: Journal, path: Path) -> None:
    found: list[int] = []
    waiter = Waiter()

    def done(error: StorageUnavailable | None) -> None:
        found.extend(seq for (seq,) in sqlite3.connect(path).execute("SELECT seq FROM journal"))
        waiter(error)

    journal.append(rows(1, 3), done)
    assert journal.last_seq == 0
    await waiter.wait()
    assert found == [1, 2, 3]
    assert (journal.last_seq, journal.last_at_ms) == (3, row(3).at_ms)


async def test_rows_come_back_as_they_were(journal: Journal) -> None:
    await append(journal, row(1, "Grüße"), row(2))
    first, second = journal.read(0, 10)
    assert first[:4] == row(1, "Grüße")
    assert journal.read(1, 10) == [second]
    assert journal.read(0, 1) == [first]
    assert journal.read(2, 10) == []


async def test_each_hash_chains_a_row_to_all_before_it(journal: Journal) -> None:
    await append(journal, row(1), row(2))
    first, second = journal.read(0, 2)
    assert first.hash == _hash(bytes(32), row(1))
    assert second.hash == _hash(first.hash, row(2))


def _hash(previous: bytes, one: Row) -> bytes:
    return sha256(previous + one.seq.to_bytes(8) + one.id + one.at_ms.to_bytes(8) + one.body).digest()


async def test_what_gathers_while_the_writer_works_is_committed_together_and_told_in_order(journal: Journal) -> None:
    told: list[tuple[int, bool]] = []
    last = Waiter()
    for seq in range(1, 301):
        journal.append([row(seq)], Told(seq, told))
    journal.append([row(301)], last)
    await last.wait()
    assert told == [(seq, True) for seq in range(1, 301)]
    assert [one.seq for one in journal.read(0, 1000)] == list(range(1, 302))


async def test_an_append_of_more_rows_than_a_statement_takes_is_still_one_transaction(journal: Journal) -> None:
    await append(journal, *rows(1, 1000))
    assert journal.last_seq == 1000


async def test_rows_that_are_not_urgent_wait_a_moment_for_company(path: Path) -> None:
    journal = Journal.open(path, lazy_ms=30)
    lazy, urgent, alone = Waiter(), Waiter(), Waiter()
    journal.append([row(1)], lazy, urgent=False)
    await asyncio.sleep(0)
    assert journal.pending == 1
    journal.append([row(2)], urgent)
    await urgent.wait()
    assert lazy.future.done()
    journal.append([row(3)], alone, urgent=False)
    await alone.wait()
    journal.close()


async def test_rows_out_of_sequence_are_refused(journal: Journal) -> None:
    await append(journal, row(1))
    for wrong in ([row(3)], [row(1)], [row(2), row(4)], [Row(2, bytes(16), row(1).at_ms - 1, b"{}")], []):
        with pytest.raises(ValueError, match=r"cannot follow|nothing to append"):
            journal.append(wrong, Waiter())
    await append(journal, row(2))


async def test_i09_over_its_bound_the_journal_is_busy_at_once(path: Path) -> None:
    journal = Journal.open(path, pending_max=10)
    first = Waiter()
    journal.append(rows(1, 8), first)
    with pytest.raises(JournalBusy):
        journal.append(rows(9, 3), Waiter())
    second = Waiter()
    journal.append(rows(9, 2), second)
    await second.wait()
    await append(journal, row(11))
    journal.close()


async def test_i09_what_follows_from_what_was_taken_has_a_bound_of_its_own(path: Path) -> None:
    journal = Journal.open(path, pending_max=10)
    journal.append(rows(1, 10), Waiter())
    with pytest.raises(JournalBusy):
        journal.append([row(11)], Waiter())
    last = Waiter()
    journal.append(rows(11, 10), last, urgent=False, follow_up=True)
    with pytest.raises(JournalBusy):
        journal.append([row(21)], Waiter(), follow_up=True)
    await last.wait()
    await append(journal, row(21))
    journal.close()


async def test_attachments_are_stored_with_their_row_and_deleted_some_time_later(journal: Journal, path: Path) -> None:
    content = bytes(range(256)) * 400
    await append(journal, row(1), attachments={"job-1": content, "job-2": b"x"})
    assert journal.attachment("job-1") == content
    journal.delete_attachments(["job-1", "unknown"])
    journal.close()
    again = Journal.open(path)
    assert again.attachment("job-1") is None
    assert again.attachment("job-2") == b"x"
    again.close()


async def test_cursors_are_read_back_at_once_and_after_a_restart(journal: Journal, path: Path) -> None:
    assert journal.cursor("feed") == 0
    journal.set_cursor("feed", 3)
    journal.set_cursor("feed", 7)
    assert journal.cursor("feed") == 7
    journal.close()
    again = Journal.open(path)
    assert again.cursor("feed") == 7
    again.close()


async def test_folded_rows_are_written_changed_and_deleted(journal: Journal) -> None:
    await append(journal, *rows(1, 5))
    await fold(journal, [("uses", "b", b"2"), ("uses", "a", b"1"), ("place", "a", b"hall")], None)
    assert journal.fold_seq == 0
    await fold(journal, [("uses", "a", None), ("uses", "b", b"3"), ("uses", "nobody", None)], 5)
    assert journal.fold_seq == 5
    assert list(journal.state_rows()) == [("place", "a", b"hall"), ("uses", "b", b"3")]
    assert list(journal.state_rows({"uses"})) == [("uses", "b", b"3")]
    assert journal.state_row("uses", "b") == b"3"
    assert journal.state_row("uses", "a") is None


async def test_more_state_than_one_chunk_of_reading_comes_complete_and_sorted(journal: Journal) -> None:
    await append(journal, row(1))
    new: list[tuple[str, str, bytes | None]] = [("k", f"{number:05}", b"v") for number in range(2500)]
    await fold(journal, list(reversed(new)), 1)
    assert list(journal.state_rows()) == new


async def test_a_fold_waits_for_the_rows_whose_effects_it_holds(path: Path) -> None:
    journal = Journal.open(path, lazy_ms=1)
    order: list[str] = []
    waiter = Waiter()
    journal.append([row(1)], lambda _: order.append("row"), urgent=False)
    journal.fold([("uses", "a", b"1")], 1, lambda _: order.append("fold"))
    journal.append([row(2)], waiter, urgent=False)
    await waiter.wait()
    journal.close()
    assert order == ["row", "fold"]


async def test_folding_and_appending_share_the_writer(journal: Journal) -> None:
    """Neither starves the other while both never stop."""
    folded = 0
    seq = 0

    def again(error: StorageUnavailable | None) -> None:
        nonlocal folded
        assert error is None
        folded += 1
        journal.fold([("k", str(folded % 100), b"v")], None, again)

    journal.fold([("k", "0", b"v")], None, again)
    while folded < 20 or seq < 500:
        batch = Waiter()
        for _ in range(5):
            seq += 1
            journal.append([row(seq)], batch if seq % 5 == 0 else lambda _: None)
        await batch.wait()
    assert journal.last_seq == seq
    journal.fold([], None, lambda _: None)


async def test_a_journal_goes_on_where_it_stopped(journal: Journal, path: Path) -> None:
    await append(journal, *rows(1, 3))
    await fold(journal, [("k", "a", b"1")], 2)
    journal.close()
    again = Journal.open(path)
    assert (again.last_seq, again.last_at_ms, again.fold_seq) == (3, row(3).at_ms, 2)
    await append(again, row(4))
    third, fourth = again.read(2, 10)
    assert fourth.hash == _hash(third.hash, row(4))
    again.close()


async def test_closing_writes_what_still_waits_and_tells_those_who_wait(path: Path) -> None:
    journal = Journal.open(path, lazy_ms=60_000)
    told: list[StorageUnavailable | None] = []
    journal.append([row(1)], told.append)
    journal.append([row(2)], told.append, urgent=False)
    journal.close()
    assert told == [None, None]
    with pytest.raises(StorageUnavailable, match="closed"):
        journal.append([row(3)], told.append)
    again = Journal.open(path)
    assert again.last_seq == 2
    again.close()


async def test_a_callback_that_fails_keeps_the_news_from_nobody(journal: Journal) -> None:
    complaints: list[object] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: complaints.append(context["exception"]))

    def fail(_: StorageUnavailable | None) -> None:
        raise RuntimeError("a bug of the caller")

    second = Waiter()
    journal.append([row(1)], Waiter())
    journal.append([row(2)], fail)
    journal.append([row(3)], second)
    await second.wait()
    assert [str(one) for one in complaints] == ["a bug of the caller"]


async def test_a_newer_database_is_refused_with_the_reason(path: Path) -> None:
    Journal.open(path).close()
    alter(path, "PRAGMA user_version = 999")
    with pytest.raises(StorageUnavailable, match="newer venue-gateway") as caught:
        Journal.open(path)
    assert caught.value.fatal


async def test_a_journal_changed_at_its_end_is_not_opened(journal: Journal, path: Path) -> None:
    await append(journal, *rows(1, 200))
    journal.close()
    alter(path, "UPDATE journal SET body = CAST('{}' AS BLOB) WHERE seq = 150")
    with pytest.raises(StorageUnavailable, match="row 150 does not fit the chain"):
        Journal.open(path)


async def test_a_file_that_is_no_database_is_refused(path: Path) -> None:
    scribble(path)
    with pytest.raises(StorageUnavailable, match="damaged") as caught:
        Journal.open(path)
    assert caught.value.fatal


async def test_a_missing_folder_is_named(tmp_path: Path) -> None:
    with pytest.raises(StorageUnavailable, match="no-such-folder"):
        Journal.open(tmp_path / "no-such-folder" / "journal.db")


async def test_the_wal_starts_over_and_stays_small(journal: Journal, path: Path) -> None:
    wal = path.with_name("journal.db-wal")
    seq = largest = 0
    for _ in range(60):
        waiter = Waiter()
        for _ in range(400):
            seq += 1
            journal.append([row(seq, "x" * 500)], waiter if seq % 400 == 0 else lambda _: None)
        await waiter.wait()
        largest = max(largest, size_of(wal))
    assert size_of(path) > 10 << 20
    assert largest <= 8 << 20


async def test_stored_rows_have_names() -> None:
    assert StoredRow._fields == ("seq", "id", "at_ms", "body", "hash")


class HeldWriter:
    """A disk that takes work and does not answer until it is let go."""

    def __init__(self, committer: Committer) -> None:
        self._committer = committer
        self._held: list[tuple[Work, Outcome]] = []

    def submit(self, work: Work, on_done: Outcome) -> None:
        self._held.append((work, on_done))

    def wait(self) -> None:
        (work, on_done), self._held = self._held[0], self._held[1:]
        self._committer.commit(work)
        on_done(None)

    def recover(self) -> None:
        raise AssertionError

    def close(self) -> None:
        self._committer.close()


async def test_i09_while_the_disk_does_not_answer_new_rows_are_refused_at_once(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    writers: list[HeldWriter] = []

    def writer(committer: Committer) -> HeldWriter:
        writers.append(HeldWriter(committer))
        return writers[0]

    journal = Journal.open(path, writer=writer)
    monkeypatch.setattr(journal_module, "STALLED_S", 0.05)
    first, second, follow_up, third = (Waiter() for _ in range(4))
    journal.append([row(1)], first)
    journal.append([row(2)], second)
    await asyncio.sleep(0.06)
    with pytest.raises(JournalBusy, match="has not answered"):
        journal.append([row(3)], third)
    journal.append([row(3)], follow_up, follow_up=True)
    writers[0].wait()
    # The disk has answered: whatever waits is on its way, and the next one is taken again.
    journal.append([row(4)], third)
    journal.close()
    for waiter in (first, second, follow_up, third):
        await waiter.wait()
    assert audit.verify(path).rows == 4
