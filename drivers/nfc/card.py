"""A card in the field: what it is, and what is written on it.

The same dialogue serves every library: it needs somebody who carries bytes to the card and back. Facts: NFC Forum
Type 2 Tag 1.1, Type 4 Tag 2.0; NXP AN10833 (GetVersion), MF0ICU2 and MF0AES(H)20 (AUTHENTICATE `1A`).
"""

from __future__ import annotations

from typing import Literal, Protocol

from drivers.codecs.ndef import MESSAGE_BYTES_MAX, NdefText, message_length, texts
from drivers.codecs.nfc_chips import Chip, chip_by_type2_version, chip_by_version

OK = b"\x90\x00"
NATIVE_OK, NATIVE_MORE = b"\x91\x00", b"\x91\xaf"
SELECT_NDEF = bytes.fromhex("00A4040007D276000085010100")
_SELECT_CC, _READ_CC = bytes.fromhex("00A4000C02E103"), bytes.fromhex("00B000000F")
_GET_VERSION, _MORE = bytes.fromhex("9060000000"), bytes.fromhex("90AF000000")
_READ_BYTES, _VERSION_FRAMES = 0xF0, 3
_TYPE2_READ, _TYPE2_VERSION, _TYPE2_AUTH = 0x30, b"\x60", b"\x1a\x00"
_CC_PAGE, _CC_MAGIC, _PAGES_A_READ, _PAGE_BYTES = 3, 0xE1, 4, 4


class CardGone(Exception):
    """The card is not in the field any more."""


class CardSilent(Exception):
    """The card gave no answer to a command; a Type 2 chip has then to be woken before it hears another."""


class Card(Protocol):
    """A card that has been selected. Both calls raise CardGone; `exchange` raises CardSilent too."""

    uid: bytes
    kind: Literal["type2", "iso_dep", "other"]
    chip: Chip | None
    """What it is, where that is known without asking."""

    def exchange(self, data: bytes) -> bytes:
        """Send an APDU, or a command of a Type 2 chip without its checksum, and return the answer."""
        ...

    def wake(self) -> None:
        """Select the same card again."""
        ...


def identify(card: Card) -> Chip:
    """Return what kind of chip it is. Raises CardGone."""
    if card.chip is not None:
        return card.chip
    if card.kind == "iso_dep":
        return _identify_iso_dep(card)
    return _identify_type2(card) if card.kind == "type2" else "unknown"


def _identify_iso_dep(card: Card) -> Chip:
    try:
        answer = card.exchange(_GET_VERSION)
        version = answer[:-2]
        for _ in range(_VERSION_FRAMES):
            if answer[-2:] != NATIVE_MORE:
                break
            answer = card.exchange(_MORE)
    except CardSilent:
        return "iso14443_4a"
    return chip_by_version(version) if answer[-2:] == NATIVE_OK else "iso14443_4a"


def _identify_type2(card: Card) -> Chip:
    """Ask for the version first: Ultralight AES has one and Ultralight C has none, though both answer `1A`."""
    answer = _ask_type2(card, _TYPE2_VERSION)
    if len(answer) == 8:
        return chip_by_type2_version(answer)
    challenge = _ask_type2(card, _TYPE2_AUTH)
    if len(challenge) == 9 and challenge[0] == 0xAF:
        # It waits for the second half of an authentication now, and hears nothing else.
        card.wake()
        return "ultralight_c"
    return "ultralight"


def _ask_type2(card: Card, command: bytes) -> bytes:
    """Return the answer; nothing for a refusal, after which the chip is woken."""
    try:
        answer = card.exchange(command)
    except CardSilent:
        answer = b""
    if len(answer) <= 1:
        card.wake()
        return b""
    return answer


def read_texts(card: Card) -> list[NdefText]:
    """Return the texts and addresses on the card, none where it holds no NDEF message. Raises CardGone."""
    try:
        if card.kind == "iso_dep":
            return texts(_read_type4(card))
        return texts(_read_type2(card)) if card.kind == "type2" else []
    except CardSilent:
        return []


def _read_type2(card: Card) -> bytes:
    first = card.exchange(bytes([_TYPE2_READ, _CC_PAGE]))
    if len(first) != 16 or first[0] != _CC_MAGIC:
        return b""
    memory, page = bytearray(first[_PAGE_BYTES:]), _CC_PAGE + _PAGES_A_READ
    size = min(first[2] * 8, MESSAGE_BYTES_MAX)
    while len(memory) < size and not _holds_message(memory):
        more = card.exchange(bytes([_TYPE2_READ, page & 0xFF]))
        if len(more) != 16:
            break
        memory += more
        page += _PAGES_A_READ
    found = message_length(bytes(memory))
    return bytes(memory[found[0] : found[0] + found[1]]) if found is not None else b""


def _holds_message(memory: bytearray) -> bool:
    found = message_length(bytes(memory))
    return found is not None and found[0] + found[1] <= len(memory)


def _read_type4(card: Card) -> bytes:
    for select in (SELECT_NDEF, _SELECT_CC):
        if card.exchange(select)[-2:] != OK:
            return b""
    container = card.exchange(_READ_CC)
    # 15 bytes and the status; the NDEF file's name stands in a control TLV 04 06 at byte 7.
    if container[-2:] != OK or len(container) != 17 or container[7:9] != b"\x04\x06":
        return b""
    if card.exchange(bytes.fromhex("00A4000C02") + container[9:11])[-2:] != OK:
        return b""
    piece = max(1, min(int.from_bytes(container[3:5], "big"), _READ_BYTES))
    length = _read_binary(card, 0, 2)
    return _read_file(card, 2, min(int.from_bytes(length, "big"), MESSAGE_BYTES_MAX), piece)


def _read_file(card: Card, offset: int, length: int, piece: int) -> bytes:
    data = b""
    while len(data) < length:
        more = _read_binary(card, offset + len(data), min(piece, length - len(data)))
        if not more:
            break
        data += more
    return data


def _read_binary(card: Card, offset: int, length: int) -> bytes:
    answer = card.exchange(b"\x00\xb0" + offset.to_bytes(2, "big") + bytes([length]))
    return answer[:-2] if answer[-2:] == OK else b""
