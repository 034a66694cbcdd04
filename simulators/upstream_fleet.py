"""The reference upstream's fleet: one-time codes, certificates, signed orders, and the seal on all that goes down."""

from __future__ import annotations

import asyncio
import datetime as dt
import json
import secrets
import time
from base64 import b64encode
from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from simulators.authority import Authority

ORDERS_MAX = 100
HOUR_MS = 3600 * 1000
ORDER_PREFIX = b"venue-gateway-order/1\n"


class NotKnown(Exception):
    """A code that is wrong, used, or for another venue; or a request that is none."""


class FleetOfAll:
    """All venues of one account. `lasts` is how long a venue's certificate holds."""

    def __init__(self, folder: Path) -> None:
        """Take the authority that is in `folder`, or make one."""
        self.authority = Authority(folder)
        self._file = folder / "fleet.json"
        self.lasts = dt.timedelta(days=90)
        self.enrolled: set[str] = set()
        self.bundles: dict[str, bytes] = {}
        self.renewals = 0
        self._codes: dict[str, str] = {}
        self.signing = "k1"
        """Which key orders are signed with; contents are signed with all."""
        self._keys: dict[str, Ed25519PrivateKey] = {}
        self._orders: dict[str, list[dict[str, Any]]] = {}
        self._versions: dict[tuple[str, str], int] = {}
        self._changed = asyncio.Event()
        if self._file.exists():
            known = json.loads(self._file.read_bytes())
            self.enrolled |= set(known["enrolled"])
            self._keys = {
                name: Ed25519PrivateKey.from_private_bytes(bytes.fromhex(key)) for name, key in known["keys"].items()
            }
        else:
            self.add_key("k1")

    def _store(self) -> None:
        keys = {name: key.private_bytes_raw().hex() for name, key in self._keys.items()}
        self._file.touch(0o600)
        self._file.write_text(json.dumps({"enrolled": sorted(self.enrolled), "keys": keys}))

    # Who a venue is.

    def invite(self, venue: str) -> str:
        """Return a code with which one gateway can enrol as this venue, once."""
        code = secrets.token_hex(10)
        self._codes[code] = venue
        return code

    def enrol(self, venue: str, code: str, request: str) -> dict[str, Any]:
        """Return what a gateway gets for a code. Raises NotKnown."""
        if self._codes.get(code) != venue:
            raise NotKnown("the code is wrong, was used before, or is for another venue; ask for a new one")
        certificate = self._certificate(venue, request)
        del self._codes[code]
        self.enrolled.add(venue)
        self._store()
        return {"certificate": certificate, "keys": self.public_keys()}

    def renew(self, venue: str, request: str) -> dict[str, Any]:
        """Return a new certificate for a venue that has shown its old one. Raises NotKnown."""
        self.renewals += 1
        return {"certificate": self._certificate(venue, request)}

    def _certificate(self, venue: str, request: str) -> str:
        try:
            return self.authority.venue(request, venue, self.lasts)
        except ValueError as error:
            raise NotKnown(f"this is no certificate signing request: {error}") from error

    # What is signed.

    def public_keys(self) -> list[dict[str, str]]:
        """Return the keys by which venues know this upstream."""
        return [
            {"id": name, "key": b64encode(key.public_key().public_bytes_raw()).decode()}
            for name, key in self._keys.items()
        ]

    def add_key(self, name: str) -> None:
        """Have another key, with which everything is signed too."""
        self._keys[name] = Ed25519PrivateKey.generate()
        self._store()

    def drop_key(self, name: str) -> None:
        """Sign with this key no more."""
        del self._keys[name]
        self._store()

    def seal(self, venue: str, kind: str, version: int, sha256_hex: str, ago_s: float = 0.0) -> str:
        """Return the header of a content, as it was so long ago."""
        at_ms = time.time_ns() // 1_000_000 - round(ago_s * 1000)
        text = f"venue-gateway/2\n{venue}\n{kind}\n{version}\n{at_ms}\n{sha256_hex}\n".encode()
        signed = (f"{name}=:{b64encode(key.sign(text)).decode()}:" for name, key in self._keys.items())
        return ", ".join((f"at={at_ms}", *signed))

    # Orders.

    def order(self, to: str, kind: str, data: dict[str, Any] | None = None, **changes: Any) -> dict[str, Any]:  # noqa: ANN401
        """Order something; `changes` are to fields of the order, for one that is wrong. Returns the order."""
        version = self._versions[to, kind] = self._versions.get((to, kind), 0) + 1
        now_ms = time.time_ns() // 1_000_000
        order = {
            "id": secrets.token_hex(8), "venue": to, "kind": kind, "version": version, "issued_at_ms": now_ms,
            "expires_at_ms": now_ms + HOUR_MS, "by": "ops", "reason": "told to", "data": data or {},
        } | changes  # fmt: skip
        self.send(to, self.signed(json.dumps(order)))
        return order

    def signed(self, text: str, key: str = "") -> dict[str, Any]:
        """Return an order as it is sent; with the key `signing`, or the one of this name."""
        name = key or self.signing
        signature = self._keys[name].sign(ORDER_PREFIX + text.encode())
        return {"order": text, "key": name, "signature": b64encode(signature).decode()}

    def send(self, venue: str, signed: Any) -> None:  # noqa: ANN401 - whatever a test sends
        """Give a venue what may be an order."""
        self._orders.setdefault(venue, []).append(signed)
        self._changed.set()
        self._changed = asyncio.Event()

    async def since(self, venue: str, after: int, wait_s: float) -> dict[str, Any] | None:
        """Return what was ordered after a number, waiting for it; None when nothing is in time."""
        if after >= len(self._orders.get(venue, ())):
            try:
                await asyncio.wait_for(self._changed.wait(), wait_s)
            except TimeoutError:
                return None
        given = self._orders.get(venue, [])[after : after + ORDERS_MAX]
        return {"after": after, "cursor": after + len(given), "orders": given} if given else None
