from __future__ import annotations

import asyncio
from hashlib import blake2b
from typing import Any

import msgspec
import pytest

from gateway.domain import events as e
from gateway.domain import wallet_events as w
from gateway.domain import zone_events as z
from gateway.domain.answers import Answer
from gateway.domain.reasons import Reason
from gateway.domain.wallet import Opening, Policy
from gateway.flows.purchase import PurchaseFlow
from gateway.store.journal import StorageUnavailable
from tests.gateway.fakes import START_MS, Disk, FakeDirectory, settle
from tests.gateway.flows.house import CLIENT, House, request

EUR = Policy(currency="EUR", hold_timeout_ms=60_000)
ONLINE = Policy(currency="EUR", upstream=True)
ADA, BOB, EVE, OLD, LOST = ("1000000001", "1000000002", "1000000003", "1000000004", "1000000005")


class Key:
    """References as the real key makes them: 32 hex digits that tell nothing."""

    def ref(self, technology: str, value: str) -> str:
        return blake2b(f"{technology}/{value}".encode(), digest_size=16).hexdigest()


class Guests(FakeDirectory):
    """Ada and Bob have cards, Eve's is blocked, that of the old friend is over, and Ada had another one before."""

    def __init__(self) -> None:
        super().__init__()
        for value, holder, fields in (
            (ADA, "ada", {}),
            (BOB, "bob", {}),
            (EVE, "eve", {"state": "blocked"}),
            (OLD, "old", {"valid_until_ms": START_MS}),
            (LOST, "ada", {"state": "replaced"}),
        ):
            self.add(value, holder, **fields)
            # FakeDirectory names cards by readable references; here they are looked up as the real one does.
            self._credentials[Key().ref("em4100", value)] = self._credentials.popitem()[1]


class Reader:
    def __init__(self) -> None:
        self.online = True


class Bar:
    """A house with two readers at tills, and guests with cards."""

    def __init__(self, disk: Disk | None = None, policy: Policy = EUR) -> None:
        self.house = House(disk, seed=2 if disk else 1)
        self.guests = Guests()
        self.readers = {"reader": Reader(), "other": Reader()}
        self.flow = PurchaseFlow(self.house.recorder, self.guests, Key())
        self.flow.configure(policy, 30.0, self.readers)
        self.house.serve("wallet", self.flow.handlers())
        self.told = self.house.told

    def ask(self, verb: str, id: str = "r1", **data: Any) -> Answer | None:  # noqa: A002
        return self.house.ask("wallet", verb, data, id=id)

    def tap(self, card: str = ADA, reader: str = "reader") -> bool:
        return self.flow.tap(reader, "em4100", card)

    async def fund(self, card: str = ADA, amount_minor: int = 2000) -> None:
        self.ask("top_up", f"fund-{amount_minor}", amount_minor=amount_minor, by="cash", credential=shown(card))
        await settle()

    def answer(self, id: str = "r1") -> Answer:  # noqa: A002
        """The newest answer to a request."""
        return [answer for one, answer in self.told if one == id][-1]

    def statuses(self, id: str = "r1") -> list[str]:  # noqa: A002
        return self.house.statuses(id)

    def balance(self, holder: str = "ada") -> int:
        return self.house.state.ledger.account(f"wallet:{holder}").balance_minor


def shown(card: str) -> dict[str, str]:
    return {"technology": "em4100", "value": card}


async def funded_bar(amount_minor: int = 2000, **fields: Any) -> Bar:
    bar = Bar(**fields)
    await bar.fund(ADA, amount_minor)
    return bar


# A charge at a reader.


async def test_the_next_tap_at_the_reader_pays() -> None:
    bar = await funded_bar(2000)
    assert bar.ask("charge", amount_minor=1250, currency="EUR", reader="reader") is None
    await settle()
    assert bar.statuses() == ["accepted"]
    assert bar.tap(ADA)
    await settle()
    assert bar.statuses() == ["accepted", "done"]
    assert bar.answer().message == "Paid 12.50 EUR."
    assert bar.answer().data == {
        "transfer": "bar-tablet/r1",
        "action": "charge",
        "amount_minor": 1250,
        "currency": "EUR",
        "holder": "ada",
        "balance_minor": 750,
        "credential": Key().ref("em4100", ADA),
    }


