"""Every figure is exposed as Prometheus reads it, names no guest, and is what dashboard and alerts ask for."""

from __future__ import annotations

import asyncio
import json
import re
import socket
import time
from collections.abc import Iterator
from pathlib import Path

import aiohttp
import pytest
from prometheus_client.parser import text_string_to_metric_families
from ruamel.yaml import YAML

from gateway.domain import events as e
from gateway.domain import redemption_events as r
from gateway.domain import wallet_events as w
from gateway.domain.reasons import Reason
from gateway.flows.recorder import Committed
from gateway.store.buckets import Buckets
from gateway.web.metrics import Family, MetricsServer, Timing, counter, gauge, text_of
from gateway.web.tally import OPEN_MAX, Tally
from tests.ports import free_port

OPS = Path(__file__).parents[3] / "ops"
METERING = (Path(__file__).parents[3] / "gateway/ops/metering.py").read_text(encoding="utf-8")
HOLDER, CREDENTIAL = "anna-mustermann", "cafe" * 8


def committed(*events: e.AnyEvent, step_ms: int = 40) -> list[Committed]:
    return [
        Committed(e.Entry(seq, f"id-{seq}", 1_780_000_000_000 + seq * step_ms, event), b"{}")
        for seq, event in enumerate(events, start=1)
    ]


def granted(entry: str = "e1") -> e.EntryGranted:
    return e.EntryGranted(
        entry=entry,
        gate="north",
        credential=CREDENTIAL,
        holder=HOLDER,
        entitlement="t1",
        zone="hall",
        uses=1,
        source="s",
    )


EVENING = (
    granted(),
    e.GateReleased(entry="e1", gate="north"),
    e.EntryPassed(entry="e1", gate="north"),
    e.EntryDenied(entry="e2", gate="north", reason=Reason.BLOCKED, source="s", holder=HOLDER, credential=CREDENTIAL),
    w.WalletArmed(reader="bar", order=w.Order(transfer="t", action="charge", client="bar", currency="EUR"), until_ms=1),
    w.WalletTransferred(
        transfer="t", action="charge", client="bar", holder=HOLDER, currency="EUR", amount_minor=5, legs=(), balances={}
    ),
    w.WalletDenied(transfer="u", action="charge", client="bar", amount_minor=5, reason=Reason.INSUFFICIENT_FUNDS),
    r.RedemptionDenied(redemption="r", client="bar", reason=Reason.NO_USES_LEFT, holder=HOLDER),
    e.PrintDone(job="j", printer="bar", confirmed=True),
    e.DrawerOpened(opening="o", drawer="till"),
    e.DrawerForced(drawer="till"),
)


def test_an_evening_is_counted_by_gate_reason_and_stage() -> None:
    tally = Tally()
    tally.committed(committed(*EVENING))
    assert tally.decisions == {("north", "granted"): 1, ("north", "blocked"): 1}
    assert tally.payments == {("charge", "done"): 1, ("charge", "insufficient_funds"): 1}
    assert tally.redemptions == {"no_uses_left": 1}
    assert tally.prints == {("bar", "done"): 1}
    assert tally.drawers == {("till", "done"): 1}
    assert tally.alarms == {"drawer.forced": 1}
    took = {stage: buckets.total_s for stage, buckets in tally.stages.items() if buckets.total_s}
    assert took == pytest.approx({"release": 0.04, "passage": 0.04, "payment": 0.04})


def test_i09_what_never_ends_is_timed_within_a_bound() -> None:
    tally = Tally()
    tally.committed(committed(*(granted(f"e{number}") for number in range(OPEN_MAX + 10))))
    assert len(tally._began) == OPEN_MAX


def test_counting_costs_microseconds_an_event() -> None:
    tally, entries = Tally(), committed(*EVENING)
    began_s = time.process_time()
    for _ in range(1000):
        tally.committed(entries)
    each_us = (time.process_time() - began_s) * 1e6 / (1000 * len(EVENING))
    assert each_us < 50, f"{each_us:.1f} µs an event"


def families(text: bytes) -> dict[str, dict[tuple[str, ...], float]]:
    found: dict[str, dict[tuple[str, ...], float]] = {}
    for family in text_string_to_metric_families(text.decode()):
        for sample in family.samples:
            found.setdefault(sample.name, {})[tuple(sample.labels.values())] = sample.value
    return found


def test_the_text_is_what_prometheus_reads() -> None:
    buckets = Buckets((0.01, 0.1))
    for seconds in (0.005, 0.01, 0.05, 3.0):
        buckets.took(seconds)
    sample: tuple[Family | Timing, ...] = (
        gauge("journal_seq", "Rows.", 7),
        counter("decisions_total", "Decisions.", ("gate", "reason"), {('a"b\\\n', "granted"): 2}),
        Timing("commit_seconds", "Commits.", (), {(): buckets}),
    )
    told = families(text_of(sample))
    assert told["venue_gateway_journal_seq"] == {(): 7}
    assert told["venue_gateway_decisions_total"] == {('a"b\\\n', "granted"): 2}
    assert told["venue_gateway_commit_seconds_bucket"] == {("0.01",): 2, ("0.1",): 3, ("+Inf",): 4}
    assert told["venue_gateway_commit_seconds_count"] == {(): 4}
    assert told["process_resident_memory_bytes"][()] > 0


