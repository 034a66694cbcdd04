from __future__ import annotations

from typing import Any

import msgspec
import pytest

from drivers.document import Document, plain_text, problems
from gateway.domain import booking
from gateway.domain import events as e
from gateway.domain import shift_events as s
from gateway.domain.answers import Answer
from gateway.domain.reasons import Reason
from gateway.flows import shift_report
from tests.gateway.fakes import settle
from tests.gateway.flows.tills import GUEST, TILLS, VENUE, Counter


async def done(counter: Counter, target: str, verb: str, **data: Any) -> Answer:
    asked = counter.ask(target, verb, **data)
    await settle()
    answer = counter.answer(asked)
    assert answer.status == "done", answer
    return answer


async def refused(counter: Counter, target: str, verb: str, **data: Any) -> Reason | None:
    asked = counter.ask(target, verb, **data)
    await settle()
    assert counter.answer(asked).status == "denied"
    return counter.answer(asked).reason


async def opened(**floats: int) -> Counter:
    counter = Counter()
    await done(counter, "bar", "open_shift", floats=floats or {"EUR": 10_000})
    return counter


async def evening() -> Counter:
    """A shift with some of everything."""
    counter = await opened(EUR=10_000, CHF=2_000)
    await done(counter, "wallet", "sell", amount_minor=450, by="cash", tip_minor=50, deposit_minor=200)
    sale = await done(counter, "wallet", "sell", amount_minor=1_200, by="card", client="bar-two")
    await done(counter, "wallet", "top_up", amount_minor=5_000, by="cash", credential=GUEST)
    await done(counter, "wallet", "top_up", amount_minor=1_000, by="voucher", credential=GUEST)
    charge = await done(counter, "wallet", "charge", amount_minor=900, tip_minor=100, credential=GUEST)
    await done(counter, "wallet", "refund", transfer=charge.data["transfer"], amount_minor=300)
    await done(counter, "wallet", "refund", transfer=sale.data["transfer"])
    await done(counter, "wallet", "deposit", amount_minor=200, action="return", by="cash")
    await done(counter, "bar", "cash_out", amount_minor=3_000, reason="to the safe")
    await done(counter, "bar", "cash_in", amount_minor=500, currency="CHF", reason="change")
    return counter


EXPECTED_EUR = 10_000 + 700 + 5_000 - 200 - 3_000


async def test_a_shift_is_opened_once_and_tells_no_sum() -> None:
    counter = await opened(EUR=10_000)
    assert await refused(counter, "bar", "open_shift") is Reason.SHIFT_OPEN
    told = await done(counter, "bar", "status")
    assert told.data["open"] is True
    assert not {"expected", "totals", "floats"} & told.data.keys()
    assert (await done(counter, "desk", "status")).data == {"open": False, "z_number": 0}


async def test_what_moves_at_a_till_is_booked_to_its_shift_and_to_no_other() -> None:
    counter = await evening()
    await done(counter, "desk", "open_shift")
    lines = counter.house.state.shifts.open["bar"].lines
    assert {name: (line.amount_minor, line.count) for name, line in lines.items()} == {
        "EUR/sales/cash": (450, 1),
        "EUR/tips/cash": (50, 1),
        "EUR/deposits/cash": (200, 1),
        "EUR/sales/card": (1_200, 1),
        "EUR/refunds/card": (1_200, 1),
        "EUR/top_ups/cash": (5_000, 1),
        "EUR/top_ups/voucher": (1_000, 1),
        "EUR/sales/wallet": (900, 1),
        "EUR/tips/wallet": (100, 1),
        "EUR/refunds/wallet": (300, 1),
        "EUR/deposits_returned/cash": (200, 1),
        "EUR/cash_out/cash": (3_000, 1),
        "CHF/cash_in/cash": (500, 1),
    }
    assert counter.house.state.shifts.open["desk"].lines == {}


async def test_a_payment_needs_an_open_shift_where_the_till_wants_one() -> None:
    counter = Counter()
    assert await refused(counter, "wallet", "sell", amount_minor=100, by="cash") is Reason.NO_SHIFT_OPEN
    assert await refused(counter, "wallet", "charge", amount_minor=1, credential=GUEST) is Reason.NO_SHIFT_OPEN
    assert (await done(counter, "wallet", "balance", credential=GUEST)).data["balance_minor"] == 0
    counter.purchase.cashier.configure({"bar": msgspec.structs.replace(TILLS["bar"], shift_required=False)})
    await done(counter, "wallet", "sell", amount_minor=100, by="cash")
    assert "booked" not in counter.journal()[-1]


@pytest.mark.parametrize("verb", ["cash_in", "cash_out", "count", "close_shift", "x_report"])
async def test_without_a_shift_nothing_is_counted_or_reported(verb: str) -> None:
    counter = Counter()
    data: dict[str, Any] = {"amount_minor": 5, "reason": "why"} if verb.startswith("cash") else {}
    data = {"counted": [{"total_minor": 5}]} if verb == "count" else data
    assert await refused(counter, "bar", verb, **data) is Reason.NO_SHIFT_OPEN