async def test_a_reader_that_waits_takes_one_tap_and_the_next_is_for_somebody_else() -> None:
    bar = await funded_bar(2000)
    assert not bar.tap(ADA)
    bar.ask("charge", amount_minor=500, reader="reader")
    assert not bar.tap(ADA, "other")
    assert bar.tap(ADA)
    assert not bar.tap(ADA)
    await settle()
    assert bar.balance() == 1500


async def test_i01_nothing_is_answered_as_paid_before_it_is_on_disk() -> None:
    bar = await funded_bar(2000)
    bar.ask("charge", amount_minor=500, reader="reader")
    await settle()
    bar.house.journal.hold()
    bar.tap(ADA)
    await settle()
    assert bar.statuses() == ["accepted"]
    bar.house.journal.release()
    await settle()
    assert bar.statuses() == ["accepted", "done"]


async def test_a_card_in_the_same_moment_as_the_request_pays_in_its_order() -> None:
    bar = await funded_bar(2000)
    bar.house.journal.hold()
    bar.ask("charge", amount_minor=500, reader="reader")
    assert bar.tap(ADA)
    bar.house.journal.release()
    await settle()
    assert bar.statuses() == ["accepted", "done"]


@pytest.mark.parametrize(
    ("card", "reason"),
    [
        (BOB, "insufficient_funds"),
        (EVE, "blocked"),
        (LOST, "replaced"),
        (OLD, "expired"),
        ("FFFFFFFFFF", "unknown_credential"),
    ],
)
async def test_a_card_that_cannot_pay_ends_the_request_with_its_one_reason(card: str, reason: str) -> None:
    bar = await funded_bar(2000)
    bar.ask("charge", amount_minor=500, reader="reader")
    assert bar.tap(card)
    await settle()
    assert (bar.statuses(), bar.answer().reason) == (["accepted", "denied"], reason)
    assert not bar.tap(ADA)
    assert bar.balance() == 2000


@pytest.mark.parametrize("named", [{"credential": Key().ref("em4100", ADA)}, {"holder": "ada"}])
async def test_what_staff_blocked_pays_nothing_until_it_is_unblocked(named: dict[str, str]) -> None:
    bar = await funded_bar(2000)
    bar.house.recorder.record(z.CredentialBlocked(client="desk", reason="card reported stolen", **named))
    bar.ask("charge", "r1", amount_minor=500, credential=shown(ADA))
    await settle()
    assert (bar.statuses(), bar.answer().reason) == (["denied"], Reason.BLOCKED)
    bar.house.recorder.record(z.CredentialUnblocked(client="desk", reason="card found", **named))
    bar.ask("charge", "r2", amount_minor=500, credential=shown(ADA))
    await settle()
    assert (bar.statuses("r2"), bar.balance()) == (["done"], 1500)


async def test_a_credential_that_the_directory_calls_expired_is_only_paid_out() -> None:
    bar = await funded_bar(700)
    ref = Key().ref("em4100", ADA)
    bar.guests._credentials[ref] = msgspec.structs.replace(bar.guests._credentials[ref], state="expired")
    bar.ask("charge", "r1", amount_minor=100, credential=shown(ADA))
    bar.ask("close_out", "r2", by="cash", credential=shown(ADA))
    await settle()
    assert (bar.answer("r1").reason, bar.statuses("r2")) == (Reason.EXPIRED, ["done"])


async def test_a_till_hears_what_is_left_when_it_is_not_enough() -> None:
    bar = await funded_bar(2000)
    bar.ask("charge", amount_minor=2500, credential=shown(ADA))
    await settle()
    assert bar.answer().data == {"transfer": "bar-tablet/r1", "available_minor": 2000}


async def test_without_a_directory_nobody_is_known() -> None:
    bar = await funded_bar()
    bar.guests.loaded = False
    bar.ask("charge", amount_minor=500, credential=shown(ADA))
    await settle()
    assert bar.answer().reason is Reason.DIRECTORY_UNAVAILABLE


# Waiting.


