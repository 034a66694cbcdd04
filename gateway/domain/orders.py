"""May this order from above be carried out here and now? Pure: bytes and what is known in, an order or a refusal out.

An order is signed as a whole, byte for byte, for one venue. Its kind has a counter of its own that only ever grows, so
that no order is carried out twice or after a newer one, however it comes. See docs/decisions/0007-a-fleet.md.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Annotated, Literal, TypeAlias, get_args

import msgspec
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from msgspec import Meta

from gateway.domain.clock import Doubt
from gateway.domain.fleet_events import Refusal

Kind: TypeAlias = Literal[
    "configuration", "log_level", "diagnostics", "restart", "lock_down", "emergency_release", "restore", "keys"
]
OPTIONAL: frozenset[str] = frozenset(get_args(Kind)) - {"keys"}
"""What a venue may be ordered to do if its own configuration says so. Keys follow from each other without."""
PREFIX = b"venue-gateway-order/1\n"
"""Signed before the order, so that a signature of anything else is never one of an order."""
EARLY_MAX_MS = 120_000
"""Clocks of two machines may be that far apart."""
LIFE_MAX_MS = 7 * 24 * 3600 * 1000
TEXT_BYTES_MAX = 1 << 20

Id = Annotated[str, Meta(min_length=1, max_length=100, pattern="^[A-Za-z0-9._-]+$")]


class KeyGiven(msgspec.Struct, frozen=True):
    """A public key of upstream: 32 bytes of Ed25519, in base64."""

    id: Annotated[str, Meta(min_length=1, max_length=64, pattern="^[A-Za-z0-9._-]+$")]
    key: Annotated[bytes, Meta(min_length=32, max_length=32)]


class SignedOrder(msgspec.Struct, frozen=True):
    """An order as it comes: its JSON as text, signed as `venue-gateway-order/1`, a newline, and that text."""

    order: Annotated[str, Meta(max_length=TEXT_BYTES_MAX)]
    key: Annotated[str, Meta(max_length=64, description="Which of upstream's keys signed it.")]
    signature: Annotated[bytes, Meta(max_length=64, description="64 bytes of Ed25519, in base64.")]


class Order(msgspec.Struct, frozen=True):
    """What is ordered. `data` depends on the kind."""

    id: Id
    venue: Annotated[str, Meta(max_length=64)]
    kind: Kind
    version: Annotated[int, Meta(ge=1, le=2**53, description="Grows with each order of this kind for this venue.")]
    issued_at_ms: Annotated[int, Meta(ge=0, le=2**53, description="UTC milliseconds.")]
    expires_at_ms: Annotated[int, Meta(ge=0, le=2**53, description="UTC milliseconds; at most a week after it.")]
    by: Annotated[str, Meta(min_length=1, max_length=100, description="Who ordered it; it stands in the journal.")]
    reason: Annotated[str, Meta(min_length=1, max_length=300, description="Why; it stands in the journal too.")]
    data: msgspec.Raw = msgspec.field(default_factory=lambda: msgspec.Raw(b"{}"))


class RefusedOrder(Exception):
    """It is not carried out. `order` is there where it was signed by upstream and can be read."""

    def __init__(self, refusal: Refusal, why: str, order: Order | None = None) -> None:
        """Name the one word for it, and say it in a sentence."""
        super().__init__(why)
        self.refusal: Refusal = refusal
        self.order = order


class Situation(msgspec.Struct, frozen=True, kw_only=True):
    """What an order is judged by.

    `versions` has the highest version of each kind that was taken before, as far as this journal knows; `since_ms` is
    when this gateway was enrolled, and no journal here knows what was ordered before that.
    """

    venue: str
    now_ms: int
    keys: Mapping[str, bytes]
    allowed: Collection[str]
    versions: Mapping[str, int]
    since_ms: int = 0
    doubt: Doubt | None = None


def opened(signed: SignedOrder, situation: Situation) -> Order:
    """Return the order. Raises RefusedOrder for the first thing that is wrong with it."""
    text = signed.order.encode()
    if signed.key not in situation.keys:
        known = ", ".join(sorted(situation.keys)) or "none"
        raise RefusedOrder("unknown_key", f"the order is signed with a key that is not upstream's; known: {known}")
    if not verified(situation.keys[signed.key], signed.signature, PREFIX + text):
        raise RefusedOrder("bad_signature", "the signature does not fit: the order was changed on its way")
    try:
        order = msgspec.json.decode(text, type=Order)
    except (ValueError, RecursionError) as error:
        raise RefusedOrder("malformed", f"this is no order: {error}") from error
    if order.venue != situation.venue:
        raise RefusedOrder("wrong_venue", f"the order is for {order.venue}, this is {situation.venue}", order)
    newest = situation.versions.get(order.kind, 0)
    if order.version <= newest:
        message = f"version {order.version} of {order.kind} is not newer than {newest}, which was taken before"
        raise RefusedOrder("replayed", message, order)
    if order.issued_at_ms < situation.since_ms:
        message = "the order is from before this gateway was enrolled, and may have been carried out; give it again"
        raise RefusedOrder("replayed", message, order)
    _check_time(order, situation)
    if order.kind in OPTIONAL and order.kind not in situation.allowed:
        message = f"this venue takes no {order.kind} from above; `upstream.fleet.orders` says what it takes"
        raise RefusedOrder("not_allowed", message, order)
    return order


def _check_time(order: Order, situation: Situation) -> None:
    if order.expires_at_ms - order.issued_at_ms > LIFE_MAX_MS or order.expires_at_ms <= order.issued_at_ms:
        raise RefusedOrder("malformed", "an order holds for a week at most, and not for less than nothing", order)
    doubt = situation.doubt
    now_ms = situation.now_ms if doubt is None else doubt.surely_ms(situation.now_ms)
    if now_ms >= order.expires_at_ms:
        raise RefusedOrder("expired", "the order came too late; give it again", order)
    if doubt is not None:
        message = "nobody vouches for the time here, so the order may be over; vouch for it and give the order again"
        raise RefusedOrder("clock_untrusted", message, order)
    if order.issued_at_ms > now_ms + EARLY_MAX_MS:
        raise RefusedOrder("not_yet_valid", "the order is from the future; look whose clock is wrong", order)


def verified(key: bytes, signature: bytes, content: bytes) -> bool:
    """Return whether an Ed25519 signature is that of `key`, 32 bytes, over `content`."""
    try:
        Ed25519PublicKey.from_public_bytes(key).verify(signature, content)
    except (InvalidSignature, ValueError):
        return False
    return True
