"""A week without upstream: what was decided meanwhile comes up to the byte, and adds up to the cent."""

from __future__ import annotations

import asyncio
import datetime as dt
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from random import Random

import msgspec
import pytest

from gateway.config.upstream import Endpoint
from gateway.domain import events as e
from gateway.domain import wallet_events as w
from gateway.domain.ids import RandomPool, Uuid7
from gateway.domain.reasons import Reason
from gateway.domain.state import VenueState
from gateway.flows.recorder import Recorder
from gateway.ops.reconciling import Wanted, make_report
from gateway.store import audit
from gateway.store.journal import Journal
from gateway.upstream import relay as relaying
from gateway.upstream.http import Client
from gateway.upstream.https import HttpsSink
from gateway.upstream.outbox import Outbox
from gateway.upstream.relay import Relay
from tests.gateway.ops.house import configuration
from tests.gateway.upstream.served import Served, journalled
from tests.gateway.upstream.waiting import until
from tests.length import length

EVENTS = length(20_000, 200_000)
WEEK_MS = 7 * 24 * 3600 * 1000
BEGAN_MS = 1_780_000_000_000
BATCH = 250
GUESTS = 4_000
YEAR_S = 365 * 24 * 3600
WAIT_S = 300.0


class Days:
    """A clock that is moved by hand."""

    def __init__(self) -> None:
        self.at_ms = BEGAN_MS

    def now_ms(self) -> int:
        return self.at_ms


def week(count: int) -> Iterator[e.AnyEvent]:
    """Yield what happens in a venue: two of three come in, others are denied, some pay, some put money in."""
    dice, balances = Random(7), Counter[str]()
    for number in range(count):
        holder = f"g{dice.randrange(GUESTS)}"
        match dice.randrange(10):
            case 0 | 1:
                yield paid(number, holder, "charge", dice.randrange(1, 2_000), balances)
            case 2:
                yield paid(number, holder, "top_up", dice.randrange(1, 5_000), balances)
            case 3:
                reason = dice.choice((Reason.BLOCKED, Reason.EXPIRED, Reason.UNKNOWN_CREDENTIAL))
                yield e.EntryDenied(entry=f"e{number}", gate="north", reason=reason, source="Grüße")
            case _:
                gate = dice.choice(("north", "south"))
                yield e.EntryGranted(
                    entry=f"e{number}", gate=gate, credential="c" * 32, holder=holder, entitlement=f"t-{holder}",
                    zone="hall", uses=1, source="reader", actuates=False,
                )  # fmt: skip


def paid(number: int, holder: str, action: w.Action, amount_minor: int, balances: Counter[str]) -> e.AnyEvent:
    own, other = f"wallet:{holder}", "cash:bar" if action == "top_up" else "sales:bar"
    leg = w.Leg(other, own, amount_minor) if action == "top_up" else w.Leg(own, other, amount_minor)
    balances[leg.debit] -= amount_minor
    balances[leg.credit] += amount_minor
    return w.WalletTransferred(
        transfer=f"bar/{number}", action=action, client="bar", holder=holder, currency="EUR", amount_minor=amount_minor,
        legs=(leg,), balances={own: balances[own], other: balances[other]},
    )  # fmt: skip


async def live(recorder: Recorder, clock: Days, count: int) -> None:
    """Let a week pass through the recorder, as the flows let an evening."""
    facts = list(week(count))
    for start in range(0, count, BATCH):
        clock.at_ms = BEGAN_MS + WEEK_MS * start // count
        await recorder.record(*facts[start : start + BATCH])


