"""Signed tickets: PASETO v4.public tokens, which a venue can check without ever having heard of the ticket. Pure.

Format: https://github.com/paseto-standard/paseto-spec (Version4, section "Sign" and "Verify"; Common, "PAE"),
signatures Ed25519 (RFC 8032). Public test vectors: paseto-standard/test-vectors, v4.json, 4-S-1 to 4-S-3.
"""

from __future__ import annotations

import binascii
from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from typing import Annotated, Literal

import msgspec
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from gateway.domain.access import Entitlement
from gateway.domain.clock import Doubt
from gateway.domain.reasons import Reason

HEADER = "v4.public."
KEY_HEADER = "k4.public."
"""How PASERK, the companion standard, begins a public key of version 4."""
PRIVATE_HEADER = "k4.secret."
TOKEN_CHARS_MAX = 1024
SIGNATURE_BYTES = 64
KEY_BYTES = 32
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
MILLISECOND = timedelta(milliseconds=1)
ENDLESS_MS = 2**53
"""An end that no clock reaches, of a key which only has a beginning."""


class NotAuthentic(Exception):
    """A ticket is not what its issuer signed, or its issuer is none of ours. The message never holds the ticket."""


class IssuerKey(msgspec.Struct, frozen=True):
    """A public key of somebody who may sell tickets for this venue. Outside its time it vouches for nothing."""

    id: str
    issuer: str
    public_key: str
    state: Literal["active", "revoked"] = "active"
    valid_from_ms: int | None = None
    valid_until_ms: int | None = None

    def counts_at(self, now_ms: int, doubt: Doubt | None = None) -> bool:
        """Return True while tickets signed with it are taken.

        Where `doubt` suspends the rules about the time it must only not be over by the last known time; what becomes of
        its tickets then is the policy's, see `until_ms`.
        """
        suspended = doubt if doubt is not None and doubt.suspends_rules else None
        begun = self.valid_from_ms is None or now_ms >= self.valid_from_ms or suspended is not None
        until_ms = now_ms if suspended is None else suspended.surely_ms(now_ms)
        over = self.valid_until_ms is not None and until_ms >= self.valid_until_ms
        return self.state == "active" and begun and not over

    @property
    def until_ms(self) -> int | None:
        """Until when a code signed with it counts; None where the key does not depend on the time."""
        if self.valid_until_ms is None and self.valid_from_ms is not None:
            return ENDLESS_MS
        return self.valid_until_ms


Item = Annotated[str, msgspec.Meta(pattern="^[a-z0-9][a-z0-9-]{0,62}$")]
Count = Annotated[int, msgspec.Meta(ge=1, le=1000)]


class Claims(msgspec.Struct, frozen=True):
    """What a ticket says: the `zones` it opens, the `items` that can be redeemed with it, or both.

    Claims nobody here knows are left alone, so that an issuer can add some.
    """

    jti: Annotated[str, msgspec.Meta(min_length=1, max_length=100)]
    exp: datetime
    zones: Annotated[tuple[str, ...], msgspec.Meta(max_length=16)] = ()
    items: Annotated[dict[Item, Count], msgspec.Meta(max_length=16)] = {}
    nbf: datetime | None = None
    iss: str | None = None
    aud: str | None = None
    schedule: str | None = None
    reentry: bool = False


class Ticket(msgspec.Struct, frozen=True):
    """A ticket whose signature holds. `entitlement` is what it gives: one use, under an id of its issuer's own.

    `vouchers` are what can be redeemed with it, each under an id that begins with its item. `key_until_ms` is the end
    of the key that signed it; None where the key does not depend on the time.
    """

    entitlement: Entitlement
    venue: str | None
    vouchers: tuple[Entitlement, ...] = ()
    key_until_ms: int | None = None


class _Footer(msgspec.Struct, frozen=True):
    kid: Annotated[str, msgspec.Meta(min_length=1, max_length=100)]


class Keyring:
    """The issuer keys of one directory, ready to check signatures with."""

    def __init__(self, keys: Iterable[IssuerKey]) -> None:
        """Take the keys; each must be one that `public_key_bytes` takes."""
        self._keys = {
            key.id: (key, Ed25519PublicKey.from_public_bytes(public_key_bytes(key.public_key))) for key in keys
        }

    def open(self, token: str, now_ms: int, doubt: Doubt | None = None) -> Ticket:
        """Return the ticket in `token`. Raises NotAuthentic, which says nothing of the ticket itself.

        `doubt` is there while nobody vouches for the time.
        """
        message, signature, footer = _take_apart(token)
        issuer_key, public_key = self._find(footer, now_ms, doubt)
        try:
            public_key.verify(signature, pae(HEADER.encode(), message, footer, b""))
        except InvalidSignature:
            raise NotAuthentic("the signature does not hold") from None
        ticket = _ticket(_claims(message), issuer_key.issuer)
        return msgspec.structs.replace(ticket, key_until_ms=issuer_key.until_ms)

    def _find(self, footer: bytes, now_ms: int, doubt: Doubt | None) -> tuple[IssuerKey, Ed25519PublicKey]:
        try:
            kid = msgspec.json.decode(footer, type=_Footer).kid
        except (ValueError, RecursionError):
            raise NotAuthentic("the footer names no key") from None
        found = self._keys.get(kid)
        if found is None:
            raise NotAuthentic("no issuer key of this id is in the directory")
        if not found[0].counts_at(now_ms, doubt):
            raise NotAuthentic("the issuer key is revoked or out of its time")
        return found


