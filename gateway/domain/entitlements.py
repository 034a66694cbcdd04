"""May this guest use that up now, and what is used then? Pure: values in, facts or the one reason against them out.

An entitlement with an `item` is something to be redeemed: a drink, a place in the cloakroom, a better seat. It opens no
gate. The rules about it stand once, in `RULES`: `decide` stops at the first that says no, `explain` asks them all.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any
from zoneinfo import ZoneInfo

import msgspec

from gateway.domain.access import DayUses, Entitlement, count_of, is_time_limited
from gateway.domain.clock import Doubt
from gateway.domain.reasons import Reason
from gateway.domain.redemption_events import Line, Used
from gateway.domain.redemptions import Part, Redeemed
from gateway.domain.schedules import LocalTime, Schedule, covers, local_time

NEVER_MS = 1 << 62
"""Later than any end: what has none is used last."""
OK = "ok"


class Refusal(msgspec.Struct, frozen=True):
    """The one reason against a redemption or an undoing, and the item of the line it is about."""

    reason: Reason
    item: str = ""


class Purse:
    """What one guest has to redeem, as it will be: a draft over the counts so far, which change by facts only."""

    def __init__(
        self,
        entitlements: Sequence[Entitlement],
        uses: Mapping[str, int],
        day_uses: Mapping[str, DayUses],
        schedules: Mapping[str, Schedule],
        now_ms: int,
        timezone: ZoneInfo,
        doubt: Doubt | None = None,
    ) -> None:
        """Begin with the counts as they are; `timezone` is the venue's, times are UTC milliseconds.

        `doubt` is there while nobody vouches for the time.
        """
        redeemable = [one for one in entitlements if one.item]
        # What ends first is used first: so the guest loses nothing. Otherwise in the order of the directory.
        self.entitlements = sorted(redeemable, key=lambda one: one.valid_until_ms or NEVER_MS)
        self.now_ms, self.schedules = now_ms, schedules
        self.doubt = doubt if doubt is not None and doubt.suspends_rules else None
        self.local: LocalTime = local_time(now_ms, timezone)
        self.taken: dict[str, int] = {}
        self._uses, self._day_uses = uses, day_uses

    def uses(self, entitlement: Entitlement) -> int:
        """Return how often it is used, this draft included."""
        return self._uses.get(entitlement.id, 0) + self.taken.get(entitlement.id, 0)

    def today(self, entitlement: Entitlement) -> DayUses:
        """Return the count of this day, this draft included."""
        counted = count_of(self._day_uses.get(entitlement.id), self.local)
        return DayUses(counted.day, counted.uses + self.taken.get(entitlement.id, 0))

    def room(self, entitlement: Entitlement) -> int | None:
        """Return how many uses are left of it now; None is no limit, and what a rule refuses has none."""
        if fault(entitlement, self) is not None:
            return 0
        limits = []
        if entitlement.uses_total is not None:
            limits.append(entitlement.uses_total - self.uses(entitlement))
        if entitlement.uses_per_day is not None:
            limits.append(entitlement.uses_per_day - self.today(entitlement).uses)
        return min(limits, default=None)

    def left(self) -> dict[str, int | None]:
        """Return what the guest could redeem of each item; None is no limit."""
        found: dict[str, int | None] = {}
        for entitlement in self.entitlements:
            before, room = found.get(str(entitlement.item), 0), self.room(entitlement)
            found[str(entitlement.item)] = None if before is None or room is None else before + room
        return found

    def take(self, line: Line) -> Reason | None:
        """Draft one line; the reason when it cannot be served in full, that of the entitlement that came furthest."""
        missing, best = line.count, Reason.NO_ENTITLEMENT
        for entitlement in self.entitlements:
            if not _serves(entitlement, line):
                continue
            room = self.room(entitlement)
            part = missing if room is None else min(missing, room)
            if part:
                self.taken[entitlement.id] = self.taken.get(entitlement.id, 0) + part
            missing -= part
            if not missing:
                return None
            reason = fault(entitlement, self) or Reason.NO_USES_LEFT
            best = max(best, reason, key=_PROGRESS.__getitem__)
        return best

    def used(self) -> tuple[Used, ...]:
        """Return what was drafted, with each count afterwards."""
        return tuple(self._used(one) for one in self.entitlements if self.taken.get(one.id))

    def _used(self, entitlement: Entitlement) -> Used:
        today = self.today(entitlement) if entitlement.uses_per_day is not None else DayUses("", 0)
        taken = self.taken[entitlement.id]
        return Used(entitlement.id, str(entitlement.item), taken, self.uses(entitlement), today.day, today.uses)


Rule = Callable[[Entitlement, Purse], Reason | None]


def decide(lines: Sequence[Line], purse: Purse) -> tuple[Used, ...] | Refusal:
    """Return what is used for all of the lines, or the one reason why nothing is: that of the first line not served."""
    for line in lines:
        if (reason := purse.take(line)) is not None:
            return Refusal(reason, line.item or line.entitlement)
    return purse.used()


def fault(entitlement: Entitlement, purse: Purse) -> Reason | None:
    """Return the first reason against one more use of an entitlement."""
    return next((reason for _, rule in RULES if (reason := rule(entitlement, purse)) is not None), None)


def explain(purse: Purse) -> list[dict[str, Any]]:
    """Return for each redeemable entitlement what every rule says of it, and what is left of it."""
    return [
        {
            "entitlement": one.id,
            "item": one.item,
            "rules": {name: rule(one, purse) or OK for name, rule in RULES},
            "uses": purse.uses(one),
            "uses_total": one.uses_total,
            "left": purse.room(one),
        }
        for one in purse.entitlements
    ]


def undo(
    redeemed: Redeemed,
    undone: Mapping[str, int],
    lines: Sequence[Line] | None,
    uses: Mapping[str, int],
    day_uses: Mapping[str, DayUses],
) -> tuple[Used, ...] | Refusal:
    """Return what is given back of a redemption, or the one reason why nothing is.

    Without `lines` all that is left of it. `undone` is what was given back of it before, by entitlement.
    """
    open_parts = {part.entitlement: part.count - undone.get(part.entitlement, 0) for part in redeemed.parts}
    if lines is None:
        wanted = dict(open_parts)
    else:
        wanted = dict.fromkeys(open_parts, 0)
        for line in lines:
            if not _give(line, redeemed.parts, open_parts, wanted):
                return Refusal(Reason.OVER_REDEEMED_COUNT, line.item or line.entitlement)
    given = [_back(part, wanted[part.entitlement], uses, day_uses) for part in redeemed.parts]
    found = tuple(used for used in given if used.count)
    return found or Refusal(Reason.OVER_REDEEMED_COUNT)


def _give(line: Line, parts: Sequence[Part], open_parts: Mapping[str, int], wanted: dict[str, int]) -> bool:
    """Draft one line of what is given back; False when less than that was redeemed. The last used comes back first."""
    missing = line.count
    for part in reversed(parts):
        if (line.entitlement and line.entitlement != part.entitlement) or (line.item and line.item != part.item):
            continue
        piece = min(missing, open_parts[part.entitlement] - wanted[part.entitlement])
        wanted[part.entitlement] += piece
        missing -= piece
    return not missing


def _back(part: Part, count: int, uses: Mapping[str, int], day_uses: Mapping[str, DayUses]) -> Used:
    after = max(0, uses.get(part.entitlement, 0) - count)
    today = day_uses.get(part.entitlement)
    if not part.day or today is None or today.day != part.day:
        # Of a day that is over nothing is left to be had again.
        return Used(part.entitlement, part.item, count, after)
    return Used(part.entitlement, part.item, count, after, today.day, max(0, today.uses - count))


def _serves(entitlement: Entitlement, line: Line) -> bool:
    named = not line.entitlement or line.entitlement == entitlement.id
    return named and (not line.item or line.item == entitlement.item)


def _validity(entitlement: Entitlement, purse: Purse) -> Reason | None:
    if purse.doubt is not None:
        return purse.doubt.verdict(entitlement.valid_until_ms) if is_time_limited(entitlement) else None
    if entitlement.valid_from_ms is not None and purse.now_ms < entitlement.valid_from_ms:
        return Reason.NOT_YET_VALID
    if entitlement.valid_until_ms is not None and purse.now_ms >= entitlement.valid_until_ms:
        return Reason.EXPIRED
    return None


def _schedule(entitlement: Entitlement, purse: Purse) -> Reason | None:
    if entitlement.schedule is None or purse.doubt is not None:
        return None
    schedule = purse.schedules.get(entitlement.schedule)
    # A schedule that is not known cannot be met: the safe side is to give nothing away.
    return None if schedule is not None and covers(schedule, purse.local) else Reason.OUTSIDE_SCHEDULE


def _uses(entitlement: Entitlement, purse: Purse) -> Reason | None:
    over = entitlement.uses_total is not None and purse.uses(entitlement) >= entitlement.uses_total
    return Reason.NO_USES_LEFT if over else None


def _uses_per_day(entitlement: Entitlement, purse: Purse) -> Reason | None:
    over = entitlement.uses_per_day is not None and purse.today(entitlement).uses >= entitlement.uses_per_day
    return Reason.NO_USES_LEFT_TODAY if over else None


RULES: tuple[tuple[str, Rule], ...] = (
    ("validity", _validity),
    ("schedule", _schedule),
    ("uses", _uses),
    ("uses_per_day", _uses_per_day),
)
"""What an entitlement must pass to be redeemed, in this order."""

_PROGRESS = {
    reason: place
    for place, reason in enumerate(
        [
            Reason.NO_ENTITLEMENT,
            Reason.EXPIRED,
            Reason.CLOCK_UNTRUSTED,
            Reason.NOT_YET_VALID,
            Reason.OUTSIDE_SCHEDULE,
            Reason.NO_USES_LEFT,
            Reason.NO_USES_LEFT_TODAY,
        ]
    )
}
"""Reasons in the order the checks run; a later one means the guest came closer to being served."""
