"""NDEF: the texts and addresses on a tag. NFC Forum NDEF 1.0, RTD Text 1.0, RTD URI 1.0, Type 2 Tag 1.1 (TLV).

A tag may hold anything, so a message is read as far as it is well formed; what follows is left.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Literal

import msgspec

MESSAGE_BYTES_MAX = 4096
"""More is not read: no ticket is longer, and a tag must not keep a reader busy for seconds."""
RECORDS_MAX = 32
_NULL_TLV, _NDEF_TLV, _END_TLV = 0x00, 0x03, 0xFE
_SHORT, _ID, _CHUNK = 0x10, 0x08, 0x20
_WELL_KNOWN, _ABSOLUTE_URI = 0x01, 0x03

URI_PREFIXES = (
    "", "http://www.", "https://www.", "http://", "https://", "tel:", "mailto:", "ftp://anonymous:anonymous@",
    "ftp://ftp.", "ftps://", "sftp://", "smb://", "nfs://", "ftp://", "dav://", "news:", "telnet://", "imap:", "rtsp://",
    "urn:", "pop:", "sip:", "sips:", "tftp:", "btspp://", "btl2cap://", "btgoep://", "tcpobex://", "irdaobex://",
    "file://", "urn:epc:id:", "urn:epc:tag:", "urn:epc:pat:", "urn:epc:raw:", "urn:epc:", "urn:nfc:",
)  # fmt: skip
"""What the first byte of a URI record stands for (RTD URI 1.0, table 3)."""


class NdefText(msgspec.Struct, frozen=True):
    """A text or an address on a tag."""

    kind: Literal["text", "uri"]
    value: str

    def __repr__(self) -> str:
        return f"NdefText(kind={self.kind!r}, value=<hidden>)"


def texts(message: bytes) -> list[NdefText]:
    """Return the texts and addresses of an NDEF message, in its order, as far as it is well formed."""
    found = (_text(*record) for record in _records(message[:MESSAGE_BYTES_MAX]))
    return [one for one in found if one is not None and one.value]


def message_length(memory: bytes) -> tuple[int, int] | None:
    """Return where the NDEF message in a Type 2 tag's data area begins and how long it is; None where there is none.

    `memory` is the data area from its first byte (block 4) as far as it was read.
    """
    at = 0
    while at < len(memory) and memory[at] != _END_TLV:
        tag, at = memory[at], at + 1
        if tag == _NULL_TLV:
            continue
        length, at = _tlv_length(memory, at)
        if length is None:
            return None
        if tag == _NDEF_TLV:
            return at, length
        at += length
    return None


def _tlv_length(memory: bytes, at: int) -> tuple[int | None, int]:
    """Return a TLV's length and where its value begins; one byte, or three where the first is FF."""
    if at >= len(memory):
        return None, at
    if memory[at] != 0xFF:
        return memory[at], at + 1
    if at + 3 > len(memory):
        return None, at
    return int.from_bytes(memory[at + 1 : at + 3], "big"), at + 3


def _records(message: bytes) -> Iterator[tuple[int, bytes, bytes]]:
    """Yield type name format, type and payload of each whole record; chunked ones are left out."""
    at = 0
    for _ in range(RECORDS_MAX):
        if at + 3 > len(message):
            return
        flags, type_length = message[at], message[at + 1]
        size = 1 if flags & _SHORT else 4
        payload_length = int.from_bytes(message[at + 2 : at + 2 + size], "big")
        at += 2 + size
        id_length = 0
        if flags & _ID:
            if at >= len(message):
                return
            id_length, at = message[at], at + 1
        payload_at = at + type_length + id_length
        end = payload_at + payload_length
        if end > len(message):
            return
        if not flags & _CHUNK:
            yield flags & 0x07, message[at : at + type_length], message[payload_at:end]
        at = end


def _text(name_format: int, kind: bytes, payload: bytes) -> NdefText | None:
    if name_format == _WELL_KNOWN and kind == b"U" and payload:
        prefix = URI_PREFIXES[payload[0]] if payload[0] < len(URI_PREFIXES) else ""
        return NdefText("uri", prefix + payload[1:].decode("utf-8", "replace"))
    if name_format == _WELL_KNOWN and kind == b"T" and payload:
        # Bit 7 tells UTF-16 from UTF-8, the low six bits the length of the language's code.
        encoding = "utf-16" if payload[0] & 0x80 else "utf-8"
        return NdefText("text", payload[1 + (payload[0] & 0x3F) :].decode(encoding, "replace"))
    if name_format == _ABSOLUTE_URI:
        return NdefText("uri", kind.decode("utf-8", "replace"))
    return None
