"""A user's `.creds` file of NATS: a token of its account (JWT), and the seed of the key that the server has signed.

Format of keys: https://github.com/nats-io/nkeys; of the file: https://docs.nats.io/using-nats/developer/connecting/creds.
"""

from __future__ import annotations

import re
from base64 import b32decode, b64encode
from binascii import crc_hqx
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from gateway.upstream.sinks import SinkUnavailable
from gateway.upstream.tls import check_private

CREDENTIALS_BYTES_MAX = 64 << 10
SEED, USER = 18 << 3, 20 << 3
"""`S` and `U`, the letters that such a key begins with."""
SEED_BYTES, CHECK_BYTES = 32, 2
_PART = r"-----BEGIN {} *-+\s+([A-Za-z0-9_.\-]+?)\s+-+END"


class NatsCredentials:
    """What a connection logs in with; nothing of it is ever shown (I12)."""

    def __init__(self, file: str) -> None:
        """Read the file. Raises SinkUnavailable where it is no such file, or others can read it."""
        check_private(file)
        try:
            with Path(file).open("rb") as lines:
                text = lines.read(CREDENTIALS_BYTES_MAX).decode("ascii", "replace")
        except OSError as error:
            raise SinkUnavailable(f"{file} cannot be read ({error.strerror}); put this venue's .creds there") from error
        token, seed = (re.search(_PART.format(what), text) for what in ("NATS USER JWT", "USER NKEY SEED"))
        if token is None or seed is None:
            raise SinkUnavailable(f"{file} is no .creds file; put that of this venue's NATS user there, as it came")
        self._token = token[1]
        try:
            self._key = Ed25519PrivateKey.from_private_bytes(_seed_of_user(seed[1]))
        except ValueError:
            raise SinkUnavailable(f"the seed in {file} is damaged or not a user's; put the .creds there anew") from None

    def token(self) -> bytes:
        """Return the JWT."""
        return self._token.encode()

    def sign(self, nonce: str) -> bytes:
        """Return what shows the server that the key is here."""
        return b64encode(self._key.sign(nonce.encode()))


def _seed_of_user(text: str) -> bytes:
    """Return the 32 bytes of a seed: two letters' worth of prefix, the seed, and a check. Raises ValueError."""
    raw = b32decode(text + "=" * (-len(text) % 8))
    body, check = raw[:-CHECK_BYTES], raw[-CHECK_BYTES:]
    prefix = (body[0] & 0xF8, (body[0] & 0x07) << 5 | (body[1] & 0xF8) >> 3) if len(body) == 2 + SEED_BYTES else ()
    if prefix != (SEED, USER) or crc_hqx(body, 0) != int.from_bytes(check, "little"):
        raise ValueError("no seed of a user")
    return body[2:]
