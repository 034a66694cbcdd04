"""The gateway with one mistake in it. Each mutant must be caught, or the simulation proves nothing."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Any

import msgspec

import gateway.domain.printing as printing_module
import gateway.domain.wallet as wallet_module
from gateway.domain.ledger import Ledger
from gateway.domain.state import VenueState
from gateway.flows.clock import ClockFlow
from gateway.flows.desk import Desk
from gateway.flows.entry import EntryFlow
from gateway.flows.gate import GateFlow
from gateway.flows.recorder import Recorder
from gateway.flows.venue_clock import Step, VenueClock
from gateway.mqtt.feed import Feed
from gateway.mqtt5.connection import Outcome
from gateway.store.committer import Committer
from gateway.store.journal import Journal, StorageUnavailable
from gateway.upstream.relay import Relay
from gateway.upstream.sinks import SinkUnavailable, Taken


@contextmanager
def patched(owner: Any, name: str, replacement: Any) -> Iterator[None]:
    """Replace one method for a while."""
    original = owner.__dict__[name] if isinstance(owner, type) else getattr(owner, name)
    setattr(owner, name, replacement)
    try:
        yield
    finally:
        setattr(owner, name, original)


def acknowledge_before_commit() -> AbstractContextManager[None]:
    """Whoever waits for the disk is told at once."""
    original = Journal.append

    def append(self, rows, done, **how):
        waiting = [done]
        original(self, rows, lambda error: waiting and waiting.pop()(error), **how)
        self._loop.call_soon(lambda: waiting and waiting.pop()(None))

    return patched(Journal, "append", append)


def synchronous_normal() -> AbstractContextManager[None]:
    """SQLite does not sync at a commit: a power cut takes the newest ones."""
    original = Committer._write

    def write(self, work):
        self._connection.execute("PRAGMA synchronous = NORMAL")
        return original(self, work)

    return patched(Committer, "_write", write)


def no_request_dedupe() -> AbstractContextManager[None]:
    """A request that comes again is done again."""
    return patched(Recorder, "answered", lambda self, client, request_id: None)


def check_then_act() -> AbstractContextManager[None]:
    """Another tap may come between the decision and its record."""

    def tap(self, gate_name, technology, value, source, request=None, expires_at_ms=None, **_evidence):
        gate, now_ms = self.gates[gate_name], self._recorder.now_ms()
        event = self.decide(
            gate, self.lookup.find(technology, value, now_ms, self._recorder.doubt), source, request, now_ms
        )

        async def act() -> None:
            await asyncio.sleep(0.001)
            try:
                self._record(gate, event, expires_at_ms)
            except StorageUnavailable:
                return

        self._spawn(act())

    return patched(EntryFlow, "tap", tap)


def lost_cursor_write() -> AbstractContextManager[None]:
    """The feed's cursor moves in memory and never on disk."""

    def set_cursor(self, name, seq):
        self._cursors[name] = seq

    return patched(Journal, "set_cursor", set_cursor)


def gate_before_journal() -> AbstractContextManager[None]:
    """The gate opens while the grant is still on its way to the disk."""

    async def open_at_once(self, gate, granted, commit, expires_at_ms):
        await gate.release(granted.entry)

    return patched(EntryFlow, "_open", open_at_once)


def feed_skips_what_was_lost() -> AbstractContextManager[None]:
    """A batch that the broker may not have counts as delivered."""
    original = Feed._acknowledgement

    def acknowledgement(self, batch):
        acknowledged = original(self, batch)
        return lambda _outcome: acknowledged(Outcome.DELIVERED)

    return patched(Feed, "_acknowledgement", acknowledgement)


def upstream_counts_what_was_lost() -> AbstractContextManager[None]:
    """A pack that upstream may not have counts as delivered."""
    original = Relay._deliver

    async def deliver(self, pack):
        try:
            return await original(self, pack)
        except SinkUnavailable:
            return Taken()

    return patched(Relay, "_deliver", deliver)


def expired_requests_are_served() -> AbstractContextManager[None]:
    """Nobody looks at `expires_at`."""
    original = Desk.handle

    def handle(self, request):
        ends_ms = self._recorder.now_ms() + 5_000 if request.expires_at_ms is not None else None
        return original(self, msgspec.structs.replace(request, expires_at_ms=ends_ms))

    return patched(Desk, "handle", handle)


