from __future__ import annotations

import asyncio

import pytest

from drivers.api import DeviceFault, DeviceOffline, DeviceTimeout
from gateway.config.schema import Contact, Gate
from gateway.domain import events as e
from gateway.domain.access import Whereabouts
from gateway.domain.reasons import Reason
from gateway.flows.gate import FAULT_PAUSE_S, RELEASE_TIMEOUT_S, GateFlow
from tests.gateway.fakes import Disk, FakeLock, settle
from tests.gateway.flows.house import House

LOCK, PASSAGE = Contact("board", 1), Contact("board", 2)


class North:
    """A house with one gate, `north`, from outside into the hall, with a lock and a passage contact."""

    def __init__(self, *, disk: Disk | None = None, **gate: object) -> None:
        self.house = House(disk, seed=2 if disk else 1)
        self.lock = FakeLock()
        given = {"name": "north", "to_zone": "hall", "lock": LOCK, "passage": PASSAGE}
        config = Gate(**given | gate)
        self.contact = FakeLock()
        self.flow = GateFlow(config, self.house.recorder, self.lock if config.lock else None, self.contact)

    async def grant(self, entry: str = "e1", **fields: object) -> None:
        given = {
            "entry": entry,
            "gate": "north",
            "credential": "ref",
            "holder": "guest",
            "entitlement": "ticket",
            "zone": "hall",
            "uses": 1,
            "source": "reader",
            "passage_observed": self.flow.observes_passage,
        }
        await self.house.recorder.record(e.EntryGranted(**given | fields))

    async def release(self, entry: str = "e1") -> None:
        await self.grant(entry)
        await self.flow.release(entry)

    def kinds(self) -> list[str]:
        return self.house.kinds()


async def test_a_gate_opens_for_one_passage() -> None:
    north = North(pulse_ms=900)
    assert north.flow.refusal() is None
    await north.release()
    assert north.lock.pulses == [(1, 900)]
    assert north.flow.status == "released"
    assert north.flow.refusal() is Reason.BUSY
    north.flow.contact_changed(active=True)
    assert north.flow.refusal() is Reason.BUSY, "someone is in the gate"
    north.flow.contact_changed(active=False)
    await asyncio.sleep(60)
    assert north.kinds() == ["EntryGranted", "GateReleased", "EntryPassed"]
    assert north.flow.refusal() is None
    assert north.house.state.where == {"guest": Whereabouts("hall", "ticket")}


async def test_a_guest_who_does_not_walk_through_gets_the_entry_back() -> None:
    north = North(passage_timeout_s=8)
    await north.release()
    await asyncio.sleep(7.9)
    assert north.flow.status == "released"
    await asyncio.sleep(0.2)
    assert north.kinds() == ["EntryGranted", "GateReleased", "EntryReturned"]
    assert north.house.state.uses == {"ticket": 0}
    assert north.house.state.where == {}
    assert north.flow.refusal() is None


async def test_i04_nothing_is_handed_back_while_the_lock_is_still_open() -> None:
    north = North(passage_timeout_s=1, pulse_ms=5_000)
    await north.release()
    await asyncio.sleep(4.9)
    north.flow.contact_changed(active=True)
    await settle()
    assert north.kinds() == ["EntryGranted", "GateReleased", "EntryPassed"]
    assert north.house.state.uses == {"ticket": 1}
    north.flow.close()


async def test_a_passage_faster_than_the_relays_answer_counts() -> None:
    north = North()
    await north.grant()
    north.lock.answer = asyncio.Event()
    releasing = north.house.spawn(north.flow.release("e1"))
    await settle()
    north.flow.contact_changed(active=True)
    north.lock.answer.set()
    await releasing
    north.flow.contact_changed(active=False)
    await asyncio.sleep(60)
    assert "EntryReturned" not in north.kinds()
    assert north.kinds().count("EntryPassed") == 1
    assert north.flow.refusal() is None


async def test_i04_an_entry_is_not_handed_back_when_the_contact_could_not_tell() -> None:
    north = North(passage_timeout_s=8)
    await north.release()
    north.contact.online = False
    north.flow.contact_lost()
    await asyncio.sleep(1)
    north.contact.online = True
    north.flow.contact_answers()
    await asyncio.sleep(7.1)
    assert north.kinds() == ["EntryGranted", "GateReleased", "EntryUnknown"]
    assert north.house.events[-1].why == "passage_unrecorded"
    assert north.house.state.uses == {"ticket": 1}, "someone may have gone through"
    assert north.flow.refusal() is None
    await north.release("e2")
    await asyncio.sleep(8.1)
    assert north.kinds()[-1] == "EntryReturned", "this time the contact watched"


