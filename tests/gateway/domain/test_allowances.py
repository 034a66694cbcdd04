"""Allowances: grant, spending, return and expiry under messages that are lost, repeated, late and out of order."""

from __future__ import annotations

import os
from typing import Any

import msgspec
import pytest

from gateway.domain import wallet_events as w
from gateway.domain.allowances import GrantRefused
from gateway.domain.clock import Doubt
from gateway.domain.reasons import Reason
from gateway.domain.state import VenueState
from gateway.domain.wallet import Opening, Policy
from simulators.allowances import Treasury
from tests.gateway.domain.cutoff import DURATION_MS, MARGIN_MS, POLICY, CutOffVenue, Fleet
from tests.gateway.domain.samples import rebuilt, rows, snapshot
from tests.gateway.domain.wallets import NO_ZONES

SCHEDULES = int(os.environ.get("SCHEDULES", "1000"))
"""A long run sets more of them in its environment."""


def pair(free_minor: int = 5_000) -> tuple[Treasury, CutOffVenue]:
    return Treasury({"ada": free_minor}, duration_ms=DURATION_MS, margin_ms=MARGIN_MS), CutOffVenue("here")


def granted(amount_minor: int = 1_000, free_minor: int = 5_000) -> tuple[Treasury, CutOffVenue]:
    treasury, venue = pair(free_minor)
    venue.take(treasury.grant("here", "ada", amount_minor, 0))
    return treasury, venue


# A grant.


def test_what_was_not_granted_is_not_spent() -> None:
    _, venue = pair()
    assert venue.ask("ada", "charge", 1) is Reason.OVER_ALLOWANCE
    assert venue.ask("ada", "hold", 1) is Reason.OVER_ALLOWANCE


def test_what_was_granted_is_spent_to_the_cent_and_no_further() -> None:
    _, venue = granted(1_000)
    assert isinstance(venue.ask("ada", "charge", 999), list)
    assert venue.ask("ada", "charge", 2) is Reason.OVER_ALLOWANCE
    assert isinstance(venue.ask("ada", "charge", 1), list)
    assert venue.balance("ada") == 0
    assert venue.account("upstream").balance_minor == -1_000


def test_a_directory_that_names_a_balance_grants_nothing() -> None:
    _, venue = pair()
    venue.openings["ada"] = Opening(9_000, "EUR")
    assert venue.ask("ada", "charge", 1) is Reason.OVER_ALLOWANCE


def test_a_grant_that_comes_again_or_late_adds_nothing() -> None:
    treasury, venue = pair()
    first = treasury.grant("here", "ada", 300, 0)
    second = treasury.grant("here", "ada", 200, 0)
    for message in (second, first, second, first):
        venue.take(message)
    assert venue.balance("ada") == 500


def test_upstream_grants_no_more_than_there_is_and_a_repeated_wish_once() -> None:
    treasury, venue = pair(700)
    wish = venue.says("ada", 500)
    treasury.heard(wish, 0)
    venue.take(treasury.heard(wish, 0))
    assert (venue.balance("ada"), treasury.free_minor["ada"]) == (500, 200)
    venue.take(treasury.heard(venue.says("ada", 500), 0))
    assert (venue.balance("ada"), treasury.free_minor["ada"]) == (700, 0)


@pytest.mark.parametrize(
    ("change", "why"),
    [
        ({"book": "another"}, "another journal"),
        ({"currency": "CHF"}, "CHF"),
        ({"granted_minor": 900}, "something else before"),
        ({"until_ms": 1}, "something else before"),
        ({"version": 2, "granted_minor": 900}, "less than an older version"),
        ({"heard_version": 2}, "older copy"),
        ({"heard_returned_minor": 1}, "older copy"),
        ({"version": 2, "granted_minor": 10**15 + 1}, "more than an account can hold"),
    ],
)
def test_a_grant_that_cannot_be_true_is_refused_and_nothing_happens(change: dict[str, Any], why: str) -> None:
    treasury, venue = granted(1_000)
    before, count = snapshot(venue.state), len(venue.history)
    if change.get("granted_minor", 0) > 10**15:
        # The range of the message itself ends here; with what is in the wallet it would be passed.
        change = change | {"granted_minor": 10**15}
        venue.ask("ada", "top_up", 1)
        before, count = snapshot(venue.state), len(venue.history)
    with pytest.raises(GrantRefused, match=why):
        venue.take(treasury.terms("here", "ada") | change)
    assert (snapshot(venue.state), len(venue.history)) == (before, count)


