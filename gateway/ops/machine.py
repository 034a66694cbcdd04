"""Doctor's checks of the machine: its clock, its card and the room on it."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Protocol

from gateway.ops.findings import Finding, bad, ok, warning

SYNCS = 100
"""So many make a 99th percentile, and wear the card by a few hundred kilobytes."""
SYNC_BYTES = 1024
SLOW_MS, TOO_SLOW_MS = 50.0, 250.0
"""A guest at a gate notices a quarter of a second; a good card stays below a fifth of that."""
LOW_BYTES, TOO_LOW_BYTES = 500 << 20, 50 << 20
LOW_FILES = 1000
OLDEST_S = 1_735_689_600
"""1 January 2025: a clock before that has never been set."""
BEHIND_MAX_MS = 5_000


class TellsTime(Protocol):
    """What is known of the machine's clock; `LinuxClock` asks the kernel."""

    def synchronised(self) -> bool:
        """Return True while a time server keeps it."""
        ...

    def has_battery(self) -> bool:
        """Return True where it goes on while the machine is off."""
        ...


def check_clock(now_s: float, newest_ms: int, clock: TellsTime) -> Finding:
    """Judge the clock by NTP and by the newest journal entry, `newest_ms`, which is 0 for an empty journal."""
    if now_s < OLDEST_S:
        return bad("clock", "it has never been set", "connect the network and wait for NTP, or set it with `date`")
    if (behind_ms := newest_ms - round(now_s * 1000)) > BEHIND_MAX_MS:
        what = f"it is {behind_ms // 1000} s behind the newest journal entry"
        return bad("clock", what, "set it right: `timedatectl` shows how it is kept")
    if not clock.synchronised():
        alone = "its own drifts by seconds a day" if clock.has_battery() else "this computer has no battery for it"
        what = f"no time server keeps it, and {alone}"
        return warning("clock", what, "turn time synchronisation on: `timedatectl set-ntp true`")
    return ok("clock", "kept by a time server")


def check_card_speed(state_dir: Path, clock: Callable[[], float] = time.perf_counter) -> Finding:
    """Write and sync as the journal does, a hundred times, and judge the 99th percentile."""
    probe = state_dir / f".doctor-{os.getpid()}"
    try:
        p99_ms = _sync_p99_ms(probe, clock)
    except OSError as error:
        return bad("card speed", f"nothing can be written: {error.strerror}", "look at the next lines and at `dmesg`")
    finally:
        with suppress(OSError):
            probe.unlink()
    found = f"a synced write takes {p99_ms:.1f} ms at the 99th percentile"
    if p99_ms >= TOO_SLOW_MS:
        return bad("card speed", found, "guests wait for it: put in an A1 or A2 card, or an SSD, and restore a backup")
    if p99_ms >= SLOW_MS:
        return warning(
            "card speed", found, "use an A1 or A2 card of a known brand, or an SSD; a card slows as it wears"
        )
    return ok("card speed", found)


def _sync_p99_ms(probe: Path, clock: Callable[[], float]) -> float:
    took_s = []
    descriptor = os.open(probe, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    try:
        # As in the write-ahead log: over blocks that are there, so that the file's books need no sync.
        os.write(descriptor, bytes(SYNCS * SYNC_BYTES))
        os.fsync(descriptor)
        for place in range(SYNCS):
            began_s = clock()
            os.pwrite(descriptor, b"x" * SYNC_BYTES, place * SYNC_BYTES)
            os.fdatasync(descriptor)
            took_s.append(clock() - began_s)
    finally:
        os.close(descriptor)
    return sorted(took_s)[SYNCS * 99 // 100 - 1] * 1000


def check_space(state_dir: Path, statvfs: Callable[[Path], os.statvfs_result] = os.statvfs) -> Finding:
    """Judge the room that is left for the journal."""
    disk = statvfs(state_dir)
    free_bytes, megabytes = disk.f_bavail * disk.f_frsize, disk.f_bavail * disk.f_frsize >> 20
    if disk.f_files and disk.f_favail < LOW_FILES:
        return bad("free space", f"only {disk.f_favail} more files fit", "remove files that are not the gateway's")
    if free_bytes < TOO_LOW_BYTES:
        return bad("free space", f"{megabytes} MB", "free some now: on a full disk nobody is let in")
    if free_bytes < LOW_BYTES:
        return warning("free space", f"{megabytes} MB", "free some, or move the state folder to a larger disk")
    return ok("free space", f"{megabytes:,} MB")
