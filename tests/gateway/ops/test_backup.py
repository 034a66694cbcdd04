"""A backup is whole or it is none, it is taken amid writing, and restoring it gives the same venue."""

from __future__ import annotations

import asyncio
import io
import os
import sqlite3
import tarfile
from pathlib import Path

import msgspec
import pytest

from gateway import cli
from gateway.config.schema import Configuration
from gateway.domain import events as e
from gateway.ops import backup
from gateway.store import audit
from gateway.store.credentials import CredentialKey
from gateway.store.errors import StorageUnavailable
from gateway.store.journal import Journal
from gateway.store.locking import lock_state_dir
from tests.gateway.domain.samples import snapshot
from tests.gateway.ops.house import CARD, NOW_MS, YAML, configuration, entered, import_guests, record
from tests.gateway.store.journals import append, rows


@pytest.fixture
def venue(tmp_path: Path) -> Configuration:
    config = configuration(tmp_path)
    key = import_guests(config, "anna", "ben")
    record(config, entered("anna", key.ref("em4100", CARD)), entered("ben", "r2", "ticket-1"), fold=True)
    return config


def elsewhere(tmp_path: Path, text: str = YAML) -> Configuration:
    other = tmp_path / "other"
    other.mkdir()
    return configuration(other, text)


def test_what_is_restored_is_the_same_venue(venue: Configuration, tmp_path: Path) -> None:
    before = snapshot(record(venue, e.GatewayStopped()))
    file, keys = tmp_path / "hall.backup", tmp_path / "hall.keys"
    manifest = backup.backup(venue, file, NOW_MS)
    backup.backup_keys(venue, keys)
    assert manifest.rows == 3
    new = elsewhere(tmp_path)
    assert backup.restore(new, file, NOW_MS) == (manifest, None)
    backup.restore_keys(new, keys)
    assert audit.verify(new.state_dir / "journal.db") == audit.Verdict(3)
    assert snapshot(record(new)) == before
    secret = new.state_dir / "credential.key"
    assert secret.read_bytes() == (venue.state_dir / "credential.key").read_bytes()
    assert [one.stat().st_mode & 0o777 for one in (secret, file, keys)] == [0o600] * 3
    assert sorted(one.name for one in tmp_path.iterdir() if one.name.startswith(".")) == []


def test_i12_a_backup_holds_no_key_and_no_card(venue: Configuration, tmp_path: Path) -> None:
    file = tmp_path / "hall.backup"
    backup.backup(venue, file, NOW_MS)
    content = file.read_bytes()
    assert (venue.state_dir / "credential.key").read_bytes() not in content
    assert CARD.encode() not in content


async def test_a_backup_beside_a_writing_daemon_is_a_moment_of_it(venue: Configuration, tmp_path: Path) -> None:
    path = venue.state_dir / "journal.db"
    path.unlink()
    journal = Journal.open(path)
    written, done = 0, False

    more = asyncio.Event()

    async def write() -> None:
        nonlocal written
        while not done:
            await append(journal, *rows(written + 1, 20))
            written += 20
            more.set()

    with lock_state_dir(venue.state_dir):
        writing = asyncio.create_task(write())
        for number in range(3):
            while written < 200 * (number + 1):
                more.clear()
                await more.wait()
            before = written
            manifest = await asyncio.to_thread(backup.backup, venue, tmp_path / f"{number}.backup", NOW_MS)
            assert before <= manifest.rows <= written + 20
        done = True
        await writing
    journal.close()
    assert audit.verify(path) == audit.Verdict(written)


