from __future__ import annotations

import random

from hypothesis import given
from hypothesis import strategies as st

from drivers.codecs.hid_keyboard import BootKeyboard
from drivers.codecs.wedge import WedgeDecoder

SHIFT, NOTHING = 0x02, bytes(8)
A, B, ONE, ENTER = 0x04, 0x05, 0x1E, 0x28


def report(*usages: int, modifiers: int = 0) -> bytes:
    return bytes([modifiers, 0, *usages]).ljust(8, b"\0")


def changes(*reports: bytes) -> list[tuple[int, int]]:
    keyboard = BootKeyboard()
    return [change for one in reports for change in keyboard.report(one)]


def typed(*reports: bytes, layout: str = "us") -> list[str]:
    decoder = WedgeDecoder(layout)
    return [
        line.text for at_s, (key, value) in enumerate(changes(*reports)) for line in decoder.key(key, value, at_s / 1e3)
    ]


def test_the_reports_of_the_specification_are_linuxs_keys():
    # HID Usage Tables 1.12, table 12, and input-event-codes.h: a, 1, Enter, the keypad's 5, left Control, right Alt.
    assert changes(report(A), NOTHING) == [(30, 1), (30, 0)]
    assert changes(report(ONE, ENTER, 0x5D)) == [(2, 1), (28, 1), (76, 1)]
    assert changes(report(modifiers=0x41), NOTHING) == [(29, 1), (100, 1), (29, 0), (100, 0)]


def test_every_key_has_the_number_that_the_kernel_gives_it():
    # As `evtest` shows them for usages 04 to 39, 54 to 64 and E0 to E7.
    letters = [30, 48, 46, 32, 18, 33, 34, 35, 23, 36, 37, 38, 50, 49, 24, 25, 16, 19, 31, 20, 22, 47, 17, 45, 21, 44]
    rest = [2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 28, 1, 14, 15, 57, 12, 13, 26, 27, 43, 43, 39, 40, 41, 51, 52, 53, 58]
    keypad = [98, 55, 74, 78, 96, 79, 80, 81, 75, 76, 77, 71, 72, 73, 82, 83, 86]
    for first, keys in ((0x04, [*letters, *rest]), (0x54, keypad)):
        for usage, key in enumerate(keys, first):
            assert changes(report(usage)) == [(key, 1)], hex(usage)
    bits = [changes(report(modifiers=1 << bit)) for bit in range(8)]
    assert bits == [[(key, 1)] for key in (29, 42, 56, 125, 97, 54, 100, 126)]


def test_a_modifier_goes_before_the_keys_of_its_report_and_a_key_may_stay_down_under_the_next():
    assert typed(report(A, modifiers=SHIFT), report(A, B), report(B), report(ENTER)) == ["Ab"]
    assert typed(report(0x1D), NOTHING, report(0x2D), NOTHING, report(ENTER), layout="de") == ["yß"]


def test_too_many_keys_at_once_and_short_reports_change_nothing():
    assert changes(report(A), report(1, 1, 1, 1, 1, 1), report(A), NOTHING) == [(30, 1), (30, 0)]
    assert changes(b"", report(A)[:7], report(A)) == [(30, 1)]


def test_keys_that_type_nothing_are_left_out():
    assert changes(report(0x3A, 0x4F, 0xFF), NOTHING) == []


@given(st.lists(st.binary(max_size=64), max_size=40))
def test_whatever_arrives_each_key_goes_down_and_up_in_turn(reports: list[bytes]):
    keyboard, down, count = BootKeyboard(), set[int](), 0
    for one in reports:
        for key, value in keyboard.report(one):
            # Two usages may be one key of Linux (the one beside Enter), so only a count can be told of it.
            if key != 43:
                assert (key in down) == (value == 0)
            (down.add if value else down.discard)(key)
            count += 1
    assert count <= 28 * len(reports)


def test_a_megabyte_of_noise_keeps_no_more_than_a_reports_keys():
    keyboard, dice = BootKeyboard(), random.Random(7)
    for _ in range(20_000):
        keyboard.report(dice.randbytes(8))
    assert len(keyboard._held) <= 14