async def test_i04_a_contact_that_went_away_before_the_lock_confirmed_counts_too() -> None:
    north = North(passage_timeout_s=8)
    north.contact.online = False
    await north.release()
    north.contact.online = True
    await asyncio.sleep(8.1)
    assert north.kinds()[-1] == "EntryUnknown"


async def test_a_guest_seen_after_the_contact_came_back_has_passed() -> None:
    north = North()
    await north.release()
    north.flow.contact_lost()
    north.flow.contact_answers()
    north.flow.contact_changed(active=True)
    north.flow.contact_changed(active=False)
    await asyncio.sleep(60)
    assert north.kinds() == ["EntryGranted", "GateReleased", "EntryPassed"]


async def test_a_gate_whose_contact_is_away_takes_nobody() -> None:
    north = North()
    north.contact.online = False
    assert north.flow.refusal() is Reason.GATE_UNAVAILABLE
    unwatched = North(passage=None)
    unwatched.contact.online = False
    assert unwatched.flow.refusal() is None


async def test_i09_a_full_queue_refuses_no_fact_that_happened() -> None:
    north = North(passage_timeout_s=8)
    await north.release()
    north.house.journal.busy = True
    north.flow.contact_changed(active=True)
    north.flow.contact_changed(active=False)
    await asyncio.sleep(1)
    assert north.kinds() == ["EntryGranted", "GateReleased", "EntryPassed"]
    assert north.flow.refusal() is None


async def test_i06_a_pulse_waits_no_longer_than_it_may() -> None:
    north = North()
    north.lock.answer = asyncio.Event()
    await north.grant()
    releasing = north.house.spawn(north.flow.release("e1", 0.5))
    await asyncio.sleep(0.6)
    assert releasing.done()
    await settle()
    assert north.house.events[-1].why == "the lock did not confirm the pulse in time"
    assert north.flow.status == "fault"


async def test_whoever_forces_the_gate_before_it_opens_for_a_guest_does_not_use_up_the_ticket() -> None:
    north = North()
    await north.grant()
    north.flow.contact_changed(active=True)
    await north.flow.release("e1")
    north.flow.contact_changed(active=False)
    await asyncio.sleep(60)
    assert north.lock.pulses == []
    assert north.kinds() == ["EntryGranted", "GateForced", "EntryReturned", "GateClosed"]
    assert north.house.state.uses == {"ticket": 0}
    assert north.flow.refusal() is None


async def test_a_gate_without_a_contact_is_free_again_after_the_pulse() -> None:
    north = North(passage=None)
    await north.release()
    await asyncio.sleep(60)
    assert north.kinds() == ["EntryGranted", "GateReleased"]
    assert north.flow.refusal() is None
    assert north.house.state.uses == {"ticket": 1}


async def test_a_gate_without_a_lock_only_decides() -> None:
    north = North(lock=None, passage=None)
    assert not north.flow.has_lock
    assert not north.flow.observes_passage
    assert north.flow.refusal() is None


# Trouble with the lock.


async def test_a_lock_that_is_not_there_gives_the_entry_back_at_once() -> None:
    north = North()
    north.lock.online = False
    await north.release()
    await asyncio.sleep(1)
    assert north.kinds() == ["EntryGranted", "EntryReturned"]
    assert north.house.events[-1].why == "release_failed"
    assert north.house.state.uses == {"ticket": 0}
    assert north.flow.refusal() is Reason.GATE_UNAVAILABLE


@pytest.mark.parametrize("error", [DeviceTimeout("no answer"), DeviceFault("refused")])
async def test_i02_a_pulse_that_may_have_gone_out_is_unknown_and_never_repeated(error: Exception) -> None:
    north = North()
    north.lock.error = error
    await north.release()
    await settle()
    assert north.flow.refusal() is Reason.GATE_UNAVAILABLE
    north.lock.error = None
    await asyncio.sleep(3600)
    assert north.kinds()[:3] == ["EntryGranted", "EntryUnknown", "GateFault"]
    assert north.lock.pulses == []
    assert north.house.state.uses == {"ticket": 1}, "the use stays taken"


