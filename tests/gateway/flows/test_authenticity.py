"""What a card proved, from the reader's word to the gate's and the till's decision; counters outlive a crash."""

from __future__ import annotations

import pytest

from gateway.domain import events as e
from gateway.domain import wallet_events as w
from gateway.domain import zone_events as z
from gateway.domain.access import Credential
from gateway.domain.authenticity import NONE, Evidence
from gateway.domain.reasons import Reason
from gateway.flows.authenticity import Authenticity
from gateway.store.journal import StorageUnavailable
from tests.gateway.fakes import Disk, settle
from tests.gateway.flows.house import House
from tests.gateway.flows.test_purchase import ADA, Bar, Key

CARD = Credential("ref-1", "ada", kind="card")
PROVEN, FAILED = Evidence(proven=True), Evidence(proven=False)


def counted(counter: int) -> Evidence:
    return Evidence(proven=True, counter=counter)


def demand(house: House, *kinds: str) -> Authenticity:
    found = Authenticity(house.recorder)
    found.required_for = frozenset(kinds)
    return found


async def test_where_nothing_is_demanded_nothing_is_refused():
    asked = demand(House())
    assert [asked.fault(CARD, "nfc", one) for one in (NONE, FAILED, PROVEN, counted(1), counted(1))] == [None] * 5


async def test_a_card_must_prove_itself_where_its_kind_is_named():
    asked = demand(House(), "card")
    assert asked.fault(CARD, "nfc", PROVEN) is None
    assert asked.fault(CARD, "nfc", FAILED) is Reason.AUTHENTICITY_FAILED
    assert asked.fault(CARD, "nfc", NONE) is Reason.AUTHENTICITY_FAILED
    assert asked.fault(Credential("ref-2", "bob", kind="wristband"), "nfc", NONE) is None


async def test_a_counter_never_goes_back_not_even_by_a_crash():
    disk = Disk()
    house = House(disk)
    asked = demand(house, "nfc")
    verdicts = [asked.fault(CARD, "nfc", counted(counter)) for counter in (7, 7, 6, 9)]
    assert verdicts == [None, Reason.REPLAYED, Reason.REPLAYED, None]
    await settle()
    assert [event.counter for event in house.events if isinstance(event, z.CredentialCounted)] == [7, 9]
    await house.crash()
    again = House(disk, seed=2)
    after = demand(again, "nfc")
    assert after.fault(CARD, "nfc", counted(9)) is Reason.REPLAYED
    assert after.fault(CARD, "nfc", counted(10)) is None


async def test_a_counter_that_nobody_signed_counts_for_nothing():
    house = House()
    asked = demand(house, "nfc")
    assert asked.fault(CARD, "nfc", Evidence(proven=False, counter=1_000)) is Reason.AUTHENTICITY_FAILED
    assert asked.fault(CARD, "nfc", counted(1)) is None


async def test_i01_a_counter_that_cannot_be_kept_lets_nobody_in():
    house = House()
    asked = demand(house, "nfc")
    house.journal.fail()
    asked.fault(CARD, "nfc", counted(1))
    await settle()
    assert not house.events
    with pytest.raises(StorageUnavailable):
        asked.fault(CARD, "nfc", counted(2))


async def test_a_till_takes_no_money_from_a_copy():
    bar = Bar()
    await bar.fund(ADA, 2000)
    bar.flow.authenticity.required_for = frozenset({"card", "nfc"})
    bar.guests._credentials[Key().ref("nfc", "04A1")] = Credential(Key().ref("nfc", "04A1"), "ada", kind="card")
    for number, (evidence, reason) in enumerate(((FAILED, Reason.AUTHENTICITY_FAILED), (PROVEN, None))):
        bar.ask("charge", f"c{number}", amount_minor=300, reader="reader")
        assert bar.flow.tap("reader", "nfc", "04A1", evidence)
        await settle()
        last = bar.house.events[-1]
        if reason is None:
            assert isinstance(last, w.WalletTransferred)
        else:
            assert (type(last), last.reason) == (w.WalletDenied, reason)
    # A client that only names the number has no proof to show either.
    bar.ask("charge", "named", amount_minor=300, credential={"technology": "nfc", "value": "04A1"})
    await settle()
    assert bar.house.events[-1].reason is Reason.AUTHENTICITY_FAILED
    assert not [event for event in bar.house.events if isinstance(event, e.EntryDenied)]
