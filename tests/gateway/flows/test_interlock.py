"""A man-trap's two doors and a turnstile's two directions: never both open, whatever guests and boards do."""

from __future__ import annotations

import asyncio
from random import Random

import msgspec
import pytest

from drivers.api import DeviceOffline, InputChanged
from gateway.config.boards import Boards, Input, Output
from gateway.config.schema import Broker, Configuration, Contact, Gate, Venue
from gateway.domain import events as e
from gateway.domain.reasons import Reason
from gateway.flows.entry import EntryFlow
from gateway.flows.gate import RELEASE_TIMEOUT_S
from gateway.flows.purchase import PurchaseFlow
from gateway.wiring import Wiring
from tests.gateway.fakes import FakeDirectory, FakeKey, FakeLock, settle
from tests.gateway.flows.house import House
from tests.gateway.flows.test_wiring import DRIVERS, slot

OUTER = Gate(name="outer", to_zone="hall", lock=Contact("board", 1), passage=Contact("board", 1), pulse_ms=700)
INNER = Gate(
    name="inner", from_zone="hall", to_zone="vip", lock=Contact("board", 2), passage=Contact("board", 2), pulse_ms=3000
)


class Trap:
    """Two gates of one interlock on one board, wired by a configuration."""

    def __init__(self, *gates: Gate, **boards: object) -> None:
        self.house = House()
        entry = EntryFlow(self.house.recorder, FakeDirectory(), FakeKey(), self.house.spawn)
        purchase = PurchaseFlow(self.house.recorder, FakeDirectory(), FakeKey())
        self.wiring = Wiring(self.house.recorder, entry, purchase, self.house.spawn, DRIVERS)
        self.house.recorder.listeners.append(self.wiring.outputs.committed)
        self.board, self.other = slot("board", "board"), slot("other", "board")
        self.house.serve("gateway", self.wiring.orders.handlers())
        self.number = 0
        self.configure(*(gates or (OUTER, INNER)), **boards)

    def configure(self, *gates: Gate, **boards: object) -> None:
        interlocks = {"trap": tuple(gate.name for gate in gates)}
        configuration = Configuration(
            venue=Venue(id="v", timezone="UTC", currency="EUR"),
            broker=Broker(url="unix:///broker"),
            devices={"board": self.board.device, "other": self.other.device},
            gates={gate.name: gate for gate in gates},
            boards=Boards(**{"interlocks": interlocks, **boards}),
        )
        self.wiring.configure(configuration, {"board": self.board, "other": self.other})

    @property
    def lock(self) -> FakeLock:
        return self.board.driver

    def gate(self, name: str):
        return self.wiring.gates[name]

    def contact(self, channel: int, active: bool) -> None:
        self.wiring.device_said(self.board, InputChanged(channel, active))

    def turn(self, *, online: bool) -> None:
        self.board.status = "online" if online else "offline"
        self.wiring.device_changed(self.board)

    def tap(self, name: str) -> Reason | None:
        """Decide as the entry flow does: look and record in one go, then open once it is on disk."""
        gate = self.gate(name)
        refusal = gate.refusal()
        if refusal is None:
            self.number += 1
            entry = f"e{self.number}"
            granted = e.EntryGranted(
                entry=entry, gate=name, credential="c", holder=entry, entitlement="t", zone="", uses=1, source="r",
                passage_observed=True,
            )  # fmt: skip
            commit = self.house.recorder.record(granted)
            self.house.spawn(self._open(gate, entry, commit))
        return refusal

    async def _open(self, gate, entry, commit) -> None:
        await commit
        await gate.release(entry)

    def order(self, verb: str, **data: object):
        self.number += 1
        return self.house.ask("gateway", verb, {"reason": "drill", **data}, id=f"o{self.number}", expires_in_s=5)


