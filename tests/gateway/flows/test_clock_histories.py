"""I10 over long random histories: clocks that jump, NTP that comes and goes, technicians, restarts and power cuts."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from itertools import pairwise
from typing import Any
from zoneinfo import ZoneInfo

import msgspec
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from gateway.domain import events as e
from gateway.domain.access import Credential, Entitlement, GateRule, Grant, Presence, ZoneMap, decide
from gateway.domain.clock import Doubt
from gateway.domain.reasons import Reason
from gateway.flows.desk import Desk
from tests.gateway.fakes import VirtualClockLoop, settle
from tests.gateway.flows.house import CLIENT, request
from tests.gateway.flows.test_clock import HOUR_MS, Machine, Watch

RULE, ZONES, CARD = GateRule("north", None, "hall"), ZoneMap({"hall": None}, {"hall": None}), Credential("ref", "ada")
JUMPS_MS = st.sampled_from([-24 * HOUR_MS, -HOUR_MS, -5_000, -900, 900, 5_000, HOUR_MS, 24 * HOUR_MS])


class Clocks(RuleBasedStateMachine):
    """What a machine's clock, the network and people do to the time of one venue."""

    def __init__(self) -> None:
        super().__init__()
        self.loop = VirtualClockLoop()
        self.machine = Machine()
        self.policy: dict[str, Any] = {}
        self.watch: Watch | None = None
        self.boots = 1
        self.vouches = 0

    def run_(self, work: Coroutine[Any, Any, None]) -> None:
        async def all_of_it() -> None:
            await work
            await settle()

        self.loop.run_until_complete(all_of_it())

    @initialize(
        trust=st.sampled_from(["auto", "vouched", "system"]),
        untrusted=st.sampled_from(["flag", "deny", "last_known"]),
        battery=st.booleans(),
    )
    def begin(self, trust: str, untrusted: str, *, battery: bool) -> None:
        self.policy = {"trust": trust, "untrusted": untrusted}
        self.machine.battery = battery
        self.run_(self._start(None))

    async def _start(self, disk: Any) -> None:
        self.watch = Watch(self.machine, disk, **self.policy)

    @rule(seconds=st.integers(1, 7200))
    def pass_time(self, seconds: int) -> None:
        async def wait() -> None:
            await asyncio.sleep(seconds)
            self.watch.flow.look()

        self.run_(wait())

    @rule(by_ms=JUMPS_MS, seen=st.booleans())
    def set_the_clock(self, by_ms: int, *, seen: bool) -> None:
        async def jump() -> None:
            self.machine.off_ms += by_ms
            if seen:
                self.watch.flow.look()

        self.run_(jump())

    @rule(on=st.booleans())
    def ntp(self, *, on: bool) -> None:
        async def change() -> None:
            self.machine.ntp = on
            self.watch.flow.look()

        self.run_(change())

    @rule(off_ms=JUMPS_MS, told=st.booleans())
    def a_technician_vouches(self, off_ms: int, *, told: bool) -> None:
        """For the clock as it stands, or by telling the time, which may be another one."""

        async def vouch() -> None:
            desk = Desk(self.watch.recorder)
            grants = {CLIENT: {"gateway": frozenset({"vouch_clock"})}}
            desk.configure({"gateway": self.watch.flow.handlers()}, grants, 60_000)
            self.vouches += 1
            time = {"now_ms": self.machine.wall_ms() + off_ms} if told else {}
            desk.handle(request("gateway", "vouch_clock", {"reason": "phone", **time}, id=f"vouch-{self.vouches}"))
            await settle()
            assert self.watch.flow.trusted

        self.run_(vouch())

    @rule(timed=st.sampled_from(["", "until", "from"]))
    def a_guest_comes(self, timed: str) -> None:
        """What depends on the time goes by the policy while the time is in doubt, and by the clock otherwise."""

        async def come() -> None:
            doubt, now_ms = self.watch.recorder.doubt, self.watch.recorder.now_ms()
            end_ms = max(now_ms, doubt.known_ms if doubt is not None else 0) + HOUR_MS
            fields = {"until": {"valid_until_ms": end_ms}, "from": {"valid_from_ms": now_ms + HOUR_MS}}.get(timed, {})
            ticket = Entitlement("ticket", "ada", ("hall",), **fields)
            presence = Presence(None, {}, {}, {}, doubt=doubt)
            verdict = decide(RULE, ZONES, CARD, [ticket], {}, presence, now_ms, ZoneInfo("UTC"))
            assert verdict == self._due(timed, doubt)

        self.run_(come())

    def _due(self, timed: str, doubt: Doubt | None) -> Grant | Reason:
        if not timed:
            return Grant("ticket", 1)
        if doubt is None or self.policy["untrusted"] == "last_known":
            return Reason.NOT_YET_VALID if timed == "from" else Grant("ticket", 1)
        if self.policy["untrusted"] == "deny":
            return Reason.CLOCK_UNTRUSTED
        return Grant("ticket", 1, flags=("clock_untrusted",))

    @rule(power=st.booleans())
    def restart(self, *, power: bool) -> None:
        before, ntp = self.watch.flow.trusted, self.machine.ntp
        if power:
            self.boots += 1
            self.machine.boot = f"boot-{self.boots}"
            self.machine.ntp = False
            if not self.machine.battery:
                # Without a battery the clock wakes where it last was, or years before.
                self.machine.off_ms -= 24 * HOUR_MS
        self.run_(self._start(self.watch.journal.disk))
        if self.policy["trust"] == "vouched":
            # A word outlasts a restart of the gateway, and never the power: nobody knows how long it was away.
            assert self.watch.flow.trusted is (not power and (before or ntp))

    @rule()
    def record(self) -> None:
        async def note() -> None:
            before = self.watch.recorder.doubt
            commit = self.watch.recorder.record(e.DeviceOnline(device="reader"))
            after = self.watch.recorder.doubt
            await commit
            body = msgspec.json.decode(self.watch.journal.disk.rows[-1].body)
            if (before is None) == (after is None):
                marked = body.get("clock") == "untrusted"
                assert marked is (before is not None), "what is recorded in doubt is marked, and nothing else"

        self.run_(note())

    @invariant()
    def time_never_goes_back_in_the_journal(self) -> None:
        rows = self.watch.journal.disk.rows if self.watch else []
        assert all(one.at_ms <= other.at_ms for one, other in pairwise(rows))

    @invariant()
    def doubt_and_what_is_said_of_it_agree(self) -> None:
        if self.watch is not None:
            assert self.watch.flow.trusted is (self.watch.recorder.doubt is None)

    def teardown(self) -> None:
        self.loop.close()


test_i10_whatever_becomes_of_the_clock = Clocks.TestCase
test_i10_whatever_becomes_of_the_clock.settings = settings(max_examples=60, stateful_step_count=40, deadline=None)
