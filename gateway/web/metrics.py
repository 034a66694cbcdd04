"""The figures at `/metrics`, in the text form of Prometheus, on this machine only.

The loop takes a sample of plain numbers, some tens of microseconds; a thread makes text of it. Whoever asks more often
than once a second gets the text of that second, so that no watcher can cost a guest anything (I9).
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator, Mapping
from typing import Any, Literal

import msgspec
import structlog
from aiohttp import web
from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, ProcessCollector, generate_latest
from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    Metric,
)
from prometheus_client.registry import Collector

from gateway.store.buckets import Buckets

log = structlog.get_logger(__name__)

PREFIX = "venue_gateway_"
FRESH_S = 1.0
OWN_NAMES = frozenset({"localhost", "127.0.0.1", "[::1]"})
Kind = Literal["gauge", "counter"]


class Family(msgspec.Struct, frozen=True):
    """One metric with its values, each under the values of its labels."""

    name: str
    help: str
    kind: Kind
    labels: tuple[str, ...]
    values: Mapping[Any, float]


class Timing(msgspec.Struct, frozen=True):
    """One histogram of durations in seconds, each under the values of its labels."""

    name: str
    help: str
    labels: tuple[str, ...]
    values: Mapping[Any, Buckets]


Sample = tuple[Family | Timing, ...]


def gauge(name: str, text: str, value: float) -> Family:
    """Return one figure without labels."""
    return Family(name, text, "gauge", (), {(): value})


def counter(name: str, text: str, labels: tuple[str, ...], values: Mapping[Any, float]) -> Family:
    """Return counters as they stand now: a thread reads them while the loop counts on."""
    return Family(name, text, "counter", labels, dict(values))


def text_of(sample: Sample) -> bytes:
    """Return a sample in the text form of Prometheus, with the figures of the process itself."""
    registry = CollectorRegistry()
    ProcessCollector(registry=registry)
    registry.register(_Sampled(sample))
    return generate_latest(registry)


class _Sampled(Collector):
    def __init__(self, sample: Sample) -> None:
        self._sample = sample

    def collect(self) -> Iterator[Metric]:
        for one in self._sample:
            yield _timing(one) if isinstance(one, Timing) else _family(one)


def _family(one: Family) -> Metric:
    kind = CounterMetricFamily if one.kind == "counter" else GaugeMetricFamily
    family = kind(PREFIX + one.name, one.help, labels=one.labels)
    for labels, value in one.values.items():
        family.add_metric(labels, value)
    return family


def _timing(one: Timing) -> Metric:
    family = HistogramMetricFamily(PREFIX + one.name, one.help, labels=one.labels)
    for labels, buckets in one.values.items():
        # Once, because the writer's thread counts on.
        counts, reached, cumulated = list(buckets.counts), 0, []
        for bound, count in zip((*map(str, buckets.bounds), "+Inf"), counts, strict=True):
            reached += count
            cumulated.append((bound, reached))
        family.add_metric(labels, cumulated, buckets.total_s)
    return family


class MetricsServer:
    """Serves what `sample` tells when it is asked."""

    def __init__(self, sample: Callable[[], Sample]) -> None:
        """Take what returns the figures; it is called in the loop's thread."""
        self._sample = sample
        self._runner: web.AppRunner | None = None
        self._address: tuple[str, int] | None = None
        self._text = b""
        self._fresh_until_s = 0.0
        self._rendering = asyncio.Lock()

    async def configure(self, address: tuple[str, int] | None) -> None:
        """Serve at this address, or not at all with None. One that is taken is told in the log and costs only this."""
        if address == self._address:
            return
        await self.close()
        if address is None:
            return
        application = web.Application()
        application.router.add_get("/metrics", self._serve)
        self._runner = web.AppRunner(application, access_log=None, handle_signals=False)
        await self._runner.setup()
        try:
            await web.TCPSite(self._runner, *address).start()
        except OSError as error:
            log.warning("metrics_not_served", address=f"{address[0]}:{address[1]}", why=error.strerror or str(error))
            await self.close()
            return
        self._address = address

    async def close(self) -> None:
        """Serve no longer."""
        runner, self._runner, self._address = self._runner, None, None
        if runner is not None:
            await runner.cleanup()

    async def _serve(self, request: web.Request) -> web.Response:
        host = request.host.rpartition(":")[0] if request.host.rpartition(":")[2].isdigit() else request.host
        if host not in OWN_NAMES:
            # A page that a browser on this machine shows must not read along under a name of its own.
            raise web.HTTPForbidden(text="ask for 127.0.0.1 or localhost\n")
        async with self._rendering:
            loop = asyncio.get_running_loop()
            if loop.time() >= self._fresh_until_s:
                self._text = await asyncio.to_thread(text_of, self._sample())
                self._fresh_until_s = loop.time() + FRESH_S
        return web.Response(body=self._text, headers={"Content-Type": CONTENT_TYPE_LATEST})
