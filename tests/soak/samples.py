"""What is measured of a running daemon, and what each figure may rise by from the first sample to the last."""

from __future__ import annotations

from pathlib import Path

from tests.soak.trend import Point, Trend, trend

BOUNDS = {
    "memory, MB": 6.0,
    "file descriptors": 3.0,
    "threads": 1.0,
    "WAL, MB": 0.5,
    "other files, MB": 0.5,
    "bytes per event": 200.0,
}
"""Whatever the length of the run: the longer it lasts, the slower a leak it finds."""
WAL_MAX_MB = 8.0
MEGABYTE = 1e6


class Samples:
    """Figures of one daemon over time."""

    def __init__(self, state_dir: Path) -> None:
        self._state_dir = state_dir
        self._points: dict[str, list[Point]] = {name: [] for name in BOUNDS}

    def take(self, now_s: float, pid: int, events: int) -> None:
        """Measure now. `events` is how many the journal has."""
        status = Path(f"/proc/{pid}/status").read_text()
        fields = dict(line.split(":", 1) for line in status.splitlines() if ":" in line)
        sizes = {file.name: file.stat().st_size for file in self._state_dir.rglob("*") if file.is_file()}
        journal = sizes.pop("journal.db", 0)
        wal = sizes.pop("journal.db-wal", 0)
        figures = (
            int(fields["VmRSS"].split()[0]) * 1024 / MEGABYTE,
            len(list(Path(f"/proc/{pid}/fd").iterdir())),
            int(fields["Threads"]),
            wal / MEGABYTE,
            sum(sizes.values()) / MEGABYTE,
            journal / max(1, events),
        )
        for points, value in zip(self._points.values(), figures, strict=True):
            points.append((now_s, float(value)))

    def trends(self) -> list[Trend]:
        """Judge every figure."""
        return [trend(name, points, BOUNDS[name]) for name, points in self._points.items()]

    def problems(self) -> list[str]:
        """What does not stay level, and a WAL that was ever too long."""
        found = [str(one) for one in self.trends() if not one.level]
        longest = max(value for _, value in self._points["WAL, MB"])
        return found + ([f"the WAL was {longest:.1f} MB long"] if longest > WAL_MAX_MB else [])
