"""The raw figures of one repetition, the ratios made of them, and the limit of each ratio."""

from __future__ import annotations

from collections.abc import Sequence
from statistics import median

import msgspec


class Run(msgspec.Struct, frozen=True, kw_only=True):
    """What one repetition measured. Latencies in ms, memory and files in MB of 10**6 bytes.

    `lost` and `peer_lost` count messages that were acknowledged and are gone after kill -9. Without a peer its figures
    are None.
    """

    commit_p50_ms: float
    commit_p99_ms: float
    commit_bytes: float
    commit_paced_p50_ms: float
    echo_p50_ms: float
    echo_p99_ms: float
    floor_p50_ms: float
    tap_p50_ms: float
    tap_p99_ms: float
    tap_bytes: float
    naive64_rate: float
    naive64_p50_ms: float
    tap64_rate: float
    tap64_p50_ms: float
    tap64_p99_ms: float
    tap64_max_ms: float
    tap64_bytes: float
    tap64_cpu_us: float
    wal_mb: float
    local_p50_ms: float
    local_p99_ms: float
    local_paced_p50_ms: float
    rss_before_mb: float
    rss_mb: float
    rss_anonymous_mb: float
    start_s: float
    lost: int
    sd_sync_p50_ms: float
    sd_tap_p50_ms: float
    sd_tap64_p50_ms: float
    sd_tap64_rate: float
    crowd_p50_ms: float
    crowd_p99_ms: float
    crowd_max_ms: float
    peer_rate: float | None = None
    peer64_rate: float | None = None
    peer_p50_ms: float | None = None
    peer_sent: int | None = None
    peer_lost: int | None = None


class Figure(msgspec.Struct, frozen=True):
    """One ratio: what was measured over its base, or the measured value itself where there is no base.

    It is None where a repetition has no base, because there was no peer.
    """

    key: str
    label: str
    unit: str
    measured: str
    base: str | None
    limit: float
    at_least: bool = False
    worst: bool = False

    def value(self, runs: Sequence[Run]) -> float | None:
        """Return the median over the repetitions; for `worst` the largest."""
        values = [value for run in runs if (value := self._of(run)) is not None]
        if len(values) < len(runs):
            return None
        return max(values) if self.worst else median(values)

    def holds(self, value: float) -> bool:
        """Return True when a value is within the limit."""
        return value >= self.limit if self.at_least else value <= self.limit

    def _of(self, run: Run) -> float | None:
        measured: float = getattr(run, self.measured)
        base: float | None = getattr(run, self.base) if self.base else 1
        return None if base is None else measured / base


FIGURES = (
    Figure("tap_p50_over_floor", "tap over MQTT, 1 in flight: p50", "ms", "tap_p50_ms", "floor_p50_ms", 2.2),
    Figure("tap_p99_ms", "tap over MQTT, 1 in flight: p99", "ms", "tap_p99_ms", None, 5),
    Figure("rate64_over_naive", "taps a second, 64 in flight", "/s", "tap64_rate", "naive64_rate", 25, at_least=True),
    Figure("p99_over_p50_at_64", "64 in flight: p99 over p50", "ms", "tap64_p99_ms", "tap64_p50_ms", 2),
    Figure("wal_mb_max", "journal's WAL file, largest", "MB", "wal_mb", None, 8, worst=True),
    Figure("local_p50_over_commit", "local reader to relay, in a row: p50", "ms", "local_p50_ms", "commit_p50_ms", 3),
    Figure(
        "local_rest_p50_over_commit",
        "the same, at rest, over a commit at rest",
        "ms",
        "local_paced_p50_ms",
        "commit_paced_p50_ms",
        3,
    ),
    Figure("local_p99_ms_100tps", "the same, 100 a second, 64 devices: p99", "ms", "crowd_p99_ms", None, 10),
    Figure("bytes_per_tap_over_append", "bytes to disk a tap, 1 in flight", "B", "tap_bytes", "commit_bytes", 1.6),
    Figure("sd_p50_1_over_fsync", "slow card, 1 in flight: p50", "ms", "sd_tap_p50_ms", "sd_sync_p50_ms", 1.25),
    Figure("sd_p50_64_over_fsync", "slow card, 64 in flight: p50", "ms", "sd_tap64_p50_ms", "sd_sync_p50_ms", 2.5),
    Figure("rss_mb_million", "resident memory, a million guests", "MB", "rss_mb", None, 200),
    Figure("start_s_million", "kill -9, start to first accepted tap", "s", "start_s", None, 3),
    Figure("lost_at_kill9", "answered, and gone after kill -9", "", "lost", None, 0, worst=True),
    Figure(
        "peer_rate_ratio", "64 in flight over the peer's best rate", "/s", "tap64_rate", "peer_rate", 1, at_least=True
    ),
    Figure("peer_rate64_ratio", "the same, over its rate with 64", "/s", "tap64_rate", "peer64_rate", 1, at_least=True),
)
