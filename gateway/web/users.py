"""Who may sign in at the console: a file of names, roles and scrypt digests, and nothing that is a password.

scrypt with N = 2^15, r = 8, p = 1 takes 32 MB and about a tenth of a second; that is what RFC 7914 and the OWASP
password storage sheet call for on a small machine.
"""

from __future__ import annotations

import hashlib
import hmac
import os
import re
from pathlib import Path
from typing import Literal, get_args

import msgspec

from gateway.config.schema import NAME_PATTERN, NAME_RULE
from gateway.store.owners import make_folder, own_like_folder

Role = Literal["viewer", "staff", "technician"]
ROLES: tuple[Role, ...] = get_args(Role)
PASSWORD_CHARS_MIN, PASSWORD_CHARS_MAX = 10, 200
USERS_MAX = 200
FILE_BYTES_MAX = 256 * 1024
_COST, _BLOCK, _PARALLEL = 2**15, 8, 1
_MEMORY_BYTES = 64 * 1024 * 1024
_is_name = re.compile(NAME_PATTERN.replace("$", r"\Z")).match


class User(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One user: what they may, and what their password must come to."""

    role: Role
    salt: str
    digest: str
    cost: int = _COST


class UsersError(Exception):
    """The file of users cannot be used, or what is to go into it; the message says what to do."""


class Users:
    """The file of users. It is read again whenever it changed, so a user who is taken out is out at once."""

    def __init__(self, path: Path) -> None:
        """Use the file at `path`; one that is not there has no users."""
        self._path = path
        self._stamp: tuple[int, int, int] | None = None
        self._users: dict[str, User] = {}

    def all(self) -> dict[str, User]:
        """Return every user by name. Raises UsersError when the file is damaged."""
        stamp = self._stamped()
        if stamp != self._stamp:
            self._users = self._read() if stamp is not None else {}
            self._stamp = stamp
        return self._users

    def get(self, name: str) -> User | None:
        """Return one user, or None where there is none of this name."""
        return self.all().get(name)

    def put(self, name: str, role: Role, password: str) -> None:
        """Add a user, or give one another role and password. Raises UsersError."""
        if _is_name(name) is None:
            raise UsersError(f"a user's name takes {NAME_RULE}")
        if not PASSWORD_CHARS_MIN <= len(password) <= PASSWORD_CHARS_MAX:
            raise UsersError(f"a password has {PASSWORD_CHARS_MIN} to {PASSWORD_CHARS_MAX} characters")
        users = dict(self.all())
        if len(users) >= USERS_MAX and name not in users:
            raise UsersError(f"at most {USERS_MAX} users; remove one first")
        salt = os.urandom(16)
        users[name] = User(role, salt.hex(), _digest(password, salt, _COST), _COST)
        self._write(users)

    def remove(self, name: str) -> None:
        """Take a user out. Raises UsersError for one who is not there."""
        users = dict(self.all())
        if users.pop(name, None) is None:
            raise UsersError(f"no user is called {name[:64]!r}")
        self._write(users)

    def _stamped(self) -> tuple[int, int, int] | None:
        try:
            found = self._path.stat()
        except FileNotFoundError:
            return None
        except OSError as error:
            raise UsersError(
                f"{self._path}: {error.strerror}; run this as root, or as the user of the gateway"
            ) from error
        return found.st_mtime_ns, found.st_size, found.st_ino

    def _read(self) -> dict[str, User]:
        try:
            with self._path.open("rb") as file:
                return msgspec.json.decode(file.read(FILE_BYTES_MAX), type=dict[str, User])
        except (OSError, ValueError, RecursionError) as error:
            raise UsersError(f"{self._path}: the file of users is damaged; make it anew ({error})") from error

    def _write(self, users: dict[str, User]) -> None:
        """Replace the file whole, readable by its owner alone."""
        part = self._path.with_name(f".{self._path.name}.part")
        try:
            make_folder(self._path.parent)
            part.unlink(missing_ok=True)
            with os.fdopen(os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
                file.write(msgspec.json.format(msgspec.json.encode(users), indent=2))
                file.flush()
                own_like_folder(file.fileno(), self._path.parent)
                os.fsync(file.fileno())
            part.replace(self._path)
        except OSError as error:
            raise UsersError(
                f"{self._path}: {error.strerror}; run this as root, or as the user of the gateway"
            ) from error


_NOBODY = User("viewer", "00" * 16, "00" * 32)


def matches(user: User | None, password: str) -> bool:
    """Return whether this is the user's password. Takes as long for a user who does not exist; call it in a thread."""
    known = user or _NOBODY
    digest = _digest(password[:PASSWORD_CHARS_MAX], bytes.fromhex(known.salt), known.cost)
    return hmac.compare_digest(digest, known.digest) and user is not None


def _digest(password: str, salt: bytes, cost: int) -> str:
    raw = password.encode("utf-8", "surrogatepass")
    return hashlib.scrypt(raw, salt=salt, n=cost, r=_BLOCK, p=_PARALLEL, maxmem=_MEMORY_BYTES, dklen=32).hex()
