"""What staff order: lockdown, emergency, the way back, the block list; and gates that follow, whatever breaks."""

from __future__ import annotations

import asyncio
from datetime import time
from zoneinfo import ZoneInfo

import pytest

from drivers.api import DeviceTimeout
from gateway.config.schema import Contact, Gate
from gateway.domain import events as e
from gateway.domain.access import Entitlement, ZoneMap
from gateway.domain.reasons import Reason
from gateway.flows.gate import GateFlow
from gateway.flows.zones import OrdersFlow
from gateway.store.journal import StorageUnavailable
from tests.gateway.fakes import START_MS, Disk, settle
from tests.gateway.flows.house import CLIENT
from tests.gateway.flows.test_entry import CARD, OTHER_CARD, UTC, Doors

HELD, LET_GO = (1, True), (1, False)


class Venue(Doors):
    """Two doors into the hall, and staff who give orders at the target `gateway`."""

    def __init__(self, *, disk: Disk | None = None) -> None:
        super().__init__(disk=disk)
        self.orders = OrdersFlow(self.house.recorder, self.flow.lookup, self.gates, self.house.spawn)
        self.house.serve("gateway", self.orders.handlers())
        self._number = 100 if disk else 0

    def order(self, verb: str, **data: object) -> object:
        self._number += 1
        data = {"reason": "drill", **data}
        return self.house.ask("gateway", verb, data, id=f"order-{self._number}", expires_in_s=5)

    def start(self) -> None:
        """What a start does with boards that answer."""
        self.house.settle_the_past()
        self.orders.follow()
        for gate in self.gates.values():
            gate.lock_answers()


@pytest.fixture
def venue() -> Venue:
    return Venue()


# Lockdown.


async def test_a_lockdown_admits_nobody_until_it_is_restored(venue: Venue) -> None:
    venue.order("lock_down", zone="hall")
    venue.tap()
    await asyncio.sleep(1)
    venue.order("restore", zone="hall")
    await asyncio.sleep(1)
    venue.tap()
    await asyncio.sleep(1)
    assert venue.decisions() == [Reason.GATE_LOCKED, "granted"]
    assert venue.house.statuses("order-1") == venue.house.statuses("order-2") == ["done"]
    order = venue.house.events[0]
    assert (order.client, order.reason, order.zone) == (CLIENT, "drill", "hall")


async def test_a_lockdown_of_the_whole_venue_outlasts_the_restoring_of_a_zone(venue: Venue) -> None:
    venue.order("lock_down")
    venue.order("restore", zone="hall")
    await asyncio.sleep(1)
    [*_, (_, answer)] = venue.house.told
    assert "the whole venue" in answer.message
    venue.tap()
    await asyncio.sleep(1)
    assert venue.decisions() == [Reason.GATE_LOCKED]


async def test_a_lockdown_survives_a_crash(venue: Venue) -> None:
    venue.order("lock_down", zone="hall")
    await asyncio.sleep(1)
    await venue.house.crash()
    after = Venue(disk=venue.house.journal.disk)
    after.start()
    after.tap()
    await asyncio.sleep(1)
    assert after.decisions() == [Reason.GATE_LOCKED]


async def test_no_lockdown_ends_an_emergency(venue: Venue) -> None:
    venue.order("emergency_release", zone="hall")
    await asyncio.sleep(1)
    answer = venue.order("lock_down", zone="hall")
    assert (answer.status, answer.reason) == ("denied", Reason.EMERGENCY)
    assert venue.gates["north"].closure == "emergency"


async def test_a_zone_nobody_knows_is_named(venue: Venue) -> None:
    answer = venue.order("lock_down", zone="hal")
    assert (answer.status, answer.reason) == ("denied", Reason.UNKNOWN_ZONE)
    assert "'hal'" in answer.message
    assert "hall, vip" in answer.message


# Emergency.


