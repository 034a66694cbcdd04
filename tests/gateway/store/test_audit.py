from __future__ import annotations

import json
from hashlib import sha256
from pathlib import Path

import pytest

from gateway.store import audit
from gateway.store.journal import Journal, Row
from tests.gateway.store.journals import alter, append, fold, row, rows

COUNT = 2500


@pytest.fixture
async def audited(path: Path) -> Path:
    """A closed journal of some chunks' length."""
    journal = Journal.open(path)
    for first in range(1, COUNT, 500):
        await append(journal, *rows(first, 500))
    journal.set_cursor("feed", COUNT)
    journal.close()
    return path


async def test_a_whole_chain_is_verified(audited: Path) -> None:
    assert audit.verify(audited) == audit.Verdict(COUNT)


@pytest.mark.parametrize(
    ("crime", "bad_seq", "words"),
    [
        ("UPDATE journal SET body = CAST('{}' AS BLOB) WHERE seq = 777", 777, "row 777 is not what was written"),
        ("UPDATE journal SET at_ms = at_ms + 1 WHERE seq = 1001", 1001, "row 1001 is not what was written"),
        ("UPDATE journal SET at_ms = -at_ms WHERE seq = 900", 900, "row 900 is not what was written"),
        ("UPDATE journal SET id = zeroblob(16) WHERE seq = 1", 1, "row 1 is not what was written"),
        ("UPDATE journal SET hash = zeroblob(32) WHERE seq = 2500", 2500, "row 2500 is not what was written"),
        ("DELETE FROM journal WHERE seq = 1", 1, "row 1 is missing; the next one is 2"),
        ("DELETE FROM journal WHERE seq BETWEEN 500 AND 600", 500, "row 500 is missing; the next one is 601"),
        ("DELETE FROM journal WHERE seq > 2490", 2491, "row 2491 is missing at the end: reader 'feed' has read"),
        ("DELETE FROM journal", 1, "row 1 is missing at the end"),
    ],
)
async def test_the_first_bad_row_is_named(audited: Path, crime: str, bad_seq: int, words: str) -> None:
    alter(audited, crime)
    verdict = audit.verify(audited)
    assert verdict.bad_seq == bad_seq
    assert verdict.rows == bad_seq - 1
    assert words in verdict.problem


async def test_swapped_rows_are_found(audited: Path) -> None:
    alter(
        audited,
        "UPDATE journal SET seq = -1 WHERE seq = 40",
        "UPDATE journal SET seq = 40 WHERE seq = 41",
        "UPDATE journal SET seq = 41 WHERE seq = -1",
    )
    assert audit.verify(audited).bad_seq == 40


async def test_a_folded_state_from_rows_that_are_gone_is_noticed(journal: Journal, path: Path) -> None:
    await append(journal, *rows(1, 5))
    await fold(journal, [("k", "a", b"1")], 5)
    journal.close()
    alter(path, "DELETE FROM journal WHERE seq = 5")
    assert "the folded state has taken in row 5" in audit.verify(path).problem


async def test_verify_tells_its_result_and_its_status(audited: Path) -> None:
    said: list[str] = []
    assert audit.verify_command(audited, said.append) == 0
    assert said == [f"{audited}: 2500 rows, every one fits the chain"]
    alter(audited, "DELETE FROM journal WHERE seq = 3")
    said.clear()
    assert audit.verify_command(audited, said.append) == 1
    assert said[0] == f"{audited}: row 3 is missing; the next one is 4"


async def test_a_journal_that_is_not_there_is_said_so(tmp_path: Path) -> None:
    said: list[str] = []
    assert audit.verify_command(tmp_path / "journal.db", said.append) == 1
    assert audit.tail_command(tmp_path / "journal.db", said.append, 5) == 1
    assert audit.export_command(tmp_path / "journal.db", said.append) == 1
    assert all("does not exist" in line for line in said)
    assert not (tmp_path / "journal.db").exists()


async def test_a_running_journal_can_be_looked_at(journal: Journal, path: Path) -> None:
    await append(journal, *rows(1, 30))
    said: list[str] = []
    assert audit.tail_command(path, said.append, 2) == 0
    assert [json.loads(line)["seq"] for line in said] == [29, 30]
    assert audit.verify(path).rows == 30
    await append(journal, row(31))


@pytest.mark.parametrize(
    "crime",
    [
        "UPDATE journal SET body = x'7b22ff' WHERE seq = 5",
        "UPDATE journal SET body = x'' WHERE seq = 5",
        "UPDATE journal SET at_ms = 9000000000000000000 WHERE seq = 5",
    ],
)
async def test_a_damaged_row_does_not_end_an_export(audited: Path, crime: str) -> None:
    alter(audited, crime)
    said: list[str] = []
    assert audit.export_command(audited, said.append) == 0
    entries = [json.loads(line) for line in said]
    assert [entry["seq"] for entry in entries] == list(range(1, COUNT + 1))
    assert [entry["seq"] for entry in entries if "damaged" in entry] == [5]


async def test_nothing_old_is_told_by_a_tail_of_no_lines(
    journal: Journal, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    await append(journal, *rows(1, 30))
    said: list[str] = []
    assert audit.tail_command(path, said.append, 0) == 0
    monkeypatch.setattr(audit.time, "sleep", _interrupt)
    with pytest.raises(KeyboardInterrupt):
        audit.tail_command(path, said.append, 0, follow=True)
    assert said == []


def _interrupt(_: float) -> None:
    raise KeyboardInterrupt


async def test_the_export_has_all_that_proves_the_chain(journal: Journal, path: Path) -> None:
    await append(journal, row(1, "Zoë"), row(2), row(3))
    said: list[str] = []
    assert audit.export_command(path, said.append) == 0
    previous = bytes(32)
    for seq, line in enumerate(said, start=1):
        entry = json.loads(line)
        body = b"{" + line.split('",', 3)[-1].encode()
        again = Row(seq, bytes.fromhex(entry["id"].replace("-", "")), row(seq).at_ms, body)
        numbers = again.seq.to_bytes(8), again.at_ms.to_bytes(8)
        previous = sha256(previous + numbers[0] + again.id + numbers[1] + again.body).digest()
        assert entry["hash"] == previous.hex()
    said.clear()
    audit.export_command(path, said.append, after_seq=2)
    head = '{"seq":3,"id":"00000000-0000-0000-0000-000000000003","at":"2026-05-28T20:26:40.003Z"'
    assert said == [f'{head},"hash":"{previous.hex()}","kind":"test","text":""}}']
