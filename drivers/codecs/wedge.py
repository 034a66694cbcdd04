"""Keyboard wedges: scanners that type what they read. Key events in, codes out.

A scanner types with the keyboard layout it is set to, so the same layout is needed to read it. Key numbers are those of
Linux (input-event-codes.h). What no key has a wedge types as Alt and the character's number on the keypad, and control
characters as Ctrl and a key; dead keys of a German keyboard are followed by a space.
"""

from __future__ import annotations

from typing import Literal

from drivers.codecs.decoder import Refused
from drivers.codecs.scanner_line import ScannedLine, ScannerLineDecoder

Layout = Literal["us", "de"]

ENTER, KEYPAD_ENTER, TAB = 28, 96, 15
_SHIFT = frozenset({42, 54})
_CTRL = frozenset({29, 97})
_ALT, _ALT_GR, _CAPS_LOCK, _SPACE = 56, 100, 58, 57
_ALT_CODE_MAX = 0x10FFFF

_PLAIN_CODES = (*range(2, 14), *range(16, 28), *range(30, 42), 43, *range(44, 54), 86)
_KEYPAD = {82: "0", 79: "1", 80: "2", 81: "3", 75: "4", 76: "5", 77: "6", 71: "7", 72: "8", 73: "9"}
_KEYPAD_CHARACTERS: dict[int, str] = {**_KEYPAD, 55: "*", 74: "-", 78: "+", 83: ".", 98: "/"}

_ROWS: dict[Layout, tuple[str, str]] = {
    "us": (
        "1234567890-=qwertyuiop[]asdfghjkl;'`\\zxcvbnm,./<",
        '!@#$%^&*()_+QWERTYUIOP{}ASDFGHJKL:"~|ZXCVBNM<>?>',
    ),
    "de": (
        "1234567890ß´qwertzuiopü+asdfghjklöä^#yxcvbnm,.-<",
        "!\"§$%&/()=?`QWERTZUIOPÜ*ASDFGHJKLÖÄ°'YXCVBNM;:_>",
    ),
}
"""The characters of `_PLAIN_CODES`, alone and with Shift."""
_ALT_GR_KEYS: dict[Layout, dict[int, str]] = {
    "us": {},
    "de": {3: "²", 4: "³", 8: "{", 9: "[", 10: "]", 11: "}", 12: "\\", 16: "@", 18: "€", 27: "~", 50: "µ", 86: "|"},
}
_DEAD: dict[Layout, str] = {"us": "", "de": "´`^"}
# The separators of GS1 and ISO 15434 codes, by their keys on a US keyboard: Ctrl and \ ] 6 -.
_CONTROLS = {43: "\x1c", 27: "\x1d", 7: "\x1e", 12: "\x1f"}


class WedgeDecoder:
    """Gathers keys to codes; Enter ends a code, and so does Tab. Never raises, whatever is typed.

    Keys that pause for longer than `pause_s` belong to different codes: the earlier ones are refused.
    """

    _dead: str

    def __init__(
        self, layout: Layout = "us", *, prefix: str = "", suffix: str = "", aim: bool = True, pause_s: float = 1.0
    ) -> None:
        plain, shifted = _ROWS[layout]
        self._plain: dict[int, str] = dict(zip(_PLAIN_CODES, plain, strict=True))
        self._shifted: dict[int, str] = dict(zip(_PLAIN_CODES, shifted, strict=True))
        self._alt_gr = _ALT_GR_KEYS[layout]
        self._dead_keys = _DEAD[layout]
        self._lines = ScannerLineDecoder(prefix=prefix, suffix=suffix, aim=aim)
        self._pause_s = pause_s
        self._typed = 0
        self._last_s = 0.0
        self._has_hole = False
        self._begin()

    def key(self, code: int, value: int, at_s: float) -> list[ScannedLine | Refused]:
        """Take a key event: its number, 1 for pressed, 0 for released, 2 for repeated, and when it was in seconds."""
        refused = self._after_pause(at_s) if value == 1 else []
        if value == 0:
            self._released(code)
            return refused
        if code in (ENTER, KEYPAD_ENTER, TAB):
            if value == 1 and self._has_hole:
                self._has_hole = False
                return [*refused, *self._drop("keys were lost")]
            if value == 1:
                self._type(self._dead + "\r")
                self._dead = ""
                self._typed = 0
                return [*refused, *self._lines]
        elif value == 1 and not self._pressed(code):
            self._type(self._character(code))
        return [*refused, *self._lines]

    def lost(self) -> list[ScannedLine | Refused]:
        """Note that the kernel dropped events: the code being typed has a hole, so it is refused, up to Enter."""
        self._begin()
        self._has_hole = True
        return self._drop("keys were lost")

    def _begin(self) -> None:
        self._held: set[int] = set()
        self._caps = False
        self._dead = ""
        self._alt_code = ""

    def _after_pause(self, at_s: float) -> list[ScannedLine | Refused]:
        pause_s, self._last_s = at_s - self._last_s, at_s
        if pause_s <= self._pause_s:
            return []
        self._has_hole = False
        return self._drop("no Enter after a code") if self._typed else []

    def _drop(self, why: str) -> list[ScannedLine | Refused]:
        count, self._typed, self._dead = self._typed, 0, ""
        self._lines.forget()
        return [Refused(count, why)] if count else []

    def _pressed(self, code: int) -> bool:
        """Note a key that types nothing itself, and the keypad while Alt is held; False for all others."""
        if code in _SHIFT or code in _CTRL or code in (_ALT, _ALT_GR):
            self._held.add(code)
            self._alt_code = "" if code == _ALT else self._alt_code
            return True
        if code == _CAPS_LOCK:
            self._caps = not self._caps
            return True
        if _ALT in self._held and code in _KEYPAD:
            self._alt_code = (self._alt_code + _KEYPAD[code])[-8:]
            return True
        return False

    def _released(self, code: int) -> None:
        self._held.discard(code)
        if code == _ALT and self._alt_code:
            number, self._alt_code = int(self._alt_code), ""
            if 0 < number <= _ALT_CODE_MAX and not 0xD800 <= number <= 0xDFFF:
                self._type(chr(number))

    def _character(self, code: int) -> str:
        """Return what a key types now; nothing for keys that type nothing."""
        control = bool(self._held & _CTRL)
        if _ALT_GR in self._held or (control and _ALT in self._held):
            char = self._alt_gr.get(code, "")
        elif control:
            return _CONTROLS.get(code, "")
        else:
            char = self._plain_or_shifted(code)
        return self._with_dead(char)

    def _plain_or_shifted(self, code: int) -> str:
        shifted = bool(self._held & _SHIFT)
        if code == _SPACE:
            return " "
        if code in _KEYPAD_CHARACTERS:
            return _KEYPAD_CHARACTERS[code]
        plain = self._plain.get(code, "")
        if self._caps and plain.isalpha() and plain != "ß":
            shifted = not shifted
        return self._shifted.get(code, "") if shifted else plain

    def _with_dead(self, char: str) -> str:
        if not char:
            return ""
        dead, self._dead = self._dead, ""
        if char in self._dead_keys:
            self._dead = char
            return dead
        return dead if dead and char == " " else dead + char

    def _type(self, text: str) -> None:
        self._typed += len(text)
        self._lines.receive_data(text.encode())
