from pathlib import Path

from gateway.store.audit import verify, verify_command
from gateway.store.journal import Journal
from gateway.store.pruning import KEPT_ROWS
from tests.gateway.store.journals import alter, append, fold, row, rows
from tests.gateway.upstream.waiting import until

COUNT = KEPT_ROWS + 700


async def long_journal(path: Path, fold_seq: int | None = COUNT) -> Journal:
    journal = Journal.open(path)
    for first in range(1, COUNT + 1, 100):
        await append(journal, *rows(first, 100))
    if fold_seq is not None:
        await fold(journal, [], fold_seq)
    return journal


async def test_what_is_pruned_is_gone_and_the_rest_still_fits_the_chain(tmp_path: Path):
    path = tmp_path / "journal.db"
    journal = await long_journal(path)
    journal.prune(650)
    await until(lambda: journal.pruned_seq == 650)
    assert journal.read(0, 1)[0].seq == 651
    verdict = verify(path)
    assert (verdict.bad_seq, verdict.first_seq, verdict.rows) == (None, 651, COUNT)
    await append(journal, row(COUNT + 1))
    journal.close()
    said: list[str] = []
    assert verify_command(path, said.append) == 0
    assert said == [f"{path}: {COUNT + 1 - 650:,} rows, every one fits the chain (rows 1 to 650 were pruned)"]


async def test_the_newest_rows_and_those_not_folded_stay_whatever_is_asked(tmp_path: Path):
    journal = await long_journal(tmp_path / "journal.db")
    journal.prune(COUNT)
    await until(lambda: journal.pruned_seq == COUNT - KEPT_ROWS)
    journal.prune(COUNT)
    assert journal.read(0, 1)[0].seq == COUNT - KEPT_ROWS + 1
    journal.close()
    (tmp_path / "2").mkdir()
    journal = await long_journal(tmp_path / "2/journal.db", fold_seq=None)
    journal.prune(COUNT)
    await append(journal, row(COUNT + 1))
    assert journal.read(0, 1)[0].seq == 1
    journal.close()


async def test_a_row_taken_out_after_pruning_is_still_found(tmp_path: Path):
    path = tmp_path / "journal.db"
    journal = await long_journal(path)
    journal.prune(300)
    await until(lambda: journal.pruned_seq == 300)
    journal.close()
    alter(path, "DELETE FROM journal WHERE seq = 301")
    assert verify(path).problem == "row 301 is missing; the next one is 302"


async def test_a_journal_goes_on_after_pruning_and_a_restart_and_keeps_its_name(tmp_path: Path):
    path = tmp_path / "journal.db"
    journal = await long_journal(path)
    journal.prune(400)
    await until(lambda: journal.pruned_seq == 400)
    journal.close()
    journal = Journal.open(path)
    assert journal.pruned_seq == 400
    assert journal.journal_id() == row(1).id
    await append(journal, row(COUNT + 1))
    journal.close()
    assert verify(path).rows == COUNT + 1
