from __future__ import annotations

import asyncio

import pytest

from drivers.api import DeviceFault, DeviceOffline, DeviceTimeout, PrinterStatus
from drivers.printers.escpos import PULSE_SEND_S, PULSE_WAIT_S
from gateway.domain import events as e
from gateway.domain.reasons import Reason
from gateway.flows.drawer import ASKED_S, CONFIRM_S, PULSE_TIMEOUT_S, DrawerFlow
from tests.gateway.fakes import Disk, FakeDrawer, settle
from tests.gateway.flows.house import House

OPEN = PrinterStatus(drawer_pin_high=True)
CLOSED = PrinterStatus(drawer_pin_high=False)
CANNOT_SAY = PrinterStatus(online=True)


class Till:
    """A house with one drawer whose contact reads high while it is open."""

    def __init__(self, *, disk: Disk | None = None, open_is_high: bool | None = True) -> None:
        self.house = House(disk, seed=2 if disk else 1)
        self.drawer = FakeDrawer()
        self.flow = DrawerFlow(
            "till", self.house.recorder, self.drawer, self.house.spawn, open_is_high=open_is_high, left_open_s=60
        )
        self.house.serve("till", self.flow.handlers())

    def open(self, reason: str = "sale", *, id: str = "r1", expires_in_s: float | None = 5) -> object:  # noqa: A002
        return self.house.ask("till", "open", {"reason": reason}, id=id, expires_in_s=expires_in_s)

    def sees(self, status: PrinterStatus) -> None:
        self.flow.printer_changed(status)

    def kinds(self) -> list[str]:
        return [kind.removeprefix("Drawer") for kind in self.house.kinds()]


async def closed_till(**fields: object) -> Till:
    till = Till(**fields)
    till.sees(CLOSED)
    await settle()
    return till


# Opening.


async def test_a_drawer_opens_for_a_named_client_with_a_reason_and_is_confirmed() -> None:
    till = await closed_till()
    till.drawer.on_pulse = lambda: till.sees(OPEN)
    assert till.open("sale") is None
    await asyncio.sleep(1)
    assert till.drawer.pulses == 1
    opening, opened = till.house.events
    assert (opening.client, opening.reason) == ("bar-tablet", "sale")
    assert opened == e.DrawerOpened(opening=opening.opening, drawer="till", confirmed=True, request=opening.request)
    assert till.house.statuses() == ["accepted", "done"]


async def test_a_drawer_whose_contact_follows_within_a_second_is_confirmed() -> None:
    till = await closed_till()
    till.open()
    await asyncio.sleep(CONFIRM_S * 0.9)
    assert till.house.statuses() == ["accepted"]
    till.sees(OPEN)
    await asyncio.sleep(0.1)
    assert till.house.events[-1].confirmed


async def test_a_drawer_that_is_not_seen_open_is_done_but_not_confirmed() -> None:
    till = await closed_till()
    till.open()
    await asyncio.sleep(CONFIRM_S + 0.1)
    assert till.house.statuses() == ["accepted", "done"]
    assert not till.house.events[-1].confirmed


@pytest.mark.parametrize("open_is_high", [None, True])
async def test_without_a_contact_the_answer_comes_at_once_and_unconfirmed(open_is_high: bool | None) -> None:
    till = Till(open_is_high=open_is_high)
    till.sees(CANNOT_SAY)
    till.open()
    await asyncio.sleep(0.1)
    assert till.house.statuses() == ["accepted", "done"]
    assert not till.house.events[-1].confirmed


async def test_a_drawer_that_stands_open_already_is_seen_open() -> None:
    till = Till()
    till.sees(OPEN)
    till.open()
    await asyncio.sleep(0.1)
    assert till.house.events[-1].confirmed


async def test_the_contact_can_be_wired_the_other_way_round() -> None:
    till = Till(open_is_high=False)
    till.sees(OPEN)
    till.drawer.on_pulse = lambda: till.sees(CLOSED)
    till.open()
    await asyncio.sleep(1)
    assert till.kinds() == ["Opening", "Opened"]
    assert till.house.events[-1].confirmed


@pytest.mark.parametrize("error", [DeviceOffline("no cable"), DeviceTimeout("still printing")])
async def test_a_pulse_that_was_not_sent_is_a_failure(error: Exception) -> None:
    till = await closed_till()
    till.drawer.error = error
    till.open()
    await asyncio.sleep(1)
    assert till.house.statuses() == ["accepted", "failed"]
    assert till.house.events[-1].message == str(error)


async def test_an_unplugged_drawer_fails_at_once() -> None:
    till = await closed_till()
    till.drawer.online = False
    till.open()
    await asyncio.sleep(0.1)
    assert till.house.events[-1].reason is Reason.DEVICE_OFFLINE


