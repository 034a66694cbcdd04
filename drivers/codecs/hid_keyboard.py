"""USB keyboards in their boot protocol: reports in, key events out, numbered as Linux numbers its keys.

A report has eight bytes: modifiers, a reserved one, and six keys that are held (HID 1.11, appendix B.1). Keys are the
usages of page 7 (HID Usage Tables 1.12, section 10); Linux's numbers are those of input-event-codes.h.
"""

from __future__ import annotations

from typing import Final

REPORT_BYTES: Final = 8

_FIRST_MODIFIER, _LAST_ERROR = 0xE0, 0x03
"""Usages 1 to 3 are no keys: they say that more are held than a report has room for."""
_MODIFIERS = (29, 42, 56, 125, 97, 54, 100, 126)
_LETTERS = (30, 48, 46, 32, 18, 33, 34, 35, 23, 36, 37, 38, 50, 49, 24, 25, 16, 19, 31, 20, 22, 47, 17, 45, 21, 44)
_DIGITS = (2, 3, 4, 5, 6, 7, 8, 9, 10, 11)
# Enter, Escape, Backspace, Tab, space, then the signs around the letters, and Caps Lock.
_SIGNS = (28, 1, 14, 15, 57, 12, 13, 26, 27, 43, 43, 39, 40, 41, 51, 52, 53, 58)
# The keypad: / * - + Enter, 1 to 9, 0 and the point; then the key beside the left Shift.
_KEYPAD = (98, 55, 74, 78, 96, 79, 80, 81, 75, 76, 77, 71, 72, 73, 82, 83, 86)
_FIRST_LETTER, _FIRST_KEYPAD = 0x04, 0x54
_KEYS: dict[int, int] = {
    **dict(enumerate((*_LETTERS, *_DIGITS, *_SIGNS), _FIRST_LETTER)),
    **dict(enumerate(_KEYPAD, _FIRST_KEYPAD)),
    **dict(enumerate(_MODIFIERS, _FIRST_MODIFIER)),
}


class BootKeyboard:
    """Tells keys pressed and released from one report to the next. Never raises, whatever arrives."""

    def __init__(self) -> None:
        self._held: tuple[int, ...] = ()

    def report(self, data: bytes) -> list[tuple[int, int]]:
        """Take a report; return (key, 1 pressed or 0 released) in the order in which a keyboard's driver tells them.

        Modifiers come first, for the keys of one report are typed with them. What is too short changes nothing, and
        neither do keys that no scanner types with.
        """
        if len(data) < REPORT_BYTES:
            return []
        modifiers = [_FIRST_MODIFIER + bit for bit in range(8) if data[0] >> bit & 1]
        keys = list(dict.fromkeys(usage for usage in data[2:REPORT_BYTES] if 0 < usage < _FIRST_MODIFIER))
        if any(usage <= _LAST_ERROR for usage in keys):
            keys = [usage for usage in self._held if usage < _FIRST_MODIFIER]
        now, before = (*modifiers, *keys), self._held
        self._held = now
        released = [(usage, 0) for usage in before if usage not in now]
        pressed = [(usage, 1) for usage in now if usage not in before]
        changed = sorted([*released, *pressed], key=lambda change: change[0] < _FIRST_MODIFIER)
        return [(_KEYS[usage], value) for usage, value in changed if usage in _KEYS]
