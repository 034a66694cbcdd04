"""A whole simulated venue: every device a process of its own, found by name.

A description maps device names to a simulator and its options:
`{"north-reader": {"simulator": "rdm6300"}, "bar-printer": {"simulator": "escpos_printer", "tcp": "127.0.0.1:0"}}`.
Links are made under DIR/dev, control sockets under DIR/control, receipts under DIR/receipts/<printer>.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import sys
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import msgspec

from simulators.control import Control
from simulators.process import add_exit_option, print_line, run, stop_event

READY_TIMEOUT_S = 20.0
STOP_TIMEOUT_S = 5.0
SIMULATORS = (
    "rdm6300",
    "pn532",
    "scanner",
    "lcus",
    "modbus_board",
    "escpos_printer",
    "osdp",
    "twn4",
    "wiegand",
    "label_printer",
)
PRINTERS = ("escpos_printer", "label_printer")
Description = Mapping[str, Mapping[str, Any]]

DEMO_VENUE: Description = {
    "north-reader": {"simulator": "rdm6300"},
    "south-scanner": {"simulator": "scanner"},
    "north-relay": {"simulator": "lcus"},
    "south-board": {"simulator": "modbus_board"},  # its input 1 is the passage contact
    "bar-printer": {"simulator": "escpos_printer", "tcp": "127.0.0.1:0"},
    "kiosk-printer": {"simulator": "escpos_printer"},
}


class VenueError(Exception):
    """The venue cannot be started. The message says which device, and why."""


@dataclass(frozen=True)
class SimulatedDevice:
    """Where a running simulator is found. `link` is its pty, or else `host` and `port` its TCP address."""

    name: str
    simulator: str
    control: Path
    pid: int
    link: Path | None = None
    host: str | None = None
    port: int | None = None
    receipts: Path | None = None


class SimulatedVenue:
    """Starts every device of `description` under `directory`; an async context manager.

    `async with SimulatedVenue(tmp_path) as venue: reader = await venue.control("north-reader")`.
    Start it from a thread that lives as long as the venue: the simulators end when that thread does.
    """

    def __init__(self, directory: Path, description: Description = DEMO_VENUE) -> None:
        self.directory = directory
        self._description = description
        self._processes: dict[str, asyncio.subprocess.Process] = {}
        self._devices: dict[str, SimulatedDevice] = {}
        self._controls: dict[str, Control] = {}

    @property
    def devices(self) -> Mapping[str, SimulatedDevice]:
        """Every running device by name."""
        return self._devices

    def device(self, name: str) -> SimulatedDevice:
        """The device `name`. Raises `KeyError`."""
        return self._devices[name]

    async def control(self, name: str) -> Control:
        """The control connection of the device `name`, the same one each time. Raises `KeyError`, `ControlError`."""
        if name not in self._controls:
            self._controls[name] = await Control.connect(self._devices[name].control)
        return self._controls[name]

    async def start(self, name: str) -> SimulatedDevice:
        """Start one device of the description, or start it again after `kill`. Raises `VenueError`."""
        arguments = _arguments(self.directory, name, self._description[name])
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-m", *arguments,
            stdin=asyncio.subprocess.DEVNULL, stdout=asyncio.subprocess.PIPE, env=environment(),
        )  # fmt: skip
        self._processes[name] = process
        self._devices[name] = await self._await_ready(name, process)
        return self._devices[name]

    async def kill(self, name: str) -> None:
        """End one device at once, as kill -9 does; its link and sockets stay behind, broken."""
        await self._forget(name)
        process = self._processes.pop(name)
        if process.returncode is None:
            process.kill()
        await process.wait()

    async def __aenter__(self) -> Self:
        try:
            await self._start_all()
        except BaseException:
            await self._stop()
            raise
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._stop()

    async def _start_all(self) -> None:
        try:
            async with asyncio.TaskGroup() as group:
                for name in self._description:
                    group.create_task(self.start(name))
        except ExceptionGroup as errors:
            # One reason is enough for a person; the other devices were only cancelled because of it.
            raise next((error for error in errors.exceptions if isinstance(error, VenueError)), errors) from None

    async def _await_ready(self, name: str, process: asyncio.subprocess.Process) -> SimulatedDevice:
        if process.stdout is None:
            raise VenueError(f"{name}: its output cannot be read")
        try:
            async with asyncio.timeout(READY_TIMEOUT_S):
                line = await process.stdout.readline()
        except TimeoutError:
            raise VenueError(f"{name}: not ready within {READY_TIMEOUT_S} s") from None
        if not line:
            raise VenueError(f"{name}: ended with status {await process.wait()}; its message is above")
        return _device(self.directory, name, self._description[name], msgspec.json.decode(line))

    async def _forget(self, name: str) -> None:
        self._devices.pop(name, None)
        control = self._controls.pop(name, None)
        if control is not None:
            await control.close()

    async def _stop(self) -> None:
        for name in tuple(self._processes):
            await self._forget(name)
        running = [process for process in self._processes.values() if process.returncode is None]
        for process in running:
            process.terminate()
        await asyncio.gather(*(_end(process) for process in running))
        self._processes.clear()


async def _end(process: asyncio.subprocess.Process) -> None:
    try:
        async with asyncio.timeout(STOP_TIMEOUT_S):
            await process.wait()
    except TimeoutError:
        process.kill()
        await process.wait()


def _arguments(directory: Path, name: str, options: Mapping[str, Any]) -> list[str]:
    """The module and command line of a device: each option becomes `--option value`, a true one `--option`."""
    simulator = options.get("simulator")
    if simulator not in SIMULATORS:
        raise VenueError(f"{name}: no simulator {simulator!r}; there are {', '.join(SIMULATORS)}")
    arguments = [f"simulators.{simulator}", "--control", str(directory / "control" / f"{name}.sock")]
    if "tcp" not in options:
        arguments += ["--link", str(directory / "dev" / name)]
    if simulator in PRINTERS:
        arguments += ["--receipts", str(_receipts(directory, name))]
    for key, value in options.items():
        if key != "simulator" and value is not False:
            flag = "--" + key.replace("_", "-")
            arguments += [flag] if value is True else [flag, str(value)]
    return arguments


def _device(directory: Path, name: str, options: Mapping[str, Any], ready: Mapping[str, Any]) -> SimulatedDevice:
    return SimulatedDevice(
        name=name,
        simulator=options["simulator"],
        control=Path(ready["control"]),
        pid=ready["pid"],
        link=Path(ready["link"]) if "link" in ready else None,
        host=ready.get("host"),
        port=ready.get("port"),
        receipts=_receipts(directory, name) if options["simulator"] in PRINTERS else None,
    )


def _receipts(directory: Path, name: str) -> Path:
    return directory / "receipts" / name


def environment() -> dict[str, str]:
    """This process's environment, in which the package is found from any working directory."""
    root = str(Path(__file__).resolve().parent.parent)
    known = os.environ.get("PYTHONPATH")
    return {**os.environ, "PYTHONPATH": f"{root}{os.pathsep}{known}" if known else root}


def main() -> None:
    """Run a venue until told to end."""
    parser = argparse.ArgumentParser(prog="python -m simulators.venue", description=__doc__)
    parser.add_argument("--dir", type=Path, required=True, help="where links, control sockets and receipts go")
    parser.add_argument("--describe", type=Path, metavar="FILE", help="JSON description (default: the demo venue)")
    add_exit_option(parser)
    options = parser.parse_args()

    async def serve() -> None:
        stop = stop_event(exit_with_stdin=options.exit_with_stdin)
        async with SimulatedVenue(options.dir, _description(options.describe)) as venue:
            print_line({"ready": True, "devices": {name: asdict(device) for name, device in venue.devices.items()}})
            await stop.wait()

    try:
        run(serve)
    except VenueError as error:
        sys.exit(f"venue: {error}")


def _description(path: Path | None) -> Description:
    if path is None:
        return DEMO_VENUE
    try:
        return msgspec.json.decode(path.read_bytes(), type=dict[str, dict[str, Any]])
    except msgspec.MsgspecError as error:
        raise VenueError(f"{path}: {error}; it maps device names to {{'simulator': …, options}}") from error


if __name__ == "__main__":
    main()
