"""May this guest pass this gate now? Pure: values in, one decision out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime, time, timedelta
from typing import Literal
from zoneinfo import ZoneInfo

import msgspec

from gateway.domain.reasons import Reason

OUTSIDE: None = None
"""The place of everyone who is in no zone of the venue."""

MS_PER_S = 1000


class Credential(msgspec.Struct, frozen=True, gc=False):
    """A card, wristband or code, known by its keyed reference. `holder` is who carries it."""

    ref: str
    holder: str
    state: Literal["active", "blocked"] = "active"
    valid_until_ms: int | None = None


class Window(msgspec.Struct, frozen=True):
    """A span of local wall-clock time on weekday `day` (Monday is 0). It runs past midnight when `end` ≤ `start`."""

    day: int
    start: time
    end: time


class Schedule(msgspec.Struct, frozen=True):
    """When an entitlement counts: any of the weekly windows, in the venue's time zone."""

    id: str
    windows: tuple[Window, ...]


class Entitlement(msgspec.Struct, frozen=True, gc=False):
    """A right to be in `zones`. `uses_total` None means unlimited; times are UTC milliseconds, the end exclusive."""

    id: str
    holder: str
    zones: tuple[str, ...]
    valid_from_ms: int | None = None
    valid_until_ms: int | None = None
    schedule: str | None = None
    uses_total: int | None = None
    reentry: bool = False


class Whereabouts(msgspec.Struct, frozen=True, gc=False, array_like=True):
    """Which zone a guest is in, and under which entitlement they came."""

    zone: str
    entitlement: str


class ZoneMap(msgspec.Struct, frozen=True):
    """The venue's zones: each with the zone around it (None for the outermost) and its capacity (None for no limit)."""

    within: Mapping[str, str | None]
    capacity: Mapping[str, int | None]

    def path(self, zone: str | None) -> tuple[str, ...]:
        """Return `zone` and every zone around it, innermost first; empty for outside and for unknown zones."""
        found: list[str] = []
        while zone is not None and zone in self.within and zone not in found:
            found.append(zone)
            zone = self.within[zone]
        return tuple(found)

    def is_exit(self, from_zone: str | None, to_zone: str | None) -> bool:
        """Return True when going from `from_zone` to `to_zone` only leaves: the target is around the start."""
        if from_zone is None:
            return False
        return to_zone is None or (to_zone != from_zone and to_zone in self.path(from_zone))


class GateRule(msgspec.Struct, frozen=True):
    """What the decision needs to know of a gate: where it leads, and whether anti-passback is enforced there."""

    gate: str
    from_zone: str | None
    to_zone: str | None
    anti_passback: Literal["hard", "off"] = "hard"


class Presence(msgspec.Struct, frozen=True, gc=False):
    """What is known here of one guest and the zones, at the moment of the tap."""

    whereabouts: Whereabouts | None
    uses: Mapping[str, int]
    occupancy: Mapping[str, int]


class Grant(msgspec.Struct, frozen=True, gc=False):
    """Entry is granted under `entitlement`; `uses` is its count of uses including this one."""

    entitlement: str
    uses: int


def decide(
    rule: GateRule,
    zones: ZoneMap,
    credential: Credential,
    entitlements: Sequence[Entitlement],
    schedules: Mapping[str, Schedule],
    presence: Presence,
    now_ms: int,
    timezone: ZoneInfo,
) -> Grant | Reason:
    """Return the grant, or the one reason against it.

    Of several entitlements the first that admits is used; when none does, the reason is that of the one that came
    furthest through the checks, so that a guest with an old and a used ticket hears of the used one. Leaving is never
    refused to a known, unblocked credential.
    """
    if credential.state == "blocked":
        return Reason.BLOCKED
    if zones.is_exit(rule.from_zone, rule.to_zone):
        return _leave(presence)
    if credential.valid_until_ms is not None and now_ms >= credential.valid_until_ms:
        return Reason.EXPIRED
    best = Reason.WRONG_ZONE
    for entitlement in entitlements:
        verdict = _judge(entitlement, rule, zones, schedules, presence, now_ms, timezone)
        if isinstance(verdict, Grant):
            return verdict
        best = max(best, verdict, key=_PROGRESS.index)
    return best