@pytest.mark.parametrize("error", [DeviceFault("broke off"), ZeroDivisionError()])
async def test_a_pulse_that_may_have_been_sent_is_unknown(error: Exception) -> None:
    till = await closed_till()
    till.drawer.error = error
    till.open()
    await asyncio.sleep(CONFIRM_S + 0.1)
    assert till.house.statuses() == ["accepted", "unknown"]
    till.drawer.error = None
    await asyncio.sleep(3600)
    assert till.drawer.pulses == 0, "it is never sent again by itself"


async def test_a_driver_that_never_answers_leaves_the_opening_unknown() -> None:
    till = await closed_till()
    till.drawer.answer = asyncio.Event()
    till.open()
    await asyncio.sleep(PULSE_TIMEOUT_S + CONFIRM_S + 0.1)
    assert till.house.statuses() == ["accepted", "unknown"]


def test_a_printer_s_driver_gives_up_first() -> None:
    """It knows whether the pulse was sent; the flow could only say that nobody can tell."""
    assert PULSE_WAIT_S + PULSE_SEND_S < PULSE_TIMEOUT_S


async def test_a_doubtful_pulse_is_no_doubt_when_the_drawer_is_seen_open() -> None:
    till = await closed_till()

    def open_and_break() -> None:
        till.sees(OPEN)
        raise DeviceFault("broke off")

    till.drawer.on_pulse = open_and_break
    till.open()
    await asyncio.sleep(1)
    assert till.house.events[-1].confirmed


# Invariants.


async def test_i01_no_pulse_before_the_opening_is_on_disk() -> None:
    till = await closed_till()
    till.house.journal.hold()
    till.open(expires_in_s=30)
    await asyncio.sleep(10)
    assert till.drawer.pulses == 0
    assert till.house.told == []
    till.house.journal.release()
    await asyncio.sleep(1)
    assert till.drawer.pulses == 1


async def test_i01_no_pulse_when_the_opening_could_not_be_stored() -> None:
    till = await closed_till()
    till.house.journal.fail()
    till.open()
    await asyncio.sleep(10)
    assert till.drawer.pulses == 0
    assert till.open(id="r2").reason is Reason.STORAGE_UNAVAILABLE
    till.house.recorder.recover()
    assert till.open(id="r3") is None
    await asyncio.sleep(2)
    assert till.drawer.pulses == 1


async def test_i02_the_same_request_twice_is_one_pulse() -> None:
    till = await closed_till()
    till.open(id="r1")
    assert till.open(id="r1") is None, "nothing of it is on disk yet"
    await asyncio.sleep(0.1)
    assert till.open(id="r1").status == "accepted"
    await asyncio.sleep(2)
    assert till.open(id="r1").status == "done"
    assert till.open("another reason", id="r1").reason is Reason.IDEMPOTENCY_CONFLICT
    await asyncio.sleep(2)
    assert till.drawer.pulses == 1


async def test_i02_a_crash_between_pulse_and_outcome_is_unknown_and_pulses_nothing_again() -> None:
    till = await closed_till()
    till.drawer.answer = asyncio.Event()
    till.open(id="r1")
    await asyncio.sleep(0.1)
    assert till.drawer.pulses == 1
    await till.house.crash()

    after = Till(disk=till.house.journal.disk)
    after.house.settle_the_past()
    await asyncio.sleep(60)
    assert after.drawer.pulses == 0
    assert after.house.statuses("r1") == ["unknown"]
    assert after.open(id="r1").status == "unknown"
    assert after.open(id="r2") is None, "and the drawer can be asked for again"


async def test_i02_a_crash_before_the_disk_had_it_leaves_nothing() -> None:
    till = await closed_till()
    till.house.journal.hold()
    till.open(id="r1")
    await settle()
    await till.house.crash()
    after = Till(disk=till.house.journal.disk)
    after.house.settle_the_past()
    await asyncio.sleep(1)
    assert after.house.events == []
    assert till.drawer.pulses == after.drawer.pulses == 0


async def test_an_opening_that_is_stopped_amid_its_pulse_is_unknown() -> None:
    till = await closed_till()
    till.drawer.answer = asyncio.Event()
    till.open()
    await asyncio.sleep(0.1)
    for task in till.house.tasks:
        task.cancel()
    await asyncio.sleep(0.1)
    assert till.house.statuses() == ["accepted", "unknown"]