async def test_the_count_is_blind_and_closing_tells_the_difference() -> None:
    counter = await evening()
    assert await refused(counter, "bar", "close_shift") is Reason.NOT_COUNTED
    counted = [{"pieces": {"5000": 2, "2000": 1, "200": 2, "50": 1}}, {"currency": "CHF", "total_minor": 2_500}]
    blind = await done(counter, "bar", "count", counted=counted)
    assert blind.data["counted"] == {"EUR": 12_450, "CHF": 2_500}
    assert not {"expected", "difference"} & blind.data.keys()
    closed = await done(counter, "bar", "close_shift")
    assert closed.data["expected"] == {"EUR": EXPECTED_EUR, "CHF": 2_500}
    assert closed.data["difference"] == {"EUR": 12_450 - EXPECTED_EUR, "CHF": 0}
    assert closed.message == "Closed with Z 1. Difference: -0.50 EUR."
    assert "bar" not in counter.house.state.shifts.open


async def test_nothing_told_before_the_end_says_what_should_be_there() -> None:
    counter = await evening()
    await done(counter, "bar", "count", counted=[{"total_minor": 1}])
    said = msgspec.json.encode([answer.data for _, answer in counter.house.told]).decode()
    assert str(EXPECTED_EUR) not in said


async def test_a_count_is_over_when_cash_moves_and_not_when_a_wallet_pays() -> None:
    counter = await evening()
    await done(counter, "bar", "count", counted=[{"total_minor": EXPECTED_EUR}])
    await done(counter, "wallet", "charge", amount_minor=100, credential=GUEST)
    await done(counter, "wallet", "sell", amount_minor=100, by="cash")
    assert await refused(counter, "bar", "close_shift") is Reason.COUNT_OUTDATED
    await done(counter, "bar", "count", counted=[{"total_minor": EXPECTED_EUR + 100}])
    await done(counter, "wallet", "charge", amount_minor=100, credential=GUEST)
    assert (await done(counter, "bar", "close_shift")).data["difference"]["EUR"] == 0


@pytest.mark.parametrize(
    "counted",
    [
        [],
        [{}],
        [{"total_minor": -1}],
        [{"total_minor": 1.5}],
        [{"total_minor": 10, "pieces": {"5": 1}}],
        [{"pieces": {"0": 4}}],
        [{"pieces": {"5.5": 4}}],
        [{"pieces": {"5": -4}}],
        [{"total_minor": 1}, {"total_minor": 2}],
        [{"currency": "euro", "total_minor": 2}],
    ],
)
async def test_i03_what_is_no_count_is_refused_and_nothing_happens(counted: list[Any]) -> None:
    counter = await opened()
    rows = len(counter.journal())
    assert await refused(counter, "bar", "count", counted=counted) is Reason.MALFORMED
    assert len(counter.journal()) == rows


@pytest.mark.parametrize("amount", [0, -5, 1.5, "5", 10**12])
async def test_i03_what_is_no_amount_of_cash_is_refused(amount: Any) -> None:
    counter = await opened()
    assert await refused(counter, "bar", "cash_out", amount_minor=amount, reason="why") is Reason.MALFORMED
    assert await refused(counter, "bar", "cash_in", amount_minor=5, reason="  ") is Reason.MALFORMED


async def test_i02_a_repeated_request_moves_cash_once_and_is_answered_alike() -> None:
    counter = await opened()
    for _ in range(3):
        await done(counter, "bar", "cash_in", amount_minor=500, reason="change", id="once")
    assert counter.house.state.shifts.open["bar"].lines["EUR/cash_in/cash"].amount_minor == 500
    assert await refused(counter, "bar", "cash_in", amount_minor=501, reason="change", id="once") is (
        Reason.IDEMPOTENCY_CONFLICT
    )
    await done(counter, "bar", "count", counted=[{"total_minor": 10_500}])
    first = await done(counter, "bar", "close_shift", id="close")
    assert await done(counter, "bar", "close_shift", id="close") == first
    assert counter.house.state.shifts.z_numbers == {"bar": 1}


async def test_i02_cash_that_was_moved_is_known_when_its_answer_was_let_go() -> None:
    counter = await opened()
    await done(counter, "bar", "cash_in", amount_minor=500, reason="change", id="once")
    counter.house.state.requests.clear()
    await done(counter, "bar", "cash_in", amount_minor=500, reason="change", id="once")
    assert await refused(counter, "bar", "cash_in", amount_minor=501, reason="change", id="once") is (
        Reason.IDEMPOTENCY_CONFLICT
    )
    assert counter.house.state.shifts.open["bar"].lines["EUR/cash_in/cash"].amount_minor == 500


