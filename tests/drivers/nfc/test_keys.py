from __future__ import annotations

import pytest

from drivers.nfc.keys import KeyProblem, load, read_key
from drivers.nfc.options import ProofRule

KEY = "00112233445566778899AABBCCDDEEFF"


@pytest.fixture
def folder(tmp_path):
    key = tmp_path / "door"
    key.write_text(KEY + "\n")
    key.chmod(0o600)
    return tmp_path


def test_a_key_by_its_name_among_the_credentials_and_by_its_path(folder):
    assert read_key("door", str(folder)) == bytes.fromhex(KEY)
    assert read_key(str(folder / "door"), None) == bytes.fromhex(KEY)


def test_what_systemd_hands_out_may_have_the_rights_systemd_gives_it(folder):
    (folder / "door").chmod(0o440)
    assert read_key("door", str(folder))
    with pytest.raises(KeyProblem, match="can be read by others; run: chmod 600"):
        read_key(str(folder / "door"), None)


@pytest.mark.parametrize("text", ["", KEY[:-1], KEY + "00", "no key at all, and long" * 50])
def test_i12_a_bad_key_file_is_named_and_its_content_is_not(folder, text):
    (folder / "door").write_text(text)
    with pytest.raises(KeyProblem) as problem:
        read_key("door", str(folder))
    assert "door must hold 32 hex digits" in str(problem.value)
    assert not text or text not in str(problem.value)


def test_names_lead_nowhere_else(folder):
    for name in ("../door", "sub/door", ".hidden"):
        with pytest.raises(KeyProblem, match="neither a plain name nor an absolute path"):
            read_key(name, str(folder))
    with pytest.raises(KeyProblem, match="LoadCredential=door:FILE"):
        read_key("door", None)
    with pytest.raises(KeyProblem, match="cannot be read: No such file"):
        read_key("window", str(folder))


def test_i12_a_loaded_rule_tells_nothing_of_its_keys(folder):
    (rule,) = load((ProofRule(card="sun", key_file="door", picc_key_file="door"),), str(folder))
    assert repr(rule) == "LoadedRule(sun)"
    assert rule.picc_cipher is not None
