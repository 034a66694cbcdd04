"""An operator, an account and users of NATS: keys, tokens and `.creds` files, as `nsc` makes them."""

from __future__ import annotations

import hashlib
import json
from base64 import b32encode, urlsafe_b64encode
from binascii import crc_hqx
from collections.abc import Mapping, Sequence
from typing import Any

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

OPERATOR, ACCOUNT, USER, SEED = 14 << 3, 0 << 3, 20 << 3, 18 << 3
ISSUED_S = 1_700_000_000
UNLIMITED = -1


class NKey:
    """A key pair of one kind; `kind` is what its names begin with."""

    def __init__(self, kind: int) -> None:
        self._kind = kind
        self._key = Ed25519PrivateKey.generate()
        self.name = _encoded(bytes([kind]) + self._key.public_key().public_bytes_raw())

    @property
    def seed(self) -> str:
        prefix = bytes([SEED | self._kind >> 5, (self._kind & 31) << 3])
        return _encoded(prefix + self._key.private_bytes_raw())

    def token(self, subject: str, name: str, kind: str, claims: Mapping[str, Any]) -> str:
        """Return a JWT about `subject`."""
        said = {"iat": ISSUED_S, "iss": self.name, "name": name, "sub": subject}
        said["nats"] = {**claims, "type": kind, "version": 2}
        said["jti"] = b32encode(hashlib.sha256(json.dumps(said).encode()).digest()).decode().rstrip("=")
        text = f"{_part({'typ': 'JWT', 'alg': 'ed25519-nkey'})}.{_part(said)}"
        return f"{text}.{_base64(self._key.sign(text.encode()))}"


class Tenancy:
    """One operator with a system account and one account that may use JetStream."""

    def __init__(self) -> None:
        self._operator, self._system, self._account = NKey(OPERATOR), NKey(ACCOUNT), NKey(ACCOUNT)

    def settings(self) -> str:
        """Return what goes into a server's configuration."""
        operator, system, account = self._operator, self._system, self._account
        limits = dict.fromkeys(("subs", "data", "payload", "imports", "exports", "conn", "leaf"), UNLIMITED)
        stored = dict.fromkeys(("mem_storage", "disk_storage", "streams", "consumer"), UNLIMITED)
        of_system = operator.token(system.name, "SYS", "account", {"limits": {**limits, "wildcards": True}})
        of_account = operator.token(
            account.name, "VENUES", "account", {"limits": {**limits, **stored, "wildcards": True}}
        )
        of_operator = operator.token(operator.name, "house", "operator", {"system_account": system.name})
        preload = f"{{{system.name}: {of_system}, {account.name}: {of_account}}}"
        return f"operator: {of_operator}\nresolver: MEMORY\nresolver_preload: {preload}"

    def credentials(self, name: str, publish: Sequence[str] = (), subscribe: Sequence[str] = ()) -> str:
        """Return the content of a user's file; without lists the user may do everything."""
        user = NKey(USER)
        rights: dict[str, Any] = {"subs": UNLIMITED, "data": UNLIMITED, "payload": UNLIMITED}
        if publish:
            rights |= {"pub": {"allow": list(publish)}, "sub": {"allow": list(subscribe)}}
        token = self._account.token(user.name, name, "user", rights)
        return (
            f"-----BEGIN NATS USER JWT-----\n{token}\n------END NATS USER JWT------\n\n"
            "************************* IMPORTANT *************************\n"
            f"-----BEGIN USER NKEY SEED-----\n{user.seed}\n------END USER NKEY SEED------\n"
        )


def _encoded(raw: bytes) -> str:
    return b32encode(raw + crc_hqx(raw, 0).to_bytes(2, "little")).decode().rstrip("=")


def _part(value: Mapping[str, Any]) -> str:
    return _base64(json.dumps(value).encode())


def _base64(raw: bytes) -> str:
    return urlsafe_b64encode(raw).decode().rstrip("=")
