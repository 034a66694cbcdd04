"""What a till needs of a reader."""

from __future__ import annotations

from typing import Protocol


class ReaderPort(Protocol):
    """A reader as the supervisor hands it out."""

    @property
    def online(self) -> bool:
        """True while the reader can read."""
        ...
