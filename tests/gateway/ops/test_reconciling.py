"""`venue-gateway reconcile`: on the terminal, as JSON, and a fact that it was made."""

from __future__ import annotations

import json
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest

from drivers.document import plain_text
from gateway import cli
from gateway.config.schema import Configuration
from gateway.domain import events as e
from gateway.domain import upstream_events as u
from gateway.domain import wallet_events as w
from gateway.domain.reasons import Reason
from gateway.flows.outage_receipt import receipt
from gateway.ops.reconciling import Wanted, make_report
from gateway.store.audit import newest
from tests.gateway.ops.house import HOLDER, NOW_MS, configuration, entered, record

DENIED = e.EntryDenied(entry="e9", gate="north", reason=Reason.BLOCKED, source="r", holder=HOLDER)


def paid(number: int, amount_minor: int) -> w.WalletTransferred:
    legs = (w.Leg(f"wallet:{HOLDER}", "sales:bar", amount_minor),)
    return w.WalletTransferred(
        transfer=f"bar/{number}", action="charge", client="bar", holder=HOLDER, currency="EUR",
        amount_minor=amount_minor, legs=legs, balances={f"wallet:{HOLDER}": -amount_minor, "sales:bar": amount_minor},
    )  # fmt: skip


@pytest.fixture
def venue(tmp_path: Path) -> Configuration:
    config = configuration(tmp_path)
    record(
        config,
        DENIED,
        u.UpstreamLost(sink="main", through_seq=1, since_ms=NOW_MS, why="away"),
        entered(HOLDER, "c" * 32),
        paid(1, 1250),
        paid(2, 333),
        DENIED,
        e.PrintUnknown(job="j", printer="bar-printer", message="?"),
        u.UpstreamRegained(sink="main", after_seq=1, since_ms=NOW_MS),
        DENIED,
        u.UpstreamFound(finding="f1", cursor=1, what="entered_elsewhere", event_seq=3, elsewhere="arena"),
    )
    return config


def reconcile(folder: Path, *more: str) -> int:
    return cli.main(["reconcile", "--config", str(folder / "venue.yaml"), *more])


def last_fact(config: Configuration) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(newest(config.state_dir / "journal.db", 1)[0].body)
    return found


def test_the_last_outage_is_told_and_that_it_was_is_a_fact(
    venue: Configuration, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "outage.json"
    assert reconcile(tmp_path, "--json", str(file)) == 0
    told = capsys.readouterr().out
    for line in (
        "journal entries 2 to 7: 6",
        "guests let in: 1 (0 passed",
        "EUR, wallets of the venue itself: spent 15.83 EUR; net 15.83 EUR",
        "denied (entry): blocked 1",
        "let in elsewhere too: 1",
        "  entry 3: entered_elsewhere arena",
        "  entry 7: print job at bar-printer",
    ):
        assert line in told
    assert HOLDER not in told
    written = file.read_bytes().removesuffix(b"\n")
    assert json.loads(written)["exposure"]["EUR"]["own"]["spent_minor"] == 1583
    fact = last_fact(venue)
    assert (fact["kind"], fact["after_seq"], fact["through_seq"]) == ("upstream.reconciled", 1, 7)
    assert fact["digest"] == sha256(written).hexdigest()


def test_json_goes_to_standard_output_alone(
    venue: Configuration, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert reconcile(tmp_path, "--json", "-") == 0
    assert json.loads(capsys.readouterr().out)["outage"]["until_ms"] == NOW_MS


def test_a_stretch_can_be_named(venue: Configuration, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert reconcile(tmp_path, "--after-seq", "4", "--through-seq", "5") == 0
    assert "spent 3.33 EUR" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("more", "said"),
    [
        (("--sink", "archive"), "no outage is known for the sink `archive`; name a stretch with --after-seq"),
        (("--back", "1"), "outages known: 1 for the sink `main`; name a stretch with --after-seq"),
        (("--after-seq", "99"), "there is nothing after entry 99; the newest is 10"),
        (("--print", "bar-printer"), "the gateway does not run, and receipts are printed by it"),
    ],
)
def test_what_cannot_be_done_is_said(
    venue: Configuration, tmp_path: Path, capsys: pytest.CaptureFixture[str], more: tuple[str, ...], said: str
) -> None:
    assert reconcile(tmp_path, *more) == 1
    assert said in capsys.readouterr().err
    assert last_fact(venue)["kind"] == "upstream.found"


def test_an_outage_that_goes_on_ends_at_the_newest_entry(tmp_path: Path) -> None:
    config = configuration(tmp_path)
    state = record(config, DENIED, u.UpstreamLost(sink="main", through_seq=1, since_ms=NOW_MS), paid(1, 100))
    assert state.above.lost["main"].through_seq == 1
    report = make_report(config, Wanted())
    assert (report.outage.through_seq, report.outage.until_ms, report.events) == (3, None, 2)


@pytest.mark.parametrize(("language", "word"), [("de", "15,83"), ("en", "15.83")])
def test_the_receipt_says_the_same(venue: Configuration, language: str, word: str) -> None:
    document = receipt(make_report(venue, Wanted()), "d" * 64, venue.venue, language)
    paper = "\n".join(plain_text(document, 42))
    assert word in paper
    assert "arena" in paper
    assert "d" * 16 in paper
    assert HOLDER not in paper
