"""May this guest pass this gate now? Pure: values in, one decision out.

The rules about an entitlement stand once, in `RULES`: `decide` stops at the first that says no, `gateway.domain.why`
asks them all.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import cached_property
from typing import Literal
from zoneinfo import ZoneInfo

import msgspec

from gateway.domain.clock import AHEAD_MAX_MS, Doubt
from gateway.domain.reasons import Reason
from gateway.domain.schedules import LocalTime, Schedule, covers, is_far_ahead, local_time

OUTSIDE: None = None
"""The place of everyone who is in no zone of the venue."""

_NOWHERE: frozenset[str] = frozenset()

CredentialState = Literal["active", "blocked", "replaced", "expired"]
CredentialKind = Literal["", "card", "wristband", "qr_code", "staff_badge"]
"""What a credential is, in the field's words; empty where nobody said. It decides nothing."""


class Credential(msgspec.Struct, frozen=True, gc=False):
    """A card, wristband, code or badge, known by its keyed reference. `holder` is who carries it, maybe among others.

    Only an `active` one opens a way in.
    """

    ref: str
    holder: str
    state: CredentialState = "active"
    valid_until_ms: int | None = None
    kind: CredentialKind = ""


class Entitlement(msgspec.Struct, frozen=True, gc=False):
    """A right to be in `zones`. No `uses_total` or `uses_per_day` means no limit; a day is one of the venue's calendar.

    Times are UTC milliseconds, the end exclusive. With an `item` it is something to be redeemed, and opens no zone.
    """

    id: str
    holder: str
    zones: tuple[str, ...]
    valid_from_ms: int | None = None
    valid_until_ms: int | None = None
    schedule: str | None = None
    uses_total: int | None = None
    reentry: bool = False
    uses_per_day: int | None = None
    item: str | None = None


class Whereabouts(msgspec.Struct, frozen=True, gc=False, array_like=True):
    """Which zone a guest is in, under which entitlement they came, and since when (UTC milliseconds)."""

    zone: str
    entitlement: str
    since_ms: int = 0


class DayUses(msgspec.Struct, frozen=True, gc=False, array_like=True):
    """How often an entitlement was used on `day`, a date of the venue's calendar such as 2026-07-03."""

    day: str
    uses: int


def count_of(counted: DayUses | None, local: LocalTime) -> DayUses:
    """Return the count of this day, or of the next one where it was used on that before the clock was set back.

    One that is further ahead was noted by a wrong clock; it would stand against the guest until that day comes.
    """
    if counted is None or counted.day < local.day or is_far_ahead(counted.day, local):
        return DayUses(local.day, 0)
    return counted


class ZoneMap(msgspec.Struct, frozen=True, dict=True):
    """The venue's zones: each with the zone around it (None for the outermost) and its capacity (None for no limit)."""

    within: Mapping[str, str | None]
    capacity: Mapping[str, int | None]

    def path(self, zone: str | None) -> tuple[str, ...]:
        """Return `zone` and every zone around it, innermost first; empty for outside and for unknown zones."""
        return self._paths.get(zone, ())

    def inside(self, zone: str) -> tuple[str, ...]:
        """Return `zone` and every zone inside it."""
        return self._insides.get(zone, ())

    def opened_by(self, zone: str | None) -> frozenset[str]:
        """Return the zones a right to which is a right to walk into `zone`: itself and those inside it."""
        return self._openers.get(zone, _NOWHERE)

    # Every tap asks several times, and the answers never change: they are worked out once.

    @cached_property
    def _paths(self) -> Mapping[str | None, tuple[str, ...]]:
        return {zone: self._outwards(zone) for zone in self.within}

    @cached_property
    def _insides(self) -> Mapping[str, tuple[str, ...]]:
        return {zone: tuple(name for name in self.within if zone in self.path(name)) for zone in self.within}

    @cached_property
    def _openers(self) -> Mapping[str | None, frozenset[str]]:
        return {zone: frozenset(inside) for zone, inside in self._insides.items()}

    def _outwards(self, zone: str | None) -> tuple[str, ...]:
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
    """What the decision needs to know of a gate: where it leads, and how anti-passback is enforced there.

    `hard` refuses a guest who is inside already, `soft` admits and flags. After `passback_reset_ms` since they came in
    nobody counts as inside any more for that; None means never.
    """

    gate: str
    from_zone: str | None
    to_zone: str | None
    anti_passback: Literal["hard", "soft", "off"] = "hard"
    passback_reset_ms: int | None = None


