from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from drivers.codecs import modbus_rtu
from drivers.codecs.decoder import Decoder, Refused
from drivers.codecs.rdm6300 import Rdm6300Decoder, TagFrame, encode_frame
from drivers.codecs.scanner_line import ScannedLine, ScannerLineDecoder

GOLDEN_TAG = b"\x02100086F44426\x03"


def whole(decoder: Decoder, data: bytes) -> list:
    decoder.receive_data(data)
    return list(decoder)


def byte_by_byte(decoder: Decoder, data: bytes) -> list:
    return [event for byte in data for event in whole(decoder, bytes([byte]))]


def frames(events: list) -> list:
    return [event for event in events if not isinstance(event, Refused)]


def refused_bytes(events: list) -> int:
    return sum(event.byte_count for event in events if isinstance(event, Refused))


feeds = pytest.mark.parametrize("feed", [whole, byte_by_byte])


@feeds
def test_rdm6300_reads_the_golden_frame(feed):
    assert feed(Rdm6300Decoder(), GOLDEN_TAG) == [TagFrame("100086F444")]


@feeds
def test_rdm6300_finds_a_frame_between_noise_and_counts_the_noise(feed):
    events = feed(Rdm6300Decoder(), b"\x00\xff\x0212" + GOLDEN_TAG + b"~~~")
    assert frames(events) == [TagFrame("100086F444")]
    assert refused_bytes(events) == 5 + 3


@feeds
def test_rdm6300_refuses_a_wrong_checksum(feed):
    events = feed(Rdm6300Decoder(), b"\x02100086F44427\x03")
    assert events == [Refused(14, "wrong checksum")]


@feeds
def test_rdm6300_reads_the_frame_after_one_that_was_cut_off(feed):
    assert frames(feed(Rdm6300Decoder(), GOLDEN_TAG[:9] + GOLDEN_TAG)) == [TagFrame("100086F444")]


@feeds
def test_rdm6300_upper_cases_a_number_sent_in_lower_case(feed):
    assert frames(feed(Rdm6300Decoder(), GOLDEN_TAG.lower())) == [TagFrame("100086F444")]


def test_rdm6300_encodes_what_it_decodes():
    assert encode_frame("100086f444") == GOLDEN_TAG


@pytest.mark.parametrize("number", ["", "100086F4", "100086F44G", "100086F44400"])
def test_rdm6300_encodes_nothing_but_ten_hex_digits(number):
    with pytest.raises(ValueError, match="hex"):
        encode_frame(number)


@given(st.lists(st.binary(min_size=5, max_size=5)), st.integers(1, 40))
def test_rdm6300_any_numbers_in_any_pieces(numbers, piece):
    line = b"".join(encode_frame(number.hex()) for number in numbers)
    decoder = Rdm6300Decoder()
    events = [event for at in range(0, len(line), piece) for event in whole(decoder, line[at : at + piece])]
    assert events == [TagFrame(number.hex().upper()) for number in numbers]


@feeds
@pytest.mark.parametrize("end", [b"\r", b"\n", b"\r\n"])
def test_scanner_takes_every_line_end(feed, end):
    assert feed(ScannerLineDecoder(), b"A-1" + end + b"B-2" + end) == [ScannedLine("A-1"), ScannedLine("B-2")]


@feeds
@pytest.mark.parametrize(
    ("line", "expected"),
    [
        (b"]Q1https://x.example/t/1", ScannedLine("https://x.example/t/1", "qr")),
        (b"]C0ABC", ScannedLine("ABC", "code128")),
        (b"]A0ABC", ScannedLine("ABC", "code39")),
        (b"]M0ABC", ScannedLine("ABC", "aim-M")),
        (b"]-X", ScannedLine("]-X")),
        ("Gebühr".encode(), ScannedLine("Gebühr")),
        (b"Geb\xfchr", ScannedLine("Gebühr")),
        (b"]C10104\x1d21", ScannedLine("0104\x1d21", "code128")),
        (b" A ", ScannedLine(" A ")),
    ],
)
def test_scanner_lines(feed, line, expected):
    assert feed(ScannerLineDecoder(), line + b"\r") == [expected]


@feeds
def test_scanner_strips_prefix_and_suffix_around_the_aim_identifier(feed):
    decoder = ScannerLineDecoder(prefix="\x02", suffix="\x03#")
    assert feed(decoder, b"\x02]Q3T1\x03#\rT2\r") == [ScannedLine("T1", "qr"), ScannedLine("T2")]


def test_scanner_keeps_the_aim_identifier_when_told_to():
    assert whole(ScannerLineDecoder(aim=False), b"]Q1T\n") == [ScannedLine("]Q1T")]


@pytest.mark.parametrize("line", [b"\r\n\r\n", b"]Q1\r", b""])
def test_scanner_empty_lines_are_nothing(line):
    assert whole(ScannerLineDecoder(), line) == []


@feeds
def test_scanner_refuses_a_line_that_is_too_long_and_reads_the_next(feed):
    events = feed(ScannerLineDecoder(max_bytes=8), b"123456789ABC\r12345678\r")
    assert frames(events) == [ScannedLine("12345678")]
    assert refused_bytes(events) == 13


@feeds
def test_scanner_refuses_control_characters(feed):
    events = feed(ScannerLineDecoder(), b"\x00\xf8\x80\rT1\r")
    assert frames(events) == [ScannedLine("T1")]
    assert refused_bytes(events) == 4


def board(body: bytes) -> bytes:
    return modbus_rtu.with_crc(body)


