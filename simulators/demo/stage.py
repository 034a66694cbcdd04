"""The stage: a private folder with the venue's files, and everything that runs in it, ended in order."""

from __future__ import annotations

import shutil
import tempfile
from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import msgspec

from simulators.control import Control
from simulators.demo import setting
from simulators.demo.listening import Asker, ControlRoom
from simulators.demo.processes import Broker, Gateway, StageError, command, find_mosquitto, try_command
from simulators.demo.telling import Teller
from simulators.venue import SimulatedVenue, VenueError

START_TIMEOUT_S = 20.0
MAX_FOLDER_CHARS = 60
"""A Unix socket's path has at most 107 bytes, and some of them are for what comes after the folder."""


@dataclass(frozen=True)
class Devices:
    """The control side of each simulated device."""

    north_reader: Control
    north_board: Control
    south_scanner: Control
    south_relay: Control
    bar_printer: Control
    office_printer: Control
    bar_reader: Control


class Stage:
    """The running venue; an async context manager. `stop_status` is what the gateway ended with."""

    devices: Devices
    gateway: Gateway
    room: ControlRoom
    turnstile: Asker
    bar_tablet: Asker
    office_tablet: Asker

    def __init__(self, tell: Teller) -> None:
        self._tell = tell
        self._stack = AsyncExitStack()
        self.folder = Path()
        self.good_configuration = ""
        self.stop_status = 0
        self.port = 0

    @property
    def config(self) -> Path:
        """The venue's YAML file."""
        return self.folder / "demo.yaml"

    @property
    def receipts(self) -> Path:
        """The folder with a folder of receipts for each printer."""
        return self.folder / "venue" / "receipts"

    async def __aenter__(self) -> Self:
        try:
            await self._set_up()
        except VenueError as error:
            await self._stack.aclose()
            raise StageError(f"a simulated device does not start: {error}") from error
        except BaseException:
            await self._stack.aclose()
            raise
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._stack.aclose()

    async def _set_up(self) -> None:
        find_mosquitto()
        self.folder = _private_folder()
        self._stack.callback(shutil.rmtree, self.folder, ignore_errors=True)
        venue = await self._stack.enter_async_context(SimulatedVenue(self.folder / "venue", setting.DEVICES))
        self._tell.behind("devices", f"{len(venue.devices)} simulated ones, each a process that speaks its real bytes")
        self.good_configuration = setting.configuration(self.folder, venue.devices)
        self.config.write_text(self.good_configuration)
        await self._open_broker()
        await self._import_directory()
        self.gateway = Gateway(self.folder, self.config)
        self._stack.push_async_callback(self._stop_gateway)
        await self._connect_clients()
        await self.start_gateway()
        names = (name.replace("-", "_") for name in setting.DEVICES)
        controls = [await venue.control(name) for name in setting.DEVICES]
        self.devices = Devices(**dict(zip(names, controls, strict=True)))

    async def _open_broker(self) -> None:
        broker = Broker(self.folder)
        self._stack.push_async_callback(broker.stop)
        await broker.open(self.config)
        self.port = broker.port
        self._tell.behind("broker", f"Mosquitto on 127.0.0.1:{broker.port}, files by `venue-gateway broker write`")

    async def _import_directory(self) -> None:
        file = self.folder / "directory.ndjson"
        file.write_bytes(setting.directory())
        await command("directory", "import", file, "--config", self.config)
        self._tell.behind("directory", f"{len(setting.EVERYONE)} guests, by `venue-gateway directory import`")

    async def _connect_clients(self) -> None:
        state_dir = self.folder / "state"
        self.room = await self._stack.enter_async_context(ControlRoom(self.port, state_dir))
        askers = [Asker(name, self.port, state_dir) for name in ("east-turnstile", "bar-tablet", "office-tablet")]
        for asker in askers:
            await self._stack.enter_async_context(asker)
        self.turnstile, self.bar_tablet, self.office_tablet = askers

    async def start_gateway(self) -> None:
        """Start the daemon and wait until it says that all its devices work."""
        # What the broker retains of the run before must not be taken for this run's word.
        self.room.forget()
        await self.gateway.run()
        await self.room.state("online", START_TIMEOUT_S)
        for device in (*setting.DEVICES, "bar-drawer"):
            await self.room.device(device, "online", timeout_s=START_TIMEOUT_S)

    async def _stop_gateway(self) -> None:
        self.stop_status = await self.gateway.stop()

    async def exported(self) -> list[dict[str, Any]]:
        """The whole journal, as `venue-gateway journal export` prints it."""
        lines = (await command("journal", "export", "--config", self.config)).splitlines()
        return [msgspec.json.decode(line) for line in lines]

    async def verified(self) -> tuple[int, str]:
        """What `venue-gateway journal verify` says: its status and its words without the path."""
        status, output = await try_command("journal", "verify", "--config", self.config)
        return status, output.strip().replace(f"{self.folder}/", "")


def _private_folder() -> Path:
    base = tempfile.gettempdir()
    return Path(tempfile.mkdtemp(prefix="vg-demo-", dir=base if len(base) < MAX_FOLDER_CHARS else "/tmp"))  # noqa: S108
