"""A guest leaves every file, the books stay right, and the chain still tells of every other change."""

from __future__ import annotations

import shutil
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from gateway import cli
from gateway.config.schema import Configuration
from gateway.domain import events as e
from gateway.domain.access import Whereabouts
from gateway.domain.erasure import Aliases
from gateway.domain.event import RequestRef
from gateway.domain.reasons import Reason
from gateway.domain.wallet_events import Leg, WalletShown, WalletTransferred
from gateway.ops import backup, erasing
from gateway.store import audit
from gateway.store.directory import Directory
from gateway.store.locking import lock_state_dir
from tests.gateway.ops.house import CARD, HOLDER, NOW_MS, YAML, configuration, entered, import_guests, record

DAY_MS = 24 * 3600 * 1000
WALLET = f"wallet:{HOLDER}"


def moved(holder: str, balance_minor: int, transfer: str = "t1", action: str = "top_up") -> WalletTransferred:
    account = f"wallet:{holder}"
    debit, credit = ("cash:bar", account) if action == "top_up" else (account, "cash:bar")
    balances = {account: balance_minor, "cash:bar": -balance_minor}
    return WalletTransferred(
        transfer=transfer,
        action=action,
        client="bar",
        holder=holder,
        currency="EUR",
        amount_minor=500,
        legs=(Leg(debit, credit, 500),),
        balances=balances,
        credential="ab" * 16,
        request=RequestRef(client="bar", id=transfer, fingerprint="f"),
    )


@pytest.fixture
def venue(tmp_path: Path) -> Configuration:
    config = configuration(tmp_path)
    key = import_guests(config, HOLDER, "ben")
    ref = key.ref("em4100", CARD)
    denied = e.EntryDenied(entry="e9", gate="north", reason=Reason.BLOCKED, source="r", holder=HOLDER, credential=ref)
    shown = WalletShown(transfer="s", client="bar", holder=HOLDER, currency="EUR", balance_minor=0, held_minor=0)
    record(
        config,
        entered(HOLDER, ref, override_by="bar", override_reason=f"known as {HOLDER}, let in"),
        entered("ben", "cd" * 16, "ticket-1"),
        moved(HOLDER, 500),
        fold=True,
    )
    record(config, moved(HOLDER, 0, "t2", "close_out"), denied, shown)
    return config


def places_of(config: Configuration, *words: str) -> list[tuple[str, str]]:
    """Every file of the state folder in which one of the words stands, in any form."""
    found = []
    for path in (one for one in config.state_dir.rglob("*") if one.is_file()):
        content = path.read_bytes()
        for word in words:
            forms = {word.encode(), word.encode("utf-16-le")}
            if all(letter in "0123456789abcdefABCDEF" for letter in word) and len(word) % 2 == 0:
                forms |= {bytes.fromhex(word), word.upper().encode(), word.lower().encode()}
            found += [(path.name, word) for form in forms if form in content]
    return found


def test_an_erased_guest_is_in_no_file(venue: Configuration) -> None:
    key = import_guests(venue, HOLDER, "ben")
    ref = key.ref("em4100", CARD)
    assert {name for name, _ in places_of(venue, HOLDER, ref)} >= {"journal.db", "directory.db"}
    done = erasing.erase(venue, HOLDER, "request 2026-17", NOW_MS + 1)
    assert (done.guests, done.rows) == (1, 5)
    assert places_of(venue, HOLDER, ref, "ab" * 16) == []