_PROGRESS = [
    Reason.WRONG_ZONE,
    Reason.EXPIRED,
    Reason.NOT_YET_VALID,
    Reason.OUTSIDE_SCHEDULE,
    Reason.NO_USES_LEFT,
    Reason.ALREADY_INSIDE,
    Reason.CAPACITY_REACHED,
]
"""Reasons in the order the checks run; a later one means the guest came closer to being let in."""


def _leave(presence: Presence) -> Grant:
    """Grant a way out; nothing is used up by leaving."""
    entitlement = presence.whereabouts.entitlement if presence.whereabouts else ""
    return Grant(entitlement, presence.uses.get(entitlement, 0))


def _judge(
    entitlement: Entitlement,
    rule: GateRule,
    zones: ZoneMap,
    schedules: Mapping[str, Schedule],
    presence: Presence,
    now_ms: int,
    timezone: ZoneInfo,
) -> Grant | Reason:
    if not _covers(entitlement, rule.to_zone, zones):
        return Reason.WRONG_ZONE
    if reason := _out_of_time(entitlement, schedules, now_ms, timezone):
        return reason
    uses = presence.uses.get(entitlement.id, 0)
    moving_on = _moves_on(entitlement, rule, presence)
    if not moving_on and not (entitlement.reentry and uses > 0):
        uses += 1
        if entitlement.uses_total is not None and uses > entitlement.uses_total:
            return Reason.NO_USES_LEFT
    if rule.anti_passback == "hard" and _is_already_there(rule, zones, presence):
        return Reason.ALREADY_INSIDE
    if _full(rule.to_zone, zones, presence):
        return Reason.CAPACITY_REACHED
    return Grant(entitlement.id, uses)


def _covers(entitlement: Entitlement, to_zone: str | None, zones: ZoneMap) -> bool:
    """A right to an inner zone is a right to walk through the zones around it; never the other way round."""
    return any(to_zone in zones.path(zone) for zone in entitlement.zones)


def _out_of_time(
    entitlement: Entitlement, schedules: Mapping[str, Schedule], now_ms: int, timezone: ZoneInfo
) -> Reason | None:
    if entitlement.valid_from_ms is not None and now_ms < entitlement.valid_from_ms:
        return Reason.NOT_YET_VALID
    if entitlement.valid_until_ms is not None and now_ms >= entitlement.valid_until_ms:
        return Reason.EXPIRED
    if entitlement.schedule is not None:
        schedule = schedules.get(entitlement.schedule)
        # A schedule that is not known cannot be met: the safe side is the closed gate.
        if schedule is None or not in_schedule(schedule, now_ms, timezone):
            return Reason.OUTSIDE_SCHEDULE
    return None


def _moves_on(entitlement: Entitlement, rule: GateRule, presence: Presence) -> bool:
    """Going deeper under the entitlement one came in with is no new use of it."""
    here = presence.whereabouts
    return here is not None and here.entitlement == entitlement.id and here.zone == rule.from_zone


def _is_already_there(rule: GateRule, zones: ZoneMap, presence: Presence) -> bool:
    here = presence.whereabouts
    return here is not None and rule.to_zone in zones.path(here.zone)


def _full(to_zone: str | None, zones: ZoneMap, presence: Presence) -> bool:
    """A zone is full with everyone in it and in the zones inside it; those already counted there take no new place."""
    already = set(zones.path(presence.whereabouts.zone)) if presence.whereabouts else set()
    for zone in zones.path(to_zone):
        limit = zones.capacity.get(zone)
        if limit is not None and zone not in already and presence.occupancy.get(zone, 0) >= limit:
            return True
    return False


def in_schedule(schedule: Schedule, now_ms: int, timezone: ZoneInfo) -> bool:
    """Return True when the local wall clock at `now_ms` (UTC milliseconds) lies in one of the weekly windows.

    Windows are wall-clock times: on the two nights of a clock change a window keeps its local start and end, so it
    lasts an hour more or less. A window that runs past midnight belongs to the day on which it starts.
    """
    local = datetime.fromtimestamp(now_ms / MS_PER_S, tz=timezone)
    today, yesterday = local.weekday(), (local - timedelta(days=1)).weekday()
    # An aware datetime minus a day is wall-clock arithmetic, so the weekday is right on clock-change nights too.
    clock = local.time()
    for window in schedule.windows:
        past_midnight = window.end <= window.start
        if window.day == today and window.start <= clock and (past_midnight or clock < window.end):
            return True
        if past_midnight and window.day == yesterday and clock < window.end:
            return True
    return False
