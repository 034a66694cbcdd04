"""One run: a venue, its troubles, and as many lives of the gateway as it takes.

Everything comes from the seed. For `CHAOS_S` virtual seconds things go wrong; then all is mended, and the gateway has
to serve everyone again, without a restart, before it is stopped and its journal is read to the end.
"""

from __future__ import annotations

import asyncio
import shutil
from pathlib import Path
from random import Random
from typing import Any

import msgspec

from gateway.app import Gateway, Outside
from gateway.config.problems import ConfigurationError, Problem
from gateway.config.schema import Clock, Configuration
from gateway.domain import events as e
from gateway.domain.ids import Uuid7
from gateway.domain.state import ON_DISK, DrawerState, GateState, VenueState
from gateway.flows.recorder import Recorder
from gateway.flows.venue_clock import VenueClock
from gateway.store.directory import Directory
from gateway.store.errors import StorageUnavailable
from gateway.store.journal import Journal
from gateway.upstream.outbox import Outbox
from tests.simulation import disk as disk_module
from tests.simulation import venue
from tests.simulation.broker import Broker
from tests.simulation.clock import MachineClock
from tests.simulation.devices import Board, Reader, ReceiptPrinter, driver_table
from tests.simulation.disk import Disk
from tests.simulation.faults import Faults
from tests.simulation.log import Log, logs_to
from tests.simulation.observers import Observers
from tests.simulation.office import UPSTREAM, Office, upstream_of
from tests.simulation.people import Clients, Guests
from tests.simulation.till import Tills
from tests.simulation.timeline import Killed, Livelock, Timeline, VirtualLoop
from tests.simulation.troubles import Troubles

MEMORY_KB = 64_000
"""What the gateway hears that it uses: what this process really uses would make two runs of a seed differ."""
_decode_event = msgspec.json.Decoder(e.AnyEvent).decode


class Result(msgspec.Struct):
    """What became of one seed. `digest` is that of the whole trace."""

    seed: int
    digest: str
    violations: list[str]
    invariants: list[str]
    stats: dict[str, int]
    faults: Faults
    lines: list[str] = []


class History:
    """The slow lane to the journal, whose real one reads in a thread of its own."""

    def __init__(self, world: World, journal: Journal) -> None:
        self._world = world
        self._journal = journal
        self._luck = world.dice(f"history-{world.life}")

    async def page(self, after_seq: int, limit: int) -> Any:
        await asyncio.sleep(self._luck.choice((0.001, 0.02, 0.5)))
        return self._journal.read(after_seq, limit)

    async def answers_before(self, _before_ms: int, _limit: int) -> list[str]:
        return []


