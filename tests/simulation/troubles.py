"""What goes wrong, when, in one run; and how all of it is mended."""

from __future__ import annotations

from random import Random
from typing import TYPE_CHECKING, Any

from gateway.config.schema import Configuration
from tests.simulation import venue
from tests.simulation.faults import BOARD_TROUBLES, PRINTER_TROUBLES
from tests.simulation.observers import Asked

if TYPE_CHECKING:
    from tests.simulation.world import World

CHAOS_S = 13.0
MENDED_S = 12.0
"""How long the gateway has to find back to its work once all is mended."""
PROBE_S = 6.0
SENT_UP_S = 2.0
"""What was on disk so long ago is upstream as well, when all is well."""
DECISIONS = ("entry.granted", "entry.denied")
BACK_S = 3.0
"""How long a device may take to be back once its trouble is over, and the journal after a full disk."""
RESPONSE_S = 0.5
"""How long a tap may take from the reader to the lock while nothing that it needs is in trouble (I8)."""


class Troubles:
    """The plan of one run. Each seed has its own mixture, so that some runs are all crashes and some all paper jams."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.random: Random = world.dice("troubles")
        self.yaml: Configuration | None = None
        self._probes: list[Asked] = []
        self._probe_taps: list[tuple[str, str, float]] = []

    def plan(self) -> None:
        random, after = self.random, self.world.timeline.after
        world = self.world
        world.disk.kill_between = random.choice((0.0, 0.0, 0.01, 0.04))
        for action, most in (
            (world.guests.tap, 30),
            (world.clients.act, 28),
            (world.tills.act, world.tills.actions_max),
            (world.tills.order, world.tills.orders_max),
            (world.guests.force, 3),
            (self._crash, 3),
            (self._disk_trouble, 3),
            (self._broker_trouble, 4),
            (self._device_trouble, 6),
            (self._upstream_trouble, 3),
            (self._reload, 3),
            (self._fold, 4),
            (self._clock_jump, 2),
            (self._ntp, 1),
        ):
            for _ in range(random.randint(0, most)):
                after(random.uniform(0.0, CHAOS_S), action)
        # Some hurry: many at once find races that few in a row never show.
        for _ in range(random.randint(0, 2)):
            at_s = random.uniform(0.5, CHAOS_S)
            for _ in range(random.randint(3, 12)):
                after(at_s + random.choice((0.0, 0.001, 0.01)), random.choice((world.guests.tap, world.clients.act)))
        after(0.3, world.tills.open)
        after(CHAOS_S, self.mend)
        after(CHAOS_S + MENDED_S, self.probe)
        after(CHAOS_S + MENDED_S + PROBE_S - SENT_UP_S, world.office.mark_due)
        after(CHAOS_S + MENDED_S + PROBE_S, self.check_probes)

    # Troubles.

    def _crash(self) -> None:
        kind = self.random.random()
        if kind < 0.2:
            self.world.stop()
        else:
            self.world.kill(power_cut=kind < 0.6)

    def _disk_trouble(self) -> None:
        disk, random, after = self.world.disk, self.random, self.world.timeline.after
        kind = random.random()
        length_s = random.choice((0.05, 0.5, 2.0, 6.0))
        disk.troubled_until_s = max(disk.troubled_until_s, self.world.timeline.now_s + length_s + BACK_S)
        if kind < 0.35:
            disk.full = True
        elif kind < 0.6:
            disk.failing = True
        elif kind < 0.9:
            disk.slow_until_s = self.world.timeline.now_s + length_s
        else:
            disk.fsync_fails = True
            length_s = 0.5
        after(length_s, self._disk_mended)

    def _disk_mended(self) -> None:
        self.world.disk.full = self.world.disk.failing = self.world.disk.fsync_fails = False

    def _broker_trouble(self) -> None:
        broker, random, after = self.world.broker, self.random, self.world.timeline.after
        kind = random.random()
        if kind < 0.4:
            broker.cut()
        elif kind < 0.7:
            broker.go_down()
            after(random.choice((0.1, 1.0, 4.0)), self._broker_mended)
        elif kind < 0.85:
            broker.slow = random.choice((10.0, 100.0))
            after(random.uniform(0.1, 3.0), self._broker_mended)
        else:
            broker.frozen = True
            after(random.choice((0.5, 3.0, 12.0)), self._broker_mended)

    def _upstream_trouble(self) -> None:
        office, random = self.world.office, self.random
        kind = random.random()
        if kind < 0.4:
            office.reachable = False
        elif kind < 0.7:
            office.loses = random.choice((0.2, 0.7))
        elif kind < 0.85:
            office.hangs = 0.7
        else:
            office.forget()
        self.world.timeline.after(random.choice((0.3, 2.0, 8.0)), office.mend)

    def _broker_mended(self) -> None:
        broker = self.world.broker
        broker.up, broker.slow = True, 1.0
        if broker.frozen:
            broker.frozen = False
            # What it lost meanwhile is lost with the connection.
            broker.cut()

    def _device_trouble(self) -> None:
        random, after = self.random, self.world.timeline.after
        thing: Any = random.choice(list(self.world.things.values()))
        length_s = random.choice((0.2, 1.0, 3.0, 8.0))
        kind = random.random()
        if thing in self.world.readers.values() and kind < 0.5:
            thing.babble()
        elif kind < 0.3:
            thing.unplug()
        elif kind < 0.4:
            thing.lose(RuntimeError("a bug in a driver"))
            thing.trouble = "crash"
        elif thing in self.world.boards:
            thing.trouble = random.choice(BOARD_TROUBLES)
        elif thing in self.world.printers:
            if random.random() < 0.4:
                thing.set_paper(paper=False)
            elif random.random() < 0.4:
                thing.silent = True
            else:
                thing.trouble = random.choice(PRINTER_TROUBLES)
        thing.troubled_until_s = max(thing.troubled_until_s, self.world.timeline.now_s + length_s + BACK_S)
        after(length_s, self._device_mended, thing)

    def _device_mended(self, thing: Any) -> None:
        thing.plugged, thing.trouble = True, ""
        if thing in self.world.printers:
            thing.silent = False
            thing.set_paper(paper=True)

    def _reload(self) -> None:
        if self.world.gateway is None:
            return
        self.yaml = self.random.choice((None, venue.CONFIGURATION, venue.REVISED))
        if self.yaml is not None:
            self.yaml = self.world.of_this_run(self.yaml)
        self.world.gateway.reload()

    def _fold(self) -> None:
        """Changed state is written now, as it is four times an hour."""
        if self.world.gateway is not None:
            self.world.gateway.recorder.fold_if_due(force=True)

    def _clock_jump(self) -> None:
        """Somebody sets the clock an hour wrong, and it is set right after a while."""
        off_before_ms = self.world.machine.off_ms
        self.world.machine.jump()
        ahead = self.world.machine.off_ms > off_before_ms
        self.world.observers.faults.count("clock", "an hour ahead" if ahead else "an hour back")
        self.world.observers.note("jump", self.world.machine.off_ms)
        # Whoever comes just then has a ticket that is valid now, and would not be an hour before or after.
        reader = self.world.readers[self.random.choice(("reader-n", "reader-s"))]
        self.world.timeline.after(0.1, reader.tap, self.random.choice(venue.TIMED_CARDS))
        self.world.timeline.after(self.random.choice((0.3, 2.0, 6.0)), self._ntp)

    def _ntp(self) -> None:
        """NTP comes, where there is any."""
        if not self.world.machine.ntp:
            self.world.observers.faults.count("clock", "set right late")
        self.world.machine.comes_right()
        self.world.observers.note("ntp")

    # Whoever stands at a gate, meanwhile.

    def tapped(self, reader: str) -> None:
        """A card was held to a reader: unless something that this tap needs is in trouble, it must not wait."""
        if self._is_well(reader):
            world = self.world
            seen = world.observers.durable_seq, world.life, world.timeline.now_s
            world.timeline.after(RESPONSE_S, self._check_response, reader, *seen)

    def _is_well(self, reader: str) -> bool:
        world = self.world
        gate = venue.CONFIGURATION.gates[venue.READERS[reader]]
        needed = [world.things[gate.lock.device]] if gate.lock is not None else []
        return (
            world.gateway is not None
            and not world.stopping
            and world.disk.healthy
            and world.disk.troubled_until_s < world.timeline.now_s
            and all(one.driver is not None and one.troubled_until_s < world.timeline.now_s for one in needed)
        )

    def _check_response(self, reader: str, after_seq: int, life: int, at_s: float) -> None:
        world, observers = self.world, self.world.observers
        if world.life != life or not self._is_well(reader):
            return
        observers.stats["responses timed"] += 1
        fresh = [observers.events[seq] for seq in range(after_seq + 1, observers.durable_seq + 1)]
        decided = [event for event in fresh if event["kind"] in DECISIONS and event["source"] == reader]
        if not decided:
            observers.violated("I8", f"a tap at {reader} at {at_s:.4f} s was not decided within {RESPONSE_S} s")
        for event in decided:
            # A later tap, which this one's check also sees, may have come a moment ago.
            is_due = event["kind"] == "entry.granted" and event.get("actuates", True) and event is decided[0]
            # One that was handed back at once, because someone forced the gate, opens nothing.
            is_due = is_due and "entry.returned" not in observers.by_thing[event["entry"]]
            if is_due and event["entry"] not in observers.metal.pulsed:
                observers.violated("I8", f"{event['gate']} was not opened within {RESPONSE_S} s of a tap")

    # The end of all troubles.

    def mend(self) -> None:
        """Everything works again from here on."""
        self.world.observers.note("mended")
        self._disk_mended()
        self._ntp()
        disk = self.world.disk
        disk.slow_until_s, disk.kill_between = 0.0, 0.0
        self._broker_mended()
        self.world.office.mend()
        for thing in self.world.things.values():
            self._device_mended(thing)
        for board in self.world.boards:
            for channel in board.contacts:
                board.contact(channel, False)
        self.world.guests.patient = True
        self.world.tills.mend()

    def probe(self) -> None:
        """Ask for one of everything."""
        world = self.world
        cards = iter(venue.PROBE_CARDS)
        # The south gate waits for the guest at the other door of its interlock.
        for name, after_s in (("reader-n", 0.1), ("reader-s", 2.0)):
            world.timeline.after(after_s, self._probe_tap, name, next(cards))
        well = {"expires_in_s": 10.0, "repeats": False}
        self._probes = [
            world.clients.authenticate(next(cards), **well),
            world.clients.print("bar-tablet", "printer-1", **well),
            world.clients.print("till", "printer-2", **well),
            world.clients.open_drawer("till", **well),
            *world.tills.probe(well),
        ]

        # When whoever came first has gone through.
        world.timeline.after(4.0, self._probe_the_time, well)

    def _probe_the_time(self, well: dict[str, Any]) -> None:
        """The clock is right again, so a ticket with a time of validity counts."""
        self._probes.append(self.world.clients.authenticate(venue.TIMED_CARDS[-1], **well))

    def _probe_tap(self, reader: str, card: str) -> None:
        self.world.readers[reader].tap(card)
        self._probe_taps.append((reader, venue.READERS[reader], self.world.timeline.now_s))

    def check_probes(self) -> None:
        """Everyone who was probed must have been served."""
        world = self.world
        for asked in self._probes:
            statuses = [answer["status"] for answer in asked.answers]
            if "done" not in statuses:
                what = f"{asked.client} asked {asked.target} to {asked.verb} when all was well again: {asked.answers}"
                world.observers.violated("I8", what)
        for reader, gate, at_s in self._probe_taps:
            granted = [
                event
                for event in world.observers.events.values()
                if event["kind"].startswith("entry.") and event.get("source") == reader
            ]
            if not granted or granted[-1]["kind"] != "entry.granted":
                what = f"a tap at {gate} ({at_s:.1f} s) was refused when all was well again: {granted[-1:]}"
                world.observers.violated("I8", what)
        world.finish()
