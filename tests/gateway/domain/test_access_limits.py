"""Credential states, uses a day, re-entry by day, soft and timed anti-passback, and the venue's own block list."""

from __future__ import annotations

from datetime import datetime

import pytest

from gateway.domain.access import Credential, DayUses, Entitlement, GateRule, Grant, Presence, Whereabouts, decide
from gateway.domain.reasons import Reason
from tests.gateway.domain.test_access import BERLIN, GUEST, NORTH, NOW_MS, WAY_OUT, ZONES

TODAY, YESTERDAY = "2026-07-03", "2026-07-02"
DAY_PASS = Entitlement("pass", "guest-1", ("hall",), uses_per_day=1)
SOFT = GateRule("north", None, "hall", "soft")


def ask(
    rule: GateRule,
    *entitlements: Entitlement,
    presence: Presence | None = None,
    credential: Credential = GUEST,
    now_ms: int = NOW_MS,
) -> Grant | Reason:
    presence = presence or Presence(None, {}, {})
    return decide(rule, ZONES, credential, entitlements, {}, presence, now_ms, BERLIN)


def used(day: str, times: int, total: int = 1, here: Whereabouts | None = None) -> Presence:
    return Presence(here, {"pass": total}, {}, {"pass": DayUses(day, times)})


# Credentials.


@pytest.mark.parametrize(
    ("state", "reason"),
    [("blocked", Reason.BLOCKED), ("replaced", Reason.REPLACED), ("expired", Reason.EXPIRED)],
)
def test_only_an_active_credential_opens_a_way_in(state: str, reason: Reason) -> None:
    assert ask(NORTH, DAY_PASS, credential=Credential("ref", "guest-1", state)) is reason


@pytest.mark.parametrize("state", ["replaced", "expired"])
def test_whoever_is_inside_with_an_old_card_gets_out(state: str) -> None:
    assert isinstance(ask(WAY_OUT, credential=Credential("ref", "guest-1", state)), Grant)


def test_the_block_list_of_the_venue_counts_whatever_the_directory_says() -> None:
    assert ask(NORTH, DAY_PASS, presence=Presence(None, {}, {}, blocked=True)) is Reason.BLOCKED
    assert ask(WAY_OUT, DAY_PASS, presence=Presence(None, {}, {}, blocked=True)) is Reason.BLOCKED


# Uses a day.


def test_a_day_pass_counts_its_uses_of_the_day_and_in_all() -> None:
    assert ask(NORTH, DAY_PASS) == Grant("pass", 1, DayUses(TODAY, 1))
    assert ask(NORTH, DAY_PASS, presence=used(TODAY, 1)) is Reason.NO_USES_LEFT_TODAY
    assert ask(NORTH, DAY_PASS, presence=used(YESTERDAY, 1)) == Grant("pass", 2, DayUses(TODAY, 1))


def test_the_day_begins_at_midnight_of_the_venues_clock() -> None:
    last_ms = int(datetime(2026, 7, 3, 23, 59, 59, 999_000, tzinfo=BERLIN).timestamp() * 1000)
    assert ask(NORTH, DAY_PASS, presence=used(TODAY, 1), now_ms=last_ms) is Reason.NO_USES_LEFT_TODAY
    assert ask(NORTH, DAY_PASS, presence=used(TODAY, 1), now_ms=last_ms + 1) == Grant(
        "pass", 2, DayUses("2026-07-04", 1)
    )


