"""OSDP's secure channel: both sides prove that they hold one key, then frames are authenticated and enciphered.

Source: SIA OSDP 2.2, annex D; its example in annex E is a test here. AES-128 throughout. The panel's random number
comes in from outside, because the channel's keys are made of it: one that repeats makes old recordings valid again.
"""

from __future__ import annotations

import hmac

from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes

from drivers.codecs import osdp
from drivers.codecs.osdp import Frame, SecurityBlock

KEY_BYTES = 16
NONCE_BYTES = 8
BLOCK_BYTES = 16
DEFAULT_KEY = bytes(range(0x30, 0x40))
"""SCBK-D, with which a reader leaves its factory. Everybody knows it: it protects nothing."""

CHALLENGE, CLIENT, SERVER, CONFIRMED = 0x11, 0x12, 0x13, 0x14
_PLAIN = {False: 0x15, True: 0x16}
_ENCIPHERED = {False: 0x17, True: 0x18}
_NO_IV = bytes(BLOCK_BYTES)


class Keys:
    """The keys of one session and the cryptograms by which both sides show that they have them."""

    def __init__(self, base_key: bytes, panel_nonce: bytes, reader_nonce: bytes) -> None:
        """Take the base key (SCBK, 16 bytes), RND.A of the panel and RND.B of the reader (8 bytes each)."""

        def session_key(kind: int) -> bytes:
            return encipher(base_key, (bytes([1, kind]) + panel_nonce[:6]).ljust(BLOCK_BYTES, b"\0"))

        self.enc = session_key(0x82)
        self.mac1 = session_key(0x01)
        self.mac2 = session_key(0x02)
        self.client_cryptogram = encipher(self.enc, panel_nonce + reader_nonce)
        self.server_cryptogram = encipher(self.enc, reader_nonce + panel_nonce)
        self.first_mac = encipher(self.mac2, encipher(self.mac1, self.server_cryptogram))

    def __repr__(self) -> str:
        return "Keys(<hidden>)"


class SecureSession:
    """One side of an open channel: `seal` what it sends, `open` what it receives, each exactly once and in order."""

    def __init__(self, keys: Keys, *, panel: bool) -> None:
        """Begin as the panel's side, or as the reader's."""
        self._keys = keys
        # Each message is chained to the last of the other side; R-MAC-I stands for the reader's before the first.
        self._own_mac = _NO_IV if panel else keys.first_mac
        self._peer_mac = keys.first_mac if panel else _NO_IV

    def seal(self, frame: Frame) -> bytes:
        """Return the bytes for the wire of a plain frame, with its data enciphered and its authentication code."""
        kinds = _ENCIPHERED if frame.data else _PLAIN
        data = self._encipher(frame.data) if frame.data else b""
        sealed = Frame(
            address=frame.address,
            reply=frame.reply,
            sequence=frame.sequence,
            code=frame.code,
            data=data,
            block=SecurityBlock(kinds[frame.reply]),
            crc=frame.crc,
        )
        signed = osdp.unsigned_frame(sealed)
        self._own_mac = self._mac(signed, self._peer_mac)
        signed += self._own_mac[: osdp.MAC_BYTES]
        return bytes([osdp.MARK]) + signed + osdp.check_of(signed, crc=frame.crc)

    def open(self, frame: Frame) -> bytes | None:
        """Return the data of a frame in clear; None when it is not authentic and nothing of it may be believed."""
        kinds = (_PLAIN[frame.reply], _ENCIPHERED[frame.reply])
        if frame.block is None or frame.block.kind not in kinds:
            return None
        mac = self._mac(frame.signed, self._own_mac)
        if not hmac.compare_digest(mac[: osdp.MAC_BYTES], frame.mac):
            return None
        data: bytes | None = frame.data
        if frame.block.kind == _ENCIPHERED[frame.reply]:
            data = self._decipher(frame.data)
        if data is not None:
            self._peer_mac = mac
        return data

    def _mac(self, signed: bytes, iv: bytes) -> bytes:
        """Chain all blocks but the last by S-MAC1 and the last by S-MAC2."""
        padded = pad(signed) if len(signed) % BLOCK_BYTES else signed
        head, last = padded[:-BLOCK_BYTES], padded[-BLOCK_BYTES:]
        if head:
            iv = encipher(self._keys.mac1, head, iv)[-BLOCK_BYTES:]
        return encipher(self._keys.mac2, last, iv)

    def _encipher(self, data: bytes) -> bytes:
        return encipher(self._keys.enc, pad(data), _inverted(self._peer_mac))

    def _decipher(self, data: bytes) -> bytes | None:
        if not data or len(data) % BLOCK_BYTES:
            return None
        cipher = Cipher(algorithms.AES(self._keys.enc), modes.CBC(_inverted(self._own_mac))).decryptor()
        clear = cipher.update(data) + cipher.finalize()
        bare = clear.rstrip(b"\0")
        # Data that fills its blocks exactly comes without padding from some readers.
        return bare[:-1] if bare.endswith(b"\x80") else clear


def encipher(key: bytes, data: bytes, iv: bytes = _NO_IV) -> bytes:
    """Return whole blocks of `data` under AES-128 in CBC mode; one block with no `iv` is the bare cipher."""
    cipher = Cipher(algorithms.AES(key), modes.CBC(iv)).encryptor()
    return cipher.update(data) + cipher.finalize()


def pad(data: bytes) -> bytes:
    """Return `data` with `80` and as many `00` as fill its last block."""
    return data + b"\x80" + bytes(-(len(data) + 1) % BLOCK_BYTES)


def _inverted(block: bytes) -> bytes:
    return bytes(byte ^ 0xFF for byte in block)
