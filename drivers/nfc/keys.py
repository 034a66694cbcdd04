"""What a rule makes of its keys (I12)."""

from __future__ import annotations

import msgspec

from drivers.codecs.nxp_crypto import KEY_BYTES, CardCipher, diversified
from drivers.keys import read_key
from drivers.nfc.options import ProofRule


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


def load(rules: tuple[ProofRule, ...]) -> tuple[LoadedRule, ...]:
    """Return the rules with their keys, out of their files. Raises DeviceFault."""
    return tuple(LoadedRule(rule, read_key(rule.key_file, KEY_BYTES), _picc_key(rule)) for rule in rules)


def _picc_key(rule: ProofRule) -> bytes | None:
    return read_key(rule.picc_key_file, KEY_BYTES) if rule.picc_key_file is not None else None