async def test_an_outcome_that_comes_after_the_state_was_rebuilt_is_not_told_a_second_time() -> None:
    till = await closed_till()
    till.open()
    await asyncio.sleep(0.1)
    till.house.recorder.restore()
    till.house.settle_the_past()
    await asyncio.sleep(2)
    assert till.house.statuses() == ["accepted", "unknown"]


async def test_i06_a_request_without_an_expiry_or_too_late_opens_nothing() -> None:
    till = await closed_till()
    assert till.open(expires_in_s=None).reason is Reason.EXPIRY_REQUIRED
    assert till.open(expires_in_s=0).reason is Reason.REQUEST_EXPIRED
    assert till.open(expires_in_s=3600).reason is Reason.EXPIRY_TOO_FAR
    await asyncio.sleep(1)
    assert till.drawer.pulses == 0


async def test_i06_a_request_that_expires_while_the_disk_is_slow_opens_nothing() -> None:
    till = await closed_till()
    till.house.journal.hold()
    till.open(expires_in_s=5)
    await asyncio.sleep(6)
    till.house.journal.release()
    await asyncio.sleep(2)
    assert till.drawer.pulses == 0
    assert till.house.events[-1].reason is Reason.REQUEST_EXPIRED
    assert till.house.statuses() == ["accepted", "failed"]


async def test_i08_a_stuck_drawer_delays_no_other() -> None:
    till = await closed_till()
    till.drawer.answer = asyncio.Event()
    till.open(id="r1")
    other_drawer = FakeDrawer()
    other = DrawerFlow("other", till.house.recorder, other_drawer, till.house.spawn)
    till.house.serve("other", other.handlers())
    till.house.ask("other", "open", {"reason": "sale"}, id="r2", expires_in_s=5)
    await asyncio.sleep(0.1)
    assert other_drawer.pulses == 1
    assert till.house.statuses("r2") == ["accepted", "done"]
    assert till.house.statuses("r1") == ["accepted"]


async def test_i09_a_drawer_that_is_being_opened_is_busy_at_once() -> None:
    till = await closed_till()
    till.open(id="r1")
    assert till.open(id="r2").reason is Reason.BUSY
    await asyncio.sleep(2)
    assert till.open(id="r2") is None
    await asyncio.sleep(2)
    assert till.drawer.pulses == 2


@pytest.mark.parametrize(
    "data", [{}, {"reason": ""}, {"reason": "  "}, {"reason": "x" * 201}, {"reason": 5}, {"why": "x"}]
)
async def test_a_drawer_opens_only_with_a_reason(data: object) -> None:
    till = await closed_till()
    answer = till.house.ask("till", "open", data, expires_in_s=5)
    assert answer.reason is Reason.MALFORMED
    await asyncio.sleep(1)
    assert till.drawer.pulses == 0


# The contact.


async def test_a_drawer_that_opens_unasked_is_an_alarm_until_it_is_shut() -> None:
    till = await closed_till()
    till.sees(OPEN)
    till.sees(OPEN)
    await asyncio.sleep(1)
    assert till.kinds() == ["Forced"]
    assert till.house.ask("till", "status", id="s").data == {"connected": True, "contact": "open", "alarm": "forced"}
    till.sees(CLOSED)
    await asyncio.sleep(1)
    assert till.kinds() == ["Forced", "Closed"]
    assert till.house.ask("till", "status", id="s").data["alarm"] == ""


async def test_one_pulse_excuses_one_opening() -> None:
    till = await closed_till()
    till.drawer.on_pulse = lambda: till.sees(OPEN)
    till.open()
    await asyncio.sleep(1)
    till.sees(CLOSED)
    till.sees(OPEN)
    await asyncio.sleep(1)
    assert till.kinds() == ["Opening", "Opened", "Closed", "Forced"]


async def test_a_contact_that_is_told_of_late_is_no_alarm() -> None:
    till = await closed_till()
    till.open()
    await asyncio.sleep(CONFIRM_S + ASKED_S * 0.9)
    till.sees(OPEN)
    await asyncio.sleep(1)
    assert till.kinds() == ["Opening", "Opened"]


async def test_an_opening_long_after_a_pulse_is_an_alarm() -> None:
    till = await closed_till()
    till.open()
    await asyncio.sleep(CONFIRM_S + ASKED_S + 0.1)
    till.sees(OPEN)
    await asyncio.sleep(1)
    assert till.kinds() == ["Opening", "Opened", "Forced"]


async def test_a_pulse_that_was_not_sent_excuses_no_opening() -> None:
    till = await closed_till()
    till.drawer.error = DeviceOffline("no cable")
    till.open()
    await asyncio.sleep(0.1)
    till.sees(OPEN)
    await asyncio.sleep(1)
    assert till.kinds() == ["Opening", "Failed", "Forced"]


