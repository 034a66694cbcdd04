from __future__ import annotations

import multiprocessing
import stat
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.store import credentials
from gateway.store.credentials import KEY_BYTES, CredentialKey
from gateway.store.errors import StorageUnavailable

KEY = CredentialKey(bytes(range(32)))


def test_a_reference_is_blake2b_keyed_with_the_venues_secret() -> None:
    # Computed with hashlib.blake2b(b"em4100\0" b"100086F444", digest_size=16, key=bytes(range(32))).
    assert KEY.ref("em4100", "100086F444") == "f7b84b8471265677bd73d1202186a941"


def test_an_em4100_number_is_the_same_card_in_either_case() -> None:
    assert KEY.ref("em4100", "100086f444") == KEY.ref("em4100", "100086F444")


def test_a_barcode_keeps_its_case() -> None:
    assert KEY.ref("barcode", "abc") != KEY.ref("barcode", "ABC")


@given(st.tuples(st.text(), st.text()), st.tuples(st.text(), st.text()))
def test_different_cards_have_different_references(one: tuple[str, str], other: tuple[str, str]) -> None:
    if "\0" not in one[0] + other[0] and one != other and "em4100" not in (one[0], other[0]):
        assert KEY.ref(*one) != KEY.ref(*other)


def test_another_venue_has_other_references() -> None:
    other = CredentialKey(bytes(32))
    assert other.ref("barcode", "1") != KEY.ref("barcode", "1")
    assert other.fingerprint != KEY.fingerprint


def test_the_key_is_made_once_and_for_its_owner_only(tmp_path: Path) -> None:
    state_dir = tmp_path / "new" / "state"
    first = CredentialKey.load_or_create(state_dir)
    assert CredentialKey.load_or_create(state_dir).secret == first.secret
    assert len(first.secret) == KEY_BYTES
    assert stat.S_IMODE((state_dir / "credential.key").stat().st_mode) == 0o600
    assert [file.name for file in state_dir.iterdir()] == ["credential.key"]


def test_processes_that_start_together_agree_on_one_key(tmp_path: Path) -> None:
    with multiprocessing.get_context("spawn").Pool(4) as pool:
        refs = pool.map(_ref_of_a_new_key, [tmp_path] * 8)
    assert len(set(refs)) == 1


def _ref_of_a_new_key(state_dir: Path) -> str:
    return CredentialKey.load_or_create(state_dir).ref("barcode", "1")


def test_a_key_that_others_can_read_is_refused_with_the_cure(tmp_path: Path) -> None:
    CredentialKey.load_or_create(tmp_path)
    (tmp_path / "credential.key").chmod(0o644)
    with pytest.raises(StorageUnavailable, match="chmod 600") as caught:
        CredentialKey.load_or_create(tmp_path)
    assert caught.value.fatal


def test_half_a_key_is_refused(tmp_path: Path) -> None:
    CredentialKey.load_or_create(tmp_path)
    (tmp_path / "credential.key").write_bytes(b"short")
    with pytest.raises(StorageUnavailable, match="5 bytes and not 32"):
        CredentialKey.load_or_create(tmp_path)


def test_i12_a_key_does_not_show_itself() -> None:
    assert repr(KEY) == "CredentialKey(…)"
    assert str(KEY) == "CredentialKey(…)"


def test_a_key_that_the_service_manager_hands_over_counts_and_none_is_made(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    handed, state = tmp_path / "credentials", tmp_path / "state"
    handed.mkdir()
    (handed / "credential.key").write_bytes(b"k" * 32)
    monkeypatch.setenv("CREDENTIALS_DIRECTORY", str(handed))
    assert CredentialKey.load_or_create(state).secret == b"k" * 32
    assert not (state / "credential.key").exists()


def test_two_different_keys_are_refused_rather_than_guessed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    CredentialKey.load_or_create(tmp_path / "state")
    handed = tmp_path / "credentials"
    handed.mkdir()
    (handed / "credential.key").write_bytes(b"k" * 32)
    monkeypatch.setenv("CREDENTIALS_DIRECTORY", str(handed))
    with pytest.raises(StorageUnavailable, match="only one of them fits the data"):
        CredentialKey.load_or_create(tmp_path / "state")


def test_where_the_package_keeps_the_key_no_second_one_is_made(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    state, keys = tmp_path / "state", tmp_path / "keys"
    state.mkdir()
    keys.mkdir()
    monkeypatch.delenv("CREDENTIALS_DIRECTORY", raising=False)
    monkeypatch.setattr(credentials, "PACKAGED_STATE", state)
    monkeypatch.setattr(credentials, "PACKAGED_KEYS", keys)
    with pytest.raises(StorageUnavailable, match="restore it"):
        CredentialKey.load_or_create(state)
    assert list(state.iterdir()) == []
    (keys / "credential.key").write_bytes(b"k" * 32)
    assert CredentialKey.load_or_create(state).secret == b"k" * 32

    def denied(_: Path) -> bytes:
        raise PermissionError(13, "Permission denied")

    # As `sudo -u venue-gateway` meets it.
    monkeypatch.setattr(Path, "read_bytes", denied)
    with pytest.raises(StorageUnavailable, match="run this as root"):
        CredentialKey.load_or_create(state)
    assert list(state.iterdir()) == []
