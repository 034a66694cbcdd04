from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.domain import money


@pytest.mark.parametrize(
    ("amount_minor", "currency", "text"),
    [
        (1250, "EUR", "12.50 EUR"),
        (5, "EUR", "0.05 EUR"),
        (0, "EUR", "0.00 EUR"),
        (-5, "EUR", "-0.05 EUR"),
        (300, "JPY", "300 JPY"),
        (1234, "KWD", "1.234 KWD"),
        (money.BALANCE_MAX_MINOR, "EUR", "10000000000000.00 EUR"),
    ],
)
def test_amounts_as_people_read_them(amount_minor: int, currency: str, text: str) -> None:
    assert money.text(amount_minor, currency) == text


@given(st.integers(-money.BALANCE_MAX_MINOR, money.BALANCE_MAX_MINOR), st.sampled_from(["EUR", "JPY", "KWD"]))
def test_i03_no_digit_of_an_amount_is_lost_on_its_way_to_the_reader(amount_minor: int, currency: str) -> None:
    assert int(money.text(amount_minor, currency).split()[0].replace(".", "")) == amount_minor
