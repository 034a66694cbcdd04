from __future__ import annotations

from datetime import UTC, datetime, time
from zoneinfo import ZoneInfo

import pytest

from gateway.domain import entitlements
from gateway.domain.access import (
    Credential,
    DayUses,
    Entitlement,
    GateRule,
    Grant,
    Presence,
    Whereabouts,
    ZoneMap,
    decide,
)
from gateway.domain.reasons import Reason
from gateway.domain.redemption_events import Line
from gateway.domain.schedules import Schedule, Window, in_schedule

BERLIN = ZoneInfo("Europe/Berlin")
NOW_MS = int(datetime(2026, 7, 3, 20, 0, tzinfo=BERLIN).timestamp() * 1000)
"""A Friday evening."""

ZONES = ZoneMap(
    within={"foyer": None, "hall": "foyer", "vip": "hall", "yard": None},
    capacity={"foyer": None, "hall": 3, "vip": 1, "yard": None},
)
NORTH = GateRule("north", None, "hall")
VIP_DOOR = GateRule("vip-door", "hall", "vip")
VIP_OUT = GateRule("vip-out", "vip", "hall")
WAY_OUT = GateRule("way-out", "hall", None)
GUEST = Credential("ref-1", "guest-1")
NOBODY_INSIDE = Presence(None, {}, {})


def ticket(**fields: object) -> Entitlement:
    return Entitlement(**{"id": "ticket-1", "holder": "guest-1", "zones": ("hall",), "uses_total": 1} | fields)


def ask(
    rule: GateRule = NORTH,
    *entitlements: Entitlement,
    credential: Credential = GUEST,
    schedules: dict[str, Schedule] | None = None,
    presence: Presence = NOBODY_INSIDE,
    now_ms: int = NOW_MS,
) -> Grant | Reason:
    return decide(rule, ZONES, credential, entitlements, schedules or {}, presence, now_ms, BERLIN)


def inside(zone: str, entitlement: str = "ticket-1", uses: int = 1, **occupancy: int) -> Presence:
    return Presence(Whereabouts(zone, entitlement), {entitlement: uses}, occupancy)


def berlin_ms(*when: int, fold: int = 0) -> int:
    return int(datetime(*when, tzinfo=BERLIN, fold=fold).timestamp() * 1000)


def utc_ms(*when: int) -> int:
    return int(datetime(*when, tzinfo=UTC).timestamp() * 1000)


# Grants and what a ticket covers.


def test_a_valid_ticket_admits_and_takes_its_use() -> None:
    assert ask(NORTH, ticket()) == Grant("ticket-1", 1)


def test_an_unlimited_ticket_counts_its_uses_without_end() -> None:
    assert ask(NORTH, ticket(uses_total=None), presence=Presence(None, {"ticket-1": 41}, {})) == Grant("ticket-1", 42)


def test_a_guest_without_any_ticket_is_in_the_wrong_zone() -> None:
    assert ask(NORTH) is Reason.WRONG_ZONE


def test_a_right_to_an_inner_zone_is_a_right_to_walk_through_the_zones_around_it() -> None:
    vip = ticket(zones=("vip",))
    assert ask(GateRule("front", None, "foyer"), vip) == Grant("ticket-1", 1)
    assert ask(NORTH, vip) == Grant("ticket-1", 1)
    assert ask(VIP_DOOR, vip) == Grant("ticket-1", 1)


def test_a_right_to_an_outer_zone_is_none_to_the_zones_inside_it() -> None:
    assert ask(VIP_DOOR, ticket(), presence=inside("hall")) is Reason.WRONG_ZONE
    assert ask(GateRule("yard-gate", None, "yard"), ticket()) is Reason.WRONG_ZONE


def test_going_deeper_under_the_same_ticket_is_no_new_use() -> None:
    assert ask(VIP_DOOR, ticket(zones=("vip",)), presence=inside("hall")) == Grant("ticket-1", 1)


def test_going_deeper_under_another_ticket_uses_that_one() -> None:
    upgrade = ticket(id="upgrade", zones=("vip",))
    assert ask(VIP_DOOR, ticket(), upgrade, presence=inside("hall")) == Grant("upgrade", 1)


