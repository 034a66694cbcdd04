"""Codecs of TWN4 and Wiegand."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from drivers.codecs import twn4
from drivers.codecs.decoder import Decoder, Refused
from drivers.codecs.twn4 import Answer, Tag, Twn4Decoder
from drivers.codecs.wiegand import Card, Framing, WiegandDecoder, frame_of, read_data, read_frame
from simulators.wiegand import written

W26 = "1" + "11010100" + "00011011" + "10000001" + "0"


def whole(decoder: Decoder, data: bytes) -> list:
    decoder.receive_data(data)
    return list(decoder)


def byte_by_byte(decoder: Decoder, data: bytes) -> list:
    return [event for byte in data for event in whole(decoder, bytes([byte]))]


def frames(events: list) -> list:
    return [event for event in events if not isinstance(event, Refused)]


feeds = pytest.mark.parametrize("feed", [whole, byte_by_byte])


def test_twn4_commands_are_those_that_were_recorded():
    assert twn4.beep(100, 2400, 500, 500) == b"0407646009F401F401\r"
    assert twn4.LED_INIT == b"041007\r"
    assert twn4.led_on(twn4.RED) == b"041101\r"
    assert twn4.led_off(twn4.RED) == b"041201\r"


@feeds
def test_twn4_reads_a_tag_between_noise(feed):
    tag, none = frames(feed(Twn4Decoder(), b"hello\r0001803807" + b"04DE5F1EACC040\r0000\r\n"))
    assert twn4.read_tag(tag) == Tag("nfc", "04DE5F1EACC040")
    assert twn4.read_tag(none) is None
    em, other = frames(feed(Twn4Decoder(), b"0001402805100086F444\r" + b"0001EE0801AA\r"))
    assert twn4.read_tag(em) == Tag("em4100", "100086F444")
    assert twn4.read_tag(other) == Tag("twn4-ee", "AA")


@pytest.mark.parametrize(
    "line", ["01", "00", "000180380704", "00018000000000", "000180380604DE5F1EACC040", "0101800801AA"]
)
def test_twn4_what_is_no_tag_is_none(line):
    assert twn4.read_tag(Answer(bytes.fromhex(line)[0], bytes.fromhex(line)[1:])) is None


def test_twn4_version():
    assert twn4.read_version(Answer(0, b"\x04TWN4")) == "TWN4"
    assert twn4.read_version(Answer(0, b"\x05TWN4")) is None
    assert twn4.read_version(Answer(1, b"")) is None


def test_wiegand_golden_w26():
    card = read_frame(W26)
    assert card == Card("110101000001101110000001", 0xD4, 0x1B81)
    assert [card.value(form) for form in ("hex", "facility-number", "number")] == ["D41B81", "212-7041", "7041"]
    assert frame_of(0xD41B81, 26) == W26


@given(st.sampled_from([26, 34, 37]), st.integers(min_value=0), st.integers(min_value=0))
def test_wiegand_every_frame_reads_back_and_one_wrong_bit_is_found(bits, number, at):
    number %= 1 << (bits - 2)
    frame = frame_of(number, bits)
    assert int(read_frame(frame).value(), 16) == number
    at %= bits
    flipped = frame[:at] + ("0" if frame[at] == "1" else "1") + frame[at + 1 :]
    assert read_frame(flipped) is None


def test_wiegand_37_bits_have_16_of_facility_and_19_of_number():
    card = read_frame(frame_of(1234 << 19 | 5678, 37))
    assert (card.facility, card.number, card.value()) == (1234, 5678, f"{1234 << 19 | 5678:09X}")
    shared = frame_of(1 << 17, 37)
    assert read_frame(shared[:18] + str(1 - int(shared[18])) + shared[19:]) is None


def test_wiegand_other_lengths_are_no_frames_but_may_be_data():
    assert read_frame("1" * 32) is None
    assert read_data(f"{0x04050607:032b}").value() == "04050607"
    assert read_data(f"{5:032b}").value("facility-number") == "5"


@feeds
@pytest.mark.parametrize("bits", [26, 34, 37])
@pytest.mark.parametrize("form", ["hex", "decimal", "bits", "binary"])
def test_wiegand_in_every_framing(feed, form, bits):
    line = written("41B81", form, bits)
    (card, again) = frames(feed(WiegandDecoder(Framing(form=form, bits=bits)), line + line))
    assert card == again
    assert int(card.value(), 16) == 0x41B81


@feeds
@pytest.mark.parametrize(
    ("framing", "line"),
    [
        (Framing(form="hex", parity=False, bits=24), b"D41B81\n"),
        (Framing(form="hex", start=b"\x02", end=b"\x03"), b"\x02" + f"{int(W26, 2):X}".encode() + b"\x03\r"),
        (Framing(form="hex", left_aligned=True), f"{int(W26, 2) << 6:08X}\r".encode()),
        (Framing(form="decimal", parity=False, bits=24), b"13900673\r\n"),
        (Framing(form="binary", start=b"\x02", end=b"\x03", left_aligned=True), b"\x00\x02\xea\x0d\xc0\x80\x03"),
        (Framing(form="binary", parity=False, bits=24), b"\xd4\x1b\x81"),
    ],
)
def test_wiegand_framings_of_bridges(feed, framing, line):
    (card,) = frames(feed(WiegandDecoder(framing), line))
    assert card.value("facility-number") == "212-7041"


@feeds
@pytest.mark.parametrize("line", [b"xyz\r", b"FFFFFFFFF\r", b"3A83703\r", b"-1\r", b"1 2\r"])
def test_wiegand_wrong_lines_are_refused_and_the_next_is_read(feed, line):
    events = feed(WiegandDecoder(Framing()), line + written("D41B81", "hex", 26))
    assert [card.value() for card in frames(events)] == ["D41B81"]
    assert any(isinstance(event, Refused) for event in events)


def test_wiegand_binary_finds_its_way_back_after_a_lost_byte():
    frame = b"\x02\xea\x0d\xc0\x80\x03"
    framing = Framing(form="binary", start=b"\x02", end=b"\x03", left_aligned=True)
    events = whole(WiegandDecoder(framing), frame[:3] + frame[4:] + frame)
    assert [card.value() for card in frames(events)] == ["D41B81"]


def decoders() -> list[Decoder]:
    return [Twn4Decoder(), *(WiegandDecoder(Framing(form=form)) for form in ("hex", "decimal", "bits", "binary"))]


NEAR = [b"\r", b"\n", b"00", b"01", b"3A83702", b"\xff", b"1" * 26, b"0001803807", written("D41B81", "hex", 26)]


@given(st.lists(st.one_of(st.binary(max_size=40), st.sampled_from(NEAR)), max_size=40))
def test_no_input_makes_a_decoder_raise_or_grow(pieces):
    for decoder in decoders():
        for piece in pieces:
            for event in whole(decoder, piece):
                if isinstance(event, Answer):
                    twn4.read_tag(event)
                    twn4.read_version(event)
            assert len(decoder._buffer) <= 1024


@pytest.mark.parametrize("decoder", decoders(), ids=lambda one: type(one).__name__)
def test_i09_ten_megabytes_with_no_terminator_are_bounded(decoder):
    for _ in range(160):
        assert frames(whole(decoder, b"\x80" * 65536)) == []
        assert len(decoder._buffer) <= decoder.LIMIT_BYTES
    decoder.receive_data(b"1" * 10_000_000)
    assert len(decoder._buffer) <= decoder.LIMIT_BYTES


@pytest.mark.parametrize("secret", [Answer(0, b"secret"), Tag("nfc", "AABBCC"), read_frame(W26)])
def test_i12_numbers_do_not_show(secret):
    assert not any(text in f"{secret} {secret!r}" for text in ("secret", "AABBCC", "1101", "7041"))
