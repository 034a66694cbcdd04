"""Long random evenings at two tills: reports say what the journal says, no cent is made or lost, replay is exact."""

from __future__ import annotations

from collections import Counter as Sums
from typing import Any

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from gateway.domain import booking
from tests.gateway.domain.samples import snapshot
from tests.gateway.fakes import VirtualClockLoop, settle
from tests.gateway.flows.tills import CLIENTS, GUEST, Counter

CASH_MEDIA = ("cash", "card", "voucher")
clients = st.sampled_from([client for names in CLIENTS.values() for client in names])
tills = st.sampled_from(sorted(CLIENTS))
amounts = st.sampled_from([1, 50, 299, 1_000, 12_345])
media = st.sampled_from(CASH_MEDIA)


class Naive:
    """The sums of one shift, added up from the journal's rows alone, by somebody who knows only what accounts mean."""

    def __init__(self, floats: dict[str, int]) -> None:
        self.amounts: Sums[str] = Sums()
        self.drawer: Sums[str] = Sums(floats)

    def moved(self, row: dict[str, Any]) -> None:
        for leg in row["legs"]:
            source, target = (leg[side].split(":")[0] for side in ("debit", "credit"))
            amount_minor = leg["amount_minor"]
            self.drawer["EUR"] += amount_minor * ((source == "cash") - (target == "cash"))
            self._add(source, target, amount_minor)

    def _add(self, source: str, target: str, amount_minor: int) -> None:
        names = {"sales": ("sales", "refunds"), "tips": ("tips", "tips_refunded")}
        names |= {"deposits": ("deposits", "deposits_returned")}
        if target in names:
            self.amounts[f"EUR/{names[target][0]}/{source}"] += amount_minor
        elif source in names:
            self.amounts[f"EUR/{names[source][1]}/{target}"] += amount_minor
        elif target == "wallet" and source in CASH_MEDIA:
            self.amounts[f"EUR/top_ups/{source}"] += amount_minor
        elif source == "wallet" and target in CASH_MEDIA:
            self.amounts[f"EUR/payouts/{target}"] += amount_minor

    def cash(self, row: dict[str, Any]) -> None:
        sign = 1 if row["direction"] == "in" else -1
        self.drawer[row["currency"]] += sign * row["amount_minor"]
        self.amounts[f"{row['currency']}/cash_{row['direction']}/cash"] += row["amount_minor"]


def by_the_journal(rows: list[dict[str, Any]]) -> tuple[dict[str, Naive], list[tuple[dict[str, Any], Naive]]]:
    """Return the open shifts by till, and the closing rows with what the rows before them came to."""
    till_of = {client: till for till, names in CLIENTS.items() for client in names}
    open_now: dict[str, Naive] = {}
    closed: list[tuple[dict[str, Any], Naive]] = []
    for row in rows:
        match row["kind"]:
            case "shift.opened":
                open_now[row["till"]] = Naive(row["floats"])
            case "shift.closed":
                closed.append((row, open_now.pop(row["till"])))
            case "shift.cash_moved":
                open_now[row["till"]].cash(row)
            case "wallet.transferred":
                open_now[till_of[row["client"]]].moved(row)
    return open_now, closed