# Refusals, each with its one reason.


def test_a_blocked_credential_passes_no_gate_not_even_out() -> None:
    blocked = Credential("ref-1", "guest-1", state="blocked")
    assert ask(NORTH, ticket(), credential=blocked) is Reason.BLOCKED
    assert ask(WAY_OUT, ticket(), credential=blocked, presence=inside("hall")) is Reason.BLOCKED


@pytest.mark.parametrize(
    ("fields", "reason"),
    [
        ({"valid_from_ms": NOW_MS + 1}, Reason.NOT_YET_VALID),
        ({"valid_until_ms": NOW_MS}, Reason.EXPIRED),
        ({"schedule": "nowhere-defined"}, Reason.OUTSIDE_SCHEDULE),
    ],
)
def test_a_ticket_out_of_its_time_is_refused(fields: dict[str, object], reason: Reason) -> None:
    assert ask(NORTH, ticket(**fields)) is reason


def test_validity_begins_at_its_first_and_ends_before_its_last_millisecond() -> None:
    assert isinstance(ask(NORTH, ticket(valid_from_ms=NOW_MS, valid_until_ms=NOW_MS + 1)), Grant)


def test_an_expired_credential_is_refused_even_with_a_good_ticket() -> None:
    assert ask(NORTH, ticket(), credential=Credential("r", "guest-1", valid_until_ms=NOW_MS)) is Reason.EXPIRED
    assert isinstance(ask(NORTH, ticket(), credential=Credential("r", "guest-1", valid_until_ms=NOW_MS + 1)), Grant)


def test_a_used_ticket_is_refused() -> None:
    assert ask(NORTH, ticket(), presence=Presence(None, {"ticket-1": 1}, {})) is Reason.NO_USES_LEFT


def test_whoever_is_inside_already_is_refused_unless_anti_passback_is_off() -> None:
    twice = ticket(uses_total=2)
    assert ask(NORTH, twice, presence=inside("hall")) is Reason.ALREADY_INSIDE
    assert ask(NORTH, twice, presence=inside("vip")) is Reason.ALREADY_INSIDE
    assert ask(GateRule("north", None, "hall", "off"), twice, presence=inside("hall")) == Grant("ticket-1", 2)


def test_of_several_tickets_the_first_that_admits_is_used() -> None:
    old, good, other = ticket(id="old", valid_until_ms=1), ticket(id="good"), ticket(id="other")
    assert ask(NORTH, old, good, other) == Grant("good", 1)


def test_of_several_reasons_the_guest_hears_the_one_that_came_closest() -> None:
    old, used = ticket(id="old", valid_until_ms=1), ticket(id="used")
    presence = Presence(None, {"used": 1}, {})
    assert ask(NORTH, old, used, presence=presence) is Reason.NO_USES_LEFT
    assert ask(NORTH, used, old, presence=presence) is Reason.NO_USES_LEFT


# Reentry.


def test_a_reentry_ticket_comes_back_in_without_another_use() -> None:
    assert ask(NORTH, ticket(reentry=True), presence=Presence(None, {"ticket-1": 1}, {})) == Grant("ticket-1", 1)


def test_a_reentry_ticket_does_not_let_a_second_guest_in_beside_the_first() -> None:
    assert ask(NORTH, ticket(reentry=True), presence=inside("hall")) is Reason.ALREADY_INSIDE


def test_a_ticket_without_reentry_does_not_come_back_in() -> None:
    assert ask(NORTH, ticket(), presence=Presence(None, {"ticket-1": 1}, {})) is Reason.NO_USES_LEFT


# Capacity.


def test_a_full_zone_takes_nobody_more() -> None:
    assert ask(NORTH, ticket(), presence=Presence(None, {}, {"hall": 2})) == Grant("ticket-1", 1)
    assert ask(NORTH, ticket(), presence=Presence(None, {}, {"hall": 3})) is Reason.CAPACITY_REACHED


