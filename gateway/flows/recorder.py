"""Facts become true here: applied to the state at once, on disk before anyone hears of them.

`record()` is the only way an event enters the venue. The state takes it immediately, so that the next tap, a
microsecond later, sees it; the caller awaits the commit before it answers or moves metal (I1).
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from itertools import islice
from typing import Protocol

import msgspec

from gateway.domain import events as e
from gateway.domain.answers import Answer, begins
from gateway.domain.clock import Doubt
from gateway.domain.ledger import Posted
from gateway.domain.shift_events import ShiftClosed
from gateway.domain.shifts import report_key
from gateway.domain.sieve import Sieve
from gateway.domain.state import ON_DISK, StoredAnswer, VenueState, request_key
from gateway.store.journal import Journal, Row, StorageUnavailable
from gateway.store.rows import id_text

FOLD_ROWS_PER_CHUNK = 100
"""How many state rows are written between two batches: about a millisecond of the writer's time."""
GATHER_MS = 5
"""Under load whoever only follows what happens hears of it this often: the next guest at the gate goes first."""
GATHER_ENTRIES_MAX = 200
MS_PER_S = 1000
SET_BACK_MS = 60_000
"""A clock that goes back by less stands still meanwhile."""
UNREADABLE = (
    "is damaged or from a newer venue-gateway; look with `venue-gateway journal verify`, and restore a backup or "
    "install that version again"
)
DIRTY_ROWS_MAX = 20_000
"""Changed rows that make a fold due; few folds touch each database page less often than many."""


class Ids(Protocol):
    """Where ids come from."""

    def __call__(self, now_ms: int) -> bytes:
        """Return 16 bytes of a UUIDv7 for `now_ms` that sorts after every earlier one."""
        ...


class Committed(msgspec.Struct, frozen=True, gc=False):
    """A journal entry that is on disk, its event's JSON, and the answer it gives to a request, if any.

    `request_key` is the request's key in the state, and empty without a request.
    """

    entry: e.Entry
    body: bytes
    request: e.RequestRef | None = None
    answer: Answer | None = None
    request_key: str = ""


Commit = asyncio.Future[None]
_encode = msgspec.json.Encoder().encode
_decode_event = msgspec.json.Decoder(e.AnyEvent).decode


