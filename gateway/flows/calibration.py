"""The technician's bench, for a drawer's contact: read shut, open once, read open, and say which is which."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Coroutine, Mapping
from typing import Annotated, Any

import msgspec
import structlog
from msgspec import Meta

from drivers.api import DeviceOffline, DriverError
from gateway.domain import bench
from gateway.domain.answers import denied
from gateway.domain.reasons import Reason
from gateway.flows.desk import Handler, RefusedRequest, Request, read_data
from gateway.flows.drawer import DrawerFlow
from gateway.flows.noting import note
from gateway.flows.recorder import Commit, Recorder
from gateway.store.journal import StorageUnavailable

log = structlog.get_logger(__name__)

OPEN_WITHIN_S = 15.0
"""How long the drawer may take to be open: one that stays shut is opened with its key meanwhile."""
LOOK_EVERY_S = 0.1
READ_S = 4.0


class CalibrateData(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """`data` of a `calibrate` request: why, for the journal. The drawer is to be shut when it is sent."""

    reason: Annotated[str, Meta(min_length=1, max_length=200)]


class Calibrated(msgspec.Struct, frozen=True):
    """A drawer whose contact can be read: `read` returns what it reads now, None where nobody can say.

    `words` are what False and True are called; `line` returns the drawer's line of the YAML for what it reads open, and
    `configured` is what that line says today.
    """

    drawer: DrawerFlow
    read: Callable[[], Awaitable[bool | None]]
    words: tuple[str, str]
    line: Callable[[bool], str]
    configured: bool | None


class CalibrationFlow:
    """Finds out what a contact reads while its drawer is open. On record with its user, as all of the bench is."""

    def __init__(self, recorder: Recorder, spawn: Callable[[Coroutine[Any, Any, None]], object]) -> None:
        """Begin without drawers; `spawn` runs each calibration in the background."""
        self._recorder = recorder
        self._spawn = spawn
        self._drawers: Mapping[str, Calibrated] = {}

    def configure(self, drawers: Mapping[str, Calibrated]) -> Mapping[str, Mapping[str, Handler]]:
        """Take the drawers. Returns what serves the verb of each."""
        self._drawers = drawers
        return {name: {"calibrate": Handler(self._take, moves_metal=True)} for name in drawers}

    def _take(self, request: Request) -> None:
        reason, name = read_data(request, CalibrateData).reason, request.target
        if not reason.strip():
            raise RefusedRequest(denied(Reason.MALFORMED, "`data.reason` is blank. Say why this is tried."))
        if self._recorder.state.bench.busy(name):
            raise RefusedRequest(denied(Reason.BUSY, "This drawer is being calibrated already."))
        started = bench.BenchStarted(
            test=self._recorder.new_id(),
            device=name,
            action="calibrate",
            client=request.client,
            reason=reason,
            request=request.ref,
        )
        commit = self._recorder.record(started)
        self._spawn(self._find_out(started, commit, request.expires_at_ms))

    async def _find_out(self, test: bench.BenchStarted, commit: Commit, expires_at_ms: int | None) -> None:
        try:
            await commit
        except StorageUnavailable:
            return
        if test.test not in self._recorder.state.bench.open:
            log.error("bench_given_up", device=test.device, test=test.test)
            return
        outcome: bench.Outcome = "failed"
        try:
            outcome, message = await self._calibrate(test, expires_at_ms)
        except RefusedRequest as refused:
            message = refused.answer.message
        except (DriverError, DeviceOffline, KeyError, TimeoutError) as error:
            message = f"The contact could not be read: {error}"
        except Exception:
            log.exception("bench_failed", device=test.device, action=test.action)
            outcome, message = "unknown", "The driver failed; the log has the details."
        ended = bench.BenchEnded(
            test=test.test, device=test.device, outcome=outcome, message=message, request=test.request
        )
        note(self._recorder, test.device, ended)

    async def _calibrate(self, test: bench.BenchStarted, expires_at_ms: int | None) -> tuple[bench.Outcome, str]:
        """Return what came of it, and what to do about it."""
        one = self._drawers[test.device]
        if (shut := await _reading(one)) is None:
            return "failed", "Nobody can say how its contact stands, so there is nothing to calibrate."
        one.drawer.begin(test.client, f"calibrating: {test.reason}"[:200], expires_at_ms)
        if not await _changed(one, shut):
            told = "the drawer stayed shut, has no contact, or its cable does not carry it"
            return "failed", f"It read {one.words[shut]} all the time: {told}."
        told = f"Shut it reads {one.words[shut]}, open {one.words[not shut]}."
        if one.configured == (not shut):
            return "done", f"{told} So it is configured already."
        return "done", f"{told} Write this under devices: {one.line(not shut)}"


async def _reading(one: Calibrated) -> bool | None:
    async with asyncio.timeout(READ_S):
        return await one.read()


async def _changed(one: Calibrated, before: bool) -> bool:
    """Look until the contact reads otherwise. A read that fails meanwhile is tried again."""
    until_s = asyncio.get_running_loop().time() + OPEN_WITHIN_S
    while asyncio.get_running_loop().time() < until_s:
        if await _reading(one) == (not before):
            return True
        await asyncio.sleep(LOOK_EVERY_S)
    return False
