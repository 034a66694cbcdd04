"""Allowances: grants come in, statements go out, and what nobody spent goes back before its time is over.

Whoever carries messages to upstream and back is a `Courier`: it may lose, repeat, delay and reorder them. It hands
what it gets to `received`; everything that must be said again, after however long, is read off the state.
"""

from __future__ import annotations

import asyncio
import heapq
from collections.abc import Sequence
from itertools import islice
from typing import Protocol

import msgspec
import structlog

from gateway.config.wallet import Wallet
from gateway.domain import events as e
from gateway.domain import wallet_events as w
from gateway.domain.allowance_events import AllowanceBookOpened, AllowanceChanged
from gateway.domain.allowances import Grant, GrantRefused, Statement, ended, received, spend_until_ms, statement
from gateway.domain.ledger import Ledger, wallet
from gateway.domain.reasons import Reason
from gateway.domain.wallet import Policy
from gateway.flows.recorder import Commit, Committed, Recorder
from gateway.store.journal import StorageUnavailable

log = structlog.get_logger(__name__)

TICK_S = 1.0
"""How often the flow looks for what is over; what may be spent does not depend on it, for that goes by the time."""
SAY_AGAIN_TICKS = 5
SENT_MAX = 200
"""Statements in one go; the next go takes the next ones."""
WANTS_MAX = 10_000
"""Wallets for which more is wanted at a time; over it the oldest wish is dropped, until the guest taps again (I9)."""
ENDED_MAX = 100


class Courier(Protocol):
    """Who carries statements to upstream. Nothing that it is given need arrive."""

    @property
    def online(self) -> bool:
        """True while it is worth trying."""
        ...

    def send(self, statement: Statement) -> None:
        """Carry a statement, some time."""
        ...


class Terms(msgspec.Struct, frozen=True):
    """How much of a wallet this venue wants to hold, and below what it asks for more, in minor units."""

    ask_minor: int
    low_minor: int


def terms(wallet: Wallet) -> Terms | None:
    """Return the terms of a configuration; None where it wants no allowances."""
    wanted = wallet.allowances
    if wanted is None or wallet.authority == "venue":
        return None
    return Terms(wanted.ask_minor, wanted.low_minor)


