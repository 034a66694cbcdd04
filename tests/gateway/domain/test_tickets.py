"""PASETO v4.public tickets: the public test vectors, and everything that is not one."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from hypothesis import given
from hypothesis import strategies as st

from gateway.domain import tickets
from gateway.domain.access import Entitlement
from gateway.domain.clock import Doubt
from gateway.domain.reasons import Reason
from gateway.domain.tickets import KEY_HEADER, Keyring, NotAuthentic, base64url, pae, public_key_bytes, venue_fault
from tests.gateway.domain.signing import Issuer

NOW_MS = 1_783_000_000_000
ISSUER = Issuer()

# https://github.com/paseto-standard/test-vectors, v4.json.
SECRET_SEED = bytes.fromhex("b4cbfb43df4ce210727d953e4a713307fa19bb7d9f85041438d9e11b942a3774")
PUBLIC_KEY = bytes.fromhex("1eb9dbbbbc047c03fd70604e0071f0987e16b28b757225c11f00415d0e20b1a2")
MESSAGE = b'{"data":"this is a signed message","exp":"2022-01-01T00:00:00+00:00"}'
FOOTER = b'{"kid":"zVhMiPBP9fRf2snEcT7gFTioeA9COcNy9DfgL1W60haN"}'
BODY = "eyJkYXRhIjoidGhpcyBpcyBhIHNpZ25lZCBtZXNzYWdlIiwiZXhwIjoiMjAyMi0wMS0wMVQwMDowMDowMCswMDowMCJ9"
VECTORS = {
    "4-S-1": (
        f"v4.public.{BODY}bg_XBBzds8lTZShVlwwKSgeKpLT3yukTw6JUz3W4h_ExsQV-P0V54zemZDcAxFaSeef1QlXEFtkqxT1ciiQEDA",
        b"",
        b"",
    ),
    "4-S-2": (
        (
            f"v4.public.{BODY}v3Jt8mx_TdM2ceTGoqwrh4yDFn0XsHvvV_D0DtwQxVrJEBMl0F2caAdgnpKlt4p7xBnx1HcO-SPo8FPp214HDw"
            ".eyJraWQiOiJ6VmhNaVBCUDlmUmYyc25FY1Q3Z0ZUaW9lQTlDT2NOeTlEZmdMMVc2MGhhTiJ9"
        ),
        FOOTER,
        b"",
    ),
    "4-S-3": (
        (
            f"v4.public.{BODY}NPWciuD3d0o5eXJXG5pJy-DiVEoyPYWs1YSTwWHNJq6DZD3je5gf-0M4JR9ipdUSJbIovzmBECeaWmaqcaP0DQ"
            ".eyJraWQiOiJ6VmhNaVBCUDlmUmYyc25FY1Q3Z0ZUaW9lQTlDT2NOeTlEZmdMMVc2MGhhTiJ9"
        ),
        FOOTER,
        b'{"test-vector":"4-S-3"}',
    ),
}


@pytest.mark.parametrize("name", VECTORS)
def test_the_public_test_vectors_hold(name: str) -> None:
    token, footer, implicit = VECTORS[name]
    message, signature, found_footer = tickets._take_apart(token)
    assert (message, found_footer) == (MESSAGE, footer)
    sealed = pae(b"v4.public.", message, footer, implicit)
    Ed25519PublicKey.from_public_bytes(PUBLIC_KEY).verify(signature, sealed)
    assert Ed25519PrivateKey.from_private_bytes(SECRET_SEED).sign(sealed) == signature, "Ed25519 signs the same twice"
    with pytest.raises(InvalidSignature):
        Ed25519PublicKey.from_public_bytes(PUBLIC_KEY).verify(signature, pae(b"v4.public.", message, footer, b"!"))


def test_pae_is_that_of_the_specification() -> None:
    assert pae() == bytes(8)
    assert pae(b"") == b"\x01" + bytes(15)
    assert pae(b"test") == b"\x01" + bytes(7) + b"\x04" + bytes(7) + b"test"


def keyring(*keys: tickets.IssuerKey) -> Keyring:
    return Keyring(keys or (ISSUER.key(),))


def test_a_good_ticket_is_one_use_under_its_issuers_own_id() -> None:
    token = ISSUER.ticket(nbf="2026-07-03T18:00:00+02:00", schedule="evening", aud="club", note="claims may be added")
    ticket = keyring().open(token, NOW_MS)
    name = "tickets-online:t-1"
    assert ticket.entitlement == Entitlement(
        name, name, ("hall",), 1_783_094_400_000, 1_798_757_999_000, "evening", uses_total=1
    )
    assert venue_fault(ticket, "club") is None
    assert venue_fault(ticket, "stadthalle") is Reason.WRONG_VENUE
    assert venue_fault(keyring().open(ISSUER.ticket(), NOW_MS), "anywhere") is None


def refusal(token: str, *keys: tickets.IssuerKey, now_ms: int = NOW_MS) -> str:
    with pytest.raises(NotAuthentic) as caught:
        keyring(*keys).open(token, now_ms)
    return str(caught.value)


def test_every_flipped_bit_is_found() -> None:
    token = ISSUER.ticket()
    for place in range(len(tickets.HEADER), len(token)):
        for bit in range(7):
            changed = token[:place] + chr(ord(token[place]) ^ 1 << bit) + token[place + 1 :]
            assert refusal(changed)


@given(st.text(max_size=200))
def test_no_text_is_a_ticket(text: str) -> None:
    assert refusal("v4.public." + text)


def test_an_unknown_a_revoked_and_an_outdated_key_vouch_for_nothing() -> None:
    token = ISSUER.ticket()
    assert "no issuer key" in refusal(token, Issuer(kid="other").key())
    assert "signature" in refusal(token, Issuer(seed=2).key())
    assert "revoked" in refusal(token, ISSUER.key(state="revoked"))
    assert "out of its time" in refusal(token, ISSUER.key(valid_from_ms=NOW_MS + 1))
    assert "out of its time" in refusal(token, ISSUER.key(valid_until_ms=NOW_MS))
    assert keyring(ISSUER.key(valid_from_ms=NOW_MS, valid_until_ms=NOW_MS + 1)).open(token, NOW_MS)


@pytest.mark.parametrize("policy", ["deny", "flag"])
def test_i10_a_key_counts_in_doubt_unless_it_was_over_by_the_last_known_time(policy: Any) -> None:
    token, doubt = ISSUER.ticket(), Doubt(policy, known_ms=NOW_MS - 1)
    ended, early = keyring(ISSUER.key(valid_until_ms=NOW_MS)), keyring(ISSUER.key(valid_from_ms=NOW_MS + 1))
    assert ended.open(token, NOW_MS, doubt).key_until_ms == NOW_MS
    assert early.open(token, NOW_MS, doubt).key_until_ms == tickets.ENDLESS_MS
    assert keyring().open(token, NOW_MS, doubt).key_until_ms is None
    with pytest.raises(NotAuthentic, match="out of its time"):
        ended.open(token, NOW_MS, Doubt(policy, known_ms=NOW_MS))
    with pytest.raises(NotAuthentic, match="revoked"):
        keyring(ISSUER.key(state="revoked")).open(token, NOW_MS, doubt)
    for ring in (ended, early):
        with pytest.raises(NotAuthentic, match="out of its time"):
            ring.open(token, NOW_MS, Doubt("last_known"))


def test_keys_are_rotated_by_having_both_for_a_while() -> None:
    old, new = ISSUER, Issuer(kid="2026-b", seed=7)
    both = keyring(old.key(), new.key())
    assert both.open(old.ticket(), NOW_MS) == both.open(new.ticket(), NOW_MS), (
        "the same ticket, whichever key signed it"
    )


def test_the_footer_decides_nothing_that_is_not_signed() -> None:
    message = msgspec.json.encode({"jti": "t", "exp": "2026-12-31T00:00:00Z", "zones": ["hall"]})
    assert "names no key" in refusal(ISSUER.sign(message, b""))
    assert "names no key" in refusal(ISSUER.sign(message, b"[]"))
    assert "names no key" in refusal(ISSUER.sign(message, b"\xff"))
    swapped = ISSUER.ticket().rsplit(".", 1)[0] + "." + base64url(b'{"kid":"2026-b"}')
    assert "signature" in refusal(swapped, ISSUER.key(), msgspec.structs.replace(ISSUER.key(), id="2026-b"))


@pytest.mark.parametrize(
    "claims",
    [
        {"jti": None},
        {"jti": ""},
        {"jti": 7},
        {"exp": None},
        {"exp": "tomorrow"},
        {"exp": "2026-12-31T23:59:59"},
        {"nbf": "2026-07-03T18:00:00"},
        {"zones": []},
        {"zones": "hall"},
        {"iss": "someone-else"},
    ],
)
def test_signed_claims_that_are_no_ticket_are_refused(claims: dict[str, object]) -> None:
    assert refusal(ISSUER.ticket(**claims))


def test_i12_no_refusal_repeats_the_ticket() -> None:
    token = ISSUER.ticket(jti="SECRET")
    assert "SECRET" not in refusal(token, Issuer(seed=2).key())
    assert token[10:40] not in refusal(token, Issuer(seed=2).key())


@pytest.mark.parametrize(
    "text",
    [
        "",
        "1eb9dbbb",
        KEY_HEADER,
        "k4.secret." + "A" * 43,
        KEY_HEADER + base64url(bytes(range(31))),
        KEY_HEADER + base64url(bytes(range(33))),
        KEY_HEADER + base64url(bytes(range(32))) + "=",
        KEY_HEADER + "é" * 43,
        KEY_HEADER + base64url(bytes(32)),
        KEY_HEADER + base64url(b"\x01" + bytes(31)),
    ],
)
def test_what_is_no_public_key_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"expected|no public key"):
        public_key_bytes(text)