async def test_a_reader_waits_for_its_time_and_then_nothing_was_charged() -> None:
    bar = await funded_bar(2000)
    bar.ask("charge", amount_minor=500, reader="reader")
    await asyncio.sleep(29.9)
    assert bar.statuses() == ["accepted"]
    await asyncio.sleep(0.2)
    assert (bar.statuses(), bar.answer().reason) == (["accepted", "failed"], Reason.PAYMENT_TIMED_OUT)
    assert not bar.tap(ADA)
    assert bar.balance() == 2000


async def test_a_request_that_expires_earlier_is_waited_for_no_longer() -> None:
    bar = await funded_bar(2000)
    bar.house.ask("wallet", "charge", {"amount_minor": 500, "reader": "reader"}, expires_in_s=5)
    await asyncio.sleep(5.1)
    assert bar.answer().reason is Reason.PAYMENT_TIMED_OUT


async def test_a_timer_ends_only_its_own_request() -> None:
    bar = await funded_bar(2000)
    bar.ask("charge", "r1", amount_minor=500, reader="reader")
    await asyncio.sleep(20)
    bar.tap(ADA)
    bar.ask("charge", "r2", amount_minor=500, reader="reader")
    await asyncio.sleep(20)
    assert bar.statuses("r2") == ["accepted"]
    assert bar.tap(ADA)
    await asyncio.sleep(60)
    assert (bar.statuses("r1"), bar.statuses("r2")) == (["accepted", "done"], ["accepted", "done"])


async def test_one_tablet_at_a_time() -> None:
    bar = await funded_bar(2000)
    bar.ask("charge", "r1", amount_minor=500, reader="reader")
    refused = bar.ask("charge", "r2", amount_minor=900, reader="reader")
    assert (refused.status, refused.reason) == ("denied", Reason.BUSY)
    assert bar.ask("charge", "r3", amount_minor=900, reader="other") is None
    bar.tap(ADA)
    await settle()
    assert bar.balance() == 1500
    assert bar.ask("charge", "r4", amount_minor=900, reader="reader") is None


async def test_the_same_request_twice_arms_once_and_a_different_one_conflicts() -> None:
    bar = await funded_bar(2000)
    bar.ask("charge", amount_minor=500, reader="reader")
    await settle()
    assert bar.ask("charge", amount_minor=500, reader="reader").status == "accepted"
    assert bar.ask("charge", amount_minor=600, reader="reader").reason is Reason.IDEMPOTENCY_CONFLICT
    bar.tap(ADA)
    await settle()
    assert bar.ask("charge", amount_minor=500, reader="reader").status == "done"
    assert bar.balance() == 1500


async def test_a_cancelled_request_charges_nobody() -> None:
    bar = await funded_bar(2000)
    bar.ask("charge", amount_minor=500, reader="reader")
    assert bar.ask("cancel", "r2", request="r1") is None
    assert not bar.tap(ADA)
    await asyncio.sleep(60)
    assert (bar.statuses("r1"), bar.answer("r1").reason) == (["accepted", "failed"], Reason.PAYMENT_CANCELLED)
    assert bar.statuses("r2") == ["done"]


async def test_what_is_paid_is_not_cancelled() -> None:
    bar = await funded_bar(2000)
    bar.ask("charge", amount_minor=500, reader="reader")
    bar.tap(ADA)
    await settle()
    assert bar.ask("cancel", "r2", request="r1").reason is Reason.PAYMENT_ENDED
    assert bar.ask("cancel", "r3", request="never").reason is Reason.UNKNOWN_TRANSFER
    assert bar.balance() == 1500


async def test_i07_a_client_cancels_only_what_it_asked_itself() -> None:
    bar = await funded_bar(2000)
    bar.ask("charge", amount_minor=500, reader="reader")
    bar.house.desk.configure({"wallet": bar.flow.handlers()}, {"thief": {"wallet": frozenset({"cancel"})}}, 60_000)
    refused = bar.house.desk.handle(request("wallet", "cancel", {"request": "r1"}, id="r2", client="thief"))
    assert refused.reason is Reason.UNKNOWN_TRANSFER
    assert bar.tap(ADA)


