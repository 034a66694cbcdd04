"""The journal: what happened here, in order, on disk before anybody hears of it.

The loop appends rows; one writer commits all that gathered meanwhile, with one sync, and then the callbacks run.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path

from gateway.store.batches import Batch, Fold, StateRow
from gateway.store.committer import Committer, Work
from gateway.store.errors import JournalBusy, StorageUnavailable
from gateway.store.pruning import PRUNE_PAUSE_MS, Pruning
from gateway.store.reading import Reader, check_chain
from gateway.store.rows import Row, StoredRow
from gateway.store.writer import Outcome, ThreadWriter, Writer

__all__ = ["Journal", "JournalBusy", "Row", "StorageUnavailable", "StoredRow"]

PENDING_ROWS_MAX = 4096
FOLLOW_UP_FACTOR = 2
"""Facts that follow from what was taken may wait up to this many times the bound for what is new."""
LAZY_MS = 20
CURSOR_EVERY_MS = 1000
"""A cursor that lags by this much after a crash costs some repeats and saves a page per message."""
BATCHES_PER_CHORE = 8
"""Under full load one piece of folding or tidying goes between this many batches."""
FOLD_PAUSE_MS = 4
"""The writer rests this long after a piece of folding, so that few taps find one in their way."""
FORGET_MAX = 16
CHECKED_AT_START_ROWS = 100
STALLED_S = 2.0
"""While one piece of work takes the disk longer than this, nothing new is taken: whoever asks hears so at once (I9)."""
MS_PER_S = 1000


class Journal:
    """Append, read and fold. Every method is called in the loop's thread and none of them waits for the disk."""

    def __init__(
        self,
        path: Path,
        writer: Callable[[Committer], Writer],
        pending_max: int = PENDING_ROWS_MAX,
        lazy_ms: float = LAZY_MS,
    ) -> None:
        self._loop = asyncio.get_running_loop()
        self._path = path
        self._pending_max = pending_max
        self._lazy_s = lazy_ms / MS_PER_S
        self._batches: deque[Batch] = deque()
        self._folds: deque[Fold] = deque()
        self._forget: dict[str, None] = {}
        self._moved_cursors: dict[str, int] = {}
        self._pruning = Pruning()
        self._tidy_due = False
        self._lazy_timer: asyncio.TimerHandle | None = None
        self._tidy_timer: asyncio.TimerHandle | None = None
        self._fold_timer: asyncio.TimerHandle | None = None
        self.pending = self._batches_since_chore = 0
        self._working, self._working_since_s = False, 0.0
        self._closed = False
        self.failed: StorageUnavailable | None = None
        self.committer = Committer(path)
        self._writer = writer(self.committer)
        with ExitStack() as opened:
            opened.callback(self._writer.close)
            self._reader = Reader(path)
            opened.callback(self._reader.close)
            self._load()
            opened.pop_all()

    @classmethod
    def open(
        cls,
        path: Path,
        *,
        writer: Callable[[Committer], Writer] | None = None,
        pending_max: int = PENDING_ROWS_MAX,
        lazy_ms: float = LAZY_MS,
    ) -> Journal:
        """Open or create the journal at `path`; call it in a running loop.

        `writer` makes what stands between journal and disk (a thread when None). `pending_max` bounds the new rows that
        wait (I9). Raises StorageUnavailable when the file cannot be used: unwritable, newer than this program, or with
        a broken chain at its end.
        """
        loop = asyncio.get_running_loop()
        return cls(path, writer or (lambda committer: ThreadWriter(committer, loop)), pending_max, lazy_ms)

    def _load(self) -> None:
        """Read where the journal stands on disk."""
        # One row more than is checked: the first one is what the second is chained to.
        rows = self._reader.newest(CHECKED_AT_START_ROWS + 1)
        check_chain(rows, self._path)
        self.last_seq = rows[-1].seq if rows else 0
        self.last_at_ms = rows[-1].at_ms if rows else 0
        self._appended_seq, self._appended_at_ms = self.last_seq, self.last_at_ms
        self._cursors = self._reader.cursors() | self._moved_cursors
        self.fold_seq = self._reader.fold_seq()
        self._pruning.pruned_seq = self._reader.pruned()[0]

    # Writing.

    def append(
        self,
        rows: Sequence[Row],
        done: Outcome,
        *,
        urgent: bool = True,
        follow_up: bool = False,
        attachments: Mapping[str, bytes] | None = None,
    ) -> None:
        """Take `rows`, all or none of which will be on disk together with `attachments`, and call `done` in the loop.

        `done(None)` comes after the commit, in the order of appending; `done(error)` when they are not on disk. Rows
        that are not `urgent` wait a few milliseconds for company. A `follow_up` tells what has happened already and is
        taken where something new is refused, up to a bound of its own. Raises StorageUnavailable while nothing can be
        written, JournalBusy when too much waits already, and ValueError for rows out of sequence.
        """
        size_bytes = self._check(rows, follow_up=follow_up)
        if attachments:
            size_bytes += sum(map(len, attachments.values()))
        batch = self._batch_for(len(rows), size_bytes)
        batch.rows += rows
        if attachments:
            batch.attachments += attachments.items()
        batch.waiters.append(done)
        batch.size_bytes += size_bytes
        self.pending += len(rows)
        self._appended_seq, self._appended_at_ms = rows[-1].seq, rows[-1].at_ms
        if urgent:
            batch.due = True
            self._advance()
        elif not batch.due and self._lazy_timer is None:
            self._lazy_timer = self._loop.call_later(self._lazy_s, self._lazy_is_over)

    def _check(self, rows: Sequence[Row], *, follow_up: bool) -> int:
        """Refuse what cannot be taken; return the size of the bodies in bytes."""
        if self.failed is not None:
            raise self.failed
        if self._closed:
            raise StorageUnavailable(f"{self._path} is closed")
        if self.pending + len(rows) > self._pending_max * (FOLLOW_UP_FACTOR if follow_up else 1):
            raise JournalBusy(f"{self.pending} journal rows wait for the disk already")
        if self._working and not follow_up and self._loop.time() - self._working_since_s > STALLED_S:
            raise JournalBusy(f"the disk has not answered for {STALLED_S:g} s")
        seq, at_ms, size_bytes = self._appended_seq, self._appended_at_ms, 0
        for next_seq, _, next_ms, body in rows:
            if next_seq != seq + 1 or next_ms < at_ms:
                raise ValueError(f"row {next_seq} at {next_ms} ms cannot follow row {seq} at {at_ms} ms")
            seq, at_ms = next_seq, next_ms
            size_bytes += len(body)
        if not rows:
            raise ValueError("nothing to append")
        return size_bytes

    def _batch_for(self, rows: int, size_bytes: int) -> Batch:
        """Return the open batch, or a new one when that is full. One append is never split."""
        if not self._batches or not self._batches[-1].takes(rows, size_bytes):
            if self._batches:
                self._batches[-1].due = True
            self._batches.append(Batch())
        return self._batches[-1]

    def fold(self, rows: Sequence[StateRow], through_seq: int | None, done: Outcome) -> None:
        """Write a chunk of state rows (None deletes) between two batches, and then `fold_seq` unless it is None.

        The chunk goes to disk after every row appended so far, so the state is never ahead of the journal. Keep chunks
        to some hundred rows: a tap waits for one to finish. Raises StorageUnavailable while nothing can be written.
        """
        if self.failed is not None:
            raise self.failed
        if self._closed:
            raise StorageUnavailable(f"{self._path} is closed")
        self._folds.append(Fold(sorted(rows, key=lambda row: row[:2]), through_seq, self._appended_seq, done))
        self._advance()

    def delete_attachments(self, ids: Collection[str]) -> None:
        """Let attachments go, some time soon."""
        self._forget.update(dict.fromkeys(ids))
        self._tidy_later()

    def cursor(self, name: str) -> int:
        """Return how far the reader `name` has come; 0 for a new one."""
        return self._cursors.get(name, 0)

    @property
    def cursors(self) -> Mapping[str, int]:
        """How far each reader has come."""
        return self._cursors

    def set_cursor(self, name: str, seq: int) -> None:
        """Move the reader `name` on. It reaches the disk within a second or so; after a crash some rows come again."""
        self._cursors[name] = self._moved_cursors[name] = seq
        self._tidy_later()

    def ping(self, on_alive: Callable[[], None]) -> None:
        """Call `on_alive` in the loop once the writer has answered: it lives, and the disk has returned to it."""
        self._writer.ping(on_alive)

    def prune(self, through_seq: int) -> None:
        """Let the rows up to and with `through_seq` go, some at a time between taps.

        Whoever calls it knows who still reads. Rows that are not folded and the newest ones stay, whatever it says.
        """
        self._pruning.allow(through_seq, self.fold_seq, self.last_seq)
        if self._pruning.piece is not None:
            self._tidy_later()

    @property
    def pruned_seq(self) -> int:
        """The last row that was pruned; 0 when none was."""
        return self._pruning.pruned_seq

    def recover(self) -> int:
        """After a failed write: open the database anew, prove that it can be written and return the last seq on it.

        Blocks for a few disk operations. Raises StorageUnavailable when it still cannot be written; a fatal one means
        that only a new process may trust the disk again.
        """
        if self.failed is not None and self.failed.fatal:
            raise self.failed
        if self._working or self.pending:
            raise RuntimeError("recover() is for a journal that has failed")
        try:
            self._writer.recover()
        except StorageUnavailable as error:
            self.failed = error
            raise
        self._load()
        self.failed = None
        self._advance()
        return self.last_seq

    def close(self) -> None:
        """Write all that waits, telling those who wait, and close. Blocks until it is done."""
        if self._closed:
            return
        self._closed = True
        for timer in (self._lazy_timer, self._tidy_timer, self._fold_timer):
            if timer is not None:
                timer.cancel()
        self._fold_timer = None
        self._tidy_due = True
        for batch in self._batches:
            batch.due = True
        self._advance()
        while self._working:
            self._writer.wait()
        # The last connection to close copies the WAL into the database. After a failed sync nothing may do that, so the
        # one that only reads goes last.
        last_is_reader = self.failed is not None and self.failed.fatal
        for part in (self._writer, self._reader) if last_is_reader else (self._reader, self._writer):
            part.close()

    # Between loop and writer: one piece of work at a time, batches first.

    def _advance(self) -> None:
        """Give the writer something to do if it has nothing."""
        if self._working or self.failed is not None:
            return
        is_due = bool(self._batches) and self._batches[0].due
        if is_due and self._batches_since_chore < BATCHES_PER_CHORE:
            self._send_batch()
        elif not self._send_fold() and not self._send_tidying():
            self._batches_since_chore = 0
            if is_due:
                self._send_batch()

    def _submit(self, work: Work, on_done: Outcome) -> None:
        self._working, self._working_since_s = True, self._loop.time()
        self._writer.submit(work, on_done)

    def _send_batch(self) -> None:
        batch = self._batches.popleft()
        if not self._batches and self._lazy_timer is not None:
            self._lazy_timer.cancel()
            self._lazy_timer = None
        self._batches_since_chore += 1

        def done(error: StorageUnavailable | None) -> None:
            self._working = False
            self.pending -= len(batch.rows)
            if error is None:
                self.last_seq, self.last_at_ms = batch.rows[-1].seq, batch.rows[-1].at_ms
                # The writer first gets what gathered meanwhile, so that the disk works while the loop answers.
                self._advance()
                self._tell(batch.waiters, None)
            else:
                self._fail(error, batch.waiters)

        self._submit(Work(batch.rows, batch.attachments), done)

    def _send_fold(self) -> bool:
        if self._fold_timer is not None or not self._folds or self._folds[0].after_seq > self.last_seq:
            return False
        fold = self._folds.popleft()
        self._batches_since_chore = 0

        def done(error: StorageUnavailable | None) -> None:
            self._working = False
            if error is not None:
                self._fail(error, [fold.done])
                return
            if fold.through_seq is not None:
                self.fold_seq = fold.through_seq
            if not self._closed:
                self._fold_timer = self._loop.call_later(FOLD_PAUSE_MS / MS_PER_S, self._fold_again)
            self._tell([fold.done], None)
            self._advance()

        self._submit(Work(state=fold.rows, fold_seq=fold.through_seq), done)
        return True

    def _send_tidying(self) -> bool:
        piece = self._pruning.piece if not self._closed else None
        if not self._tidy_due or not (self._moved_cursors or self._forget or piece):
            return False
        cursors, self._moved_cursors = self._moved_cursors, {}
        forget = list(self._forget)[:FORGET_MAX]
        self._batches_since_chore = 0

        def done(error: StorageUnavailable | None) -> None:
            self._working = False
            if error is not None:
                self._moved_cursors = cursors | self._moved_cursors
                self._fail(error, [])
                return
            for attachment_id in forget:
                self._forget.pop(attachment_id, None)
            self._tidy_due = bool(self._forget) or self._closed
            if piece is not None:
                self._pruning.pruned_seq = piece
                self._tidy_later(PRUNE_PAUSE_MS)
            self._advance()

        self._submit(Work(cursors=sorted(cursors.items()), forget=forget, prune_through=piece), done)
        return True

    def _lazy_is_over(self) -> None:
        self._lazy_timer = None
        for batch in self._batches:
            batch.due = True
        self._advance()

    def _fold_again(self) -> None:
        self._fold_timer = None
        self._advance()

    def _tidy_later(self, pause_ms: int = CURSOR_EVERY_MS) -> None:
        if self._tidy_timer is None and not self._closed:
            self._tidy_timer = self._loop.call_later(pause_ms / MS_PER_S, self._tidy_now)

    def _tidy_now(self) -> None:
        self._tidy_timer = None
        self._tidy_due = True
        self._advance()

    def _fail(self, error: StorageUnavailable, waiters: Sequence[Outcome]) -> None:
        """Refuse everything: what waits behind a failed row continues a sequence that is not on disk."""
        self.failed = error
        told = [*waiters, *(one for batch in self._batches for one in batch.waiters), *(f.done for f in self._folds)]
        self._batches.clear()
        self._folds.clear()
        self.pending = 0
        self._tell(told, error)

    def _tell(self, waiters: Sequence[Outcome], error: StorageUnavailable | None) -> None:
        for waiter in waiters:
            try:
                waiter(error)
            except Exception as failure:  # noqa: BLE001 - one that fails must not keep the news from the others
                self._loop.call_exception_handler({"message": "a journal callback failed", "exception": failure})

    # Reading: what is on disk, in some microseconds.

    def read(self, after_seq: int, limit: int) -> list[StoredRow]:
        """Return at most `limit` rows on disk after `after_seq`, in order."""
        return self._reader.rows(after_seq, limit)

    def state_row(self, kind: str, key: str) -> bytes | None:
        """Return one folded row, or None."""
        return self._reader.state_row(kind, key)

    def state_rows(self, kinds: Collection[str] | None = None) -> Iterator[tuple[str, str, bytes]]:
        """Yield the folded rows of `kinds` (all when None) as (kind, key, value), sorted by kind and key."""
        return self._reader.state_rows(kinds)

    def journal_id(self) -> bytes | None:
        """Return the id of the first event that ever was in here, which is this journal's name; None before it."""
        return self._reader.journal_id()

    def attachment(self, attachment_id: str) -> bytes | None:
        """Return the content stored under this id, or None."""
        return self._reader.attachment(attachment_id)