async def test_a_lock_that_never_answers_is_given_up() -> None:
    north = North()
    north.lock.answer = asyncio.Event()
    await north.grant()
    releasing = north.house.spawn(north.flow.release("e1"))
    await asyncio.sleep(RELEASE_TIMEOUT_S + 0.1)
    assert releasing.done()
    assert north.flow.status == "fault"


async def test_a_gate_in_fault_works_again_when_its_board_is_back() -> None:
    north = North()
    north.lock.error = DeviceFault("refused")
    await north.release()
    north.lock.online = False
    await asyncio.sleep(FAULT_PAUSE_S * 2)
    assert north.flow.status == "fault", "nobody answers"
    north.lock.online = True
    north.flow.lock_answers()
    assert north.flow.refusal() is None
    await settle()
    await asyncio.sleep(1)
    assert north.kinds()[-1] == "GateRestored"


async def test_one_lost_answer_does_not_close_a_gate_whose_board_goes_on_answering() -> None:
    north = North()
    north.lock.error = DeviceTimeout("one frame was lost")
    await north.release()
    assert north.flow.refusal() is Reason.GATE_UNAVAILABLE
    await asyncio.sleep(FAULT_PAUSE_S + 0.1)
    assert north.flow.refusal() is None


# Alarms.


async def test_a_passage_nobody_released_is_an_alarm_until_the_gate_is_shut() -> None:
    north = North()
    north.flow.contact_changed(active=True)
    north.flow.contact_changed(active=True)
    await asyncio.sleep(1)
    assert north.kinds() == ["GateForced"]
    assert north.flow.refusal() is Reason.BUSY
    north.flow.contact_changed(active=False)
    await asyncio.sleep(1)
    assert north.kinds() == ["GateForced", "GateClosed"]
    assert north.flow.refusal() is None


async def test_a_second_passage_on_one_release_is_an_alarm() -> None:
    north = North()
    await north.release()
    for active in (True, False, True, False):
        north.flow.contact_changed(active=active)
    await asyncio.sleep(60)
    assert north.kinds() == ["EntryGranted", "GateReleased", "EntryPassed", "GateForced", "GateClosed"]


async def test_a_gate_that_stays_open_is_an_alarm_once() -> None:
    north = North(held_open_s=20)
    await north.release()
    north.flow.contact_changed(active=True)
    await asyncio.sleep(19.9)
    assert north.kinds()[-1] == "EntryPassed"
    await asyncio.sleep(3600)
    assert north.kinds()[-1] == "GateHeldOpen"
    assert north.kinds().count("GateHeldOpen") == 1
    north.flow.contact_changed(active=False)
    await asyncio.sleep(1)
    assert north.kinds()[-1] == "GateClosed"
    assert north.flow.refusal() is None


async def test_a_gate_that_is_no_longer_served_raises_no_alarm_and_gives_nothing_back() -> None:
    north = North()
    await north.release()
    north.flow.close()
    await asyncio.sleep(3600)
    assert north.kinds() == ["EntryGranted", "GateReleased"]


# Restarts.


async def test_i02_a_crash_after_the_pulse_leaves_the_entry_unknown_and_pulses_nothing_again() -> None:
    north = North()
    await north.release()
    await asyncio.sleep(1)
    await north.house.crash()
    after = North(disk=north.house.journal.disk)
    after.house.settle_the_past()
    await asyncio.sleep(60)
    assert after.lock.pulses == []
    assert after.kinds() == ["EntryUnknown"]
    assert after.flow.refusal() is None


@pytest.mark.parametrize("alarm", [e.GateForced(gate="north"), e.GateHeldOpen(gate="north")])
async def test_an_alarm_from_before_a_restart_ends_when_the_gate_is_found_shut(
    alarm: e.AnyEvent,
) -> None:
    north = North()
    await north.house.recorder.record(alarm)
    await north.house.crash()
    after = North(disk=north.house.journal.disk)
    assert after.flow.refusal() is Reason.BUSY
    after.flow.lock_answers()
    await asyncio.sleep(1)
    assert after.kinds() == ["GateClosed"]
    assert after.flow.refusal() is None


