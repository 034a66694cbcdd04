from __future__ import annotations

import msgspec
import pytest

from gateway.domain import ledger, purchases
from gateway.domain import wallet as wallet_module
from gateway.domain import wallet_events as w
from gateway.domain.clock import Doubt
from gateway.domain.event import RequestRef
from gateway.domain.ledger import Posted
from gateway.domain.money import AMOUNT_MAX_MINOR, BALANCE_MAX_MINOR
from gateway.domain.reasons import Reason
from gateway.domain.wallet import Opening, Policy, standing
from tests.gateway.domain.samples import snapshot
from tests.gateway.domain.wallets import EUR, ONLINE, Bank


def funded(amount_minor: int = 2000, policy: Policy = EUR) -> Bank:
    bank = Bank(policy)
    bank.ask("ada", "top_up", amount_minor, by="cash")
    return bank


# What moves.


def test_a_charge_takes_sale_tip_and_deposit_at_once() -> None:
    bank = funded(2000)
    (fact,) = bank.ask("ada", "charge", 1250, tip_minor=150, deposit_minor=200)
    assert fact.legs == (
        w.Leg("wallet:ada", "sales:bar", 1250),
        w.Leg("wallet:ada", "tips:bar", 150),
        w.Leg("wallet:ada", "deposits", 200),
    )
    assert fact.amount_minor == 1600
    assert fact.balances == {"wallet:ada": 400, "sales:bar": 1250, "tips:bar": 150, "deposits": 200}
    assert bank.account("cash:bar").balance_minor == -2000


@pytest.mark.parametrize("by", ["cash", "card", "voucher"])
def test_a_top_up_comes_from_what_the_guest_gave(by: str) -> None:
    bank = Bank()
    bank.ask("ada", "top_up", 2000, by=by)
    assert bank.balance("ada") == 2000
    assert bank.account(f"{by}:bar").balance_minor == -2000


def test_a_transfer_goes_from_wallet_to_wallet() -> None:
    bank = funded(2000)
    bank.ask("ada", "transfer", 500, to="bob")
    assert (bank.balance("ada"), bank.balance("bob")) == (1500, 500)


def test_nobody_hands_money_to_themselves() -> None:
    assert funded().ask("ada", "transfer", 500, to="ada") is Reason.SAME_WALLET


def test_a_deposit_comes_back_to_whoever_brings_the_cup() -> None:
    bank = funded(2000)
    bank.ask("ada", "deposit", 200)
    bank.ask("bob", "deposit_return", 200)
    assert (bank.balance("ada"), bank.balance("bob")) == (1800, 200)
    assert bank.account("deposits").balance_minor == 0


def test_no_more_deposit_is_returned_than_was_paid() -> None:
    bank = funded(2000)
    bank.ask("ada", "deposit", 200)
    assert bank.ask("bob", "deposit_return", 201) is Reason.NO_DEPOSIT_OPEN


def test_close_out_pays_what_is_there_and_leaves_nothing() -> None:
    bank = funded(2000)
    bank.ask("ada", "charge", 750)
    (fact,) = bank.ask("ada", "close_out", by="cash")
    assert fact.amount_minor == 1250
    assert (bank.balance("ada"), bank.account("cash:bar").balance_minor) == (0, -750)
    assert bank.ask("ada", "close_out", by="cash") is Reason.INSUFFICIENT_FUNDS


def test_a_wallet_is_not_closed_out_while_a_part_of_it_is_held() -> None:
    bank = funded(2000)
    bank.ask("ada", "hold", 100)
    assert bank.ask("ada", "close_out", by="cash") is Reason.HOLD_OPEN


# What does not.


@pytest.mark.parametrize("action", ["charge", "tip", "deposit", "hold"])
def test_i03_no_wallet_pays_more_than_is_in_it(action: str) -> None:
    bank = funded(2000)
    assert bank.ask("ada", action, 2001) is Reason.INSUFFICIENT_FUNDS
    assert bank.balance("ada") == 2000
    assert not isinstance(bank.ask("ada", action, 2000), Reason)
    assert bank.available("ada") == 0


def test_i03_a_wallet_of_which_nothing_is_known_is_empty() -> None:
    assert Bank().ask("ada", "charge", 1) is Reason.INSUFFICIENT_FUNDS