@pytest.mark.parametrize(("reader", "reason"), [("nowhere", Reason.UNKNOWN_READER), ("other", Reason.DEVICE_OFFLINE)])
async def test_a_reader_that_cannot_read_is_refused_at_once(reader: str, reason: Reason) -> None:
    bar = Bar()
    bar.readers["other"].online = False
    assert bar.ask("charge", amount_minor=500, reader=reader).reason is reason


async def test_a_reader_that_leaves_the_configuration_waits_no_more() -> None:
    bar = await funded_bar(2000)
    bar.ask("charge", amount_minor=500, reader="reader")
    bar.flow.configure(EUR, 30.0, {"other": bar.readers["other"]})
    await settle()
    assert (bar.statuses(), bar.answer().reason) == (["accepted", "failed"], Reason.CONFIGURATION_CHANGED)


async def test_a_reload_that_changes_nothing_keeps_a_reader_waiting() -> None:
    bar = await funded_bar(2000)
    bar.ask("charge", amount_minor=500, reader="reader")
    bar.flow.configure(EUR, 30.0, bar.readers)
    assert bar.tap(ADA)


async def test_a_gateway_that_stops_says_that_nothing_was_charged() -> None:
    bar = await funded_bar(2000)
    bar.ask("charge", amount_minor=500, reader="reader")
    bar.flow.close()
    await settle()
    assert (bar.statuses(), bar.answer().reason) == (["accepted", "failed"], Reason.PAYMENT_INTERRUPTED)


# A crash.


@pytest.mark.parametrize("tapped", [False, True])
async def test_i02_a_crash_between_request_and_stored_tap_ends_the_request_and_charges_nothing(*, tapped: bool) -> None:
    bar = await funded_bar(2000)
    bar.ask("charge", amount_minor=500, reader="reader")
    await settle()
    bar.house.journal.hold()
    if tapped:
        bar.tap(ADA)
    await bar.house.crash()
    again = Bar(bar.house.journal.disk)
    again.house.settle_the_past()
    again.flow.configure(EUR, 30.0, again.readers)
    await settle()
    assert (again.statuses(), again.answer().reason) == (["failed"], Reason.PAYMENT_INTERRUPTED)
    assert not again.tap(ADA)
    assert again.balance() == 2000
    assert again.ask("charge", amount_minor=500, reader="reader").reason is Reason.PAYMENT_INTERRUPTED


async def test_i02_a_crash_after_the_stored_tap_charges_once_and_the_repeat_is_told_so() -> None:
    bar = await funded_bar(2000)
    bar.ask("charge", amount_minor=500, reader="reader")
    bar.tap(ADA)
    await settle()
    await bar.house.crash()
    again = Bar(bar.house.journal.disk)
    again.house.settle_the_past()
    assert again.ask("charge", amount_minor=500, reader="reader").status == "done"
    assert (again.balance(), again.house.kinds()) == (1500, [])


async def test_what_a_hold_reserves_outlives_a_crash_and_so_does_its_time() -> None:
    bar = await funded_bar(2000)
    bar.ask("hold", amount_minor=1500, credential=shown(ADA))
    await asyncio.sleep(40)
    await bar.house.crash()
    again = Bar(bar.house.journal.disk)
    assert again.house.state.ledger.account("wallet:ada").available_minor == 500
    await asyncio.sleep(19)
    assert again.house.kinds() == []
    await asyncio.sleep(2)
    assert again.house.kinds() == ["WalletHoldEnded"]
    assert again.house.state.ledger.account("wallet:ada").available_minor == 2000


async def test_a_disk_that_takes_nothing_charges_nothing_and_the_reader_waits_on() -> None:
    bar = await funded_bar(2000)
    bar.ask("charge", amount_minor=500, reader="reader")
    await settle()
    bar.house.journal.fail()
    bar.tap(ADA)
    await settle()
    with pytest.raises(StorageUnavailable):
        bar.house.recorder.record(w.WalletContact(contact="x"))
    bar.house.recorder.recover()
    bar.flow.storage_recovered()
    assert bar.balance() == 2000
    assert bar.statuses() == ["accepted"]
    assert bar.tap(ADA)
    await settle()
    assert (bar.statuses(), bar.balance()) == (["accepted", "done"], 1500)


