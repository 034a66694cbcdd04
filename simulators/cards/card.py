"""What every simulated card answers when it is found, and where its random numbers come from."""

from __future__ import annotations

from collections.abc import Callable
from typing import ClassVar

RandomBytes = Callable[[int], bytes]


class Card:
    """A card in the field. `exchange` takes one frame without checksum; None is silence."""

    sens_res: ClassVar[bytes] = bytes.fromhex("4400")
    sak: ClassVar[int] = 0x00

    def __init__(self, uid: bytes, random_bytes: RandomBytes = bytes) -> None:
        self.uid = uid
        self.random_bytes = random_bytes

    def select(self) -> None:
        """The field came back: forget what was under way."""

    def exchange(self, frame: bytes) -> bytes | None:
        """Answer one frame."""
        raise LookupError(frame)


class ClassicCard(Card):
    """A MIFARE Classic 1K: a number and no more."""

    sens_res = bytes.fromhex("0400")
    sak = 0x08

    def exchange(self, frame: bytes) -> bytes | None:
        """Silent: its own cipher is not simulated."""
        del frame
        return None


class FelicaCard(Card):
    """A FeliCa card; `uid` is its IDm of eight bytes."""

    def exchange(self, frame: bytes) -> bytes | None:
        """Silent after polling."""
        del frame
        return None
