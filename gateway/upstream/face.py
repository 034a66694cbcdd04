"""All that leads up: a relay for each sink, and how it stands with them. It follows the YAML while it runs."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import structlog

from gateway.config.upstream import MAIN_SINK, SinkEntry, Upstream
from gateway.domain.upstream_events import UpstreamEvent
from gateway.flows.recorder import Committed
from gateway.store.directory_overlay import Batch, ChangeFile
from gateway.store.errors import StorageUnavailable
from gateway.upstream.courier import HttpsCourier
from gateway.upstream.directory import Above, DirectorySync
from gateway.upstream.http import Client
from gateway.upstream.making import make_changes, make_sink
from gateway.upstream.network import NetworkWatch
from gateway.upstream.outbox import Outbox
from gateway.upstream.relay import Relay
from gateway.upstream.retention import Outlook, Retention
from gateway.upstream.venue import VenueAtWork

if TYPE_CHECKING:
    from gateway.app import Gateway

log = structlog.get_logger(__name__)

LOOK_EVERY_S = 10.0
PRUNE_EVERY_ROUNDS = 360
FEED_CURSOR = "mqtt-feed"
"""The local event feed reads the same journal: what it has not published stays too."""
MS_PER_S = 1000
_DIRECTORY, _COURIER = "/directory", "/allowances"
"""No sink is called so."""


class UpstreamFace:
    """Upstream, as the rest of the gateway sees it. Without an `upstream` section it does nothing at all."""

    def __init__(self, gateway: Gateway, config_path: Path, record: Callable[[UpstreamEvent], None]) -> None:
        """Prepare; nothing runs before `configure`. `record` stores what is told for the record only."""
        self._gateway = gateway
        self._recorder = gateway.recorder
        self._path = gateway.configuration.state_dir / "journal.db"
        self._venue = gateway.configuration.venue.id
        self._at_work = VenueAtWork(
            config_path, lambda: gateway.configuration, gateway.directory_changed, self._directory_changed
        )
        self._record = record
        self._endpoints: dict[str, SinkEntry] = {}
        self._tasks: dict[str, asyncio.Task[None]] = {}
        self._parts: dict[str, object] = {}
        self._settings: Upstream | None = None
        self._outbox: Outbox | None = None
        self._ages_s: dict[str, float] = {}
        self._outlook = Outlook()
        self._run: asyncio.Task[None] | None = None
        self.relays: dict[str, Relay] = {}
        self.directory: DirectorySync | None = None
        self.courier: HttpsCourier | None = None

    def configure(self, settings: Upstream | None) -> None:
        """Take new settings; only the sinks that changed begin anew."""
        self._settings = settings
        wanted = dict(settings.all_sinks) if settings is not None else {}
        for name in [name for name, endpoint in self._endpoints.items() if wanted.get(name) != endpoint]:
            self._endpoints.pop(name)
            self._tasks.pop(name).cancel()
            self.relays.pop(name).close()
            self._ages_s.pop(name, None)
        if wanted and self._run is None:
            self._outbox = Outbox(self._path, self._venue)
            self._run = self._gateway.spawn(self._look_after(self._outbox))
        for name in wanted.keys() - self._endpoints.keys():
            self._begin(name, wanted[name])
        self._configure_directory(settings)
        self._configure_courier(settings)

    def _configure_directory(self, settings: Upstream | None) -> None:
        endpoint = settings.endpoint if settings is not None and settings.directory else None
        stream = settings.directory_stream if settings is not None and endpoint is not None else None
        if not self._is_new(_DIRECTORY, (endpoint, stream)):
            return
        self.directory = None
        if endpoint is None:
            return
        gateway, client = self._gateway, Client(endpoint, self._venue, self._heard)
        file = ChangeFile(gateway.configuration.state_dir)
        self.directory = DirectorySync(
            Above(client, make_changes(stream, self._venue) if stream is not None else None),
            gateway.directory,
            file,
            gateway.key,
            self._at_work,
            gateway.random,
            self._recorder.now_ms,
            self._record,
        )
        self._tasks[_DIRECTORY] = gateway.spawn(self.directory.run())

    def _configure_courier(self, settings: Upstream | None) -> None:
        wallet = self._gateway.configuration.wallet
        wanted = settings is not None and wallet.authority == "upstream" and wallet.allowances is not None
        endpoint = settings.endpoint if settings is not None and wanted else None
        if not self._is_new(_COURIER, endpoint):
            return
        self.courier, flow = None, self._gateway.allowances
        if endpoint is not None:
            client = Client(endpoint, self._venue, self._heard)
            self.courier = HttpsCourier(client, self._gateway.random, flow.received, flow.online_again)
            self._tasks[_COURIER] = self._gateway.spawn(self.courier.run())
        flow.connect(self.courier)

    def _is_new(self, part: str, settings: object) -> bool:
        """Return whether a part has to begin anew, and end the one that was."""
        if self._parts.get(part) == settings:
            return False
        self._parts[part] = settings
        if part in self._tasks:
            self._tasks.pop(part).cancel()
        return True

    def _directory_changed(self, batch: Batch) -> None:
        if batch.zones:
            self._gateway.directory_names_changed()
        if batch.wallets:
            self._gateway.purchase.upstream_spoke()

    def _begin(self, name: str, entry: SinkEntry) -> None:
        if self._outbox is None:
            return
        sink = make_sink(entry, self._venue, name, self._heard if name == MAIN_SINK else None)
        journal, random = self._recorder.journal, self._gateway.random
        relay = Relay(name, sink, self._outbox, journal, random, self._record, entry.keep_after_ack_s)
        self._endpoints[name], self.relays[name] = entry, relay
        self._tasks[name] = self._gateway.spawn(relay.run())

    def committed(self, _: Sequence[Committed]) -> None:
        """Follow the recorder: there is something to send."""
        for relay in self.relays.values():
            relay.news()

    def network_changed(self) -> None:
        """Try everything at once."""
        log.info("network_changed")
        for part in (*self.relays.values(), self.directory, self.courier):
            if part is not None:
                part.try_now()

    def troubles(self) -> list[str]:
        """Return what is wrong, in words."""
        found = [relay.trouble() for relay in self.relays.values()]
        found.append(self.directory.trouble() if self.directory is not None else "")
        return [trouble for trouble in (*found, self._outlook.trouble()) if trouble]

    def figures(self) -> dict[str, int | float]:
        """Return the figures for health, with the sinks' names in theirs."""
        figures: dict[str, int | float] = {}
        for name, relay in self.relays.items():
            sink = name.replace("-", "_")
            figures[f"upstream_{sink}_behind"] = relay.behind
            figures[f"upstream_{sink}_age_s"] = round(self._ages_s.get(name, 0.0)) if relay.behind else 0
            figures[f"upstream_{sink}_set_aside"] = relay.set_aside_count
        if (directory := self.directory) is not None:
            figures["directory_cursor"] = self._gateway.directory.cursor
            figures["directory_age_s"] = max(0, self._recorder.now_ms() - self._gateway.directory.as_of_ms) // MS_PER_S
            figures["directory_changes_unfolded"] = self._gateway.directory.overlay.rows
            if all_bytes := directory.download.all_bytes:
                figures["directory_download_percent"] = 100 * directory.download.got_bytes // all_bytes
        return figures

    def _heard(self, at_ms: int, uncertain_ms: int) -> None:
        self._gateway.clock.upstream_said(at_ms, uncertain_ms)

    async def _look_after(self, outbox: Outbox) -> None:
        """See to ages and to what may be pruned, and to the network's coming back."""
        watch = NetworkWatch(self.network_changed)
        retention = Retention(self._recorder.journal, self._path, outbox)
        rounds = 0
        try:
            while True:
                try:
                    await self._look(outbox, retention if rounds % PRUNE_EVERY_ROUNDS == 0 else None)
                except (StorageUnavailable, OSError) as error:
                    log.warning("upstream_not_looked_after", why=str(error))
                rounds += 1
                await asyncio.sleep(LOOK_EVERY_S)
        finally:
            watch.close()
            await outbox.close()

    async def _look(self, outbox: Outbox, retention: Retention | None) -> None:
        now_ms = self._recorder.now_ms()
        for name, relay in list(self.relays.items()):
            since_ms = await outbox.waiting_since_ms(relay.through_seq)
            self._ages_s[name] = max(0, now_ms - since_ms) / MS_PER_S if since_ms is not None else 0.0
        settings = self._settings
        if retention is None or settings is None or not self.relays:
            return
        done = [relay.done_seq for relay in self.relays.values()]
        done.append(self._recorder.journal.cursor(FEED_CURSOR))
        self._outlook = await retention.look(now_ms, settings.keep_days, min(done))