@pytest.mark.parametrize("amount_minor", [0, -1, AMOUNT_MAX_MINOR + 1, -(10**30), 10**30])
@pytest.mark.parametrize(
    "action", ["charge", "top_up", "tip", "deposit", "deposit_return", "hold", "refund", "transfer"]
)
def test_i03_amounts_that_are_no_amounts_move_nothing(action: str, amount_minor: int) -> None:
    bank = funded(2000)
    bank.ask("ada", "charge", 100, transfer="bar/sale")
    before = snapshot(bank.state)
    more = {"of": "bar/sale"} if action == "refund" else {"to": "bob"} if action == "transfer" else {}
    assert bank.ask("ada", action, amount_minor, **more) is Reason.INVALID_AMOUNT
    assert snapshot(bank.state) == before


@pytest.mark.parametrize("parts", [{"tip_minor": -1}, {"deposit_minor": -500}, {"tip_minor": AMOUNT_MAX_MINOR}])
def test_i03_parts_that_are_no_amounts_move_nothing(parts: dict[str, int]) -> None:
    bank = funded(2000)
    assert bank.ask("ada", "charge", 100, **parts) is Reason.INVALID_AMOUNT


def test_i03_another_currency_is_refused() -> None:
    assert funded().ask("ada", "charge", 100, currency="CHF") is Reason.WRONG_CURRENCY


def test_i03_money_does_not_become_another_currency_when_the_configuration_does() -> None:
    bank = funded(2000)
    bank.policy = Policy(currency="CHF")
    assert bank.ask("ada", "charge", 100, currency="CHF") is Reason.WRONG_CURRENCY
    assert bank.ask("ada", "charge", 100, currency="EUR") is Reason.WRONG_CURRENCY


def test_a_wallet_that_upstream_keeps_in_another_currency_is_refused() -> None:
    bank = Bank(ONLINE)
    bank.openings["ada"] = Opening(2000, "CHF")
    assert bank.ask("ada", "charge", 100) is Reason.WRONG_CURRENCY


def test_a_wallet_holds_no_more_than_it_may() -> None:
    bank = Bank(Policy(currency="EUR", balance_max_minor=15_000))
    bank.ask("ada", "top_up", 14_000)
    assert bank.ask("ada", "top_up", 1_001) is Reason.OVER_BALANCE_LIMIT
    bank.ask("bob", "top_up", 5_000)
    assert bank.ask("bob", "transfer", 1_001, to="ada") is Reason.OVER_BALANCE_LIMIT
    assert not isinstance(bank.ask("ada", "top_up", 1_000), Reason)


def test_no_account_grows_beyond_what_every_reader_of_numbers_can_hold(monkeypatch: pytest.MonkeyPatch) -> None:
    assert BALANCE_MAX_MINOR < 2**53
    monkeypatch.setattr(wallet_module, "BALANCE_MAX_MINOR", 3_000)
    bank = funded(2000)
    assert bank.ask("bob", "top_up", 1_001) is Reason.OVER_BALANCE_LIMIT


# Refunds.


def test_i03_no_more_is_refunded_than_was_charged_in_however_many_parts() -> None:
    bank = funded(2000)
    bank.ask("ada", "charge", 1000, tip_minor=100, deposit_minor=200, transfer="bar/sale")
    (first,) = bank.ask("ada", "refund", 1050, of="bar/sale")
    assert first.legs == (w.Leg("sales:bar", "wallet:ada", 1000), w.Leg("tips:bar", "wallet:ada", 50))
    assert bank.ask("ada", "refund", 51, of="bar/sale") is Reason.OVER_CHARGED_AMOUNT
    (rest,) = bank.ask("ada", "refund", 50, of="bar/sale")
    assert rest.legs == (w.Leg("tips:bar", "wallet:ada", 50),)
    assert rest.refunded_minor == 1100
    assert bank.ask("ada", "refund", 1, of="bar/sale") is Reason.OVER_CHARGED_AMOUNT
    assert bank.balance("ada") == 1800


def test_i03_a_deposit_is_given_back_once_and_never_out_of_another_guests() -> None:
    bank = funded(2000)
    bank.ask("ada", "charge", 500, tip_minor=50, deposit_minor=200, transfer="bar/sale")
    bank.ask("ada", "deposit_return", 200)
    bank.ask("bob", "top_up", 1000)
    bank.ask("bob", "charge", 100, deposit_minor=200)
    assert bank.ask("ada", "refund", 750, of="bar/sale") is Reason.OVER_CHARGED_AMOUNT
    bank.ask("ada", "refund", 550, of="bar/sale")
    assert bank.balance("ada") == 2000
    assert bank.account("deposits").balance_minor == 200, "bob's cup"


