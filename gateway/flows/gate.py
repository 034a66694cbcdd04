"""One gate: it opens for one passage, watches whether that happened, and raises the alarm for what nobody allowed."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Literal, Protocol

import structlog

from drivers.api import DeviceOffline, DriverError, Lock
from gateway.config.schema import Gate
from gateway.domain import events as e
from gateway.domain import gates, interlocks, zones
from gateway.domain.access import GateRule
from gateway.domain.answers import Answer
from gateway.domain.interlocks import Door
from gateway.domain.reasons import Reason
from gateway.domain.state import GateStatus
from gateway.domain.zones import ClosureKind
from gateway.flows.desk import Handler, Request
from gateway.flows.holding import HeldLock
from gateway.flows.noting import note
from gateway.flows.recorder import Recorder

log = structlog.get_logger(__name__)

RELEASE_TIMEOUT_S = 2.0
"""How long a relay board may take to confirm a pulse before nobody can say whether it did it."""
FAULT_PAUSE_S = 3.0
"""How long a gate rests after its lock did not confirm a pulse. A board that is gone is known to be by then."""
PULSE_SLACK_S = 0.2
"""How much longer than asked for a pulse may last: boards round it up to tenths of a second."""


class LockPort(Protocol):
    """The lock of a gate as the supervisor hands it out: the device behind it may come and go."""

    @property
    def online(self) -> bool:
        """True while the board answers."""
        ...

    def lock(self) -> Lock:
        """Return the live lock; raises DeviceOffline while there is none."""
        ...


class ContactPort(Protocol):
    """The board of a passage contact."""

    @property
    def online(self) -> bool:
        """True while the board answers."""
        ...

    @property
    def notice_s(self) -> float:
        """Longest time, in seconds, until a board that was lost is known to be gone."""
        ...


class GateFlow:
    """The story of one gate, from the release to the passage."""

    def __init__(
        self, gate: Gate, recorder: Recorder, lock: LockPort | None, contact: ContactPort | None = None
    ) -> None:
        """Join a gate of the configuration to its lock, None for a gate whose reader moves the barrier itself.

        `contact` is the board of its passage contact, None for a gate without one.
        """
        self.name = gate.name
        self.rule: GateRule = gate.rule
        self.has_lock = gate.lock is not None
        """True when this gateway moves the lock itself."""
        self.observes_passage = gate.passage is not None and self.has_lock
        """True when a contact tells whether someone went through."""
        self._gate = gate
        self._recorder = recorder
        self._lock = lock
        self._held = HeldLock(gate.name, gate.lock, lock) if gate.lock is not None and lock is not None else None
        self._contact = contact
        self._contact_active = False
        self._alarm: Literal["", "forced", "held_open"] = ""
        self._watched = True
        self._lock_moved_for = ""
        self._lock_open_until_s = self._lock_open_before_s = 0.0
        self.neighbours: tuple[GateFlow, ...] = ()
        """The gates of its interlocks: it opens only while each of them is shut."""
        self._closed = False
        self._heir: GateFlow | None = None
        self._passage_timer: asyncio.TimerHandle | None = None
        self._held_open_timer: asyncio.TimerHandle | None = None

    @property
    def closure(self) -> ClosureKind | None:
        """What staff ordered for the zones this gate joins: `lockdown`, `emergency`, or None in normal times."""
        return zones.closure_at(self.rule, self._recorder.state.zones, self._recorder.state.closures)

    @property
    def status(self) -> GateStatus:
        """The word for where the gate stands, as published."""
        return self._recorder.state.gate(self.name).status

    @property
    def shown(self) -> GateStatus | Literal["locked_down", "emergency", "offline"]:
        """The word for what people see: what staff ordered, else where the gate stands.

        A gate whose lock or contact does not answer is `offline`: nobody can be let in there, whatever it was last.
        """
        if (closure := self.closure) == "emergency":
            return "emergency"
        if closure == "lockdown" and self.status == "locked":
            return "locked_down"
        return "offline" if self.why_offline and self.status in {"locked", "released"} else self.status

    @property
    def why_offline(self) -> str:
        """What of the gate does not answer, in words; empty while all of it does."""
        if self._lock is not None and not self._lock.online:
            return "its lock does not answer; check the board's cable and power"
        if self.observes_passage and not self._contact_works:
            return "its passage contact does not answer; check the board's cable and power"
        return ""

    @property
    def door(self) -> Door:
        """The gate as its neighbours in an interlock see it."""
        held = self._held is not None and self._held.held is not False
        running = asyncio.get_running_loop().time() < self._lock_open_until_s
        lock_works = self._lock is None or self._lock.online
        return Door(self.status, self._contact_works and lock_works, self._contact_active, held or running)

    def handlers(self) -> Mapping[str, Handler]:
        """Return what the gate itself answers at the desk."""
        return {"status": Handler(self._take_status, repeatable=True)}

    def _take_status(self, _: Request) -> Answer:
        refusal = self.refusal()
        data = {"status": self.shown, "admits": refusal is None, "reason": refusal or ""}
        return Answer("done", None, "", data)

    def refusal(self) -> Reason | None:
        """Return why nobody can be admitted here at this moment, or None."""
        refusal = gates.refusal(
            self._recorder.state,
            self.name,
            lock_works=self._lock is None or self._lock.online,
            contact_works=not self.observes_passage or self._contact_works,
            contact_active=self._contact_active,
            closure=self.closure,
        )
        return refusal or self._interlocked()

    def _interlocked(self) -> Reason | None:
        """Look at the neighbours; whoever acts on the answer does so before the loop turns."""
        return interlocks.refusal(gate.door for gate in self.neighbours) if self.neighbours else None

    def follow_closure(self) -> None:
        """Hold the lock open while an emergency lasts, and let it go after it; called when an order is on disk."""
        held = self.closure == "emergency"
        if self._held is not None and self._held.wanted != held:
            self._held.want(held)
            if not held and self._contact_active and self._held_open_timer is None:
                # A gate that still stands open after the emergency is watched again from here on.
                self._expect_closing()

    def retire(self) -> None:
        """The gate is configured no more: stop, and let go of a lock that is held open."""
        self.close()
        if self._held is not None:
            self._held.want(False)

    @property
    def _contact_works(self) -> bool:
        return self._contact is None or self._contact.online

    async def release(self, entry: str, within_s: float = RELEASE_TIMEOUT_S) -> None:
        """Pulse the lock for a recorded grant, record that, and give the guest their time to walk through.

        Called once per grant and never again for the same one: an outcome that nobody knows stays unknown (I2). After
        `within_s` seconds no pulse begins any more: whoever asked has walked away (I6).
        """
        if entry not in self._recorder.state.entries:
            # Given up when the state was rebuilt: the journal says unknown, and nothing may move after that.
            log.error("gate_release_given_up", gate=self.name, entry=entry)
            return
        if self.observes_passage and self._recorder.state.gate(self.name).entry != entry:
            # Someone forced the gate before it could be opened for the guest, who can ask again once it is shut.
            self.give_back(entry)
            return
        if self._closed or self.closure == "lockdown" or self._interlocked() is not None:
            # Between the grant and this moment the gate got another lock, staff locked it down, or a neighbour was
            # forced open.
            self.give_back(entry)
            return
        self._watched, self._lock_moved_for = self._contact_works, entry
        try:
            await self._pulse(within_s)
        except DeviceOffline as error:
            self._release_failed(entry, error)
        except (DriverError, TimeoutError) as error:
            self._release_unknown(entry, error)
        except Exception as error:
            # A bug in a driver says nothing of whether the pulse went out.
            log.exception("gate_pulse_failed", gate=self.name, entry=entry)
            self._release_unknown(entry, error)
        else:
            self._released(entry)

    async def _pulse(self, within_s: float) -> None:
        if self._lock is None or self._gate.lock is None:
            return
        loop, pulse_s = asyncio.get_running_loop(), self._gate.pulse_ms / 1000 + PULSE_SLACK_S
        wait_s = min(RELEASE_TIMEOUT_S, within_s)
        # Set before the pulse and without regard to its outcome: a lock that may be open counts as open.
        self._lock_open_before_s = self._lock_open_until_s
        self._lock_open_until_s = loop.time() + wait_s + pulse_s
        try:
            async with asyncio.timeout(wait_s):
                await self._lock.lock().pulse(self._gate.lock.channel, self._gate.pulse_ms)
        finally:
            self._lock_open_until_s = loop.time() + pulse_s

    def _released(self, entry: str) -> None:
        # A passage can be faster than this line; then there is nothing left to wait for.
        self._note(e.GateReleased(entry=entry, gate=self.name))
        if self.observes_passage and self._recorder.state.gate(self.name).entry == entry:
            self._expect_passage(entry)

    def _expect_passage(self, entry: str) -> None:
        if self._closed:
            # Replaced while the lock took the pulse: the flow that took over waits for the guest.
            return
        loop = asyncio.get_running_loop()
        # While the lock is open they can still walk through: nothing goes back before it is shut (I4).
        at_s = max(loop.time() + self._gate.passage_timeout_s, self._lock_open_until_s)
        self._passage_timer = loop.call_at(at_s, self._timed_out, entry)

    def _expect_closing(self) -> None:
        loop = asyncio.get_running_loop()
        self._held_open_timer = loop.call_later(self._gate.held_open_s, self._held_open)

    def _release_failed(self, entry: str, error: Exception) -> None:
        """Nothing was sent: the gate stayed shut, so the guest keeps the ticket."""
        log.warning("gate_release_failed", gate=self.name, entry=entry, why=str(error))
        # The pulse before this one, for a guest who was quick, may still be on.
        self._lock_open_until_s = self._lock_open_before_s
        self.give_back(entry)

    def give_back(self, entry: str) -> None:
        """Hand back an entry for which the lock was not moved."""
        opened = self._recorder.state.entries.get(entry)
        if opened is not None:
            self._note(gates.hand_back(self._recorder.state, opened, "release_failed"))

    def _release_unknown(self, entry: str, error: Exception) -> None:
        """The pulse may have gone out: the entry stands as unknown and the gate asks for a look."""
        why = str(error) or "the lock did not confirm the pulse in time"
        log.error("gate_release_unknown", gate=self.name, entry=entry, why=why)
        self._note(
            e.EntryUnknown(entry=entry, gate=self.name, why="release_unrecorded"),
            e.GateFault(gate=self.name, why=why),
        )
        self._pause_for_fault()

    def _pause_for_fault(self) -> None:
        """One lost answer must not close the gate for good: a board that goes on answering reports no return."""
        asyncio.get_running_loop().call_later(FAULT_PAUSE_S, self._fault_pause_over)

    def _fault_pause_over(self) -> None:
        if self._heir is not None:
            # Replaced while the lock took the pulse: the fault is the gate's, whoever serves it now.
            self._heir._fault_pause_over()  # noqa: SLF001 - one of its own kind
        elif not self._closed and (self._lock is None or self._lock.online):
            self.lock_answers()

    def contact_changed(self, *, active: bool) -> None:
        """The passage contact moved."""
        if active == self._contact_active:
            return
        self._contact_active = active
        state = self._recorder.state
        if active:
            self._cancel_passage_timer()
            lock_moved = state.gate(self.name).entry == self._lock_moved_for
            held = self.closure == "emergency"
            found = gates.contact_opened(state, self.name, lock_moved=lock_moved, held=held)
            self._alarm = "forced" if any(isinstance(event, e.GateForced) for event in found) else ""
            self._note(*found)
            self._expect_closing()
        else:
            self._alarm = ""
            if self._held_open_timer is not None:
                self._held_open_timer.cancel()
                self._held_open_timer = None
            self._note(*gates.contact_closed(state, self.name))

    def contact_lost(self) -> None:
        """The contact's board is gone: whoever goes through until it is back goes unseen."""
        self._watched = False

    def contact_answers(self) -> None:
        """The contact's board is back. It tells of an active contact by itself; one that is not ends an alarm."""
        if not self._contact_active:
            self._note(*gates.contact_closed(self._recorder.state, self.name))

    def lock_answers(self) -> None:
        """The board is back: a gate that was in fault works again, and one that is shut now no longer stands open.

        In an emergency it is held open again.
        """
        self.follow_closure()
        if self._held is not None:
            self._held.board_is_back()
        if self._recorder.state.gate(self.name).status == "fault":
            self._note(e.GateRestored(gate=self.name))
        else:
            # An alarm from before a restart; a contact that is still active reports itself and raises it anew.
            self.contact_answers()

    def storage_recovered(self) -> None:
        """The state was rebuilt from the disk, and what this gate and its lock did meanwhile is not in it."""
        if self._lock is None or self._lock.online:
            self.lock_answers()
        if self._contact_active:
            self._note(*gates.still_open(self._recorder.state, self.name, self._alarm))

    def take_over(self, before: GateFlow) -> None:
        """Go on where the flow of an earlier configuration of this gate stopped: its lock, its contact, its guest.

        The contact of a board that was restarted reports itself anew.
        """
        before._heir = self
        self._take_over_lock(before)
        self._lock_open_until_s = before._lock_open_until_s
        same_contact = before._gate.passage == self._gate.passage and before._contact is self._contact
        if same_contact and before._contact_active:
            # The board reports changes only, so this flow would never hear of what the earlier one heard.
            self._contact_active, self._alarm = True, before._alarm
            self._expect_closing()
        elif self._contact_works:
            self.contact_answers()
        self._watched = before._watched and same_contact
        current = self._recorder.state.gate(self.name)
        if current.status == "fault":
            self._pause_for_fault()
        if current.status != "released" or current.entry is None:
            return
        self._lock_moved_for = current.entry
        if self.observes_passage:
            self._expect_passage(current.entry)
        else:
            self._note(e.EntryUnknown(entry=current.entry, gate=self.name, why="passage_unrecorded"))

    def _take_over_lock(self, before: GateFlow) -> None:
        """A lock that is held open goes on being held; one that this gate has no longer is let go."""
        if self._held is None or before._held is None or not self._held.is_at(before._held):
            before.retire()
        else:
            self._held.take_over(before._held)

    def close(self) -> None:
        """Stop the timers; the gate is no longer served."""
        self._closed = True
        self._cancel_passage_timer()
        if self._held_open_timer is not None:
            self._held_open_timer.cancel()
        if self._held is not None:
            self._held.close()

    def _timed_out(self, entry: str) -> None:
        """The guest's time is over. Before that counts, a board that is gone by now has to be known to be gone."""
        grace_s = self._contact.notice_s if self._contact is not None else 0.0
        if grace_s > 0 and self._watched:
            self._passage_timer = asyncio.get_running_loop().call_later(grace_s, self._nobody_came, entry)
        else:
            self._nobody_came(entry)

    def _nobody_came(self, entry: str) -> None:
        self._passage_timer = None
        self._note(*gates.passage_timed_out(self._recorder.state, self.name, entry, watched=self._watched))

    def _held_open(self) -> None:
        self._held_open_timer = None
        if self.closure != "emergency":
            self._alarm = "held_open"
            self._note(*gates.held_open(self._recorder.state, self.name))

    def _cancel_passage_timer(self) -> None:
        if self._passage_timer is not None:
            self._passage_timer.cancel()
            self._passage_timer = None

    def _note(self, *events: e.AnyEvent) -> None:
        note(self._recorder, self.name, *events)