def sign(private_key: Ed25519PrivateKey, kid: str, issuer: str, claims: bytes) -> str:
    """Return the code of a ticket: its `claims`, a JSON object, signed by `issuer` with its key `kid`.

    Raises NotAuthentic when the claims are not those of a ticket, or make a code longer than readers take.
    """
    _ticket(_claims(claims), issuer)
    footer = msgspec.json.encode(_Footer(kid))
    signature = private_key.sign(pae(HEADER.encode(), claims, footer, b""))
    token = f"{HEADER}{base64url(claims + signature)}.{base64url(footer)}"
    if len(token) > TOKEN_CHARS_MAX:
        raise NotAuthentic(f"the code would have {len(token)} characters; at most {TOKEN_CHARS_MAX} are taken")
    return token


def is_signed(value: str) -> bool:
    """Return True for a code that claims to be a signed ticket."""
    return value.startswith(HEADER)


def venue_fault(ticket: Ticket, venue_id: str) -> Reason | None:
    """Return why a ticket does not count at this venue, or None: one without `aud` counts wherever its key does."""
    return Reason.WRONG_VENUE if ticket.venue is not None and ticket.venue != venue_id else None


def pae(*pieces: bytes) -> bytes:
    """Return PASETO's pre-authentication encoding: the number of pieces, then each with its length (64 bits, LE)."""
    return b"".join([len(pieces).to_bytes(8, "little"), *(len(one).to_bytes(8, "little") + one for one in pieces)])


def new_key() -> tuple[str, str]:
    """Return a new pair of keys, secret and public, as PASERK: `k4.secret.…` and `k4.public.…`."""
    private_key = Ed25519PrivateKey.generate()
    public_key = private_key.public_key().public_bytes_raw()
    # PASERK's secret key of version 4 is the seed and the public key behind it, as libsodium has it.
    return PRIVATE_HEADER + base64url(private_key.private_bytes_raw() + public_key), KEY_HEADER + base64url(public_key)


def read_secret_key(text: str) -> Ed25519PrivateKey:
    """Return the key written as PASERK, `k4.secret.…`. Raises ValueError, which says nothing of the key itself."""
    raw = _unbase64(text.removeprefix(PRIVATE_HEADER)) if text.startswith(PRIVATE_HEADER) else None
    if raw is None or len(raw) != 2 * KEY_BYTES:
        raise ValueError(f"expected a PASERK secret key, {PRIVATE_HEADER}… with 86 more characters")
    private_key = Ed25519PrivateKey.from_private_bytes(raw[:KEY_BYTES])
    if private_key.public_key().public_bytes_raw() != raw[KEY_BYTES:]:
        raise ValueError("its two halves do not belong together; copy the key again")
    return private_key


def public_key_bytes(text: str) -> bytes:
    """Return the 32 bytes of a key written as PASERK, `k4.public.…`. Raises ValueError that says what is wrong."""
    if not text.startswith(KEY_HEADER):
        raise ValueError(f"expected a PASERK key, {KEY_HEADER}… with 43 more characters")
    raw = _unbase64(text.removeprefix(KEY_HEADER))
    if raw is None or len(raw) != KEY_BYTES:
        raise ValueError(f"expected {KEY_BYTES} bytes in base64url without padding after {KEY_HEADER}")
    if not any(raw[1:]):
        # Points of small order: with such a key anybody could sign.
        raise ValueError("this is no public key that somebody holds the private one to")
    return raw


def base64url(raw: bytes) -> str:
    """Return base64url (RFC 4648 section 5) without padding, as PASETO and PASERK write bytes."""
    return urlsafe_b64encode(raw).rstrip(b"=").decode()


def _unbase64(text: str) -> bytes | None:
    """Return the bytes, or None for what is not their one right spelling."""
    try:
        raw = urlsafe_b64decode(text.encode("ascii") + b"=" * (-len(text) % 4))
    except (binascii.Error, ValueError):
        return None
    return raw if base64url(raw) == text else None


def _take_apart(token: str) -> tuple[bytes, bytes, bytes]:
    """Return message, signature and footer."""
    body, _, footer = token.removeprefix(HEADER).partition(".")
    sealed, plain = _unbase64(body), _unbase64(footer)
    if len(token) > TOKEN_CHARS_MAX or sealed is None or plain is None or len(sealed) <= SIGNATURE_BYTES:
        raise NotAuthentic("this is no token of the form v4.public.message.footer")
    return sealed[:-SIGNATURE_BYTES], sealed[-SIGNATURE_BYTES:], plain


def _claims(message: bytes) -> Claims:
    try:
        claims = msgspec.json.decode(message, type=Claims)
    except (ValueError, RecursionError):
        raise NotAuthentic("the signed claims are not those of a ticket") from None
    if not claims.zones and not claims.items:
        raise NotAuthentic("the ticket opens no zone and has nothing to redeem")
    return claims


def _ticket(claims: Claims, issuer: str) -> Ticket:
    if claims.iss is not None and claims.iss != issuer:
        raise NotAuthentic("the key belongs to another issuer than the ticket names")
    # Of the issuer's own, so that no two issuers use up each other's tickets.
    name = f"{issuer}:{claims.jti}"
    entitlement = Entitlement(
        name,
        name,
        claims.zones,
        _to_ms(claims.nbf) if claims.nbf is not None else None,
        _to_ms(claims.exp),
        claims.schedule,
        uses_total=1,
        reentry=claims.reentry,
    )
    vouchers = tuple(
        msgspec.structs.replace(
            # No issuer's name has an @ in it, so this is never another ticket's id.
            entitlement,
            id=f"{item}@{name}",
            zones=(),
            uses_total=count,
            reentry=False,
            item=item,
        )
        for item, count in claims.items.items()
    )
    return Ticket(entitlement, claims.aud, vouchers)


def _to_ms(at: datetime) -> int:
    if at.tzinfo is None:
        raise NotAuthentic("the times in the ticket have no zone")
    return (at - EPOCH) // MILLISECOND