def test_a_deposit_alone_is_not_refunded_but_returned() -> None:
    bank = funded(2000)
    bank.ask("ada", "deposit", 200, transfer="bar/cup")
    assert bank.ask("ada", "refund", 200, of="bar/cup") is Reason.UNKNOWN_TRANSFER


def test_a_refund_is_booked_at_the_till_that_gives_it() -> None:
    bank = funded(2000)
    bank.ask("ada", "charge", 1000, transfer="bar/sale")
    bank.ask("ada", "refund", 400, of="bar/sale", transfer="desk/r1", client="desk")
    assert (bank.account("sales:bar").balance_minor, bank.account("sales:desk").balance_minor) == (1000, -400)


@pytest.mark.parametrize("of", ["bar/never", "bar/top-up", "bar/handed"])
def test_only_what_was_charged_is_refunded(of: str) -> None:
    bank = Bank()
    bank.ask("ada", "top_up", 2000, transfer="bar/top-up")
    bank.ask("ada", "transfer", 500, to="bob", transfer="bar/handed")
    assert bank.ask("ada", "refund", 100, of=of) is Reason.UNKNOWN_TRANSFER


# Two phases.


def held(amount_minor: int = 1500) -> Bank:
    bank = funded(2000)
    bank.ask("ada", "hold", amount_minor, transfer="bar/hold")
    return bank


def test_what_is_held_is_there_and_cannot_be_spent() -> None:
    bank = held(1500)
    assert (bank.balance("ada"), bank.available("ada")) == (2000, 500)
    assert bank.ask("ada", "charge", 501) is Reason.INSUFFICIENT_FUNDS
    assert bank.ask("ada", "hold", 501) is Reason.INSUFFICIENT_FUNDS


def test_a_capture_takes_what_was_held_or_less_and_frees_the_rest() -> None:
    bank = held(1500)
    (fact,) = bank.ask("ada", "capture", 1000, tip_minor=100, of="bar/hold")
    assert (fact.amount_minor, fact.held_minor) == (1100, 0)
    assert (bank.balance("ada"), bank.available("ada")) == (900, 900)


def test_i03_a_hold_is_captured_once() -> None:
    bank = held(1500)
    bank.ask("ada", "capture", 700, of="bar/hold")
    assert bank.ask("ada", "capture", 700, of="bar/hold") is Reason.HOLD_ENDED
    assert bank.balance("ada") == 1300


def test_i03_a_hold_is_not_captured_for_more() -> None:
    bank = held(1500)
    assert bank.ask("ada", "capture", 1501, of="bar/hold") is Reason.OVER_HELD_AMOUNT
    assert bank.ask("ada", "capture", 1500, tip_minor=1, of="bar/hold") is Reason.OVER_HELD_AMOUNT


def test_i03_a_hold_is_not_captured_late_whether_or_not_the_timer_has_fired() -> None:
    bank = held(1500)
    bank.now_ms = bank.policy.hold_timeout_ms - 1
    assert bank.asked("ada", "capture", 1, of="bar/hold").original == Posted("hold", "ada", "print-1")
    bank.now_ms += 1
    assert bank.ask("ada", "capture", 1500, of="bar/hold") is Reason.HOLD_ENDED
    bank.wait(0)
    assert bank.ask("ada", "capture", 1500, of="bar/hold") is Reason.HOLD_ENDED
    assert bank.available("ada") == 2000


def test_a_hold_that_is_released_is_free_again_and_over() -> None:
    bank = held(1500)
    bank.cancel("bar/hold")
    assert (bank.balance("ada"), bank.available("ada")) == (2000, 2000)
    assert bank.ask("ada", "capture", 1, of="bar/hold") is Reason.HOLD_ENDED


def test_only_holds_are_captured() -> None:
    bank = funded()
    bank.ask("ada", "charge", 100, transfer="bar/sale")
    assert bank.ask("ada", "capture", 100, of="bar/sale") is Reason.UNKNOWN_TRANSFER
    assert bank.ask("ada", "capture", 100, of="bar/never") is Reason.UNKNOWN_TRANSFER


