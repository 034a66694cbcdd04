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
from tests.simulation.money import Money
from tests.simulation.timeline import Timeline

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
ENTRY_ENDS = ("entry.passed", "entry.returned", "entry.unknown")
PROOF = {
    ("accepted", "job"): ("print.queued", "print.held"),
    ("accepted", "opening"): ("drawer.opening",),
    ("done", "entry"): ("entry.granted",),
    ("denied", "entry"): ("entry.denied",),
    ("done", "job"): ("print.done", "print.cancelled"),
    ("failed", "job"): ("print.failed",),
    ("unknown", "job"): ("print.unknown",),
    ("done", "opening"): ("drawer.opened",),
    ("failed", "opening"): ("drawer.failed",),
    ("unknown", "opening"): ("drawer.unknown",),
}
"""What must be on disk before an answer may say so: status and the thing it names → the facts that prove it."""
CONVERSATIONAL = {"retained", "idempotency_conflict", "malformed", "too_large", "not_granted", "unknown_target"}
"""Refusals that speak of the message at hand, not of what became of the request whose id it bears."""


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
    """Everything that is watched in one run. `trace` is the run itself: equal traces are equal runs."""

    def __init__(
        self,
        timeline: Timeline,
        grants_of: Mapping[str, Collection[tuple[str, str]]],
        interlocked: Mapping[str, Collection[str]],
    ) -> None:
        self.timeline = timeline
        self.grants_of = grants_of
        self.interlocked = interlocked
        self.ajar: set[str] = set()
        self.unlocked_until_s: dict[str, float] = {}
        self.folder = b"/nowhere"
        self.violations: list[Violation] = []
        self.trace = sha256()
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
        self.pulsed: set[str] = set()
        self.kicked: set[str] = set()
        self.printed: Counter[str] = Counter()
        self.finals: dict[tuple[str, str], tuple[Any, ...]] = {}
        self.published: dict[int, tuple[str, bytes]] = {}
        self.arrived_seq = 0
        self.acknowledged: list[tuple[float, int]] = []
        self.cursor_written = 0
        self.stats: Counter[str] = Counter()
        self.faults = Faults()
        self.feed_floor = 0
        self.feed_begun = False
        self.money = Money(self)
        self.machine: MachineClock | None = None
        self.clock_policy = ""
        self.newest_at_ms = 0

    def note(self, what: str, *details: object) -> None:
        """Put one line into the trace."""
        line = f"{self.timeline.now_s:.6f} {what} {' '.join(map(str, details))}"
        self.trace.update(line.encode())
        if self.lines is not None:
            self.lines.append(line)

    def violated(self, invariant: str, what: str) -> None:
        self.note("VIOLATION", invariant, what)
        self.violations.append(Violation(invariant, self.timeline.now_s, what))

    # The disk.

    def written(self, rows: Any, *, durable: bool) -> None:
        for row in rows:
            self.rows[row.seq] = Row(*row[:4])
            if durable:
                self._on_disk(row)
        if rows:
            self.note("disk", rows[0].seq, rows[-1].seq, durable)

    def cursors_written(self, cursors: Any) -> None:
        for _, seq in cursors:
            self.cursor_written = seq

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

    def _check_effect(self, key: tuple[str, str], event: dict[str, Any]) -> None:
        effects = self.by_request.setdefault(key, [])
        effects.append(event)
        if event["kind"] in EFFECTS and sum(one["kind"] in EFFECTS for one in effects) > 1:
            self.violated("I2", f"request {key} had a second effect: {event['kind']}")
        target = event.get("gate") or event.get("printer") or event.get("drawer") or _target_of(event["kind"])
        verbs = EFFECTS.get(event["kind"], ())
        if verbs and not any((target, verb) in self.grants_of.get(key[0], ()) for verb in verbs):
            self.violated("I7", f"{key[0]} has no grant for what it did at {target}: {event['kind']}")

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
                self.wanted_until[event["job"]] = event["expires_at_ms"], self._clock_off_ms
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
        for seq in self.published:
            if seq not in found:
                self.violated("I5", f"row {seq} was told to the world and is lost")
                break
        link = GENESIS
        for number, row in enumerate(rows, 1):
            link = chain(link, Row(*row[:4]))
            if row[0] != number or row[4] != link:
                self.violated("I5", f"the chain of the journal breaks at row {row[0]}")
                break
        self.rows = {seq: row for seq, row in self.rows.items() if seq in found}
        # What survived is on disk now, whether or not anyone was told.
        for seq in range(self.durable_seq + 1, len(rows) + 1):
            self.rows[seq] = found[seq]
            self._on_disk(found[seq])

    # The metal.

    def contact(self, gate: str, *, active: bool) -> None:
        """A gate was pushed open, or fell shut."""
        (self.ajar.add if active else self.ajar.discard)(gate)

    def pulse(self, gate: str, pulse_s: float) -> str | None:
        """A lock is told to open for a time: for which durable grant? Returns its entry."""
        self.note("pulse", gate)
        self.stats["pulses"] += 1
        self._check_interlock(gate, pulse_s)
        open_grants = [
            one
            for one in self.grants.get(gate, ())
            if one["entry"] not in self.pulsed and not self.by_thing[one["entry"]].intersection(ENTRY_ENDS)
        ]
        if not open_grants:
            self.violated("I1", f"{gate} was opened with no grant on disk that is still open")
            return None
        grant = open_grants[-1]
        self.pulsed.add(grant["entry"])
        request = grant.get("request")
        asked = self.asked.get((request["client"], request["id"])) if request else None
        if asked is not None and self._is_over(asked.expires_at_ms, grant):
            self.violated("I6", f"{gate} was opened for a request that had expired")
        return str(grant["entry"])

    def _check_interlock(self, gate: str, pulse_s: float) -> None:
        now_s = self.timeline.now_s
        for other in self.interlocked.get(gate, ()):
            if other in self.ajar or self.unlocked_until_s.get(other, 0.0) > now_s:
                self.violated("interlock", f"{gate} was opened while {other} stood open")
        self.unlocked_until_s[gate] = now_s + pulse_s

    def _is_over(self, expires_at_ms: int | None, event: dict[str, Any]) -> bool:
        """A gateway that took a request in doubt about the time may be late by as much as the machine was off.

        Whether it had reason to doubt is looked at when the event reaches the disk.
        """
        knew = event.get("clock") != "untrusted"
        return knew and expires_at_ms is not None and expires_at_ms <= self.timeline.now_ms

    def kick(self, drawer: str) -> None:
        self.note("kick", drawer)
        self.stats["kicks"] += 1
        ends = {"drawer.opened", "drawer.failed", "drawer.unknown"}
        waiting = [one for one in self.openings.get(drawer, ()) if one not in self.kicked]
        waiting = [one for one in waiting if not self.by_thing[one] & ends]
        if not waiting:
            self.violated("I1", f"{drawer} was pulsed with no opening on disk that waits for it")
            return
        self.kicked.add(waiting[-1])
        for key, effects in self.by_request.items():
            opening = next((event for event in effects if event.get("opening") == waiting[-1]), None)
            if opening is not None:
                expires = self.asked[key].expires_at_ms if key in self.asked else None
                if self._is_over(expires, opening):
                    self.violated("I6", f"{drawer} was opened for a request that had expired")

    def paper(self, printer: str, data: bytes) -> None:
        """Bytes of a job begin to reach the paper. Each job's text holds `client/id` of its request once."""
        key = data.decode().partition("#")[2].partition("#")[0]
        self.note("paper", printer, key, sha256(data).hexdigest()[:12])
        self.stats["papers"] += 1
        client, _, request_id = key.partition("/")
        jobs = {event["job"] for event in self.by_request.get((client, request_id), ()) if "job" in event}
        begun, is_copy = self.printing.get(printer), data.startswith(b"KOPIE")
        if begun is None or not (is_copy or begun in jobs):
            self.violated("I1", f"{key} is being printed and its start is not on disk")
        elif self._nobody_wants(begun):
            self.violated("I6", f"{key} is being printed although its time is over")
        if is_copy:
            return
        self.printed[key] += 1
        if self.printed[key] > 1:
            self.violated("I2", f"{key} was printed twice")

    @property
    def _clock_off_ms(self) -> int:
        return self.machine.off_ms if self.machine is not None else 0

    def _nobody_wants(self, job: str) -> bool:
        """Whether a job's time is over, by the true time and the machine's; False where that was set meanwhile."""
        now_ms = self.timeline.now_ms
        until_ms, off_ms = self.wanted_until.get(job, (now_ms + 1, 0))
        return off_ms == self._clock_off_ms and until_ms <= min(now_ms, now_ms + off_ms)

    # The wire.

    def seen(self, where: str, text: bytes) -> None:
        if CARD_MARK in text.upper():
            self.violated("I12", f"a card number stands in {where}")

    def told(self, topic: str, payload: bytes, *, retain: bool) -> None:
        """The gateway begins to send a message."""
        base, _, name = topic.partition("/sim/")
        del base
        self.seen(f"a message on {name}", payload)
        # Errors of the disk name its files, which are no part of the run.
        self.note("told", name, sha256(payload.replace(self.folder, b"")).hexdigest()[:12], retain)
        if name == "events":
            entries = msgspec.json.decode(payload)
            self._check_resumption(entries[0]["seq"])
            for entry in entries:
                self._check_told(entry)
        elif name.startswith("clients/") and name.endswith("/responses"):
            self._check_answer(name.split("/")[1], msgspec.json.decode(payload))

    def told_upstream(self, events: list[dict[str, Any]], parts: Collection[bytes]) -> None:
        """The gateway begins to send these CloudEvents up: each is a row that is on disk, in its own words."""
        for part in parts:
            self.seen("an event that went up", part)
        for event in events:
            seq = int(event["sequence"])
            row = self.rows.get(seq)
            if seq > self.durable_seq or row is None:
                self.violated("I1", f"row {seq} went up and is not on disk")
            elif event["id"].replace("-", "") != row.id.hex() or event["data"] != self.events[seq]:
                self.violated("I5", f"row {seq} went up with another id or other words than are on disk")
        self.note("up", [event["sequence"] for event in events])

    def _check_resumption(self, seq: int) -> None:
        """A new life begins the feed where its cursor is, and that is at most some seconds old."""
        if not self.feed_begun and seq <= self.feed_floor:
            what = f"the feed began again at row {seq}, and row {self.feed_floor} was acknowledged long before"
            self.violated("I5", what)
        self.feed_begun = True

    def life_ended(self, cursors_older_s: float | None) -> None:
        """Where the next life may begin the feed at the earliest: what was acknowledged so long ago is on disk.

        None for a death after which nothing is known of the cursor.
        """
        if cursors_older_s is not None:
            until_s = self.timeline.now_s - cursors_older_s
            self.feed_floor = max([self.feed_floor, *(seq for at_s, seq in self.acknowledged if at_s <= until_s)])
        self.acknowledged.clear()
        self.feed_begun = False
        # A pulse is over before the next life has read its journal.
        self.unlocked_until_s.clear()

    def _check_told(self, entry: dict[str, Any]) -> None:
        seq = entry["seq"]
        row = self.rows.get(seq)
        if seq > self.durable_seq or row is None:
            self.violated("I1", f"row {seq} was published and is not on disk")
            return
        identity = entry["id"], row.body
        if row.id.hex() != entry["id"].replace("-", "") or self.published.setdefault(seq, identity) != identity:
            self.violated("I5", f"row {seq} was published under another id")
        event = entry.copy()
        for name in ("seq", "id", "at"):
            event.pop(name, None)
        if event != self.events[seq]:
            self.violated("I5", f"row {seq} was published with other words than are on disk")

    def arrived(self, seqs: list[int]) -> None:
        """The broker has these rows of the feed, and with it every subscriber."""
        if seqs[0] > self.arrived_seq + 1 or seqs != list(range(seqs[0], seqs[0] + len(seqs))):
            self.violated("I5", f"the feed went from row {self.arrived_seq} to {seqs[0]}")
        self.stats["feed repeats"] += seqs[0] <= self.arrived_seq
        self.arrived_seq = max(self.arrived_seq, seqs[-1])

    def _check_answer(self, client: str, answer: dict[str, Any]) -> None:
        key = client, answer["id"]
        self.stats[f"answer {answer['status']}"] += 1
        if (asked := self.asked.get(key)) is not None:
            asked.answers.append(answer)
        for entry in answer.get("data", {}).get("entries", ()):
            self._check_told(entry)
        thing = next((name for name in ("entry", "job", "opening") if name in answer.get("data", {})), None)
        if thing is not None:
            self._check_proof(key, answer, thing)
        self._check_final(key, answer, thing)
        self.money.answered(key, answer)

    def _check_proof(self, key: tuple[str, str], answer: dict[str, Any], thing: str) -> None:
        """What an answer says of an entry, a job or an opening stands on the disk."""
        status, named = answer["status"], answer["data"][thing]
        kinds = {event["kind"] for event in self.by_request.get(key, ()) if event.get(thing) == named}
        if not kinds.intersection(PROOF.get((status, thing), ())) and answer.get("reason") != "wrong_job_state":
            self.violated("I1", f"{key} was answered {status} of {thing} and nothing on disk says so")

    def _check_final(self, key: tuple[str, str], answer: dict[str, Any], thing: str | None) -> None:
        """Once told what became of it, a client is never told anything else."""
        status, reason = answer["status"], answer.get("reason")
        if reason == "storage_unavailable" and thing is None:
            if any(event["kind"] in EFFECTS for event in self.by_request.get(key, ())):
                self.violated("I2", f"{key} was told that nothing was stored, and its effect is on disk")
        elif status == "denied" and thing != "entry":
            # Such a refusal is nowhere recorded, so the same request may find a better moment later; but not once done.
            if key in self.finals and reason not in CONVERSATIONAL:
                self.violated("I2", f"{key} was answered {self.finals[key]} and then {reason}")
        elif status != "accepted" and thing is not None:
            final = status, reason, answer["data"][thing]
            if self.finals.setdefault(key, final) != final:
                self.violated("I2", f"{key} was answered {self.finals[key]} and then {final}")

    def acknowledged_feed(self, last_seq: int) -> None:
        """The gateway's side has the broker's acknowledgement of the feed up to `last_seq`."""
        self.acknowledged.append((self.timeline.now_s, last_seq))


class _Numbered(msgspec.Struct):
    seq: int


_decode_numbered = msgspec.json.Decoder(list[_Numbered]).decode


def feed_seqs(payload: bytes) -> list[int]:
    """The numbers in a message of the feed."""
    return [entry.seq for entry in _decode_numbered(payload)]


def _target_of(kind: str) -> str:
    return "wallet" if kind.startswith("wallet.") else "gateway"
