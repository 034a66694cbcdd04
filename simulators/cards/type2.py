"""Type 2 chips: NTAG21x, Ultralight EV1, Ultralight C, Ultralight AES."""

from __future__ import annotations

from simulators.cards.card import Card, RandomBytes
from simulators.cards.crypto import aes_decrypt, aes_encrypt, tdes_decrypt, tdes_encrypt, turned

NAK = b"\x00"
VERSIONS = {
    "ntag213": "0004040201000F03", "ntag215": "0004040201001103", "ntag216": "0004040201001303",
    "ultralight_ev1": "0004030101000B03", "ultralight_aes": "0004030104000F03",
}  # fmt: skip
PAGES = {"ntag213": 45, "ntag215": 135, "ntag216": 231}


def ndef_tlv(message: bytes) -> bytes:
    """An NDEF message as it lies in the data area."""
    length = bytes([len(message)]) if len(message) < 0xFF else b"\xff" + len(message).to_bytes(2, "big")
    return b"\x03" + length + message + b"\xfe"


class Type2Card(Card):
    """A chip of pages. After a command it does not know it is silent until it is selected again."""

    def __init__(self, chip: str, uid: bytes, ndef: bytes = b"", key: bytes = bytes(16),
                 random_bytes: RandomBytes = bytes) -> None:  # fmt: skip
        super().__init__(uid, random_bytes)
        self.chip, self.key = chip, key
        pages = PAGES.get(chip, 48)
        self.memory = bytearray(pages * 4)
        self.memory[:12] = uid[:3] + b"\x00" + uid[3:] + b"\x00" * 5
        self.memory[12:16] = bytes([0xE1, 0x10, (pages - 9) * 4 // 8, 0x00])
        data = ndef_tlv(ndef)
        self.memory[16 : 16 + len(data)] = data
        self.mute = False
        self._rnd_b, self._iv = b"", b""

    def select(self) -> None:
        """Awake again, and nothing proven."""
        self.mute, self._rnd_b = False, b""

    def exchange(self, frame: bytes) -> bytes | None:
        """READ, GET_VERSION and AUTHENTICATE."""
        if self.mute or not frame:
            return None
        answer = self._answer(frame)
        self.mute = answer is None or answer == NAK
        return answer

    def _answer(self, frame: bytes) -> bytes | None:
        if frame[0] == 0x30 and len(frame) == 2:
            at = frame[1] * 4
            return bytes((self.memory + self.memory)[at : at + 16]) if at < len(self.memory) else NAK
        if frame == b"\x60" and self.chip in VERSIONS:
            return bytes.fromhex(VERSIONS[self.chip])
        if frame[0] in {0x1A, 0xAF} and self.chip in {"ultralight_c", "ultralight_aes"}:
            return self._authenticate(frame)
        return NAK if self.chip == "ultralight_ev1" else None

    def _authenticate(self, frame: bytes) -> bytes | None:
        tdes = self.chip == "ultralight_c"
        encrypt, decrypt, size = (tdes_encrypt, tdes_decrypt, 8) if tdes else (aes_encrypt, aes_decrypt, 16)
        if frame[0] == 0x1A:
            self._rnd_b = self.random_bytes(size)
            challenge = encrypt(self.key, self._rnd_b)
            self._iv = challenge if tdes else bytes(size)
            return b"\xaf" + challenge
        if not self._rnd_b or len(frame) != 1 + 2 * size:
            return NAK
        plain = decrypt(self.key, frame[1:], self._iv)
        expected, self._rnd_b = turned(self._rnd_b), b""
        if plain[size:] != expected:
            return NAK
        return b"\x00" + encrypt(self.key, turned(plain[:size]), frame[-size:] if tdes else bytes(size))
