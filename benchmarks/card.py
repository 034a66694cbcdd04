"""A slow SD card: every sync of the gateway's files takes 5 ms longer, by a library that is put before the C library.

What a tap then costs is compared with one sync, which a child process measures under the same library. It is this
module: `python -m benchmarks.card FILE COUNT` prints the median of so many syncs, in ms.
"""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path
from statistics import median

from benchmarks.people import ROOT
from tests.faults.library import Faults

SYNC_DELAY_MS = 5
PAGE_BYTES = 4096
TIMEOUT_S = 60


class SlowCard:
    """The card under one folder; `environment()` is for a process that has its files there."""

    def __init__(self, folder: Path, control: Path) -> None:
        """Make the card; `control` is a file outside the folder."""
        self._folder = folder
        self._faults = Faults(folder, control)
        self._faults.delay_syncs(SYNC_DELAY_MS)

    def environment(self) -> dict[str, str]:
        """Return what a process needs in its environment, beside what this one has."""
        return self._faults.environment()

    def sync_p50_ms(self, count: int) -> float:
        """Return the median of `count` syncs of a child process, each of one page that was written before, in ms."""
        command = [sys.executable, "-m", "benchmarks.card", str(self._folder / "sync.bin"), str(count)]
        done = subprocess.run(
            command, cwd=ROOT, env=self.environment(), check=True, capture_output=True, text=True, timeout=TIMEOUT_S
        )
        return float(done.stdout)

    def close(self) -> None:
        """Let go of the card."""
        self._faults.close()


def sync_times_s(path: Path, count: int) -> list[float]:
    """Write over the same page of a file again and again, and return what each fdatasync took, in s."""
    times_s = []
    fd = os.open(path, os.O_RDWR | os.O_CREAT)
    try:
        for _ in range(count):
            os.pwrite(fd, os.urandom(PAGE_BYTES), 0)
            began_s = time.perf_counter()
            os.fdatasync(fd)
            times_s.append(time.perf_counter() - began_s)
    finally:
        os.close(fd)
        path.unlink()
    return times_s


if __name__ == "__main__":
    print(median(sync_times_s(Path(sys.argv[1]), int(sys.argv[2]))) * 1000)
