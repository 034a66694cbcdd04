"""A gate is more than a relay: what its contact and its clock mean for the passage it was released for.

`locked → released → passed | handed back → locked`, and beside it `forced`, `held_open` and `fault`. Every function
looks at the state and returns the facts that follow, or none; nothing here changes anything.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import Literal

from gateway.domain import events as e
from gateway.domain.access import DayUses, Whereabouts
from gateway.domain.reasons import Reason
from gateway.domain.state import OpenEntry, VenueState
from gateway.domain.zones import ClosureKind


def refusal(
    state: VenueState,
    gate: str,
    *,
    lock_works: bool,
    contact_works: bool,
    contact_active: bool,
    closure: ClosureKind | None = None,
) -> Reason | None:
    """Return why `gate` can take nobody just now, or None. A guest is refused before their ticket is touched.

    `closure` is what `zones.closure_at` says of the gate.
    """
    if closure is not None:
        return Reason.EMERGENCY if closure == "emergency" else Reason.GATE_LOCKED
    # With a contact that cannot tell, nobody would know afterwards who went through.
    if not lock_works or not contact_works:
        return Reason.GATE_UNAVAILABLE
    status = state.gate(gate).status
    if status == "fault":
        return Reason.GATE_UNAVAILABLE
    # One passage at a time: while someone is expected or still in the gate, the next one waits.
    if status != "locked" or contact_active:
        return Reason.BUSY
    return None


def contact_opened(state: VenueState, gate: str, *, lock_moved: bool, held: bool = False) -> list[e.AnyEvent]:
    """Someone is in the gate: the guest it was released for, or nobody we let in.

    Until the lock has moved for the guest (`lock_moved`), it is somebody else. `held` is True while an emergency holds
    the gate open: then everyone may walk through.
    """
    current = state.gate(gate)
    if current.status == "released" and current.entry is not None and lock_moved:
        return [e.EntryPassed(entry=current.entry, gate=gate)]
    if current.status in {"locked", "released"} and not held:
        return [e.GateForced(gate=gate)]
    return []


def contact_closed(state: VenueState, gate: str) -> list[e.AnyEvent]:
    """The gate is shut again, which ends an alarm."""
    if state.gate(gate).status in {"forced", "held_open"}:
        return [e.GateClosed(gate=gate)]
    return []


def held_open(state: VenueState, gate: str) -> list[e.AnyEvent]:
    """The contact has been active longer than the gate allows."""
    if state.gate(gate).status == "held_open":
        return []
    return [e.GateHeldOpen(gate=gate)]


def still_open(state: VenueState, gate: str, alarm: Literal["", "forced", "held_open"]) -> list[e.AnyEvent]:
    """The contact is active as before, and of the alarm it stands for the state may know nothing any more."""
    if alarm == "held_open":
        return held_open(state, gate)
    return contact_opened(state, gate, lock_moved=True) if alarm == "forced" else []


def passage_timed_out(state: VenueState, gate: str, entry: str, *, watched: bool) -> list[e.AnyEvent]:
    """Nobody was seen in time: the entry goes back, if it is still the one the gate waits for.

    Unless the contact was `watched` all the time, someone may have gone through unseen; then the use stays taken (I4).
    """
    current = state.gate(gate)
    if current.status != "released" or current.entry != entry or entry not in state.entries:
        return []
    if not watched:
        return [e.EntryUnknown(entry=entry, gate=gate, why="passage_unrecorded")]
    return [hand_back(state, state.entries[entry], "not_passed")]


def hand_back(
    state: VenueState, entry: OpenEntry, why: Literal["not_passed", "release_failed"]
) -> e.EntryReturned | e.EntryUnknown:
    """Return the fact that undoes a grant: one use fewer, and the guest where they were.

    A guest who has meanwhile gone elsewhere stays there; only the use comes back. Where they went on by this very use,
    deeper, out again or back in, they are past this gate although nobody saw them: the use stays taken (I4).
    """
    granted = entry.granted
    taken = granted.uses - granted.uses_before
    if entry.followed_by and (taken or granted.uses_today != granted.uses_today_before):
        return e.EntryUnknown(entry=granted.entry, gate=granted.gate, why="went_on")
    uses = max(0, state.uses.get(granted.entitlement, 0) - taken)
    day, place = _day_after(state, granted), _place_after(state, granted, uses)
    return e.EntryReturned(
        entry=granted.entry,
        gate=granted.gate,
        holder=granted.holder,
        entitlement=granted.entitlement,
        uses=uses,
        zone=place.zone if place else None,
        zone_entitlement=place.entitlement if place else None,
        zone_since_ms=place.since_ms if place else 0,
        day=day.day,
        uses_today=day.uses,
        why=why,
    )


def _place_after(state: VenueState, granted: e.EntryGranted, uses: int) -> Whereabouts | None:
    """Return where the guest is without this entry, and `uses` of its entitlement; None is outside."""
    here = state.where.get(granted.holder)
    came = Whereabouts(granted.zone, granted.entitlement, granted.since_ms) if granted.zone else None
    if here != came:
        return here
    under = granted.entitlement_before or ""
    left = uses if under == granted.entitlement else state.uses.get(under, 0)
    if granted.from_zone is None or (under and not left):
        # Nobody is inside by a use that was handed back since.
        return None
    return Whereabouts(granted.from_zone, under, granted.since_before_ms)


def _day_after(state: VenueState, granted: e.EntryGranted) -> DayUses:
    """Return the count of the day without this entry; one that was handed back after midnight leaves the new day be."""
    if not granted.day:
        return DayUses("", 0)
    counted = state.day_uses.get(granted.entitlement) or DayUses(granted.day, 0)
    if counted.day != granted.day:
        return counted
    return DayUses(counted.day, max(0, counted.uses - (granted.uses_today - granted.uses_today_before)))


def after_restart(state: VenueState) -> list[e.AnyEvent]:
    """Return the facts for entries that a crash left open: nobody can say what happened; nothing is retried (I2)."""
    return [_unknown(entry) for entry in state.entries.values()]


def after_removal(state: VenueState, gates: Collection[str]) -> list[e.AnyEvent]:
    """Return the end of entries and alarms at gates that are not among `gates`, those configured now.

    Nobody watches them any more, so both would stand for ever.
    """
    entries = [_unknown(entry) for entry in state.entries.values() if entry.granted.gate not in gates]
    removed = [name for name in state.gates if name not in gates]
    return [*entries, *(event for name in removed for event in contact_closed(state, name))]


def _unknown(entry: OpenEntry) -> e.EntryUnknown:
    why: Literal["release_unrecorded", "passage_unrecorded"]
    why = "passage_unrecorded" if entry.released else "release_unrecorded"
    return e.EntryUnknown(entry=entry.granted.entry, gate=entry.granted.gate, why=why)