@pytest.mark.parametrize(
    "change",
    [{"granted_minor": -1}, {"granted_minor": 1.5}, {"granted_minor": 10**15 + 1}, {"version": -1}, {"currency": "eur"},
     {"holder": ""}, {"until_ms": "soon"}],
)  # fmt: skip
def test_a_message_that_is_no_grant_is_not_even_looked_at(change: dict[str, Any]) -> None:
    treasury, venue = granted()
    with pytest.raises(msgspec.ValidationError):
        venue.take(treasury.terms("here", "ada") | change)


# Back to upstream.


def test_what_is_recalled_goes_back_as_far_as_it_is_free() -> None:
    treasury, venue = granted(1_000)
    venue.ask("ada", "charge", 300)
    venue.ask("ada", "hold", 200)
    venue.take(treasury.recall("here", "ada", 900))
    assert (venue.balance("ada"), venue.available("ada")) == (200, 0)
    treasury.heard(venue.says("ada"), 0)
    assert treasury.free_minor["ada"] == 4_500


def test_money_that_came_in_here_is_spent_here_and_goes_back_when_it_is_recalled() -> None:
    treasury, venue = pair()
    venue.ask("ada", "top_up", 800)
    assert isinstance(venue.ask("ada", "charge", 100), list)
    venue.take(treasury.recall("here", "ada", 5_000))
    treasury.heard(venue.says("ada"), 0)
    assert (venue.balance("ada"), treasury.free_minor["ada"]) == (0, 5_700)


def test_a_recall_that_comes_again_takes_nothing_again() -> None:
    treasury, venue = granted(1_000)
    recall = treasury.recall("here", "ada", 400)
    venue.take(recall)
    venue.take(recall)
    assert venue.balance("ada") == 600


def test_a_statement_that_comes_again_or_late_returns_nothing_twice() -> None:
    treasury, venue = granted(1_000)
    venue.take(treasury.recall("here", "ada", 100))
    early = venue.says("ada")
    venue.take(treasury.recall("here", "ada", 200))
    late = venue.says("ada")
    for said in (late, early, late, early):
        treasury.heard(said, 0)
    assert treasury.free_minor["ada"] + venue.balance("ada") == 5_000


# The end of an allowance.


def test_spending_ends_a_margin_before_upstream_counts_the_allowance_as_over() -> None:
    _, venue = granted(1_000)
    venue.now_ms = DURATION_MS - MARGIN_MS - 1
    assert isinstance(venue.ask("ada", "charge", 1), list)
    venue.now_ms += 1
    assert venue.ask("ada", "charge", 1) is Reason.OVER_ALLOWANCE
    assert venue.ask("ada", "hold", 1) is Reason.OVER_ALLOWANCE
    assert venue.ask("ada", "close_out") is Reason.OVER_ALLOWANCE


def test_what_is_over_goes_back_and_what_came_in_here_stays() -> None:
    treasury, venue = granted(1_000)
    venue.ask("ada", "charge", 300)
    venue.ask("ada", "top_up", 50)
    venue.live(DURATION_MS)
    assert venue.balance("ada") == 50
    assert isinstance(venue.ask("ada", "charge", 50), list)
    treasury.heard(venue.says("ada"), DURATION_MS)
    assert treasury.free_minor["ada"] == 4_700


def test_what_was_granted_is_spent_first_for_it_has_an_end() -> None:
    _, venue = granted(1_000)
    venue.ask("ada", "top_up", 500)
    venue.ask("ada", "charge", 900)
    assert venue.ledger.allowance("ada").left_minor == 100
    venue.live(DURATION_MS)
    assert venue.balance("ada") == 500


def test_a_hold_of_an_allowance_is_captured_before_its_end_or_not_at_all() -> None:
    _, venue = granted(1_000)
    venue.now_ms = DURATION_MS - MARGIN_MS - 10
    venue.ask("ada", "hold", 800, transfer="bar/h")
    assert venue.ledger.holds["bar/h"].until_ms == DURATION_MS - MARGIN_MS
    venue.now_ms = DURATION_MS - MARGIN_MS
    assert venue.ask("ada", "capture", 800, of="bar/h") is Reason.HOLD_ENDED
    venue.live(DURATION_MS)
    assert (venue.balance("ada"), venue.ledger.allowance("ada").returned_minor) == (0, 1_000)