@pytest.mark.parametrize(
    ("first", "later", "same_day"),
    [
        # 29 March has 23 hours: 00:30 to 23:30 is the same day, 00:30 the next night is not.
        (datetime(2026, 3, 29, 0, 30, tzinfo=BERLIN), datetime(2026, 3, 29, 23, 30, tzinfo=BERLIN), True),
        (datetime(2026, 3, 29, 0, 30, tzinfo=BERLIN), datetime(2026, 3, 30, 0, 0, tzinfo=BERLIN), False),
        # 25 October has 25 hours, and 02:30 comes twice on it.
        (datetime(2026, 10, 25, 2, 30, tzinfo=BERLIN), datetime(2026, 10, 25, 2, 30, fold=1, tzinfo=BERLIN), True),
        (datetime(2026, 10, 25, 0, 0, tzinfo=BERLIN), datetime(2026, 10, 25, 23, 59, tzinfo=BERLIN), True),
    ],
)
def test_a_day_of_a_clock_change_is_one_day(first: datetime, later: datetime, same_day: bool) -> None:
    granted = ask(NORTH, DAY_PASS, now_ms=int(first.timestamp() * 1000))
    presence = Presence(None, {"pass": 1}, {}, {"pass": granted.today})
    verdict = ask(NORTH, DAY_PASS, presence=presence, now_ms=int(later.timestamp() * 1000))
    assert (verdict is Reason.NO_USES_LEFT_TODAY) is same_day


def test_uses_in_all_end_a_day_pass_too() -> None:
    ten = Entitlement("pass", "guest-1", ("hall",), uses_per_day=2, uses_total=10)
    assert ask(NORTH, ten, presence=used(YESTERDAY, 2, 9)) == Grant("pass", 10, DayUses(TODAY, 1))
    assert ask(NORTH, ten, presence=used(TODAY, 1, 10)) is Reason.NO_USES_LEFT


def test_coming_back_is_free_on_the_same_day_and_a_new_use_on_the_next() -> None:
    again = Entitlement("pass", "guest-1", ("hall",), uses_per_day=1, uses_total=3, reentry=True)
    assert ask(NORTH, again, presence=used(TODAY, 1, 1)) == Grant("pass", 1, DayUses(TODAY, 1))
    assert ask(NORTH, again, presence=used(YESTERDAY, 1, 1)) == Grant("pass", 2, DayUses(TODAY, 1))
    assert ask(NORTH, again, presence=used(YESTERDAY, 1, 3)) is Reason.NO_USES_LEFT


def test_going_deeper_after_midnight_takes_no_use() -> None:
    deep = Entitlement("pass", "guest-1", ("vip",), uses_per_day=1)
    presence = used(YESTERDAY, 1, 1, Whereabouts("hall", "pass"))
    assert ask(GateRule("vip-door", "hall", "vip"), deep, presence=presence) == Grant("pass", 1, DayUses(TODAY, 0))


# Anti-passback.


def test_soft_anti_passback_admits_and_flags() -> None:
    presence = used(YESTERDAY, 1, 1, Whereabouts("hall", "pass", NOW_MS - 1))
    assert ask(NORTH, DAY_PASS, presence=presence) is Reason.ALREADY_INSIDE
    assert ask(SOFT, DAY_PASS, presence=presence) == Grant("pass", 2, DayUses(TODAY, 1), ("already_inside",))
    assert ask(SOFT, DAY_PASS).flags == ()


def test_after_the_reset_time_nobody_counts_as_already_inside() -> None:
    timed = GateRule("north", None, "hall", "hard", passback_reset_ms=60_000)
    here = Whereabouts("hall", "pass", NOW_MS - 60_000)
    assert ask(timed, DAY_PASS, presence=used(YESTERDAY, 1, 1, here)) == Grant("pass", 2, DayUses(TODAY, 1))
    here = Whereabouts("hall", "pass", NOW_MS - 59_999)
    assert ask(timed, DAY_PASS, presence=used(YESTERDAY, 1, 1, here)) is Reason.ALREADY_INSIDE


def test_a_clock_that_is_set_back_gives_no_use_of_the_day_again() -> None:
    assert ask(NORTH, DAY_PASS, presence=used("2026-07-04", 1)) is Reason.NO_USES_LEFT_TODAY
    twice = Entitlement("pass", "guest-1", ("hall",), uses_per_day=2)
    assert ask(NORTH, twice, presence=used("2026-07-04", 1)) == Grant("pass", 2, DayUses("2026-07-04", 2))
