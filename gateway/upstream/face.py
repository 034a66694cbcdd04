"""All that leads up: a relay for each sink, and how it stands with them. It follows the YAML while it runs."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Sequence
from pathlib import Path
from random import Random
from typing import Any

import structlog

from gateway.config.upstream import Endpoint, Upstream
from gateway.domain.upstream_events import UpstreamEvent
from gateway.flows.recorder import Committed, Recorder
from gateway.store.errors import StorageUnavailable
from gateway.upstream.http import Client, HeardDate
from gateway.upstream.https import HttpsSink
from gateway.upstream.network import NetworkWatch
from gateway.upstream.outbox import Outbox
from gateway.upstream.relay import Relay
from gateway.upstream.retention import Outlook, Retention

log = structlog.get_logger(__name__)

LOOK_EVERY_S = 10.0
PRUNE_EVERY_ROUNDS = 360
FEED_CURSOR = "mqtt-feed"
"""The local event feed reads the same journal: what it has not published stays too."""
MS_PER_S = 1000

Spawn = Callable[[Coroutine[Any, Any, None]], asyncio.Task[None]]


class UpstreamFace:
    """Upstream, as the rest of the gateway sees it. Without an `upstream` section it does nothing at all."""

    def __init__(
        self,
        recorder: Recorder,
        journal: Path,
        venue: str,
        random: Random,
        spawn: Spawn,
        record: Callable[[UpstreamEvent], None],
    ) -> None:
        """Prepare; nothing runs before `configure`. `record` stores what is told for the record only."""
        self._recorder = recorder
        self._path = journal
        self._venue = venue
        self._random = random
        self._spawn = spawn
        self._record = record
        self._endpoints: dict[str, Endpoint] = {}
        self._tasks: dict[str, asyncio.Task[None]] = {}
        self._settings: Upstream | None = None
        self._outbox: Outbox | None = None
        self._ages_s: dict[str, float] = {}
        self._outlook = Outlook()
        self._run: asyncio.Task[None] | None = None
        self.heard_date: HeardDate | None = None
        self.relays: dict[str, Relay] = {}

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
            self._run = self._spawn(self._look_after(self._outbox))
        for name in wanted.keys() - self._endpoints.keys():
            self._begin(name, wanted[name])

    def _begin(self, name: str, endpoint: Endpoint) -> None:
        if self._outbox is None:
            return
        sink = HttpsSink(Client(endpoint, self._venue, self._heard))
        relay = Relay(name, sink, self._outbox, self._recorder.journal, self._random, self._record)
        self._endpoints[name], self.relays[name] = endpoint, relay
        self._tasks[name] = self._spawn(relay.run())

    def committed(self, _: Sequence[Committed]) -> None:
        """Follow the recorder: there is something to send."""
        for relay in self.relays.values():
            relay.news()

    def network_changed(self) -> None:
        """Try everything at once."""
        log.info("network_changed")
        for relay in self.relays.values():
            relay.try_now()

    def troubles(self) -> list[str]:
        """Return what is wrong, in words."""
        found = [relay.trouble() for relay in self.relays.values()]
        return [trouble for trouble in (*found, self._outlook.trouble()) if trouble]

    def figures(self) -> dict[str, int | float]:
        """Return the figures for health, with the sinks' names in theirs."""
        figures: dict[str, int | float] = {}
        for name, relay in self.relays.items():
            sink = name.replace("-", "_")
            figures[f"upstream_{sink}_behind"] = relay.behind
            figures[f"upstream_{sink}_age_s"] = round(self._ages_s.get(name, 0.0)) if relay.behind else 0
            figures[f"upstream_{sink}_set_aside"] = relay.set_aside_count
        return figures

    def _heard(self, at_ms: int, uncertain_ms: int) -> None:
        if self.heard_date is not None:
            self.heard_date(at_ms, uncertain_ms)

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
        done = [relay.stored_seq for relay in self.relays.values()]
        done.append(self._recorder.journal.cursor(FEED_CURSOR))
        self._outlook = await retention.look(now_ms, settings.keep_days, min(done))
