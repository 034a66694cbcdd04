"""The venue's state in memory. `VenueState.apply(event)` is its only mutation.

What changes per guest lives here; what a million guests have in common stays in the directory. Each part can be written
to `(kind, key, value)` rows and read back, so that a start needs only those rows and the journal's tail. Events carry
values *after* the change, so applying a stretch of them again over newer rows ends in the same state.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, MutableMapping
from typing import Any, Literal

import msgspec

from gateway.domain import above, bench, ledger, redemptions, shifts, state_parts
from gateway.domain import allowance_events as a
from gateway.domain import clock_events as c
from gateway.domain import events as e
from gateway.domain import shift_events as s
from gateway.domain import wallet_events as w
from gateway.domain import zone_events as z
from gateway.domain.access import DayUses, Presence, Whereabouts, ZoneMap
from gateway.domain.answers import Answer, first_answer, later_answer
from gateway.domain.clock import Doubt, Standing
from gateway.domain.state_parts import DrawerState, GateState, GateStatus, Job, JobStatus, OpenEntry, StoredAnswer
from gateway.domain.zones import Block, Closure, block_key, is_reset

__all__ = ["DrawerState", "GateState", "GateStatus", "Job", "OpenEntry", "StoredAnswer", "VenueState"]

FINISHED_JOBS_KEPT = 200
"""How many finished print jobs stay known for a status query or a reprint."""

Answered = tuple[e.RequestRef, Answer]
_ROW_TYPES: dict[str, Any] = {
    "use": int,
    "day_use": DayUses,
    "where": Whereabouts,
    "closure": Closure,
    "block": Block,
    "counter": int,
    "entry": OpenEntry,
    "gate": GateState,
    "job": Job,
    "drawer": DrawerState,
    "request": StoredAnswer,
    **ledger.ROW_TYPES,
    **redemptions.ROW_TYPES,
    **bench.ROW_TYPES,
    **shifts.ROW_TYPES,
    **above.ROW_TYPES,
    "clock": Standing,
}
ON_DISK: frozenset[str] = frozenset({"request", *ledger.ON_DISK, *redemptions.ON_DISK, *shifts.ON_DISK})
"""Kinds of rows that only grow: once stored they are looked up by key and leave the memory."""


def request_key(client: str, request_id: str) -> str:
    """Return the key under which a client's request id is stored; no two clients share one."""
    return f"{client}\x1f{request_id}"