def test_a_zone_is_full_through_the_zones_around_it() -> None:
    straight_in = GateRule("side", None, "vip")
    assert ask(straight_in, ticket(zones=("vip",)), presence=Presence(None, {}, {"hall": 3})) is Reason.CAPACITY_REACHED


def test_whoever_is_counted_in_the_outer_zone_takes_no_second_place_there() -> None:
    vip = ticket(zones=("vip",))
    assert ask(VIP_DOOR, vip, presence=inside("hall", hall=3, vip=0)) == Grant("ticket-1", 1)
    assert ask(VIP_DOOR, vip, presence=inside("hall", hall=3, vip=1)) is Reason.CAPACITY_REACHED


# Leaving.


@pytest.mark.parametrize("rule", [WAY_OUT, VIP_OUT, GateRule("fire-door", "vip", "foyer")])
@pytest.mark.parametrize("presence", [NOBODY_INSIDE, inside("hall"), inside("vip", hall=3, vip=1)])
def test_leaving_is_never_refused(rule: GateRule, presence: Presence) -> None:
    worn_out = Credential("ref-1", "guest-1", valid_until_ms=1)
    verdict = ask(rule, ticket(valid_until_ms=1), credential=worn_out, presence=presence)
    assert isinstance(verdict, Grant)
    assert verdict.uses == presence.uses.get(verdict.entitlement, 0), "leaving uses nothing up"


def test_going_to_a_zone_beside_is_no_exit() -> None:
    assert ask(GateRule("side-door", "yard", "hall"), presence=inside("yard")) is Reason.WRONG_ZONE


def test_a_zone_map_that_runs_in_a_circle_ends() -> None:
    circle = ZoneMap(within={"a": "b", "b": "a"}, capacity={})
    assert circle.path("a") == ("a", "b")


# Schedules: wall-clock windows, past midnight and over clock changes.

FRIDAY_EVENING = Schedule("evening", (Window(4, time(18), time(2)),))


@pytest.mark.parametrize(
    ("when", "expected"),
    [
        ((2026, 7, 3, 17, 59), False),
        ((2026, 7, 3, 18, 0), True),
        ((2026, 7, 3, 23, 59), True),
        ((2026, 7, 4, 0, 0), True),
        ((2026, 7, 4, 1, 59), True),
        ((2026, 7, 4, 2, 0), False),
        ((2026, 7, 4, 18, 0), False),
        ((2026, 7, 3, 1, 0), False),
    ],
)
def test_a_window_past_midnight_belongs_to_the_day_on_which_it_starts(when: tuple[int, ...], expected: bool) -> None:
    assert in_schedule(FRIDAY_EVENING, berlin_ms(*when), BERLIN) is expected


def test_a_window_from_sunday_runs_into_monday() -> None:
    sunday = Schedule("sunday", (Window(6, time(22), time(3)),))
    assert in_schedule(sunday, berlin_ms(2026, 7, 6, 2, 59), BERLIN)
    assert not in_schedule(sunday, berlin_ms(2026, 7, 5, 2, 59), BERLIN)


def test_a_window_that_ends_when_it_starts_lasts_a_whole_day() -> None:
    friday = Schedule("day", (Window(4, time(8), time(8)),))
    assert in_schedule(friday, berlin_ms(2026, 7, 3, 8, 0), BERLIN)
    assert in_schedule(friday, berlin_ms(2026, 7, 4, 7, 59), BERLIN)
    assert not in_schedule(friday, berlin_ms(2026, 7, 4, 8, 0), BERLIN)


def test_any_window_of_a_schedule_will_do_and_none_means_never() -> None:
    both = Schedule("both", (Window(0, time(8), time(9)), Window(4, time(8), time(9))))
    assert in_schedule(both, berlin_ms(2026, 7, 3, 8, 30), BERLIN)
    assert not in_schedule(Schedule("none", ()), berlin_ms(2026, 7, 3, 8, 30), BERLIN)


SATURDAY_NIGHT = Schedule("night", (Window(5, time(22), time(2, 30)),))
EARLY_SUNDAY = Schedule("early", (Window(6, time(1, 30), time(3, 30)),))