async def test_the_second_door_waits_for_the_first() -> None:
    trap = Trap()
    assert trap.tap("outer") is None
    assert trap.tap("inner") is Reason.INTERLOCKED, "the outer door is released"
    await asyncio.sleep(0.1)
    trap.contact(1, True)
    assert trap.tap("inner") is Reason.INTERLOCKED, "someone stands in the outer door"
    trap.contact(1, False)
    assert trap.tap("inner") is Reason.INTERLOCKED, "its lock is still open"
    await asyncio.sleep(1)
    assert trap.tap("inner") is None
    assert trap.tap("outer") is Reason.INTERLOCKED
    await asyncio.sleep(0.1)
    assert trap.lock.pulses == [(1, 700), (2, 3000)]


async def test_the_lock_of_a_slow_board_is_open_from_when_it_confirmed() -> None:
    trap = Trap()
    trap.lock.answer = asyncio.Event()
    trap.tap("outer")
    await asyncio.sleep(1.5)
    trap.lock.answer.set()
    await asyncio.sleep(0.1)
    trap.contact(1, True)
    trap.contact(1, False)
    await asyncio.sleep(0.5)
    assert trap.tap("inner") is Reason.INTERLOCKED, "its pulse of 700 ms began a moment ago"
    await asyncio.sleep(0.5)
    assert trap.tap("inner") is None


async def test_two_taps_in_the_same_moment_open_one_door() -> None:
    trap = Trap()
    assert [trap.tap("inner"), trap.tap("outer")] == [None, Reason.INTERLOCKED]
    await asyncio.sleep(0.1)
    assert trap.lock.pulses == [(2, 3000)]


async def test_a_door_that_is_forced_between_grant_and_pulse_stops_the_other() -> None:
    trap = Trap()
    trap.house.journal.hold()
    assert trap.tap("inner") is None
    trap.contact(1, True)
    trap.house.journal.release()
    await asyncio.sleep(0.1)
    assert trap.lock.pulses == []
    assert "EntryReturned" in trap.house.kinds()


async def test_a_door_whose_board_is_away_keeps_the_other_shut() -> None:
    trap = Trap(OUTER, Gate(name="inner", to_zone="vip", lock=Contact("other", 2), passage=Contact("other", 2)))
    assert trap.gate("outer").refusal() is None
    trap.other.status = "offline"
    assert trap.gate("outer").refusal() is Reason.GATE_UNAVAILABLE
    assert trap.gate("inner").shown == "offline"


async def test_after_an_emergency_a_door_that_stands_open_keeps_the_other_shut() -> None:
    trap = Trap()
    trap.order("emergency_release")
    await asyncio.sleep(0.1)
    assert trap.lock.holds == [(1, True), (2, True)], "an emergency goes before an interlock"
    trap.contact(1, True)
    trap.order("restore")
    await asyncio.sleep(0.1)
    assert trap.tap("inner") is Reason.INTERLOCKED
    trap.contact(1, False)
    await settle()
    assert trap.tap("inner") is None


async def test_a_lock_that_took_nothing_is_not_open() -> None:
    trap = Trap()
    trap.lock.error = DeviceOffline("unplugged")
    trap.tap("outer")
    await asyncio.sleep(0.1)
    trap.lock.error = None
    assert trap.tap("inner") is None


async def test_a_lock_that_took_nothing_may_still_be_open_from_the_guest_before() -> None:
    trap = Trap()
    assert trap.tap("inner") is None
    await asyncio.sleep(0.1)
    trap.contact(2, True)
    trap.contact(2, False)
    trap.lock.error = DeviceOffline("unplugged")
    assert trap.tap("inner") is None
    await asyncio.sleep(0.1)
    assert trap.tap("outer") is Reason.INTERLOCKED, "the first pulse lasts three seconds"
    await asyncio.sleep(3.2)
    trap.lock.error = None
    assert trap.tap("outer") is None


