"""I10: who vouches for the time, what is done until somebody does, and what becomes of a clock that jumps."""

from __future__ import annotations

import asyncio
from typing import Any

import msgspec
import pytest

from gateway.config.schema import Clock
from gateway.domain import clock_events as c
from gateway.domain import events as e
from gateway.domain.ids import Uuid7
from gateway.domain.reasons import Reason
from gateway.domain.state import VenueState
from gateway.flows.clock import ClockFlow
from gateway.flows.desk import Desk
from gateway.flows.recorder import Recorder
from gateway.flows.venue_clock import VenueClock
from tests.gateway.fakes import START_MS, Disk, FakeJournal, settle
from tests.gateway.flows.house import CLIENT, ZONES, request

HOUR_MS = 3_600_000


class Machine:
    """A machine whose clock a test sets. It starts when the loop does."""

    def __init__(self, boot: str = "boot-1") -> None:
        self.boot = boot
        self.off_ms = 0
        self.ntp = False
        self.battery = False

    def wall_ms(self) -> int:
        return START_MS + self.off_ms + int(asyncio.get_running_loop().time() * 1000)

    def elapsed_ms(self) -> int:
        return int(asyncio.get_running_loop().time() * 1000)

    def synchronised(self) -> bool:
        return self.ntp

    def has_battery(self) -> bool:
        return self.battery


class Left(msgspec.Struct):
    boot: str
    elapsed_ms: int
    at_ms: int
    reason: str = "by the station clock"


class Watch:
    """A recorder with its clock. A second one over the same disk and machine is a restart of the gateway."""

    def __init__(self, machine: Machine | None = None, disk: Disk | None = None, **policy: Any) -> None:
        self.machine = machine or Machine()
        self.journal = FakeJournal(disk)
        self.clock = VenueClock(self.machine)
        self.recorder = Recorder(VenueState(ZONES), self.journal, self.clock.now_ms, Uuid7(bytes))
        self.recorder.restore()
        self.told = 0
        self.left: Left | None = None
        self.flow = ClockFlow(self.recorder, self.clock, self._changed, self._take)
        self.policy = Clock(**{"trust": "vouched", **policy})
        self.flow.start(self.policy)

    def _changed(self) -> None:
        self.told += 1

    def _take(self) -> Left | None:
        left, self.left = self.left, None
        return left

    async def note(self, name: str = "thing") -> dict[str, Any]:
        """Record something, and return its row."""
        await self.recorder.record(e.DeviceOnline(device=name))
        row = self.journal.disk.rows[-1]
        return {"at_ms": row.at_ms, **msgspec.json.decode(row.body)}

    def kinds(self) -> list[str]:
        return [str(msgspec.json.decode(row.body)["kind"]) for row in self.journal.disk.rows]

    async def jump(self, by_ms: int) -> None:
        self.machine.off_ms += by_ms
        self.flow.look()
        await settle()
        await asyncio.sleep(0.1)


async def test_i10_what_is_recorded_before_anybody_vouches_is_marked() -> None:
    watch = Watch()
    assert not watch.flow.trusted
    assert (await watch.note())["clock"] == "untrusted"
    watch.machine.ntp = True
    watch.flow.look()
    assert watch.flow.trusted
    assert "clock" not in await watch.note()
    assert watch.kinds() == ["clock.doubted", "device.online", "clock.vouched", "device.online"]


@pytest.mark.parametrize(
    ("policy", "battery", "trusted"),
    [
        ({"trust": "auto"}, True, True),
        ({"trust": "auto"}, False, False),
        ({"trust": "system"}, False, True),
        ({"trust": "vouched"}, True, False),
    ],
)
async def test_i10_whose_clock_is_believed_from_the_start(policy: Any, battery: bool, trusted: bool) -> None:
    machine = Machine()
    machine.battery = battery
    watch = Watch(machine, **policy)
    assert watch.flow.trusted is trusted
    await asyncio.sleep(0.1)
    # Where nothing is in doubt, nothing is said of the clock.
    assert watch.kinds() == ([] if trusted else ["clock.doubted"])


async def test_i10_a_battery_that_ran_down_is_not_believed() -> None:
    machine = Machine()
    machine.battery = True
    before = Watch(machine, trust="auto")
    await before.note()
    machine.off_ms, machine.boot = -24 * HOUR_MS, "boot-2"
    after = Watch(machine, before.journal.disk, trust="auto")
    assert not after.flow.trusted
    assert after.recorder.now_ms() >= START_MS


async def test_i10_a_technician_vouches_and_the_word_outlasts_a_restart_but_not_the_power() -> None:
    watch = Watch()
    desk = Desk(watch.recorder)
    desk.configure({"gateway": watch.flow.handlers()}, {CLIENT: {"gateway": frozenset({"vouch_clock"})}}, 60_000)
    now_ms = START_MS + 5 * HOUR_MS
    assert desk.handle(request("gateway", "vouch_clock", {"reason": "phone", "now_ms": now_ms})) is None
    await settle()
    assert watch.flow.trusted
    assert watch.recorder.now_ms() - now_ms < 100
    assert watch.flow.off_ms < -4 * HOUR_MS
    again = Watch(watch.machine, watch.journal.disk)
    assert again.flow.trusted
    assert again.recorder.now_ms() >= now_ms
    watch.machine.boot = "boot-2"
    assert not Watch(watch.machine, watch.journal.disk).flow.trusted


@pytest.mark.parametrize("data", [{}, {"reason": " "}, {"reason": "x", "now_ms": 5}, {"reason": "x", "now_ms": 1.5}])
async def test_i10_what_is_no_time_is_refused(data: dict[str, Any]) -> None:
    watch = Watch()
    desk = Desk(watch.recorder)
    desk.configure({"gateway": watch.flow.handlers()}, {CLIENT: {"gateway": frozenset({"vouch_clock"})}}, 60_000)
    answer = desk.handle(request("gateway", "vouch_clock", data))
    assert answer is not None
    assert answer.reason is Reason.MALFORMED
    assert not watch.flow.trusted


