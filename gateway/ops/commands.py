"""The operator's part of the command line: `venue-gateway doctor`, `backup`, `restore`, `diagnostics`, `erase`.

Each command is a function of its parsed arguments that returns the exit status: 0 when all is well, 1 when something
was refused or is bad (and it said what to do).
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias

if TYPE_CHECKING:
    from gateway.config.schema import Configuration

OK, REFUSED = 0, 1

# argparse has no public name for what add_subparsers() returns.
Commands: TypeAlias = "argparse._SubParsersAction[argparse.ArgumentParser]"  # noqa: SLF001
ConfigOption = Callable[[argparse.ArgumentParser], None]


def add_commands(commands: Commands, config_option: ConfigOption) -> None:
    """Add the operator's commands to those of the command line; `config_option` gives each its `--config`."""
    doctor = commands.add_parser("doctor", help="look at everything that has to be right, and say what to do")
    doctor.add_argument("--json", action="store_true", help="print what was found as JSON")
    doctor.set_defaults(run=_doctor)
    config_option(doctor)


def _doctor(options: argparse.Namespace) -> int:
    from gateway.ops.doctor import examine, report  # noqa: PLC0415

    configuration = _load(options.config)
    if configuration is None:
        return REFUSED
    examination = examine(configuration)
    for line in report(examination, as_json=options.json):
        print(line)
    return REFUSED if examination.result == "bad" else OK


def _load(config: Path) -> Configuration | None:
    """Return the configuration of a file, or None after saying what is wrong with it."""
    from gateway.config.loading import ConfigurationError, load  # noqa: PLC0415
    from gateway.devices.registry import kinds  # noqa: PLC0415

    try:
        return load(config, kinds())
    except ConfigurationError as error:
        for problem in error.problems:
            print(problem, file=sys.stderr)
        return None