async def test_a_board_that_comes_back_while_the_gate_stands_open_ends_no_alarm() -> None:
    north = North()
    north.flow.contact_changed(active=True)
    north.flow.lock_answers()
    await asyncio.sleep(1)
    assert north.kinds() == ["GateForced"]


async def test_what_cannot_be_stored_stops_nothing() -> None:
    north = North()
    await north.grant()
    north.house.journal.fail()
    north.flow.contact_changed(active=True)
    await asyncio.sleep(1)
    north.lock.error = DeviceOffline("gone")
    await north.flow.release("e1")
    north.flow.contact_changed(active=False)
    assert north.kinds() == ["EntryGranted"]
    north.house.recorder.recover()
    north.house.settle_the_past()
    north.flow.contact_changed(active=True)
    await asyncio.sleep(1)
    assert north.kinds() == ["EntryGranted", "EntryUnknown", "GateForced"]


async def test_a_gate_finds_back_from_a_fault_and_an_alarm_that_ended_while_nothing_could_be_stored() -> None:
    north = North()
    await north.house.recorder.record(e.GateFault(gate="north", why="no answer"))
    north.house.journal.fail()
    north.flow.lock_answers()
    await asyncio.sleep(1)
    north.house.recorder.recover()
    north.flow.storage_recovered()
    assert north.flow.refusal() is None
    north.flow.contact_changed(active=True)
    await asyncio.sleep(1)
    assert north.flow.status == "forced"
    north.house.journal.fail()
    north.flow.contact_changed(active=False)
    await asyncio.sleep(1)
    north.house.recorder.recover()
    north.flow.storage_recovered()
    assert north.flow.refusal() is None


@pytest.mark.parametrize(("open_s", "alarm"), [(1, "forced"), (30, "held_open")])
async def test_an_alarm_that_could_not_be_stored_is_raised_again_while_the_gate_stands_open(
    open_s: int, alarm: str
) -> None:
    north = North(held_open_s=20)
    north.house.journal.fail()
    north.flow.contact_changed(active=True)
    await asyncio.sleep(open_s)
    assert north.kinds() == []
    north.house.recorder.recover()
    north.flow.storage_recovered()
    assert north.flow.status == alarm
    north.flow.contact_changed(active=False)
    assert north.flow.refusal() is None


async def test_a_guest_who_stands_in_the_gate_when_the_disk_is_back_is_no_alarm() -> None:
    north = North()
    await north.release()
    north.flow.contact_changed(active=True)
    await asyncio.sleep(1)
    north.house.journal.fail()
    north.house.recorder.record(e.DrawerClosed(drawer="till"))
    await asyncio.sleep(1)
    north.house.recorder.recover()
    north.flow.storage_recovered()
    await asyncio.sleep(1)
    assert north.kinds() == ["EntryGranted", "GateReleased", "EntryPassed"]


async def test_i02_a_grant_that_was_given_up_opens_nothing() -> None:
    north = North()
    await north.grant()
    north.house.recorder.record(e.EntryUnknown(entry="e1", gate="north", why="release_unrecorded"))
    await north.flow.release("e1")
    assert north.lock.pulses == []


def reconfigured(north: North, contact: FakeLock | None = None, **gate: object) -> GateFlow:
    given = {"name": "north", "to_zone": "hall", "lock": LOCK, "passage": PASSAGE}
    flow = GateFlow(Gate(**given | gate), north.house.recorder, north.lock, contact or north.contact)
    north.flow.close()
    flow.take_over(north.flow)
    return flow


async def test_a_gate_that_is_reconfigured_amid_a_pulse_that_nobody_confirms_works_again() -> None:
    north = North()
    north.lock.answer = asyncio.Event()
    await north.grant()
    releasing = north.house.spawn(north.flow.release("e1"))
    await asyncio.sleep(0.1)
    flow = reconfigured(north, passage_timeout_s=5)
    await asyncio.sleep(RELEASE_TIMEOUT_S + 0.1)
    assert releasing.done()
    assert flow.refusal() is Reason.GATE_UNAVAILABLE
    await asyncio.sleep(FAULT_PAUSE_S)
    assert flow.refusal() is None


async def test_a_gate_that_is_reconfigured_goes_on_waiting_for_its_guest() -> None:
    north = North(passage_timeout_s=8)
    await north.release()
    flow = reconfigured(north, passage_timeout_s=5)
    await asyncio.sleep(5.1)
    assert north.kinds()[-1] == "EntryReturned"
    assert flow.refusal() is None


