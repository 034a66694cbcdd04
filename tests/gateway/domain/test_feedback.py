"""What guests see: every outcome has a good word in German and English, and none tells more than it should."""

from __future__ import annotations

import typing

import pytest

from gateway.domain import events as e
from gateway.domain import redemption_events as r
from gateway.domain import wallet_events as w
from gateway.domain.answers import Answer, denied, failed
from gateway.domain.feedback import OUTCOMES, Shown, Told, answered, shown_by, text_fault
from gateway.domain.feedback_book import Book
from gateway.domain.feedback_texts import DEFAULTS
from gateway.domain.reasons import Reason
from tests.gateway.domain.samples import sample

LINE_CHARS = 40
BOOK = Book()


@pytest.mark.parametrize("outcome", [*OUTCOMES, *Reason])
def test_every_outcome_and_reason_is_told_in_both_languages(outcome: str) -> None:
    signal = BOOK.signal("anywhere", str(outcome))
    assert set(signal.text) == {"de", "en"}
    for text in signal.text.values():
        assert text_fault(text) == ""
        assert 0 < len(text) <= LINE_CHARS
        assert "{holder}" not in text, "nobody is named unless a venue says so"


def test_the_words_are_outcomes_or_reasons() -> None:
    assert set(DEFAULTS) <= {*OUTCOMES, *(reason.value for reason in Reason)}


def test_a_way_in_is_green_and_no_other_outcome_of_a_gate_is() -> None:
    assert BOOK.signal("gate", "granted").colour == "green"
    assert all(BOOK.signal("gate", reason).colour != "green" for reason in Reason)


@pytest.mark.parametrize("event_type", typing.get_args(e.AnyEvent), ids=lambda kind: kind.__name__)
def test_a_fact_shows_a_known_outcome_or_nothing(event_type: type[e.Event]) -> None:
    shown = shown_by(sample(event_type))
    if shown is not None:
        assert shown.outcome in {*OUTCOMES, *(reason.value for reason in Reason)}
        assert BOOK.line(shown)


def test_a_drink_in_both_languages() -> None:
    paid = sample(w.WalletTransferred, reader="bar", holder="ada", amount_minor=1250, currency="EUR", action="charge",
                  balances={"wallet:ada": 750})  # fmt: skip
    shown = shown_by(paid)
    assert shown == Shown("bar", "paid", {"amount": (1250, "EUR"), "balance": (750, "EUR"), "holder": "ada"})
    assert BOOK.told(shown) == Told(
        "short", "green", {"de": "12,50 EUR bezahlt, Rest 7,50 EUR", "en": "12.50 EUR paid, 7.50 EUR left"}
    )


def test_a_voucher_and_what_is_left() -> None:
    used = (r.Used("e1", "drink", 1, 1), r.Used("e2", "drink", 1, 1), r.Used("e3", "coat", 1, 1))
    made = sample(r.RedemptionMade, reader="bar", used=used)
    assert BOOK.line(shown_by(made)) == "Eingelöst: 2 drink, 1 coat"
    asked = sample(r.RedemptionMade, reader="bar", used=(), left={"drink": 3, "water": None})
    assert BOOK.line(shown_by(asked)) == "Noch da: 3 drink, ∞ water"


def test_what_no_guest_stands_for_shows_nothing() -> None:
    assert shown_by(sample(w.WalletTransferred, reader=None)) is None
    assert shown_by(sample(r.RedemptionUndone)) is None
    assert shown_by(sample(e.PrintQueued)) is None


@pytest.mark.parametrize(
    ("verb", "answer", "outcome"),
    [
        ("authenticate", Answer("done", None, "", {"decision": "granted"}), "granted"),
        ("authenticate", denied(Reason.EXPIRED), "expired"),
        ("authenticate", denied(Reason.NOT_GRANTED), "not_granted"),
        ("charge", Answer("done", None, "", {"action": "charge"}), "paid"),
        ("deposit", Answer("done", None, "", {"action": "deposit_return"}), "refunded"),
        ("redeem", Answer("done", None, "", {"used": []}), "vouchers"),
        ("redeem", failed(Reason.REDEMPTION_CANCELLED), "cancelled"),
        ("charge", failed(Reason.PAYMENT_TIMED_OUT), "failed"),
        ("charge", failed(Reason.STORAGE_UNAVAILABLE), "storage_unavailable"),
    ],
)
def test_an_answer_to_a_client_is_told_alike(verb: str, answer: Answer, outcome: str) -> None:
    shown = answered(verb, answer, "client")
    assert (shown.place, shown.outcome) == ("client", outcome)
    assert set(BOOK.told(shown).text) == {"de", "en"}


@pytest.mark.parametrize("verb", ["print", "open", "status", "why", "override", ""])
def test_an_answer_that_is_for_staff_shows_nothing(verb: str) -> None:
    assert answered(verb, Answer("done"), "client") is None
    assert answered("charge", Answer("accepted"), "client") is None
