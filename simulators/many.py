"""Many readers and relay boards in one process, for benchmarks.

Links are DIR/dev/reader-0001 and DIR/dev/relay-0001, control sockets DIR/control/reader-0001.sock, and so on.
"""

from __future__ import annotations

import argparse
import resource
from pathlib import Path

from simulators.device import Device
from simulators.lcus import Lcus
from simulators.process import add_exit_option, ready_line, run, serve
from simulators.pty_line import PtyLine
from simulators.rdm6300 import Rdm6300


def main() -> None:
    """Run them all until told to end."""
    parser = argparse.ArgumentParser(prog="python -m simulators.many", description=__doc__)
    parser.add_argument("--dir", type=Path, required=True, help="where links and control sockets go")
    parser.add_argument("--readers", type=int, default=1, metavar="N", help="RDM6300 readers (default: 1)")
    parser.add_argument("--relays", type=int, default=1, metavar="N", help="LCUS boards (default: 1)")
    add_exit_option(parser)
    options = parser.parse_args()
    _allow_many_files()

    async def main_task() -> None:
        devices = _devices(options.dir, options.readers, options.relays)
        served = [(device, _control(options.dir, name)) for name, device in devices.items()]
        await serve(served, lambda: _ready(options.dir, devices), exit_with_stdin=options.exit_with_stdin)

    run(main_task)


def _devices(directory: Path, readers: int, relays: int) -> dict[str, Device]:
    devices: dict[str, Device] = {}
    for kind, make, count in (("reader", Rdm6300, readers), ("relay", Lcus, relays)):
        for number in range(1, count + 1):
            name = f"{kind}-{number:04d}"
            devices[name] = make(PtyLine(directory / "dev" / name))
    return devices


def _control(directory: Path, name: str) -> Path:
    return directory / "control" / f"{name}.sock"


def _ready(directory: Path, devices: dict[str, Device]) -> dict[str, object]:
    return {
        "ready": True,
        "devices": {name: ready_line(device, _control(directory, name)) for name, device in devices.items()},
    }


def _allow_many_files() -> None:
    """Raise the limit on open files as far as allowed: each device needs four."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


if __name__ == "__main__":
    main()
