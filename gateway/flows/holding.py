"""A lock that is held open: for as long as an emergency lasts, across a board that comes and goes."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import structlog

from drivers.api import DriverError
from gateway.config.boards import Contact

if TYPE_CHECKING:
    from gateway.flows.gate import LockPort

log = structlog.get_logger(__name__)

HOLD_TIMEOUT_S = 2.0
RETRY_S = 0.5
"""Pause before a board that is there and did not confirm is told again: an emergency is not given up."""


class HeldLock:
    """Makes one relay what is wanted of it, and keeps at it while its board answers."""

    def __init__(self, gate: str, contact: Contact, port: LockPort) -> None:
        """Take the gate's name for the log, its relay, and the door to its board."""
        self._gate = gate
        self._contact = contact
        self._port = port
        self._task: asyncio.Task[None] | None = None
        self.wanted = False
        self.held: bool | None = False
        """What the relay is known to be; None where only the board knows: told, and not yet confirmed."""

    def want(self, held: bool) -> None:
        """Hold the relay closed from now on, or let it go."""
        self.wanted = held
        self._begin()

    def board_is_back(self) -> None:
        """A board that was away begins with every relay open: what is or was to be held is told to it once more."""
        self._tell_anew(self.wanted, self.held)

    def is_at(self, other: HeldLock) -> bool:
        """Return True when both stand for the same relay of the same board."""
        return self._contact == other._contact and self._port is other._port

    def take_over(self, before: HeldLock) -> None:
        """Go on where another left off at the same relay; what it is now is told to the board once more."""
        self._tell_anew(before.wanted, before.held)

    def close(self) -> None:
        """Stop trying; the relay stays as it is."""
        if self._task is not None:
            self._task.cancel()
            self._task = None

    def _tell_anew(self, wanted: bool, held: bool | None) -> None:
        # A relay that nobody holds is left alone: it may be amid the pulse of a guest.
        if wanted or held is not False:
            self.wanted, self.held = wanted, None
            self._begin()

    def _begin(self) -> None:
        if self.held is not self.wanted and (self._task is None or self._task.done()):
            self._task = asyncio.get_running_loop().create_task(self._settle())

    async def _settle(self) -> None:
        # A board that is away is waited for elsewhere: its return calls board_is_back().
        failures = 0
        while self.held is not self.wanted and self._port.online:
            wanted = self.wanted
            # A board may do what it is told and its answer be lost: until it confirms, nobody knows what it did.
            self.held = None
            try:
                async with asyncio.timeout(HOLD_TIMEOUT_S):
                    await self._port.lock().hold(self._contact.channel, wanted)
            except (DriverError, TimeoutError) as error:
                failures += 1
                if _worth_a_line(failures):
                    log.warning("gate_hold_failed", gate=self._gate, failures=failures, why=str(error) or "no answer")
                await asyncio.sleep(RETRY_S)
            except Exception:
                # A bug in a driver must not end this either: the next attempt may open the gate.
                failures += 1
                if _worth_a_line(failures):
                    log.exception("gate_hold_crashed", gate=self._gate, failures=failures)
                await asyncio.sleep(RETRY_S)
            else:
                self.held = wanted
                self._report()

    def _report(self) -> None:
        if self.held:
            log.info("gate_held", gate=self._gate)
        else:
            log.info("gate_let_go", gate=self._gate)


def _worth_a_line(failures: int) -> bool:
    """Return True for the 1st, 2nd, 4th, 8th … failure in a row: the log is for people too."""
    return not failures & (failures - 1)
