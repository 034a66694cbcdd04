"""Doctor's check of who may open what. Root may open everything, so what counts is what the gateway's own user may."""

from __future__ import annotations

import grp
import os
import pwd
import stat
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import msgspec

from gateway.config.schema import Configuration
from gateway.ops.findings import Finding, bad, ok
from gateway.store.credentials import PACKAGED_STATE

PACKAGED_USER = "venue-gateway"
PACKAGES_OWN = ".package"
"""What the package notes in the state folder is root's."""
_WORLD = 0o007


class Account(msgspec.Struct, frozen=True):
    """Whom the gateway runs as."""

    name: str
    uid: int
    groups: frozenset[int]

    def __str__(self) -> str:
        return f"the gateway, which runs as {self.name}"

    def may_read(self, file: Path) -> bool:
        """Say whether this user may read a file, by its mode. Raises OSError where it is not there."""
        found = file.stat()
        if self.uid in {0, found.st_uid}:
            return self.uid == 0 or bool(found.st_mode & stat.S_IRUSR)
        return bool(found.st_mode & (stat.S_IRGRP if found.st_gid in self.groups else stat.S_IROTH))


def account(state_dir: Path) -> Account:
    """Return whom the gateway runs as: the package's user, else whoever owns the state folder."""
    if state_dir == PACKAGED_STATE:
        with suppress(KeyError):
            return _account(pwd.getpwnam(PACKAGED_USER))
    uid = state_dir.stat().st_uid
    try:
        return _account(pwd.getpwuid(uid))
    except KeyError:
        return Account(str(uid), uid, frozenset())


def _account(entry: pwd.struct_passwd) -> Account:
    groups = (one.gr_gid for one in grp.getgrall() if entry.pw_name in one.gr_mem)
    return Account(entry.pw_name, entry.pw_uid, frozenset({entry.pw_gid, *groups}))


def check_permissions(configuration: Configuration) -> Iterator[Finding]:
    """Judge who may read and write the state folder."""
    state_dir, told = configuration.state_dir, False
    mode = state_dir.stat().st_mode
    # What lies in a folder that others cannot enter is as closed as the folder.
    if mode & _WORLD:
        told = True
        what = f"anybody on this machine may open {state_dir} (mode {mode & 0o777:o})"
        yield bad("permissions", what, f"run: chmod o-rwx {state_dir}")
    gateway = account(state_dir)
    if foreign := _not_of(gateway, state_dir):
        told = True
        more = f" and {len(foreign) - 1} more" if len(foreign) > 1 else ""
        what = f"{foreign[0]}{more}: not {gateway.name}'s, and the gateway runs as {gateway.name}"
        yield bad("permissions", what, f"run: chown -R {gateway.name}: {state_dir}")
    for path in () if foreign else (state_dir, *sorted(state_dir.glob("*.db*"))):
        if not os.access(path, os.R_OK | os.W_OK):
            told = True
            yield bad("permissions", f"{path} may not be written", f"run doctor as root, or as {gateway.name}")
    if not told:
        yield ok("permissions", f"{state_dir} is the gateway's own")


def _not_of(gateway: Account, state_dir: Path) -> list[Path]:
    """Return what in the state folder belongs to somebody else, as after a `sudo` too many."""
    found = []
    for path in (state_dir, *sorted(state_dir.rglob("*"))):
        with suppress(OSError):
            ours = PACKAGES_OWN in path.relative_to(state_dir).parts or path.lstat().st_uid == gateway.uid
            found += [] if ours else [path]
    return found
