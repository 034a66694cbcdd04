from __future__ import annotations

from gateway.domain import drawers
from gateway.domain import events as e
from gateway.domain.access import ZoneMap
from gateway.domain.reasons import Reason
from gateway.domain.state import VenueState

OPENING = e.DrawerOpening(
    opening="o1", drawer="till", client="bar-tablet", reason="sale", request=e.RequestRef("bar-tablet", "r1")
)


def venue(*events: e.AnyEvent) -> VenueState:
    state = VenueState(ZoneMap({}, {}))
    for event in events:
        state.apply(event)
    return state


def test_i09_a_drawer_is_opened_by_one_at_a_time() -> None:
    state = venue(OPENING)
    assert drawers.refusal(state, "till") is Reason.BUSY
    assert drawers.refusal(state, "other") is None
    assert drawers.is_opening(state, "till", "o1")
    state.apply(e.DrawerOpened(opening="o1", drawer="till"))
    assert drawers.refusal(state, "till") is None
    assert not drawers.is_opening(state, "till", "o1")


def test_an_opening_is_an_alarm_only_when_nobody_asked() -> None:
    assert drawers.contact_opened("till", asked=True) == []
    assert drawers.contact_opened("till", asked=False) == [e.DrawerForced(drawer="till")]


def test_a_drawer_left_open_says_so_once_and_closing_ends_the_alarm() -> None:
    state = venue()
    [alarm] = drawers.left_open(state, "till")
    state.apply(alarm)
    assert state.drawer("till").alarm == "left_open"
    assert drawers.left_open(state, "till") == []
    [closed] = drawers.contact_closed("till")
    state.apply(closed)
    assert state.drawer("till").alarm == ""


def test_a_forced_drawer_that_stays_open_is_also_left_open() -> None:
    state = venue(e.DrawerForced(drawer="till"))
    assert state.drawer("till").alarm == "forced"
    assert drawers.left_open(state, "till") == [e.DrawerLeftOpen(drawer="till")]


def test_an_alarm_from_before_a_restart_ends_when_the_drawer_is_found_shut() -> None:
    assert drawers.found_closed(venue(e.DrawerForced(drawer="till")), "till") == [e.DrawerClosed(drawer="till")]
    assert drawers.found_closed(venue(), "till") == []


def test_i02_after_a_restart_an_opening_cut_off_is_unknown() -> None:
    state = venue(OPENING)
    [event] = drawers.after_restart(state)
    assert isinstance(event, e.DrawerUnknown)
    assert (event.opening, event.drawer) == ("o1", "till")
    state.apply(event)
    assert drawers.after_restart(state) == []


def test_alarms_of_a_drawer_that_is_gone_from_the_configuration_end() -> None:
    state = venue(e.DrawerForced(drawer="till"), e.DrawerForced(drawer="old"))
    assert drawers.after_removal(state, {"till"}) == [e.DrawerClosed(drawer="old")]


def test_a_failure_says_why_even_without_words_of_its_own() -> None:
    assert drawers.failed(OPENING, Reason.DEVICE_OFFLINE).message
    assert drawers.failed(OPENING, Reason.DEVICE_OFFLINE, "no cable").message == "no cable"


def test_every_end_names_the_request_it_answers() -> None:
    ends = [
        drawers.opened(OPENING, confirmed=True),
        drawers.failed(OPENING, Reason.DEVICE_OFFLINE),
        drawers.unknown(OPENING, "who knows"),
    ]
    assert {(end.opening, end.drawer, end.request) for end in ends} == {("o1", "till", OPENING.request)}