@pytest.mark.parametrize(
    ("utc", "night", "early"),
    [
        ((2026, 3, 29, 0, 29), True, False),  # 01:29 winter time
        ((2026, 3, 29, 0, 59), True, True),  # 01:59; the next minute is 03:00 summer time
        ((2026, 3, 29, 1, 0), False, True),  # 03:00: there was no 02:30, and the window is over
        ((2026, 3, 29, 1, 29), False, True),
        ((2026, 3, 29, 1, 30), False, False),  # 03:30
    ],
)
def test_in_the_night_to_summer_time_windows_keep_their_wall_clock(
    utc: tuple[int, ...], night: bool, early: bool
) -> None:
    assert in_schedule(SATURDAY_NIGHT, utc_ms(*utc), BERLIN) is night
    assert in_schedule(EARLY_SUNDAY, utc_ms(*utc), BERLIN) is early


@pytest.mark.parametrize(
    ("utc", "night", "early"),
    [
        ((2026, 10, 24, 23, 29), True, False),  # 01:29 summer time
        ((2026, 10, 25, 0, 15), True, True),  # 02:15 for the first time
        ((2026, 10, 25, 0, 45), False, True),  # 02:45
        ((2026, 10, 25, 1, 15), True, True),  # 02:15 again, in winter time
        ((2026, 10, 25, 1, 45), False, True),
        ((2026, 10, 25, 2, 29), False, True),  # 03:29
        ((2026, 10, 25, 2, 30), False, False),
    ],
)
def test_in_the_night_to_winter_time_windows_keep_their_wall_clock(
    utc: tuple[int, ...], night: bool, early: bool
) -> None:
    assert in_schedule(SATURDAY_NIGHT, utc_ms(*utc), BERLIN) is night
    assert in_schedule(EARLY_SUNDAY, utc_ms(*utc), BERLIN) is early


def test_a_schedule_is_read_in_the_venues_own_time_zone() -> None:
    at_ms = utc_ms(2026, 7, 3, 16, 30)
    assert in_schedule(FRIDAY_EVENING, at_ms, BERLIN)
    assert not in_schedule(FRIDAY_EVENING, at_ms, ZoneInfo("Europe/London"))


# A clock that was wrong and is right again.


@pytest.mark.parametrize(
    ("used_on", "counts"),
    [("2026-07-02", False), ("2026-07-03", True), ("2026-07-04", True), ("2026-07-05", False), ("2036-01-01", False)],
)
def test_a_day_of_use_far_ahead_of_the_venues_day_does_not_count(used_on: str, counts: bool) -> None:
    presence = Presence(None, {"ticket-1": 1}, {}, {"ticket-1": DayUses(used_on, 1)})
    verdict = ask(NORTH, ticket(uses_total=None, uses_per_day=1), presence=presence)
    redeemable = ticket(item="meal", uses_total=None, uses_per_day=1)
    purse = entitlements.Purse([redeemable], {"ticket-1": 1}, presence.day_uses, {}, NOW_MS, BERLIN)
    redeemed = entitlements.decide([Line("meal", "", 1)], purse)
    if counts:
        assert verdict is Reason.NO_USES_LEFT_TODAY
        assert redeemed == entitlements.Refusal(Reason.NO_USES_LEFT_TODAY, "meal")
    else:
        assert verdict == Grant("ticket-1", 2, DayUses("2026-07-03", 1))
        assert [used.uses_today for used in redeemed] == [1]


@pytest.mark.parametrize(("since_ms", "held"), [(NOW_MS + 3_600_000, True), (berlin_ms(2036, 1, 1), False)])
def test_who_came_in_by_a_clock_far_ahead_is_not_held_back_for_years(since_ms: int, held: bool) -> None:
    presence = Presence(Whereabouts("hall", "other", since_ms), {}, {"hall": 1})
    timed = GateRule("timed", None, "hall", passback_reset_ms=600_000)
    assert (ask(timed, ticket(), presence=presence) is Reason.ALREADY_INSIDE) is held
    assert ask(NORTH, ticket(), presence=presence) is Reason.ALREADY_INSIDE, "where no time frees them"
