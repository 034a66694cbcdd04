"""What a thief learns of a stolen SD card, and what a backup in the wrong hands tells: docs/security.md."""

from __future__ import annotations

from pathlib import Path

from gateway.config.schema import Configuration
from gateway.ops import backup
from gateway.store.credentials import CredentialKey
from tests.gateway.ops.house import CARD, NOW_MS, configuration, entered, import_guests, record


def forms(value: str) -> list[bytes]:
    """A card's number in every way in which readers, tickets and databases write it."""
    number = int(value, 16)
    texts = [value, value.lower(), str(number), str(number & 0xFFFFFFFF), f"{number & 0xFFFFFF:08d}"]
    raw = bytes.fromhex(value)
    return [*(text.encode() for text in texts), raw, raw[1:], raw[::-1], raw[1:][::-1]]


def evening(tmp_path: Path) -> Configuration:
    config = configuration(tmp_path)
    key = import_guests(config, "anna", "ben")
    record(config, entered("anna", key.ref("em4100", CARD)), fold=True)
    return config


def test_i12_no_card_number_can_be_read_from_the_files_of_a_stolen_card(tmp_path: Path) -> None:
    config = evening(tmp_path)
    stolen = {path.name: path.read_bytes() for path in config.state_dir.rglob("*") if path.is_file()}
    assert {"journal.db", "directory.db", "credential.key"} <= set(stolen)
    found = [(name, form) for name, content in stolen.items() for form in forms(CARD) if form in content]
    assert found == []


def test_without_the_key_a_list_of_cards_cannot_be_tried(tmp_path: Path) -> None:
    """A backup holds no key: whoever knows every number there is still cannot tell whose was there."""
    config = evening(tmp_path)
    file = tmp_path / "hall.backup"
    backup.backup(config, file, NOW_MS)
    content = file.read_bytes()
    ref = CredentialKey.load_or_create(config.state_dir).ref("em4100", CARD)
    assert ref.encode() in content, "with the key it is there"
    guesses = (CredentialKey(bytes([number]) * 32).ref("em4100", CARD) for number in range(256))
    assert not any(guess.encode() in content for guess in guesses)


def test_with_the_key_beside_it_a_list_of_cards_can_be_tried(tmp_path: Path) -> None:
    """What does not hold: five-byte numbers are few, and the key lies on the same card. Encrypt the disk for that."""
    config = evening(tmp_path)
    secret = (config.state_dir / "credential.key").read_bytes()
    assert bytes.fromhex(CredentialKey(secret).ref("em4100", CARD)) in (config.state_dir / "directory.db").read_bytes()
