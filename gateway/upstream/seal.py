"""The seal on what comes from above: an Ed25519 signature over venue, kind, version, time and digest of a content.

It stands in the header `Upstream-Signature: at=MS, KEY=:BASE64:`, where MS is when it was sealed, in UTC milliseconds,
and KEY names one of upstream's keys that were pinned; there may be several, while keys change. Once the gateway is
enrolled nothing without a good one is taken.
"""

from __future__ import annotations

import re
from base64 import b64decode
from binascii import Error as NotBase64
from collections.abc import Callable, Iterable, Iterator, Mapping

from gateway.domain.orders import verified

HEADER = "Upstream-Signature"
PREFIX = "venue-gateway/2"
SIGNATURES_MAX = 8
_TIME = re.compile(r"at=([0-9]{1,16})")

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

    def check(self, kind: str, version: int, sha256: bytes, header: str | None) -> int:
        """Return when upstream sealed a content with this digest as this kind and version, in UTC milliseconds.

        Raises Unsealed for one that it did not.
        """
        if not header:
            raise Unsealed(f"upstream sends {kind} without a signature; this gateway is enrolled and takes none such")
        parts = [part.strip() for part in header.split(",")[: SIGNATURES_MAX + 1]]
        at_ms = next((int(found[1]) for part in parts if (found := _TIME.fullmatch(part))), None)
        if at_ms is None:
            raise Unsealed(f"{kind}: upstream's signature has no time (`at=`); upstream speaks an older contract")
        keys, known = self._keys(), False
        content = sealed_text(self._venue, kind, version, at_ms, sha256)
        for key_id, signature in _signatures(parts):
            if key_id in keys:
                known = True
                if verified(keys[key_id], signature, content):
                    return at_ms
        if not known:
            raise Unsealed(f"{kind}: signed with no key of upstream that is known here; enrol again if keys were lost")
        raise Unsealed(f"{kind}: the signature does not fit; it was changed on its way, or is for another venue")


def sealed_text(venue: str, kind: str, version: int, at_ms: int, sha256: bytes) -> bytes:
    """Return what is signed: six lines."""
    return f"{PREFIX}\n{venue}\n{kind}\n{version}\n{at_ms}\n{sha256.hex()}\n".encode()


def _signatures(parts: Iterable[str]) -> Iterator[tuple[str, bytes]]:
    for part in parts:
        name, _, value = part.partition("=")
        if value.startswith(":") and value.endswith(":") and len(value) > 1:
            try:
                yield name, b64decode(value[1:-1], validate=True)
            except NotBase64:
                continue
