"""What OSDP commands and replies say: codes, and the data behind them.

Source: SIA OSDP 2.2 (IEC 60839-11-5), clauses 6 and 7 and annex A. Whatever a reader sends, nothing here raises: data
that is too short for its reply is `Unreadable`.
"""

from __future__ import annotations

import textwrap
import unicodedata
from typing import Literal

import msgspec

POLL, ID, CAP, LSTAT = 0x60, 0x61, 0x62, 0x64
LED, BUZ, TEXT, KEYSET, CHLNG, SCRYPT = 0x69, 0x6A, 0x6B, 0x75, 0x76, 0x77
ACK, NAK, PDID, PDCAP, LSTATR, RSTATR = 0x40, 0x41, 0x45, 0x46, 0x48, 0x4B
RAW, FMT, KEYPAD, CCRYPT, RMAC_I, BUSY = 0x50, 0x51, 0x53, 0x76, 0x78, 0x79

Colour = Literal["off", "red", "green", "amber", "blue", "magenta", "cyan", "white"]
COLOURS: tuple[Colour, ...] = ("off", "red", "green", "amber", "blue", "magenta", "cyan", "white")
"""In the order of their numbers on the wire."""

UNIT_MS = 100
"""Times of lights and buzzers are tenths of a second on the wire."""

ROW_CHARACTERS = 16
"""How long each row of a reader's display is, whatever the reader."""
_TEXT_OUTPUT = 6
_ROWS = {1: 1, 2: 2, 3: 4}
_TEMPORARY_NO_WRAP = 3
_SECOND_MS = 1000
_IN_ASCII = str.maketrans(
    {"ä": "ae", "ö": "oe", "ü": "ue", "Ä": "Ae", "Ö": "Oe", "Ü": "Ue", "ß": "ss", "ẞ": "SS", "€": "EUR", "∞": "any"}
    | {"ø": "oe", "Ø": "Oe", "æ": "ae", "Æ": "Ae", "å": "aa", "Å": "Aa", "ł": "l", "Ł": "L", "–": "-", "—": "-"}
    | dict.fromkeys("’‘‚", "'") | dict.fromkeys("„“”«»", '"') | {"…": "...", "×": "x", "·": "."}
)  # fmt: skip

WRONG_SEQUENCE, NO_SECURITY, NEEDS_SECURITY = 4, 5, 6
_REFUSALS = {
    1: "the check of the frame was wrong",
    2: "the command has a wrong length",
    3: "it does not know the command",
    WRONG_SEQUENCE: "the sequence number was wrong",
    NO_SECURITY: "it does not know this kind of secure channel",
    NEEDS_SECURITY: "it wants a secure channel",
    7: "it does not know this kind of biometrics",
    8: "it does not know this format of biometrics",
    9: "it cannot carry the command out",
}


class Acknowledged(msgspec.Struct, frozen=True):
    """Nothing to tell."""


class Refusal(msgspec.Struct, frozen=True):
    """The reader refused a command; `meaning` is for people."""

    code: int

    @property
    def meaning(self) -> str:
        """What the code means."""
        return _REFUSALS.get(self.code, f"reason {self.code}")


class Identity(msgspec.Struct, frozen=True):
    """What a reader is: the maker's three bytes as hex, model, version, serial number and firmware."""

    vendor: str
    model: int
    version: int
    serial: int
    firmware: str


class Capabilities(msgspec.Struct, frozen=True):
    """What a reader can do: `display_rows` of 16 characters each, 0 without a display."""

    display_rows: int = 0


class RawCard(msgspec.Struct, frozen=True):
    """A card as the bits it gave, the first one first; `bits` is their text of 0 and 1.

    `wiegand` is True where the reader says that the first and the last are parity bits.
    """

    bits: str
    wiegand: bool = False

    def __repr__(self) -> str:
        return f"RawCard(<{len(self.bits)} bits hidden>)"


class FormattedCard(msgspec.Struct, frozen=True):
    """A card as the characters its reader made of it."""

    text: str

    def __repr__(self) -> str:
        return "FormattedCard(<hidden>)"


class Keys(msgspec.Struct, frozen=True):
    """Keys that were pressed; `*` and `#` as such."""

    text: str

    def __repr__(self) -> str:
        return "Keys(<hidden>)"


class LocalStatus(msgspec.Struct, frozen=True):
    """Whether the reader's housing was opened or torn off, and whether its power fails."""

    tampered: bool
    power_failing: bool


class Unreadable(msgspec.Struct, frozen=True):
    """A reply that this program does not know, or whose data is too short."""

    code: int


Message = Acknowledged | Refusal | Identity | Capabilities | RawCard | FormattedCard | Keys | LocalStatus | Unreadable


def read_reply(code: int, data: bytes) -> Message:
    """Return what a reply says."""
    try:
        return _read_reply(code, data)
    except IndexError:
        return Unreadable(code)