async def close(counter: Counter, till: str, client: str) -> Answer:
    await done(counter, till, "count", counted=[{"total_minor": 0}], client=client)
    return await done(counter, till, "close_shift", client=client)


async def test_z_reports_are_numbered_without_gaps_over_a_crash_and_each_till_for_itself() -> None:
    counter = Counter()
    numbers = []
    for run in range(3):
        for till, client in (("bar", "bar-tablet"), ("desk", "desk-tablet"), ("bar", "bar-two")):
            await done(counter, till, "open_shift", client=client)
            numbers.append((till, (await close(counter, till, client)).data["number"]))
        if run == 1:
            await counter.house.recorder.fold_everything()
        await counter.house.crash()
        counter = Counter(counter.house.journal.disk, seed=run + 2)
    assert [number for till, number in numbers if till == "bar"] == [1, 2, 3, 4, 5, 6]
    assert [number for till, number in numbers if till == "desk"] == [1, 2, 3]
    assert counter.house.recorder.z_report("bar", 2) is not None
    assert counter.house.recorder.z_report("bar", 7) is None


async def test_the_z_report_waits_for_its_printer_in_the_same_commit() -> None:
    counter = await evening()
    await done(counter, "bar", "count", counted=[{"total_minor": EXPECTED_EUR}])
    closed = await done(counter, "bar", "close_shift")
    queued = counter.house.events[-1]
    assert isinstance(queued, e.PrintQueued)
    assert (queued.job, queued.printer, queued.client) == (closed.data["job"], "printer", "bar-tablet")
    assert counter.queue.looked == 1
    content = counter.house.journal.attachment(queued.job)
    assert content is not None
    assert problems(msgspec.json.decode(content, type=Document)) == []


async def test_a_copy_says_the_same_and_is_marked_as_one() -> None:
    counter = await evening()
    await close(counter, "bar", "bar-tablet")
    first = counter.house.events[-1]
    await done(counter, "bar", "z_report")
    again = counter.house.events[-1]
    assert isinstance(first, e.PrintQueued)
    assert isinstance(again, e.PrintQueued)
    assert (again.copy_of, again.digest) == (first.job, first.digest)
    assert await refused(counter, "bar", "z_report", number=2) is Reason.UNKNOWN_REPORT
    assert await refused(counter, "bar", "z_report", printer="nowhere") is Reason.UNKNOWN_PRINTER


async def test_a_till_without_a_printer_closes_and_names_one_for_a_report() -> None:
    counter = Counter()
    await done(counter, "desk", "open_shift", client="desk-tablet")
    x = await done(counter, "desk", "x_report", client="desk-tablet")
    assert (x.data["job"], x.data["number"]) == ("", 1)
    x = await done(counter, "desk", "x_report", client="desk-tablet", printer="printer")
    assert (x.data["job"] != "", x.data["number"]) == (True, 2)
    assert (await close(counter, "desk", "desk-tablet")).data["job"] == ""


async def test_who_opened_which_drawer_when_and_why_is_in_the_report_of_its_shift() -> None:
    counter = await opened()
    counter.ask("bar-drawer", "open", reason="change for a fifty")
    counter.ask("desk-drawer", "open", reason="not of this shift")
    await settle()
    flow = counter.drawer_flows["bar-drawer"]
    flow._is_open = False
    flow._asked_until_s = float("-inf")
    flow._opened(first=False)
    flow.close()
    await settle()
    await close(counter, "bar", "bar-tablet")
    closed = next(one for one in counter.house.events if isinstance(one, s.ShiftClosed))
    assert [(client, reason) for _, client, reason in closed.openings] == [
        ("bar-tablet", "change for a fifty"),
        ("", ""),
    ]
    assert (closed.opening_count, closed.forced_count) == (2, 1)


def report(closed: s.ShiftClosed, language: str) -> str:
    return "\n".join(plain_text(shift_report.z_report(closed, VENUE, language), 42))


async def test_the_reports_text_in_both_languages() -> None:
    counter = await evening()
    await done(counter, "bar", "count", counted=[{"total_minor": EXPECTED_EUR - 50}])
    await done(counter, "bar", "close_shift")
    closed = next(one for one in counter.house.events if isinstance(one, s.ShiftClosed))
    german, english = report(closed, "de"), report(closed, "en")
    assert "Z-Bericht Nr. 1" in german
    assert "125,00" in german
    for line in ("Umsatz bar", "Gutscheine gesamt", "Differenz", "Entnahmen", "Klub Grüner Hund"):
        assert line in german
    assert "Difference" in english
    assert "-0.50" in english
    assert max(len(line) for line in german.splitlines()) <= 42


def test_every_word_of_a_report_is_in_both_languages() -> None:
    assert shift_report.GERMAN.keys() == shift_report.ENGLISH.keys()
    assert {*booking.KINDS, *booking.MEDIA} <= shift_report.GERMAN.keys()
