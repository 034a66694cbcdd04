from __future__ import annotations

import json

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.config.schema import VERBS
from gateway.flows.entry import Presented
from gateway.mqtt.envelope import Malformed, Opened, find_id, open_envelope
from gateway.mqtt.messages import VERB_DATA, VERB_EXAMPLES

json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=20,
)


def test_every_verb_of_the_configuration_has_data_and_a_right_example() -> None:
    assert set(VERB_DATA) == {verb for verbs in VERBS.values() for verb in verbs}
    for verb, example in VERB_EXAMPLES.items():
        payload = b'{"id": "r1", "data": %s}' % example.encode()
        asked = msgspec.json.decode(example, type=VERB_DATA[verb])
        assert open_envelope(payload, verb) == Opened("r1", None, example.encode(), asked)


def test_data_may_be_left_out_and_an_unknown_verb_takes_any() -> None:
    assert open_envelope(b'{"id": "r1"}', "status").data == b"{}"
    assert open_envelope(b'{"id": "r1", "data": [1]}', "dance").data == b"[1]"


@pytest.mark.parametrize("what", [b'{"job": "1"}', b'{"request": "r1"}'])
def test_a_job_and_a_payment_are_cancelled_by_the_same_verb(what: bytes) -> None:
    assert open_envelope(b'{"id": "r2", "data": %s}' % what, "cancel").data == what


@pytest.mark.parametrize(
    ("expires_at", "ms"),
    [
        ('"2026-06-01T00:00:00Z"', 1_780_272_000_000),
        ('"2026-06-01T02:00:00.250+02:00"', 1_780_272_000_250),
        ("1780272000000", 1_780_272_000_000),
        ("null", None),
    ],
)
def test_times(expires_at: str, ms: int | None) -> None:
    assert open_envelope(f'{{"id": "r", "expires_at": {expires_at}}}'.encode(), "status").expires_at_ms == ms


@pytest.mark.parametrize(
    ("payload", "verb", "says"),
    [
        (b"", "status", "This is not JSON"),
        (b"open!", "status", "This is not JSON"),
        (b'{"id": "r1"', "status", "This is not JSON"),
        (b"[]", "status", "Expected `object`, got `array`."),
        (b"{}", "status", "Object missing required field `id`."),
        (b'{"id": 7}', "status", "`id`: expected a string of 1 to 64 characters, got a number; put it in quotes."),
        (b'{"id": 7, "data": ' + b"[" * 100_000, "status", "`id`: expected `str`, got `int`."),
        (b'{"id": ' + b"7" * 65 + b"}", "status", "`id`: expected `str`, got `float`."),
        (b'{"id": true}', "status", "`id`: expected `str`, got `bool`."),
        (b'{"id": ""}', "status", "`id`: expected `str` matching regex"),
        (b'{"id": "' + b"x" * 65 + b'"}', "status", "`id`: expected `str` matching regex"),
        (b'{"id": "r\\n1"}', "status", "`id`: expected `str` matching regex"),
        (b'{"id": "r", "expire_at": 1}', "status", "Object contains unknown field `expire_at`."),
        (b'{"id": "r", "expires_at": 1780272000}', "status", "`expires_at`: a number counts milliseconds"),
        (b'{"id": "r", "expires_at": 1.5}', "status", "`expires_at`: expected `int | str | null`, got `float`."),
        (b'{"id": "r", "expires_at": "soon"}', "status", "`expires_at`: expected RFC 3339 with a zone"),
        (b'{"id": "r", "expires_at": "2026-06-01T00:00:00"}', "status", "`expires_at`: expected RFC 3339 with a zone"),
        (b'{"id": "r", "data": 5}', "open", "`data`: expected `object`, got `int`. Right is, for example:"),
        (b'{"id": "r", "data": {}}', "open", "`data`: object missing required field `reason`."),
        (b'{"id": "r", "data": {"reason": 1}}', "open", "`data.reason`: expected `str`, got `int`."),
        (b'{"id": "r", "data": {"raeson": "x"}}', "open", "`data`: object contains unknown field `raeson`."),
        (b'{"id": "r", "data": {"limit": 501, "after_seq": 1}}', "replay", "`data.limit`: expected `int` <= 500."),
        (
            b'{"id": "r", "data": {"document": {"lines": [{"type": "text", "text": 3}]}}}',
            "print",
            "`data.document.lines[0].text`: expected `str`, got `int`.",
        ),
        (b'{"id": "r", "data": {"data": "%%%"}}', "print_raw", "`data.data`: invalid base64 encoded string."),
        (b'{"id": "r", "data": {"reason": "\xff"}}', "open", "The text is not UTF-8."),
        (b'{"id": "r", "data": ' + b"[" * 100_000 + b"]" * 100_000 + b"}", "status", "nested too deep"),
    ],
)
def test_a_malformed_request_names_the_field_and_what_is_right(payload: bytes, verb: str, says: str) -> None:
    with pytest.raises(Malformed) as refused:
        open_envelope(payload, verb)
    assert says in str(refused.value)
    assert len(str(refused.value)) < 1000


