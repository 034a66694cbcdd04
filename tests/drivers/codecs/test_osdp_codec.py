from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from drivers.codecs import osdp
from drivers.codecs import osdp_messages as m
from drivers.codecs.decoder import Refused
from drivers.codecs.osdp import Frame, OsdpDecoder, SecurityBlock
from drivers.codecs.osdp_secure import DEFAULT_KEY, Keys, SecureSession

POLL = bytes.fromhex("FF5365080006600 2F6".replace(" ", ""))
ACK = bytes.fromhex("53E50800064 0B0F0".replace(" ", ""))
# What libosdp's control panel and its reader with two rows of text said to each other.
TEXT = bytes.fromhex("FF53651E00066B0003030201104E69636874206775656C746967202020B0F2")
CAPABILITIES = bytes.fromhex("53E51A0005460401010602010801000901000A00011002007AAB")
ANNEX_E = Keys(DEFAULT_KEY, bytes(range(0xB0, 0xB8)), bytes(range(0xA0, 0xA8)))


def whole(data: bytes, decoder: OsdpDecoder | None = None) -> list:
    decoder = decoder or OsdpDecoder()
    decoder.receive_data(data)
    return list(decoder)


def byte_by_byte(data: bytes) -> list:
    decoder = OsdpDecoder()
    return [event for byte in data for event in whole(bytes([byte]), decoder)]


def frames(events: list) -> list[Frame]:
    return [event for event in events if isinstance(event, Frame)]


feeds = pytest.mark.parametrize("feed", [whole, byte_by_byte])


@feeds
def test_the_golden_poll_and_its_acknowledgement(feed):
    poll, ack = feed(POLL + ACK)
    assert (poll.address, poll.reply, poll.sequence, poll.code, poll.data) == (0x65, False, 2, m.POLL, b"")
    assert (ack.address, ack.reply, ack.sequence, ack.code) == (0x65, True, 2, m.ACK)


def test_the_golden_poll_is_encoded_as_it_is_read():
    assert osdp.encode(Frame(0x65, reply=False, sequence=2, code=m.POLL)) == POLL


def test_the_golden_crc():
    assert osdp.check_of(bytes.fromhex("537F0D00046E0080250000"), crc=True) == bytes.fromhex("6E38")


@feeds
def test_frames_between_noise_and_after_one_that_was_cut_off(feed):
    events = feed(b"\x00\x12" + POLL[:5] + POLL + b"~~" + ACK)
    assert [frame.code for frame in frames(events)] == [m.POLL, m.ACK]
    assert sum(event.byte_count for event in events if isinstance(event, Refused)) >= 4


@feeds
def test_a_wrong_check_is_refused_and_the_next_frame_is_read(feed):
    events = feed(POLL[:-1] + b"\x00" + ACK)
    assert [frame.code for frame in frames(events)] == [m.ACK]
    assert any(isinstance(event, Refused) and event.why == "wrong checksum" for event in events)


def test_a_checksum_of_one_byte():
    wire = osdp.encode(Frame(1, reply=False, sequence=0, code=m.POLL, crc=False))
    assert sum(wire[1:]) & 0xFF == 0
    (frame,) = frames(whole(wire))
    assert (frame.address, frame.crc) == (1, False)


@given(
    st.integers(0, 126), st.booleans(), st.integers(0, 3), st.integers(0, 255), st.binary(max_size=64), st.booleans()
)
def test_what_is_encoded_is_read_back(address, reply, sequence, code, data, crc):
    for block in (None, SecurityBlock(0x11, b"\x01")):
        (frame,) = frames(whole(osdp.encode(Frame(address, reply, sequence, code, data, block, crc=crc))))
        assert (frame.address, frame.reply, frame.sequence, frame.code) == (address, reply, sequence, code)
        assert (frame.data, frame.block, frame.crc) == (data, block, crc)


