"""How a simulator runs as a process of its own: options, ready line, and an end that leaves nothing behind."""

from __future__ import annotations

import argparse
import asyncio
import ctypes
import os
import signal
import sys
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import msgspec

from simulators.control_server import ControlServer
from simulators.device import Device

PR_SET_PDEATHSIG = 1
MakeDevice = Callable[[argparse.Namespace], Device]


def device_parser(name: str, description: str | None) -> argparse.ArgumentParser:
    """A parser with the options that every simulator has."""
    parser = argparse.ArgumentParser(prog=f"python -m simulators.{name}", description=description)
    parser.add_argument("--control", type=Path, required=True, metavar="SOCK", help="Unix socket to serve commands on")
    add_exit_option(parser)
    return parser


def add_exit_option(parser: argparse.ArgumentParser) -> None:
    """Add `--exit-with-stdin` to `parser`."""
    parser.add_argument("--exit-with-stdin", action="store_true", help="end when standard input ends")


def add_link(parser: argparse.ArgumentParser) -> None:
    """Add the pty's `--link` to `parser`."""
    parser.add_argument("--link", type=Path, required=True, metavar="PATH", help="symlink to make to the pty")


def run_device(parser: argparse.ArgumentParser, make: MakeDevice) -> None:
    """Parse the command line, serve the one device that `make` builds, and return when told to end."""
    options = parser.parse_args()

    async def main() -> None:
        device = make(options)
        served = [(device, options.control)]
        await serve(served, lambda: ready_line(device, options.control), exit_with_stdin=options.exit_with_stdin)

    run(main)


def run(main: Callable[[], Any]) -> None:
    """Run the coroutine function `main`; a port or path that cannot be had ends the process with a message."""
    end_with_parent()
    try:
        asyncio.run(main())
    except OSError as error:
        sys.exit(f"simulator: {error}")


async def serve(devices: Iterable[tuple[Device, Path]], ready: Callable[[], object], *, exit_with_stdin: bool) -> None:
    """Plug in every device, serve its control socket, print the `ready()` line, and clean up on SIGTERM or SIGINT."""
    stop = stop_event(exit_with_stdin=exit_with_stdin)
    served: list[tuple[Device, ControlServer]] = []
    try:
        for device, path in devices:
            server = ControlServer(device, path)
            served.append((device, server))
            await server.start()
            device.line.plug()
        print_line(ready())
        await stop.wait()
    finally:
        for device, server in served:
            await server.close()
            device.close()


def ready_line(device: Device, control: Path) -> dict[str, Any]:
    """What a simulator prints once it serves."""
    where = {key: value for key, value in device.line.state().items() if key in ("link", "host", "port")}
    return {"ready": True, "device": device.kind, "control": str(control), "pid": os.getpid(), **where}


def print_line(message: object) -> None:
    """Print one line of JSON at once; paths become text."""
    print(msgspec.json.encode(message, enc_hook=str).decode(), flush=True)


def stop_event(*, exit_with_stdin: bool) -> asyncio.Event:
    """An event that is set by SIGTERM, by SIGINT and, if asked, by the end of standard input."""
    loop = asyncio.get_running_loop()
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)

    def stdin_readable() -> None:
        if not os.read(0, 4096):
            loop.remove_reader(0)
            stop.set()

    if exit_with_stdin:
        loop.add_reader(0, stdin_readable)
    return stop


def end_with_parent() -> None:
    """Ask the kernel for SIGTERM when the thread that started this process dies, so that no simulator is orphaned."""
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGTERM, 0, 0, 0)
