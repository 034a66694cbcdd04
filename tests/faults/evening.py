"""A short evening at one venue on a real disk: wallets, entries, receipts, folds, checkpoints, a new directory.

Run as a process of its own, by `python -m tests.faults.evening FOLDER SEED LIFE STEPS SIZE MUTANT`, with the disk
recorded. It writes each answer that was told, and each commit it was told of, to the file `told` in FOLDER, whose
writes are part of the trace: so the trace says what had been promised at every point of it.
"""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from random import Random
from zoneinfo import ZoneInfo

import msgspec

import gateway.store.committer as committer_module
import gateway.store.database as database_module
from gateway.config.schema import Gate, Limits
from gateway.domain import drawers, gates, printing, purchases
from gateway.domain.access import ZoneMap
from gateway.domain.ids import RandomPool, Uuid7
from gateway.domain.state import VenueState
from gateway.domain.wallet import Policy
from gateway.flows.desk import Desk, Handler, Request
from gateway.flows.entry import EntryFlow
from gateway.flows.gate import GateFlow
from gateway.flows.printing import PrintFlow
from gateway.flows.purchase import PurchaseFlow
from gateway.flows.recorder import Committed, Recorder
from gateway.store.credentials import CredentialKey
from gateway.store.directory import DIRECTORY_FILE, Directory
from gateway.store.importing import import_directory
from gateway.store.journal import Journal
from tests.faults.library import library
from tests.gateway.fakes import START_MS, FakeLock, FakePrinter
from tests.gateway.flows.house import CLIENT
from tests.simulation.mutants import mutated

ROOT = Path(__file__).parents[2]
GUESTS = 12
ZONES = ZoneMap(within={"hall": None}, capacity={"hall": None})
UTC = ZoneInfo("UTC")
TOLD = "told"
GATE = "vip"


class Told(msgspec.Struct, frozen=True, array_like=True, omit_defaults=True):
    """One promise: this event is on disk; and, with a request, this is what its client was answered."""

    seq: int
    body: bytes
    request: str = ""
    status: str = ""


def make_small() -> None:
    """Shorten the WAL, so that an evening passes through all its states: over zeros, past them, begun anew."""
    database_module.WAL_READY_BYTES = 24 << 10
    committer_module.WAL_SOFT_BYTES = 32 << 10
    committer_module.WAL_HARD_BYTES = 48 << 10


def write_directory(folder: Path, seed: int) -> None:
    """Import a directory that names its version by the seed."""
    rows = []
    for number in range(GUESTS):
        holder = f"guest-{number}"
        rows.append({"type": "credential", "technology": "barcode", "value": f"CODE-{number}", "holder": holder})
        rows.append({"type": "entitlement", "id": f"t-{seed}-{number}", "holder": holder, "zones": ["hall"]})
    source = folder.parent / "directory.ndjson"
    source.write_bytes(b"\n".join(msgspec.json.encode(row) for row in rows))
    key = CredentialKey.load_or_create(folder)
    import_directory(source, folder, key, known_zones={"hall"}, progress=lambda *_: None, timezone=UTC)


