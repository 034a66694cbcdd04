"""The relays of a simulated board: their states, their pulses and a log of every change."""

from __future__ import annotations

import time
from collections import deque
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, TextIO

import msgspec

MAX_LOGGED = 10_000


@dataclass
class Relay:
    """One relay. A pulse is on and off again; times are monotonic seconds."""

    channel: int
    on: bool = False
    switched_on: int = 0
    pulses: int = 0
    last_pulse_ms: float | None = None
    changed_at: float | None = None


class Relays:
    """Relays with channels from 1 to `count`; each change is kept for `log()` and appended to `log_file` as JSON."""

    def __init__(self, count: int, log_file: Path | None = None) -> None:
        self._relays = [Relay(channel) for channel in range(1, count + 1)]
        self._log: deque[dict[str, Any]] = deque(maxlen=MAX_LOGGED)
        self._file: TextIO | None = log_file.open("a", encoding="utf-8", buffering=1) if log_file else None

    def __len__(self) -> int:
        return len(self._relays)

    def is_on(self, channel: int) -> bool:
        """Whether the relay `channel` is energised."""
        return self._relays[channel - 1].on

    def set(self, channel: int, *, on: bool) -> bool:
        """Switch a relay now; whether that changed anything."""
        relay = self._relays[channel - 1]
        if relay.on == on:
            return False
        now = time.monotonic()
        if on:
            relay.switched_on += 1
        elif relay.changed_at is not None:
            relay.pulses += 1
            relay.last_pulse_ms = round((now - relay.changed_at) * 1000, 3)
        relay.on = on
        relay.changed_at = now
        self._record({"at": now, "channel": channel, "on": on})
        return True

    def state(self) -> list[dict[str, Any]]:
        """Every relay as JSON-ready values, channel 1 first."""
        return [asdict(relay) for relay in self._relays]

    def log(self) -> list[dict[str, Any]]:
        """The last changes, oldest first, each `{at, channel, on}`."""
        return list(self._log)

    def close(self) -> None:
        """Close the log file."""
        if self._file is not None:
            self._file.close()

    def _record(self, change: dict[str, Any]) -> None:
        self._log.append(change)
        if self._file is not None:
            self._file.write(msgspec.json.encode(change).decode() + "\n")
