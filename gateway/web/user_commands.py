"""`venue-gateway console user add | list | remove`: who may sign in at the console."""

from __future__ import annotations

import argparse
import getpass
import secrets
import sys
from pathlib import Path
from typing import cast

from gateway.config.console import USERS_FILE
from gateway.web.users import Role, Users, UsersError

OK, REFUSED = 0, 1
_GENERATED_BYTES = 12


def run(options: argparse.Namespace, state_dir: Path) -> int:
    """Carry out one of the commands; returns the exit status."""
    if options.verb == "add":
        return add(state_dir, options.name, options.role, generate=options.generate, again=options.again)
    return remove(state_dir, options.name) if options.verb == "remove" else show(state_dir)


def add(state_dir: Path, name: str, role: str, *, generate: bool, again: bool) -> int:
    """Add a user, or with `again` change one. The password is asked for, read from a pipe, or made up and printed."""
    users = Users(state_dir / USERS_FILE)
    try:
        if users.get(name) is not None and not again:
            return _complain(f"{name} is there already; --again gives them another password and role")
        password = secrets.token_urlsafe(_GENERATED_BYTES) if generate else _ask()
        users.put(name, cast("Role", role), password)
    except (UsersError, OSError) as error:
        return _complain(str(error))
    if generate:
        print(password)
    print(f"{name} may sign in as {role}.", file=sys.stderr)
    return OK


def remove(state_dir: Path, name: str) -> int:
    """Take a user out; whoever is signed in under the name is out at their next click."""
    try:
        Users(state_dir / USERS_FILE).remove(name)
    except (UsersError, OSError) as error:
        return _complain(str(error))
    return OK


def show(state_dir: Path) -> int:
    """Print every user with their role, one a line."""
    try:
        for name, user in sorted(Users(state_dir / USERS_FILE).all().items()):
            print(f"{name:<24} {user.role}")
    except UsersError as error:
        return _complain(str(error))
    return OK


def _ask() -> str:
    if not sys.stdin.isatty():
        return sys.stdin.readline().rstrip("\n")
    password = getpass.getpass("Password: ")
    if getpass.getpass("Again: ") != password:
        raise UsersError("the two are not the same; nothing was changed")
    return password


def _complain(text: str) -> int:
    print(text, file=sys.stderr)
    return REFUSED