class AllowanceFlow:
    """All allowances of the venue."""

    def __init__(self, recorder: Recorder) -> None:
        """Begin without allowances and without a courier."""
        self._recorder = recorder
        self._policy = Policy(currency="")
        self._terms: Terms | None = None
        self._courier: Courier | None = None
        self._wanted: dict[str, int] = {}
        self._unsaid: dict[str, None] = {}
        self._storing: dict[str, int] = {}
        self._ends: list[tuple[int, str]] = []
        self._timer: asyncio.TimerHandle | None = None
        self._ticks = 0

    def configure(self, policy: Policy, terms: Terms | None) -> None:
        """Take new rules; without `terms` nothing is asked for, and what is left goes back."""
        self._policy, self._terms = policy, terms
        if terms is None:
            self._wanted.clear()
        self._look_again()

    def connect(self, courier: Courier | None) -> None:
        """Let a courier carry what there is to say; with None nobody does."""
        self._courier = courier
        self._look_again()

    def online_again(self) -> None:
        """The courier has reached upstream: say at once all that upstream may not have heard."""
        self._look_again()
        self._say_some()

    def storage_recovered(self) -> None:
        """The state was rebuilt from disk: nothing is on its way there any more."""
        self._storing.clear()
        self._look_again()

    def _look_again(self) -> None:
        """Read off the state what is to be said and what will end."""
        allowances = self._ledger.allowances
        self._unsaid = {holder: None for holder, own in allowances.items() if not own.settled}
        self._ends = [
            (spend_until_ms(self._policy, own), holder) for holder, own in allowances.items() if own.left_minor
        ]
        heapq.heapify(self._ends)
        if self._timer is None and (self._terms is not None or self._ends or self._unsaid):
            self._tick()

    def close(self) -> None:
        """Stop; what is to be said will be said in the next run."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        self._courier, self._terms = None, None

    def received(self, grant: Grant) -> Commit | None:
        """Take a grant from upstream; the future is done when what is new in it is on disk, None when nothing is.

        One that cannot be true is refused, logged, and changes nothing. Raises StorageUnavailable.
        """
        try:
            facts = received(self._ledger, self._policy, grant, self._recorder.now_ms())
        except GrantRefused as refused:
            log.error("allowance_refused", holder=grant.holder, version=grant.version, why=str(refused))
            return None
        self._wanted.pop(grant.holder, None)
        commit = self._record(grant.holder, facts)
        own = self._ledger.allowance(grant.holder)
        if own.left_minor:
            heapq.heappush(self._ends, (spend_until_ms(self._policy, own), grant.holder))
        return commit

    def want(self, holder: str, amount_minor: int) -> None:
        """Ask upstream for so much more of a wallet, now and until it answers."""
        self._wanted.pop(holder, None)
        while len(self._wanted) >= WANTS_MAX:
            del self._wanted[next(iter(self._wanted))]
        self._wanted[holder] = amount_minor
        self._open_book()
        self._say(holder)

    @property
    def open_statements(self) -> int:
        """How many wallets there is something to say about."""
        return len(self._wanted.keys() | self._unsaid.keys())

    @property
    def _ledger(self) -> Ledger:
        return self._recorder.state.ledger

    # What makes more wanted: a guest who comes in, pays, or cannot.

    def committed(self, committed: Sequence[Committed]) -> None:
        """Listen to the recorder."""
        if self._terms is None:
            return
        for one in committed:
            match one.entry.event:
                case w.WalletDenied(reason=Reason.OVER_ALLOWANCE, holder=str(holder)) as denied:
                    self._top_up(holder, denied.amount_minor)
                case w.WalletTransferred(action="charge" | "tip" | "deposit" | "capture" | "transfer") as paid:
                    self._top_up(paid.holder, 0)
                case e.EntryGranted(holder=holder) if holder:
                    self._top_up(holder, 0)
                case _:
                    pass

    def _top_up(self, holder: str, needed_minor: int) -> None:
        terms = self._terms
        if terms is None:
            return
        account, own = self._ledger.account(wallet(holder)), self._ledger.allowance(holder)
        locked_minor = own.locked_minor(self._recorder.now_ms(), self._policy.allowance_margin_ms)
        there_minor = max(0, account.available_minor - locked_minor)
        if there_minor < max(terms.low_minor, needed_minor):
            self.want(holder, max(terms.ask_minor, needed_minor) - there_minor)

    # What goes back, and what is said.

    def _tick(self) -> None:
        self._timer = asyncio.get_running_loop().call_later(TICK_S, self._tick)
        self._open_book()
        self._hand_back()
        self._ticks += 1
        if self._ticks % SAY_AGAIN_TICKS == 0:
            self._say_some()

    def _open_book(self) -> None:
        if self._terms is None or self._ledger.book:
            return
        try:
            self._record("", [AllowanceBookOpened(book=self._recorder.new_id())])
        except StorageUnavailable as error:
            log.warning("allowance_book_not_opened", why=str(error))

    def _hand_back(self) -> None:
        if self._recorder.lost is not None:
            return
        now_ms = self._recorder.now_ms()
        due: set[str] = set()
        while self._ends and self._ends[0][0] <= now_ms and len(due) < ENDED_MAX:
            due.add(heapq.heappop(self._ends)[1])
        for holder in sorted(due):
            try:
                self._record(holder, ended(self._ledger, self._policy, holder, now_ms))
            except StorageUnavailable as error:
                log.warning("allowance_not_returned", holder=holder, why=str(error))
            own = self._ledger.allowance(holder)
            if own.left_minor:
                # A part is held, or it was prolonged, or nothing can be stored: it is looked at again.
                again_ms = max(spend_until_ms(self._policy, own), now_ms + 1)
                heapq.heappush(self._ends, (again_ms, holder))

    def _record(
        self, holder: str, facts: Sequence[w.WalletTransferred | AllowanceChanged | AllowanceBookOpened]
    ) -> Commit | None:
        """Record facts about one allowance.

        Nothing is said of it before they are on disk: what a crash takes out of the journal would be there twice.
        """
        if not facts:
            self._say(holder)
            return None
        commit = self._recorder.record(*facts, urgent=False)
        self._storing[holder] = self._storing.get(holder, 0) + 1
        commit.add_done_callback(lambda stored: self._stored(holder, stored))
        return commit

    def _stored(self, holder: str, commit: Commit) -> None:
        if commit.cancelled() or commit.exception() is not None or holder not in self._storing:
            return
        self._storing[holder] -= 1
        if not self._storing[holder]:
            del self._storing[holder]
        if holder:
            self._say(holder)
        else:
            # The book is open: what guests wanted until now can be said.
            self._say_some()

    def _say_some(self) -> None:
        """Say again what upstream has not confirmed, the longest unsaid first."""
        for holder in list(islice((*self._unsaid, *self._wanted), SENT_MAX)):
            self._say(holder)

    def _say(self, holder: str) -> None:
        own = self._ledger.allowance(holder)
        self._unsaid.pop(holder, None)
        if not own.settled:
            self._unsaid[holder] = None
        if own.settled and holder not in self._wanted:
            return
        courier = self._courier
        on_disk = self._ledger.book and "" not in self._storing and holder not in self._storing
        if courier is None or not courier.online or not on_disk:
            return
        courier.send(statement(self._ledger, self._policy, holder, self._wanted.get(holder, 0)))