async def test_an_emergency_holds_every_gate_of_the_zone_open_and_lets_go_after_it(venue: Venue) -> None:
    venue.order("emergency_release", zone="hall")
    await asyncio.sleep(1)
    assert [lock.holds for lock in venue.locks.values()] == [[HELD], [HELD]]
    assert venue.gates["north"].shown == "emergency"
    venue.tap()
    venue.walk_through("north")
    venue.walk_through("north")
    await asyncio.sleep(3600)
    assert venue.decisions() == [Reason.EMERGENCY]
    assert "GateForced" not in venue.house.kinds(), "everyone may walk through"
    venue.order("restore", zone="hall")
    await asyncio.sleep(1)
    assert [lock.holds for lock in venue.locks.values()] == [[HELD, LET_GO], [HELD, LET_GO]]
    assert venue.gates["north"].refusal() is None


async def test_an_emergency_of_another_zone_leaves_a_gate_alone(venue: Venue) -> None:
    venue.order("emergency_release", zone="vip")
    venue.tap()
    await asyncio.sleep(1)
    assert venue.decisions() == ["granted"]
    assert venue.locks["north"].holds == []


async def test_i01_no_gate_is_opened_before_the_order_is_on_disk(venue: Venue) -> None:
    venue.house.journal.hold()
    venue.order("emergency_release")
    await asyncio.sleep(5)
    assert venue.locks["north"].holds == []
    venue.house.journal.release()
    await asyncio.sleep(1)
    assert venue.locks["north"].holds == [HELD]


async def test_i01_an_order_that_could_not_be_stored_opens_nothing_and_is_refused(venue: Venue) -> None:
    refused: list[e.RequestRef] = []
    venue.house.recorder.failure_listeners.append(lambda requests, _: refused.extend(requests))
    venue.house.journal.fail()
    venue.order("emergency_release")
    await asyncio.sleep(5)
    assert len(refused) == 1
    venue.house.recorder.recover()
    venue.orders.follow()
    await asyncio.sleep(5)
    assert venue.locks["north"].holds == []
    assert venue.gates["north"].refusal() is None


async def test_a_board_that_was_away_is_held_again_when_it_is_back(venue: Venue) -> None:
    venue.order("emergency_release")
    await asyncio.sleep(1)
    north = venue.locks["north"]
    north.online = False
    await asyncio.sleep(60)
    assert north.holds == [HELD]
    north.online = True
    venue.gates["north"].lock_answers()
    await asyncio.sleep(1)
    assert north.holds == [HELD, HELD]


async def test_a_board_that_is_away_when_it_begins_is_held_when_it_comes(venue: Venue) -> None:
    venue.locks["north"].online = False
    venue.order("emergency_release")
    await asyncio.sleep(60)
    assert venue.locks["north"].holds == []
    assert venue.locks["south"].holds == [HELD], "one board that is away delays no other"
    venue.locks["north"].online = True
    venue.gates["north"].lock_answers()
    await asyncio.sleep(1)
    assert venue.locks["north"].holds == [HELD]


async def test_a_board_that_does_not_confirm_is_told_until_it_does(venue: Venue) -> None:
    north = venue.locks["north"]
    north.error = DeviceTimeout("no answer")
    venue.order("emergency_release")
    await asyncio.sleep(30)
    assert north.holds == []
    north.error = None
    await asyncio.sleep(1)
    assert north.holds == [HELD]


async def test_a_board_whose_answer_was_lost_is_let_go_after_the_emergency(venue: Venue) -> None:
    north = venue.locks["north"]
    north.answers_lost = 1
    venue.order("emergency_release")
    await asyncio.sleep(0.1)
    assert north.holds == [HELD], "the board did it, and nobody heard"
    venue.order("restore")
    assert venue.gates["north"].door.lock_open, "nobody knows, so a man-trap's other door stays shut"
    await asyncio.sleep(5)
    assert north.holds == [HELD, LET_GO]
    assert not venue.gates["north"].door.lock_open


async def test_a_board_whose_answer_to_letting_go_was_lost_is_told_again_whatever_is_heard_of_it(venue: Venue) -> None:
    north = venue.locks["north"]
    venue.order("emergency_release")
    await asyncio.sleep(1)
    north.error = DeviceTimeout("no answer")
    venue.order("restore")
    await asyncio.sleep(0.1)
    # As after the pause that follows a pulse nobody confirmed: the board was there, and its relay is still closed.
    venue.gates["north"].lock_answers()
    assert venue.gates["north"].door.lock_open
    north.error = None
    await asyncio.sleep(1)
    assert north.holds == [HELD, LET_GO]