async def test_a_gate_that_is_reconfigured_without_its_contact_says_that_nobody_knows() -> None:
    north = North()
    await north.release()
    flow = reconfigured(north, passage=None)
    await asyncio.sleep(1)
    assert north.kinds()[-1] == "EntryUnknown"
    assert flow.refusal() is None


async def test_a_gate_that_is_reconfigured_while_it_stands_open_knows_when_it_is_shut() -> None:
    north = North(held_open_s=20)
    north.flow.contact_changed(active=True)
    flow = reconfigured(north, held_open_s=5)
    assert flow.refusal() is Reason.BUSY
    await asyncio.sleep(5.1)
    assert flow.status == "held_open"
    flow.contact_changed(active=False)
    assert flow.refusal() is None


async def test_a_gate_that_is_reconfigured_while_the_lock_takes_the_pulse_has_one_timer() -> None:
    north = North(passage_timeout_s=2)
    north.lock.answer = asyncio.Event()
    await north.grant()
    releasing = north.house.spawn(north.flow.release("e1"))
    await settle()
    flow = reconfigured(north, passage_timeout_s=8)
    north.lock.answer.set()
    await releasing
    await asyncio.sleep(5)
    assert flow.status == "released", "the timer of the flow that is gone must not run"
    flow.contact_changed(active=True)
    await asyncio.sleep(1)
    assert north.kinds() == ["EntryGranted", "GateReleased", "EntryPassed"]


async def test_i04_a_contact_that_is_renewed_under_a_released_gate_could_not_tell() -> None:
    north = North()
    await north.release()
    reconfigured(north, FakeLock(), passage_timeout_s=5)
    await asyncio.sleep(5.1)
    assert north.kinds()[-1] == "EntryUnknown"


async def test_i04_a_reload_forgets_nothing_of_a_contact_that_was_away() -> None:
    north = North()
    await north.release()
    north.flow.contact_lost()
    reconfigured(north, passage_timeout_s=5)
    await asyncio.sleep(5.1)
    assert north.kinds()[-1] == "EntryUnknown"


async def test_a_contact_that_is_renewed_while_the_gate_stands_open_reports_itself_anew() -> None:
    north = North()
    north.flow.contact_changed(active=True)
    renewed = FakeLock()
    renewed.online = False
    flow = reconfigured(north, renewed)
    assert flow.status == "forced"
    renewed.online = True
    flow.contact_answers()
    await asyncio.sleep(1)
    assert north.kinds() == ["GateForced", "GateClosed"]
    assert flow.refusal() is None


async def test_i04_a_contact_that_went_away_just_before_the_time_was_over_counts_too() -> None:
    north = North(passage_timeout_s=8)
    north.contact.notice_s = 0.65
    await north.release()
    await asyncio.sleep(8.3)
    assert north.flow.status == "released", "a board lost in the last moment is not known to be gone yet"
    north.contact.online = False
    north.flow.contact_lost()
    await asyncio.sleep(0.5)
    assert north.kinds()[-1] == "EntryUnknown"
    assert north.house.state.uses == {"ticket": 1}, "someone may have gone through"


async def test_an_entry_is_handed_back_once_the_contact_is_known_to_have_watched() -> None:
    north = North(passage_timeout_s=8)
    north.contact.notice_s = 0.65
    await north.release()
    await asyncio.sleep(8.7)
    assert north.kinds()[-1] == "EntryReturned"
    await north.release("e2")
    await asyncio.sleep(8.2)
    north.flow.contact_changed(active=True)
    await asyncio.sleep(5)
    assert north.kinds()[-1] == "EntryPassed", "whoever comes in that moment came through"


async def test_a_gate_whose_lock_is_away_says_so() -> None:
    north = North()
    north.lock.online = False
    assert (north.flow.shown, north.flow.why_offline) == (
        "offline",
        "its lock does not answer; check the board's cable and power",
    )
    north.lock.online, north.contact.online = True, False
    assert (north.flow.shown, north.flow.why_offline) == (
        "offline",
        "its passage contact does not answer; check the board's cable and power",
    )
    north.contact.online = True
    assert (north.flow.shown, north.flow.why_offline) == ("locked", "")