@given(
    st.lists(st.one_of(st.binary(max_size=30), st.sampled_from([POLL, ACK, POLL[:4], b"S", b"\xffS\x00\x09\x00\x0c"])))
)
def test_no_input_makes_the_decoder_raise_or_grow(pieces):
    decoder = OsdpDecoder()
    for piece in pieces:
        whole(piece, decoder)
        assert len(decoder._buffer) <= osdp.MAX_FRAME_BYTES


@given(st.lists(st.sampled_from([POLL, ACK, b"\x53\xe5\x08", b"\xff", b"\x00", POLL[:-1] + b"!"])))
def test_pieces_make_no_difference(pieces):
    line = b"".join(pieces)
    assert frames(whole(line)) == frames(byte_by_byte(line))


def test_i09_ten_megabytes_without_a_frame_are_bounded():
    decoder = OsdpDecoder()
    for chunk in (b"S" * 65536, b"\x53\x01\xa0\x05\x04" * 13107, bytes(65536)):
        for _ in range(54):
            decoder.receive_data(chunk)
            assert len(decoder._buffer) <= decoder.LIMIT_BYTES
    assert not frames(list(decoder))
    assert frames(whole(bytes(2000) + POLL, decoder)) != []


def test_a_frame_too_long_for_the_bus_is_not_made():
    with pytest.raises(ValueError, match="1440"):
        osdp.encode(Frame(1, reply=False, sequence=0, code=m.POLL, data=bytes(1440)))


def test_the_secure_channel_of_annex_e():
    assert ANNEX_E.enc.hex() == "bf8dc2a8329acb8c67c6d0cd9a451682"
    assert ANNEX_E.mac1.hex() == "5e86c676603bdee2d8beafe178637332"
    assert ANNEX_E.mac2.hex() == "6fda86e857777e81132035758239172e"
    assert ANNEX_E.client_cryptogram.hex() == "fde5d2f428ec16312471ea3c02bd7796"
    assert ANNEX_E.server_cryptogram.hex() == "26d3356e07762d262801fc8e6665a891"
    assert ANNEX_E.first_mac.hex() == "b2a30057eb98ba2229ec1f875662b524"


def sides() -> tuple[SecureSession, SecureSession]:
    return SecureSession(ANNEX_E, panel=True), SecureSession(ANNEX_E, panel=False)


@given(st.lists(st.tuples(st.binary(max_size=40), st.binary(max_size=40)), max_size=5), st.booleans())
def test_both_sides_of_a_channel_understand_each_other(talk, crc):
    panel, reader = sides()
    for said, answered in talk:
        (command,) = frames(whole(panel.seal(Frame(1, False, 1, m.LED, said, crc=crc))))
        assert said == b"" or said not in command.signed or len(said) < 4
        assert reader.open(command) == said
        (reply,) = frames(whole(reader.seal(Frame(1, True, 1, m.RAW, answered, crc=crc))))
        assert panel.open(reply) == answered


@given(st.integers(0, 33), st.integers(1, 255))
def test_a_changed_bit_a_replayed_frame_and_one_in_clear_are_not_believed(at, change):
    panel, reader = sides()
    (command,) = frames(whole(panel.seal(Frame(1, False, 1, m.LED, bytes(14)))))
    assert reader.open(command) == bytes(14)
    wire = reader.seal(Frame(1, True, 1, m.RAW, bytes(14)))
    assert reader.open(command) is None
    signed = bytearray(wire[1:-2])
    signed[at % len(signed)] ^= change
    forged = whole(b"\xff" + bytes(signed) + osdp.check_of(bytes(signed), crc=True))
    assert all(panel.open(frame) is None for frame in frames(forged))
    assert panel.open(Frame(1, True, 1, m.RAW, bytes(14))) is None


@given(st.integers(0, 255), st.binary(max_size=60))
def test_no_reply_makes_its_reader_raise(code, data):
    message = m.read_reply(code, data)
    assert "hidden" in repr(message) or not isinstance(message, m.RawCard | m.FormattedCard | m.Keys)


