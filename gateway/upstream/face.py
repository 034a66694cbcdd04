"""All that leads up: a relay for each sink, and how it stands with them. It follows the YAML while it runs."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec
import structlog

from gateway.config.upstream import MAIN_SINK, ChangeStream, SinkEntry, Upstream
from gateway.domain.above import FOUND
from gateway.domain.upstream_events import UpstreamEvent
from gateway.flows.recorder import Committed
from gateway.store.directory_overlay import Batch, ChangeFile
from gateway.store.errors import StorageUnavailable
from gateway.upstream.courier import HttpsCourier
from gateway.upstream.directory import Above, DirectorySync
from gateway.upstream.findings import FindingsPoll
from gateway.upstream.fleet import FleetLink
from gateway.upstream.freshness import VenueTime
from gateway.upstream.http import Client, HeardDate
from gateway.upstream.making import make_changes, make_sink
from gateway.upstream.network import NetworkWatch
from gateway.upstream.outbox import Outbox
from gateway.upstream.relay import Relay
from gateway.upstream.retention import Outlook, Retention
from gateway.upstream.seal import Seal
from gateway.upstream.venue import VenueAtWork

if TYPE_CHECKING:
    from gateway.app import Gateway

log = structlog.get_logger(__name__)

LOOK_EVERY_S = 10.0
PRUNE_EVERY_ROUNDS = 360
FEED_CURSOR = "mqtt-feed"
"""The local event feed reads the same journal: what it has not published stays too."""
MS_PER_S = 1000
_DIRECTORY, _COURIER, _FINDINGS, _FLEET = "/directory", "/allowances", "/findings", "/fleet"
"""No sink is called so."""


class Door(msgspec.Struct, frozen=True):
    """Where something leads: the entry of the YAML, and whether the gateway is known there by its own certificate.

    With a `stream` the directory's changes come from there.
    """

    entry: SinkEntry
    enrolled: bool = False
    stream: ChangeStream | None = None


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
        self._doors: dict[str, Door] = {}
        self._tasks: dict[str, asyncio.Task[None]] = {}
        self._parts: dict[str, Door | None] = {}
        self._settings: Upstream | None = None
        self._outbox: Outbox | None = None
        self._ages_s: dict[str, float] = {}
        self._outlook = Outlook()
        self._run: asyncio.Task[None] | None = None
        self.relays: dict[str, Relay] = {}
        self.directory: DirectorySync | None = None
        self.courier: HttpsCourier | None = None
        self.findings: FindingsPoll | None = None
        self._seal = Seal(self._venue, gateway.fleet.keys)

    def configure(self, settings: Upstream | None) -> None:
        """Take new settings; only the sinks that changed begin anew."""
        self._settings = settings
        enrolled = self._enrolled(settings)
        sinks = settings.all_sinks if settings is not None else {}
        wanted = {name: Door(entry, enrolled and name == MAIN_SINK) for name, entry in sinks.items()}
        for name in [name for name, door in self._doors.items() if wanted.get(name) != door]:
            self._doors.pop(name)
            self._tasks.pop(name).cancel()
            self.relays.pop(name).close()
            self._ages_s.pop(name, None)
        if wanted and self._run is None:
            self._outbox = Outbox(self._path, self._venue)
            self._run = self._gateway.spawn(self._look_after(self._outbox))
        for name in wanted.keys() - self._doors.keys():
            self._begin(name, wanted[name])
        self._configure_directory(settings)
        self._configure_courier(settings)
        self._configure_findings(settings)
        self._configure_fleet(settings)

    def _enrolled(self, settings: Upstream | None) -> bool:
        return settings is not None and settings.fleet is not None and self._gateway.fleet.identity.enrolled

    def _door(
        self, settings: Upstream | None, *, wanted: bool = True, stream: ChangeStream | None = None
    ) -> Door | None:
        """Return the way to upstream itself; None where there is none, or none is wanted."""
        return Door(settings.entry, self._enrolled(settings), stream) if settings is not None and wanted else None

    def _client(self, door: Door, heard: HeardDate | None = None) -> Client:
        if not door.enrolled:
            return Client(door.entry, self._venue, heard)
        return Client(door.entry, self._venue, heard, self._gateway.fleet.identity, self._seal)

    def _configure_fleet(self, settings: Upstream | None) -> None:
        door, gateway = self._door(settings, wanted=self._enrolled(settings)), self._gateway
        gateway.fleet.forget_trust()
        if not self._is_new(_FLEET, door):
            return
        gateway.fleet.link = None
        if door is not None:
            fleet = gateway.fleet
            fleet.link = FleetLink(
                self._client(door, self._heard),
                lambda: fleet.cursor,
                fleet.record,
                fleet,
                fleet.renew_if_due,
                gateway.random,
            )
            self._tasks[_FLEET] = gateway.spawn(fleet.link.run())

    def _configure_directory(self, settings: Upstream | None) -> None:
        wanted = settings is not None and settings.directory
        door = self._door(settings, wanted=wanted, stream=settings.directory_stream if settings is not None else None)
        if not self._is_new(_DIRECTORY, door):
            return
        self.directory = None
        if door is None:
            return
        gateway, client = self._gateway, self._client(door, self._heard)
        file = ChangeFile(gateway.configuration.state_dir)
        self.directory = DirectorySync(
            Above(client, make_changes(door.stream, self._venue) if door.stream is not None else None),
            gateway.directory,
            file,
            gateway.key,
            self._at_work,
            gateway.random,
            VenueTime(self._recorder.now_ms, lambda: self._recorder.doubt is None),
            self._record,
        )
        self._tasks[_DIRECTORY] = gateway.spawn(self.directory.run())

    def _configure_courier(self, settings: Upstream | None) -> None:
        wallet = self._gateway.configuration.wallet
        wanted = settings is not None and wallet.authority == "upstream" and wallet.allowances is not None
        door = self._door(settings, wanted=wanted)
        if not self._is_new(_COURIER, door):
            return
        self.courier, flow = None, self._gateway.allowances
        if door is not None:
            client = self._client(door, self._heard)
            self.courier = HttpsCourier(client, self._gateway.random, flow.received, flow.online_again)
            self._tasks[_COURIER] = self._gateway.spawn(self.courier.run())
        flow.connect(self.courier)

    def _configure_findings(self, settings: Upstream | None) -> None:
        door, outbox = self._door(settings), self._outbox
        if not self._is_new(_FINDINGS, door):
            return
        self.findings = None
        if door is None or outbox is None:
            return
        self.findings = FindingsPoll(
            self._client(door),
            outbox.source,
            lambda: self._recorder.state.above.told.get(FOUND, 0),
            lambda facts: self._recorder.record(*facts, follow_up=True),
            self._gateway.random,
        )
        self._tasks[_FINDINGS] = self._gateway.spawn(self.findings.run())

    def _is_new(self, part: str, door: Door | None) -> bool:
        """Return whether a part has to begin anew, and end the one that was."""
        if self._parts.get(part) == door:
            return False
        self._parts[part] = door
        if part in self._tasks:
            self._tasks.pop(part).cancel()
        return True

    def _directory_changed(self, batch: Batch) -> None:
        if batch.zones:
            self._gateway.directory_names_changed()
        if batch.wallets:
            self._gateway.purchase.upstream_spoke()

    def _begin(self, name: str, door: Door) -> None:
        if self._outbox is None:
            return
        heard = self._heard if name == MAIN_SINK else None
        relay = Relay(
            name,
            make_sink(door.entry, self._venue, name, lambda: self._client(door, heard)),
            self._outbox,
            self._recorder.journal,
            self._gateway.random,
            self._record,
            self._recorder.now_ms,
            self._recorder.state.above.lost.get(name),
        )
        self._doors[name], self.relays[name] = door, relay
        self._tasks[name] = self._gateway.spawn(relay.run())

    def committed(self, _: Sequence[Committed]) -> None:
        """Follow the recorder: there is something to send."""
        for relay in self.relays.values():
            relay.news()

    def network_changed(self) -> None:
        """Try everything at once."""
        log.info("network_changed")
        for part in (*self.relays.values(), self.directory, self.courier, self.findings, self._gateway.fleet.link):
            if part is not None:
                part.try_now()

    def troubles(self) -> list[str]:
        """Return what is wrong, in words."""
        found = [relay.trouble() for relay in self.relays.values()]
        found.append(self.directory.trouble() if self.directory is not None else "")
        found.append(self._fleet_trouble())
        return [trouble for trouble in (*found, self._outlook.trouble()) if trouble]

    def _fleet_trouble(self) -> str:
        if self._settings is None or self._settings.fleet is None:
            return ""
        link = self._gateway.fleet.link
        if link is None:
            return "fleet: this gateway is not enrolled; run: venue-gateway enroll URL --code CODE, and reload"
        return link.trouble()

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