async def test_only_whose_request_is_over_is_told_that_the_disk_failed() -> None:
    """A till that was told `failed` while its reader still waits would ask again, and the guest would pay twice."""
    bar = await funded_bar(2000)
    refused: list[e.RequestRef] = []
    bar.house.recorder.failure_listeners.append(lambda refs, _: refused.extend(refs))
    bar.ask("charge", "waiting", amount_minor=500, reader="reader")
    await settle()
    bar.house.journal.fail()
    bar.tap(ADA)
    bar.ask("charge", "at-once", amount_minor=500, credential=shown(ADA))
    bar.ask("charge", "arming", amount_minor=500, reader="other")
    bar.ask("cancel", "cancelling", request="waiting")
    await settle()
    assert [ref.id for ref in refused] == ["at-once", "arming"]
    bar.house.recorder.recover()
    bar.flow.storage_recovered()
    assert list(bar.house.state.ledger.armed) == ["reader"]


async def test_a_timer_that_cannot_be_stored_tries_again() -> None:
    bar = await funded_bar(2000)
    bar.ask("charge", amount_minor=500, reader="reader")
    await settle()
    bar.house.journal.failed = StorageUnavailable("the disk is full")
    await asyncio.sleep(31)
    assert bar.statuses() == ["accepted"]
    bar.house.journal.failed = None
    await asyncio.sleep(2)
    assert bar.statuses() == ["accepted", "failed"]


# A credential that the client itself has read.


async def test_a_networked_readers_tap_pays_at_once() -> None:
    bar = await funded_bar(2000)
    assert bar.ask("charge", amount_minor=1250, tip_minor=50, deposit_minor=200, credential=shown(ADA)) is None
    await settle()
    assert (bar.statuses(), bar.answer().data["balance_minor"]) == (["done"], 500)


async def test_a_reference_from_an_earlier_answer_names_the_same_wallet() -> None:
    bar = await funded_bar(2000)
    ref = bar.ask("balance", credential=shown(ADA)).data["credential"]
    bar.ask("charge", amount_minor=500, credential=ref)
    await settle()
    assert bar.balance() == 1500


@pytest.mark.parametrize(
    "data",
    [
        {},
        {"reader": "reader", "credential": shown(ADA)},
        {"credential": "not a reference"},
        {"reader": "reader", "amount_minor": 0},
        {"reader": "reader", "amount_minor": -5},
        {"reader": "reader", "amount_minor": 12.5},
        {"reader": "reader", "amount_minor": 12.0},
        {"reader": "reader", "amount_minor": "500"},
        {"reader": "reader", "amount_minor": True},
        {"reader": "reader", "amount_minor": 10**9},
        {"reader": "reader", "amount_minor": 10**30},
        {"reader": "reader", "amount": 500},
        {"reader": "reader", "tip_minor": -1},
        {"reader": "reader", "currency": "euro"},
    ],
)
async def test_i03_what_is_no_amount_and_names_nobody_is_malformed_and_does_nothing(data: dict[str, Any]) -> None:
    bar = await funded_bar(2000)
    refused = bar.ask("charge", **{"amount_minor": 500} | data)
    assert (refused.status, refused.reason) == ("denied", Reason.MALFORMED)
    assert "`" in refused.message, "the field is named"
    assert bar.house.state.ledger.armed == {}


async def test_another_currency_is_refused_before_a_guest_is_bothered() -> None:
    bar = await funded_bar(2000)
    assert bar.ask("charge", amount_minor=500, currency="CHF", reader="reader").reason is Reason.WRONG_CURRENCY


# The other verbs.


@pytest.mark.parametrize("verb", ["top_up", "tip", "deposit", "hold", "close_out", "balance", "transfer"])
async def test_every_verb_that_needs_a_guest_can_wait_for_one(verb: str) -> None:
    bar = await funded_bar(2000)
    data: dict[str, Any] = {"reader": "reader"}
    if verb not in {"close_out", "balance"}:
        data["amount_minor"] = 300
    data |= {"by": "card"} if verb == "top_up" else {"to": shown(BOB)} if verb == "transfer" else {}
    assert bar.ask(verb, **data) is None
    assert bar.tap(ADA)
    await settle()
    assert bar.statuses() == ["accepted", "done"]
    assert bar.house.state.ledger.armed == {}