class Presence(msgspec.Struct, frozen=True, gc=False):
    """What is known here of one guest and the zones, at the moment of the tap.

    `blocked` is True when the venue's own block list names the credential or its holder; `doubt` is there while nobody
    vouches for the time.
    """

    whereabouts: Whereabouts | None
    uses: Mapping[str, int]
    occupancy: Mapping[str, int]
    day_uses: Mapping[str, DayUses] = {}
    blocked: bool = False
    doubt: Doubt | None = None


class Grant(msgspec.Struct, frozen=True, gc=False):
    """Entry is granted under `entitlement`; `uses` is its count of uses including this one.

    `today` is the count of the day, for an entitlement that has a limit per day. `flags` names what was let pass
    although it is not in order.
    """

    entitlement: str
    uses: int
    today: DayUses | None = None
    flags: tuple[str, ...] = ()


class Case:
    """One question: a guest at a gate at a moment. What several rules need is worked out once."""

    __slots__ = (
        "_local", "_openers", "already_there", "doubt", "full", "now_ms", "presence", "rule", "schedules", "timezone",
    )  # fmt: skip

    def __init__(
        self,
        rule: GateRule,
        zones: ZoneMap,
        schedules: Mapping[str, Schedule],
        presence: Presence,
        now_ms: int,
        timezone: ZoneInfo,
    ) -> None:
        """Put the question; times are UTC milliseconds, `timezone` is the venue's."""
        doubt = presence.doubt
        self.doubt = doubt if doubt is not None and doubt.suspends_rules else None
        self.rule, self.schedules, self.presence = rule, schedules, presence
        self.now_ms, self.timezone = now_ms, timezone
        self.already_there = _is_already_there(rule, zones, presence, now_ms)
        self.full = _is_full(rule.to_zone, zones, presence)
        self._openers = zones.opened_by(rule.to_zone)
        self._local: LocalTime | None = None

    @property
    def local(self) -> LocalTime:
        """What the venue's clock shows."""
        if self._local is None:
            self._local = local_time(self.now_ms, self.timezone)
        return self._local

    def leads_to(self, entitled: Sequence[str]) -> bool:
        """A right to an inner zone is a right to walk through the zones around it; never the other way round."""
        return not self._openers.isdisjoint(entitled)

    def uses(self, entitlement: Entitlement) -> int:
        """Return how often it was used so far."""
        return self.presence.uses.get(entitlement.id, 0)

    def uses_today(self, entitlement: Entitlement) -> int:
        """Return how often it was used on this day of the venue's calendar."""
        return self.today(entitlement).uses

    def today(self, entitlement: Entitlement) -> DayUses:
        """Return the count of this day."""
        return count_of(self.presence.day_uses.get(entitlement.id), self.local)

    def takes_use(self, entitlement: Entitlement) -> bool:
        """Return False for going deeper under the entitlement one came in with, and for coming back where allowed."""
        here = self.presence.whereabouts
        if here is not None and here.entitlement == entitlement.id and here.zone == self.rule.from_zone:
            return False
        if not entitlement.reentry:
            return True
        # With a limit per day the first entry of each day is a new use; coming back that day is none.
        counted = self.uses(entitlement) if entitlement.uses_per_day is None else self.uses_today(entitlement)
        return counted == 0


Rule = Callable[[Entitlement, Case], Reason | None]


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
    if presence.blocked or credential.state == "blocked":
        return Reason.BLOCKED
    if zones.is_exit(rule.from_zone, rule.to_zone):
        return _leave(presence)
    case = Case(rule, zones, schedules, presence, now_ms, timezone)
    if fault := credential_fault(credential, now_ms, case.doubt):
        return fault
    best = Reason.WRONG_ZONE
    for entitlement in entitlements:
        verdict = judge(entitlement, case)
        if isinstance(verdict, Grant):
            return verdict
        if _PROGRESS[verdict] > _PROGRESS[best]:
            best = verdict
    return best


def credential_fault(credential: Credential, now_ms: int, doubt: Doubt | None = None) -> Reason | None:
    """Return why a credential that is not blocked opens no way in: it was replaced, or its time is over."""
    if credential.state == "replaced":
        return Reason.REPLACED
    if doubt is not None and doubt.suspends_rules and credential.valid_until_ms is not None:
        return Reason.EXPIRED if credential.state == "expired" else doubt.verdict(credential.valid_until_ms)
    over = credential.valid_until_ms is not None and now_ms >= credential.valid_until_ms
    return Reason.EXPIRED if over or credential.state == "expired" else None


