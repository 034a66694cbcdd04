"""`venue-gateway reconcile`: what was decided while upstream was out of reach, as text, JSON or a receipt.

The command counts in a process of its own, so that a long outage costs no tap its time. The running daemon then records
that it was done and prints; where none runs, the command records it itself.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Iterator
from datetime import UTC, datetime
from hashlib import sha256
from pathlib import Path

import msgspec

from gateway.config.schema import Configuration
from gateway.devices.trying import Say
from gateway.domain import events as e
from gateway.domain import money
from gateway.domain import upstream_events as u
from gateway.domain.ids import RandomPool, Uuid7
from gateway.domain.reconciliation import Clash, Exposure, Outage, Reconciliation, Report, outages
from gateway.domain.state import VenueState
from gateway.flows.outage_receipt import receipt
from gateway.flows.recorder import Recorder
from gateway.store.errors import StorageUnavailable
from gateway.store.journal import Journal
from gateway.store.locking import lock_state_dir
from gateway.store.reading import Reader
from gateway.trials import OutageReport, ask_daemon

_ABOUT_UPSTREAM = b'{"kind":"upstream.'
"""Every fact begins with its kind; those about upstream are few, and the others need not be decoded to find them."""
_decode = msgspec.json.Decoder(e.AnyEvent).decode
_decode_upstream = msgspec.json.Decoder(u.UpstreamEvent).decode


class ReconcileRefused(Exception):
    """No report was made; the message says why and what to do."""


class Wanted(msgspec.Struct, frozen=True, kw_only=True):
    """Which outage: the `back`th before the last one of `sink`, or the stretch that somebody named."""

    sink: str = "main"
    back: int = 0
    after_seq: int | None = None
    through_seq: int | None = None


def make_report(configuration: Configuration, wanted: Wanted) -> Report:
    """Return the report. Raises ReconcileRefused, and StorageUnavailable when the journal cannot be read."""
    path = configuration.state_dir / "journal.db"
    if not path.exists():
        raise ReconcileRefused(f"{path} does not exist; the gateway makes it when it first runs")
    reader = Reader(path)
    try:
        told = list(_told(reader))
        newest = reader.newest(1)
        outage = _outage(told, newest[-1].seq if newest else 0, wanted)
        if (pruned_seq := reader.pruned()[0]) > outage.after_seq:
            what = f"entries {outage.after_seq + 1} to {min(pruned_seq, outage.through_seq)} are no longer here"
            raise ReconcileRefused(f"{what}; they are upstream, and older than `upstream.keep_days`")
        kept_upstream = configuration.wallet.authority == "upstream"
        counting = Reconciliation(configuration.venue.id, outage, kept_upstream=kept_upstream)
        for row in reader.all_rows(outage.after_seq):
            if row.seq > outage.through_seq:
                break
            counting.add(row.seq, _decode(row.body))
    finally:
        reader.close()
    for _, _, fact in told:
        counting.found(fact)
    return counting.report()


def _told(reader: Reader) -> Iterator[tuple[int, int, u.UpstreamEvent]]:
    for row in reader.all_rows(reader.pruned()[0]):
        if row.body.startswith(_ABOUT_UPSTREAM):
            yield row.seq, row.at_ms, _decode_upstream(row.body)


def _outage(told: list[tuple[int, int, u.UpstreamEvent]], last_seq: int, wanted: Wanted) -> Outage:
    if wanted.after_seq is not None:
        through_seq = last_seq if wanted.through_seq is None else min(wanted.through_seq, last_seq)
        if through_seq <= wanted.after_seq:
            raise ReconcileRefused(f"there is nothing after entry {wanted.after_seq}; the newest is {last_seq}")
        return Outage(wanted.sink, wanted.after_seq, through_seq, 0, None, told=False)
    found = outages(told, last_seq, wanted.sink)
    if len(found) <= wanted.back:
        known = f"outages known: {len(found)}" if found else "no outage is known"
        raise ReconcileRefused(f"{known} for the sink `{wanted.sink}`; name a stretch with --after-seq")
    return found[-1 - wanted.back]


def as_json(report: Report) -> bytes:
    """Return the report as JSON, always the same bytes for the same report."""
    return msgspec.json.format(msgspec.json.encode(report), indent=2)


def as_text(report: Report, configuration: Configuration) -> Iterator[str]:
    """Yield the report as lines for a terminal."""
    outage, entries = report.outage, report.entries
    if outage.told:
        until = "it goes on" if outage.until_ms is None else _local(outage.until_ms, configuration)
        yield f"{outage.sink} was out of reach from {_local(outage.since_ms, configuration)} until {until}"
    yield f"journal entries {outage.after_seq + 1} to {outage.through_seq}: {report.events:,}"
    yield (
        f"guests let in: {entries.granted:,} ({entries.passed:,} passed, {entries.returned:,} handed back, "
        f"{entries.unknown:,} unknown, {entries.overridden:,} by hand, "
        f"{entries.clock_untrusted:,} with the clock in doubt)"
    )
    yield from (f"  {gate}: {count:,}" for gate, count in report.gates.items())
    yield f"redeemed: {report.redeemed:,}"
    for currency, kinds in report.exposure.items():
        for kind, exposure in kinds.items():
            yield f"{currency}, {_KINDS[kind]}: {_amounts(exposure, currency)}"
    for what, reasons in report.denied.items():
        yield f"denied ({what}): " + ", ".join(f"{reason} {count:,}" for reason, count in reasons.items())
    yield from _listed("let in elsewhere too", report.over_entries, report.more.get("over_entries", 0))
    yield from _listed("conflicts", report.conflicts, report.more.get("conflicts", 0))
    yield f"outcome unknown: {len(report.unknown) + report.more.get('unknown', 0):,}"
    yield from (f"  entry {one.seq}: {one.what.replace('_', ' ')} at {one.where}" for one in report.unknown)


def _local(at_ms: int, configuration: Configuration) -> str:
    return f"{datetime.fromtimestamp(at_ms / 1000, UTC).astimezone(configuration.venue.zone_info):%Y-%m-%d %H:%M:%S}"


_KINDS = {
    "allowance": "granted before by upstream",
    "offline_limit": "at risk, within the offline limits",
    "own": "wallets of the venue itself",
    "none": "without a wallet",
}


def _amounts(exposure: Exposure, currency: str) -> str:
    parts = [
        f"{name.removesuffix('_minor').replace('_', ' ')} {money.text(amount_minor, currency)}"
        for name, amount_minor in msgspec.structs.asdict(exposure).items()
        if name.endswith("_minor") and amount_minor
    ]
    return f"{', '.join(parts) or 'nothing'}; net {money.text(exposure.exposed_minor, currency)}"


def _listed(title: str, clashes: list[Clash], more: int) -> Iterator[str]:
    yield f"{title}: {len(clashes) + more:,}"
    yield from (f"  entry {one.seq}: {one.what} {one.elsewhere}".rstrip() for one in clashes)


class Asked(msgspec.Struct, frozen=True, kw_only=True):
    """Who had a report made, and whether and how it is to be printed."""

    by: str
    printer: str = ""
    language: str = "en"


def tell(configuration: Configuration, report: Report, asked: Asked, say: Say) -> bool:
    """Have it recorded that the report was made, and printed where a printer is named; returns how that went."""
    digest = sha256(as_json(report)).hexdigest()
    outage = report.outage
    fact = u.OutageReconciled(
        sink=outage.sink,
        after_seq=outage.after_seq,
        through_seq=outage.through_seq,
        digest=digest,
        by=asked.by,
        printer=asked.printer,
    )
    document = receipt(report, digest, configuration.venue, asked.language) if asked.printer else None
    told = asyncio.run(ask_daemon(configuration.state_dir, OutageReport(fact=fact, document=document), say))
    if told is not None:
        return told
    if asked.printer:
        say("the gateway does not run, and receipts are printed by it; start it, or leave --print out")
        return False
    return _record_alone(configuration, fact, say)


def _record_alone(configuration: Configuration, fact: u.OutageReconciled, say: Say) -> bool:
    try:
        with lock_state_dir(configuration.state_dir):
            asyncio.run(_record(configuration, fact))
    except (OSError, StorageUnavailable) as error:
        say(f"{configuration.state_dir}: the report was made, but not recorded ({error})")
        return False
    return True


async def _record(configuration: Configuration, fact: u.OutageReconciled) -> None:
    journal = Journal.open(configuration.state_dir / "journal.db")
    try:
        ids = Uuid7(RandomPool(os.urandom).take)
        recorder = Recorder(VenueState(configuration.zone_map), journal, _now_ms, ids)
        recorder.restore()
        await recorder.record(fact)
    finally:
        journal.close()


def _now_ms() -> int:
    return int(datetime.now(UTC).timestamp() * 1000)


def write(path: Path, report: Report) -> None:
    """Write the JSON to a file. Raises OSError."""
    path.write_bytes(as_json(report) + b"\n")
