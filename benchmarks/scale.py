"""`python -m benchmarks.scale`: a million wallets and three million entitlements, in the real daemon.

Four starts are measured, each from the start of the process to the first charge that is answered as paid:
`known`, with everything in the directory and nothing of it changed here; `tail`, the same after kill -9 amid a burst of
charges; `spent`, where upstream keeps the wallets and each of the million has been spent from here since it last spoke;
and `changed`, a closed loop in which each of the million has a balance of its own here.
"""

from __future__ import annotations

import argparse
import asyncio
import itertools
import json
import os
import shutil
import sqlite3
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import msgspec

from benchmarks.measure import States
from benchmarks.people import KEPT, ROOT, keep_out_of_git, tag_number
from benchmarks.venue import BASE, CLIENT, Venue
from benchmarks.wire import BareClient, Question, load

HOLDERS = 1_000_000
TICKETS_EACH = 3
CHARGES = 5_000
IN_FLIGHT = 64
RSS_MB_MAX, START_S_MAX = 300.0, 5.0
OPENING_MINOR = 5000
CONTACT = "01935b2e-7c1a-7f00-8000-0123456789ab"
"""The id of upstream's last word, as long as ids are."""
PAID = b'"done"'
Row = tuple[str, str, bytes]
_HEAD = "venue: {id: bench, timezone: Europe/Berlin, currency: EUR}\n"


class Start(msgspec.Struct):
    """One start: seconds to the first paid charge, and the resident memory in MB of 10**6 bytes then and at the end."""

    name: str
    start_s: float
    rss_mb: float
    rss_after_mb: float
    peak_mb: float

    @property
    def ok(self) -> bool:
        """True when it is within its limits."""
        return self.start_s <= START_S_MAX and self.rss_after_mb <= RSS_MB_MAX


class ScaleVenue(Venue):
    """A venue of nothing but wallets and a till."""

    authority = "upstream"

    @staticmethod
    def folded(_holders: int) -> Iterator[Row]:
        """Yield the rows that the journal's folded state begins with; all accounts add up to zero."""
        yield from ()

    def _yaml(self) -> str:
        return (
            f"{_HEAD}broker: unix://{self.socket_path}\nstate_dir: state\nzones: {{hall: {{}}}}\n"
            f"wallet: {{authority: {self.authority}}}\n"
            f"clients: {{{CLIENT}: {{may: {{wallet: [charge, balance]}}}}}}\n"
        )


class AllSpent(ScaleVenue):
    """The same, where everybody has paid three times since upstream last spoke."""

    @staticmethod
    def folded(holders: int) -> Iterator[Row]:
        """Yield for each guest what upstream put in and what is left of it, and where the rest went."""
        total_minor = 0
        for holder in range(holders):
            spent_minor = 300 + holder % 4000
            total_minor += spent_minor
            account = [OPENING_MINOR - spent_minor, 0, OPENING_MINOR, spent_minor, 3, CONTACT]
            yield "account", f"wallet:guest-{holder}", msgspec.json.encode(account)
        yield "account", "upstream", msgspec.json.encode([-OPENING_MINOR * holders])
        yield "account", "sales:bench", msgspec.json.encode([total_minor])
        yield "contact", "", msgspec.json.encode([CONTACT, total_minor])
        yield "currency", "", b'"EUR"'


class ClosedLoop(ScaleVenue):
    """The same, where the venue keeps the wallets itself."""

    authority = "venue"

    @staticmethod
    def folded(holders: int) -> Iterator[Row]:
        """Yield a balance for each guest, and the cash that it was bought with."""
        total_minor = 0
        for holder in range(holders):
            total_minor += 1000 + holder % 4000
            yield "account", f"wallet:guest-{holder}", msgspec.json.encode([1000 + holder % 4000])
        yield "account", "cash:bench", msgspec.json.encode([-total_minor])


KINDS: dict[str, tuple[type[ScaleVenue], ...]] = {
    "all": (ScaleVenue, AllSpent, ClosedLoop),
    "directory": (ScaleVenue,),
    "spent": (AllSpent,),
    "changed": (ClosedLoop,),
}
NAMES = {AllSpent: "spent", ClosedLoop: "changed"}


def ndjson(holders: int) -> Iterator[str]:
    """Yield the directory's lines: for each holder a tag, three tickets and a wallet."""
    for holder in range(holders):
        name = f"guest-{holder}"
        yield f'{{"type":"credential","technology":"em4100","value":"{tag_number(holder)}","holder":"{name}"}}\n'
        for ticket in range(TICKETS_EACH):
            ticket_id = f"ticket-{holder}-{ticket}"
            yield f'{{"type":"entitlement","id":"{ticket_id}","holder":"{name}","zones":["hall"],"uses":3}}\n'
        yield f'{{"type":"wallet","holder":"{name}","balance_minor":{OPENING_MINOR},"currency":"EUR"}}\n'