@pytest.mark.parametrize("seed", range(40))
async def test_the_two_doors_never_stand_open_together(seed: int) -> None:
    """Guests tap, walk, dawdle and stay away at random; a door can only be open while its relay let it."""
    random, trap = Random(seed), Trap()
    loop = asyncio.get_running_loop()
    open_doors: set[str] = set()
    opened = 0

    async def walk(name: str, channel: int, pulses: int) -> None:
        await asyncio.sleep(random.uniform(0, 3))
        mine = [at for at, (one, _) in enumerate(trap.lock.pulses) if one == channel]
        if len(mine) <= pulses or random.random() < 0.3:
            return
        nonlocal opened
        opened += 1
        open_doors.add(name)
        assert len(open_doors) == 1, f"both doors are open at {loop.time()}"
        trap.contact(channel, True)
        await asyncio.sleep(random.uniform(0.2, 6))
        open_doors.discard(name)
        trap.contact(channel, False)

    walking = []
    for _ in range(60):
        name, channel = random.choice([("outer", 1), ("inner", 2)])
        pulses = sum(one == channel for one, _ in trap.lock.pulses)
        if trap.tap(name) is None:
            walking.append(asyncio.create_task(walk(name, channel, pulses)))
        await asyncio.sleep(random.uniform(0.05, 4))
    await asyncio.gather(*walking)
    assert opened > 3


TURNSTILE = (
    Gate(name="way-in", to_zone="hall", lock=Contact("board", 1), passage=Contact("board", 1)),
    Gate(name="way-out", from_zone="hall", lock=Contact("board", 2), passage=Contact("board", 1)),
)


async def test_a_turnstile_with_one_contact_counts_for_the_direction_that_was_released() -> None:
    trap = Trap(*TURNSTILE)
    assert trap.tap("way-out") is None
    assert trap.tap("way-in") is Reason.INTERLOCKED
    await asyncio.sleep(0.1)
    trap.contact(1, True)
    trap.contact(1, False)
    await asyncio.sleep(2)
    assert trap.house.kinds() == ["EntryGranted", "GateReleased", "EntryPassed"]
    assert trap.tap("way-in") is None
    await asyncio.sleep(0.1)
    trap.contact(1, True)
    await settle()
    assert trap.house.kinds()[-1] == "EntryPassed"
    assert trap.house.events[-1].gate == "way-in"
    trap.contact(1, False)


async def test_a_turnstile_that_nobody_released_raises_one_alarm() -> None:
    trap = Trap(*TURNSTILE)
    trap.contact(1, True)
    trap.contact(1, False)
    await settle()
    assert trap.house.kinds() == ["GateForced", "GateClosed"]
    assert trap.tap("way-out") is None


# Inputs.

FIRE = Input(name="fire", contact=Contact("board", 5), means="emergency", zones=("hall",))
TAMPER = Input(name="cabinet", contact=Contact("board", 6), means="tamper")
HELD = Input(name="outer-held", contact=Contact("board", 7), means="door_held", gate="outer")
INPUTS = {one.name: one for one in (FIRE, TAMPER, HELD)}


async def test_i01_an_emergency_input_releases_its_zones_once_that_is_on_disk() -> None:
    trap = Trap(inputs=INPUTS)
    trap.house.journal.hold()
    trap.contact(5, True)
    await asyncio.sleep(1)
    assert trap.lock.holds == []
    trap.house.journal.release()
    await asyncio.sleep(0.1)
    assert trap.lock.holds == [(1, True), (2, True)]
    released = next(event for event in trap.house.events if type(event).__name__ == "ZoneReleased")
    assert (released.zone, released.client, released.reason) == ("hall", "input/fire", "the input fire is active")


async def test_a_zone_is_not_restored_while_its_emergency_input_is_active() -> None:
    trap = Trap(inputs=INPUTS)
    trap.contact(5, True)
    await asyncio.sleep(0.1)
    answer = trap.order("restore", zone="hall")
    assert (answer.reason, answer.message) == (
        Reason.EMERGENCY,
        "The emergency input fire is still active. Reset what it is wired to first.",
    )
    trap.contact(5, False)
    await asyncio.sleep(0.1)
    assert trap.gate("outer").shown == "emergency", "an input at rest ends nothing; a person looks first"
    trap.order("restore", zone="hall")
    await asyncio.sleep(0.1)
    assert trap.gate("outer").shown == "locked"
    assert trap.lock.holds[-2:] == [(1, False), (2, False)]


