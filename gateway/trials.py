"""Asking the running daemon at its own computer: a socket in the state folder, for whoever may open it.

A device that the daemon holds is tried, or the report of an outage recorded and printed. One connection is one
question: a line of JSON in, lines of JSON out. File permission is the guard; whoever is root or the
gateway's own user at this computer may try what they could also take apart.
"""

from __future__ import annotations

import asyncio
import json
import logging
import sys
from collections.abc import Mapping
from pathlib import Path
from random import SystemRandom
from typing import TYPE_CHECKING, Any

import msgspec
import structlog

from drivers.api import DeviceEvent, DriverError
from drivers.document import Document
from gateway.config.schema import Configuration
from gateway.devices.slot import DeviceSlot
from gateway.devices.trying import Heard, Say, Trial, exercise, test_page, try_alone
from gateway.domain.ids import Uuid7
from gateway.domain.input_events import DeviceTested
from gateway.domain.upstream_events import OutageReconciled
from gateway.flows.desk import RefusedRequest, Request
from gateway.mqtt.device_bus import DeviceBus
from gateway.store.errors import StorageUnavailable

if TYPE_CHECKING:
    from gateway.app import Gateway

log = structlog.get_logger(__name__)

SOCKET_NAME = "trial.sock"
TRIALS_MAX = 4
LINE_BYTES_MAX = 256 << 10
CLIENT = "gateway-test"
"""Stands in the journal for whoever tried a printer or a drawer at this computer."""
EXPIRY_MS = 5_000


class OutageReport(msgspec.Struct, frozen=True, kw_only=True, tag="outage_report"):
    """The report of an outage was made; `document` is it for the printer that the fact names."""

    fact: OutageReconciled
    document: Document | None = None


class Trials:
    """The daemon's end."""

    def __init__(self, gateway: Gateway, ids: Uuid7) -> None:
        """Try the devices of `gateway`; `ids` name its requests."""
        self._gateway = gateway
        self._ids = ids
        self._hearing: dict[Heard, str] = {}
        self._server: asyncio.Server | None = None

    async def open(self, state_dir: Path) -> None:
        """Listen; a folder in which no socket can be made costs only this."""
        path = state_dir / SOCKET_NAME
        try:
            path.unlink(missing_ok=True)
            self._server = await asyncio.start_unix_server(self._serve, path, limit=LINE_BYTES_MAX)
            path.chmod(0o600)
        except OSError as error:
            log.warning("trials_not_open", why=str(error))

    def close(self) -> None:
        """Take no more trials."""
        if self._server is not None:
            self._server.close()
            self._server = None

    def device_said(self, slot: DeviceSlot, event: DeviceEvent) -> None:
        """Let whoever tries a device hear what it says."""
        for heard, name in self._hearing.items():
            if name == slot.name:
                heard(event)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        def say(line: str) -> None:
            writer.write(json.dumps({"line": line}).encode() + b"\n")

        ok = False
        try:
            asked = msgspec.json.decode(await reader.readline(), type=Trial | OutageReport)
            ok = await (self._try(asked, say) if isinstance(asked, Trial) else self._reconciled(asked, say))
        except (ValueError, RecursionError) as error:
            say(f"this is no question: {error}")
        except (DriverError, StorageUnavailable) as error:
            say(str(error))
        except RefusedRequest as error:
            say(error.answer.message)
        except ConnectionError:
            return
        finally:
            writer.write(json.dumps({"ok": ok}).encode() + b"\n")
            writer.close()

    async def _try(self, trial: Trial, say: Say) -> bool:
        if len(self._hearing) >= TRIALS_MAX:
            say("other trials are under way; try again in a moment")
            return False
        device = self._gateway.configuration.devices.get(trial.device)
        if device is None:
            say(f"the running gateway has no device {trial.device}; reload its configuration first")
            return False
        kind = self._gateway.drivers[device.driver].kind
        if kind == "drawer":
            return self._drawer(trial, say)
        slot = self._gateway.supervisor.slots.get(trial.device)
        if slot is None:
            say(f"{trial.device}: the running gateway is still starting; try again in a moment")
            return False
        say(f"{trial.device}: {slot.status}{f', {slot.detail}' if slot.detail else ''} (held by the running gateway)")
        if not slot.online:
            return False
        if kind == "printer":
            return self._printer(trial, say)
        heard = Heard()
        self._hearing[heard] = trial.device
        try:
            return await exercise(trial, kind, slot.live(), heard, say, lambda action: self._note(trial.device, action))
        finally:
            del self._hearing[heard]

    async def _note(self, device: str, action: str) -> None:
        """Record what is about to be done; it happens once that is on disk (I1)."""
        await self._gateway.recorder.record(DeviceTested(device=device, action=action))

    def _printer(self, trial: Trial, say: Say) -> bool:
        """Print through the queue, so that no receipt is torn apart."""
        data = msgspec.json.encode({"document": test_page(trial.device)})
        self._gateway.wiring.printers[trial.device].take_print(self._request(trial.device, "print", data))
        say("a test page waits in the printer's queue; look whether it comes")
        return True

    async def _reconciled(self, report: OutageReport, say: Say) -> bool:
        """Print a report through the queue, and record that it was made."""
        printer = report.fact.printer
        if printer and report.document is not None:
            flow = self._gateway.wiring.printers.get(printer)
            if flow is None:
                say(f"no printer is called {printer}; there is {', '.join(self._gateway.wiring.printers) or 'none'}")
                return False
            flow.take_print(self._request(printer, "print", msgspec.json.encode({"document": report.document})))
            say(f"the report waits in the queue of {printer}")
        await self._gateway.recorder.record(report.fact)
        return True

    def _drawer(self, trial: Trial, say: Say) -> bool:
        if not trial.yes:
            say(f"this opens {trial.device}; nothing was moved, say --yes to do it")
            return True
        data = msgspec.json.encode({"reason": "tried by venue-gateway test"})
        self._gateway.wiring.drawers[trial.device].take_open(self._request(trial.device, "open", data))
        say(f"{trial.device}: it is opened; look whether it is")
        return True

    def _request(self, target: str, verb: str, data: bytes) -> Request:
        now_ms = self._gateway.recorder.now_ms()
        return Request(CLIENT, self._ids(now_ms).hex(), target, verb, data, now_ms + EXPIRY_MS, "")