class Evenings(RuleBasedStateMachine):
    """Everything that clients of two tills may do, in any order, with crashes in between."""

    @initialize()
    def begin(self) -> None:
        self.loop = VirtualClockLoop()
        self.runs = 1
        self.counter = self.loop.run_until_complete(self._start())
        for till, names in CLIENTS.items():
            self.ask(till, "open_shift", floats={"EUR": 5_000}, client=names[0])
        self.ask("wallet", "top_up", amount_minor=60_000, by="card", credential=GUEST, client="desk-tablet")

    async def _start(self) -> Counter:
        disk = self.counter.house.journal.disk if hasattr(self, "counter") else None
        return Counter(disk, seed=self.runs)

    def ask(self, target: str, verb: str, **data: Any) -> None:
        async def asking() -> None:
            self.counter.ask(target, verb, **data)
            await settle()

        self.loop.run_until_complete(asking())

    @rule(till=tills, float_minor=amounts)
    def open_shift(self, till: str, float_minor: int) -> None:
        self.ask(till, "open_shift", floats={"EUR": float_minor, "CHF": 100}, client=CLIENTS[till][0])

    @rule(
        till=tills,
        amount_minor=amounts,
        verb=st.sampled_from(["cash_in", "cash_out"]),
        currency=st.sampled_from(["EUR", "CHF"]),
    )
    def cash(self, till: str, amount_minor: int, verb: str, currency: str) -> None:
        self.ask(till, verb, amount_minor=amount_minor, currency=currency, reason="change", client=CLIENTS[till][0])

    @rule(client=clients, amount_minor=amounts, by=media, tip_minor=st.sampled_from([0, 20]))
    def sell(self, client: str, amount_minor: int, by: str, tip_minor: int) -> None:
        more = {"tip_minor": tip_minor, "deposit_minor": 10 * tip_minor}
        self.ask("wallet", "sell", client=client, amount_minor=amount_minor, by=by, **more)

    @rule(client=clients, amount_minor=amounts, by=media)
    def top_up(self, client: str, amount_minor: int, by: str) -> None:
        self.ask("wallet", "top_up", client=client, amount_minor=amount_minor, by=by, credential=GUEST)

    @rule(client=clients, amount_minor=amounts, verb=st.sampled_from(["charge", "tip", "deposit", "hold"]))
    def pay(self, client: str, amount_minor: int, verb: str) -> None:
        self.ask("wallet", verb, client=client, amount_minor=amount_minor, credential=GUEST)

    @rule(client=clients, by=st.sampled_from(["cash", "card"]))
    def close_out(self, client: str, by: str) -> None:
        self.ask("wallet", "close_out", client=client, by=by, credential=GUEST)

    @rule(client=clients, amount_minor=amounts)
    def give_a_deposit_back(self, client: str, amount_minor: int) -> None:
        self.ask("wallet", "deposit", client=client, amount_minor=amount_minor, action="return", by="cash")

    @rule(client=clients, data=st.data(), verb=st.sampled_from(["refund", "capture"]))
    def follow_up(self, client: str, data: st.DataObject, verb: str) -> None:
        if transfers := sorted(self.counter.house.state.ledger.transfers):
            self.ask("wallet", verb, client=client, transfer=data.draw(st.sampled_from(transfers)))

    @rule(till=tills, total_minor=amounts)
    def count(self, till: str, total_minor: int) -> None:
        self.ask(till, "count", counted=[{"total_minor": total_minor}], client=CLIENTS[till][0])

    @rule(till=tills, verb=st.sampled_from(["close_shift", "x_report", "z_report"]))
    def report(self, till: str, verb: str) -> None:
        self.ask(till, verb, client=CLIENTS[till][0])

    @rule(till=tills, total_minor=amounts, again=st.booleans())
    def end_a_shift(self, till: str, total_minor: int, *, again: bool) -> None:
        self.count(till, total_minor)
        self.report(till, "close_shift")
        if again:
            self.open_shift(till, total_minor)

    @rule(till=tills)
    def open_the_drawer(self, till: str) -> None:
        self.ask(f"{till}-drawer", "open", reason="change", client=CLIENTS[till][0])

    @rule()
    def fold(self) -> None:
        self.loop.run_until_complete(self.counter.house.recorder.fold_everything())

    @precondition(lambda self: self.runs < 4)
    @rule()
    def crash(self) -> None:
        self.runs += 1
        self.loop.run_until_complete(self.counter.house.crash())
        self.counter = self.loop.run_until_complete(self._start())

        async def settle_the_past() -> None:
            self.counter.house.settle_the_past()
            await settle()

        self.loop.run_until_complete(settle_the_past())

    @invariant()
    def reports_say_what_the_journal_says(self) -> None:
        if not hasattr(self, "counter"):
            return
        state = self.counter.house.state
        open_now, closed = by_the_journal(self.counter.journal())
        assert open_now.keys() == state.shifts.open.keys()
        for till, naive in open_now.items():
            shift = state.shifts.open[till]
            assert {name: line.amount_minor for name, line in shift.lines.items()} == dict(naive.amounts)
            assert booking.expected_minor(shift.opened.floats, shift.lines) == dict(naive.drawer)
        for row, naive in closed:
            assert {name: line[0] for name, line in row["lines"].items()} == dict(naive.amounts)
            assert row["expected"] == dict(naive.drawer)
        for till in CLIENTS:
            numbers = [row["number"] for row, _ in closed if row["till"] == till]
            assert numbers == list(range(1, len(numbers) + 1))
        state.ledger.check()
        assert state.ledger.imbalance_minor == 0

    def teardown(self) -> None:
        if hasattr(self, "counter"):
            self._check_replay()
            self.loop.run_until_complete(self.counter.house.crash())
            self.loop.close()

    def _check_replay(self) -> None:
        """A start from the folded rows and the tail, and one from the journal alone, end alike to the bit."""
        disk = self.counter.house.journal.disk
        live = snapshot(self.counter.house.state)
        folded, fold_seq = dict(disk.state), disk.fold_seq
        disk.state.clear()
        disk.fold_seq = 0
        whole = self.loop.run_until_complete(self._start())
        disk.state.update(folded)
        disk.fold_seq = fold_seq
        again = self.loop.run_until_complete(self._start())
        everything = snapshot(whole.house.state)
        for kind in ("shift", "z_number", "account", "drawers", "hold"):
            assert live[kind] == everything[kind] == snapshot(again.house.state)[kind], kind
        for number, report in everything["z_report"].items():
            till, _, z_number = number.partition("/")
            stored = again.house.recorder.z_report(till, int(z_number))
            assert stored is not None
            assert stored == whole.house.recorder.z_report(till, int(z_number)), report


Evenings.TestCase.settings = settings(max_examples=100, stateful_step_count=60, deadline=None)
test_i03_x_and_z_are_what_the_journal_says_and_no_cent_is_made_or_lost = Evenings.TestCase