def test_what_replies_say():
    assert m.read_reply(m.RAW, bytes.fromhex("00011A00EA0DC080")) == m.RawCard("11101010000011011100000010", True)
    assert m.read_reply(m.RAW, bytes.fromhex("0000000000")) == m.Unreadable(m.RAW)
    assert m.read_reply(m.RAW, bytes.fromhex("00012000EA0D")) == m.Unreadable(m.RAW)
    assert m.read_reply(m.FMT, b"\0\0\x0412 4") == m.FormattedCard("12 4")
    assert m.read_reply(m.FMT, b"\0\x01\x034321") == m.FormattedCard("234")
    assert m.read_reply(m.KEYPAD, b"\0\x0412\x7f\r") == m.Keys("12*#")
    assert m.read_reply(m.LSTATR, b"\x01\x00") == m.LocalStatus(tampered=True, power_failing=False)
    assert m.read_reply(m.NAK, b"\x03").meaning == "it does not know the command"
    assert m.read_reply(m.NAK, b"") == m.Unreadable(m.NAK)


def test_a_display_is_found_and_written_to_as_libosdp_does_it():
    (told,) = frames(whole(CAPABILITIES))
    assert m.read_reply(told.code, told.data) == m.Capabilities(2)
    (row,) = m.rows_of("Nicht gültig", 2)
    frame = Frame(0x65, reply=False, sequence=2, code=m.TEXT, data=m.show_row(2, row, 2900))
    assert osdp.encode(frame) == TEXT


@pytest.mark.parametrize(
    ("data", "rows"), [("", 0), ("0401", 0), ("060001", 0), ("060101", 1), ("060301", 4), ("067F01", 0)]
)
def test_what_a_reader_says_of_its_display(data, rows):
    assert m.read_reply(m.PDCAP, bytes.fromhex(data)) == m.Capabilities(rows)


@pytest.mark.parametrize(("text", "rows", "shown"), [
    ("Willkommen", 1, ["Willkommen"]),
    ("12,50 € bezahlt, Rest 37,50 €", 4, ["12,50 EUR", "bezahlt, Rest", "37,50 EUR"]),
    ("12,50 € bezahlt, Rest 37,50 €", 2, ["12,50 EUR", "bezahlt, Rest"]),
    ("Größe „Žižek“ – 東京", 2, ['Groesse "Zizek"', "- ??"]),
    ("u\u0308ber", 1, ["ueber"]),
    ("Donaudampfschifffahrt", 2, ["Donaudampfschiff", "fahrt"]),
    ("one\ttwo\x00", 1, ["one?two?"]),
    ("anything", 0, []),
    ("", 2, []),
])  # fmt: skip
def test_a_text_becomes_rows_of_a_display(text, rows, shown):
    assert m.rows_of(text, rows) == shown


@given(st.text(max_size=200), st.integers(0, 4), st.integers(0, 10**7))
def test_no_text_makes_a_row_that_a_reader_cannot_take(text, rows, on_ms):
    for number, row in enumerate(m.rows_of(text, rows), start=1):
        data = m.show_row(number, row, on_ms)
        assert len(data) == 6 + data[5] == 22
        assert 1 <= data[2] <= 255
        assert all(0x20 <= byte <= 0x7E for byte in data[6:])


def test_what_commands_say():
    assert m.sound_buzzer(2, 150, 100).hex() == "0002020102"
    assert m.set_led("green", 1000).hex() == "000002010002000a000000000000"
    assert len(m.rest_led("red")) == len(m.set_led("red", 1)) == 14


@pytest.mark.parametrize("secret", [m.RawCard("1110"), m.FormattedCard("7041"), m.Keys("1234"), ANNEX_E])
def test_i12_cards_digits_and_keys_do_not_show(secret):
    shown = f"{secret} {secret!r}"
    assert not any(text in shown for text in ("1110", "7041", "1234", "bf8d"))