@pytest.mark.timeout(600)
async def test_i05_a_week_without_upstream_comes_up_to_the_byte_and_adds_up_to_the_cent(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(relaying, "LOST_AFTER_S", 0.0)
    config, clock = configuration(tmp_path), Days()
    journal = Journal.open(config.state_dir / "journal.db")
    recorder = Recorder(VenueState(config.zone_map), journal, clock.now_ms, Uuid7(RandomPool(Random(1).randbytes).take))
    outbox = Outbox(config.state_dir / "journal.db", "hall")
    async with Served(tmp_path / "up") as served:
        # What was known before the outage.
        await recorder.record(e.GatewayStarted(version="1", clean=True, config_digest="d"))

        def record(*facts: e.AnyEvent) -> None:
            recorder.record(*facts, follow_up=True)

        sink = HttpsSink(Client(Endpoint(url=served.url), "hall"))
        relay = Relay("main", sink, outbox, journal, Random(1), record, clock.now_ms)
        task = asyncio.get_running_loop().create_task(relay.run())
        try:
            await until(lambda: relay.through_seq == 1)
            await served.kill()
            await live(recorder, clock, EVENTS)
            relay.try_now()
            await until(lambda: "main" in recorder.state.above.lost)
            clock.at_ms = BEGAN_MS + WEEK_MS
            await served.start()
            relay.try_now()
            await until(lambda: "main" not in recorder.state.above.lost, WAIT_S)
            relay.news()
            await until(lambda: relay.through_seq == journal.last_seq, WAIT_S)
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
            await outbox.close()
            journal.close()
        assert served.received_bodies() == journalled(config.state_dir)
        hashes = [event["hash"] for event in served.received()]
    assert hashes == [row.hash.hex() for row in audit.newest(config.state_dir / "journal.db", len(hashes))]
    assert len(hashes) == EVENTS + 3
    told = make_report(config, Wanted())
    assert (told.events, told.outage.until_ms) == (EVENTS + 1, BEGAN_MS + WEEK_MS)
    assert BEGAN_MS <= told.outage.since_ms <= BEGAN_MS + WEEK_MS
    facts = list(week(EVENTS))
    charged = [one.amount_minor for one in facts if isinstance(one, w.WalletTransferred) and one.action == "charge"]
    put_in = [one.amount_minor for one in facts if isinstance(one, w.WalletTransferred) and one.action == "top_up"]
    money = told.exposure["EUR"]["own"]
    assert (money.spent_minor, money.paid_in_minor) == (sum(charged), sum(put_in))
    assert money.transfers == len(charged) + len(put_in)
    assert told.entries.granted == sum(isinstance(one, e.EntryGranted) for one in facts)
    denied = Counter(str(one.reason) for one in facts if isinstance(one, e.EntryDenied))
    assert told.denied == {"entry": dict(denied)}
    assert msgspec.json.encode(told).count(b'"g1"') == 0


@pytest.mark.parametrize("off_s", [-YEAR_S, -7200, 7200, YEAR_S])
async def test_i05_clocks_that_disagree_change_nothing_of_what_comes_up(tmp_path: Path, off_s: int) -> None:
    config, clock = configuration(tmp_path), Days()
    # The venue's clock is off against upstream's, whose `Date` is that of this machine.
    clock.at_ms = round(dt.datetime.now(dt.UTC).timestamp() * 1000) + off_s * 1000
    journal = Journal.open(config.state_dir / "journal.db")
    recorder = Recorder(VenueState(config.zone_map), journal, clock.now_ms, Uuid7(RandomPool(Random(1).randbytes).take))
    outbox, dates = Outbox(config.state_dir / "journal.db", "hall"), []
    async with Served(tmp_path / "up") as served:
        client = Client(Endpoint(url=served.url), "hall", lambda at_ms, _: dates.append(at_ms))
        relay = Relay("main", HttpsSink(client), outbox, journal, Random(1), lambda _: None, clock.now_ms)
        task = asyncio.get_running_loop().create_task(relay.run())
        try:
            for fact in week(40):
                await recorder.record(fact)
                # It goes back in the middle, too; the journal's own times never do.
                clock.at_ms -= 3_600_000
            relay.news()
            await until(lambda: relay.through_seq == 40)
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
            await outbox.close()
            journal.close()
        assert served.received_bodies() == journalled(config.state_dir)
        sequences = [event["sequence"] for event in served.received()]
        times = [event["time"] for event in served.received()]
    assert sequences == [f"{seq:016}" for seq in range(1, 41)]
    assert times == sorted(times)
    assert abs(dates[-1] / 1000 - dt.datetime.now(dt.UTC).timestamp()) < 60
