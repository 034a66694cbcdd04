"""The keys of drivers: each in a file that only the daemon can read, and shown nowhere (I12)."""

from __future__ import annotations

import pytest

from drivers.api import DeviceFault
from drivers.keys import CREDENTIALS, read_key
from drivers.nfc.keys import load
from drivers.nfc.options import ProofRule

KEY = "00112233445566778899AABBCCDDEEFF"


@pytest.fixture
def folder(tmp_path, monkeypatch):
    key = tmp_path / "door"
    key.write_text(KEY + "\n")
    key.chmod(0o600)
    monkeypatch.setenv(CREDENTIALS, str(tmp_path))
    return tmp_path


def test_a_key_by_its_name_among_the_credentials_and_by_its_path(folder, monkeypatch):
    assert read_key("door", 16) == bytes.fromhex(KEY)
    monkeypatch.delenv(CREDENTIALS)
    assert read_key(str(folder / "door"), 16) == bytes.fromhex(KEY)


def test_what_systemd_hands_out_may_have_the_rights_systemd_gives_it(folder, monkeypatch):
    (folder / "door").chmod(0o440)
    assert read_key("door", 16)
    monkeypatch.delenv(CREDENTIALS)
    with pytest.raises(DeviceFault, match="can be read by others; run: chmod 600"):
        read_key(str(folder / "door"), 16)


@pytest.mark.parametrize("text", ["", KEY[:-1], KEY + "00", "no key at all, and long" * 500])
def test_i12_a_bad_key_file_is_named_and_its_content_is_not(folder, text):
    (folder / "door").write_text(text)
    with pytest.raises(DeviceFault) as problem:
        read_key("door", 16)
    assert "door must hold 32 hex digits" in str(problem.value)
    assert not text or text not in str(problem.value)


def test_names_lead_nowhere_else(folder, monkeypatch):
    for name in ("../door", "sub/door", ".hidden"):
        with pytest.raises(DeviceFault, match="neither a plain name nor an absolute path"):
            read_key(name, 16)
    with pytest.raises(DeviceFault, match="cannot be read: No such file"):
        read_key("window", 16)
    monkeypatch.delenv(CREDENTIALS)
    with pytest.raises(DeviceFault, match="LoadCredential=door:"):
        read_key("door", 16)


def test_i12_a_loaded_rule_tells_nothing_of_its_keys(folder):
    (rule,) = load((ProofRule(card="sun", key_file="door", picc_key_file="door"),))
    assert repr(rule) == "LoadedRule(sun)"
    assert rule.picc_cipher is not None