class VenueState:
    """Everything that decisions need besides the directory and the configuration."""

    def __init__(self, zones: ZoneMap) -> None:
        """Begin with an empty venue."""
        self.zones = zones
        self.clear()

    def clear(self) -> None:
        """Forget everything, before a rebuild from disk."""
        self.uses: dict[str, int] = {}
        self.day_uses: dict[str, DayUses] = {}
        self.where: dict[str, Whereabouts] = {}
        self.closures: dict[str, Closure] = {}
        self.blocks: dict[str, Block] = {}
        self.counters: dict[str, int] = {}
        self.occupancy: Counter[str] = Counter()
        self.entries: dict[str, OpenEntry] = {}
        self.gates: dict[str, GateState] = {}
        self.jobs: dict[str, Job] = {}
        self.drawers: dict[str, DrawerState] = {}
        self.requests: dict[str, StoredAnswer] = {}
        self.ledger = ledger.Ledger(self._touch)
        self.redemptions = redemptions.Redemptions(self._touch, self._set_uses, self._set_day_uses)
        self.bench = bench.Bench(self._touch)
        self.shifts = shifts.Shifts(self._touch)
        self.above = above.Above(self._touch)
        self.clocks: dict[str, Standing] = {}
        self.dirty: set[tuple[str, str]] = set()
        self.dropped_jobs: list[str] = []
        self._tables: dict[str, MutableMapping[str, Any]] = {
            "use": self.uses,
            "day_use": self.day_uses,
            "where": self.where,
            "closure": self.closures,
            "block": self.blocks,
            "counter": self.counters,
            "entry": self.entries,
            "gate": self.gates,
            "job": self.jobs,
            "drawer": self.drawers,
            "request": self.requests,
            "clock": self.clocks,
            **self.ledger.tables,
            **self.redemptions.tables,
            **self.bench.tables,
            **self.shifts.tables,
            **self.above.tables,
        }

    def set_zones(self, zones: ZoneMap) -> None:
        """Take a new zone map and count everyone again under it."""
        self.zones = zones
        self.occupancy = Counter()
        for here in self.where.values():
            self.occupancy.update(zones.path(here.zone))

    def presence(self, holder: str, credential: str = "", doubt: Doubt | None = None) -> Presence:
        """Return what a decision about `holder`, who shows the credential of this reference, needs to know."""
        blocked = bool(self.blocks) and self.is_blocked(credential, holder)
        return Presence(self.where.get(holder), self.uses, self.occupancy, self.day_uses, blocked, doubt)

    def is_blocked(self, credential: str, holder: str) -> bool:
        """Return True when the venue's own block list names the credential or its holder."""
        return block_key(credential, "") in self.blocks or block_key("", holder) in self.blocks

    def gate(self, name: str) -> GateState:
        """Return a gate's state; a gate nobody has used yet is locked."""
        return self.gates.setdefault(name, GateState())

    def drawer(self, name: str) -> DrawerState:
        """Return a drawer's state."""
        return self.drawers.setdefault(name, DrawerState())

    def jobs_for(self, printer: str) -> list[Job]:
        """Return the open jobs of one printer, oldest first: job ids sort in the order they were given."""
        found = [job for job in self.jobs.values() if job.open and job.queued.printer == printer]
        return sorted(found, key=lambda job: job.queued.job)

    def apply(self, event: e.AnyEvent, at_ms: int = 0) -> Answered | None:
        """Take one fact of `at_ms` in. Returns the request it answers and the answer, if it answers one."""
        request: e.RequestRef | None = getattr(event, "request", None)
        change = _CHANGES.get(type(event))
        if change is not None:
            change(self, event)
        if request is None:
            return None
        answer = first_answer(event) or later_answer(event)
        if answer is None:
            return None
        key = request_key(request.client, request.id)
        self.requests[key] = StoredAnswer(request.fingerprint, answer, at_ms)
        self._touch("request", key)
        return request, answer

    # Whereabouts and uses.

    def _granted(self, event: e.EntryGranted) -> None:
        self._set_uses(event.entitlement, event.uses)
        self._set_day_uses(event.entitlement, event.day, event.uses_today)
        self._move(event.holder, event.zone or None, event.entitlement, event.since_ms)
        if event.uses == event.uses_before:
            state_parts.follow(self.entries, event, self._touch, follows=True)
        if event.actuates:
            self.entries[event.entry] = OpenEntry(event)
            self._touch("entry", event.entry)
        if event.passage_observed:
            self._set_gate(event.gate, "released", event.entry)

    def _released(self, event: e.GateReleased) -> None:
        entry = self.entries.get(event.entry)
        if entry is None:
            return
        if entry.granted.passage_observed:
            entry.released = True
            self._touch("entry", event.entry)
        else:
            self._close_entry(event.entry, event.gate)

    def _ended(self, event: e.EntryPassed | e.EntryUnknown) -> None:
        self._close_entry(event.entry, event.gate)

    def _returned(self, event: e.EntryReturned) -> None:
        self._set_uses(event.entitlement, event.uses)
        self._set_day_uses(event.entitlement, event.day, event.uses_today)
        self._move(event.holder, event.zone, event.zone_entitlement or "", event.zone_since_ms)
        state_parts.follow(self.entries, event, self._touch, follows=False)
        self._close_entry(event.entry, event.gate)

    def _close_entry(self, entry: str, gate: str) -> None:
        self.entries.pop(entry, None)
        self._touch("entry", entry)
        state = self.gate(gate)
        if state.entry == entry:
            self._set_gate(gate, "locked" if state.status == "released" else state.status, None)

    def _set_uses(self, entitlement: str, uses: int) -> None:
        if entitlement and self.uses.get(entitlement, 0) != uses:
            self.uses[entitlement] = uses
            self._touch("use", entitlement)

    def _set_day_uses(self, entitlement: str, day: str, uses: int) -> None:
        if not entitlement or not day:
            return
        counted = DayUses(day, uses)
        if self.day_uses.get(entitlement) != counted:
            self.day_uses[entitlement] = counted
            self._touch("day_use", entitlement)

    def _move(self, holder: str, zone: str | None, entitlement: str, since_ms: int) -> None:
        if not holder:
            return
        before = self.where.pop(holder, None)
        if before is not None:
            self._count(before.zone, -1)
        if zone is not None:
            self.where[holder] = Whereabouts(zone, entitlement, since_ms)
            self._count(zone, 1)
        self._touch("where", holder)

    def _count(self, zone: str, guests: int) -> None:
        # Counter's own methods take five times as long for two zones.
        for around in self.zones.path(zone):
            self.occupancy[around] += guests

    # Zones and blocks.

    def _closed(self, event: z.ZoneLockedDown | z.ZoneReleased) -> None:
        kind: Literal["lockdown", "emergency"] = "emergency" if isinstance(event, z.ZoneReleased) else "lockdown"
        self._put("closure", event.zone, Closure(kind, event.client, event.reason))

    def _restored(self, event: z.ZoneRestored) -> None:
        self.closures.pop(event.zone, None)
        self._touch("closure", event.zone)

    def _reset(self, event: z.ZoneReset) -> None:
        gone = [holder for holder, here in self.where.items() if is_reset(here, event)]
        for holder in gone:
            self._move(holder, None, "", 0)

    def _blocked(self, event: z.CredentialBlocked) -> None:
        self._put("block", block_key(event.credential, event.holder), Block(event.client, event.reason))

    def _unblocked(self, event: z.CredentialUnblocked) -> None:
        key = block_key(event.credential, event.holder)
        self.blocks.pop(key, None)
        self._touch("block", key)

    # Gates.

    def _set_gate(self, name: str, status: GateStatus, entry: str | None, fault: str | None = None) -> None:
        gate = self.gate(name)
        gate.status, gate.entry, gate.fault = status, entry, fault
        self._touch("gate", name)

    def _locked(self, event: e.GateClosed | e.GateRestored) -> None:
        self._set_gate(event.gate, "locked", None)

    def _fault(self, event: e.GateFault) -> None:
        self._set_gate(event.gate, "fault", None, event.why)

    # Printing.

    def _job(self, job_id: str, status: JobStatus, why: str = "") -> None:
        job = self.jobs.get(job_id)
        if job is None:
            return
        job.status, job.why = status, why
        self._touch("job", job_id)
        if not job.open:
            self._forget_old_jobs()

    def _forget_old_jobs(self) -> None:
        # By id and not by when they ended, so that a replay over newer rows forgets the same ones.
        finished = sorted(job_id for job_id, job in self.jobs.items() if not job.open)
        for job_id in finished[: max(0, len(finished) - FINISHED_JOBS_KEPT)]:
            del self.jobs[job_id]
            self._touch("job", job_id)
            self.dropped_jobs.append(job_id)

    # Drawers.

    def _opening(self, event: e.DrawerOpening) -> None:
        self.drawer(event.drawer).openings[event.opening] = event
        self.shifts.drawer_opened(event.in_shift, event.client, event.reason)
        self._touch("drawer", event.drawer)

    def _opening_ended(self, event: e.DrawerOpened | e.DrawerFailed | e.DrawerUnknown) -> None:
        self.drawer(event.drawer).openings.pop(event.opening, None)
        self._touch("drawer", event.drawer)

    def _drawer_forced(self, event: e.DrawerForced) -> None:
        self._drawer_alarm(event.drawer, "forced")
        self.shifts.drawer_opened(event.in_shift, shifts.NOBODY, "")

    def _transferred(self, event: w.WalletTransferred) -> None:
        self.ledger.transferred(event)
        self.shifts.booked(event.booked)

    def _cash_moved(self, event: s.ShiftCashMoved) -> None:
        self.ledger.cash_moved(event)
        self.shifts.booked(event.booked)

    def _drawer_alarm(self, name: str, alarm: Literal["", "forced", "left_open"]) -> None:
        self.drawer(name).alarm = alarm
        self._touch("drawer", name)

    # The clock.

    @property
    def clock(self) -> Standing | None:
        """What was last said of the clock: that it is vouched for, or in doubt; None where nobody said anything."""
        return self.clocks.get("")

    def _clock(self, event: Standing) -> None:
        self.clocks[""] = event
        self._touch("clock", "")

    # Rows.

    def _put(self, kind: str, key: str, value: object) -> None:
        self._tables[kind][key] = value
        self._touch(kind, key)

    def _touch(self, kind: str, key: str) -> None:
        self.dirty.add((kind, key))

    def row(self, kind: str, key: str) -> bytes | None:
        """Return the stored form of one part of the state; None where it is gone and the row can go too."""
        value = self._tables[kind].get(key)
        return None if value is None else msgspec.json.encode(value)

    def load_row(self, kind: str, key: str, value: bytes) -> None:
        """Take back a row written by an earlier run. Kinds of a later version are left alone."""
        row_type = _ROW_TYPES.get(kind)
        if row_type is None:
            return
        self._tables[kind][key] = msgspec.json.decode(value, type=row_type)
        if kind == "where":
            self.occupancy.update(self.zones.path(self.where[key].zone))

    def forget(self, kind: str, key: str) -> None:
        """Drop a row of a kind `ON_DISK` from memory once it is stored, where whoever needs it will find it."""
        self._tables[kind].pop(key, None)