def judge(entitlement: Entitlement, case: Case) -> Grant | Reason:
    """Return what one entitlement alone gives in this case."""
    for _, rule in RULES:
        if (reason := rule(entitlement, case)) is not None:
            return reason
    taken = 1 if case.takes_use(entitlement) else 0
    today = None
    if entitlement.uses_per_day is not None:
        counted = case.today(entitlement)
        today = DayUses(counted.day, counted.uses + taken)
    flags = (Reason.ALREADY_INSIDE.value,) if case.already_there and case.rule.anti_passback == "soft" else ()
    if case.doubt is not None and is_time_limited(entitlement):
        flags = (*flags, Reason.CLOCK_UNTRUSTED.value)
    return Grant(entitlement.id, case.uses(entitlement) + taken, today, flags)


def is_time_limited(entitlement: Entitlement) -> bool:
    """Return True where the right depends on what time it is."""
    times = entitlement.valid_from_ms, entitlement.valid_until_ms, entitlement.schedule, entitlement.uses_per_day
    return times != (None, None, None, None)


def _leave(presence: Presence) -> Grant:
    """Grant a way out; nothing is used up by leaving."""
    entitlement = presence.whereabouts.entitlement if presence.whereabouts else ""
    return Grant(entitlement, presence.uses.get(entitlement, 0))


def _zone(entitlement: Entitlement, case: Case) -> Reason | None:
    return None if case.leads_to(entitlement.zones) else Reason.WRONG_ZONE


def _validity(entitlement: Entitlement, case: Case) -> Reason | None:
    if case.doubt is not None:
        return case.doubt.verdict(entitlement.valid_until_ms) if is_time_limited(entitlement) else None
    if entitlement.valid_from_ms is not None and case.now_ms < entitlement.valid_from_ms:
        return Reason.NOT_YET_VALID
    if entitlement.valid_until_ms is not None and case.now_ms >= entitlement.valid_until_ms:
        return Reason.EXPIRED
    return None


def _schedule(entitlement: Entitlement, case: Case) -> Reason | None:
    if entitlement.schedule is None or case.doubt is not None:
        return None
    schedule = case.schedules.get(entitlement.schedule)
    # A schedule that is not known cannot be met: the safe side is the closed gate.
    return None if schedule is not None and covers(schedule, case.local) else Reason.OUTSIDE_SCHEDULE


def _uses(entitlement: Entitlement, case: Case) -> Reason | None:
    if entitlement.uses_total is None or not case.takes_use(entitlement):
        return None
    return Reason.NO_USES_LEFT if case.uses(entitlement) >= entitlement.uses_total else None


def _uses_per_day(entitlement: Entitlement, case: Case) -> Reason | None:
    if entitlement.uses_per_day is None or not case.takes_use(entitlement):
        return None
    return Reason.NO_USES_LEFT_TODAY if case.uses_today(entitlement) >= entitlement.uses_per_day else None


def _anti_passback(_: Entitlement, case: Case) -> Reason | None:
    return Reason.ALREADY_INSIDE if case.already_there and case.rule.anti_passback == "hard" else None


def _capacity(_: Entitlement, case: Case) -> Reason | None:
    return Reason.CAPACITY_REACHED if case.full else None


RULES: tuple[tuple[str, Rule], ...] = (
    ("zone", _zone),
    ("validity", _validity),
    ("schedule", _schedule),
    ("uses", _uses),
    ("uses_per_day", _uses_per_day),
    ("anti_passback", _anti_passback),
    ("capacity", _capacity),
)
"""What an entitlement must pass, in this order."""

_PROGRESS = {
    reason: place
    for place, reason in enumerate(
        [
            Reason.WRONG_ZONE,
            Reason.EXPIRED,
            Reason.CLOCK_UNTRUSTED,
            Reason.NOT_YET_VALID,
            Reason.OUTSIDE_SCHEDULE,
            Reason.NO_USES_LEFT,
            Reason.NO_USES_LEFT_TODAY,
            Reason.ALREADY_INSIDE,
            Reason.CAPACITY_REACHED,
        ]
    )
}
"""Reasons in the order the checks run; a later one means the guest came closer to being let in."""


def _is_already_there(rule: GateRule, zones: ZoneMap, presence: Presence, now_ms: int) -> bool:
    here = presence.whereabouts
    if here is None or rule.to_zone not in zones.path(here.zone):
        return False
    return rule.passback_reset_ms is None or -AHEAD_MAX_MS <= now_ms - here.since_ms < rule.passback_reset_ms


def _is_full(to_zone: str | None, zones: ZoneMap, presence: Presence) -> bool:
    """A zone is full with everyone in it and in the zones inside it; those already counted there take no new place."""
    already = zones.path(presence.whereabouts.zone) if presence.whereabouts else ()
    for zone in zones.path(to_zone):
        limit = zones.capacity.get(zone)
        if limit is not None and zone not in already and presence.occupancy.get(zone, 0) >= limit:
            return True
    return False