async def test_an_emergency_that_the_disk_refused_is_ordered_when_it_works_again() -> None:
    trap = Trap(inputs=INPUTS)
    trap.house.journal.fail()
    trap.contact(5, True)
    await asyncio.sleep(0.1)
    assert trap.lock.holds == []
    trap.house.recorder.recover()
    trap.wiring.storage_recovered()
    await asyncio.sleep(0.1)
    assert (1, True) in trap.lock.holds


async def test_tamper_and_door_held_are_facts_and_troubles() -> None:
    trap = Trap(inputs=INPUTS)
    trap.contact(6, True)
    trap.contact(7, True)
    await settle()
    assert trap.wiring.inputs.troubles(lambda _: True) == ["input cabinet: tamper", "input outer-held: door held"]
    assert trap.gate("outer").shown == "held_open"
    assert trap.tap("inner") is Reason.INTERLOCKED
    trap.contact(6, False)
    trap.contact(7, False)
    await settle()
    assert trap.house.kinds() == ["InputActive", "InputActive", "GateHeldOpen", "InputIdle", "InputIdle", "GateClosed"]
    assert trap.wiring.inputs.troubles(lambda _: False)[0] == "input fire: its board does not answer"


# Outputs.

LAMP = Output(name="lamp", relay=Contact("board", 3), on=("granted",), gates=("outer",), pulse_ms=1500)
SIREN = Output(name="siren", relay=Contact("board", 4), on=("forced", "held_open", "tamper", "emergency"))


async def test_a_lamp_shows_a_grant_and_a_siren_an_alarm_for_as_long_as_it_lasts() -> None:
    trap = Trap(inputs=INPUTS, outputs={"lamp": LAMP, "siren": SIREN})
    trap.tap("outer")
    await asyncio.sleep(0.1)
    assert sorted(trap.lock.pulses) == [(1, 700), (3, 1500)]
    trap.contact(1, True)
    trap.contact(1, False)
    await asyncio.sleep(5)
    assert trap.lock.holds == []
    trap.contact(2, True)
    await asyncio.sleep(0.1)
    assert trap.lock.holds == [(4, True)]
    trap.contact(6, True)
    trap.contact(2, False)
    await asyncio.sleep(0.1)
    assert trap.lock.holds == [(4, True)], "the cabinet is still open"
    trap.contact(6, False)
    await asyncio.sleep(0.1)
    assert trap.lock.holds == [(4, True), (4, False)]


async def test_i01_a_siren_waits_for_the_disk() -> None:
    trap = Trap(outputs={"siren": SIREN})
    trap.house.journal.hold()
    trap.contact(1, True)
    await asyncio.sleep(1)
    assert trap.lock.holds == []
    trap.house.journal.release()
    await asyncio.sleep(0.1)
    assert trap.lock.holds == [(4, True)]


async def test_an_output_is_held_again_when_its_board_is_back() -> None:
    trap = Trap(outputs={"siren": SIREN})
    trap.contact(1, True)
    await asyncio.sleep(0.1)
    trap.turn(online=False)
    await asyncio.sleep(1)
    trap.turn(online=True)
    await asyncio.sleep(0.1)
    assert trap.lock.holds == [(4, True), (4, True)]


async def test_an_output_whose_board_is_away_stops_nobody() -> None:
    trap = Trap(outputs={"lamp": LAMP})
    trap.lock.error = DeviceOffline("unplugged")
    assert trap.tap("outer") is None
    await asyncio.sleep(RELEASE_TIMEOUT_S)
    assert trap.house.kinds() == ["EntryGranted", "EntryReturned"]


async def test_a_reload_forgets_no_lock_that_is_still_open() -> None:
    trap = Trap()
    trap.tap("inner")
    await asyncio.sleep(0.1)
    trap.contact(2, True)
    trap.contact(2, False)
    await settle()
    trap.configure(OUTER, msgspec.structs.replace(INNER, held_open_s=30))
    assert trap.tap("outer") is Reason.INTERLOCKED
    await asyncio.sleep(4)
    assert trap.tap("outer") is None
