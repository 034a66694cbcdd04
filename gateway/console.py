"""The console put together: what the page is handed of the gateway, and its own door at the desk."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec
import structlog

from gateway.config.console import USERS_FILE
from gateway.config.drawers import calibrated_line, open_key
from gateway.config.schema import Configuration
from gateway.console_file import shown
from gateway.console_view import ConsoleView
from gateway.devices.registry import kinds
from gateway.domain.answers import Answer
from gateway.domain.events import PrintQueued
from gateway.domain.reasons import Reason
from gateway.flows import guest
from gateway.flows.bench import BenchFlow
from gateway.flows.calibration import Calibrated, CalibrationFlow
from gateway.flows.desk import Desk, Request
from gateway.flows.lookup import Presented
from gateway.mqtt.requests import keyed_digest
from gateway.store.errors import StorageUnavailable
from gateway.web.grants import Grants, Kind
from gateway.web.server import ConsoleServer
from gateway.web.tallies import EVERY_S, Tallies

if TYPE_CHECKING:
    from gateway.app import Gateway

log = structlog.get_logger(__name__)


class Console:
    """The local page over the gateway. Without `console:` in the configuration nothing of it runs."""

    def __init__(self, gateway: Gateway) -> None:
        """Show `gateway`; nothing listens yet."""
        self._gateway = gateway
        self._bench = BenchFlow(gateway.recorder, gateway.spawn)
        self._calibration = CalibrationFlow(gateway.recorder, gateway.spawn)
        self._view = ConsoleView(gateway, self._bench.abilities)
        self._digest = keyed_digest(gateway.key.secret)
        # A desk of its own: the same rules, and grants by user and not by the broker's clients.
        self._desk = Desk(gateway.recorder)
        self._tallies = Tallies(self._view.gauges)
        self._sampling: asyncio.TimerHandle | None = None
        self.server = ConsoleServer(self, gateway.configuration.state_dir / USERS_FILE)

    async def configure(self, configuration: Configuration) -> None:
        """Take another configuration: its targets, and whether and where the page is served."""
        settings = configuration.console
        if settings is None:
            self._desk.configure({}, {}, 0)
            self._follow(False)
        else:
            self._configure_desk(configuration)
            self._follow(True)
        await self.server.configure(settings)

    async def close(self) -> None:
        """Sign everybody out and stop."""
        self._desk.configure({}, {}, 0)
        self._follow(False)
        await self.server.close()

    def _configure_desk(self, configuration: Configuration) -> None:
        gateway = self._gateway
        boards = {name for name, slot in gateway.supervisor.slots.items() if self._kind(slot.device.driver) == "gate"}
        wired = gateway.wiring.handlers()
        tried = self._bench.configure(gateway.supervisor.slots, boards)
        calibrated = self._calibration.configure({name: self._calibrated(name) for name in gateway.wiring.drawers})
        wired |= {name: {**wired[name], **handlers} for name, handlers in calibrated.items()}
        own = {"gateway": gateway.reporter.handlers()}
        wiring = gateway.wiring
        named: list[tuple[Kind, Iterable[str]]] = [
            ("device", tried), ("gate", wiring.gates), ("drawer", wiring.drawers), ("printer", wiring.printers),
            ("gateway", own),
        ]  # fmt: skip
        grants = Grants(self.server.users, {name: kind for kind, names in named for name in names})
        self._desk.configure({**tried, **wired, **own}, grants, round(configuration.limits.request_expiry_max_s * 1000))

    def _calibrated(self, name: str) -> Calibrated:
        """Return a drawer as the bench takes it."""
        device, wiring = self._gateway.configuration.devices[name], self._gateway.wiring
        key = open_key(device)
        words = ("low", "high") if key == "open_is_high" else ("idle", "active")
        drawer, configured = wiring.drawers[name], getattr(device.options, key)
        return Calibrated(
            drawer, partial(wiring.drawer_contact, name), words, partial(calibrated_line, device), configured
        )

    def _kind(self, driver: str) -> str:
        return self._gateway.drivers[driver].kind

    def _follow(self, wanted: bool) -> None:
        recorder = self._gateway.recorder
        followers, failures = recorder.followers, recorder.failure_listeners
        follows = self.server.live.committed in followers
        if wanted and not follows:
            followers += [self.server.live.committed, self._tallies.committed]
            failures.append(self.server.live.storage_failed)
            self._sampling = asyncio.get_running_loop().call_later(EVERY_S, self._sample)
        elif not wanted and follows:
            followers.remove(self.server.live.committed)
            followers.remove(self._tallies.committed)
            failures.remove(self.server.live.storage_failed)
        if not wanted and self._sampling is not None:
            self._sampling.cancel()
            self._sampling = None

    def _sample(self) -> None:
        self._tallies.sample()
        self._sampling = asyncio.get_running_loop().call_later(EVERY_S, self._sample)

    # What the page is handed.

    def now_ms(self) -> int:
        """Return UTC milliseconds."""
        return self._gateway.recorder.now_ms()

    def parts(self) -> dict[str, Callable[[], Any]]:
        """Return what makes each part of what is shown of the venue."""
        return self._view.parts()

    def charts(self) -> dict[str, Any]:
        """Return the figures of the last hour."""
        return {"every_s": EVERY_S, "series": self._tallies.series()}

    def handle(self, request: Request) -> Answer | None:
        """Ask the desk."""
        return self._desk.handle(request)

    def digest(self, data: bytes) -> str:
        """Return the keyed digest of what a request asks."""
        return self._digest(data)

    def receipt(self, job: str) -> tuple[PrintQueued, bytes] | None:
        """Return a print job and its content."""
        known = self._gateway.recorder.state.jobs.get(job)
        content = self._gateway.recorder.journal.attachment(job) if known is not None else None
        return (known.queued, content) if known is not None and content is not None else None

    def guest(self, shown: Presented | str | None, holder: str | None, client: str) -> dict[str, Any]:
        """Return what is known of a guest, and what each gate would say and why."""
        gateway = self._gateway
        lookup = gateway.entry.lookup
        try:
            found = lookup.holder(holder or "") if shown is None else lookup.shown(shown, self.now_ms())
            known = guest.about(found, gateway.recorder.state, gateway.directory)
        except StorageUnavailable as error:
            log.error("console_lookup_failed", why=str(error))
            return {"holder": "", "fault": Reason.STORAGE_UNAVAILABLE}
        by = "credential" if isinstance(shown, Presented) else "ref" if shown is not None else "holder"
        data = msgspec.json.encode({by: holder if shown is None else shown})
        return {**known, "gates": [self._why(gate, data, client) for gate in gateway.wiring.gates]}

    def _why(self, gate: str, data: bytes, client: str) -> dict[str, Any]:
        answer = self._desk.handle(Request(client, "why", gate, "why", data, None, ""))
        if answer is None:
            return {"gate": gate}
        return {"gate": gate, "status": answer.status, "message": answer.message, **answer.data}

    async def configuration(self) -> dict[str, Any]:
        """Return the configuration file with its findings, and whether it is what is in force."""
        found = await asyncio.to_thread(shown, Path(self._gateway.config_path), kinds())
        in_force = self._gateway.configuration.digest[:12]
        return {**found, "in_force": in_force, "refused": self._gateway.reporter.configuration_refused}