def test_a_newer_grant_prolongs_what_is_left() -> None:
    treasury, venue = granted(1_000)
    venue.live(3_000)
    venue.take(treasury.grant("here", "ada", 1, 3_000))
    venue.live(DURATION_MS)
    assert venue.balance("ada") == 1_001


def test_a_grant_that_comes_after_its_end_goes_back_unspent() -> None:
    treasury, venue = pair()
    late = treasury.grant("here", "ada", 1_000, 0)
    venue.live(DURATION_MS)
    venue.take(late)
    assert venue.balance("ada") == 0
    treasury.heard(venue.says("ada"), DURATION_MS)
    assert treasury.free_minor["ada"] == 5_000


def test_a_clock_that_is_set_back_brings_no_allowance_back() -> None:
    treasury, venue = granted(1_000)
    venue.live(DURATION_MS)
    venue.now_ms = 0
    venue.take(treasury.terms("here", "ada"))
    assert venue.ask("ada", "charge", 1) is Reason.OVER_ALLOWANCE


def test_upstream_writes_nothing_off_while_a_venue_may_still_spend_it() -> None:
    treasury, _ = granted(1_000)
    with pytest.raises(ValueError, match="may still spend"):
        treasury.write_off("here", "ada", DURATION_MS + MARGIN_MS - 1)
    assert treasury.write_off("here", "ada", DURATION_MS + MARGIN_MS) == 1_000


def test_a_venue_that_was_written_off_and_comes_back_costs_what_it_had_spent_and_gets_no_more() -> None:
    treasury, venue = granted(1_000)
    venue.ask("ada", "charge", 300)
    treasury.write_off("here", "ada", DURATION_MS + MARGIN_MS)
    venue.live(DURATION_MS + MARGIN_MS)
    treasury.heard(venue.says("ada", 500), DURATION_MS + MARGIN_MS)
    assert treasury.free_minor["ada"] == 5_000
    assert treasury.parts["here", "ada"].written_off_minor == 300


@pytest.mark.parametrize("seed", range(20))
def test_no_clock_within_the_margin_lets_a_venue_spend_what_upstream_has_written_off(seed: int) -> None:
    fleet = Fleet(seed, skew_ms=MARGIN_MS)
    fleet.play(60)
    fleet.network.cut = {venue.name for venue in fleet.venues}
    ends_ms = max((part.until_ms for part in fleet.treasury.parts.values()), default=fleet.now_ms)
    for after_ms in (0, 1, 10_000):
        at_ms = max(ends_ms + MARGIN_MS, fleet.now_ms) + after_ms
        for venue in fleet.venues:
            venue.now_ms = max(venue.now_ms, at_ms + venue.skew_ms)
            # Whether or not anybody has swept up: the decision itself goes by the time.
            own = venue.ledger.allowance("ada").left_minor
            free_minor = venue.available("ada") - own
            assert venue.ask("ada", "charge", max(0, free_minor) + 1) is Reason.OVER_ALLOWANCE


# Another journal, another mode.


def test_a_venue_that_lost_its_journal_is_granted_nothing_of_what_the_old_one_holds() -> None:
    treasury, venue = granted(1_000)
    venue.ask("ada", "charge", 1_000)
    again = CutOffVenue("here-again")
    with pytest.raises(GrantRefused, match="another journal"):
        again.take(treasury.terms("here", "ada"))
    again.take(treasury.heard(again.says("ada", 9_000), 0))
    assert again.balance("ada") == 4_000


def test_a_venue_that_spends_allowances_no_more_hands_back_what_is_left() -> None:
    treasury, venue = granted(1_000)
    venue.policy = Policy(currency="EUR")
    assert venue.ask("ada", "charge", 1) is Reason.INSUFFICIENT_FUNDS
    venue.live(1)
    treasury.heard(venue.says("ada"), 1)
    assert (venue.balance("ada"), treasury.free_minor["ada"]) == (0, 5_000)


def test_what_came_in_on_trust_goes_back_once_when_allowances_are_granted() -> None:
    _, venue = pair()
    venue.policy = Policy(currency="EUR", upstream=True)
    venue.openings["ada"] = Opening(2_000, "EUR")
    venue.ask("ada", "charge", 500)
    venue.policy = POLICY
    assert venue.ask("ada", "charge", 1) is Reason.OVER_ALLOWANCE
    venue.ask("ada", "top_up", 100)
    assert (venue.balance("ada"), venue.account("upstream").balance_minor) == (100, -500)
    assert isinstance(venue.ask("ada", "charge", 100), list)


# While nobody vouches for the time.


