"""What `sudo` makes belongs to whoever the folder around it belongs to: the gateway runs as a user of its own."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from gateway.mqtt.broker_files import write_broker_files
from gateway.ops import backup
from gateway.store.credentials import CredentialKey
from gateway.store.locking import lock_state_dir
from gateway.store.owners import make_folder
from gateway.web.users import Users
from tests.gateway.ops.house import YAML, configuration, import_guests

NOBODY = 65534
pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="only root makes files that are not its own")


def strangers(folder: Path) -> list[str]:
    return [str(one.relative_to(folder)) for one in folder.rglob("*") if one.lstat().st_uid != NOBODY]


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """A folder of the gateway's user, as it is before anything was ever made in it."""
    os.chown(tmp_path, NOBODY, NOBODY)
    return tmp_path


def test_a_key_made_by_an_import_before_the_first_start_is_the_gateways(home: Path) -> None:
    CredentialKey.load_or_create(home / "venue/state")
    assert (home / "venue/state/credential.key").exists()
    assert not strangers(home)


def test_whatever_a_command_of_roots_makes_in_the_state_folder_is_the_gateways(home: Path) -> None:
    venue = configuration(home, YAML + "clients: {bar: {may: {wallet: [charge]}}}\n")
    os.chown(venue.state_dir, NOBODY, NOBODY)
    import_guests(venue, "ada")
    lock_state_dir(venue.state_dir).close()
    Users(venue.state_dir / "console-users.json").put("ada", "viewer", "a long password")
    write_broker_files(venue, home / "broker")
    backup.backup_keys(venue, home / "keys")
    (home / "keys").rename(home.parent / "keys")
    for one in (venue.state_dir / "clients").iterdir():
        one.unlink()
    (venue.state_dir / "clients").rmdir()
    backup.restore_keys(venue, home.parent / "keys")
    assert (venue.state_dir / "clients/bar.password").exists()
    assert not strangers(venue.state_dir)


def test_a_folder_that_is_there_stays_whose_it_is(home: Path) -> None:
    (home / "theirs").mkdir()
    make_folder(home / "theirs")
    assert strangers(home) == ["theirs"]
