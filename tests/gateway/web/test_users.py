"""The file of users: digests only, for its owner only, read again when it changes."""

from __future__ import annotations

import io
from pathlib import Path

import pytest

from gateway.web import user_commands
from gateway.web.users import Users, UsersError, matches

PASSWORD = "a good long password"


def users(tmp_path: Path) -> Users:
    return Users(tmp_path / "state" / "users.json")


def test_a_user_is_known_by_their_password_and_by_no_other(tmp_path):
    users(tmp_path).put("ada", "staff", PASSWORD)
    ada = users(tmp_path).get("ada")
    assert ada is not None
    assert ada.role == "staff"
    assert matches(ada, PASSWORD)
    assert not matches(ada, PASSWORD + "x")
    assert not matches(ada, "")
    assert not matches(None, PASSWORD)


def test_i12_the_file_holds_no_password_and_is_its_owners(tmp_path):
    users(tmp_path).put("ada", "staff", PASSWORD)
    users(tmp_path).put("bob", "staff", PASSWORD)
    file = tmp_path / "state" / "users.json"
    assert file.stat().st_mode & 0o777 == 0o600
    assert PASSWORD.encode() not in file.read_bytes()
    ada, bob = users(tmp_path).get("ada"), users(tmp_path).get("bob")
    assert ada is not None
    assert bob is not None
    assert ada.digest != bob.digest, "the same password must not look the same"
    assert [one.name for one in file.parent.iterdir()] == ["users.json"]


def test_a_change_from_outside_counts_at_once(tmp_path):
    seen = users(tmp_path)
    assert seen.get("ada") is None
    users(tmp_path).put("ada", "viewer", PASSWORD)
    assert seen.get("ada") is not None
    users(tmp_path).remove("ada")
    assert seen.get("ada") is None


@pytest.mark.parametrize("name", ["", "Ada", "../ada", "a/b", "a" * 64, "ä", "ada\n"])
def test_a_name_is_a_plain_name(tmp_path, name):
    with pytest.raises(UsersError, match="name"):
        users(tmp_path).put(name, "staff", PASSWORD)


@pytest.mark.parametrize("password", ["", "too short", "x" * 201])
def test_a_password_has_a_length(tmp_path, password):
    with pytest.raises(UsersError, match="10 to 200"):
        users(tmp_path).put("ada", "staff", password)


@pytest.mark.parametrize(
    "content", [b"", b"{", b"[]", b'{"ada": {}}', b'{"ada": {"role": "root"}}', b"\xff\xfe", b"[" * 9000]
)
def test_a_damaged_file_signs_nobody_in(tmp_path, content):
    (tmp_path / "state").mkdir()
    (tmp_path / "state" / "users.json").write_bytes(content)
    with pytest.raises(UsersError, match="damaged"):
        users(tmp_path).get("ada")


def test_the_commands_add_change_list_and_remove(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr("sys.stdin", io.StringIO("short\n"))
    assert user_commands.add(tmp_path, "ada", "staff", generate=False, again=False) == 1
    assert user_commands.add(tmp_path, "ada", "staff", generate=True, again=False) == 0
    password = capsys.readouterr().out.strip()
    assert matches(Users(tmp_path / "console-users.json").get("ada"), password)
    assert user_commands.add(tmp_path, "ada", "technician", generate=True, again=False) == 1
    assert user_commands.add(tmp_path, "ada", "technician", generate=True, again=True) == 0
    capsys.readouterr()
    assert user_commands.show(tmp_path) == 0
    assert capsys.readouterr().out.split() == ["ada", "technician"]
    assert user_commands.remove(tmp_path, "ada") == 0
    assert user_commands.remove(tmp_path, "ada") == 1