def imported(folder: Path, holders: int) -> tuple[float, float]:
    """Import the directory into `folder`; returns the seconds it took and the importer's peak of memory in MB."""
    source, config = folder / "rows.ndjson", folder / "venue.yaml"
    with source.open("w") as file:
        file.writelines(ndjson(holders))
    config.write_text(f"{_HEAD}broker: unix:///run/none.sock\nstate_dir: .\nzones: {{hall: {{}}}}\n")
    command = [sys.executable, "-m", "gateway", "directory", "import", str(source), "--config", str(config)]
    began_s = time.perf_counter()
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.DEVNULL) as process:
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
    source.unlink()
    if process.returncode:
        raise RuntimeError(f"the import failed with {process.returncode}")
    return time.perf_counter() - began_s, usage.ru_maxrss * 1024 / 1e6


def make_journal(journal: Path, rows: Iterator[Row]) -> None:
    """Make a journal whose folded state holds these rows."""
    subprocess.run([sys.executable, "-c", _EMPTY, str(journal)], cwd=ROOT, check=True, timeout=60)
    with closing(sqlite3.connect(journal)) as database:
        database.executemany("INSERT INTO state VALUES (?, ?, ?)", rows)
        database.commit()


class Till:
    """The client that charges one guest after another."""

    def __init__(self, client: BareClient, states: States, holders: int) -> None:
        self._client = client
        self._states = states
        self._numbers = itertools.count()
        self._holders = holders

    async def started(self, venue: Venue, name: str, charges: int) -> Start:
        """Start the daemon, charge, and say what that took."""
        self._states.forget()
        began_s = time.perf_counter()
        venue.start_daemon()
        await self._states.until(f"{BASE}/gateway/state", "online", "degraded")
        await load(self._client, self._charge, 1, 1, PAID)
        took_s = time.perf_counter() - began_s
        rss_mb = venue.resident_mb()
        await load(self._client, self._charge, charges, IN_FLIGHT, PAID)
        return Start(name, took_s, rss_mb, venue.resident_mb(), venue.resident_mb("VmHWM"))

    async def killed(self, venue: Venue) -> None:
        """Kill the daemon and wait until the broker has noticed."""
        venue.kill_daemon()
        await self._states.until(f"{BASE}/gateway/state", "offline")

    def _charge(self) -> Question:
        number = next(self._numbers)
        shown = f'{{"technology":"em4100","value":"{tag_number(number * 7919 % self._holders)}"}}'
        payload = f'{{"id":"charge-{number}","data":{{"amount_minor":100,"credential":{shown}}}}}'
        return Question(f"charge-{number}", f"{BASE}/clients/{CLIENT}/requests/wallet/charge", payload.encode())


async def measured(kind: type[ScaleVenue], folder: Path, holders: int, charges: int) -> list[Start]:
    """Start one kind of venue twice over the directory in `folder`."""
    with closing(kind(folder)) as venue:
        venue.start_broker()
        watcher = await BareClient.tcp(venue.port, "scale-watch", CLIENT, venue.password)
        client = await BareClient.tcp(venue.port, "scale", CLIENT, venue.password)
        with closing(watcher), closing(client):
            states = States(watcher)
            await watcher.subscribe(f"{BASE}/gateway/state")
            await client.subscribe(f"{BASE}/clients/{CLIENT}/responses")
            till = Till(client, states, holders)
            if kind is ScaleVenue:
                known = await till.started(venue, "known", charges)
                await till.killed(venue)
                return [known, await till.started(venue, "tail", charges)]
            await asyncio.to_thread(make_journal, venue.state_dir / "journal.db", kind.folded(holders))
            return [await till.started(venue, NAMES[kind], charges)]


_EMPTY = """
import asyncio, sys
from pathlib import Path
from gateway.store.journal import Journal
async def make():
    Journal.open(Path(sys.argv[1])).close()
asyncio.run(make())
"""


def main() -> int:
    """Run it, print the figures, and return 1 when a limit is passed."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.scale", description=__doc__)
    parser.add_argument("--holders", type=int, default=HOLDERS, help=f"guests, each with {TICKETS_EACH} tickets")
    parser.add_argument("--charges", type=int, default=CHARGES, help="charges after each start")
    parser.add_argument("--only", choices=list(KINDS), default="all", help="measure these starts only")
    parser.add_argument("--output", type=Path, help="write the figures as JSON, too")
    given = parser.parse_args()
    keep_out_of_git()
    folder = Path(tempfile.mkdtemp(prefix="scale-", dir=KEPT))
    try:
        import_s, import_mb = imported(folder, given.holders)
        size_mb = (folder / "directory.db").stat().st_size / 1e6
        print(
            f"import of {given.holders:,} guests: {import_s:.0f} s, peak {import_mb:.0f} MB; {size_mb:.0f} MB on disk"
        )
        starts = [
            one
            for kind in KINDS[given.only]
            for one in asyncio.run(measured(kind, folder, given.holders, given.charges))
        ]
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    for one in starts:
        print(
            f"{one.name:8} first charge after {one.start_s:5.2f} s, resident {one.rss_mb:4.0f} MB, after "
            f"{given.charges:,} charges {one.rss_after_mb:4.0f} MB, peak {one.peak_mb:4.0f} MB  "
            f"{'ok' if one.ok else 'MISSED'} (limits {START_S_MAX:g} s, {RSS_MB_MAX:g} MB)"
        )
    if given.output:
        given.output.write_text(json.dumps([msgspec.to_builtins(one) for one in starts], indent=2) + "\n")
    return 0 if all(one.ok for one in starts) else 1


if __name__ == "__main__":
    sys.exit(main())
