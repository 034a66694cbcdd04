from __future__ import annotations

import asyncio
from collections.abc import Mapping

import msgspec

from drivers.api import DriverError, InputChanged, PrinterStatus
from gateway.config.boards import Boards, Input
from gateway.config.schema import Broker, Configuration, Contact, Device, Gate, Limits, Venue
from gateway.devices.registry import DriverEntry
from gateway.devices.supervisor import DeviceSlot
from gateway.domain import events as e
from gateway.domain import zone_events as z
from gateway.domain.reasons import Reason
from gateway.flows.entry import EntryFlow
from gateway.flows.purchase import PurchaseFlow
from gateway.wiring import Wiring
from tests.gateway.fakes import FakeDirectory, FakeKey, FakeLock, FakePrinter, settle
from tests.gateway.flows.house import House

NORTH = Gate(name="north", to_zone="hall", lock=Contact("relays", 1), passage=Contact("inputs", 2))
OPEN, CLOSED = PrinterStatus(drawer_pin_high=True), PrinterStatus(drawer_pin_high=False)


class NoOptions(msgspec.Struct):
    pass


class TillOptions(msgspec.Struct):
    printer: str = "printer"
    open_is_high: bool | None = True
    left_open_s: float = 60.0


DRIVERS = {
    "board": DriverEntry("gate", FakeLock, NoOptions, ""),
    "paper": DriverEntry("printer", FakePrinter, NoOptions, ""),
    "kick": DriverEntry("drawer", FakePrinter, TillOptions, ""),
}
TILL = Device("till", "kick", TillOptions(), "till")


class Cabinet:
    """A house whose flows are wired by a configuration: one gate on two boards, a printer and its drawer."""

    def __init__(
        self, drivers: Mapping[str, DriverEntry] = DRIVERS, till: Device = TILL, *, inputs: str = "online"
    ) -> None:
        self.till = till
        self.house = House()
        entry = EntryFlow(self.house.recorder, FakeDirectory(), FakeKey(), self.house.spawn)
        purchase = PurchaseFlow(self.house.recorder, FakeDirectory(), FakeKey())
        self.wiring = Wiring(self.house.recorder, entry, purchase, self.house.spawn, drivers)
        self.slots = {
            "relays": slot("relays", "board"),
            "inputs": slot("inputs", "board"),
            "printer": slot("printer", "paper"),
        }
        self.slots["inputs"].status = inputs
        self.configure(NORTH)

    def configure(self, *gates: Gate, limits: Limits | None = None, **boards: Input) -> None:
        devices = {name: one.device for name, one in self.slots.items()} | {"till": self.till}
        configuration = Configuration(
            venue=Venue(id="v", timezone="UTC", currency="EUR"),
            broker=Broker(url="unix:///broker"),
            devices=devices,
            gates={gate.name: gate for gate in gates},
            limits=limits or Limits(),
            boards=Boards(inputs=boards),
        )
        self.wiring.configure(configuration, self.slots)

    def turn(self, name: str, *, online: bool) -> None:
        self.slots[name].status = "online" if online else "offline"
        self.wiring.device_changed(self.slots[name])

    def contact(self, *, active: bool) -> None:
        self.wiring.device_said(self.slots["inputs"], InputChanged(2, active))

    async def grant(self) -> None:
        granted = e.EntryGranted(
            entry="e1",
            gate="north",
            credential="ref",
            holder="guest",
            entitlement="ticket",
            zone="hall",
            uses=1,
            source="reader",
            passage_observed=True,
        )
        await self.house.recorder.record(granted)

    async def release(self) -> None:
        await self.grant()
        await self.wiring.gates["north"].release("e1")


def slot(name: str, driver: str) -> DeviceSlot:
    made = DeviceSlot(Device(name, driver, NoOptions(), name))
    made.status, made.driver = "online", FakeLock() if driver == "board" else FakePrinter()
    return made