async def test_a_balance_asked_for_by_credential_is_told_at_once_and_not_journalled() -> None:
    bar = await funded_bar(2000)
    bar.ask("hold", "h", amount_minor=500, credential=shown(ADA))
    await settle()
    length = len(bar.house.journal.disk.rows)
    answer = bar.ask("balance", credential=shown(ADA))
    assert (answer.status, answer.message) == ("done", "15.00 EUR left.")
    assert answer.data["available_minor"] == 1500
    assert bar.ask("balance", "r2", credential=shown(EVE)).reason is Reason.BLOCKED
    assert len(bar.house.journal.disk.rows) == length


async def test_a_guest_whose_card_is_over_gets_the_money_back_and_spends_no_more() -> None:
    bar = Bar()
    ref = Key().ref("em4100", OLD)
    card = bar.guests._credentials[ref]
    bar.guests._credentials[ref] = msgspec.structs.replace(card, valid_until_ms=None)
    await bar.fund(OLD, 700)
    bar.guests._credentials[ref] = card
    bar.ask("charge", "r1", amount_minor=100, credential=shown(OLD))
    bar.ask("close_out", "r2", credential=shown(OLD))
    await settle()
    assert bar.answer("r1").reason is Reason.EXPIRED
    assert (bar.statuses("r2"), bar.answer("r2").message) == (["done"], "Pay out 7.00 EUR.")


async def test_a_refund_gives_back_the_rest_when_no_amount_is_named() -> None:
    bar = await funded_bar(2000)
    bar.ask("charge", "sale", amount_minor=1000, credential=shown(ADA))
    bar.ask("refund", "r1", transfer="bar-tablet/sale", amount_minor=300)
    bar.ask("refund", "r2", transfer="bar-tablet/sale")
    await settle()
    assert bar.answer("r2").data["amount_minor"] == 700
    assert bar.balance() == 2000
    assert bar.ask("refund", "r3", transfer="bar-tablet/sale").reason is Reason.OVER_CHARGED_AMOUNT
    assert bar.ask("refund", "r4", transfer="bar-tablet/fund-2000").reason is Reason.UNKNOWN_TRANSFER
    bar.ask("refund", "r5", transfer="bar-tablet/sale", amount_minor=1)
    await settle()
    assert bar.answer("r5").reason is Reason.OVER_CHARGED_AMOUNT


async def test_i02_a_refund_and_a_capture_are_known_when_their_answers_were_let_go() -> None:
    bar = await funded_bar(2000)
    bar.ask("charge", "sale", amount_minor=1000, credential=shown(ADA))
    bar.ask("hold", "held", amount_minor=500, credential=shown(ADA))
    await settle()
    asked = {"refund": ("r1", "bar-tablet/sale"), "capture": ("p1", "bar-tablet/held")}
    for verb, (number, transfer) in asked.items():
        bar.ask(verb, number, transfer=transfer)
    await settle()
    bar.house.state.requests.clear()
    before = bar.balance()
    for verb, (number, transfer) in asked.items():
        assert bar.ask(verb, number, transfer=transfer).message == "This was done before."
        again = bar.ask(verb, number, transfer=transfer, amount_minor=1)
        assert again.reason is Reason.IDEMPOTENCY_CONFLICT
    assert bar.balance() == before


async def test_a_charge_is_refunded_long_after_it_has_left_the_memory() -> None:
    bar = await funded_bar(2000)
    bar.ask("charge", "sale", amount_minor=1000, credential=shown(ADA))
    bar.ask("refund", "r1", transfer="bar-tablet/sale", amount_minor=300)
    await settle()
    assert bar.house.recorder.fold_if_due(force=True)
    await settle()
    ledger = bar.house.state.ledger
    assert (ledger.transfers, ledger.refunded) == ({}, {})
    bar.ask("refund", "r2", transfer="bar-tablet/sale", amount_minor=701)
    bar.ask("refund", "r3", transfer="bar-tablet/sale", amount_minor=700)
    await settle()
    assert (bar.answer("r2").reason, bar.statuses("r3")) == (Reason.OVER_CHARGED_AMOUNT, ["done"])
    again = Bar(bar.house.journal.disk)
    assert (again.balance(), again.house.state.ledger.imbalance_minor) == (2000, 0)