@contextmanager
def interrupted_jobs_are_printed_again() -> Iterator[None]:
    """A job that a crash cut off waits to be printed again."""
    waiting = frozenset({"queued", "held", "printing"})
    with patched(printing_module, "WAITING", waiting), patched(printing_module, "after_restart", lambda state: []):
        yield


def no_grants() -> AbstractContextManager[None]:
    """Every client may do everything."""
    original = Desk._find

    def find(self, request):
        verbs = self._handlers.get(request.target, {})
        return verbs.get(request.verb) or original(self, request)

    return patched(Desk, "_find", find)


def alarms_and_faults_outlive_an_outage() -> AbstractContextManager[None]:
    """After a full disk nobody looks how the gates stand."""
    return patched(GateFlow, "storage_recovered", lambda self: None)


def debit_without_check() -> AbstractContextManager[None]:
    """Nobody looks whether there is enough in the wallet."""
    return patched(wallet_module, "_beyond", lambda *asked: None)


def captured_twice() -> AbstractContextManager[None]:
    """A hold stays open when it is captured."""
    remembered = Ledger._remember

    def remember(self, event):
        kept = dict(self.holds)
        remembered(self, event)
        if event.action == "capture":
            self.holds.update(kept)

    return patched(Ledger, "_remember", remember)


def half_a_transfer() -> AbstractContextManager[None]:
    """What leaves one account arrives nowhere."""
    original = Ledger.transferred

    def transferred(self, event):
        one_side = dict(list(event.balances.items())[:1])
        return original(self, msgspec.structs.replace(event, balances=one_side))

    return patched(Ledger, "transferred", transferred)


def blocked_are_served() -> AbstractContextManager[None]:
    """The venue's own block list is kept, and nobody looks at it."""
    return patched(VenueState, "is_blocked", lambda self, credential, holder: False)


def interlocks_are_ignored() -> AbstractContextManager[None]:
    """A gate opens whatever its neighbours do."""
    return patched(GateFlow, "_interlocked", lambda self: None)


def clock_believed_at_once() -> AbstractContextManager[None]:
    """Whatever the machine's clock says after a power cut is taken for the time."""
    return patched(ClockFlow, "_voucher", lambda self: "ntp")


def clock_follows_whoever_sets_it() -> AbstractContextManager[None]:
    """A time that was vouched for is given up for any that somebody sets."""
    return patched(VenueClock, "_stepped", lambda self, by_ms, before_ms: self.on_step(Step(by_ms, followed=True)))


@contextmanager
def journal_goes_back_with_the_clock() -> Iterator[None]:
    """Entries are stamped with the clock's time, also where it is earlier than that of the entry before."""

    def check(self, rows, *, follow_up):
        if self.failed is not None:
            raise self.failed
        return sum(len(row.body) for row in rows)

    with patched(Journal, "_check", check):
        Recorder._last_at_ms = property(lambda self: 0, lambda self, at_ms: None)
        try:
            yield
        finally:
            del Recorder._last_at_ms


REQUIRED: Mapping[str, Callable[[], AbstractContextManager[None]]] = {
    "acknowledge-before-commit": acknowledge_before_commit,
    "synchronous-normal": synchronous_normal,
    "no-request-dedupe": no_request_dedupe,
    "check-then-act": check_then_act,
    "lost-cursor-write": lost_cursor_write,
    "gate-before-journal": gate_before_journal,
}
MUTANTS: Mapping[str, Callable[[], AbstractContextManager[None]]] = {
    **REQUIRED,
    "feed-skips-what-was-lost": feed_skips_what_was_lost,
    "upstream-counts-what-was-lost": upstream_counts_what_was_lost,
    "expired-requests-are-served": expired_requests_are_served,
    "interrupted-jobs-print-again": interrupted_jobs_are_printed_again,
    "no-grants": no_grants,
    "faults-outlive-an-outage": alarms_and_faults_outlive_an_outage,
    "debit-without-check": debit_without_check,
    "captured-twice": captured_twice,
    "half-a-transfer": half_a_transfer,
    "blocked-are-served": blocked_are_served,
    "interlocks-are-ignored": interlocks_are_ignored,
    "clock-believed-at-once": clock_believed_at_once,
    "clock-follows-whoever-sets-it": clock_follows_whoever_sets_it,
    "journal-goes-back": journal_goes_back_with_the_clock,
}


def mutated(name: str) -> AbstractContextManager[None]:
    """Return the context in which the gateway has this mistake; the empty name is none."""
    return MUTANTS[name]() if name else nullcontext()