CARD = "10AB86F4C4"


@pytest.mark.parametrize(
    "payload",
    [
        '{"id": "r", "data": {"credential": {"technology": "CARD", "value": "em4100"}}}',
        '{"id": "r", "data": {"credential": {"technology": "em4100", "value": "x", "CARD": 1}}}',
        '{"id": "r", "data": {"credential": {"CARD": "em4100"}}}',
        '{"id": "r", "data": {"CARD": "em4100"}}',
        '{"id": "r", "data": {"credential": "CARD"}}',
        '{"id": "r", "data": {"credential": {"technology": "em4100", "value": ["CARD"]}}}',
        '{"id": "r", "data": "CARD"}',
        '{"id": "r", "data": CARD}',
        '{"id": "r", "CARD": {}}',
        '{"id": "r", "credential": "CARD", "data": {}}',
        '{"id": "r", "expires_at": "CARD", "data": {}}',
        '{"id": ["CARD"], "data": {}}',
        '["CARD"]',
        "CARD",
    ],
)
def test_i12_a_credential_in_the_wrong_place_is_not_repeated(payload: str) -> None:
    with pytest.raises(Malformed) as refused:
        open_envelope(payload.replace("CARD", CARD).encode(), "authenticate")
    assert CARD not in str(refused.value)


def test_a_wrong_credential_still_names_the_field_and_what_is_right() -> None:
    with pytest.raises(Malformed) as refused:
        open_envelope(b'{"id": "r", "data": {"credential": {"technology": "rfid", "value": "1"}}}', "authenticate")
    assert str(refused.value).startswith("`data.credential.technology`: something stands there that does not belong")
    assert VERB_EXAMPLES["authenticate"] in str(refused.value)
    with pytest.raises(Malformed, match=r"`data\.credential`: object missing required field `value`"):
        open_envelope(b'{"id": "r", "data": {"credential": {"technology": "em4100"}}}', "authenticate")


@pytest.mark.parametrize(
    ("payload", "found"),
    [
        (b'{"id": "r1", "data": 5}', "r1"),
        (b'{"data": {"id": "inner"}, "id": "outer"}', "outer"),
        (b'{"id": "r1", "data": {"rea', "r1"),
        (b'{"id": "r1", "data": ' + b"[" * 100_000, "r1"),
        (b'{"id": "r1", "data": "' + b"x" * 300_000 + b'"}', "r1"),
        (b'{"data": "' + b"x" * 300_000 + b'", "id": "r1"}', "r1"),
        (b'{"id": 7}', "7"),
        (b'{"id": -1.5e3, "data": {"id": "inner"}}', "-1.5e3"),
        (b'{"id": ' + b"7" * 65 + b"}", ""),
        (b'{"id": null, "data": {"id": "inner"}}', ""),
        (b'{"id": ["CARD"]}', ""),
        (b'{"id": "r\n1"}', ""),
        (b'{"id": "' + b"x" * 65 + b'"}', ""),
        (b"\xff\xfe", ""),
        (b"", ""),
    ],
)
def test_the_id_is_found_where_it_can_be(payload: bytes, found: str) -> None:
    assert find_id(payload) == found


@given(st.sampled_from([*VERB_DATA, "dance"]), st.binary() | json_values.map(lambda value: json.dumps(value).encode()))
def test_no_payload_raises_anything_but_malformed(verb: str, payload: bytes) -> None:
    for whole in (payload, b'{"id": "r", "data": ' + payload + b"}"):
        try:
            opened = open_envelope(whole, verb)
        except Malformed:
            assert len(find_id(whole)) <= 64
        else:
            assert 1 <= len(opened.id) <= 64


def test_i12_a_card_number_is_in_no_repr_and_in_no_refusal() -> None:
    shown = msgspec.json.decode(b'{"technology": "em4100", "value": "100086F444"}', type=Presented)
    assert "100086F444" not in repr(shown)
    payload = b'{"id": "r", "data": {"credential": {"technology": "em4100", "value": ["100086F999"]}}}'
    with pytest.raises(Malformed) as refused:
        open_envelope(payload, "authenticate")
    assert "100086F999" not in str(refused.value)