async def test_i04_the_board_of_the_contact_goes_away_after_the_release() -> None:
    cabinet = Cabinet()
    await cabinet.release()
    cabinet.turn("inputs", online=False)
    assert cabinet.wiring.gates["north"].refusal() is Reason.GATE_UNAVAILABLE
    cabinet.turn("inputs", online=True)
    await asyncio.sleep(60)
    assert cabinet.house.kinds() == ["EntryGranted", "GateReleased", "EntryUnknown"]
    assert cabinet.house.state.uses == {"ticket": 1}


async def test_i04_the_board_of_the_contact_is_restarted_by_a_reload_after_the_release() -> None:
    cabinet = Cabinet()
    await cabinet.release()
    cabinet.slots["inputs"] = slot("inputs", "board")
    cabinet.configure(NORTH)
    await asyncio.sleep(60)
    assert cabinet.house.kinds()[-1] == "EntryUnknown"


async def test_an_alarm_ends_when_the_contact_is_found_at_rest_after_its_board_was_restarted() -> None:
    cabinet = Cabinet()
    cabinet.contact(active=True)
    cabinet.slots["inputs"] = slot("inputs", "board")
    cabinet.slots["inputs"].status = "starting"
    cabinet.configure(NORTH)
    assert cabinet.wiring.gates["north"].status == "forced"
    cabinet.turn("inputs", online=True)
    assert cabinet.wiring.gates["north"].refusal() is None


async def test_what_was_open_at_a_gate_that_is_removed_ends() -> None:
    cabinet = Cabinet()
    await cabinet.release()
    cabinet.configure()
    await asyncio.sleep(60)
    assert cabinet.house.kinds() == ["EntryGranted", "GateReleased", "EntryUnknown"]
    assert cabinet.house.state.entries == {}


async def test_a_gate_in_fault_that_comes_back_with_a_reload_works_when_its_board_does() -> None:
    cabinet = Cabinet()
    cabinet.configure()
    cabinet.house.recorder.record(e.GateFault(gate="north", why="no answer"))
    cabinet.configure(NORTH)
    assert cabinet.wiring.gates["north"].refusal() is None


async def test_a_gate_in_fault_that_gets_a_lock_on_another_board_works_again() -> None:
    cabinet = Cabinet()
    cabinet.slots["spare"] = slot("spare", "board")
    cabinet.house.recorder.record(e.GateFault(gate="north", why="no answer"))
    cabinet.turn("relays", online=False)
    cabinet.configure(msgspec.structs.replace(NORTH, lock=Contact("spare", 1)))
    assert cabinet.wiring.gates["north"].refusal() is Reason.GATE_UNAVAILABLE
    await asyncio.sleep(5)
    assert cabinet.wiring.gates["north"].refusal() is None


async def test_a_removed_gate_that_was_in_fault_moves_nothing_when_its_pause_is_over() -> None:
    cabinet = Cabinet()
    await cabinet.grant()
    board = cabinet.slots["relays"].driver
    board.error = DriverError("no answer")
    await cabinet.wiring.gates["north"].release("e1")
    board.error = None
    cabinet.configure()
    await cabinet.house.recorder.record(z.ZoneReleased(zone="", client="staff", reason="smoke"))
    await asyncio.sleep(5)
    assert board.holds == []


async def test_a_guest_whose_gate_got_another_lock_after_the_grant_opens_neither() -> None:
    cabinet = Cabinet()
    await cabinet.grant()
    before = cabinet.wiring.gates["north"]
    vault = Gate(name="vault", to_zone="vip", lock=Contact("relays", 1))
    cabinet.configure(msgspec.structs.replace(NORTH, lock=Contact("relays", 2)), vault)
    await before.release("e1")
    assert cabinet.slots["relays"].driver.pulses == []
    assert cabinet.house.state.uses == {"ticket": 0}


async def test_a_gate_that_staff_locked_down_after_the_grant_stays_shut() -> None:
    cabinet = Cabinet()
    await cabinet.grant()
    await cabinet.house.recorder.record(z.ZoneLockedDown(zone="hall", client="staff", reason="fight"))
    await cabinet.wiring.gates["north"].release("e1")
    assert cabinet.slots["relays"].driver.pulses == []
    assert cabinet.house.state.uses == {"ticket": 0}


