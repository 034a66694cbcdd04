"""What operating system and library errors mean to the person who can do something about them."""

from __future__ import annotations

import errno
import os
import pwd
from pathlib import Path

from drivers.api import DeviceFault, DeviceOffline, DriverError

BY_ID = Path("/dev/serial/by-id")
PROC = Path("/proc")


def cannot_open_serial(port: str, error: Exception) -> DriverError:
    """Return the DriverError for a serial port that could not be opened. Looks around in /dev and /proc."""
    if not isinstance(error, OSError) or error.errno in {errno.ENOTTY, errno.EINVAL}:
        return DeviceFault(f"{port} cannot be set up: {error}; check that it is a serial port, and its baud rate")
    match error.errno:
        case errno.ENOENT:
            return DeviceOffline(f"{port} does not exist: check the cable and the name; {_plugged_in()}")
        case errno.EACCES | errno.EPERM:
            return DeviceOffline(
                f"{port} may not be opened by user {user()}: run 'sudo adduser {user()} dialout' and start again"
            )
        case errno.EBUSY:
            return DeviceOffline(f"{port} is in use by {holders(port)}: stop that, or name another port")
        case errno.EIO | errno.ENXIO | errno.ENODEV:
            return DeviceOffline(f"{port} is there but no device answers behind it: plug it out and in again")
    return DeviceOffline(f"{port} cannot be opened: {os.strerror(error.errno or 0)}")


def cannot_open_tcp(name: str, error: Exception) -> DeviceOffline:
    """Return the DeviceOffline for a network device that could not be reached. `name` is its tcp:// address."""
    if not isinstance(error, OSError):
        return DeviceOffline(f"{name} is no address: check the spelling of the host, and that the port is 1 to 65535")
    if isinstance(error, TimeoutError):
        return DeviceOffline(f"{name} does not answer: check that it is switched on, its cable and its address")
    if isinstance(error, ConnectionRefusedError):
        return DeviceOffline(f"{name} refuses connections: check the port, and whether someone else is connected")
    if error.errno in {errno.ENETUNREACH, errno.EHOSTUNREACH}:
        return DeviceOffline(f"{name} cannot be reached: check the network cable, the address and the netmask")
    if error.errno is None or error.errno < 0:
        return DeviceOffline(f"{name} has no known address: check the spelling, or write its IP address")
    return DeviceOffline(f"{name} cannot be opened: {os.strerror(error.errno)}")


def why_lost(name: str, error: Exception | None) -> DeviceOffline:
    """Return the DeviceOffline for a connection that broke with `error`, or None where the far end closed it."""
    if error is None:
        return DeviceOffline(f"{name} closed the connection: it may have been switched off or restarted")
    code = error.errno if isinstance(error, OSError) else None
    if code in {errno.EIO, errno.ENXIO, errno.ENODEV}:
        return DeviceOffline(f"{name} is gone: unplugged, without power, or opened by another program")
    if code in {errno.ETIMEDOUT, errno.EHOSTUNREACH, errno.ENETUNREACH}:
        return DeviceOffline(f"{name} no longer answers: check its power and its network cable")
    if code in {errno.ECONNRESET, errno.EPIPE, errno.ECONNABORTED}:
        return DeviceOffline(f"{name} broke the connection: it may have been switched off or restarted")
    return DeviceOffline(f"the connection to {name} broke: {os.strerror(code) if code else type(error).__name__}")


def _plugged_in() -> str:
    try:
        names = sorted(str(path) for path in BY_ID.iterdir())
    except OSError:
        names = []
    return f"plugged in now: {', '.join(names)}" if names else f"nothing is plugged in under {BY_ID}"


def user() -> str:
    """Return the name of the user this process runs as, or its number."""
    try:
        return pwd.getpwuid(os.geteuid()).pw_name
    except KeyError:
        return str(os.geteuid())


def holders(port: str) -> str:
    """Name the processes that hold the device `port` open, as far as this user may see."""
    device = os.path.realpath(port)
    found = {pid: name for pid in _pids() if (name := _holds(pid, device))}
    own = found.pop(os.getpid(), None)
    names = [f"{name} (process {pid})" for pid, name in sorted(found.items())]
    if own and not names:
        return "another device of this gateway"
    return ", ".join(names) or "another program (see 'sudo fuser -v " + device + "')"


def _pids() -> list[int]:
    return [int(path.name) for path in PROC.iterdir() if path.name.isdigit()]


def _holds(pid: int, device: str) -> str:
    """Return the name of process `pid` if it has `device` open, else an empty text."""
    try:
        is_open = any(str(fd.readlink()) == device for fd in (PROC / str(pid) / "fd").iterdir())
        return (PROC / str(pid) / "comm").read_text().strip() if is_open else ""
    except OSError:
        # The process ended meanwhile, or belongs to someone else.
        return ""