def _read_reply(code: int, data: bytes) -> Message:
    match code:
        case _ if code == ACK:
            return Acknowledged()
        case _ if code == NAK:
            return Refusal(data[0])
        case _ if code == PDID:
            return _identity(data)
        case _ if code == PDCAP:
            return _capabilities(data)
        case _ if code == RAW:
            return _raw_card(data)
        case _ if code == FMT:
            return _formatted_card(data)
        case _ if code == KEYPAD:
            return _keys(data)
        case _ if code == LSTATR:
            return LocalStatus(tampered=bool(data[0]), power_failing=bool(data[1]))
        case _:
            return Unreadable(code)


def _identity(data: bytes) -> Identity:
    if len(data) < 12:
        return Identity("", 0, 0, 0, "")
    firmware = ".".join(str(byte) for byte in data[9:12])
    return Identity(data[:3].hex().upper(), data[3], data[4], int.from_bytes(data[5:9], "little"), firmware)


def _capabilities(data: bytes) -> Capabilities:
    """Each capability is three bytes: which it is, how far it goes, and how many there are."""
    known = {data[at]: data[at + 1] for at in range(0, len(data) - 2, 3)}
    return Capabilities(_ROWS.get(known.get(_TEXT_OUTPUT, 0), 0))


def _raw_card(data: bytes) -> Message:
    count = data[2] | data[3] << 8
    bits = "".join(f"{byte:08b}" for byte in data[4 : 4 + (count + 7) // 8])
    return RawCard(bits[:count], data[1] == 1) if 0 < count <= len(bits) else Unreadable(RAW)


def _formatted_card(data: bytes) -> Message:
    backward, count = data[1], data[2]
    text = data[3 : 3 + count].decode("ascii", "replace").strip("\0 ")
    if not text or len(data) < 3 + count or not text.isprintable() or not text.isascii():
        return Unreadable(FMT)
    return FormattedCard(text[::-1] if backward else text)


def _keys(data: bytes) -> Message:
    count = data[1]
    names = {0x7F: "*", 0x0D: "#"}
    return Keys("".join(names.get(byte, chr(byte)) for byte in data[2 : 2 + count] if byte in b"\x7f\r0123456789ABCD"))


def set_led(colour: Colour, on_ms: int) -> bytes:
    """Return the data of LED: the first light in `colour` for `on_ms`, rounded up to 100 ms, then as before."""
    number = COLOURS.index(colour)
    ticks = _ticks(on_ms, 0xFFFF)
    # A temporary setting: its light is on all the time (1 on, 0 off) until its timer has run down.
    temporary = bytes([2, 1, 0, number, 0]) + ticks.to_bytes(2, "little")
    return bytes([0, 0]) + temporary + bytes([0, 0, 0, 0, 0])


def rest_led(colour: Colour) -> bytes:
    """Return the data of LED that ends what is temporary and sets the colour of the first light at rest."""
    number = COLOURS.index(colour)
    return bytes([0, 0, 1, 0, 0, 0, 0, 0, 0, 1, 1, 0, number, number])


def sound_buzzer(count: int, on_ms: int, off_ms: int) -> bytes:
    """Return the data of BUZ: the default tone, `count` (1 to 255) times, durations rounded up to 100 ms."""
    return bytes([0, 2, _ticks(on_ms, 255), _ticks(off_ms, 255), min(max(count, 1), 255)])


def rows_of(text: str, display_rows: int) -> list[str]:
    """Return a text as the rows of a display, broken between words; what does not fit is left out.

    The protocol knows ASCII alone: umlauts become two letters, other accents are dropped, all else is a question mark.
    """
    apart = unicodedata.normalize("NFKD", unicodedata.normalize("NFC", text).translate(_IN_ASCII))
    plain = "".join(char if " " <= char <= "~" else "?" for char in apart if not unicodedata.combining(char))
    return textwrap.wrap(plain, ROW_CHARACTERS)[:display_rows]


def show_row(row: int, text: str, on_ms: int) -> bytes:
    """Return the data of TEXT: a whole row (1 is on top) for `on_ms`, rounded up to seconds, then as before."""
    seconds = min(max(-(-on_ms // _SECOND_MS), 1), 255)
    shown = text[:ROW_CHARACTERS].ljust(ROW_CHARACTERS).encode("ascii", "replace")
    return bytes([0, _TEMPORARY_NO_WRAP, seconds, row, 1, len(shown)]) + shown


def set_key(key: bytes) -> bytes:
    """Return the data of KEYSET for a base key (SCBK) of 16 bytes."""
    return bytes([1, len(key)]) + key


def _ticks(duration_ms: int, most: int) -> int:
    return min(max(-(-duration_ms // UNIT_MS), 1), most)