async def test_a_drawer_that_stays_open_is_an_alarm_once() -> None:
    till = await closed_till()
    till.drawer.on_pulse = lambda: till.sees(OPEN)
    till.open()
    await asyncio.sleep(59)
    assert till.kinds() == ["Opening", "Opened"]
    await asyncio.sleep(2)
    assert till.kinds() == ["Opening", "Opened", "LeftOpen"]
    await asyncio.sleep(3600)
    till.sees(CLOSED)
    await asyncio.sleep(1)
    assert till.kinds() == ["Opening", "Opened", "LeftOpen", "Closed"]


async def test_a_drawer_shut_in_time_is_no_alarm() -> None:
    till = await closed_till()
    till.drawer.on_pulse = lambda: till.sees(OPEN)
    till.open()
    await asyncio.sleep(30)
    till.sees(CLOSED)
    await asyncio.sleep(3600)
    assert till.kinds() == ["Opening", "Opened", "Closed"]


async def test_a_printer_that_cannot_say_changes_nothing() -> None:
    till = await closed_till()
    till.sees(CANNOT_SAY)
    till.sees(CLOSED)
    await asyncio.sleep(1)
    assert till.kinds() == []


async def test_a_drawer_found_open_at_the_start_was_not_forced_but_is_left_open() -> None:
    till = Till()
    till.sees(OPEN)
    await asyncio.sleep(1)
    assert till.kinds() == []
    await asyncio.sleep(60)
    assert till.kinds() == ["LeftOpen"]


async def test_an_alarm_from_before_a_restart_ends_when_the_drawer_is_found_shut() -> None:
    till = await closed_till()
    till.sees(OPEN)
    await asyncio.sleep(1)
    await till.house.crash()
    after = Till(disk=till.house.journal.disk)
    assert after.house.state.drawer("till").alarm == "forced"
    after.sees(CLOSED)
    await asyncio.sleep(1)
    assert after.kinds() == ["Closed"]


async def test_a_drawer_that_is_no_longer_served_raises_no_alarm() -> None:
    till = Till()
    till.sees(OPEN)
    till.flow.close()
    await asyncio.sleep(3600)
    assert till.kinds() == []


async def test_an_alarm_that_cannot_be_stored_stops_nothing() -> None:
    till = await closed_till()
    till.house.journal.fail()
    till.open()
    await asyncio.sleep(1)
    till.sees(OPEN)
    till.sees(CLOSED)
    till.house.recorder.recover()
    till.sees(OPEN)
    await asyncio.sleep(1)
    assert till.kinds() == ["Forced"]


# Time and disk.


async def test_i06_a_pulse_is_given_up_when_the_request_expires() -> None:
    till = await closed_till()
    till.drawer.answer = asyncio.Event()
    till.open(expires_in_s=2)
    await asyncio.sleep(2.1)
    till.drawer.answer.set()
    await asyncio.sleep(CONFIRM_S + 0.1)
    assert till.kinds() == ["Opening", "Unknown"]


async def test_i09_a_full_queue_refuses_no_outcome() -> None:
    till = await closed_till()
    till.drawer.on_pulse = lambda: setattr(till.house.journal, "busy", True)
    till.open()
    await asyncio.sleep(CONFIRM_S + 0.1)
    assert till.kinds() == ["Opening", "Opened"]
    till.sees(OPEN)
    till.sees(CLOSED)
    await asyncio.sleep(1)
    assert till.kinds()[-1] == "Closed"


@pytest.mark.parametrize(("open_s", "alarm"), [(1, "forced"), (90, "left_open")])
async def test_an_alarm_that_could_not_be_stored_is_raised_again_while_the_drawer_stands_open(
    open_s: int, alarm: str
) -> None:
    till = await closed_till()
    till.house.journal.fail()
    till.sees(OPEN)
    await asyncio.sleep(open_s)
    assert till.kinds() == []
    till.house.recorder.recover()
    till.flow.storage_recovered()
    assert till.house.state.drawer("till").alarm == alarm
    till.flow.storage_recovered()
    await asyncio.sleep(1)
    assert len(till.kinds()) == 1, "once"


async def test_an_alarm_that_ended_while_nothing_could_be_stored_is_over_when_the_disk_is_back() -> None:
    till = await closed_till()
    till.sees(OPEN)
    await asyncio.sleep(1)
    till.house.journal.fail()
    till.sees(CLOSED)
    await asyncio.sleep(1)
    till.house.recorder.recover()
    assert till.house.state.drawer("till").alarm == "forced"
    till.flow.storage_recovered()
    assert till.house.state.drawer("till").alarm == ""
