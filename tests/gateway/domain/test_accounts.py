"""Packed accounts are the accounts that were put in, and what they share lives as long as somebody uses it."""

from __future__ import annotations

import sys

from hypothesis import given
from hypothesis import strategies as st

from gateway.domain.accounts import OPEN_MAX, Account, Accounts
from gateway.domain.money import BALANCE_MAX_MINOR

sums = st.integers(-BALANCE_MAX_MINOR, BALANCE_MAX_MINOR) | st.integers(-300, 300)
contacts = st.sampled_from(["", "contact-1", "contact-2", "contact-3"])
accounts = st.builds(Account, sums, sums, sums, sums, st.integers(0, 10**6), contacts)
names = st.sampled_from(["wallet:ada", "wallet:Žofie", "cash:bar", "upstream"])
changes = st.lists(st.tuples(names, accounts | st.none()), max_size=40)


@given(changes)
def test_they_are_what_a_dictionary_of_them_would_be(history: list[tuple[str, Account | None]]) -> None:
    packed, plain = Accounts(), dict[str, Account]()
    for name, account in history:
        if account is not None:
            packed[name] = plain[name] = account
        elif name in plain:
            del packed[name], plain[name]
        assert packed == plain
        assert packed.find(name) == plain.get(name)
    assert len(packed) == len(plain)
    assert packed.copy() == plain
    assert packed.total_minor() == sum(one.balance_minor for one in plain.values())


@given(changes)
def test_a_contact_that_no_account_names_any_more_is_forgotten(history: list[tuple[str, Account | None]]) -> None:
    packed = Accounts()
    for name, account in history:
        if account is not None:
            packed[name] = account
        else:
            packed.pop(name, None)
        named = {one.contact for one in packed.values()}
        assert set(packed._contacts._numbers) == named | {""}
        assert len(packed._contacts._texts) <= 5


def test_a_season_of_contacts_takes_no_memory() -> None:
    packed = Accounts()
    for number in range(10_000):
        packed["wallet:ada"] = Account(number, contact=f"contact-{number}")
    assert len(packed._contacts._texts) == 3


def test_few_of_them_lie_open() -> None:
    packed = Accounts()
    for number in range(10 * OPEN_MAX):
        packed[f"wallet:{number}"] = Account(number)
        assert packed.find(f"wallet:{number // 2}") == Account(number // 2)
        assert len(packed._open) <= OPEN_MAX


def test_an_account_takes_a_hundred_bytes() -> None:
    """A million that were paid from three times since upstream last spoke, in the words of `make scale`."""
    packed, count = Accounts(), 1_000
    for number in range(count):
        packed[f"wallet:guest-{number}"] = Account(4_700 - number, 0, 5_000, 300 + number, 3, "contact")
    total_bytes = sum(sys.getsizeof(name) + sys.getsizeof(one) for name, one in packed._packed.items())
    assert total_bytes / count < 105
