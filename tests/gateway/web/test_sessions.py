"""Sessions end, have a bound, and are found by their cookie alone; guessing gets slower and slower."""

from __future__ import annotations

from gateway.web.sessions import LONGEST_S, SESSIONS_MAX, Sessions
from gateway.web.throttle import KEPT_MAX, LEAK_S, TRIES, Throttle


class Clock:
    def __init__(self):
        self.now_s = 1000.0

    def __call__(self):
        return self.now_s


def test_a_session_is_found_by_its_token_and_ends():
    clock = Clock()
    sessions = Sessions(clock)
    token, session = sessions.begin("ada", "staff")
    assert sessions.find(token) is session
    assert sessions.find(token + "x") is None
    assert sessions.find("") is None
    assert sessions.find("x" * 100_000) is None
    sessions.end(token)
    assert sessions.find(token) is None


def test_whoever_is_away_is_signed_out_and_whoever_looks_only_is_away():
    clock = Clock()
    sessions = Sessions(clock)
    token, _ = sessions.begin("ada", "staff")
    clock.now_s += sessions.idle_timeout_s - 1
    assert sessions.find(token, touch=False) is not None
    clock.now_s += 2
    assert sessions.find(token) is None
    assert len(sessions) == 0


def test_nobody_stays_signed_in_for_ever():
    clock = Clock()
    sessions = Sessions(clock)
    token, _ = sessions.begin("ada", "staff")
    for _ in range(int(LONGEST_S // 600)):
        clock.now_s += 600
        assert sessions.find(token) is not None
    clock.now_s += 1
    assert sessions.find(token) is None


def test_i09_there_is_a_bound_and_the_one_seen_least_makes_room():
    clock = Clock()
    sessions = Sessions(clock)
    first, _ = sessions.begin("ada", "staff")
    clock.now_s += 1
    second, _ = sessions.begin("bob", "staff")
    clock.now_s += 1
    assert sessions.find(first)
    for _ in range(SESSIONS_MAX - 1):
        sessions.begin("eve", "viewer")
    assert len(sessions) == SESSIONS_MAX
    assert sessions.find(first)
    assert sessions.find(second) is None


def test_guessing_gets_slow_and_a_right_password_forgives():
    clock = Clock()
    throttle = Throttle(clock)
    for _ in range(TRIES):
        assert throttle.wait_s("1.2.3.4") == 0
        throttle.failed("1.2.3.4")
    assert throttle.wait_s("1.2.3.4") == LEAK_S
    assert throttle.wait_s("1.2.3.5") == 0
    clock.now_s += LEAK_S
    assert throttle.wait_s("1.2.3.4") == 0
    throttle.failed("1.2.3.4")
    assert throttle.wait_s("1.2.3.4") == LEAK_S
    throttle.succeeded("1.2.3.4")
    assert throttle.wait_s("1.2.3.4") == 0


def test_i09_the_throttle_remembers_no_more_than_its_bound():
    throttle = Throttle(Clock())
    for number in range(KEPT_MAX + 50):
        throttle.failed(str(number))
    assert len(throttle._full_until) == KEPT_MAX