def test_a_card_pulled_mid_write_leaves_no_backup_or_one_that_is_refused(venue: Configuration, tmp_path: Path) -> None:
    file = tmp_path / "hall.backup"
    manifest = backup.backup(venue, file, NOW_MS)
    whole, new = file.read_bytes(), elsewhere(tmp_path)
    # Tar fills its last record with zeros that nobody needs.
    needed = 512 + 512 + 512 + manifest.size_bytes
    for size in (0, 1, 511, 512, 700, 1024, 1536, 2000, len(whole) // 2, needed - 1):
        file.write_bytes(whole[:size])
        with pytest.raises(backup.BackupRefused, match="no whole backup"):
            backup.restore(new, file, NOW_MS)
    for place in (600, 1700, len(whole) // 2):
        file.write_bytes(whole[:place] + bytes([whole[place] ^ 0xFF]) + whole[place + 1 :])
        with pytest.raises(backup.BackupRefused):
            backup.restore(new, file, NOW_MS)
    assert not (new.state_dir / "journal.db").exists()
    assert list(new.state_dir.glob("*restoring*")) == []


def test_a_write_that_fails_leaves_the_backup_before_it(
    venue: Configuration, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "hall.backup"
    backup.backup(venue, file, NOW_MS)
    before = file.read_bytes()

    def pulled(_: int) -> None:
        raise OSError(5, "Input/output error")

    monkeypatch.setattr(os, "fsync", pulled)
    with pytest.raises(StorageUnavailable):
        backup.backup(venue, file, NOW_MS + 1)
    assert file.read_bytes() == before
    assert [one.name for one in tmp_path.iterdir() if "hall.backup" in one.name] == ["hall.backup"]


def test_a_restore_over_a_running_daemon_another_venue_or_a_journal_is_refused(
    venue: Configuration, tmp_path: Path
) -> None:
    file = tmp_path / "hall.backup"
    backup.backup(venue, file, NOW_MS)
    with lock_state_dir(venue.state_dir), pytest.raises(backup.BackupRefused, match="stop it first"):
        backup.restore(venue, file, NOW_MS, replace=True)
    with pytest.raises(backup.BackupRefused, match="is there already, with 2 rows; the backup has 2"):
        backup.restore(venue, file, NOW_MS)
    other = elsewhere(tmp_path, YAML.replace("id: hall", "id: club"))
    with pytest.raises(backup.BackupRefused, match="of the venue hall, not of club"):
        backup.restore(other, file, NOW_MS)


def test_a_replaced_journal_is_kept_and_its_log_is_not_played_into_the_new_one(
    venue: Configuration, tmp_path: Path
) -> None:
    file = tmp_path / "hall.backup"
    backup.backup(venue, file, NOW_MS)
    record(venue, e.GatewayStopped(), e.GatewayStarted(version="2", clean=True, config_digest=""))
    _, kept = backup.restore(venue, file, NOW_MS, replace=True)
    assert kept is not None
    assert audit.verify(kept) == audit.Verdict(4)
    assert audit.verify(venue.state_dir / "journal.db") == audit.Verdict(2)
    record(venue, e.GatewayStopped())
    assert audit.verify(venue.state_dir / "journal.db") == audit.Verdict(3)


def test_a_backup_of_a_newer_version_is_refused_by_name(venue: Configuration, tmp_path: Path) -> None:
    file = tmp_path / "hall.backup"
    backup.backup(venue, file, NOW_MS)
    with tarfile.open(file) as tar:
        manifest = msgspec.json.decode(tar.extractfile("manifest.json").read())
        journal = tar.extractfile("journal.db").read()
    with tarfile.open(file, "w") as tar:
        for name, content in (
            ("manifest.json", msgspec.json.encode(manifest | {"schema": 99, "version": "9.0"})),
            ("journal.db", journal),
        ):
            member = tarfile.TarInfo(name)
            member.size = len(content)
            tar.addfile(member, io.BytesIO(content))
    with pytest.raises(backup.BackupRefused, match=r"made by venue-gateway 9\.0, which is newer"):
        backup.restore(elsewhere(tmp_path), file, NOW_MS)


def test_a_journal_with_a_changed_row_is_not_backed_up_as_if_nothing_were(venue: Configuration, tmp_path: Path) -> None:
    connection = sqlite3.connect(venue.state_dir / "journal.db")
    connection.execute("UPDATE journal SET body = CAST('{}' AS BLOB) WHERE seq = 1")
    connection.commit()
    connection.close()
    with pytest.raises(backup.BackupRefused, match="row 1 is not what was written"):
        backup.backup(venue, tmp_path / "hall.backup", NOW_MS)
    assert not (tmp_path / "hall.backup").exists()


def test_a_hostile_file_of_keys_writes_nothing_outside(venue: Configuration, tmp_path: Path) -> None:
    file = tmp_path / "hall.keys"
    with tarfile.open(file, "w") as tar:
        for name in ("../evil", "clients/../../evil.password", "credential.key", "/etc/evil", "clients/.x.password"):
            member = tarfile.TarInfo(name)
            member.size = 32
            tar.addfile(member, io.BytesIO(bytes(32)))
    assert backup.restore_keys(venue, file) == ["credential.key"]
    assert list(tmp_path.rglob("*evil*")) == []


def test_the_commands_say_what_they_did(
    venue: Configuration, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    config, file = str(tmp_path / "venue.yaml"), str(tmp_path / "b")
    assert cli.main(["backup", file, "--keys", f"{file}.keys", "--config", config]) == 0
    assert "2 rows, read back and checked" in capsys.readouterr().out
    assert cli.main(["restore", file, "--config", config]) == 1
    assert "add --replace" in capsys.readouterr().err
    assert cli.main(["restore", file, "--keys", f"{file}.keys", "--replace", "--config", config]) == 0
    assert cli.main(["restore", str(tmp_path / "nothing"), "--config", config]) == 1


def test_a_file_of_another_kind_is_named_for_what_it_is(
    venue: Configuration, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    config, file, keys = str(tmp_path / "venue.yaml"), str(tmp_path / "b"), str(tmp_path / "k")
    assert cli.main(["backup", file, "--keys", keys, "--config", config]) == 0
    journal = venue.state_dir / "journal.db"
    before = journal.read_bytes()
    for words, says in (
        ([keys], f"{keys} holds keys and no journal; name the file that `backup` wrote, and this one after --keys"),
        ([str(journal)], f"{journal} is a database and no backup"),
        ([config], f"{config} is no whole backup"),
        ([file, "--keys", file], f"{file} is the backup of a journal; after --keys comes the file"),
        ([file, "--keys", config], f"{config} is no whole backup"),
    ):
        assert cli.main(["restore", *words, "--replace", "--config", config]) == 1
        assert says in capsys.readouterr().err
        # Also what is refused for its keys alone leaves the journal as it was.
        assert journal.read_bytes() == before


def packaged(folder: Path, monkeypatch: pytest.MonkeyPatch, config: Configuration, secret: bytes) -> Path:
    """The layout of the Debian package: the key lies apart from the state, and is handed over."""
    keys = folder / "keys"
    keys.mkdir(exist_ok=True)
    key = keys / "credential.key"
    key.write_bytes(secret)
    monkeypatch.setenv("CREDENTIALS_DIRECTORY", str(keys))
    (config.state_dir / "credential.key").unlink(missing_ok=True)
    return key


def test_a_key_that_lies_apart_is_backed_up_from_there_and_put_back_there(
    venue: Configuration, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    secret = (venue.state_dir / "credential.key").read_bytes()
    packaged(tmp_path, monkeypatch, venue, secret)
    config, file, keys = str(tmp_path / "venue.yaml"), str(tmp_path / "a.backup"), str(tmp_path / "a.keys")
    assert cli.main(["backup", file, "--keys", keys, "--config", config]) == 0
    new = elsewhere(tmp_path)
    # A new installation has made a key of its own by then.
    key = packaged(new.state_dir.parent, monkeypatch, new, os.urandom(32))
    command = ["restore", file, "--keys", keys, "--config", str(new.state_dir.parent / "venue.yaml")]
    assert cli.main(command) == 0
    assert key.read_bytes() == secret
    assert not (new.state_dir / "credential.key").exists()
    assert CredentialKey.load(new.state_dir).secret == secret


def test_keys_that_cannot_be_saved_leave_no_backup_that_looks_made(venue: Configuration, tmp_path: Path) -> None:
    (venue.state_dir / "credential.key").unlink()
    file = tmp_path / "a.backup"
    command = ["backup", str(file), "--keys", str(tmp_path / "k"), "--config", str(tmp_path / "venue.yaml")]
    assert cli.main(command) == 1
    assert not file.exists()