class Evening:
    """The flows of a venue over the store in a folder."""

    def __init__(self, folder: Path, dice: Random, tell: Callable[[Told], object]) -> None:
        """Open what is in a folder; `tell` hears each promise."""
        self._dice = dice
        self._tell = tell
        self._now_ms = START_MS
        self._tasks: list[asyncio.Task[None]] = []
        key = CredentialKey.load_or_create(folder)
        self.directory = Directory(folder / DIRECTORY_FILE)
        self.directory.reload()
        self.journal = Journal.open(folder / "journal.db")
        self._now_ms = max(START_MS, self.journal.last_at_ms)
        ids = Uuid7(RandomPool(dice.randbytes).take)
        self.recorder = Recorder(VenueState(ZONES), self.journal, lambda: self._now_ms, ids)
        self.recorder.restore()
        self.recorder.listeners.append(self._heard)
        self.purchase = PurchaseFlow(self.recorder, self.directory, key)
        self.purchase.configure(Policy(currency="EUR", hold_timeout_ms=60_000), 30.0, {})
        self.printer = PrintFlow("printer", self.recorder, FakePrinter(), Limits())
        self.entry = self._entry(key)
        self.desk = Desk(self.recorder)
        handlers = {
            "wallet": self.purchase.handlers(),
            "printer": self.printer.handlers(),
            GATE: {"authenticate": Handler(self.entry.take_authenticate)},
        }
        grants = {CLIENT: {target: frozenset(verbs) for target, verbs in handlers.items()}}
        self.desk.configure(handlers, grants, 600_000)
        self._settle_the_past()
        self._spawn(self.printer.run())

    def _entry(self, key: CredentialKey) -> EntryFlow:
        flow = EntryFlow(self.recorder, self.directory, key, self._spawn)
        config = Gate(name=GATE, to_zone="hall", anti_passback="off")
        flow.configure({GATE: GateFlow(config, self.recorder, FakeLock())}, UTC)
        return flow

    def _settle_the_past(self) -> None:
        state = self.recorder.state
        cut = [*gates.after_restart(state), *printing.after_restart(state), *drawers.after_restart(state)]
        if cut := [*cut, *purchases.after_restart(state.ledger)]:
            self.recorder.record(*cut)

    def _spawn(self, work: object) -> asyncio.Task[None]:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.append(task)
        return task

    def _heard(self, committed: Sequence[Committed]) -> None:
        for one in committed:
            told = Told(one.entry.seq, one.body)
            if one.answer is not None and one.request is not None:
                told = Told(one.entry.seq, one.body, one.request.id, one.answer.status)
            self._tell(told)

    def ask(self, target: str, verb: str, name: str, data: object) -> None:
        body = msgspec.json.encode(data)
        self.desk.handle(Request(CLIENT, name, target, verb, body, self._now_ms + 60_000, f"{verb}{body!r}"))

    def step(self, name: str) -> None:
        """Let somebody ask for something."""
        self._now_ms += self._dice.randrange(2000)
        guest = {"technology": "barcode", "value": f"CODE-{self._dice.randrange(GUESTS)}"}
        other = {"technology": "barcode", "value": f"CODE-{self._dice.randrange(GUESTS)}"}
        amount = self._dice.randrange(1, 3000)
        what = self._dice.randrange(10)
        if what < 3:
            self.ask("wallet", "top_up", name, {"amount_minor": amount, "by": "cash", "credential": guest})
        elif what < 6:
            self.ask("wallet", "charge", name, {"amount_minor": amount // 3 + 1, "credential": guest})
        elif what < 7:
            self.ask("wallet", "transfer", name, {"amount_minor": amount // 3 + 1, "credential": guest, "to": other})
        elif what < 8:
            self.ask("wallet", "hold", name, {"amount_minor": amount // 3 + 1, "credential": guest})
        elif what < 9:
            text = "Danke " * self._dice.randrange(1, 200)
            self.ask("printer", "print", name, {"document": {"lines": [{"type": "text", "text": text}]}})
        else:
            self.ask(GATE, "authenticate", name, {"credential": guest})

    async def play(self, life: int, steps: int) -> None:
        """Ask, alone and in crowds; fold and move a cursor in between."""
        for number in range(steps):
            self.step(f"r{life}-{number}")
            await asyncio.sleep(self._dice.choice((0, 0, 0, 0.0004, 0.002)))
            if number % 20 == 19:
                self.recorder.fold_if_due(force=True)
                self.journal.set_cursor("feed", self.journal.last_seq)
                self.journal._tidy_now()
            if number % 25 == 24:
                await asyncio.sleep(0.06)  # A pause in which the writer copies the WAL into the database.

    async def settled(self) -> None:
        """Wait until nothing waits for the disk, or the disk has failed."""
        while self.journal.pending and not self.recorder.lost:
            pause = asyncio.Event()
            asyncio.get_running_loop().call_later(0.001, pause.set)
            await pause.wait()
        await asyncio.sleep(0)

    async def end(self) -> None:
        """Close in order."""
        await self.recorder.fold_everything()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        self.journal.close()


async def live(folder: Path, seed: int, life: int, steps: int) -> None:
    """One life: the first and every second one after it end in order, the others as by kill -9."""
    promises = os.open(folder / TOLD, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    evening = Evening(
        folder, Random(f"{seed}/{life}"), lambda told: os.write(promises, msgspec.json.encode(told) + b"\n")
    )
    await evening.play(life, steps)
    if life % 2:
        os._exit(0)
    await evening.end()


def record(
    folder: Path, trace: Path, life: int, *, seed: int = 1, steps: int = 50, size: str = "small", mutant: str = ""
) -> None:
    """Play one life in a process of its own, with the disk recorded."""
    environment = {**os.environ, "LD_PRELOAD": str(library()), "FAULTS_FOLDER": str(folder), "FAULTS_TRACE": str(trace)}
    command = [sys.executable, "-m", "tests.faults.evening", str(folder), *map(str, (seed, life, steps)), size, mutant]
    subprocess.run(command, check=True, cwd=ROOT, env=environment, timeout=120)


def main() -> None:
    folder, (seed, life, steps), (size, mutant) = Path(sys.argv[1]), map(int, sys.argv[2:5]), sys.argv[5:7]
    if size == "small":
        make_small()
    with mutated(mutant):
        write_directory(folder, life)
        asyncio.run(live(folder, seed, life, steps))


if __name__ == "__main__":
    main()
