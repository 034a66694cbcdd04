"""ISO-DEP (ISO/IEC 14443-4): RATS, blocks in both directions, and what lies behind: APDUs."""

from __future__ import annotations

from typing import ClassVar

from simulators.cards.card import Card, RandomBytes

ATS = bytes.fromhex("067577810280")
FRAME_BYTES = 60
"""What a card says in one block; longer answers are chained."""


class IsoDepCard(Card):
    """A card that takes APDUs."""

    sens_res: ClassVar[bytes] = bytes.fromhex("4403")
    sak: ClassVar[int] = 0x20

    def __init__(self, uid: bytes, random_bytes: RandomBytes = bytes) -> None:
        super().__init__(uid, random_bytes)
        self._command, self._left, self._last = b"", b"", b""

    def select(self) -> None:
        """A new session."""
        self._command = self._left = self._last = b""
        self.deselected()

    def deselected(self) -> None:
        """Forget what was proven."""

    def apdu(self, command: bytes) -> bytes:
        """Answer one APDU, status included."""
        del command
        return b"\x6d\x00"

    def exchange(self, frame: bytes) -> bytes | None:
        """Answer RATS or one block."""
        if not frame:
            return None
        if frame[0] == 0xE0:
            return ATS
        if frame[0] & 0xE2 == 0x02:
            return self._information(frame)
        if frame[0] & 0xF6 == 0xA2:
            return self._next(frame[0] & 1)
        if frame[0] & 0xF6 == 0xB2:
            # A question after noise: the last block again, or an acknowledgement if there is none.
            return self._last or bytes([0xA2 | (frame[0] & 1)])
        return b"\xc2" if frame[0] == 0xC2 else None

    def _information(self, frame: bytes) -> bytes:
        self._command += frame[1:]
        if frame[0] & 0x10:
            return bytes([0xA2 | (frame[0] & 1)])
        command, self._command = self._command, b""
        self._left = self.apdu(command)
        return self._next(frame[0] & 1)

    def _next(self, number: int) -> bytes:
        piece, self._left = self._left[:FRAME_BYTES], self._left[FRAME_BYTES:]
        self._last = bytes([(0x12 if self._left else 0x02) | number]) + piece
        return self._last
