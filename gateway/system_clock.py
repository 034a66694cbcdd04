"""The machine's clocks as Linux tells them, and a technician's word for them. The only file that asks the kernel.

Facts from adjtimex(2), clock_gettime(2) and sysfs-class-rtc of the Linux documentation.
"""

from __future__ import annotations

import ctypes
import os
import sys
import time
from datetime import datetime
from pathlib import Path

import msgspec

from gateway.config.schema import Configuration

NS_PER_MS = 1_000_000
MS_PER_S = 1000
TIME_ERROR = 5
STA_UNSYNC = 0x0040
TIMEX_BYTES = 512
"""More than the structure has on any architecture; the kernel writes what it has."""
STATUS_OFFSET = 5 * ctypes.sizeof(ctypes.c_long)
"""`status` stands after modes (padded to a long), offset, freq, maxerror and esterror."""
TIMESYNC_FILE = Path("/run/systemd/timesync/synchronized")
BOOT_ID_FILE = Path("/proc/sys/kernel/random/boot_id")
RTC_FOLDER = Path("/sys/class/rtc")
DEVICE_TREES = (Path("/proc/device-tree/model"), Path("/sys/firmware/devicetree/base"))
BATTERY_AGREES_S = 300
VOUCH_FILE = "clock-vouched.json"


class Vouch(msgspec.Struct, frozen=True):
    """A technician's word that the system's clock was right: at `at_ms`, when this boot was `elapsed_ms` old."""

    boot: str
    elapsed_ms: int
    at_ms: int
    reason: str = ""


class LinuxClock:
    """The clocks of this machine."""

    def __init__(self) -> None:
        """Look up what stays the same until the next start of the machine."""
        self.boot = _read(BOOT_ID_FILE) or "unknown"
        self._libc = ctypes.CDLL(None)

    def wall_ms(self) -> int:
        """Return UTC milliseconds by the clock that can be set."""
        return time.time_ns() // NS_PER_MS

    def elapsed_ms(self) -> int:
        """Return milliseconds since the machine started, sleep included."""
        return time.clock_gettime_ns(time.CLOCK_BOOTTIME) // NS_PER_MS

    def synchronised(self) -> bool:
        """Return True while the kernel, or systemd-timesyncd, says that NTP keeps the clock."""
        timex = (ctypes.c_byte * TIMEX_BYTES)()
        state = int(self._libc.adjtimex(ctypes.byref(timex)))
        status = ctypes.c_int.from_buffer(timex, STATUS_OFFSET).value
        return (state not in (-1, TIME_ERROR) and not status & STA_UNSYNC) or TIMESYNC_FILE.exists()

    def has_battery(self) -> bool:
        """Return True where the time outlasts a power cut: on a PC, and on a board whose clock chip kept the time.

        A Raspberry Pi is described by a device tree, a PC is not. A Pi 5 without its battery has a clock chip that
        begins at 1970 after each power cut, so the chip must agree with the system's clock.
        """
        chips = [_read(chip / "since_epoch") for chip in sorted(RTC_FOLDER.glob("rtc*"))]
        now_s = self.wall_ms() // MS_PER_S
        if any(chip.isdigit() and abs(int(chip) - now_s) <= BATTERY_AGREES_S for chip in chips):
            return True
        return not any(tree.exists() for tree in DEVICE_TREES)


class VouchFile:
    """Where `venue-gateway clock vouch` leaves its word for the running daemon."""

    def __init__(self, state_dir: Path) -> None:
        """Look in the state folder."""
        self._path = state_dir / VOUCH_FILE

    def leave(self, vouch: Vouch) -> None:
        """Write it, whole or not at all. Raises OSError."""
        fresh = self._path.with_suffix(".new")
        fresh.write_bytes(msgspec.json.encode(vouch))
        fresh.replace(self._path)

    def take(self) -> Vouch | None:
        """Return the word and remove it; None where there is none, or none that can be read."""
        try:
            data = self._path.read_bytes()
            self._path.unlink()
        except OSError:
            return None
        try:
            return msgspec.json.decode(data, type=Vouch)
        except (ValueError, RecursionError):
            return None


def vouch_now(state_dir: Path, reason: str, clock: LinuxClock) -> Vouch:
    """Leave the word that the system's clock is right just now. Raises OSError."""
    vouch = Vouch(clock.boot, clock.elapsed_ms(), clock.wall_ms(), reason)
    VouchFile(state_dir).leave(vouch)
    return vouch


def vouch(configuration: Configuration, reason: str) -> int:
    """Vouch for the system's clock and tell what time it is; returns the exit status, 1 where it cannot be left."""
    try:
        left = vouch_now(configuration.state_dir, reason, LinuxClock())
    except OSError as error:
        print(f"{error.filename or configuration.state_dir}: {error.strerror}", file=sys.stderr)
        return 1
    shown = datetime.fromtimestamp(left.at_ms / MS_PER_S, configuration.venue.zone_info)
    print(f"Vouched for: it is {shown:%Y-%m-%d %H:%M:%S} in {configuration.venue.timezone}.")
    print("A gateway that runs takes it within a second. Was that wrong? Set the clock (`date -s`) and vouch again.")
    return 0


def _read(path: Path) -> str:
    try:
        return os.fsdecode(path.read_bytes()).strip()
    except OSError:
        return ""