async def test_a_hold_is_captured_in_part_and_the_rest_is_free() -> None:
    bar = await funded_bar(2000)
    bar.ask("hold", "h", amount_minor=1500, credential=shown(ADA))
    bar.ask("capture", "r1", transfer="bar-tablet/h", amount_minor=1000, tip_minor=100)
    await asyncio.sleep(120)
    assert bar.answer("r1").data["balance_minor"] == 900
    assert bar.ask("capture", "r2", transfer="bar-tablet/h").reason is Reason.HOLD_ENDED
    assert "WalletHoldEnded" not in bar.house.kinds()


async def test_a_hold_is_captured_whole_when_no_amount_is_named() -> None:
    bar = await funded_bar(2000)
    bar.ask("hold", "h", amount_minor=1500, credential=shown(ADA))
    bar.ask("capture", "r1", transfer="bar-tablet/h", tip_minor=200)
    await settle()
    assert bar.answer("r1").data["amount_minor"] == 1500


async def test_a_hold_is_released_by_cancelling_what_made_it() -> None:
    bar = await funded_bar(2000)
    bar.ask("hold", "h", amount_minor=1500, credential=shown(ADA))
    bar.ask("cancel", "r1", request="h")
    await settle()
    assert bar.statuses("r1") == ["done"]
    assert bar.house.state.ledger.account("wallet:ada").available_minor == 2000


async def test_a_hold_that_nobody_captures_is_free_after_its_time() -> None:
    bar = await funded_bar(2000)
    bar.ask("hold", "h", amount_minor=1500, credential=shown(ADA))
    await asyncio.sleep(61)
    assert bar.house.kinds()[-1] == "WalletHoldEnded"
    assert bar.ask("capture", "r1", transfer="bar-tablet/h").reason is Reason.HOLD_ENDED
    assert bar.ask("capture", "r2", transfer="bar-tablet/never").reason is Reason.UNKNOWN_TRANSFER


async def test_a_clock_that_is_set_back_releases_no_hold_too_early() -> None:
    bar = await funded_bar(2000)
    bar.ask("hold", "h", amount_minor=1500, credential=shown(ADA))
    await settle()
    bar.house.recorder._last_at_ms = 0
    bar.house.clock.offset_ms = -30_000
    await asyncio.sleep(61)
    assert "WalletHoldEnded" not in bar.house.kinds()
    await asyncio.sleep(30)
    assert bar.house.kinds()[-1] == "WalletHoldEnded"


async def test_money_goes_to_nobody_who_is_not_known() -> None:
    bar = await funded_bar(2000)
    refused = bar.ask("transfer", amount_minor=500, credential=shown(ADA), to=shown("FFFFFFFFFF"))
    assert (refused.reason, refused.message[:9]) == (Reason.UNKNOWN_CREDENTIAL, "`data.to`")
    bar.ask("transfer", "r2", amount_minor=500, credential=shown(ADA), to=shown(ADA))
    await settle()
    assert bar.answer("r2").reason is Reason.SAME_WALLET


# Grants.


async def test_i07_a_client_does_only_what_it_was_granted() -> None:
    bar = await funded_bar(2000)
    bar.house.serve("wallet", bar.flow.handlers(), "charge", "balance")
    assert bar.ask("top_up", amount_minor=500, by="cash", reader="reader").reason is Reason.NOT_GRANTED
    assert bar.ask("close_out", "r2", reader="reader").reason is Reason.NOT_GRANTED
    assert bar.ask("charge", "r3", amount_minor=500, reader="reader") is None


async def test_i07_a_client_without_a_grant_for_wallets_has_none() -> None:
    bar = await funded_bar(2000)
    bar.house.desk.configure({"wallet": bar.flow.handlers()}, {CLIENT: {"bar-printer": frozenset({"print"})}}, 60_000)
    assert bar.ask("balance", reader="reader").reason is Reason.NOT_GRANTED


