"""The technician's bench: try a reader's beep, light or line, or a relay's click, with everything on record."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection, Coroutine, Mapping
from functools import partial
from typing import Annotated, Any, Protocol

import msgspec
import structlog
from msgspec import Meta

from drivers.api import Beeper, Colour, DeviceOffline, Display, DriverError, Light, Lock
from gateway.domain import bench
from gateway.domain.answers import Answer, denied
from gateway.domain.reasons import Reason
from gateway.flows.desk import Handler, RefusedRequest, Request, read_data
from gateway.flows.noting import note
from gateway.flows.recorder import Commit, Recorder
from gateway.store.journal import StorageUnavailable

log = structlog.get_logger(__name__)

DEVICE_TIMEOUT_S = 4.0
SHOW_MS = 3000
VERBS: Mapping[bench.Action, type] = {"beep": Beeper, "light": Light, "show": Display, "pulse": Lock}
"""What can be tried, and what a device has to be able to do for it."""

Reasoned = Annotated[str, Meta(min_length=1, max_length=200)]


class TryData(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """`data` of a `beep`, `light` or `show` request: why, for the journal, and what to show."""

    reason: Reasoned
    colour: Colour = "green"
    text: Annotated[str, Meta(max_length=80)] = "Test"


class PulseData(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """`data` of a `pulse` request: which relay, for how long, and why."""

    reason: Reasoned
    channel: Annotated[int, Meta(ge=1, le=64)]
    pulse_ms: Annotated[int, Meta(ge=50, le=5000)] = 500


class BenchPort(Protocol):
    """A device as the supervisor hands it out."""

    @property
    def online(self) -> bool:
        """True while the device is there."""
        ...

    def live(self) -> Any:  # noqa: ANN401 - what it can do is asked of it
        """Return the driver; raises DeviceOffline while there is none."""
        ...


class BenchFlow:
    """Tries devices out. Each try is journalled before it happens, and once more with what came of it."""

    def __init__(self, recorder: Recorder, spawn: Callable[[Coroutine[Any, Any, None]], object]) -> None:
        """Begin without devices; `spawn` runs each try in the background."""
        self._recorder = recorder
        self._spawn = spawn
        self._devices: Mapping[str, BenchPort] = {}
        self._able: dict[type, list[str]] = {}

    def configure(
        self, devices: Mapping[str, BenchPort], boards: Collection[str]
    ) -> Mapping[str, Mapping[str, Handler]]:
        """Take the devices, `boards` among them being relay boards. Returns what serves each verb of each."""
        self._devices = devices
        signals: tuple[bench.Action, ...] = ("beep", "light", "show")
        quiet: dict[str, Handler] = {verb: Handler(partial(self._take_signal, verb)) for verb in signals}
        pulse = {"pulse": Handler(self._take_pulse, moves_metal=True)}
        return {name: pulse if name in boards else quiet for name in devices}

    def abilities(self, name: str) -> list[str]:
        """Return what can be tried at a device that is there."""
        device = self._devices.get(name)
        if device is None or not device.online:
            return []
        driver = device.live()
        # Remembered for each model: to ask takes long, and the console asks for every device five times a second.
        if type(driver) not in self._able:
            self._able[type(driver)] = [verb for verb, ability in VERBS.items() if isinstance(driver, ability)]
        able = self._able[type(driver)]
        # Of one model, some have a display and some have none.
        return able if "show" not in able or driver.display_rows else [verb for verb in able if verb != "show"]

    def _take_signal(self, action: bench.Action, request: Request) -> None:
        self._begin(action, request, read_data(request, TryData))

    def _take_pulse(self, request: Request) -> None:
        self._begin("pulse", request, read_data(request, PulseData))

    def _begin(self, action: bench.Action, request: Request, asked: TryData | PulseData) -> None:
        name = request.target
        if not asked.reason.strip():
            raise RefusedRequest(denied(Reason.MALFORMED, "`data.reason` is blank. Say why this is tried."))
        if self._recorder.state.bench.busy(name):
            raise RefusedRequest(denied(Reason.BUSY, "This device is being tried out already."))
        if action not in self.abilities(name):
            raise RefusedRequest(self._unable(name, action))
        started = bench.BenchStarted(
            test=self._recorder.new_id(),
            device=name,
            action=action,
            client=request.client,
            reason=asked.reason,
            channel=asked.channel if isinstance(asked, PulseData) else 0,
            pulse_ms=asked.pulse_ms if isinstance(asked, PulseData) else 0,
            request=request.ref,
        )
        commit = self._recorder.record(started)
        self._spawn(self._try(started, asked, commit, request.expires_at_ms))

    def _unable(self, name: str, verb: str) -> Answer:
        if not self._devices[name].online:
            return denied(Reason.DEVICE_OFFLINE)
        can = ", ".join(self.abilities(name)) or "nothing"
        return denied(Reason.UNKNOWN_VERB, f"This device cannot {verb}. It can: {can}.")

    async def _try(
        self, test: bench.BenchStarted, asked: TryData | PulseData, commit: Commit, expires_at_ms: int | None
    ) -> None:
        """Wait for the disk, then send the command once (I1, I2)."""
        try:
            await commit
        except StorageUnavailable:
            return
        if test.test not in self._recorder.state.bench.open:
            log.error("bench_given_up", device=test.device, test=test.test)
            return
        if expires_at_ms is not None and expires_at_ms <= self._recorder.now_ms():
            self._end(test, "failed", "The disk took too long; nothing was sent. Try again.")
            return
        try:
            async with asyncio.timeout(DEVICE_TIMEOUT_S):
                await _send(self._devices[test.device], test, asked)
        except (DeviceOffline, KeyError) as error:
            self._end(test, "failed", f"The device is not there: {error}")
        except (DriverError, TimeoutError) as error:
            self._end(test, "unknown", str(error) or "The device did not answer in time.")
        except Exception:
            log.exception("bench_failed", device=test.device, action=test.action)
            self._end(test, "unknown", "The driver failed; the log has the details.")
        else:
            self._end(test, "done", "")

    def _end(self, test: bench.BenchStarted, outcome: bench.Outcome, message: str) -> None:
        ended = bench.BenchEnded(
            test=test.test, device=test.device, outcome=outcome, message=message, request=test.request
        )
        note(self._recorder, test.device, ended)


async def _send(port: BenchPort, test: bench.BenchStarted, asked: TryData | PulseData) -> None:
    driver = port.live()
    if isinstance(asked, PulseData):
        await driver.pulse(asked.channel, asked.pulse_ms)
    elif test.action == "beep":
        await driver.beep(2, 150, 100)
    elif test.action == "light":
        await driver.light(asked.colour, SHOW_MS)
    else:
        await driver.show(asked.text, SHOW_MS)
