"""Those who watch from outside and believe only the disk, the wire and the metal.

They know what was committed from the disk's side, what was told from the broker's side and what moved from the devices'
side, and hold the three against each other. What they find is a `Violation` that names the invariant.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Mapping
from hashlib import sha256
from typing import TYPE_CHECKING, Any

import msgspec

from gateway.config.schema import VERBS
from gateway.store.rows import GENESIS, Row, chain
from tests.simulation.faults import Faults
from tests.simulation.metal import Metal
from tests.simulation.money import Money
from tests.simulation.timeline import Timeline
from tests.simulation.wire import Wire

if TYPE_CHECKING:
    from tests.simulation.clock import MachineClock

CARD_MARK = b"SECRET-CARD-"
"""Part of every card number of this world, and of nothing else in it."""
QUEUE_JOBS = 4
SETTLED_S = 9.0
"""After so long under NTP everything that was recorded before is on disk, and nothing new is in doubt."""
EFFECTS = {
    "entry.granted": ("authenticate", "override"),
    "entry.denied": ("authenticate", "override"),
    "print.queued": ("print", "reprint"),
    "print.cancelled": ("cancel",),
    "drawer.opening": ("open",),
    "wallet.transferred": VERBS["wallet"],
    "wallet.held": ("hold",),
    "wallet.cancelled": ("cancel",),
    "zone.locked_down": ("lock_down",),
    "zone.released": ("emergency_release",),
    "zone.restored": ("restore",),
    "credential.blocked": ("block",),
    "credential.unblocked": ("unblock",),
}
"""Facts that are what a request brought about; each request brings about at most one. With the verbs that may do so."""


class Violation(AssertionError):
    """An invariant does not hold."""

    def __init__(self, invariant: str, at_s: float, what: str) -> None:
        super().__init__(f"{invariant} at {at_s:.4f} s: {what}")
        self.invariant = invariant


class Asked(msgspec.Struct):
    """A request as its client sent it first."""

    client: str
    id: str
    target: str
    verb: str
    expires_at_ms: int | None
    sent_s: float
    answers: list[dict[str, Any]] = []


class Observers:
    """Everything that is watched in one run. The disk it watches itself, the rest through others."""

    def __init__(
        self,
        timeline: Timeline,
        grants_of: Mapping[str, Collection[tuple[str, str]]],
        interlocked: Mapping[str, Collection[str]],
    ) -> None:
        self.timeline = timeline
        self.grants_of = grants_of
        self.folder = b"/nowhere"
        self.violations: list[Violation] = []
        self._trace: list[tuple[object, ...]] = []
        self.lines: list[str] | None = None
        self.rows: dict[int, Row] = {}
        self.durable_seq = 0
        self.events: dict[int, dict[str, Any]] = {}
        self.by_request: dict[tuple[str, str], list[dict[str, Any]]] = {}
        self.by_thing: dict[str, set[str]] = {}
        self.grants: dict[str, list[dict[str, Any]]] = {}
        self.openings: dict[str, list[str]] = {}
        self.asked: dict[tuple[str, str], Asked] = {}
        self.used: Counter[str] = Counter()
        self.taken: dict[str, bool] = {}
        self.waiting: dict[str, set[str]] = {}
        self.printing: dict[str, str] = {}
        self.wanted_until: dict[str, tuple[int, int]] = {}
        """For each job the end of its time, and how wrong the machine's clock was when it was queued; none
        that was queued while nobody vouched for the time."""
        self.stats: Counter[str] = Counter()
        self.faults = Faults()
        self.money = Money(self)
        self.metal = Metal(self, interlocked)
        self.wire = Wire(self)
        self.machine: MachineClock | None = None
        self.clock_policy = ""
        self.newest_at_ms = 0

    def note(self, what: str, *details: object) -> None:
        """Put one line into the trace. Details are what msgpack can hold."""
        self._trace.append((self.timeline.now_s, what, details))
        if self.lines is not None:
            self.lines.append(f"{self.timeline.now_s:.6f} {what} {' '.join(map(_shown, details))}")

    @property
    def digest(self) -> str:
        """The hash of the whole trace: equal digests are equal runs."""
        return sha256(msgspec.msgpack.encode(self._trace)).hexdigest()[:16]

    def violated(self, invariant: str, what: str) -> None:
        self.note("VIOLATION", invariant, what)
        self.violations.append(Violation(invariant, self.timeline.now_s, what))

    def seen(self, where: str, text: bytes) -> None:
        if CARD_MARK in text.upper():
            self.violated("I12", f"a card number stands in {where}")

    # The disk.

    def written(self, rows: Any, *, durable: bool) -> None:
        for row in rows:
            self.rows[row.seq] = Row(*row[:4])
            if durable:
                self._on_disk(row)
        if rows:
            self.note("disk", rows[0].seq, rows[-1].seq, durable)

    def _on_disk(self, row: Any) -> None:
        self.durable_seq = row.seq
        event = self.events[row.seq] = msgspec.json.decode(row.body)
        kind = event["kind"]
        self.stats[kind] += 1
        for thing in ("entry", "job", "opening"):
            if thing in event:
                self.by_thing.setdefault(event[thing], set()).add(kind)
        self._check_clock(row, event)
        if (request := event.get("request")) is not None:
            self._check_effect((request["client"], request["id"]), event)
        if kind == "entry.granted" and event.get("actuates", True):
            self.grants.setdefault(event["gate"], []).append(event)
        if kind == "drawer.opening":
            self.openings.setdefault(event["drawer"], []).append(event["opening"])
        if kind.startswith("entry."):
            self._check_single_use(event)
        if kind.startswith("print."):
            self._check_queue(event)
        self.money.on_disk(event)

    def _check_clock(self, row: Any, event: dict[str, Any]) -> None:
        """Time does not go back, and while nobody can have vouched for it, it is neither believed nor unmarked."""
        if row.at_ms < self.newest_at_ms:
            self.violated("I10", f"row {row.seq} is from before row {row.seq - 1}")
        self.newest_at_ms = row.at_ms
        machine = self.machine
        if machine is None:
            return
        timed = event["kind"] == "entry.granted" and event["zone"] and event["entitlement"].startswith("timed-")
        marked, flagged = event.get("clock") == "untrusted", "clock_untrusted" in event.get("flags", ())
        refused = event.get("reason") in ("expired", "not_yet_valid") and str(event["holder"]).startswith("timed-")
        if refused and not marked and machine.vouched and not machine.battery:
            self.violated("I10", f"a time that was vouched for was given up for one that was set: {event}")
        if not machine.vouched:
            if not marked:
                self.violated("I10", f"row {row.seq} ({event['kind']}) is not marked, and nobody vouched for the time")
            if timed and (self.clock_policy == "deny" or flagged != (self.clock_policy == "flag")):
                self.violated("I10", f"a timed ticket was admitted against the policy {self.clock_policy}: {event}")
        elif machine.settled_s is not None and self.timeline.now_s - machine.settled_s > SETTLED_S and marked:
            self.violated("I10", f"row {row.seq} ({event['kind']}) is marked although NTP has long been there")

    @property
    def clock_off_ms(self) -> int:
        return self.machine.off_ms if self.machine is not None else 0

    def _check_effect(self, key: tuple[str, str], event: dict[str, Any]) -> None:
        effects = self.by_request.setdefault(key, [])
        effects.append(event)
        if event["kind"] in EFFECTS and sum(one["kind"] in EFFECTS for one in effects) > 1:
            self.violated("I2", f"request {key} had a second effect: {event['kind']}")
        target = event.get("gate") or event.get("printer") or event.get("drawer") or _target_of(event["kind"])
        verbs = EFFECTS.get(event["kind"], ())
        if verbs and not any((target, verb) in self.grants_of.get(key[0], ()) for verb in verbs):
            self.violated("I7", f"{key[0]} has no grant for what it did at {target}: {event['kind']}")

    def has_effect(self, key: tuple[str, str]) -> bool:
        """Whether a request brought something about, by the disk."""
        return any(event["kind"] in EFFECTS for event in self.by_request.get(key, ()))

    def _check_single_use(self, event: dict[str, Any]) -> None:
        entitlement = event.get("entitlement", "")
        if not entitlement.startswith("single-"):
            return
        if event["kind"] == "entry.granted":
            self.taken[event["entry"]] = event["uses"] > event.get("uses_before", 0)
            self.used[entitlement] += self.taken[event["entry"]]
        elif event["kind"] == "entry.returned":
            self.used[entitlement] -= self.taken.pop(event["entry"], False)
        if self.used[entitlement] > 1:
            self.violated("I4", f"{entitlement} admitted {self.used[entitlement]} times")

    def _check_queue(self, event: dict[str, Any]) -> None:
        jobs = self.waiting.setdefault(event["printer"], set())
        if event["kind"] == "print.started":
            self.printing[event["printer"]] = event["job"]
        elif self.printing.get(event["printer"]) == event["job"]:
            del self.printing[event["printer"]]
        if event["kind"] == "print.queued":
            jobs.add(event["job"])
            if event.get("clock") != "untrusted":
                self.wanted_until[event["job"]] = event["expires_at_ms"], self.clock_off_ms
        elif event["kind"] in ("print.done", "print.failed", "print.unknown"):
            jobs.discard(event["job"])
        if len(jobs) > QUEUE_JOBS:
            self.violated("I9", "more jobs wait for a printer than its queue may hold")

    def opened_image(self, rows: list[tuple[int, bytes, int, bytes, bytes]], *, power_cut: bool) -> None:
        """Compare what the next life will find with what was there and what was told."""
        found = {row[0]: Row(*row[:4]) for row in rows}
        for seq in range(1, (self.durable_seq if power_cut else max(self.rows, default=0)) + 1):
            if found.get(seq) != self.rows.get(seq):
                self.violated("I1", f"row {seq} was on disk before the crash and is not what it was after it")
                break
        for seq in self.wire.published:
            if seq not in found:
                self.violated("I5", f"row {seq} was told to the world and is lost")
                break
        link = GENESIS
        for number, row in enumerate(rows, 1):
            link = chain(link, found[row[0]])
            if row[0] != number or row[4] != link:
                self.violated("I5", f"the chain of the journal breaks at row {row[0]}")
                break
        self.rows = {seq: row for seq, row in self.rows.items() if seq in found}
        # What survived is on disk now, whether or not anyone was told.
        for seq in range(self.durable_seq + 1, len(rows) + 1):
            self.rows[seq] = found[seq]
            self._on_disk(found[seq])


def _shown(detail: object) -> str:
    return sha256(detail).hexdigest()[:12] if isinstance(detail, bytes) else str(detail)


def _target_of(kind: str) -> str:
    return "wallet" if kind.startswith("wallet.") else "gateway"
