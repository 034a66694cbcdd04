"""`venue-gateway doctor`: looks at everything that has to be right, and says what to do about what is not."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator

import msgspec

from gateway import __version__
from gateway.config.schema import Configuration
from gateway.ops import files, machine, permissions, reach
from gateway.ops.findings import Finding, bad, ok, warning, worst
from gateway.store.locking import is_running
from gateway.system_clock import LinuxClock


class Examination(msgspec.Struct, frozen=True):
    """All that was found, as `--json` prints it."""

    version: str
    venue: str
    result: str
    findings: tuple[Finding, ...]


def examine(configuration: Configuration, now_s: float | None = None) -> Examination:
    """Look at everything; takes some seconds and changes nothing. `now_s` is the Unix time, by default the clock's."""
    at_s = time.time() if now_s is None else now_s
    findings = tuple(_findings(configuration, at_s))
    return Examination(__version__, configuration.venue.id, worst(findings), findings)


def _findings(configuration: Configuration, now_s: float) -> Iterator[Finding]:
    state_dir = configuration.state_dir
    if not state_dir.is_dir():
        yield machine.check_clock(now_s, 0, LinuxClock())
        yield bad("state folder", f"{state_dir} is not there", "start the gateway once, or correct `state_dir`")
        return
    yield machine.check_clock(now_s, files.newest_ms(state_dir), LinuxClock())
    running = is_running(state_dir)
    yield ok("daemon", "it runs") if running else warning("daemon", "it does not run", "systemctl start venue-gateway")
    yield machine.check_card_speed(state_dir)
    yield machine.check_space(state_dir)
    yield from permissions.check_permissions(configuration)
    yield from files.check_secrets(configuration)
    yield from files.check_certificates(configuration, files.utc(now_s))
    yield files.check_journal(configuration)
    yield files.check_directory(configuration, now_s)
    yield from asyncio.run(_attached(configuration, held=running))


async def _attached(configuration: Configuration, *, held: bool) -> list[Finding]:
    return [
        await reach.check_broker(configuration),
        *await reach.check_devices(configuration.devices, held=held),
    ]


def report(examination: Examination, *, as_json: bool) -> list[str]:
    """Return the lines to print."""
    if as_json:
        return [msgspec.json.format(msgspec.json.encode(examination)).decode()]
    return [line for finding in examination.findings for line in finding.lines()]
