"""I10: what depends on the time while nobody vouches for it."""

from __future__ import annotations

from typing import Any, Literal
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.domain.access import Case, Credential, Entitlement, GateRule, Grant, Presence, ZoneMap, decide
from gateway.domain.clock import Doubt, vouched_ms
from gateway.domain.clock_events import ClockDoubted, ClockVouched
from gateway.domain.reasons import Reason
from gateway.domain.schedules import Schedule
from gateway.domain.why import entitlement_verdicts

NOW_MS = 1_780_000_000_000
ZONES = ZoneMap({"hall": None}, {"hall": None})
RULE = GateRule("north", None, "hall")
UTC = ZoneInfo("UTC")
CARD = Credential("ref", "ada")
PLAIN: dict[str, Any] = {}
OVER: dict[str, Any] = {"valid_until_ms": NOW_MS - 1}
EARLY: dict[str, Any] = {"valid_from_ms": NOW_MS + 1}
NEVER: dict[str, Any] = {"schedule": "never"}
DAILY: dict[str, Any] = {"uses_per_day": 1}
TIMED = [OVER, EARLY, NEVER, DAILY]


def verdict(doubt: Doubt | None, card: Credential = CARD, **fields: Any) -> Grant | Reason:
    ticket = Entitlement("ticket", "ada", ("hall",), **fields)
    schedules = {"never": Schedule("never", ())} if "schedule" in fields else {}
    return decide(RULE, ZONES, card, [ticket], schedules, Presence(None, {}, {}, {}, doubt=doubt), NOW_MS, UTC)


@pytest.mark.parametrize("policy", ["deny", "flag", "last_known"])
def test_i10_what_does_not_depend_on_the_time_is_decided_as_ever(
    policy: Literal["deny", "flag", "last_known"],
) -> None:
    assert verdict(Doubt(policy)) == verdict(None) == Grant("ticket", 1)


@pytest.mark.parametrize("fields", TIMED)
def test_i10_deny_refuses_what_depends_on_the_time(fields: dict[str, Any]) -> None:
    assert verdict(Doubt("deny"), **fields) is Reason.CLOCK_UNTRUSTED


@pytest.mark.parametrize("fields", TIMED)
def test_i10_flag_admits_what_depends_on_the_time_and_marks_it(fields: dict[str, Any]) -> None:
    granted = verdict(Doubt("flag"), **fields)
    assert isinstance(granted, Grant)
    assert granted.flags == ("clock_untrusted",)


@pytest.mark.parametrize("fields", [OVER, EARLY, NEVER])
def test_i10_last_known_asks_the_rules_as_ever(fields: dict[str, Any]) -> None:
    assert verdict(Doubt("last_known"), **fields) == verdict(None, **fields)


@pytest.mark.parametrize("policy", ["deny", "flag"])
def test_i10_what_was_over_by_the_last_known_time_is_over(policy: Literal["deny", "flag"]) -> None:
    assert verdict(Doubt(policy, known_ms=NOW_MS), valid_until_ms=NOW_MS) is Reason.EXPIRED
    card = Credential("ref", "ada", valid_until_ms=NOW_MS)
    assert verdict(Doubt(policy, known_ms=NOW_MS), card) is Reason.EXPIRED


def test_i10_a_card_with_an_end_depends_on_the_time() -> None:
    card = Credential("ref", "ada", valid_until_ms=NOW_MS + 1)
    assert verdict(Doubt("deny"), card) is Reason.CLOCK_UNTRUSTED
    assert verdict(Doubt("flag"), card) == Grant("ticket", 1)
    assert verdict(Doubt("flag"), Credential("ref", "ada", "expired", NOW_MS + 1)) is Reason.EXPIRED


def test_i10_why_tells_of_the_clock() -> None:
    ticket = Entitlement("ticket", "ada", ("hall",), valid_until_ms=NOW_MS + 1)
    case = Case(RULE, ZONES, {}, Presence(None, {}, {}, {}, doubt=Doubt("deny")), NOW_MS, UTC)
    assert entitlement_verdicts([ticket], case)[0]["rules"]["validity"] == Reason.CLOCK_UNTRUSTED


@given(st.integers(0, 10**9), st.integers(0, 10**9))
def test_i10_a_vouch_counts_for_its_boot_alone(then_ms: int, since_ms: int) -> None:
    vouched = ClockVouched(by="technician", boot="b", elapsed_ms=then_ms, at_ms=NOW_MS)
    assert vouched_ms(vouched, "b", then_ms + since_ms) == NOW_MS + since_ms
    assert vouched_ms(vouched, "c", then_ms + since_ms) is None
    assert vouched_ms(ClockDoubted(why="", policy="deny"), "b", then_ms) is None
