"""How `venue-gateway console user …` is typed; what it does is loaded when it is."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any, TypeAlias

REFUSED = 1
# argparse has no public name for what add_subparsers() returns.
Commands: TypeAlias = "argparse._SubParsersAction[argparse.ArgumentParser]"  # noqa: SLF001


def add_parsers(commands: Commands, load: Callable[[Path], Any]) -> list[argparse.ArgumentParser]:
    """Describe the commands to argparse, and return the parser of each; `load` reads their configuration."""
    console = commands.add_parser("console", help="who may sign in at the local web page: see docs/console.md")
    user = console.add_subparsers(metavar="NOUN", required=True).add_parser("user", help="the users of the console")
    verbs = user.add_subparsers(metavar="VERB", dest="verb", required=True)
    new = verbs.add_parser("add", help="add a user; the password is asked for, or read from standard input")
    new.add_argument("name")
    new.add_argument("--role", required=True, choices=["viewer", "staff", "technician"])
    new.add_argument("--generate", action="store_true", help="make a password up and print it")
    new.add_argument("--again", action="store_true", help="give a user who is there another password and role")
    gone = verbs.add_parser("remove", help="take a user out; they are signed out at once")
    gone.add_argument("name")
    listed = verbs.add_parser("list", help="print every user and their role")
    user.set_defaults(run=partial(_run, load))
    return [new, gone, listed]


def _run(load: Callable[[Path], Any], options: argparse.Namespace) -> int:
    from gateway.web import user_commands  # noqa: PLC0415

    configuration = load(options.config)
    return REFUSED if configuration is None else user_commands.run(options, configuration.state_dir)
