"""Signed addresses of NTAG 424 DNA: the vectors of AN12196, and any text at all."""

from __future__ import annotations

from hypothesis import example, given
from hypothesis import strategies as st

from drivers.codecs.nxp_crypto import CardCipher
from drivers.codecs.sdm import (
    URL_CHARS_MAX,
    Layout,
    PiccData,
    open_file_data,
    open_picc_data,
    parse_url,
    session_enc_key,
    session_mac_key,
    signature,
)

KEY = CardCipher(bytes(16))
PAGE_12 = PiccData(bytes.fromhex("04DE5F1EACC040"), 61)
PAGE_18 = PiccData(bytes.fromhex("04958CAA5C5E80"), 8)
URL_12 = "https://ntag.nxp.com/424?e=EF963FF7828658A599F3041510671E88&c=94EED9EE65337086"
LAYOUT_12 = Layout(picc="e", mac="c")
URL_18 = (
    "https://www.my424dna.com/?picc_data=FD91EC264309878BE6345CBE53BADF40"
    "&enc=CEE9A53E3E463EF1F459635736738962&cmac=ECC1E7F6C6C73BF6"
)
LAYOUT_18 = Layout(mac_from="enc")


def test_an12196_page_12():
    encrypted = bytes.fromhex("EF963FF7828658A599F3041510671E88")
    assert KEY.decrypt(encrypted).hex().upper() == "C704DE5F1EACC0403D0000DA5CF60941"
    assert open_picc_data(KEY, encrypted) == PAGE_12
    assert session_mac_key(KEY, PAGE_12).hex().upper() == "3FB5F6E3A807A03D5E3570ACE393776F"
    assert signature(KEY, PAGE_12, b"").hex().upper() == "94EED9EE65337086"


def test_an12196_page_18():
    encrypted = bytes.fromhex("FD91EC264309878BE6345CBE53BADF40")
    assert open_picc_data(KEY, encrypted) == PAGE_18
    assert session_mac_key(KEY, PAGE_18).hex().upper() == "3ED0920E5E6A0320D823D5987FEAFBB1"
    assert session_enc_key(KEY, PAGE_18).hex().upper() == "42132D669442AD43E072C8C0C9828A72"
    signed = b"CEE9A53E3E463EF1F459635736738962&cmac="
    assert signature(KEY, PAGE_18, signed).hex().upper() == "ECC1E7F6C6C73BF6"
    assert open_file_data(KEY, PAGE_18, bytes.fromhex("CEE9A53E3E463EF1F459635736738962")) == b"x" * 16


def test_the_addresses_of_both_pages_are_authentic():
    for url, layout, picc in ((URL_12, LAYOUT_12, PAGE_12), (URL_18, LAYOUT_18, PAGE_18)):
        sun = parse_url(url, layout)
        assert sun.card(KEY) == picc
        assert sun.is_signed_by(KEY, picc)
        assert not sun.is_signed_by(CardCipher(b"\x01" * 16), picc)
        assert not sun.is_signed_by(KEY, PiccData(picc.uid, picc.counter + 1))


def test_uid_and_counter_in_clear():
    mac = signature(KEY, PAGE_18, b"").hex()
    sun = parse_url(f"https://v.example/t?uid=04958CAA5C5E80&ctr=000008&cmac={mac}#top", Layout())
    assert sun.card(None) == PAGE_18
    assert sun.is_signed_by(KEY, PAGE_18)
    assert parse_url(f"https://v.example/t?uid=04958CAA5C5E80&cmac={mac}", Layout()).card(None) is None


def test_what_is_no_signed_address():
    for url in ("", "https://v.example/", URL_12[:-1], URL_12.replace("c=", "d="), URL_12 + "x" * URL_CHARS_MAX, "ü"):
        assert parse_url(url, LAYOUT_12) is None
    assert parse_url(URL_12, Layout(picc="e", mac="c", mac_from="missing")) is None
    assert parse_url(URL_12, Layout(picc="e", mac="")) is None


def test_picc_data_without_uid_or_counter_is_none():
    for tag in (0x87, 0x47, 0xC4, 0x00):
        assert open_picc_data(KEY, KEY.encrypt(bytes([tag]) + bytes(15))) is None
    assert open_picc_data(KEY, b"") is None


def test_nothing_of_a_card_is_told():
    assert "04958C" not in repr(PAGE_18).upper()
    assert "EF963F" not in repr(parse_url(URL_12, LAYOUT_12)).upper()


names = st.sampled_from(["", "e", "c", "picc_data", "cmac", "uid", "ctr", "enc"])


@given(st.text(max_size=300) | st.text("&?=#%eciudmartn0123456789ABCDEF_", max_size=300), names, names, names)
@example("?c=94EED9EE65337086&e=%", "e", "c", "e")
def test_any_text_is_read_without_an_exception(url, picc, mac, mac_from):
    sun = parse_url(url, Layout(picc=picc, mac=mac, mac_from=mac_from))
    if sun is not None:
        picc_data = sun.card(KEY)
        assert picc_data is None or not sun.is_signed_by(CardCipher(b"\x07" * 16), picc_data)
        sun.card(None)


@given(st.binary(max_size=64))
def test_any_bytes_are_opened_without_an_exception(data):
    open_picc_data(KEY, data)
    opened = open_file_data(KEY, PAGE_18, data)
    assert (opened is None) == (not data or len(data) % 16 != 0)