def test_the_chain_holds_and_the_gateway_starts_with_the_same_books(venue: Configuration) -> None:
    before = record(venue)
    erasing.erase(venue, HOLDER, "request 2026-17", NOW_MS + 1)
    assert audit.verify(venue.state_dir / "journal.db") == audit.Verdict(7)
    after = record(venue, entered("clara", "ef" * 16, "ticket-3"), at_ms=NOW_MS + 2)
    assert audit.verify(venue.state_dir / "journal.db") == audit.Verdict(8)
    [alias] = [name for name in after.where if name.startswith("erased-")]
    assert after.where[alias] == before.where[HOLDER]
    assert after.where["ben"] == before.where["ben"]
    assert isinstance(after.where[alias], Whereabouts)
    # A ticket that was used stays used, whoever had it (I4).
    assert after.uses["ticket-0"] == before.uses["ticket-0"] == 1
    assert after.ledger.imbalance_minor == 0
    assert after.ledger.accounts[f"wallet:{alias}"] == before.ledger.accounts[WALLET]
    assert HOLDER not in after.where


def test_the_fact_says_who_was_asked_why_and_which_rows(venue: Configuration) -> None:
    erasing.erase(venue, HOLDER, "request 2026-17", NOW_MS - DAY_MS)
    [row] = audit.newest(venue.state_dir / "journal.db", 1)
    assert row.at_ms == NOW_MS, "time never goes backwards"
    event = erasing.msgspec.json.decode(row.body, type=e.AnyEvent)
    assert isinstance(event, e.HolderErased)
    assert event.alias.startswith("erased-")
    assert event.note == "request 2026-17"
    assert [int(one.partition(":")[0]) for one in event.rows] == [1, 3, 4, 5, 6]


@pytest.mark.parametrize(
    "crime",
    [
        "UPDATE journal SET body = CAST(replace(CAST(body AS TEXT), 'north', 'south') AS BLOB) WHERE seq = 1",
        "UPDATE journal SET at_ms = at_ms - 1 WHERE seq = 3",
        "UPDATE journal SET id = zeroblob(16) WHERE seq = 5",
        "UPDATE journal SET hash = zeroblob(32) WHERE seq = 1",
        "UPDATE journal SET body = CAST(replace(CAST(body AS TEXT), '1:', '2:') AS BLOB) WHERE seq = 7",
        "UPDATE journal SET body = CAST(replace(CAST(body AS TEXT), 'ben', 'eve') AS BLOB) WHERE seq = 2",
        "DELETE FROM journal WHERE seq = 3",
        "DELETE FROM journal WHERE seq = 7",
    ],
)
def test_an_erasure_hides_no_other_change(venue: Configuration, crime: str) -> None:
    erasing.erase(venue, HOLDER, "request 2026-17", NOW_MS)
    connection = sqlite3.connect(venue.state_dir / "journal.db")
    assert connection.execute(crime).rowcount == 1
    connection.commit()
    connection.close()
    assert audit.verify(venue.state_dir / "journal.db").bad_seq is not None


def test_who_has_money_or_a_ban_here_is_not_erased(venue: Configuration) -> None:
    record(venue, moved(HOLDER, 300, "t3"))
    with pytest.raises(erasing.EraseRefused, match="300 minor units are in the wallet; pay them out first"):
        erasing.erase(venue, HOLDER, "case 1", NOW_MS)
    with pytest.raises(erasing.EraseRefused, match="nobody of this name"):
        erasing.erase(venue, "nobody", "case 1", NOW_MS)
    with pytest.raises(erasing.EraseRefused, match="must not name the guest"):
        erasing.erase(venue, HOLDER, f"{HOLDER} asked", NOW_MS)
    with lock_state_dir(venue.state_dir), pytest.raises(erasing.EraseRefused, match="stop it first"):
        erasing.erase(venue, HOLDER, "case 1", NOW_MS)
    assert audit.verify(venue.state_dir / "journal.db") == audit.Verdict(7)


def test_a_guest_who_comes_again_is_a_new_one(venue: Configuration) -> None:
    erasing.erase(venue, HOLDER, "case 1", NOW_MS)
    with closing(Directory.open(venue.state_dir)) as directory:
        assert directory.loaded
    state = record(venue, entered(HOLDER, "ab" * 16, "ticket-9"), at_ms=NOW_MS + 5)
    assert state.where[HOLDER].entitlement == "ticket-9"
    assert erasing.erase(venue, HOLDER, "case 2", NOW_MS + 9).rows == 1
    assert audit.verify(venue.state_dir / "journal.db") == audit.Verdict(9)