class World:
    """Everything outside the gateway, and the gateway's successive lives."""

    def __init__(self, seed: int, folder: Path, directory: Directory, *, keep_lines: bool = False) -> None:
        self.seed = seed
        self.directory = directory
        self.timeline = Timeline()
        self.observers = Observers(self.timeline, venue.GRANTED, venue.INTERLOCKED)
        self.observers.folder = str(folder).encode()
        gates = venue.CONFIGURATION.gates.values()
        self.observers.money.gates = {one.name: (one.from_zone or "", one.to_zone or "") for one in gates}
        if keep_lines:
            self.observers.lines = []
        self.log = Log(self.timeline, self.observers)
        self.disk = Disk(folder, self.timeline, self.dice("disk"), self.observers)
        self.disk.kill = self.kill
        self.office = Office(self.timeline, self.dice("office"), self.observers)
        self.outbox: Outbox | None = None
        self.broker = Broker("venue/sim", self.timeline, self.dice("broker"), self.observers)
        self._build_things()
        self.guests = Guests(self.timeline, self.dice("guests"), self.observers, self.readers, self.boards)
        self.clients = Clients(self.timeline, self.dice("clients"), self.observers, self.broker)
        self.tills = Tills(self, self.dice("tills"))
        luck = self.dice("clock")
        self.machine = MachineClock(self.timeline, luck, battery=luck.random() < 0.5)
        self.observers.machine = self.machine
        self.clock_rules = Clock(untrusted=luck.choice(("flag", "deny", "last_known")))
        self.observers.clock_policy = self.clock_rules.untrusted
        self.configuration = self.of_this_run(venue.CONFIGURATION)
        self.gateway: Gateway | None = None
        self.journal: Journal | None = None
        self.life = 0
        self.over = False
        self.power_cut = False
        self.stopping = False
        self.in_order = False
        self.calm_since_s = 0.0
        self._restart = self.dice("restart")
        self.troubles = Troubles(self)
        for reader in self.readers.values():
            reader.on_tap = self.troubles.tapped

    def of_this_run(self, configuration: Configuration) -> Configuration:
        """The configuration with this run's rules about the clock, and with or without upstream."""
        upstream = UPSTREAM if self.office.is_there else None
        return msgspec.structs.replace(configuration, clock=self.clock_rules, upstream=upstream)

    def dice(self, name: str) -> Random:
        """A source of luck of its own, so that one part's throws do not shift those of another."""
        return Random(f"{self.seed}/{name}")

    def _build_things(self) -> None:
        luck = self.dice("things")

        def made(kind: Any, name: str) -> Any:
            return kind(name, self.timeline, luck, self.observers)

        self.readers: dict[str, Reader] = {name: made(Reader, name) for name in venue.READERS}
        self.till_reader: Reader = made(Reader, venue.TILL_READER)
        self.boards: list[Board] = [made(Board, "board-a"), made(Board, "board-b")]
        self.printers: list[ReceiptPrinter] = [made(ReceiptPrinter, "printer-1"), made(ReceiptPrinter, "printer-2")]
        self.boards[0].gates, self.boards[0].contacts = {1: "north", 2: "south"}, {1: False, 2: False}
        self.boards[1].gates, self.boards[1].contacts = {1: "exit", 2: "net"}, {2: False}
        self.printers[0].drawer = "drawer-1"
        readers = [*self.readers.values(), self.till_reader]
        self.things = {one.name: one for one in [*readers, *self.boards, *self.printers]}
        self.drivers = driver_table(self.things)

    # Lives.

    def play(self) -> Result:
        """Play the run to its end."""
        self.troubles.plan()
        try:
            while not self.over and not self.observers.violations:
                self._live_once()
                self._die()
        except Livelock as error:
            self.observers.violated("I9", str(error))
        if not self.observers.violations:
            self._check_the_end()
        observers = self.observers
        return Result(
            self.seed,
            observers.digest,
            [str(one) for one in observers.violations],
            [one.invariant for one in observers.violations],
            dict(observers.stats),
            observers.faults,
            observers.lines or [],
        )

    def _live_once(self) -> None:
        self.life += 1
        self.observers.note("life", self.life)
        self.observers.stats["lives"] += 1
        loop = VirtualLoop(self.timeline, self.dice(f"threads-{self.life}"), self.broker.connect)
        loop.set_exception_handler(self.log.loop_complained)
        try:
            self.in_order = False
            status = loop.run_until_complete(self._serve())
            self.in_order = status == 0
            self.observers.note("exit", status)
            if status == 0 and not self.stopping:
                self.observers.violated("exit", "the gateway stopped by itself")
        except Killed:
            pass
        finally:
            self.timeline.killed = True
            loop.abandon()

    async def _serve(self) -> int:
        try:
            journal = Journal.open(self.disk.path, writer=self.disk.make_writer)
        except StorageUnavailable as error:
            self.observers.violated("I5", f"the journal cannot be opened: {error}")
            return 74
        self.journal = journal
        ids = Uuid7(self.dice(f"ids-{self.life}").randbytes)
        clock = VenueClock(self.machine)
        recorder = Recorder(VenueState(self.configuration.zone_map), journal, clock.now_ms, ids)
        self.gateway = Gateway(
            self.configuration,
            Path("/simulated.yaml"),
            recorder,
            self.directory,
            venue.KEY,
            Outside(
                clock,
                self.drivers,
                self.dice(f"gateway-{self.life}"),
                self.read_configuration,
                memory_kb=lambda: MEMORY_KB,
            ),
        )
        self.gateway.history = History(self, journal)
        return await self.gateway.run()

    def _die(self) -> None:
        """Let the dead process go, and let the next one find what is on the disk."""
        self.observers.note("death", self.power_cut)
        for thing in self.things.values():
            thing.vanish()
        if self.broker.link is not None:
            self.broker.link.vanish()
        self.disk.crash(power_cut=self.power_cut)
        if self.journal is not None:
            # The process is gone, and with it every connection it had open.
            self.journal._reader.close()
            self.journal = None
        if self.outbox is not None:
            self.outbox._packing.close()
            self.outbox = None
        if self.power_cut:
            if not self.machine.battery:
                self.observers.faults.count("clock", "lost with the power")
            self.machine.power_cut()
        self.observers.opened_image(self.disk.rows(), power_cut=self.power_cut)
        self.observers.wire.life_ended(self._cursor_age_s())
        self.observers.metal.life_ended()
        self.gateway, self.power_cut, self.stopping = None, False, False
        self.timeline.killed = False
        if not self.over:
            again_s = self.timeline.now_s + self._restart.choice((0.05, 0.3, 1.5))
            self.timeline.after(again_s - self.timeline.now_s, lambda: None)
            self.timeline.play_until(lambda: self.timeline.now_s >= again_s)

    def _cursor_age_s(self) -> float | None:
        """How old the feed's cursor on disk can be, at most, after the death that has just been."""
        if self.power_cut or self.timeline.now_s - self.disk.troubled_until_s < 9.0:
            return None
        return 0.1 if self.in_order else 7.0

    def kill(self, *, power_cut: bool = False, moment: str = "killed") -> None:
        """End the process here and now."""
        if self.gateway is not None and not self.over and not self.timeline.killed:
            self.power_cut = power_cut
            self.timeline.killed = True
            self.observers.faults.count("process", "lost its power" if power_cut else moment)

    def keep_open(self, outbox: Outbox) -> Outbox:
        """Remember what reads the journal for upstream; its connection goes with the process."""
        self.outbox = outbox
        return outbox

    def stop(self) -> None:
        """Ask the gateway to stop, as the service manager does."""
        if self.gateway is not None:
            self.stopping = True
            if not self.over:
                self.observers.faults.count("process", "stopped")
            self.gateway.stop()

    def read_configuration(self, _path: Path) -> Configuration:
        """What a reload finds in the YAML."""
        found = self.troubles.yaml
        if found is None:
            self.observers.faults.count("people", "made the configuration nonsense")
            raise ConfigurationError((Problem(Path("/simulated.yaml"), 3, 1, "gates", "is nonsense"),))
        self.configuration = found
        return found

    # The end.

    def finish(self) -> None:
        """All has been mended for a while and everyone was probed: stop in order, and never start again."""
        if self.gateway is None:
            self.timeline.after(0.5, self.finish)
            return
        self._check_state(self.gateway)
        if self.gateway.configuration is not self.configuration:
            self.observers.violated("I11", "the configuration in force is not the last good one")
        arrived_seq, durable_seq = self.observers.wire.arrived_seq, self.observers.durable_seq
        if arrived_seq < durable_seq:
            self.observers.violated("I5", f"the feed is at {arrived_seq} of {durable_seq}")
        self.office.check_the_end()
        self.over = True
        self.stop()

    def _check_state(self, gateway: Gateway) -> None:
        """What is in memory is what the whole journal says."""
        fresh = VenueState(self.configuration.zone_map)
        for seq in sorted(self.observers.events):
            fresh.apply(_decode_event(self.observers.rows[seq].body))
        state = gateway.recorder.state
        names = ("uses", "clocks", "where", "entries", "gates", "jobs", "drawers", "closures", "blocks")
        tables = {name: (getattr(state, name), getattr(fresh, name)) for name in names}
        for one, other in ((state.ledger, fresh.ledger), (state.redemptions, fresh.redemptions)):
            tables |= {kind: (one.tables[kind], other.tables[kind]) for kind in one.tables if kind not in ON_DISK}
        for name, (one, other) in tables.items():
            said, true = _plain(one), _plain(other)
            if said != true:
                differing = [key for key in {**said, **true} if said.get(key) != true.get(key)]
                key = differing[0]
                what = f"{name}[{key}] is {said.get(key)} in memory and {true.get(key)} by the journal"
                self.observers.violated("I2", what)

    def _check_the_end(self) -> None:
        rows = self.observers.rows
        if not rows or b"gateway.stopped" not in rows[max(rows)].body:
            self.observers.violated("exit", "the last row does not tell of the stop")


def _plain(table: Any) -> dict[str, Any]:
    unused = GateState(), DrawerState()
    return {key: msgspec.to_builtins(value) for key, value in table.items() if value not in unused}


def play(seed: int, folder: Path, *, keep_lines: bool = False) -> Result:
    """Play one seed in an empty folder of its own, and leave nothing there."""
    disk_module.spare_memory()
    place = folder / f"seed-{seed}"
    shutil.rmtree(place, ignore_errors=True)
    try:
        world = World(seed, place, venue.directory(folder), keep_lines=keep_lines)
        with logs_to(world.log), upstream_of(world):
            return world.play()
    finally:
        shutil.rmtree(place, ignore_errors=True)