def test_i09_the_number_of_holds_has_a_bound(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(wallet_module, "HOLDS_MAX", 1)
    assert held(100).ask("ada", "hold", 100) is Reason.BUSY


# Ids.


def test_i03_an_id_used_again_with_other_content_is_a_conflict_and_nothing_happens() -> None:
    bank = funded(2000)
    bank.ask("ada", "charge", 100, transfer="bar/sale", print="a")
    before = snapshot(bank.state)
    assert bank.ask("ada", "charge", 900, transfer="bar/sale", print="b") is Reason.IDEMPOTENCY_CONFLICT
    assert bank.ask("bob", "top_up", 900, transfer="bar/sale", print="c") is Reason.IDEMPOTENCY_CONFLICT
    assert snapshot(bank.state) == before


@pytest.mark.parametrize("action", ["charge", "hold"])
def test_i02_an_id_used_again_with_the_same_content_moves_nothing_twice(action: str) -> None:
    bank = funded(2000)
    assert len(bank.ask("ada", action, 100, transfer="bar/sale", print="a")) == 1
    assert bank.ask("ada", action, 100, transfer="bar/sale", print="a") == []
    assert bank.available("ada") == 1900


def test_ids_of_two_clients_never_meet() -> None:
    assert ledger.transfer_id("bar", "1/2") != ledger.transfer_id("bar-1", "2")


# Where upstream keeps the wallets.


def test_a_wallet_opens_with_what_upstream_says() -> None:
    bank = Bank(ONLINE, ada=2000)
    opening, sale = bank.ask("ada", "charge", 500)
    assert opening.legs == (w.Leg("upstream", "wallet:ada", 2000),)
    assert sale.balances["wallet:ada"] == 1500
    assert bank.account("upstream").balance_minor == -2000
    assert len(bank.ask("ada", "charge", 500)) == 1


def test_a_refused_payment_opens_nothing() -> None:
    bank = Bank(ONLINE, ada=2000)
    assert bank.ask("ada", "charge", 2001) is Reason.INSUFFICIENT_FUNDS
    assert bank.history == []
    assert standing(bank.ledger, bank.guest("ada"), bank.policy).available_minor == 2000


def test_what_upstream_adds_comes_in_and_what_was_spent_here_stays_spent() -> None:
    bank = Bank(ONLINE, ada=2000)
    bank.ask("ada", "charge", 500)
    bank.openings["ada"] = Opening(3000, "EUR")
    assert standing(bank.ledger, bank.guest("ada"), bank.policy).balance_minor == 2500
    bank.ask("ada", "charge", 100)
    assert bank.balance("ada") == 2400


def test_what_upstream_has_counted_already_is_not_taken_twice() -> None:
    bank = Bank(ONLINE, ada=2000)
    bank.ask("ada", "charge", 500)
    bank.openings["ada"] = Opening(1500, "EUR", counted_minor=-500)
    assert len(bank.ask("ada", "charge", 100)) == 1
    assert bank.balance("ada") == 1400


def test_i03_upstream_takes_back_no_more_than_is_there_and_the_rest_from_what_comes_in() -> None:
    bank = Bank(ONLINE, ada=2000)
    bank.ask("ada", "charge", 1500)
    bank.openings["ada"] = Opening(1000, "EUR")
    assert bank.ask("ada", "charge", 1) is Reason.INSUFFICIENT_FUNDS
    bank.ask("ada", "top_up", 700)
    assert bank.balance("ada") == 700
    bank.ask("ada", "charge", 100)
    assert bank.balance("ada") == 100, "500 more were spent than upstream gave"


def test_both_sides_of_a_transfer_open() -> None:
    bank = Bank(ONLINE, ada=2000, bob=300)
    assert len(bank.ask("ada", "transfer", 500, to="bob")) == 3
    assert (bank.balance("ada"), bank.balance("bob")) == (1500, 800)


def limited(**limits: int) -> Bank:
    return Bank(msgspec.structs.replace(ONLINE, **limits), ada=100_000, bob=100_000)


def test_a_single_payment_over_its_limit_is_refused() -> None:
    bank = limited(transaction_max_minor=5000)
    assert bank.ask("ada", "charge", 5001) is Reason.OVER_OFFLINE_LIMIT
    assert not isinstance(bank.ask("ada", "charge", 5000), Reason)


def test_what_a_wallet_spends_since_the_last_contact_has_a_limit() -> None:
    bank = limited(wallet_total_max_minor=5000)
    bank.ask("ada", "charge", 3000)
    assert bank.ask("ada", "charge", 2001) is Reason.OVER_OFFLINE_LIMIT
    assert not isinstance(bank.ask("bob", "charge", 5000), Reason)
    bank.record(w.WalletContact(contact="c2"))
    assert not isinstance(bank.ask("ada", "charge", 5000), Reason)


def test_what_is_held_counts_as_spent_until_it_is_free() -> None:
    bank = limited(wallet_total_max_minor=5000)
    bank.ask("ada", "hold", 3000, transfer="bar/hold")
    assert bank.ask("ada", "charge", 2001) is Reason.OVER_OFFLINE_LIMIT
    bank.ask("ada", "capture", 1000, of="bar/hold")
    assert bank.ask("ada", "charge", 4001) is Reason.OVER_OFFLINE_LIMIT
    assert not isinstance(bank.ask("ada", "charge", 4000), Reason)


def test_what_the_venue_takes_since_the_last_contact_has_a_limit() -> None:
    bank = limited(venue_total_max_minor=5000)
    bank.ask("ada", "charge", 3000)
    bank.ask("bob", "hold", 1500)
    assert bank.ask("ada", "charge", 501) is Reason.OVER_OFFLINE_LIMIT
    bank.record(w.WalletContact(contact="c2"))
    assert not isinstance(bank.ask("ada", "charge", 3500), Reason), "the hold still counts"


def test_payments_in_a_row_have_a_limit() -> None:
    bank = limited(consecutive_max=2)
    bank.ask("ada", "charge", 1)
    bank.ask("ada", "hold", 1)
    assert bank.ask("ada", "tip", 1) is Reason.OVER_OFFLINE_LIMIT
    assert not isinstance(bank.ask("ada", "top_up", 1), Reason), "what comes in is no risk"
    assert not isinstance(bank.ask("bob", "charge", 1), Reason)


def test_an_old_directory_vouches_for_no_payment() -> None:
    bank = limited(directory_age_max_ms=3_600_000)
    bank.now_ms = 3_600_000
    assert not isinstance(bank.ask("ada", "charge", 1), Reason)
    bank.now_ms += 1
    assert bank.ask("ada", "charge", 1) is Reason.DIRECTORY_STALE
    assert not isinstance(bank.ask("ada", "top_up", 1), Reason)


@pytest.mark.parametrize(
    ("doubt", "reason"),
    [
        (Doubt("deny"), Reason.CLOCK_UNTRUSTED),
        (Doubt("deny", known_ms=3_600_001), Reason.DIRECTORY_STALE),
        (Doubt("flag"), None),
        (Doubt("flag", known_ms=3_600_001), Reason.DIRECTORY_STALE),
        (Doubt("last_known"), Reason.DIRECTORY_STALE),
        (None, Reason.DIRECTORY_STALE),
    ],
)
def test_i10_the_age_of_the_directory_goes_by_the_policy_while_nobody_vouches_for_the_time(
    doubt: Doubt | None, reason: Reason | None
) -> None:
    bank = limited(directory_age_max_ms=3_600_000)
    bank.now_ms, bank.doubt = 3_600_001, doubt
    verdict = bank.ask("ada", "charge", 1)
    assert verdict is reason if reason else isinstance(verdict, list)


def test_i10_what_has_no_greatest_age_is_spent_as_ever() -> None:
    bank = limited()
    bank.doubt = Doubt("deny")
    assert isinstance(bank.ask("ada", "charge", 1), list)


def test_a_venue_that_is_the_authority_itself_is_never_offline() -> None:
    bank = funded(2000, Policy(currency="EUR", transaction_max_minor=1, consecutive_max=1, directory_age_max_ms=1))
    bank.now_ms = 10
    for _ in range(2):
        assert not isinstance(bank.ask("ada", "charge", 1000), Reason)


# A reader that waits.


def armed(reader: str = "bar-reader", transfer: str = "bar/1") -> w.WalletArmed:
    order = w.Order(transfer=transfer, action="charge", client="bar", currency="EUR", amount_minor=500)
    return w.WalletArmed(reader=reader, order=order, until_ms=30_000, request=RequestRef("bar", "1", "p"))


def test_a_reader_waits_until_its_own_order_ends_and_for_no_other() -> None:
    bank = funded(2000)
    bank.record(armed())
    bank.record(w.WalletFailed(transfer="bar/9", reader="bar-reader", reason=Reason.PAYMENT_TIMED_OUT))
    assert "bar-reader" in bank.ledger.armed
    bank.record(*purchases.cancelled(bank.ledger, "bar/1", "bar", RequestRef("bar", "2")))
    assert bank.ledger.armed == {}


def test_i02_after_a_restart_no_reader_waits_and_nothing_was_charged() -> None:
    bank = funded(2000)
    bank.record(armed())
    (fact,) = purchases.after_restart(bank.ledger)
    bank.record(fact)
    assert (fact.reason, fact.request) == (Reason.PAYMENT_INTERRUPTED, RequestRef("bar", "1", "p"))
    assert bank.ledger.armed == {}
    assert bank.balance("ada") == 2000