def test_guests_not_seen_for_long_are_erased_and_the_others_stay(tmp_path: Path) -> None:
    config = configuration(tmp_path, YAML + "retention: {guests_days: 30}\n")
    import_guests(config, "old", "new", "rich", "inside")
    gone = {"zone": ""}
    record(
        config, entered("old", "01" * 16, **gone), entered("inside", "02" * 16, "t"), moved("rich", 500), at_ms=NOW_MS
    )
    record(config, entered("new", "03" * 16, **gone), at_ms=NOW_MS + 40 * DAY_MS)
    assert erasing.erase_unseen(config, "retention", NOW_MS + 41 * DAY_MS).guests == 1
    state = record(config)
    assert set(state.where) == {"inside"}
    assert not places_of(config, "01" * 16)
    assert {name for _, name in places_of(config, "new", "rich", "inside")} == {"new", "rich", "inside"}
    assert erasing.erase_unseen(config, "retention", NOW_MS + 41 * DAY_MS).guests == 0


def test_names_are_replaced_where_they_stand_for_a_guest_and_nowhere_else() -> None:
    aliases = Aliases({"north": "x", "a b": "y"}, {"ff" * 16: "00" * 16})
    body = b'{"kind":"entry.granted","gate":"north","holder":"north","message":"north-gate north, a b"}'
    assert aliases.rewritten(body) == (
        b'{"kind":"entry.granted","gate":"north","holder":"x","message":"north-gate x, y"}'
    )
    untouched = b'{"kind":"gate.closed",  "gate":"north"}'
    assert aliases.rewritten(untouched) is untouched


def test_the_command_erases_and_says_what_is_left(
    venue: Configuration, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    config = ["--config", str(tmp_path / "venue.yaml")]
    assert cli.main(["erase", HOLDER, "--reason", "case 1", *config]) == 0
    said = capsys.readouterr().out
    assert "1 guest erased: 5 journal rows" in said
    assert "Older backups still hold them" in said
    assert cli.main(["erase", "--unseen", "--reason", "case 1", *config]) == 1
    assert "retention.guests_days" in capsys.readouterr().err
    assert cli.main(["journal", "verify", *config]) == 0


def test_an_erased_guest_leaves_the_journals_that_a_restore_kept(
    venue: Configuration, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ref = import_guests(venue, HOLDER, "ben").ref("em4100", CARD)
    backup.backup(venue, tmp_path / "a.backup", NOW_MS)
    _, kept = backup.restore(venue, tmp_path / "a.backup", NOW_MS, replace=True)
    assert kept is not None
    broken = kept.with_name("journal.db.before-1")
    broken.write_bytes(f"no database, but {HOLDER}".encode())
    older = kept.with_name("journal.db.before-schema-2")
    shutil.copy(kept, older)
    with closing(sqlite3.connect(older)) as connection:
        connection.execute("PRAGMA user_version = 0")
    upgrades = tmp_path / "backups"
    (upgrades / "before-0.2.0").mkdir(parents=True)
    monkeypatch.setattr(erasing, "PACKAGED_STATE", venue.state_dir)
    monkeypatch.setattr(erasing, "PACKAGED_BACKUPS", upgrades)
    done = erasing.erase(venue, HOLDER, "request 1", NOW_MS)
    # What could not be rewritten is named.
    assert done.copies == (broken, older, upgrades / "before-0.2.0")
    with closing(sqlite3.connect(older)) as connection:
        # It stays what an older version can read.
        assert connection.execute("PRAGMA user_version").fetchall() == [(0,)]
    broken.unlink()
    older.unlink()
    assert places_of(venue, HOLDER, ref) == []
    assert sorted(one.name for one in venue.state_dir.glob("*.before-*")) == [kept.name]
    assert audit.verify(kept).bad_seq is None
