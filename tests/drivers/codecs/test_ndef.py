"""NDEF messages of the reference library, and any bytes at all."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from drivers.codecs.ndef import MESSAGE_BYTES_MAX, RECORDS_MAX, URI_PREFIXES, NdefText, message_length, texts


def test_a_text_and_an_address_byte_by_byte():
    assert texts(b"\xd1\x01\x09T\x02enTicket") == [NdefText("text", "Ticket")]
    assert texts(b"\xd1\x01\x08U\x04v.ex/ab") == [NdefText("uri", "https://v.ex/ab")]
    both = b"\x91\x01\x09T\x02enTicket" + b"\x51\x01\x08U\x04v.ex/ab"
    assert [one.value for one in texts(both)] == ["Ticket", "https://v.ex/ab"]


def test_what_a_library_of_others_writes_is_read():
    ndef = pytest.importorskip("ndef", reason="ndeflib is not installed: it comes with the extra `nfc`")
    records = [
        ndef.TextRecord("Grüße", "de"), ndef.UriRecord("tel:+49123"), ndef.TextRecord("hi", "en", "UTF-16"),
        ndef.Record("application/octet-stream", "", bytes(300)), ndef.UriRecord("https://www.v.example/" + "x" * 300),
    ]  # fmt: skip
    found = texts(b"".join(ndef.message_encoder(records)))
    assert [one.value for one in found] == ["Grüße", "tel:+49123", "hi", "https://www.v.example/" + "x" * 300]


def test_every_short_form_of_an_address():
    ndef = pytest.importorskip("ndef", reason="ndeflib is not installed: it comes with the extra `nfc`")
    for prefix in URI_PREFIXES[1:]:
        assert texts(b"".join(ndef.message_encoder([ndef.UriRecord(prefix + "x")])))[0].value == prefix + "x"


def test_where_the_message_of_a_type_2_tag_lies():
    assert message_length(b"\x03\x05abcde\xfe") == (2, 5)
    assert message_length(b"\x00\x00\x01\x03\xa0\x0c\x34\x03\x02ab\xfe") == (9, 2)
    assert message_length(b"\x03\xff\x01\x00") == (4, 256)
    for none in (b"", b"\xfe\x03\x01a", b"\x03", b"\x03\xff\x01", b"\x00" * 50):
        assert message_length(none) is None


def test_a_record_that_is_cut_off_ends_the_message():
    whole = b"\x91\x01\x09T\x02enTicket"
    for size in range(len(whole)):
        assert texts(whole[:size]) == []


def test_nothing_of_a_text_is_told():
    assert "Ticket" not in repr(NdefText("text", "Ticket"))


@given(st.binary(max_size=2000))
def test_any_bytes_are_read_without_an_exception(data):
    assert len(texts(data)) <= RECORDS_MAX
    message_length(data)


def test_ten_megabytes_are_read_in_their_bound():
    found = texts(b"\x51\x01\x02T\x00a" * 2_000_000)
    assert len(found) == RECORDS_MAX
    assert texts(b"\xc1\x01" + (10_000_000).to_bytes(4, "big") + b"T\x00" + bytes(10_000_000)) == []
    assert MESSAGE_BYTES_MAX < 10_000
