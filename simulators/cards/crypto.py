"""AES, two-key 3DES, CMAC and AN10922 as a card computes them; written apart from the gateway's own."""

from __future__ import annotations

from cryptography.hazmat.decrepit.ciphers.algorithms import TripleDES
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from cryptography.hazmat.primitives.cmac import CMAC


def aes_encrypt(key: bytes, data: bytes, iv: bytes = bytes(16)) -> bytes:
    """AES-128 in CBC."""
    context = Cipher(algorithms.AES(key), modes.CBC(iv)).encryptor()
    return context.update(data) + context.finalize()


def aes_decrypt(key: bytes, data: bytes, iv: bytes = bytes(16)) -> bytes:
    """AES-128 in CBC."""
    context = Cipher(algorithms.AES(key), modes.CBC(iv)).decryptor()
    return context.update(data) + context.finalize()


def tdes_encrypt(key: bytes, data: bytes, iv: bytes = bytes(8)) -> bytes:
    """Two-key 3DES in CBC."""
    context = Cipher(TripleDES(key + key[:8]), modes.CBC(iv)).encryptor()
    return context.update(data) + context.finalize()


def tdes_decrypt(key: bytes, data: bytes, iv: bytes = bytes(8)) -> bytes:
    """Two-key 3DES in CBC."""
    context = Cipher(TripleDES(key + key[:8]), modes.CBC(iv)).decryptor()
    return context.update(data) + context.finalize()


def aes_cmac(key: bytes, message: bytes) -> bytes:
    """The library's CMAC (NIST SP 800-38B)."""
    mac = CMAC(algorithms.AES(key))
    mac.update(message)
    return mac.finalize()


def card_key(master: bytes, about_card: bytes) -> bytes:
    """AN10922, AES-128, for an input of 16 bytes or more, which CMAC itself pads as the note asks."""
    if len(about_card) < 16:
        raise ValueError("shorter inputs are padded otherwise than CMAC does it")
    return aes_cmac(master, b"\x01" + about_card)


def turned(value: bytes) -> bytes:
    """The first byte last."""
    return value[1:] + value[:1]