_CHANGES: dict[type, Callable[[VenueState, Any], None]] = {
    e.EntryGranted: VenueState._granted,
    e.GateReleased: VenueState._released,
    e.EntryPassed: VenueState._ended,
    e.EntryReturned: VenueState._returned,
    e.EntryUnknown: VenueState._ended,
    e.GateForced: lambda state, event: state._set_gate(event.gate, "forced", None),
    e.GateHeldOpen: lambda state, event: state._set_gate(event.gate, "held_open", None),
    e.GateClosed: VenueState._locked,
    e.GateFault: VenueState._fault,
    e.GateRestored: VenueState._locked,
    z.ZoneLockedDown: VenueState._closed,
    z.ZoneReleased: VenueState._closed,
    z.ZoneRestored: VenueState._restored,
    z.ZoneReset: VenueState._reset,
    z.CredentialBlocked: VenueState._blocked,
    z.CredentialUnblocked: VenueState._unblocked,
    z.CredentialCounted: lambda state, event: state._put("counter", event.credential, event.counter),
    e.PrintQueued: lambda state, event: state._put("job", event.job, Job(event)),
    e.PrintStarted: lambda state, event: state._job(event.job, "printing"),
    e.PrintHeld: lambda state, event: state._job(event.job, "held", event.why),
    e.PrintDone: lambda state, event: state._job(event.job, "done"),
    e.PrintFailed: lambda state, event: state._job(event.job, "failed", event.message),
    e.PrintUnknown: lambda state, event: state._job(event.job, "unknown", event.message),
    e.DrawerOpening: VenueState._opening,
    **dict.fromkeys((e.DrawerOpened, e.DrawerFailed, e.DrawerUnknown), VenueState._opening_ended),
    e.DrawerForced: VenueState._drawer_forced,
    e.DrawerLeftOpen: lambda state, event: state._drawer_alarm(event.drawer, "left_open"),
    e.DrawerClosed: lambda state, event: state._drawer_alarm(event.drawer, ""),
    c.ClockVouched: VenueState._clock,
    c.ClockDoubted: VenueState._clock,
    w.WalletArmed: lambda state, event: state.ledger.armed_for(event),
    w.WalletTransferred: VenueState._transferred,
    s.ShiftOpened: lambda state, event: state.shifts.opened(event),
    s.ShiftCashMoved: VenueState._cash_moved,
    s.ShiftCounted: lambda state, event: state.shifts.counted(event),
    s.ShiftClosed: lambda state, event: state.shifts.closed(event),
    s.ShiftReported: lambda state, event: state.shifts.reported(event),
    w.WalletHeld: lambda state, event: state.ledger.held(event),
    w.WalletHoldEnded: lambda state, event: state.ledger.hold_ended(event),
    w.WalletDenied: lambda state, event: state.ledger.ended(event),
    w.WalletFailed: lambda state, event: state.ledger.ended(event),
    w.WalletShown: lambda state, event: state.ledger.ended(event),
    w.WalletContact: lambda state, event: state.ledger.contacted(event),
    **redemptions.CHANGES,
    **bench.CHANGES,
    **above.CHANGES,
    a.AllowanceBookOpened: lambda state, event: state.ledger.book_opened(event),
    a.AllowanceChanged: lambda state, event: state.ledger.allowance_changed(event),
}
"""What each fact changes; facts that are only told (devices, configuration, …) are not in it."""
