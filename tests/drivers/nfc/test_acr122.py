"""The light and the buzzer of an ACR122U."""

from __future__ import annotations

from collections import deque
from types import SimpleNamespace

import pytest

from drivers.nfc.acr122 import Signals, led_and_buzzer
from drivers.nfc.line import Signal
from drivers.nfc.nfcpy_process import sender


@pytest.mark.parametrize(
    ("what", "duration_ms", "expected"),
    [
        ("beep", 100, "FF00400004010001" + "01"),
        ("green", 500, "FF00400E0400000000"),
        ("red", 60_000, "FF00400D0400000000"),
        ("amber", 500, "FF00400F0400000000"),
    ],
)
def test_light_and_buzzer_of_an_acr122u(what, duration_ms, expected):
    assert led_and_buzzer(Signal(what, duration_ms)).hex().upper() == expected


def test_i08_a_light_keeps_the_reader_from_nothing_and_goes_back_to_rest():
    now_s, sent, waiting = 100.0, [], deque([Signal("red", 30_000), Signal("beep", 100)])
    signals = Signals(waiting, lambda command: sent.append(command.hex().upper()), lambda: now_s)
    signals.show()
    # No cycles: an ACR122U that counts them sees no card meanwhile, and its process would be taken for hung.
    assert sent == ["FF00400D0400000000", "FF0040000401000101"]
    now_s += 29.9
    waiting.append(Signal("amber", 1000))
    signals.show()
    now_s += 0.5
    signals.show()
    assert sent[2:] == ["FF00400F0400000000"], "the newer light has its own time"
    now_s += 0.5
    signals.show()
    signals.show()
    assert sent[3:] == ["FF00400E0400000000"]


def test_nfcpy_hands_the_same_commands_on_and_other_devices_get_none():
    sent = []
    chipset = SimpleNamespace(ccid_xfr_block=lambda command, timeout: sent.append((bytes(command), timeout > 1)))
    sender(SimpleNamespace(device=SimpleNamespace(chipset=chipset)))(led_and_buzzer(Signal("green", 500)))
    assert sent == [(bytes.fromhex("FF00400E0400000000"), True)]
    sender(SimpleNamespace(device=SimpleNamespace(chipset=SimpleNamespace())))(b"")
    sender(SimpleNamespace(device=SimpleNamespace()))(b"")
