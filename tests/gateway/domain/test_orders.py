"""An order is carried out once, here, in its time, and only if upstream gave it and the venue allows it."""

from __future__ import annotations

import json
from typing import Any

import msgspec
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from hypothesis import given
from hypothesis import strategies as st

from gateway.domain.clock import Doubt
from gateway.domain.orders import LIFE_MAX_MS, PREFIX, Order, RefusedOrder, SignedOrder, Situation, opened

KEY, OTHER = Ed25519PrivateKey.generate(), Ed25519PrivateKey.generate()
KEYS = {"k1": KEY.public_key().public_bytes_raw(), "k2": OTHER.public_key().public_bytes_raw()}
NOW_MS = 1_780_000_000_000
HERE = Situation(venue="hall", now_ms=NOW_MS, keys=KEYS, allowed=("restart",), versions={"restart": 6})
GIVEN: dict[str, Any] = {
    "id": "o-1", "venue": "hall", "kind": "restart", "version": 7, "issued_at_ms": NOW_MS - 1000,
    "expires_at_ms": NOW_MS + 60_000, "by": "ann", "reason": "it hangs",
}  # fmt: skip


def signed(key: str = "k1", secret: Ed25519PrivateKey = KEY, prefix: bytes = PREFIX, **changes: Any) -> SignedOrder:
    text = json.dumps({name: value for name, value in {**GIVEN, **changes}.items() if value is not None})
    return SignedOrder(text, key, secret.sign(prefix + text.encode()))


def refusal(order: SignedOrder, situation: Situation = HERE) -> str:
    with pytest.raises(RefusedOrder) as refused:
        opened(order, situation)
    assert str(refused.value)
    return refused.value.refusal


def test_a_right_order_is_opened() -> None:
    order = opened(signed(), HERE)
    assert (order.id, order.kind, order.version, order.by, bytes(order.data)) == ("o-1", "restart", 7, "ann", b"{}")
    assert isinstance(opened(signed("k2", OTHER), HERE), Order)


WRONG: dict[str, tuple[dict[str, Any], str]] = {
    "a key nobody knows": ({"key": "k9"}, "unknown_key"),
    "signed by another": ({"secret": OTHER}, "bad_signature"),
    "a signature of something else": ({"prefix": b"venue-gateway/1\n"}, "bad_signature"),
    "another venue": ({"venue": "arena"}, "wrong_venue"),
    "the same version again": ({"version": 6}, "replayed"),
    "an older version": ({"version": 1}, "replayed"),
    "too late": ({"expires_at_ms": NOW_MS}, "expired"),
    "from the future": ({"issued_at_ms": NOW_MS + 10**6, "expires_at_ms": NOW_MS + 2 * 10**6}, "not_yet_valid"),
    "too long": ({"expires_at_ms": NOW_MS + LIFE_MAX_MS + 10**6}, "malformed"),
    "over before it began": ({"issued_at_ms": NOW_MS + 60_000}, "malformed"),
    "not allowed here": ({"kind": "lock_down"}, "not_allowed"),
    "no such kind": ({"kind": "explode"}, "malformed"),
    "no version": ({"version": None}, "malformed"),
    "an id that is a path": ({"id": "../../x"}, "malformed"),
    "nobody ordered it": ({"by": ""}, "malformed"),
}


@pytest.mark.parametrize("wrong", WRONG)
def test_what_is_wrong_has_one_word(wrong: str) -> None:
    changes, word = WRONG[wrong]
    assert refusal(signed(**changes)) == word


def test_an_order_from_before_the_enrolment_may_have_been_carried_out_by_another_journal() -> None:
    enrolled = msgspec.structs.replace(HERE, versions={}, since_ms=GIVEN["issued_at_ms"] + 1)
    assert refusal(signed(), enrolled) == "replayed"
    assert opened(signed(issued_at_ms=GIVEN["issued_at_ms"] + 1), enrolled).id == "o-1"


def test_i10_an_order_whose_end_nobody_can_judge_is_refused() -> None:
    doubtful = Situation(
        venue="hall", now_ms=NOW_MS, keys=KEYS, allowed=("restart",), versions={}, doubt=Doubt("flag", NOW_MS - 10**9)
    )
    assert refusal(signed(), doubtful) == "clock_untrusted"
    over = Situation(
        venue="hall", now_ms=1, keys=KEYS, allowed=("restart",), versions={}, doubt=Doubt("flag", NOW_MS + 10**6)
    )
    assert refusal(signed(expires_at_ms=1, issued_at_ms=0), over) == "expired"


def test_new_keys_need_no_leave_of_the_configuration_but_a_signature() -> None:
    assert opened(signed(kind="keys"), HERE).kind == "keys"
    assert refusal(signed(kind="keys", secret=OTHER)) == "bad_signature"


@given(st.data())
def test_no_single_changed_byte_passes(data: st.DataObject) -> None:
    right = signed()
    text = bytearray(right.order.encode())
    place = data.draw(st.integers(0, len(text) - 1))
    text[place] = data.draw(st.integers(32, 126).filter(lambda byte: byte != text[place]))
    assert refusal(SignedOrder(text.decode(), "k1", right.signature)) == "bad_signature"


@given(st.text(max_size=200))
def test_whatever_upstream_signs_is_opened_or_refused_in_words(text: str) -> None:
    try:
        encoded = text.encode()
    except UnicodeEncodeError:
        return
    assert refusal(SignedOrder(text, "k1", KEY.sign(PREFIX + encoded))) == "malformed"