FIRE = Input(name="fire", contact=Contact("inputs", 5), means="emergency")
AJAR = Input(name="ajar", contact=Contact("inputs", 6), means="door_held", gate="north")


async def test_an_emergency_input_that_is_new_and_active_already_releases() -> None:
    cabinet = Cabinet()
    cabinet.wiring.device_said(cabinet.slots["inputs"], InputChanged(5, True))
    cabinet.configure(NORTH, fire=FIRE)
    assert cabinet.wiring.inputs.holding("") == ("fire",)
    assert cabinet.wiring.gates["north"].closure == "emergency"


async def test_an_emergency_input_whose_meaning_changed_while_it_is_active_goes_on() -> None:
    cabinet = Cabinet()
    cabinet.configure(NORTH, fire=FIRE)
    cabinet.wiring.device_said(cabinet.slots["inputs"], InputChanged(5, True))
    cabinet.configure(NORTH, fire=msgspec.structs.replace(FIRE, zones=("hall",)))
    assert cabinet.wiring.inputs.holding("hall") == ("fire",)


async def test_a_gate_is_free_when_the_input_that_held_it_open_is_removed() -> None:
    cabinet = Cabinet()
    cabinet.configure(NORTH, ajar=AJAR)
    cabinet.wiring.device_said(cabinet.slots["inputs"], InputChanged(6, True))
    cabinet.configure(NORTH, ajar=AJAR)
    assert cabinet.wiring.gates["north"].refusal() is Reason.BUSY
    cabinet.configure(NORTH)
    assert cabinet.wiring.gates["north"].refusal() is None


async def test_a_gate_that_gets_a_contact_which_is_active_already_knows_that_it_stands_open() -> None:
    cabinet = Cabinet()
    cabinet.wiring.device_said(cabinet.slots["inputs"], InputChanged(7, True))
    cabinet.configure(msgspec.structs.replace(NORTH, passage=Contact("inputs", 7)))
    assert cabinet.wiring.gates["north"].refusal() is Reason.BUSY
    cabinet.wiring.device_said(cabinet.slots["inputs"], InputChanged(7, False))
    assert cabinet.wiring.gates["north"].refusal() is None


async def test_after_a_full_disk_every_gate_and_drawer_says_again_how_it_stands() -> None:
    cabinet = Cabinet()
    cabinet.wiring.device_said(cabinet.slots["printer"], CLOSED)
    cabinet.house.journal.fail()
    cabinet.contact(active=True)
    await settle()
    cabinet.wiring.device_said(cabinet.slots["printer"], OPEN)
    cabinet.house.recorder.recover()
    cabinet.wiring.storage_recovered()
    assert cabinet.wiring.gates["north"].status == "forced"
    assert cabinet.house.state.drawer("till").alarm == "forced"


async def test_a_drawer_that_is_configured_anew_knows_how_its_contact_stands() -> None:
    cabinet = Cabinet()
    cabinet.wiring.device_said(cabinet.slots["printer"], CLOSED)
    cabinet.till = Device("till", "kick", TillOptions(left_open_s=30.0), "another")
    cabinet.configure(NORTH)
    cabinet.wiring.device_said(cabinet.slots["printer"], OPEN)
    await settle()
    assert cabinet.house.kinds() == ["DrawerForced"]
    cabinet.wiring.drawers["till"].close()


async def test_a_drawer_that_loses_its_contact_loses_its_alarm() -> None:
    cabinet = Cabinet()
    cabinet.wiring.device_said(cabinet.slots["printer"], CLOSED)
    cabinet.wiring.device_said(cabinet.slots["printer"], OPEN)
    assert cabinet.house.state.drawer("till").alarm == "forced"
    cabinet.till = Device("till", "kick", TillOptions(open_is_high=None), "another")
    cabinet.configure(NORTH)
    assert cabinet.house.state.drawer("till").alarm == ""


