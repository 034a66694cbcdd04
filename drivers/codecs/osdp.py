"""OSDP frames: what passes on the RS-485 bus between a control panel and the readers on it.

A frame is `53`, address (bit 7 set in a reply), length in two bytes, a control byte (sequence number, CRC or checksum,
security block or none), an optional security block, one byte of command or reply, its data, four bytes of message
authentication code where it is secured, and a CRC-16 (polynomial 1021, from 1D0F, low byte first) or a checksum.
"""

from __future__ import annotations

from binascii import crc_hqx

import msgspec

from drivers.codecs.decoder import Decoder

SOM = 0x53
MARK = 0xFF
BROADCAST = 0x7F
MAX_FRAME_BYTES = 1440
MAC_BYTES = 4

_REPLY = 0x80
_SEQUENCE = 0x03
_CRC = 0x04
_SECURE = 0x08
_HEADER_BYTES = 5
_WITH_MAC = frozenset({0x15, 0x16, 0x17, 0x18})


class SecurityBlock(msgspec.Struct, frozen=True):
    """What a frame says of its protection: `kind` 0x11 to 0x14 is the handshake, 0x15 to 0x18 the secure channel."""

    kind: int
    data: bytes = b""

    @property
    def has_mac(self) -> bool:
        """True for the kinds whose frames end in a message authentication code."""
        return self.kind in _WITH_MAC


class Frame(msgspec.Struct, frozen=True):
    """One frame whose CRC or checksum is right. `signed` is what the authentication code `mac` was made over."""

    address: int
    reply: bool
    sequence: int
    code: int
    data: bytes = b""
    block: SecurityBlock | None = None
    mac: bytes = b""
    signed: bytes = b""
    crc: bool = True

    def __repr__(self) -> str:
        return f"Frame(address={self.address}, reply={self.reply}, code={self.code:#04x}, data=<hidden>)"


class OsdpDecoder(Decoder[Frame]):
    """Finds frames, those of the panel and those of readers: some converters hand back what was sent."""

    LIMIT_BYTES = 4096

    def reset(self) -> None:
        """Forget half a frame: nobody will send the rest of it."""
        self._buffer.clear()

    def _next_frame(self) -> Frame | None:
        while self._seek():
            length = int.from_bytes(self._buffer[2:4], "little")
            if len(self._buffer) < length:
                return None
            if (frame := _frame(bytes(self._buffer[:length]))) is not None:
                del self._buffer[:length]
                return frame
            self._drop(1, "wrong checksum")
        return None

    def _seek(self) -> bool:
        """Bring a frame's first byte to the front; False while its header is not there yet."""
        while True:
            start = self._buffer.find(SOM)
            noise = self._buffer[: start if start >= 0 else len(self._buffer)]
            # Marks belong to the protocol: they are no noise.
            marks = noise.count(MARK)
            del self._buffer[: len(noise)]
            self._refuse(len(noise) - marks, "no frame")
            if len(self._buffer) < _HEADER_BYTES:
                return False
            if _is_header(self._buffer):
                return True
            self._drop(1, "no frame")


def _is_header(buffer: bytearray) -> bool:
    length = int.from_bytes(buffer[2:4], "little")
    least = _HEADER_BYTES + 1 + _check_bytes(buffer[4]) + (2 if buffer[4] & _SECURE else 0)
    return least <= length <= MAX_FRAME_BYTES and not buffer[4] & 0xF0


def _check_bytes(control: int) -> int:
    return 2 if control & _CRC else 1


def _frame(raw: bytes) -> Frame | None:
    """Return what `raw`, a frame by its length, says; None when its check or its inner lengths are wrong."""
    control = raw[4]
    signed, check = raw[: -_check_bytes(control)], raw[-_check_bytes(control) :]
    if check != check_of(signed, crc=bool(control & _CRC)):
        return None
    body, block, mac = signed[_HEADER_BYTES:], None, b""
    if control & _SECURE:
        if not 2 <= body[0] < len(body):
            return None
        block, body = SecurityBlock(body[1], body[2 : body[0]]), body[body[0] :]
        if block.has_mac:
            if len(body) <= MAC_BYTES:
                return None
            body, mac, signed = body[:-MAC_BYTES], body[-MAC_BYTES:], signed[:-MAC_BYTES]
    return Frame(
        address=raw[1] & 0x7F,
        reply=bool(raw[1] & _REPLY),
        sequence=control & _SEQUENCE,
        code=body[0],
        data=body[1:],
        block=block,
        mac=mac,
        signed=signed,
        crc=bool(control & _CRC),
    )


def check_of(data: bytes, *, crc: bool) -> bytes:
    """Return the two bytes of CRC or the one of checksum that follow `data`."""
    if crc:
        return crc_hqx(data, 0x1D0F).to_bytes(2, "little")
    return bytes([-sum(data) & 0xFF])


def unsigned_frame(frame: Frame) -> bytes:
    """Return a frame up to where its authentication code or, without one, its check begins.

    Raises ValueError when it is longer than a frame can be.
    """
    block = b""
    if frame.block is not None:
        block = bytes([2 + len(frame.block.data), frame.block.kind]) + frame.block.data
    body = block + bytes([frame.code]) + frame.data
    mac_bytes = MAC_BYTES if frame.block is not None and frame.block.has_mac else 0
    length = _HEADER_BYTES + len(body) + mac_bytes + (2 if frame.crc else 1)
    if length > MAX_FRAME_BYTES:
        raise ValueError(f"an OSDP frame has at most {MAX_FRAME_BYTES} bytes, not {length}")
    control = frame.sequence | (_CRC if frame.crc else 0) | (_SECURE if block else 0)
    address = frame.address | (_REPLY if frame.reply else 0)
    return bytes([SOM, address]) + length.to_bytes(2, "little") + bytes([control]) + body


def encode(frame: Frame) -> bytes:
    """Return the bytes of a frame for the wire, with its mark; `mac` stands in it as it is given."""
    signed = unsigned_frame(frame) + frame.mac
    return bytes([MARK]) + signed + check_of(signed, crc=frame.crc)
