"""The daemon with nothing to do: `python -m benchmarks.idle`.

64 devices that are there and silent, an empty directory, the console and the broker as in a venue. Prints the share of
a core that the daemon takes, and what it holds of the memory, alone and with a screen that watches.
"""

from __future__ import annotations

import argparse
import asyncio
import sys
import time
from collections.abc import Iterator
from pathlib import Path

from benchmarks.console import Watched, signed_in, watch

SETTLE_S = 5.0


class Empty(Watched):
    """A full house of devices without a single guest."""

    def _guests(self) -> Iterator[str]:
        return iter(())

    def memory_mb(self, field: str) -> float:
        """Return a figure of proc(5), /proc/pid/status, in MB: `VmRSS` now or `VmHWM` at most."""
        lines = Path(f"/proc/{self.daemon.pid}/status").read_text().splitlines()
        return next(int(line.split()[1]) for line in lines if line.startswith(f"{field}:")) / 1000


async def _share(house: Empty, seconds: float) -> float:
    """Return the share of a core that the daemon takes, in percent."""
    before_s, began_s = house.cpu_s(), time.perf_counter()
    await asyncio.sleep(seconds)
    return 100 * (house.cpu_s() - before_s) / (time.perf_counter() - began_s)


async def measure(seconds: float) -> dict[str, float]:
    """Return the figures of one run, each with its unit in its name."""
    house = Empty()
    try:
        await house.start()
        await asyncio.sleep(SETTLE_S)
        idle = await _share(house, seconds)
        resident = house.memory_mb("VmRSS")
        async with signed_in(house) as http:
            read = [0]
            watching = asyncio.create_task(watch(http, house, read))
            watched = await _share(house, seconds)
            watching.cancel()
            await asyncio.wait([watching])
        return {
            "core_share_idle_percent": round(idle, 2),
            "core_share_idle_watched_percent": round(watched, 2),
            "resident_idle_mb": round(resident, 1),
            "resident_watched_mb": round(house.memory_mb("VmRSS"), 1),
            "resident_max_mb": round(house.memory_mb("VmHWM"), 1),
        }
    finally:
        await asyncio.to_thread(house.close)


def main() -> int:
    """Run the benchmark of the command line; returns the exit status."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.idle", description=__doc__)
    parser.add_argument("--seconds", type=float, default=20.0, help="how long each measurement lasts; default 20")
    options = parser.parse_args()
    for name, value in asyncio.run(measure(options.seconds)).items():
        print(f"{name:<34} {value:>8}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
