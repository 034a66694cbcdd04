"""Zones as staff order them: lockdown, emergency release, and the hour at which everyone counts as gone. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, time, timedelta
from typing import TYPE_CHECKING, Literal
from zoneinfo import ZoneInfo

import msgspec

from gateway.domain import zone_events as z
from gateway.domain.access import GateRule, Whereabouts, ZoneMap
from gateway.domain.clock import AHEAD_MAX_MS
from gateway.domain.schedules import MS_PER_S

if TYPE_CHECKING:
    from gateway.domain.state import VenueState

ClosureKind = Literal["lockdown", "emergency"]
VENUE = ""
"""Stands for the whole venue where a zone is named."""


BLOCKS_MAX = 100_000
"""How many credentials and holders the venue's own block list holds; a longer one belongs into the directory."""


class Closure(msgspec.Struct, frozen=True):
    """A zone that staff locked down or released in an emergency: who, and why."""

    kind: ClosureKind
    client: str
    reason: str


class Block(msgspec.Struct, frozen=True):
    """One entry of the venue's own block list: who put it there, and why."""

    client: str
    reason: str


def block_key(credential: str, holder: str) -> str:
    """Return the key of a block: of a credential's reference, or of a holder when there is none."""
    return f"credential\x1f{credential}" if credential else f"holder\x1f{holder}"


def closure_at(rule: GateRule, zones: ZoneMap, closures: Mapping[str, Closure]) -> ClosureKind | None:
    """Return what staff ordered for this gate, or None in normal times.

    An emergency opens every gate into, out of and inside its zone. A lockdown closes those that lead into its zone or
    further inside; it keeps nobody in.
    """
    if not closures:
        return None
    inwards = (VENUE, *zones.path(rule.to_zone))
    for zone in (*inwards, *zones.path(rule.from_zone)):
        if zone in closures and closures[zone].kind == "emergency":
            return "emergency"
    if zones.is_exit(rule.from_zone, rule.to_zone):
        return None
    return "lockdown" if any(zone in closures for zone in inwards) else None


def closure_of(zone: str, zones: ZoneMap, closures: Mapping[str, Closure]) -> ClosureKind | None:
    """Return what is in force in a zone, ordered for it or for one around it; an emergency goes before a lockdown."""
    kinds = {closures[name].kind for name in (VENUE, *zones.path(zone)) if name in closures}
    return "emergency" if "emergency" in kinds else "lockdown" if kinds else None


def closures_around(zone: str, zones: ZoneMap, closures: Mapping[str, Closure]) -> tuple[str, ...]:
    """Return the closed or released zones around `zone`, without itself; empty text stands for the whole venue."""
    around = (*zones.path(zone), *((VENUE,) if zone != VENUE else ()))
    return tuple(name for name in around if name != zone and name in closures)


def last_reset_ms(reset_at: time, now_ms: int, timezone: ZoneInfo) -> int:
    """Return when the venue's clock last showed `reset_at`, in UTC milliseconds.

    A time that the clock skips in spring counts where it would have been; one that comes twice in autumn, at its first.
    """
    now = datetime.fromtimestamp(now_ms / MS_PER_S, tz=timezone)
    day = now.date()
    while (due := datetime.combine(day, reset_at, tzinfo=timezone)).timestamp() > now.timestamp():
        day -= timedelta(days=1)
    return int(due.timestamp()) * MS_PER_S


def reset(state: VenueState, zone: str, before_ms: int, now_ms: int) -> list[z.ZoneReset]:
    """Return the fact that empties `zone` of everyone who came before `before_ms`; none when there is nobody.

    Whoever is noted to come long after `now_ms` was let in by a clock that was wrong then, and goes too.
    """
    inside = state.zones.inside(zone)
    found = z.ZoneReset(zone=zone, zones=inside, before_ms=before_ms, guests=0, after_ms=now_ms + AHEAD_MAX_MS)
    guests = sum(is_reset(here, found) for here in state.where.values())
    return [msgspec.structs.replace(found, guests=guests)] if guests else []


def is_reset(here: Whereabouts, event: z.ZoneReset) -> bool:
    """Return True where a guest counts as gone by this reset."""
    late = event.after_ms is not None and here.since_ms > event.after_ms
    return here.zone in event.zones and (here.since_ms < event.before_ms or late)
