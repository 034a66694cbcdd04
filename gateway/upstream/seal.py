"""The seal on what comes from above: an Ed25519 signature over venue, kind, version and digest of a content.

It stands in the header `Upstream-Signature: KEY=:BASE64:`, where KEY names one of upstream's keys that were pinned;
there may be several, while keys change. Once the gateway is enrolled nothing without a good one is taken.
"""

from __future__ import annotations

from base64 import b64decode
from binascii import Error as NotBase64
from collections.abc import Callable, Iterator, Mapping

from gateway.domain.orders import verified

HEADER = "Upstream-Signature"
PREFIX = "venue-gateway/1"
SIGNATURES_MAX = 8

Keys = Callable[[], Mapping[str, bytes]]
"""Returns the keys that are pinned now."""


class Unsealed(Exception):
    """The content has no good signature; the message says what is wrong with it."""


class Seal:
    """Checks what is for one venue."""

    def __init__(self, venue: str, keys: Keys) -> None:
        """Take `keys` as they are at each check."""
        self._venue = venue
        self._keys = keys

    def check(self, kind: str, version: int, sha256: bytes, header: str | None) -> None:
        """Raise Unsealed unless the content with this digest is what upstream meant as this kind and version."""
        if not header:
            raise Unsealed(f"upstream sends {kind} without a signature; this gateway is enrolled and takes none such")
        keys, known = self._keys(), False
        content = sealed_text(self._venue, kind, version, sha256)
        for key_id, signature in _signatures(header):
            if key_id in keys:
                known = True
                if verified(keys[key_id], signature, content):
                    return
        if not known:
            raise Unsealed(f"{kind}: signed with no key of upstream that is known here; enrol again if keys were lost")
        raise Unsealed(f"{kind}: the signature does not fit; it was changed on its way, or is for another venue")


def sealed_text(venue: str, kind: str, version: int, sha256: bytes) -> bytes:
    """Return what is signed: five lines."""
    return f"{PREFIX}\n{venue}\n{kind}\n{version}\n{sha256.hex()}\n".encode()


def _signatures(header: str) -> Iterator[tuple[str, bytes]]:
    for part in header.split(",")[:SIGNATURES_MAX]:
        name, _, value = part.strip().partition("=")
        if value.startswith(":") and value.endswith(":") and len(value) > 1:
            try:
                yield name, b64decode(value[1:-1], validate=True)
            except NotBase64:
                continue