async def ask_daemon(state_dir: Path, trial: Trial | OutageReport, say: Say) -> bool | None:
    """Ask the running daemon. Returns how it went, or None when no daemon listens."""
    try:
        reader, writer = await asyncio.open_unix_connection(state_dir / SOCKET_NAME, limit=LINE_BYTES_MAX)
    except PermissionError:
        say(f"{state_dir / SOCKET_NAME} may not be opened: run this as root or as the gateway's user")
        return False
    except OSError:
        # No socket, or one that a daemon left behind.
        return None
    try:
        writer.write(msgspec.json.encode(trial) + b"\n")
        while line := await reader.readline():
            told = json.loads(line)
            if "ok" in told:
                return bool(told["ok"])
            say(told["line"])
    finally:
        writer.close()
    say("the gateway ended meanwhile")
    return False


def try_device(configuration: Configuration, device: str, asked: Mapping[str, Any]) -> int:
    """Try one device of a configuration, by the daemon where one runs, and print what comes of it.

    `asked` has the other fields of a `Trial`. Returns the exit status: 0 when the device did all that was asked.
    """
    fields = {name: asked[name] for name in ("yes", "channel", "pulse_ms", "wait_s")}
    if device not in configuration.devices:
        print(f"no device is called {device}; there is {', '.join(configuration.devices) or 'none'}", file=sys.stderr)
        return 1
    try:
        trial = msgspec.convert({"device": device, **fields}, Trial)
    except msgspec.ValidationError as error:
        print(error, file=sys.stderr)
        return 1
    return 0 if asyncio.run(_try(configuration, trial)) else 1


async def _try(configuration: Configuration, trial: Trial) -> bool:
    asked = await ask_daemon(configuration.state_dir, trial, _print)
    if asked is not None:
        return asked
    # What the supervisor would log is told by the command itself.
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.CRITICAL))
    loop = asyncio.get_running_loop()
    bus = DeviceBus(configuration.broker, CLIENT, loop.create_task, SystemRandom())
    return await try_alone(configuration, trial, _print, bus=bus)


def _print(line: str) -> None:
    print(line, flush=True)