def expecting(request: modbus_rtu.Request) -> modbus_rtu.AnswerDecoder:
    decoder = modbus_rtu.AnswerDecoder()
    decoder.expect(request)
    return decoder


@pytest.mark.parametrize(
    ("request_", "frame"),
    [
        (modbus_rtu.write_coil(1, 0, closed=True), "01050000FF008C3A"),
        (modbus_rtu.write_coil(1, 0, closed=False), "010500000000CDCA"),
        (modbus_rtu.read_coils(1, 8), "0101000000083DCC"),
        (modbus_rtu.flash_on(1, 0, 700), "0105020000078DB0"),
    ],
)
def test_modbus_golden_requests(request_, frame):
    assert request_.frame.hex().upper() == frame


@pytest.mark.parametrize(("asked_ms", "units"), [(1, 1), (100, 1), (101, 2), (650, 7), (700, 7), (3_276_700, 0x7FFF)])
def test_modbus_flash_rounds_up_to_100_ms(asked_ms, units):
    assert modbus_rtu.flash_on(1, 3, asked_ms).value == units
    assert modbus_rtu.flash_on(1, 3, asked_ms).address == 0x0203


@pytest.mark.parametrize("asked_ms", [0, -1, 3_276_701])
def test_modbus_flash_refuses_what_the_board_cannot_time(asked_ms):
    with pytest.raises(ValueError, match="times pulses"):
        modbus_rtu.flash_on(1, 0, asked_ms)


@feeds
def test_modbus_reads_bits_in_order_between_noise(feed):
    request = modbus_rtu.read_discrete_inputs(1, 10)
    events = feed(expecting(request), b"\x00\x01\x02\x02" + board(bytes([1, 2, 2, 0b101, 0b10])) + b"\xff")
    assert frames(events) == [modbus_rtu.Bits((True, False, True, *[False] * 6, True))]
    assert refused_bytes(events) == 5


@feeds
def test_modbus_takes_the_echo_of_a_write(feed):
    request = modbus_rtu.flash_on(1, 0, 700)
    assert feed(expecting(request), request.frame) == [modbus_rtu.Written()]


@feeds
def test_modbus_refuses_the_echo_of_another_write(feed):
    other = modbus_rtu.flash_on(1, 1, 700)
    assert frames(feed(expecting(modbus_rtu.flash_on(1, 0, 700)), other.frame)) == []


@feeds
def test_modbus_exception(feed):
    events = feed(expecting(modbus_rtu.read_coils(1, 8)), board(b"\x01\x81\x02"))
    assert events == [modbus_rtu.ModbusException(2, "it has no such relay or input")]


@feeds
@pytest.mark.parametrize("body", [b"\x02\x01\x01\xff", b"\x01\x02\x01\xff", b"\x01\x01\x02\xff\xff"])
def test_modbus_refuses_another_unit_function_or_length(feed, body):
    assert frames(feed(expecting(modbus_rtu.read_coils(1, 8)), board(body))) == []


@feeds
def test_modbus_refuses_a_bad_crc_and_takes_the_good_answer_behind_it(feed):
    good = board(b"\x01\x01\x01\x05")
    bad = good[:-1] + bytes([good[-1] ^ 1])
    events = feed(expecting(modbus_rtu.read_coils(1, 8)), bad + good)
    assert refused_bytes(events) == len(bad)
    assert frames(events) == [modbus_rtu.Bits((True, False, True, *[False] * 5))]


def test_modbus_a_half_answer_is_dropped_when_the_next_request_begins():
    decoder = expecting(modbus_rtu.read_coils(1, 8))
    answer = board(b"\x01\x01\x01\x05")
    assert whole(decoder, answer[:4]) == []
    decoder.expect(modbus_rtu.read_coils(1, 8))
    assert whole(decoder, answer)[0] == Refused(4, "late or broken answer")


def test_modbus_takes_nothing_that_was_not_asked_for():
    decoder = modbus_rtu.AnswerDecoder()
    assert whole(decoder, board(b"\x01\x01\x01\x05")) == [Refused(6, "nothing was asked")]


def decoders() -> list[Decoder]:
    return [Rdm6300Decoder(), ScannerLineDecoder(max_bytes=64), expecting(modbus_rtu.read_coils(1, 8))]


@given(st.lists(st.binary(max_size=40), max_size=40))
def test_no_input_makes_a_decoder_raise_or_grow(pieces):
    for decoder in decoders():
        for piece in pieces:
            whole(decoder, piece)
            assert len(decoder._buffer) <= 64


@given(st.lists(st.sampled_from([b"\x02", b"1", b"F", b"\x03", b"\r", b"\n", b"]Q", b"\x01", GOLDEN_TAG])))
def test_near_misses_make_no_decoder_raise_and_pieces_make_no_difference(pieces):
    line = b"".join(pieces)
    for one, two in zip(decoders(), decoders(), strict=True):
        assert frames(whole(one, line)) == frames(byte_by_byte(two, line))


@pytest.mark.parametrize("decoder", decoders(), ids=lambda d: type(d).__name__)
def test_i09_a_decoder_that_nobody_reads_keeps_a_bounded_buffer(decoder):
    for _ in range(1000):
        decoder.receive_data(b"\x02" * 10_000)
    assert len(decoder._buffer) <= decoder.LIMIT_BYTES
    assert refused_bytes(list(decoder)) >= 10_000_000 - 64


@pytest.mark.parametrize("event", [TagFrame("100086F444"), ScannedLine("SECRET", "qr")])
def test_i12_frames_hide_their_identity(event):
    assert "100086F444" not in f"{event} {event!r}"
    assert "SECRET" not in f"{event} {event!r}"