async def test_i10_a_word_left_on_the_machine_counts_for_this_boot_and_this_clock_only() -> None:
    watch = Watch()
    watch.left = Left("boot-0", 0, START_MS)
    watch.flow.look()
    assert not watch.flow.trusted
    watch.left = Left("boot-1", 0, START_MS - HOUR_MS)
    watch.flow.look()
    assert not watch.flow.trusted
    watch.left = Left("boot-1", watch.machine.elapsed_ms(), watch.machine.wall_ms())
    watch.flow.look()
    assert watch.flow.trusted


async def test_i10_upstream_vouches_with_a_time_that_is_certain_enough() -> None:
    watch = Watch()
    watch.flow.upstream_said(START_MS + HOUR_MS, 30_000)
    assert not watch.flow.trusted
    watch.flow.upstream_said(START_MS + HOUR_MS, 200)
    assert watch.flow.trusted
    assert watch.recorder.now_ms() >= START_MS + HOUR_MS


@pytest.mark.parametrize("by_ms", [HOUR_MS, -HOUR_MS])
async def test_i10_a_time_that_was_vouched_for_goes_on_when_the_clock_is_set(by_ms: int) -> None:
    machine = Machine()
    machine.ntp = True
    watch = Watch(machine)
    machine.ntp = False
    before_ms, told = watch.recorder.now_ms(), watch.told
    await watch.jump(by_ms)
    assert 0 <= watch.recorder.now_ms() - before_ms < 1_000
    assert "clock.jumped" in watch.kinds()
    assert (watch.told > told, watch.flow.trusted, watch.flow.jumps) == (True, True, 1)
    assert abs(watch.flow.off_ms - by_ms) < 100
    machine.ntp = True
    watch.flow.look()
    assert watch.flow.off_ms == 0
    assert abs(watch.recorder.now_ms() - before_ms - by_ms) < 1_000


@pytest.mark.parametrize("by_ms", [HOUR_MS, -HOUR_MS])
async def test_i10_a_jump_of_a_clock_with_a_battery_is_followed_and_the_journal_does_not_go_back(by_ms: int) -> None:
    machine = Machine()
    machine.battery = True
    watch = Watch(machine, trust="auto")
    first = await watch.note()
    await watch.jump(by_ms)
    assert abs(watch.recorder.now_ms() - machine.wall_ms()) < 100
    second = await watch.note()
    assert second["at_ms"] >= first["at_ms"]
    stamps = [row.at_ms for row in watch.journal.disk.rows]
    assert stamps == sorted(stamps)
    jumped = next(msgspec.json.decode(row.body) for row in watch.journal.disk.rows if b"clock.jumped" in row.body)
    assert (jumped["by_ms"], jumped["followed"]) == (by_ms, True)


async def test_i10_ntp_that_sets_the_clock_is_believed_at_once() -> None:
    watch = Watch()
    watch.machine.off_ms, watch.machine.ntp = 7 * HOUR_MS, True
    watch.recorder.now_ms()
    await settle()
    assert watch.flow.trusted
    assert watch.recorder.now_ms() >= START_MS + 7 * HOUR_MS


async def test_i10_slow_corrections_are_no_jump() -> None:
    machine = Machine()
    machine.ntp = True
    watch = Watch(machine)
    for _ in range(20):
        await watch.jump(400)
    assert watch.flow.jumps == 0
    assert watch.recorder.now_ms() >= START_MS + 8_000


async def test_i10_without_a_clock_it_is_no_earlier_than_the_journal() -> None:
    machine = Machine()
    before = Watch(machine, trust="system")
    machine.off_ms = 3 * HOUR_MS
    before.recorder.now_ms()
    await before.note()
    machine.off_ms, machine.boot = -9 * HOUR_MS, "boot-2"
    after = Watch(machine, before.journal.disk)
    assert after.recorder.now_ms() >= START_MS + 3 * HOUR_MS
    await asyncio.sleep(60)
    assert after.recorder.now_ms() >= START_MS + 3 * HOUR_MS + 60_000


async def test_i10_the_last_known_time_is_not_moved_by_a_clock_ahead() -> None:
    machine = Machine()
    before = Watch(machine, trust="system")
    await before.note()
    machine.off_ms, machine.boot = 9 * HOUR_MS, "boot-2"
    after = Watch(machine, before.journal.disk, untrusted="last_known")
    assert after.recorder.now_ms() - START_MS < 60_000


async def test_i10_a_reload_asks_again_only_when_the_rules_changed() -> None:
    watch = Watch()
    watch.flow.upstream_said(START_MS + HOUR_MS, 100)
    watch.flow.configure(watch.policy)
    assert watch.recorder.now_ms() >= START_MS + HOUR_MS
    watch.flow.configure(Clock(trust="system"))
    assert watch.flow.trusted
    watch.flow.configure(Clock(trust="vouched", untrusted="deny"))
    assert watch.recorder.doubt is None or watch.recorder.doubt.policy == "deny"


async def test_i10_after_a_full_disk_the_journal_says_again_what_is_so() -> None:
    watch = Watch()
    await settle()
    watch.journal.fail()
    watch.machine.ntp = True
    watch.flow.look()
    await asyncio.sleep(0.1)
    assert watch.recorder.lost is not None
    watch.recorder.recover()
    assert isinstance(watch.recorder.state.clock, c.ClockDoubted)
    watch.flow.storage_recovered()
    await settle()
    assert watch.kinds()[-1] == "clock.vouched"