async def test_a_reload_brings_new_limits_to_the_printers_there_are() -> None:
    cabinet = Cabinet()
    cabinet.turn("printer", online=False)
    flow = cabinet.wiring.printers["printer"]
    cabinet.configure(NORTH, limits=Limits(print_queue_jobs=1))
    assert cabinet.wiring.printers["printer"] is flow
    cabinet.house.serve("printer", flow.handlers())
    document = {"document": {"lines": [{"type": "text", "text": "hi"}]}}
    assert cabinet.house.ask("printer", "print", document) is None
    assert cabinet.house.ask("printer", "print", document, id="r2").reason is Reason.BUSY


class CoilOptions(msgspec.Struct):
    relay: str = "relays.3"
    left_open_s: float = 60.0
    contact: str = "inputs.4"
    open_is_active: bool = False


async def test_a_drawer_on_a_relay_opens_by_it_and_is_watched_by_its_input() -> None:
    drivers = DRIVERS | {"coil": DriverEntry("drawer", Coil, CoilOptions, "")}
    cabinet = Cabinet(drivers, Device("till", "coil", CoilOptions(), "till"))
    till, board = cabinet.wiring.drawers["till"], cabinet.slots["relays"]
    assert cabinet.wiring.drawers_at("relays") == ["till"]
    cabinet.wiring.device_said(cabinet.slots["inputs"], InputChanged(4, True))
    assert till.contact == "closed"
    cabinet.house.serve("till", till.handlers())
    cabinet.house.ask("till", "open", {"reason": "sale"}, expires_in_s=5)
    await settle()
    assert board.driver.pulses == [(3, 150)]
    cabinet.wiring.device_said(cabinet.slots["inputs"], InputChanged(4, False))
    await asyncio.sleep(1)
    assert till.contact == "open"
    assert cabinet.house.kinds() == ["DrawerOpening", "DrawerOpened"]
    cabinet.turn("relays", online=False)
    assert not cabinet.wiring.drawer_online("till")


async def test_a_drawer_found_open_when_its_board_comes_is_no_alarm_and_one_opened_later_is() -> None:
    drivers = DRIVERS | {"coil": DriverEntry("drawer", Coil, CoilOptions, "")}
    cabinet = Cabinet(drivers, Device("till", "coil", CoilOptions(), "till"), inputs="starting")
    till = cabinet.wiring.drawers["till"]
    assert till.contact == "unknown"
    cabinet.turn("inputs", online=True)
    assert till.contact == "open", "its input rests, and resting means open here"
    cabinet.wiring.device_said(cabinet.slots["inputs"], InputChanged(4, True))
    await settle()
    assert (till.contact, cabinet.house.kinds()) == ("closed", [])
    cabinet.wiring.device_said(cabinet.slots["inputs"], InputChanged(4, False))
    await settle()
    assert cabinet.house.kinds() == ["DrawerForced"]
    till.close()


async def test_a_drawer_that_is_configured_anew_while_it_opens_raises_no_alarm() -> None:
    drivers = DRIVERS | {"coil": DriverEntry("drawer", Coil, CoilOptions, "")}
    cabinet = Cabinet(drivers, Device("till", "coil", CoilOptions(), "till"))
    cabinet.wiring.device_said(cabinet.slots["inputs"], InputChanged(4, True))
    cabinet.house.serve("till", cabinet.wiring.drawers["till"].handlers())
    cabinet.house.ask("till", "open", {"reason": "sale"}, expires_in_s=5)
    await settle()
    cabinet.till = Device("till", "coil", CoilOptions(left_open_s=30.0), "another")
    cabinet.configure(NORTH)
    await settle()
    cabinet.wiring.device_said(cabinet.slots["inputs"], InputChanged(4, False))
    await asyncio.sleep(2)
    assert cabinet.house.kinds() == ["DrawerOpening", "DrawerOpened"]
    cabinet.wiring.drawers["till"].close()


class Coil:
    def __init__(self, options: CoilOptions, board: FakeLock) -> None:
        self._board = board

    async def open(self) -> None:
        await self._board.pulse(3, 150)
