"""What a payment needs of the rest: readers, the directory, and the key that makes references of card numbers."""

from __future__ import annotations

from typing import Protocol

from gateway.domain.access import Credential
from gateway.domain.wallet import Opening


class ReaderPort(Protocol):
    """A reader as the supervisor hands it out."""

    @property
    def online(self) -> bool:
        """True while the reader can read."""
        ...


class GuestBook(Protocol):
    """What of the directory a payment needs."""

    @property
    def loaded(self) -> bool:
        """True when there is a directory."""
        ...

    @property
    def version(self) -> str:
        """A digest of what is in the directory."""
        ...

    @property
    def as_of_ms(self) -> int:
        """When upstream's word came: UTC milliseconds."""
        ...

    def credential(self, ref: str) -> Credential | None:
        """Return who carries this credential."""
        ...

    def wallet(self, holder: str) -> Opening | None:
        """Return what upstream says is in a guest's wallet; None for a guest without one."""
        ...


class References(Protocol):
    """Makes references of card numbers."""

    def ref(self, technology: str, value: str) -> str:
        """Return the keyed reference of a card or code."""
        ...
