"""Card keys out of files that only the daemon's user can read (I12)."""

from __future__ import annotations

import os
from pathlib import Path

import msgspec

from drivers.codecs.nxp_crypto import KEY_BYTES, CardCipher, diversified
from drivers.nfc.options import ProofRule

CREDENTIALS = "CREDENTIALS_DIRECTORY"
"""Where systemd puts what `LoadCredential=` names (systemd.exec(5))."""
_OTHERS = 0o077
_FILE_BYTES_MAX = 256


class KeyProblem(Exception):
    """A key cannot be had. The message names the file and what to do, and nothing of what stands in it."""


class LoadedRule(msgspec.Struct, frozen=True):
    """A rule with its keys."""

    rule: ProofRule
    key: bytes
    picc_key: bytes | None = None

    def __repr__(self) -> str:
        return f"LoadedRule({self.rule.card})"

    def cipher(self, uid: bytes) -> CardCipher:
        """Return the cipher of the card with this UID. Raises ValueError where the rule fits no such UID."""
        tdes, key = self.rule.card == "ultralight_c", self.key
        if self.rule.diversified_with is not None:
            key = diversified(key, uid + bytes.fromhex(self.rule.diversified_with), tdes=tdes)
        return CardCipher(key, tdes=tdes)

    @property
    def picc_cipher(self) -> CardCipher | None:
        """The cipher of the encrypted part of a SUN URL; None where that stands in clear."""
        return CardCipher(self.picc_key) if self.picc_key is not None else None


def load(rules: tuple[ProofRule, ...], credentials: str | None = None) -> tuple[LoadedRule, ...]:
    """Return the rules with their keys. `credentials` is the service's credentials directory, where it has one.

    Raises KeyProblem.
    """
    return tuple(LoadedRule(rule, read_key(rule.key_file, credentials), _picc_key(rule, credentials)) for rule in rules)


def _picc_key(rule: ProofRule, credentials: str | None) -> bytes | None:
    return read_key(rule.picc_key_file, credentials) if rule.picc_key_file is not None else None


def read_key(name: str, credentials: str | None) -> bytes:
    """Return the 16 bytes of a key file. Raises KeyProblem, which says nothing of what the file holds."""
    path = _place(name, credentials)
    try:
        with path.open("rb") as file:
            # The rights of systemd's credentials are its own business: their folder is closed to others.
            if credentials is None or path.parent != Path(credentials):
                _refuse_others(path, os.fstat(file.fileno()).st_mode)
            text = file.read(_FILE_BYTES_MAX)
    except OSError as error:
        raise KeyProblem(f"the key file {path} cannot be read: {os.strerror(error.errno or 0)}") from None
    try:
        key = bytes.fromhex(text.decode("ascii").strip())
    except ValueError:
        key = b""
    if len(key) != KEY_BYTES:
        raise KeyProblem(f"the key file {path} must hold {2 * KEY_BYTES} hex digits and nothing else")
    return key


def _place(name: str, credentials: str | None) -> Path:
    if name.startswith("/"):
        return Path(name)
    if "/" in name or name.startswith("."):
        raise KeyProblem(f"the key file {name} is neither a plain name nor an absolute path")
    if credentials is None:
        raise KeyProblem(
            f"the key {name} is looked for in the service's credentials directory, and there is none: add "
            f"LoadCredential={name}:FILE to the unit, or write the absolute path of the file"
        )
    return Path(credentials) / name


def _refuse_others(path: Path, mode: int) -> None:
    if mode & _OTHERS:
        raise KeyProblem(f"the key file {path} can be read by others; run: chmod 600 {path}")