class Recorder:
    """The state and the journal, kept in step. Every flow shares one."""

    def __init__(self, state: VenueState, journal: Journal, now_ms: Callable[[], int], ids: Ids) -> None:
        """Join a state to the journal it is rebuilt from; `restore()` fills it."""
        self.state = state
        self.journal = journal
        self.listeners: list[Callable[[Sequence[Committed]], None]] = []
        """Told of every commit at once: answers, for which somebody waits."""
        self.followers: list[Callable[[Sequence[Committed]], None]] = []
        """Told a moment later, of all that was committed meanwhile: the feed and the log."""
        self.failure_listeners: list[Callable[[Sequence[e.RequestRef], StorageUnavailable], None]] = []
        self._now_ms = now_ms
        self._ids = ids
        self._next_seq = journal.last_seq + 1
        self._last_at_ms = journal.last_at_ms
        self._no_fold = asyncio.Event()
        self._no_fold.set()
        self._lost: StorageUnavailable | None = None
        self._unstored: dict[str, int] = {}
        self._never_stored: set[str] = set()
        self.doubt: Doubt | None = None
        self.set_back_ms = SET_BACK_MS
        self._seen_ms = 0
        self._untold: list[Committed] = []
        self._to_follow: list[Committed] = []
        self._told_at_s = 0.0
        self._folded = Sieve()

    def now_ms(self) -> int:
        """Return UTC milliseconds. It does not go back a little, so that no expired request comes to life again.

        A clock that was set back further than any request may reach ahead is followed. A journal that is ahead of the
        clock, because the clock was wrong in an earlier run, does not move it.
        """
        now_ms = self._now_ms()
        if now_ms > self._seen_ms or now_ms < self._seen_ms - self.set_back_ms:
            self._seen_ms = now_ms
        return self._seen_ms

    def deadline_s(self, expires_at_ms: int | None) -> float | None:
        """Return the end of a request by the loop's clock, which nobody sets; None for one without an end."""
        if expires_at_ms is None:
            return None
        return asyncio.get_running_loop().time() + (expires_at_ms - self.now_ms()) / MS_PER_S

    @property
    def last_at_ms(self) -> int:
        """The greatest time in the journal."""
        return self._last_at_ms

    @property
    def clock_behind_ms(self) -> int:
        """How far the clock is behind the newest journal entry; more than a moment means that one of them was wrong."""
        return max(0, self._last_at_ms - self._now_ms())

    def new_id(self) -> str:
        """Return a new id in text form, for an entry, a job or a drawer opening."""
        return id_text(self._ids(self.now_ms()))

    def record(
        self,
        *events: e.AnyEvent,
        urgent: bool = True,
        follow_up: bool = False,
        attachments: Mapping[str, bytes] | None = None,
    ) -> Commit:
        """Make `events` true, all or none, and return a future that is done when they are on disk.

        `urgent=False` lets them wait a few milliseconds for company; a `follow_up` has happened already and is taken
        where something new is refused, because too much waits for the disk. Raises StorageUnavailable when the journal
        takes nothing; the future raises it when the commit fails. In both cases nothing of it happened.
        """
        if self.lost is not None:
            raise self.lost
        if self.doubt is not None:
            events = tuple(msgspec.structs.replace(event, clock="untrusted") for event in events)
        # Time never goes backwards in the journal, whatever the clock does.
        now_ms = max(self.now_ms(), self._last_at_ms)
        commit: Commit = asyncio.get_running_loop().create_future()
        committed: list[Committed] = []
        seq = self._next_seq
        rows = [Row(seq + number, self._ids(now_ms), now_ms, _encode(event)) for number, event in enumerate(events)]

        def done(error: StorageUnavailable | None) -> None:
            self._committed(committed, commit, error)

        self.journal.append(rows, done, urgent=urgent, follow_up=follow_up, attachments=attachments)
        self._next_seq += len(rows)
        self._last_at_ms = now_ms
        committed.extend(map(self._apply, rows, events))
        return commit

    def answered(self, client: str, request_id: str) -> StoredAnswer | None:
        """Return what this request was answered, from memory or from the stored rows; None for a new id."""
        key = request_key(client, request_id)
        known = self.state.requests.get(key)
        if known is not None:
            return known
        if not self._folded.may_hold(key):
            return None
        stored = self.journal.state_row("request", key)
        return msgspec.json.decode(stored, type=StoredAnswer) if stored is not None else None

    def transfer(self, transfer: str) -> Posted | None:
        """Return what was made under a transfer's id, from memory or from the stored rows; None for a new id."""
        known = self.state.ledger.transfers.get(transfer)
        if known is not None:
            return known
        stored = self.journal.state_row("transfer", transfer)
        return msgspec.json.decode(stored, type=Posted) if stored is not None else None

    def refunded_minor(self, transfer: str) -> int:
        """Return how much of a transfer has been given back."""
        known = self.state.ledger.refunded.get(transfer)
        if known is not None:
            return known
        stored = self.journal.state_row("refunded", transfer)
        return msgspec.json.decode(stored, type=int) if stored is not None else 0

    def z_report(self, till: str, number: int) -> ShiftClosed | None:
        """Return the closed shift of a till and number, from memory or from the stored rows."""
        known = self.state.shifts.z_reports.get(report_key(till, number))
        if known is not None:
            return known
        stored = self.journal.state_row("z_report", report_key(till, number))
        return msgspec.json.decode(stored, type=ShiftClosed) if stored is not None else None

    def forget_answers(self, keys: Sequence[str]) -> None:
        """Let stored answers go that nobody will ask for again; the next fold deletes their rows."""
        self.state.dirty.update(("request", key) for key in keys if key not in self.state.requests)

    def awaits_disk(self, client: str, request_id: str) -> bool:
        """Return True while the newest answer to this request is not on disk: nobody may be told of it yet (I1)."""
        return request_key(client, request_id) in self._unstored

    def never_stored(self, client: str, request_id: str) -> bool:
        """Return True while nothing of this request is on disk: if the disk fails now, nothing of it was done."""
        return request_key(client, request_id) in self._never_stored

    def restore(self) -> None:
        """Rebuild the state from the stored rows and the journal's tail. Takes about a second per million rows.

        Raises StorageUnavailable, a fatal one where something stored is damaged or of a newer version.
        """
        self.state.clear()
        self._unstored.clear()
        self._never_stored.clear()
        self._no_fold.set()
        place = "the folded state"
        try:
            for kind, key, value in self.journal.state_rows(None):
                if kind == "request":
                    self._folded.add(key)
                if kind not in ON_DISK:
                    self.state.load_row(kind, key, value)
            after = self.journal.fold_seq
            while rows := self.journal.read(after, 5_000):
                for row in rows:
                    place = f"row {row.seq}"
                    self.state.apply(_decode_event(row.body), row.at_ms)
                after = rows[-1].seq
        except (msgspec.MsgspecError, UnicodeDecodeError) as error:
            raise StorageUnavailable(f"{place} of the journal {UNREADABLE}", fatal=True) from error
        self.state.ledger.check()
        self._next_seq = self.journal.last_seq + 1
        self._last_at_ms = self.journal.last_at_ms

    def recover(self) -> None:
        """After a failed write: go back to what is on disk and take events again.

        Raises StorageUnavailable when the disk still takes nothing.
        """
        # Nothing is taken until the last line: a state that was rebuilt by half would admit used tickets again.
        self._lost = self.lost
        self.journal.recover()
        self.restore()
        self._lost = None

    @property
    def lost(self) -> StorageUnavailable | None:
        """Why nothing can be recorded at present, or None."""
        # The disk may also have failed under a fold or a cursor, with no event waiting that would have been told.
        return self._lost or self.journal.failed

    def fold_if_due(self, *, force: bool = False) -> bool:
        """Begin to write changed state rows in small chunks when enough have gathered. True when a fold began."""
        if self.folding or self.lost or (len(self.state.dirty) < DIRTY_ROWS_MAX and not force):
            return False
        if not self.state.dirty:
            return False
        changed, self.state.dirty = _by_kind(self.state.dirty), set()
        self._no_fold.clear()
        self._fold_chunk(changed, self._next_seq - 1)
        return True

    @property
    def folding(self) -> bool:
        """True while a fold is under way."""
        return not self._no_fold.is_set()

    async def fold_everything(self) -> None:
        """Write all changed state, so that the next start replays nothing; stops when the disk takes no more."""
        await self._no_fold.wait()
        while self.fold_if_due(force=True):
            await self._no_fold.wait()

    def _fold_chunk(self, changed: Iterator[tuple[str, str]], through_seq: int) -> None:
        """Write one chunk and go on with the next when it is on disk.

        A row may already hold changes later than `through_seq`. That is harmless: the writer commits the events behind
        them before this chunk, and replaying those events over newer rows ends in the same state.
        """
        chunk = list(islice(changed, FOLD_ROWS_PER_CHUNK))
        rows = [(kind, key, self.state.row(kind, key)) for kind, key in chunk]
        last = len(chunk) < FOLD_ROWS_PER_CHUNK

        def done(error: StorageUnavailable | None) -> None:
            if error is not None:
                self._no_fold.set()
                return
            self._forget_stored(chunk)
            if last:
                self._no_fold.set()
            else:
                self._fold_chunk(changed, through_seq)

        try:
            self.journal.fold(rows, through_seq if last else None, done)
        except StorageUnavailable:
            # The rebuild that follows marks all of it as changed again.
            self._no_fold.set()

    def _forget_stored(self, chunk: Sequence[tuple[str, str]]) -> None:
        for kind, key in chunk:
            # One that changed again since is dirty and must stay in memory until the next fold.
            if kind in ON_DISK and (kind, key) not in self.state.dirty:
                if kind == "request":
                    self._folded.add(key)
                self.state.forget(kind, key)

    def _apply(self, row: Row, event: e.AnyEvent) -> Committed:
        entry = e.Entry(row.seq, id_text(row.id), row.at_ms, event)
        answered = self.state.apply(event, row.at_ms)
        if answered is None:
            return Committed(entry, row.body)
        request, answer = answered
        key = request_key(request.client, request.id)
        self._unstored[key] = self._unstored.get(key, 0) + 1
        if begins(event):
            self._never_stored.add(key)
        return Committed(entry, row.body, request, answer, key)

    def _tell(self) -> None:
        """Tell the listeners once of all that one commit brought; whoever awaits it has been woken before."""
        untold, self._untold = self._untold, []
        for listener in self.listeners:
            listener(untold)
        loop = asyncio.get_running_loop()
        if not self._to_follow:
            loop.call_at(max(loop.time(), self._told_at_s + GATHER_MS / MS_PER_S), self.tell_followers)
        self._to_follow += untold
        if len(self._to_follow) >= GATHER_ENTRIES_MAX:
            self.tell_followers()

    def tell_followers(self) -> None:
        """Tell the followers of everything on disk that they have not heard of; also before an end."""
        to_follow, self._to_follow = self._to_follow, []
        self._told_at_s = asyncio.get_running_loop().time()
        if to_follow:
            for follower in self.followers:
                follower(to_follow)

    def _stored(self, committed: Sequence[Committed]) -> None:
        for one in committed:
            if key := one.request_key:
                if left := self._unstored[key] - 1:
                    self._unstored[key] = left
                else:
                    del self._unstored[key]
                self._never_stored.discard(key)

    def _committed(self, committed: Sequence[Committed], commit: Commit, error: StorageUnavailable | None) -> None:
        if error is None:
            # After a failure they stay unanswered until the rebuild, which forgets that they were ever asked.
            self._stored(committed)
            if not commit.done():
                commit.set_result(None)
            if not self._untold:
                asyncio.get_running_loop().call_soon(self._tell)
            self._untold += committed
            return
        self._lost = error
        # Whoever was answered before hears what became of it after the rebuild: that nothing was done would be untrue.
        refused = [one.request for one in committed if one.request is not None and begins(one.entry.event)]
        for on_failure in self.failure_listeners:
            on_failure(refused, error)
        if not commit.done():
            commit.set_exception(error)
            # Whoever gave up waiting must not make the loop complain of an exception nobody fetched.
            commit.exception()


def _by_kind(changed: Collection[tuple[str, str]]) -> Iterator[tuple[str, str]]:
    """Yield (kind, key) in order, as neighbours share pages; sorted a kind at a time, lest a tap wait for it all."""
    kinds: dict[str, list[str]] = {}
    for kind, key in changed:
        kinds.setdefault(kind, []).append(key)
    for kind in sorted(kinds):
        for key in sorted(kinds[kind]):
            yield kind, key
