"""The report of an outage counts what is in the journal: every movement of money once, to the cent."""

from __future__ import annotations

from collections import Counter
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.domain import events as e
from gateway.domain import upstream_events as u
from gateway.domain import wallet_events as w
from gateway.domain.reasons import Reason
from gateway.domain.reconciliation import LISTED_MAX, Clash, Outage, Reconciliation, Report, Unknown, outages
from gateway.domain.wallet import Policy
from tests.gateway.domain.samples import EVENT_TYPES, sample
from tests.gateway.domain.wallets import Bank

OUTAGE = Outage("main", 0, 10_000, 1_000, 2_000)
OUTSIDE = ("cash", "card", "voucher")
ACTIONS = ("charge", "top_up", "tip", "deposit", "deposit_return", "refund", "transfer", "hold", "close_out")
ASKED = st.tuples(
    st.sampled_from(("ada", "bob")),
    st.sampled_from(
        ("charge", "top_up", "tip", "deposit", "deposit_return", "refund", "transfer", "hold", "close_out")
    ),
    st.integers(1, 900),
    st.sampled_from(("cash", "card", "voucher")),
    st.integers(0, 30),
)


def counted(history: list[e.AnyEvent], outage: Outage = OUTAGE, *, kept_upstream: bool = False) -> Report:
    counting = Reconciliation("hall", outage, kept_upstream=kept_upstream)
    for seq, event in enumerate(history, start=1):
        counting.add(seq, event)
    return counting.report()


def lived(bank: Bank, asked: list[tuple[str, str, int, str, int]]) -> None:
    for holder, action, amount_minor, by, of in asked:
        fields: dict[str, Any] = {"by": by}
        if action == "refund" and bank.history:
            made = [one for one in bank.history if isinstance(one, w.WalletTransferred)]
            fields["of"] = made[of % len(made)].transfer if made else ""
        if action == "transfer":
            fields["to"] = "bob" if holder == "ada" else "ada"
        bank.ask(holder, action, amount_minor, **fields)


@given(st.lists(ASKED, max_size=40), st.booleans())
def test_i03_the_totals_are_those_of_the_journal_to_the_cent(asked: list[Any], upstream: bool) -> None:
    policy = Policy(currency="EUR", upstream=upstream)
    bank = Bank(policy, **({"ada": 2_000, "bob": 900} if upstream else {}))
    lived(bank, asked)
    moved: Counter[str] = Counter()
    for event in bank.history:
        if isinstance(event, w.WalletTransferred) and event.action != "opening":
            for leg in event.legs:
                moved[leg.debit.partition(":")[0]] -= leg.amount_minor
                moved[leg.credit.partition(":")[0]] += leg.amount_minor
    kinds = counted(bank.history, kept_upstream=upstream).exposure.get("EUR", {})
    assert set(kinds) <= {"offline_limit" if upstream else "own"}
    total = next(iter(kinds.values()), None)
    spent, given_back = (total.spent_minor, total.given_back_minor) if total else (0, 0)
    paid_in, paid_out = (total.paid_in_minor, total.paid_out_minor) if total else (0, 0)
    assert moved["wallet"] == paid_in - paid_out - spent + given_back
    assert sum(moved[name] for name in OUTSIDE) == paid_out - paid_in
    assert moved["sales"] + moved["tips"] + moved["deposits"] == spent - given_back
    held = sum(hold.amount_minor for hold in bank.ledger.holds.values())
    assert (total.held_minor if total else 0) == held
    assert (total.exposed_minor if total else 0) == held - moved["wallet"]


def test_a_sale_without_a_wallet_is_nobodys_risk_and_an_allowance_is_upstreams() -> None:
    sale, charge = (w.Leg("cash:bar", "sales:bar", 500),), (w.Leg("wallet:ada", "sales:bar", 300),)
    paid: dict[str, Any] = {"action": "charge", "client": "bar", "currency": "EUR", "balances": {}}
    granted = sample(w.WalletTransferred).allowance
    history: list[e.AnyEvent] = [
        w.WalletTransferred(transfer="1", holder="", amount_minor=500, legs=sale, **paid),
        w.WalletTransferred(transfer="2", holder="ada", amount_minor=300, legs=charge, allowance=granted, **paid),
        w.WalletTransferred(transfer="3", holder="ada", amount_minor=300, legs=charge, **paid),
    ]
    kinds = counted(history, kept_upstream=True).exposure["EUR"]
    assert {kind: (one.transfers, one.spent_minor) for kind, one in kinds.items()} == {
        "none": (1, 500), "allowance": (1, 300), "offline_limit": (1, 300)
    }  # fmt: skip


