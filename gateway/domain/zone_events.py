"""Facts about zones and the block list: what staff order. `zone` is empty for the whole venue."""

from __future__ import annotations

from typing import TypeAlias

from gateway.domain.event import Event, RequestRef


class ZoneLockedDown(Event, frozen=True, tag="zone.locked_down"):
    """Nobody is admitted into the zone, nor into the zones inside it, until it is restored. Leaving goes on."""

    zone: str
    client: str
    reason: str
    request: RequestRef | None = None


class ZoneReleased(Event, frozen=True, tag="zone.released"):
    """Emergency: every gate into, out of and inside the zone is held open until it is restored."""

    zone: str
    client: str
    reason: str
    request: RequestRef | None = None


class ZoneRestored(Event, frozen=True, tag="zone.restored"):
    """The zone's own lockdown or emergency is over. `still` names those around it that go on."""

    zone: str
    client: str
    reason: str
    still: tuple[str, ...] = ()
    request: RequestRef | None = None


class ZoneReset(Event, frozen=True, tag="zone.reset"):
    """At the zone's reset time everyone who had come before `before_ms` counts as gone from it and all inside it.

    So does whoever is noted to come after `after_ms`, which lies in the future: the clock was wrong when they came.
    """

    zone: str
    zones: tuple[str, ...]
    before_ms: int
    guests: int
    after_ms: int | None = None


class CredentialBlocked(Event, frozen=True, tag="credential.blocked"):
    """A credential, or all that a holder carries, is refused at every gate and till from here on."""

    client: str
    reason: str
    credential: str = ""
    holder: str = ""
    request: RequestRef | None = None


class CredentialCounted(Event, frozen=True, tag="credential.counted"):
    """A card that signs how often it was read has shown `counter`: from here on only a higher one is taken."""

    credential: str
    counter: int


class CredentialUnblocked(Event, frozen=True, tag="credential.unblocked"):
    """A credential or holder is off the venue's own block list; what the directory says of them still counts."""

    client: str
    reason: str
    credential: str = ""
    holder: str = ""
    request: RequestRef | None = None


ZoneEvent: TypeAlias = (
    CredentialBlocked
    | CredentialCounted
    | CredentialUnblocked
    | ZoneLockedDown
    | ZoneReleased
    | ZoneReset
    | ZoneRestored
)
"""Every fact about zones, the block list and what cards showed."""
