from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from drivers.codecs.decoder import Refused
from drivers.codecs.modbus_rtu import Bits, ModbusException, Written, flash_on, read_discrete_inputs, write_coil
from drivers.codecs.modbus_tcp import TcpAnswerDecoder

# Modbus Application Protocol V1.1b3, 6.2 and 6.5, in the frames of the TCP/IP guide V1.0b, 3.1.3.
READ_196_TO_217 = bytes.fromhex("000100000006010200C40016")
INPUTS_196_TO_217 = bytes.fromhex("00010000000601 0203 ACDB35")
COIL_173_ON = bytes.fromhex("000100000006010500ACFF00")


def reading() -> TcpAnswerDecoder:
    decoder = TcpAnswerDecoder()
    request = read_discrete_inputs(1, 22)
    assert decoder.begin(request)[:7] == bytes.fromhex("00010000000601")
    return decoder


def test_the_frames_are_those_of_the_standard() -> None:
    decoder = TcpAnswerDecoder()
    assert decoder.begin(write_coil(1, 0xAC, closed=True)) == COIL_173_ON
    decoder.receive_data(COIL_173_ON)
    assert list(decoder) == [Written()]
    # Waveshare's flash-on is the same word as on its serial boards.
    assert decoder.begin(flash_on(1, 0, 700)) == bytes.fromhex("000200000006010502000007")


@pytest.mark.parametrize("size", [1, 2, 5, 100])
def test_an_answer_is_found_in_pieces_of_any_size(size: int) -> None:
    decoder = reading()
    for start in range(0, len(INPUTS_196_TO_217), size):
        decoder.receive_data(INPUTS_196_TO_217[start : start + size])
    (bits,) = list(decoder)
    assert isinstance(bits, Bits)
    assert bits.values[:8] == (False, False, True, True, False, True, False, True)
    assert len(bits.values) == 22


def test_a_refusal_is_told_in_words() -> None:
    decoder = reading()
    decoder.receive_data(bytes.fromhex("000100000003018202"))
    assert list(decoder) == [ModbusException(2, "it has no such relay or input")]


def test_a_late_answer_is_no_answer_to_the_next_request() -> None:
    decoder = reading()
    decoder.expect(None)
    assert decoder.begin(read_discrete_inputs(1, 22))[:2] == b"\x00\x02"
    decoder.receive_data(INPUTS_196_TO_217)
    decoder.receive_data(b"\x00\x02" + INPUTS_196_TO_217[2:])
    late, answer = list(decoder)
    assert late == Refused(12, "late answer or one to another request")
    assert isinstance(answer, Bits)


def test_noise_before_an_answer_is_refused_and_the_answer_found() -> None:
    decoder = reading()
    decoder.receive_data(b"HTTP/1.1 400" + INPUTS_196_TO_217)
    events = list(decoder)
    assert isinstance(events[0], Refused)
    assert isinstance(events[-1], Bits)


@given(st.lists(st.binary(max_size=300), max_size=20), st.booleans())
def test_whatever_comes_is_counted_and_nothing_raises(pieces: list[bytes], expecting: bool) -> None:
    decoder = TcpAnswerDecoder()
    if expecting:
        decoder.begin(read_discrete_inputs(1, 8))
    for piece in pieces:
        decoder.receive_data(piece)
        list(decoder)
    assert len(decoder._buffer) <= decoder.LIMIT_BYTES
