"""Telling contactless chips apart by what they say of themselves.

Facts: NXP AN10833 (SAK and GetVersion of MIFARE chips), NTAG210/213/215/216 and MF0UL data sheets (GET_VERSION),
MF0AES(H)20, NT4H2421Gx, PC/SC part 3 supplement (card names in a historical ATR).
"""

from __future__ import annotations

from typing import Literal

Chip = Literal[
    "desfire_ev0", "desfire_ev1", "desfire_ev2", "desfire_ev3", "desfire_light", "desfire", "ntag424", "ntag210",
    "ntag212", "ntag213", "ntag215", "ntag216", "ultralight", "ultralight_ev1", "ultralight_c", "ultralight_aes",
    "classic_mini", "classic_1k", "classic_4k", "plus", "topaz", "type2", "iso14443_4a", "iso14443_4b", "felica",
    "felica_lite", "unknown",
]  # fmt: skip

_CLASSIC: dict[int, Chip] = {
    0x08: "classic_1k", 0x09: "classic_mini", 0x18: "classic_4k", 0x28: "classic_1k", 0x38: "classic_4k",
    0x88: "classic_1k",
}  # fmt: skip
_NTAG_BY_SIZE: dict[int, Chip] = {
    0x0B: "ntag210", 0x0E: "ntag212", 0x0F: "ntag213", 0x11: "ntag215", 0x13: "ntag216",
}  # fmt: skip
_DESFIRE_BY_MAJOR: dict[int, Chip] = {0: "desfire_ev0", 1: "desfire_ev1", 0x12: "desfire_ev2", 0x33: "desfire_ev3"}
_PCSC_NAMES: dict[int, Chip] = {
    0x0001: "classic_1k", 0x0002: "classic_4k", 0x0003: "ultralight", 0x0026: "classic_mini", 0x0030: "topaz",
    0x003A: "ultralight_c", 0x003B: "felica", 0xF004: "topaz", 0xF011: "felica", 0xF012: "felica",
}  # fmt: skip
_STORAGE_CARD = bytes.fromhex("4F0CA000000306")
_NXP, _ULTRALIGHT, _NTAG, _DESFIRE, _PLUS, _DESFIRE_LIGHT = 0x04, 0x03, 0x04, 0x01, 0x02, 0x08


def chip_by_sak(sak: int) -> Chip | None:
    """Return a MIFARE Classic by its SAK byte; None for a chip that has to be asked."""
    return _CLASSIC.get(sak)


def chip_by_type2_version(version: bytes) -> Chip:
    """Return a Type 2 chip by its eight bytes of GET_VERSION (`60`); "type2" for one that is not known."""
    if len(version) != 8 or version[1] != _NXP:
        return "type2"
    if version[2] == _ULTRALIGHT:
        # The fourth generation is Ultralight AES, which answers `1A` as Ultralight C does.
        return "ultralight_aes" if version[4] >= 4 else "ultralight_ev1"
    if version[2] == _NTAG:
        return _NTAG_BY_SIZE.get(version[6], "type2")
    return "type2"


def chip_by_version(version: bytes) -> Chip:
    """Return an ISO-DEP chip by the first seven bytes of GetVersion (`9060000000`)."""
    if len(version) < 7 or version[0] != _NXP:
        return "iso14443_4a"
    kind, major = version[1] & 0x0F, version[3]
    if kind == _DESFIRE:
        return _DESFIRE_BY_MAJOR.get(major, "desfire")
    if kind == _NTAG:
        return "ntag424"
    if kind == _DESFIRE_LIGHT:
        return "desfire_light"
    return "plus" if kind == _PLUS else "iso14443_4a"


def chip_by_atr(atr: bytes) -> Chip | None:
    """Return what a PC/SC reader says of a storage card in the ATR it makes up; None for a card that speaks APDUs."""
    at = atr.find(_STORAGE_CARD)
    if at < 0 or len(atr) < at + len(_STORAGE_CARD) + 3:
        return None
    name = int.from_bytes(atr[at + len(_STORAGE_CARD) + 1 : at + len(_STORAGE_CARD) + 3], "big")
    return _PCSC_NAMES.get(name, "unknown")


def is_random_uid(uid: bytes) -> bool:
    """Return whether a UID is made up anew for each reading (ISO/IEC 14443-3: four bytes, the first 08)."""
    return len(uid) == 4 and uid[0] == 0x08
