"""Mutual authentication with a card, as a calculation: what it sent in, what to send out, and whether it was right.

Three ciphers, one shape: the card sends its random number encrypted, the reader answers with its own and the card's
turned by a byte, and the card proves itself by sending back the reader's, turned likewise. Nothing here is I/O.
"""

from __future__ import annotations

import hmac

from drivers.codecs.nxp_crypto import CardCipher, rotated, xor

_SV_ENC, _SV_MAC = bytes.fromhex("A55A00010080"), bytes.fromhex("5AA500010080")
_TI_BYTES, _RND_BYTES = 4, 16


class ChainedAuth:
    """The older form, whose encryption goes on from message to message.

    DESFire AuthenticateAES `AA` (EV1 and later) and MIFARE Ultralight C `1A` with 3DES (NXP MF0ICU2, 7.5.5): the vector
    of each step is the last block that went either way. `chained=False` is MIFARE Ultralight AES `1A` (NXP MF0AES(H)20,
    8.6.1), where every message begins anew with zeros.
    """

    def __init__(self, cipher: CardCipher, rnd_a: bytes, *, chained: bool = True) -> None:
        """Take the card's cipher and a random number of as many bytes as the card's own has."""
        self._cipher, self._rnd_a, self._chained = cipher, rnd_a, chained
        self._iv = b""

    def answer(self, challenge: bytes) -> bytes | None:
        """Return what answers the card's encrypted number; None where that has not the size of one."""
        if len(challenge) != len(self._rnd_a):
            return None
        rnd_b = self._cipher.decrypt(challenge)
        sent = self._cipher.encrypt(self._rnd_a + rotated(rnd_b), challenge if self._chained else b"")
        self._iv = sent[-self._cipher.block :] if self._chained else b""
        return sent

    def proves(self, response: bytes) -> bool:
        """Return whether the card's last message shows that it has the key."""
        if len(response) != len(self._rnd_a):
            return False
        return hmac.compare_digest(self._cipher.decrypt(response, self._iv), rotated(self._rnd_a))


class Ev2FirstAuth:
    """AuthenticateEV2First `71`: NTAG 424 DNA, DESFire EV2 and EV3 (NXP AN12196, 6.6; NT4H2421Gx, 9.1.5).

    After `proves` was True, `transaction` is the card's TI and `session_enc` and `session_mac` are the session's keys.
    """

    def __init__(self, cipher: CardCipher, rnd_a: bytes) -> None:
        """Take the card's cipher and 16 random bytes."""
        self._cipher, self._rnd_a, self._rnd_b = cipher, rnd_a, b""
        self.transaction = self.session_enc = self.session_mac = b""

    def answer(self, challenge: bytes) -> bytes | None:
        """Return part 2 for the card's encrypted number; None where that has not the size of one."""
        if len(challenge) != _RND_BYTES:
            return None
        self._rnd_b = self._cipher.decrypt(challenge)
        return self._cipher.encrypt(self._rnd_a + rotated(self._rnd_b))

    def proves(self, response: bytes) -> bool:
        """Return whether the card's 32 bytes show that it has the key, and keep what the session needs."""
        if len(response) != 2 * _RND_BYTES or not self._rnd_b:
            return False
        plain = self._cipher.decrypt(response)
        if not hmac.compare_digest(plain[_TI_BYTES : _TI_BYTES + _RND_BYTES], rotated(self._rnd_a)):
            return False
        self.transaction = plain[:_TI_BYTES]
        context = self._rnd_a[:2] + xor(self._rnd_a[2:8], self._rnd_b[:6]) + self._rnd_b[6:] + self._rnd_a[8:]
        self.session_enc = self._cipher.cmac(_SV_ENC + context)
        self.session_mac = self._cipher.cmac(_SV_MAC + context)
        return True