async def test_it_is_served_at_one_path_to_this_machine_and_made_once_a_second() -> None:
    asked = 0

    def sample() -> tuple[Family, ...]:
        nonlocal asked
        asked += 1
        return (gauge("journal_seq", "Rows.", asked),)

    server = MetricsServer(sample)
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        await server.configure(taken.getsockname())
    port = free_port()
    await server.configure(("127.0.0.1", port))
    try:
        async with aiohttp.ClientSession(f"http://127.0.0.1:{port}") as session:
            texts = await asyncio.gather(*(fetch(session) for _ in range(50)))
            async with session.get("/metrics", headers={"Host": "evil.example"}) as answer:
                assert answer.status == 403
            async with session.get("/") as answer:
                assert answer.status == 404
            async with session.post("/metrics", data=b"x") as answer:
                assert answer.status == 405
    finally:
        await server.close()
    assert asked == 1
    assert set(texts) == {texts[0]}


async def fetch(session: aiohttp.ClientSession) -> str:
    async with session.get("/metrics") as answer:
        assert answer.status == 200
        assert answer.headers["Content-Type"].startswith("text/plain")
        return "\n".join(line for line in (await answer.text()).splitlines() if line.startswith("venue_gateway"))


def exposed() -> set[str]:
    """Every name that the gateway can expose, as its own source writes them; an end-to-end test asks a daemon."""
    names = set(re.findall(r"(?:gauge|counter|Family|Timing)\(\s*\"([a-z_]+)\"", METERING))
    names |= set(re.findall(r"name, text = \"([a-z_]+)\"", METERING))
    timed = {f"{name}_{end}" for name in names if name.endswith("_seconds") for end in ("bucket", "sum", "count")}
    return {f"venue_gateway_{name}" for name in names | timed} | {
        "process_resident_memory_bytes",
        "process_cpu_seconds_total",
        "up",
    }


def asked_for() -> Iterator[tuple[str, str]]:
    for panel in json.loads((OPS / "grafana.json").read_text(encoding="utf-8"))["panels"]:
        yield from ((panel["title"], target["expr"]) for target in panel["targets"])
    rules = YAML(typ="safe", pure=True).load((OPS / "alerts.yaml").read_text(encoding="utf-8"))
    yield from ((rule["alert"], rule["expr"]) for group in rules["groups"] for rule in group["rules"])


def names_in(expression: str) -> set[str]:
    bare = re.sub(r"\"[^\"]*\"|\{[^}]*\}|\bby \([^)]*\)|\bon \([^)]*\)|\[[^]]*\]", " ", expression)
    words = set(re.findall(r"[a-z_]{2,}(?:\d[a-z_]*)*(?=\s*[^\sa-z_(]|\s*$|\s+(?:and|or)\b)", bare))
    return {word for word in words if word not in {"and", "or", "by", "on"}}


@pytest.mark.parametrize(("where", "expression"), list(asked_for()))
def test_dashboard_and_alerts_ask_only_for_what_is_exposed(where: str, expression: str) -> None:
    found = names_in(expression)
    assert found, expression
    assert found <= exposed(), where


def test_every_figure_is_on_the_dashboard() -> None:
    shown = {name for _, expression in asked_for() for name in names_in(expression)}
    bases = {re.sub(r"_(?:bucket|sum|count)$", "", name) for name in shown}
    missing = {re.sub(r"_(?:bucket|sum|count)$", "", name) for name in exposed()} - bases
    assert missing <= {"venue_gateway_info", "venue_gateway_uptime_seconds", "venue_gateway_journal_seq"}


def test_alerts_say_what_to_do_and_who_is_woken() -> None:
    rules = YAML(typ="safe", pure=True).load((OPS / "alerts.yaml").read_text(encoding="utf-8"))
    for rule in (rule for group in rules["groups"] for rule in group["rules"]):
        assert rule["labels"]["severity"] in {"page", "ticket"}
        assert len(rule["annotations"]["summary"]) > 20
        assert len(rule["annotations"]["description"]) > 20


def test_i12_no_figure_carries_a_card_or_a_holder() -> None:
    words = {
        name for names in re.findall(r"\(((?:\"[a-z]+\",? ?)+)\)", METERING) for name in re.findall(r"[a-z]+", names)
    }
    plain = {"version", "venue", "zone", "stage", "gate", "reason", "action", "result"}
    assert words - {"inf"} <= plain | {"printer", "drawer", "kind", "reader", "device", "fault", "certificate"}
    tally = Tally()
    tally.committed(committed(*EVENING))
    counted = (tally.decisions, tally.payments, tally.prints, tally.drawers, tally.redemptions, tally.alarms)
    text = repr(counted)
    assert HOLDER not in text
    assert CREDENTIAL not in text
