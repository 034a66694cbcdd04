"""Makes signed tickets, as an issuer does."""

from __future__ import annotations

import msgspec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from gateway.domain.tickets import HEADER, KEY_HEADER, IssuerKey, base64url, pae


class Issuer:
    """Someone who sells tickets, with one key."""

    def __init__(self, name: str = "tickets-online", kid: str = "2026-a", seed: int = 1) -> None:
        self.name, self.kid = name, kid
        self.private_key = Ed25519PrivateKey.from_private_bytes(bytes([seed]) * 32)

    def key(self, **fields: object) -> IssuerKey:
        public = KEY_HEADER + base64url(self.private_key.public_key().public_bytes_raw())
        return IssuerKey(self.kid, self.name, public, **fields)

    def ticket(self, **claims: object) -> str:
        given = {"jti": "t-1", "exp": "2026-12-31T23:59:59+01:00", "zones": ["hall"]}
        return self.sign(
            msgspec.json.encode({name: value for name, value in (given | claims).items() if value is not None})
        )

    def sign(self, message: bytes, footer: bytes | None = None) -> str:
        footer = msgspec.json.encode({"kid": self.kid}) if footer is None else footer
        signature = self.private_key.sign(pae(HEADER.encode(), message, footer, b""))
        return f"{HEADER}{base64url(message + signature)}" + (f".{base64url(footer)}" if footer else "")