async def test_a_gate_that_is_configured_no_more_lets_go_of_a_lock_nobody_is_sure_of(venue: Venue) -> None:
    north = venue.locks["north"]
    venue.order("emergency_release")
    await asyncio.sleep(1)
    north.error = DeviceTimeout("no answer")
    venue.order("restore")
    await asyncio.sleep(0.1)
    venue.gates["north"].retire()
    north.error = None
    await asyncio.sleep(1)
    assert north.holds == [HELD, LET_GO]


async def test_a_bug_in_a_driver_does_not_end_an_emergency(venue: Venue) -> None:
    north = venue.locks["north"]
    north.error = ZeroDivisionError("a bug")
    venue.order("emergency_release")
    await asyncio.sleep(1)
    north.error = None
    await asyncio.sleep(1)
    assert north.holds == [HELD]


async def test_what_was_ordered_for_a_zone_that_is_gone_can_be_taken_back(venue: Venue) -> None:
    venue.order("lock_down", zone="vip")
    await asyncio.sleep(1)
    venue.house.state.set_zones(ZoneMap(within={"hall": None}, capacity={}))
    assert venue.order("lock_down", zone="yard").reason is Reason.UNKNOWN_ZONE
    assert venue.order("restore", zone="vip") is None
    assert venue.house.state.closures == {}


async def test_an_emergency_survives_a_crash_and_ends_after_it(venue: Venue) -> None:
    venue.order("emergency_release")
    await asyncio.sleep(1)
    await venue.house.crash()
    after = Venue(disk=venue.house.journal.disk)
    after.start()
    await asyncio.sleep(1)
    assert after.locks["north"].holds == [HELD]
    after.order("restore")
    await asyncio.sleep(1)
    assert after.locks["north"].holds == [HELD, LET_GO]


async def test_an_emergency_survives_a_changed_gate_and_a_removed_gate_is_let_go(venue: Venue) -> None:
    venue.order("emergency_release")
    await asyncio.sleep(1)
    before, lock = venue.gates["north"], venue.locks["north"]
    config = Gate(name="north", to_zone="hall", lock=Contact("north-board", 1), pulse_ms=900)
    after = GateFlow(config, venue.house.recorder, lock)
    before.close()
    after.take_over(before)
    after.follow_closure()
    await asyncio.sleep(1)
    assert lock.holds == [HELD, HELD]
    after.retire()
    await asyncio.sleep(1)
    assert lock.holds == [HELD, HELD, LET_GO]


async def test_a_gate_whose_zone_changed_during_an_emergency_is_let_go(venue: Venue) -> None:
    venue.order("emergency_release", zone="vip")
    lock = venue.locks["north"]
    config = Gate(name="north", to_zone="vip", lock=Contact("north-board", 1))
    vip = GateFlow(config, venue.house.recorder, lock)
    vip.follow_closure()
    await asyncio.sleep(1)
    assert lock.holds == [HELD]
    vip.close()
    venue.gates["north"].take_over(vip)
    venue.gates["north"].follow_closure()
    await asyncio.sleep(1)
    assert lock.holds[-1] == LET_GO


async def test_a_gate_left_open_after_an_emergency_is_an_alarm(venue: Venue) -> None:
    venue.order("emergency_release")
    await asyncio.sleep(1)
    venue.gates["north"].contact_changed(active=True)
    await asyncio.sleep(3600)
    assert "GateHeldOpen" not in venue.house.kinds()
    venue.order("restore")
    await asyncio.sleep(60)
    assert venue.house.kinds().count("GateHeldOpen") == 1


async def test_what_moves_metal_needs_an_expiry(venue: Venue) -> None:
    for verb in ("emergency_release", "restore"):
        answer = venue.house.ask("gateway", verb, {"reason": "r"}, id=verb)
        assert answer.reason is Reason.EXPIRY_REQUIRED


