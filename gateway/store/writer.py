"""Between the loop and the disk: `ThreadWriter` commits in a thread of its own.

A simulated writer stands in for the threads by the same methods, around the same committer.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from contextlib import suppress
from queue import Empty, SimpleQueue
from typing import Protocol

from gateway.store.committer import Committer, Work
from gateway.store.errors import StorageUnavailable

PAUSE_S = 0.05
"""Nothing to write for this long counts as a pause."""

Outcome = Callable[[StorageUnavailable | None], None]


class Writer(Protocol):
    """Where the journal sends its work, one piece at a time."""

    def submit(self, work: Work, on_done: Outcome) -> None:
        """Write `work` and call `on_done` in the loop's thread, with None or with why it is not on disk."""
        ...

    def wait(self) -> None:
        """Block until the submitted work is done, calling its `on_done` before returning."""
        ...

    def recover(self) -> None:
        """Open the database anew and try a real write. Raises StorageUnavailable. Only while nothing is submitted."""
        ...

    def ping(self, on_alive: Callable[[], None]) -> None:
        """Call `on_alive` in the loop's thread once the writer has come round to it, after all that was submitted."""
        ...

    def close(self) -> None:
        """Stop and close the database. Only while nothing is submitted."""
        ...


class ThreadWriter:
    """Commits in a thread of its own, so that the loop goes on while the disk works.

    The queue is `SimpleQueue`: of the standard library's hand-overs it wakes the other thread fastest.
    """

    def __init__(self, committer: Committer, loop: asyncio.AbstractEventLoop) -> None:
        """Start the thread. Outcomes are told in `loop`."""
        self._committer = committer
        self._loop = loop
        self._tasks: SimpleQueue[Callable[[], None] | None] = SimpleQueue()
        self._outcomes: SimpleQueue[tuple[Outcome, StorageUnavailable | None]] = SimpleQueue()
        self._thread = threading.Thread(target=self._run, name="journal-writer", daemon=True)
        self._thread.start()

    def submit(self, work: Work, on_done: Outcome) -> None:
        """Hand `work` to the thread."""
        self._tasks.put(lambda: self._commit(work, on_done))

    def wait(self) -> None:
        """Block until the next outcome is there and tell it."""
        on_done, error = self._outcomes.get()
        on_done(error)

    def recover(self) -> None:
        """Let the thread open the database anew, and block until it has. Raises StorageUnavailable."""
        answer: SimpleQueue[StorageUnavailable | None] = SimpleQueue()
        self._tasks.put(lambda: answer.put(_error_of(self._committer.recover)))
        if (error := answer.get()) is not None:
            raise error

    def ping(self, on_alive: Callable[[], None]) -> None:
        """Let the thread answer, behind whatever it has to write."""
        self._tasks.put(lambda: self._tell_alive(on_alive))

    def close(self) -> None:
        """Stop the thread; it closes the database."""
        self._tasks.put(None)
        self._thread.join()

    def _run(self) -> None:
        while (task := self._next()) is not None:
            task()
            if self._committer.needs_checkpoint:
                self._committer.checkpoint()
        self._committer.close()

    def _next(self) -> Callable[[], None] | None:
        """Wait for a task. A pause is used to copy the WAL into the database."""
        while self._committer.wants_checkpoint:
            try:
                return self._tasks.get(timeout=PAUSE_S)
            except Empty:
                self._committer.checkpoint()
        return self._tasks.get()

    def _commit(self, work: Work, on_done: Outcome) -> None:
        self._outcomes.put((on_done, _error_of(lambda: self._committer.commit(work))))
        # A loop that is already closed has nobody left to tell.
        with suppress(RuntimeError):
            self._loop.call_soon_threadsafe(self._tell)

    def _tell_alive(self, on_alive: Callable[[], None]) -> None:
        with suppress(RuntimeError):
            self._loop.call_soon_threadsafe(on_alive)

    def _tell(self) -> None:
        """Tell one outcome in the loop, unless `wait` has told it."""
        with suppress(Empty):
            on_done, error = self._outcomes.get_nowait()
            on_done(error)


def _error_of(function: Callable[[], None]) -> StorageUnavailable | None:
    try:
        function()
    except StorageUnavailable as error:
        return error
    except Exception as error:  # noqa: BLE001 - whatever it is, those who wait must hear of it
        return StorageUnavailable(f"the journal's writer failed: {error!r}", fatal=True)
    return None
