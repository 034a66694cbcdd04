from __future__ import annotations

import string

import pytest
from hypothesis import given
from hypothesis import strategies as st

from drivers.codecs import wedge
from drivers.codecs.decoder import Refused
from drivers.codecs.scanner_line import ScannedLine
from drivers.codecs.wedge import ENTER, TAB, WedgeDecoder

SHIFT, CTRL, ALT, ALT_GR, CAPS = 42, 29, 56, 100, 58
# By hand from a keyboard's keycaps, not from the table under test: key, modifier, character.
US = [(30, 0, "a"), (30, SHIFT, "A"), (44, 0, "z"), (21, 0, "y"), (3, SHIFT, "@"), (53, SHIFT, "?"), (53, 0, "/"),
      (12, 0, "-"), (12, SHIFT, "_"), (39, SHIFT, ":"), (27, 0, "]"), (43, 0, "\\"), (41, SHIFT, "~"), (11, 0, "0"),
      (57, 0, " "), (13, 0, "="), (8, SHIFT, "&"), (5, SHIFT, "$"), (2, 0, "1"), (52, 0, "."),
      (51, 0, ",")]  # fmt: skip
DE = [(30, 0, "a"), (44, 0, "y"), (21, 0, "z"), (21, SHIFT, "Z"), (16, ALT_GR, "@"), (12, 0, "ß"), (12, SHIFT, "?"),
      (8, SHIFT, "/"), (53, 0, "-"), (53, SHIFT, "_"), (52, SHIFT, ":"), (10, ALT_GR, "]"), (9, ALT_GR, "["),
      (12, ALT_GR, "\\"), (43, 0, "#"), (39, 0, "ö"), (40, SHIFT, "Ä"), (26, 0, "ü"), (11, SHIFT, "="), (27, 0, "+"),
      (7, SHIFT, "&"), (86, ALT_GR, "|"), (86, 0, "<"), (18, ALT_GR, "€"), (51, SHIFT, ";"),
      (27, ALT_GR, "~")]  # fmt: skip


class Typist:
    """Types keys into a decoder, one every 2 ms, and keeps what came out."""

    def __init__(self, *arguments, **options) -> None:
        self.decoder = WedgeDecoder(*arguments, **options)
        self.now_s = 100.0
        self.events: list = []

    def press(self, code: int, *modifiers: int) -> None:
        for key, value in [*((m, 1) for m in modifiers if m), (code, 1), (code, 0), *((m, 0) for m in modifiers if m)]:
            self.now_s += 0.002
            self.events += self.decoder.key(key, value, self.now_s)

    def scan(self, keys, end: int = ENTER) -> list:
        for key, modifier, _ in keys:
            self.press(key, modifier)
        self.press(end)
        return self.events


@pytest.mark.parametrize(("layout", "keys"), [("us", US), ("de", DE)])
@pytest.mark.parametrize("end", [ENTER, TAB, 96])
def test_each_layout_types_its_characters(layout, keys, end):
    expected = "".join(char for *_, char in keys)
    assert Typist(layout).scan(keys, end) == [ScannedLine(expected)]


def test_both_layouts_can_type_every_printable_ascii_character():
    for layout in ("us", "de"):
        decoder = WedgeDecoder(layout)
        typed = {*decoder._plain.values(), *decoder._shifted.values(), *decoder._alt_gr.values(), " "}
        assert set(string.printable.strip()) <= typed


def test_prefix_suffix_and_aim_identifier_come_off():
    keys = [(27, 0, "]"), (16, SHIFT, "Q"), (2, 0, "1"), (20, SHIFT, "T"), (53, 0, "/"), (3, 0, "2"), (43, SHIFT, "|")]
    assert Typist("us", suffix="|").scan(keys) == [ScannedLine("T/2", "qr")]


def test_dead_keys_of_a_german_keyboard():
    one = Typist("de")
    assert one.scan([(41, 0, "^"), (57, 0, ""), (13, SHIFT, "`"), (57, 0, ""), (30, 0, "a"), (13, 0, "´")]) == [
        ScannedLine("^`a´")
    ]


def test_alt_and_keypad_numbers_and_control_characters():
    one = Typist("us")
    for number in ("065", "252", "8364"):
        one.events += one.decoder.key(ALT, 1, one.now_s)
        for digit in number:
            one.press({value: key for key, value in wedge._KEYPAD.items()}[digit])
        one.events += one.decoder.key(ALT, 0, one.now_s)
    one.press(27, CTRL)
    one.press(2)
    one.press(ENTER)
    assert one.events == [ScannedLine("Aü€\x1d1")]


def test_caps_lock_and_keypad():
    one = Typist("us")
    one.press(CAPS)
    one.press(30)
    one.press(30, SHIFT)
    one.press(2)
    one.press(79)
    one.press(CAPS)
    one.press(30)
    one.press(ENTER)
    assert one.events == [ScannedLine("Aa11a")]


def test_half_a_code_does_not_spoil_the_next():
    one = Typist("us", pause_s=0.5)
    one.press(30)
    one.press(48)
    one.now_s += 0.6
    assert one.scan([(2, 0, "1")]) == [Refused(2, "no Enter after a code"), ScannedLine("1")]


def test_a_hole_in_a_code_spoils_all_of_it_up_to_enter_and_not_the_next():
    one = Typist("us")
    one.press(30)
    assert one.decoder.lost() == [Refused(1, "keys were lost")]
    # What follows the hole is the end of a code, and no code of its own.
    assert one.scan([(2, 0, "1")]) == [Refused(1, "keys were lost")]
    one.events.clear()
    assert one.scan([(3, 0, "2")]) == [ScannedLine("2")]


def test_after_a_hole_a_pause_too_begins_a_code():
    one = Typist("us", pause_s=0.5)
    one.press(30)
    one.decoder.lost()
    one.now_s += 0.6
    assert one.scan([(2, 0, "1")]) == [ScannedLine("1")]


def test_repeated_keys_type_once():
    one = Typist("us")
    for value in (1, 2, 2, 0):
        one.events += one.decoder.key(30, value, one.now_s)
    assert one.scan([]) == [ScannedLine("a")]


@given(
    st.lists(st.tuples(st.integers(-1, 800), st.integers(-1, 3), st.floats(0, 10)), max_size=200),
    st.sampled_from(["us", "de"]),
)
def test_no_keys_make_it_raise(keys, layout):
    decoder = WedgeDecoder(layout)
    for code, value, at_s in keys:
        decoder.key(code, value, at_s)


def test_i09_keys_without_end_are_bounded():
    one = Typist("us")
    for count in range(100_000):
        one.decoder.key(30, 1, count / 1e6)
    assert len(one.decoder._lines._buffer) <= 8192
    one.press(ENTER)
    one.press(30)
    one.press(ENTER)
    assert one.events[-1] == ScannedLine("a")
