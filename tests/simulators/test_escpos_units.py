from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from simulators.escpos.paper import Paper
from simulators.escpos.parser import Op, Parser
from simulators.escpos.press import Press
from simulators.escpos.realtime import RealTime, RealTimeScanner
from simulators.escpos.symbols import bar_code

# Bytes as a printer sees them: every prefix and many letters of commands, so that arguments are reached.
starts = [b"\x1b", b"\x1d", b"\x10", b"\x1d(k\x03\x001Q0", b"\x1d(L", b"\x1dk", b"\x1dv0", b"\x1b*", b"\x1bD"]
stream = st.lists(st.one_of(st.binary(max_size=6), st.sampled_from(starts)), max_size=30).map(b"".join)


class RecordingHost:
    def __init__(self) -> None:
        self.told = []

    def line_printed(self):
        self.told.append("line")

    def cut(self):
        self.told.append("cut")

    def kick(self, pin, on_ms):
        self.told.append(("kick", pin, on_ms))

    def answer(self, kind, data):
        self.told.append((kind, data))


def parse(*pieces):
    parser, ops = Parser(), []
    for piece in pieces:
        parser.feed(piece)
        while (op := parser.next_op()) is not None:
            # Text is handed out as it comes; what matters is its characters.
            if ops and op.code == ops[-1].code == b"":
                ops[-1] = Op(b"", ops[-1].data + op.data)
            else:
                ops.append(op)
    return ops


@given(stream)
def test_commands_are_the_same_in_one_piece_and_byte_by_byte(data):
    assert parse(data) == parse(*(bytes((byte,)) for byte in data))


@given(stream)
def test_no_bytes_break_the_press(data):
    press = Press(RecordingHost())
    for op in parse(data):
        press.execute(op)
        assert isinstance(press.paper, Paper)


@pytest.mark.parametrize(
    ("data", "op"),
    [
        (b"\x1b@", Op(b"\x1b@")),
        (b"\x1bd\x03", Op(b"\x1bd", b"\x03")),
        (b"\x1dVB\x10", Op(b"\x1dV", b"B\x10")),
        (b"\x1dk\x04AB\x00", Op(b"\x1dk", b"\x04AB")),
        (b"\x1dk\x49\x02AB", Op(b"\x1dk", b"\x49AB")),
        (b"\x1d(k\x03\x001Q0", Op(b"\x1d(", b"k1Q0")),
        (b"\x1b*\x21\x01\x00abc", Op(b"\x1b*", b"\x21\x01\x00abc")),
        (b"\x10\x04\x01", Op(b"\x10\x04", b"\x01")),
        (b"\x10\x14\x01\x00\x01", Op(b"\x10\x14", b"\x01\x00\x01")),
        (b"\x1b\x07", Op(b"?", b"\x1b\x07")),
    ],
)
def test_each_shape_of_command(data, op):
    assert parse(data + b"\n") == [op, Op(b"\n")]


@pytest.mark.parametrize(
    ("data", "found"),
    [
        (b"\x10\x04\x01", [RealTime("status", 1)]),
        (b"ab\x10\x10\x04\x04", [RealTime("status", 4)]),
        (b"\x10\x04\x10\x04\x02", [RealTime("status", 2)]),
        (b"\x10\x05\x02", [RealTime("enquiry", 2)]),
        (b"\x10\x14\x01\x01\x08", [RealTime("pulse", 1, 8)]),
        (b"\x10\x14\x01\x01\x09", []),
        (b"\x10\x14\x08\x01\x03\x14\x01\x06\x02\x08", [RealTime("clear")]),
        (b"\x10\x14\x08\x01\x03\x14\x01\x06\x02\x09", []),
        (b"\x10\x04\x05", []),
    ],
)
def test_real_time_commands_are_found_whole_and_in_pieces(data, found):
    assert RealTimeScanner().feed(data) == [(len(data), command) for command in found]
    scanner = RealTimeScanner()
    assert [command for byte in data for _, command in scanner.feed(bytes((byte,)))] == found


@given(st.binary(max_size=60))
def test_the_real_time_scanner_hoards_nothing(data):
    scanner = RealTimeScanner()
    scanner.feed(data)
    assert len(scanner._tail) < 10


@pytest.mark.parametrize(
    ("kind", "data", "text"),
    [(2, b"400638133393", "4006381333931"), (73, b"{BA{{1", "A{1"), (73, b"{C\x0c\x22", "1234"), (69, b"A-1", "A-1")],
)
def test_barcodes_hold_the_text_they_were_given(kind, data, text):
    symbol = bar_code(kind, data)
    assert symbol is not None
    assert (symbol.text, set(symbol.modules) - {"G"}) == (text, {"0", "1"})


@pytest.mark.parametrize(("kind", "data"), [(2, b"12x"), (73, b""), (73, "ä".encode()), (72, b"A"), (0, b"")])
def test_a_barcode_it_cannot_print_is_none(kind, data):
    assert bar_code(kind, data) is None