def test_entries_denials_and_unknown_outcomes_are_counted() -> None:
    granted = sample(e.EntryGranted, gate="north", override_by="", clock="")
    history: list[e.AnyEvent] = [
        granted,
        msgspec.structs.replace(granted, override_by="bar", clock="untrusted"),
        sample(e.EntryPassed),
        sample(e.EntryReturned),
        sample(e.EntryUnknown, gate="south"),
        sample(e.EntryDenied, reason=Reason.BLOCKED),
        sample(e.EntryDenied, reason=Reason.BLOCKED),
        sample(w.WalletDenied, reason=Reason.INSUFFICIENT_FUNDS),
        sample(e.PrintUnknown, printer="bar-printer"),
        sample(e.DrawerUnknown, drawer="bar-drawer"),
    ]
    report = counted(history)
    entries = report.entries
    assert (entries.granted, entries.passed, entries.returned, entries.unknown) == (2, 1, 1, 1)
    assert (entries.overridden, entries.clock_untrusted, report.gates) == (1, 1, {"north": 2})
    assert report.denied == {"entry": {"blocked": 2}, "wallet": {"insufficient_funds": 1}}
    assert report.unknown == [
        Unknown(5, "entry", "south"),
        Unknown(9, "print_job", "bar-printer"),
        Unknown(10, "drawer_opening", "bar-drawer"),
    ]
    assert report.events == 10


def test_what_upstream_found_counts_for_its_own_stretch_only() -> None:
    counting = Reconciliation("hall", Outage("main", 5, 20, 0, 1))
    for finding, what, seq in (("a", "entered_elsewhere", 7), ("b", "spent_elsewhere", 20), ("c", "other", 21)):
        counting.found(u.UpstreamFound(finding=finding, cursor=1, what=what, event_seq=seq, elsewhere="arena"))
    counting.found(u.UpstreamFound(finding="d", cursor=1, what="entered_elsewhere", event_seq=0))
    counting.found(u.EventSetAside(sink="main", event_seq=6, event_id="x", why="?"))
    counting.found(u.EventSetAside(sink="other", event_seq=6, event_id="x", why="?"))
    report = counting.report()
    assert report.over_entries == [Clash(7, "entered_elsewhere", "arena")]
    assert report.conflicts == [Clash(20, "spent_elsewhere", "arena"), Clash(6, "refused_by_upstream", "main")]


def test_i09_a_report_lists_so_many_and_counts_the_rest() -> None:
    report = counted([sample(e.PrintUnknown)] * (LISTED_MAX + 7))
    assert (len(report.unknown), report.more) == (LISTED_MAX, {"unknown": 7})


@pytest.mark.parametrize("event_type", EVENT_TYPES, ids=lambda kind: kind.__name__)
def test_i12_no_report_names_a_guest_or_a_card(event_type: type[e.Event]) -> None:
    event = sample(event_type)
    text = msgspec.json.encode(counted([event])).decode()
    for name in ("holder", "credential", "entitlement"):
        value = getattr(event, name, None)
        assert not value or value not in text


def test_outages_are_known_by_their_two_facts() -> None:
    def lost(through_seq: int, sink: str = "main") -> u.UpstreamLost:
        return u.UpstreamLost(sink=sink, through_seq=through_seq, since_ms=through_seq * 10)

    def regained(after_seq: int, sink: str = "main") -> u.UpstreamRegained:
        return u.UpstreamRegained(sink=sink, after_seq=after_seq, since_ms=after_seq * 10)

    told = [
        (5, 50, regained(2)), (9, 90, lost(8)), (10, 95, lost(3, "other")), (20, 200, regained(8)), (30, 300, lost(28))
    ]  # fmt: skip
    assert outages(told, 40, "main") == [
        Outage("main", 2, 4, 20, 50), Outage("main", 8, 19, 80, 200), Outage("main", 28, 40, 280)
    ]  # fmt: skip
    assert outages(told, 40, "nobody") == []