# The block list.


@pytest.mark.parametrize(
    "whom",
    [
        {"credential": {"technology": "em4100", "value": CARD}},
        {"holder": "guest-1"},
    ],
)
async def test_a_block_acts_at_once_and_an_unblock_too(venue: Venue, whom: dict[str, object]) -> None:
    venue.directory.add(OTHER_CARD, "guest-2", Entitlement("ticket-2", "guest-2", ("hall",)))
    venue.house.journal.hold()
    venue.order("block", **whom)
    venue.tap("north")
    venue.tap("south", OTHER_CARD)
    venue.house.journal.release()
    await asyncio.sleep(60)
    venue.order("unblock", **whom)
    venue.tap("north")
    await asyncio.sleep(1)
    assert venue.decisions() == [Reason.BLOCKED, "granted", "granted"]


async def test_a_block_of_a_card_leaves_the_other_cards_of_its_holder(venue: Venue) -> None:
    venue.directory.add(OTHER_CARD, "guest-1", Entitlement("ticket-1", "guest-1", ("hall",), uses_total=1))
    venue.order("block", credential={"technology": "em4100", "value": CARD})
    venue.tap("north", CARD)
    venue.tap("south", OTHER_CARD)
    await asyncio.sleep(1)
    assert venue.decisions() == [Reason.BLOCKED, "granted"]


async def test_a_block_survives_a_crash_and_counts_for_cards_nobody_knows(venue: Venue) -> None:
    venue.order("block", credential={"technology": "em4100", "value": "FFFFFFFFFF"})
    await asyncio.sleep(1)
    await venue.house.crash()
    after = Venue(disk=venue.house.journal.disk)
    after.tap("north", "FFFFFFFFFF")
    await asyncio.sleep(1)
    assert after.decisions() == [Reason.BLOCKED]


@pytest.mark.parametrize("whom", [{}, {"holder": "g", "ref": "0" * 32}])
async def test_a_block_names_exactly_one(venue: Venue, whom: dict[str, object]) -> None:
    answer = venue.order("block", **whom)
    assert (answer.status, answer.reason) == ("denied", Reason.MALFORMED)


async def test_i09_a_full_block_list_says_so(venue: Venue, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("gateway.domain.zones.BLOCKS_MAX", 1)
    venue.order("block", holder="a")
    assert venue.order("block", holder="b").reason is Reason.BUSY


# The hour at which everyone counts as gone.


async def test_at_the_reset_time_everyone_counts_as_gone_once(venue: Venue) -> None:
    two = Entitlement("ticket-1", "guest-1", ("hall",), uses_total=2)
    venue.directory.add(CARD, "guest-1", two)
    in_an_hour = ((START_MS // 60_000) % 1440 + 60) % 1440
    venue.orders.configure({"hall": time(in_an_hour // 60, in_an_hour % 60)}, UTC)
    venue.tap()
    await asyncio.sleep(1)
    venue.walk_through()
    venue.orders.reset_due()
    await asyncio.sleep(1)
    assert venue.house.state.occupancy["hall"] == 1
    await asyncio.sleep(3600)
    for _ in range(3):
        venue.orders.reset_due()
    await settle()
    assert venue.house.state.occupancy["hall"] == 0
    assert venue.house.kinds().count("ZoneReset") == 1
    venue.tap("south")
    await asyncio.sleep(1)
    assert venue.decisions() == ["granted", "granted"]


async def test_a_reset_that_cannot_be_stored_is_tried_again(venue: Venue) -> None:
    venue.orders.configure({"hall": time()}, ZoneInfo("Europe/Berlin"))
    venue.tap()
    await asyncio.sleep(1)
    venue.walk_through()
    await asyncio.sleep(26 * 3600)
    venue.house.journal.fail()
    with pytest.raises(StorageUnavailable):
        await venue.tap("south")
    venue.orders.reset_due()
    venue.house.recorder.recover()
    assert venue.house.state.occupancy["hall"] == 1
    venue.orders.reset_due()
    assert venue.house.state.occupancy["hall"] == 0
