"""The ciphers that contactless cards speak: AES and two-key 3DES in CBC, CMAC, and keys diversified per card.

Facts: NIST SP 800-38B (CMAC); NXP AN10922 (diversification); NXP AN12196 (truncated MAC, session keys). Every function
takes any bytes; a wrong length is a ValueError and nothing else.
"""

from __future__ import annotations

from cryptography.hazmat.decrepit.ciphers.algorithms import TripleDES
from cryptography.hazmat.primitives.ciphers import BlockCipherAlgorithm, Cipher
from cryptography.hazmat.primitives.ciphers.algorithms import AES
from cryptography.hazmat.primitives.ciphers.modes import CBC

KEY_BYTES = 16
"""AES-128 and two-key 3DES keys are of one size."""
AES_BLOCK, TDES_BLOCK = 16, 8
_REDUCTION = {AES_BLOCK: 0x87, TDES_BLOCK: 0x1B}


class CardCipher:
    """One card key and its block cipher, AES-128 or two-key 3DES."""

    def __init__(self, key: bytes, *, tdes: bool = False) -> None:
        """Take 16 secret bytes; any other number is a ValueError."""
        if len(key) != KEY_BYTES:
            raise ValueError(f"a card key has {KEY_BYTES} bytes, not {len(key)}")
        self.block = TDES_BLOCK if tdes else AES_BLOCK
        # Two-key 3DES: the third key is the first again (NIST SP 800-67, keying option 2).
        self._algorithm: BlockCipherAlgorithm = TripleDES(key + key[:8]) if tdes else AES(key)

    def encrypt(self, data: bytes, iv: bytes = b"") -> bytes:
        """Return whole blocks encrypted in CBC; no `iv` means zeros."""
        encryptor = Cipher(self._algorithm, CBC(iv or bytes(self.block))).encryptor()
        return encryptor.update(data) + encryptor.finalize()

    def decrypt(self, data: bytes, iv: bytes = b"") -> bytes:
        """Return whole blocks decrypted in CBC; no `iv` means zeros."""
        decryptor = Cipher(self._algorithm, CBC(iv or bytes(self.block))).decryptor()
        return decryptor.update(data) + decryptor.finalize()

    def cmac(self, message: bytes, *, at_least_bytes: int = 0) -> bytes:
        """Return the CMAC of a message; AN10922 pads it to `at_least_bytes` where CMAC itself would not."""
        size = max(at_least_bytes, self.block, -(-len(message) // self.block) * self.block)
        doubled = self._doubled(self.encrypt(bytes(self.block)))
        if len(message) < size:
            message += b"\x80" + bytes(size - len(message) - 1)
            doubled = self._doubled(doubled)
        last = xor(message[-self.block :], doubled)
        return self.encrypt(message[: -self.block] + last)[-self.block :]

    def _doubled(self, value: bytes) -> bytes:
        """Return a subkey: `value` times x in the cipher's field."""
        number = int.from_bytes(value, "big") << 1
        if number >> (8 * self.block):
            number ^= 1 << (8 * self.block) | _REDUCTION[self.block]
        return number.to_bytes(self.block, "big")

    def __repr__(self) -> str:
        return "CardCipher(…)"


def xor(left: bytes, right: bytes) -> bytes:
    """Return the exclusive-or of two texts of one length."""
    return bytes(a ^ b for a, b in zip(left, right, strict=True))


def rotated(value: bytes) -> bytes:
    """Return the bytes with the first one last, as each side answers the other's random number."""
    return value[1:] + value[:1]


def truncated(mac: bytes) -> bytes:
    """Return the eight bytes of a CMAC that a card sends: every second one (AN12196, 3.4.4.2)."""
    return mac[1::2]


def diversified(master: bytes, about_card: bytes, *, tdes: bool = False) -> bytes:
    """Return the key of one card: AN10922, AES-128 (2.2) or two-key 3DES (2.4).

    `about_card` is the card's UID, then what the venue adds to it, 1 to 31 bytes for AES and 1 to 15 for 3DES; raises
    ValueError for another size.
    """
    cipher = CardCipher(master, tdes=tdes)
    if not 0 < len(about_card) < 2 * cipher.block:
        raise ValueError(f"a diversification input has 1 to {2 * cipher.block - 1} bytes, not {len(about_card)}")
    constants = (b"\x21", b"\x22") if tdes else (b"\x01",)
    return b"".join(cipher.cmac(one + about_card, at_least_bytes=2 * cipher.block) for one in constants)
