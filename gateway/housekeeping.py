"""What is done once a second, off the path of any tap: new directories, folds, and the way back from a full disk."""

from __future__ import annotations

import asyncio
import gc
from collections.abc import Sequence
from typing import TYPE_CHECKING

import structlog

from gateway.domain import events as e
from gateway.domain.retention import DAY_MS, old_receipts
from gateway.store.journal import StorageUnavailable

if TYPE_CHECKING:
    from gateway.app import Gateway

log = structlog.get_logger(__name__)

EVERY_S = 1.0
CALM_AFTER_S = 0.5
HEALTH_EVERY_S = 10.0
FOLD_EVERY_S = 900.0
"""A quiet venue folds four times an hour, so that a start never replays more than that."""
PRUNE_EVERY_S = 3600.0
ANSWERS_PRUNED_MAX = 20_000
FOLD_TIMEOUT_S = 20.0
EXIT_STORAGE = 74
"""EX_IOERR of sysexits.h: the service manager starts the daemon again, and it recovers from disk."""


def calm_collector() -> None:
    """Leave what is here now out of garbage collections, and look at the rest seldom.

    A full collection looks at every guest inside and stops the loop for tens of milliseconds; nearly all of what a tap
    makes is freed without it.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(20_000, 50, 1_000)


class Housekeeping:
    """The daemon's slow heartbeat."""

    def __init__(self, gateway: Gateway) -> None:
        """Look after `gateway`."""
        self._gateway = gateway
        self._next_fold_s = 0.0
        self._next_health_s = 0.0
        self._next_prune_s = 0.0

    async def run(self) -> None:
        """Go round until cancelled."""
        loop = asyncio.get_running_loop()
        self._next_fold_s = loop.time() + FOLD_EVERY_S
        self._next_prune_s = loop.time() + PRUNE_EVERY_S
        while True:
            await asyncio.sleep(EVERY_S)
            try:
                self._round(loop.time())
            except Exception:
                # One failed round must not end all later ones.
                log.exception("housekeeping_failed")

    def storage_failed(self, _: Sequence[e.RequestRef], error: StorageUnavailable) -> None:
        """Listen to the recorder: say so at once, and leave when the disk lied about a sync."""
        log.error("storage_unavailable", why=str(error), fatal=error.fatal)
        self._gateway.reporter.announce_state()
        if error.fatal:
            self._gateway.stop(EXIT_STORAGE)

    async def fold_everything(self) -> None:
        """Write all changed state, so that the next start replays nothing."""
        try:
            async with asyncio.timeout(FOLD_TIMEOUT_S):
                await self._gateway.recorder.fold_everything()
        except TimeoutError:
            log.warning("fold_not_finished", why="the next start replays a little more")

    def _round(self, now_s: float) -> None:
        gateway = self._gateway
        if gateway.recorder.lost is not None:
            self._recover()
        if gateway.directory.changed_on_disk():
            gateway.directory_changed()
        gateway.clock.look()
        if gateway.clock.trusted:
            # Nobody is forgotten at a time of day that nobody vouches for; it is made up for once somebody does.
            gateway.wiring.orders.reset_due()
        due = now_s >= self._next_fold_s
        if gateway.recorder.fold_if_due(force=due) or due:
            self._next_fold_s = now_s + FOLD_EVERY_S
        dropped, gateway.recorder.state.dropped_jobs = gateway.recorder.state.dropped_jobs, []
        if dropped:
            gateway.recorder.journal.delete_attachments(dropped)
        if now_s >= self._next_prune_s:
            self._next_prune_s = now_s + PRUNE_EVERY_S
            gateway.spawn(self._prune())
        if now_s >= self._next_health_s:
            self._next_health_s = now_s + HEALTH_EVERY_S
            gateway.reporter.announce_health()

    async def _prune(self) -> None:
        """Let go of what the configuration's `retention` says is too old: receipts, and answers nobody asks for."""
        recorder, kept = self._gateway.recorder, self._gateway.configuration.retention
        now_ms = recorder.now_ms()
        receipts_ms = now_ms - round(kept.receipts_days * DAY_MS)
        recorder.journal.delete_attachments(old_receipts(recorder.state.jobs, receipts_ms))
        answers_ms = now_ms - round(kept.answers_days * DAY_MS)
        try:
            keys = await self._gateway.history.answers_before(answers_ms, ANSWERS_PRUNED_MAX)
        except StorageUnavailable as error:
            log.warning("answers_not_pruned", why=str(error))
            return
        recorder.forget_answers(keys)

    def _recover(self) -> None:
        """Try to write again; on success everything in memory is what the disk says."""
        try:
            self._gateway.recorder.recover()
        except StorageUnavailable as error:
            log.warning("storage_still_unavailable", why=str(error), fatal=error.fatal)
            if error.fatal:
                # A sync that failed under a fold, a cursor or this very attempt: no event waited to be told of it.
                self._gateway.stop(EXIT_STORAGE)
            return
        log.info("storage_recovered", seq=self._gateway.recorder.journal.last_seq)
        self._gateway.storage_recovered()


async def end_all(tasks: Sequence[asyncio.Task[None]]) -> None:
    """Cancel tasks and wait until all of them have ended."""
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