@pytest.mark.parametrize("policy", ["deny", "flag", "last_known"])
@pytest.mark.parametrize("action", ["charge", "tip", "deposit", "hold", "close_out"])
def test_i03_i10_in_doubt_about_the_time_no_allowance_is_spent(policy: Any, action: str) -> None:
    _, venue = granted(1_000)
    venue.doubt = Doubt(policy)
    amount_minor = 0 if action == "close_out" else 1
    fields = {"by": "cash"} if action == "close_out" else {}
    assert venue.ask("ada", action, amount_minor, **fields) is Reason.CLOCK_UNTRUSTED
    assert venue.ask("ada", "charge", 1_001) is Reason.OVER_ALLOWANCE, "more than there is, whatever the time"
    venue.doubt = None
    assert isinstance(venue.ask("ada", action, amount_minor, **fields), list)


def test_i03_i10_in_doubt_a_hold_of_an_allowance_is_not_captured_and_one_of_own_money_is() -> None:
    _, venue = granted(1_000)
    venue.ask("ada", "hold", 400, transfer="bar/granted")
    venue.doubt = Doubt("flag")
    assert venue.ask("ada", "capture", 400, of="bar/granted") is Reason.CLOCK_UNTRUSTED
    venue.ask("ada", "top_up", 500, by="cash")
    assert isinstance(venue.ask("ada", "hold", 100, transfer="bar/own"), list)
    assert isinstance(venue.ask("ada", "capture", 100, of="bar/own"), list)
    assert venue.ledger.allowance("ada").left_minor == 1_000


def test_i03_i10_what_guests_paid_in_is_spent_in_doubt_and_takes_nothing_of_the_allowance_with_it() -> None:
    _, venue = granted(1_000)
    venue.doubt = Doubt("flag")
    venue.ask("ada", "top_up", 600, by="cash")
    assert isinstance(venue.ask("ada", "charge", 400), list)
    assert venue.ledger.allowance("ada").left_minor == 1_000
    assert venue.ask("ada", "charge", 201) is Reason.CLOCK_UNTRUSTED
    assert isinstance(venue.ask("ada", "charge", 200), list)
    assert venue.ask("ada", "charge", 1) is Reason.CLOCK_UNTRUSTED


def test_i03_what_is_over_is_not_spent_in_the_place_of_what_was_paid_in() -> None:
    _, venue = granted(400)
    venue.ask("ada", "top_up", 400, by="cash")
    venue.now_ms = DURATION_MS
    assert isinstance(venue.ask("ada", "charge", 400), list)
    assert venue.ask("ada", "charge", 1) is Reason.OVER_ALLOWANCE


def test_i10_what_is_over_by_the_last_known_time_is_over() -> None:
    _, venue = granted(1_000)
    venue.now_ms, venue.doubt = DURATION_MS, Doubt("flag", known_ms=DURATION_MS)
    assert venue.ask("ada", "charge", 1) is Reason.OVER_ALLOWANCE


# All of it, at random.


def test_i03_cut_off_venues_never_spend_a_cent_more_than_there_is() -> None:
    paid = refused = 0
    for seed in range(SCHEDULES):
        fleet = Fleet(seed, venues=2 + seed % 4, skew_ms=0 if seed % 2 else 10 * DURATION_MS)
        fleet.play(40)
        fleet.reconcile()
        fleet.check()
        paid, refused = paid + fleet.paid, refused + fleet.refused
    assert paid > SCHEDULES, "schedules in which nothing is paid show nothing"
    assert refused > SCHEDULES, "schedules in which nothing is refused show nothing"


def test_i03_replaying_the_journal_of_a_cut_off_venue_gives_the_same_to_the_bit() -> None:
    for seed in range(40):
        fleet = Fleet(seed)
        fleet.play(120)
        for venue in fleet.venues:
            fresh = VenueState(NO_ZONES)
            for event in venue.history:
                fresh.apply(event)
            assert snapshot(fresh) == snapshot(venue.state)
            again = rebuilt(venue.state, rows(venue.state))
            for event in venue.history[len(venue.history) // 2 :]:
                again.apply(event)
            assert snapshot(again) == snapshot(venue.state)


def test_every_movement_of_an_allowance_tells_how_it_stands_afterwards() -> None:
    _, venue = granted(1_000)
    venue.ask("ada", "charge", 400)
    told = [event.allowance for event in venue.history if isinstance(event, w.WalletTransferred)]
    assert [one.left_minor for one in told] == [1_000, 600]