# Wallets that upstream keeps.


async def test_a_wallet_opens_with_what_the_directory_says() -> None:
    bar = Bar(policy=ONLINE)
    bar.guests.wallets["ada"] = Opening(2000, "EUR")
    assert bar.ask("balance", "b", credential=shown(ADA)).data["balance_minor"] == 2000
    bar.ask("charge", "r1", amount_minor=500, credential=shown(ADA))
    bar.ask("charge", "r2", amount_minor=500, credential=shown(BOB))
    await settle()
    assert bar.answer("r1").data["balance_minor"] == 1500
    assert bar.answer("r2").reason is Reason.NO_WALLET


async def test_upstreams_word_lets_a_wallet_spend_again() -> None:
    bar = Bar(policy=msgspec.structs.replace(ONLINE, consecutive_max=1))
    bar.guests.wallets["ada"] = Opening(2000, "EUR")
    for number in range(2):
        bar.ask("charge", f"r{number}", amount_minor=100, credential=shown(ADA))
    await settle()
    assert bar.answer("r1").reason is Reason.OVER_OFFLINE_LIMIT
    bar.flow.upstream_spoke()
    bar.ask("charge", "again", amount_minor=100, credential=shown(ADA))
    await settle()
    assert bar.answer("again").reason is Reason.OVER_OFFLINE_LIMIT, "the same directory is no news"
    bar.guests.as_of_ms += 1
    bar.flow.upstream_spoke()
    bar.ask("charge", "r2", amount_minor=100, credential=shown(ADA))
    await settle()
    assert bar.statuses("r2") == ["done"]


async def test_a_directory_that_came_while_the_gateway_was_down_counts_as_contact() -> None:
    policy = msgspec.structs.replace(ONLINE, consecutive_max=1)
    bar = Bar(policy=policy)
    bar.guests.wallets["ada"] = Opening(2000, "EUR")
    bar.ask("charge", amount_minor=100, credential=shown(ADA))
    await settle()
    await bar.house.crash()
    for newer, status in ((0, "denied"), (1, "done")):
        again = Bar(bar.house.journal.disk, policy)
        again.guests.wallets["ada"] = Opening(2000, "EUR")
        again.guests.as_of_ms += newer
        again.flow.configure(policy, 30.0, again.readers)
        again.ask("charge", f"r-{newer}", amount_minor=100, credential=shown(ADA))
        await settle()
        assert again.statuses(f"r-{newer}") == [status]


async def test_an_old_directory_vouches_for_nobody() -> None:
    bar = Bar(policy=msgspec.structs.replace(ONLINE, directory_age_max_ms=1_000))
    bar.guests.wallets["ada"] = Opening(2000, "EUR")
    await asyncio.sleep(1.1)
    bar.ask("charge", amount_minor=500, credential=shown(ADA))
    await settle()
    assert bar.answer().reason is Reason.DIRECTORY_STALE


async def test_i12_no_card_number_goes_into_the_journal() -> None:
    bar = await funded_bar(2000)
    bar.ask("charge", "r1", amount_minor=500, reader="reader")
    bar.tap(ADA)
    bar.ask("transfer", "r2", amount_minor=500, credential=shown(ADA), to=shown(BOB))
    bar.ask("charge", "r3", amount_minor=500, credential=shown("FFFFFFFFFF"))
    await settle()
    bodies = [msgspec.json.decode(row.body) for row in bar.house.journal.disk.rows]
    # Outside these tests a fingerprint is a keyed digest.
    journal = str([{**body, "request": None} for body in bodies])
    assert len(bodies) == 5
    assert all(card not in journal for card in (ADA, BOB, "FFFFFFFFFF"))


async def test_every_fact_of_a_purchase_names_the_request_it_answers() -> None:
    bar = await funded_bar(2000)
    bar.ask("charge", amount_minor=500, reader="reader")
    bar.tap(ADA)
    await settle()
    armed, paid = bar.house.events[-2:]
    assert armed.request == paid.request == e.RequestRef(CLIENT, "r1", armed.request.fingerprint)
