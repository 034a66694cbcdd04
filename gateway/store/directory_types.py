"""What lies in a directory's file, as types."""

from __future__ import annotations

import msgspec

from gateway.domain.schedules import Schedule
from gateway.domain.tickets import IssuerKey


class StoredEntitlement(msgspec.Struct, frozen=True, array_like=True):
    """An entitlement as it lies in its holder's row: the members in a fixed order, without names."""

    id: str
    zones: tuple[str, ...]
    valid_from_ms: int | None
    valid_until_ms: int | None
    schedule: str | None
    uses_total: int | None
    reentry: bool
    uses_per_day: int | None
    item: str | None = None


class Counts(msgspec.Struct, frozen=True):
    """How much of each kind is in a directory."""

    credentials: int = 0
    entitlements: int = 0
    schedules: int = 0
    zones: int = 0
    issuer_keys: int = 0
    wallets: int = 0


class Summary(msgspec.Struct, frozen=True):
    """What is known of a directory without looking anybody up. `made_with` is the fingerprint of its credential key.

    `cursor` is how many of upstream's changes are in it; 0 when it was imported by hand.
    """

    version: str = ""
    made_with: str = ""
    counts: Counts = Counts()
    zones: dict[str, str | None] = {}
    schedules: dict[str, Schedule] = {}
    issuer_keys: tuple[IssuerKey, ...] = ()
    cursor: int = 0

    @property
    def origin(self) -> str:
        """Which import it goes back to, however often it was changed since."""
        return self.version.partition("+")[0]
