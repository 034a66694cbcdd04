"""`venue-gateway tickets keygen` and `sign`: keys for signed tickets, and the tickets, for a shop of one's own."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Annotated

import msgspec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from gateway.domain import tickets

OK, REFUSED = 0, 1
_OTHERS = 0o077


class KeyFile(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What a key file holds. Whoever has it can make tickets, so it belongs in the shop and not at the gate."""

    id: Annotated[str, msgspec.Meta(min_length=1, max_length=100)]
    issuer: Annotated[str, msgspec.Meta(pattern="^[a-z0-9][a-z0-9.-]{0,62}$")]
    secret_key: str

    def __repr__(self) -> str:
        return f"KeyFile(id={self.id!r}, issuer={self.issuer!r}, secret_key=…)"


def keygen(file: Path, key_id: str, issuer: str) -> int:
    """Make a key pair: the secret one into `file` (mode 0600, never over another), the other as a directory row.

    Prints the row of the directory by which venues check the tickets. Returns the exit status.
    """
    secret, public = tickets.new_key()
    content = {"id": key_id, "issuer": issuer, "secret_key": secret}
    try:
        msgspec.convert(content, KeyFile)
        descriptor = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except msgspec.ValidationError as error:
        return _complain(f"{error}; an issuer is lower-case letters, digits, hyphens and dots")
    except FileExistsError:
        return _complain(f"{file} is there already; tickets signed with it would be lost, so take another name")
    except OSError as error:
        return _complain(f"{file}: {error.strerror}")
    with os.fdopen(descriptor, "wb") as out:
        out.write(msgspec.json.encode(content) + b"\n")
    row = {"type": "issuer_key", "id": key_id, "issuer": issuer, "public_key": public}
    print(msgspec.json.encode(row).decode())
    return OK


def sign(file: Path, claims: Iterable[str]) -> int:
    """Print the code of a ticket for each line of claims, a JSON object, in the same order.

    Stops at the first line that is no ticket and names it. Returns the exit status.
    """
    try:
        key, private_key = _read(file)
    except (OSError, ValueError) as error:
        return _complain(f"{file}: {getattr(error, 'strerror', None) or error}")
    for number, line in enumerate(claims, start=1):
        if not line.strip():
            continue
        try:
            print(tickets.sign(private_key, key.id, key.issuer, line.strip().encode()), flush=True)
        except tickets.NotAuthentic as error:
            return _complain(f"line {number}: {error}")
    return OK


def _read(file: Path) -> tuple[KeyFile, Ed25519PrivateKey]:
    if file.stat().st_mode & _OTHERS:
        raise ValueError(f"it can be read by others; run: chmod 600 {file}")
    try:
        key = msgspec.json.decode(file.read_bytes(), type=KeyFile)
    except (msgspec.MsgspecError, UnicodeDecodeError):
        raise ValueError("this is no key file; `venue-gateway tickets keygen` makes one") from None
    return key, tickets.read_secret_key(key.secret_key)


def _complain(text: str) -> int:
    print(text, file=sys.stderr)
    return REFUSED
