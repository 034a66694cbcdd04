"""What ends when nobody comes: a reader that waits for a card, and a hold that waits for its capture.

Timers run by the loop's clock. What they do reads the state again, so a late timer can undo nothing.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import structlog

from gateway.domain import purchases
from gateway.domain import wallet_events as w
from gateway.domain.ledger import Ledger
from gateway.domain.reasons import Reason
from gateway.flows.recorder import Recorder
from gateway.store.journal import StorageUnavailable

log = structlog.get_logger(__name__)

MS_PER_S = 1000
SHORTEST_S = 0.001
TRY_AGAIN_S = 1.0
"""How soon a timer tries again whose fact could not be stored."""


class Deadlines:
    """The timers of all readers and holds. Each stands under a reader's name or a hold's id, which has a slash."""

    def __init__(self, recorder: Recorder) -> None:
        """Begin with nothing to wait for."""
        self._recorder = recorder
        self._timers: dict[str, asyncio.TimerHandle] = {}

    def await_tap(self, armed: w.WalletArmed) -> None:
        """Let a reader wait until its order's time is over."""
        self._start(
            armed.reader, self._seconds_to(armed.until_ms), lambda: self.give_up(armed, Reason.PAYMENT_TIMED_OUT)
        )

    def await_capture(self, hold: w.WalletHeld) -> None:
        """Let a hold wait until its time is over."""
        self._start(hold.transfer, self._seconds_to(hold.until_ms), lambda: self._release(hold))

    def met(self, key: str) -> None:
        """Stop the timer of a reader or a hold."""
        timer = self._timers.pop(key, None)
        if timer is not None:
            timer.cancel()

    def look_again(self) -> None:
        """Set the timers by what the state says: at the start, and after it was rebuilt from disk."""
        self.stop()
        for armed in self._ledger.armed.values():
            self.await_tap(armed)
        for hold in self._ledger.holds.values():
            self.await_capture(hold)

    def stop(self) -> None:
        """Stop every timer."""
        for key in list(self._timers):
            self.met(key)

    def give_up(self, armed: w.WalletArmed, reason: Reason) -> None:
        """Let a reader wait no more, if it still waits for this order."""
        now = self._ledger.armed.get(armed.reader)
        if now is None or now.order.transfer != armed.order.transfer:
            return
        try:
            self._recorder.record(purchases.given_up(armed, reason))
            self.met(armed.reader)
        except StorageUnavailable as error:
            log.warning("reader_still_waits", reader=armed.reader, why=str(error))
            self._start(armed.reader, TRY_AGAIN_S, lambda: self.give_up(armed, reason))

    def _release(self, hold: w.WalletHeld) -> None:
        if hold.transfer not in self._ledger.holds:
            return
        facts = purchases.hold_timed_out(self._ledger, hold.transfer, self._recorder.now_ms())
        if not facts:
            # The wall clock was set back since: the hold runs until the time that was promised.
            self.await_capture(hold)
            return
        try:
            self._recorder.record(*facts)
            self.met(hold.transfer)
        except StorageUnavailable as error:
            log.warning("hold_not_released", transfer=hold.transfer, why=str(error))
            self._start(hold.transfer, TRY_AGAIN_S, lambda: self._release(hold))

    @property
    def _ledger(self) -> Ledger:
        return self._recorder.state.ledger

    def _seconds_to(self, at_ms: int) -> float:
        return (at_ms - self._recorder.now_ms()) / MS_PER_S

    def _start(self, key: str, delay_s: float, fire: Callable[[], None]) -> None:
        self.met(key)
        self._timers[key] = asyncio.get_running_loop().call_later(max(SHORTEST_S, delay_s), fire)
