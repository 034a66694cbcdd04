"""Card numbers become keyed references here, at the edge; nothing behind it ever sees a number (I12)."""

from __future__ import annotations

import os
import secrets
from hashlib import blake2b
from pathlib import Path

from gateway.store.database import sync_folder
from gateway.store.errors import StorageUnavailable, from_os

KEY_FILE = "credential.key"
CREDENTIALS_DIRECTORY = "CREDENTIALS_DIRECTORY"
"""Where systemd hands a service its `LoadCredential=` files (systemd.exec(5))."""
KEY_BYTES = 32
REF_BYTES = 16
_OTHERS = 0o077


class CredentialKey:
    """The venue's secret key. Without it a reference tells nothing of the card, and a list of cards cannot be tried."""

    def __init__(self, secret: bytes) -> None:
        """Take 32 secret bytes."""
        if len(secret) != KEY_BYTES:
            raise ValueError(f"a credential key has {KEY_BYTES} bytes, not {len(secret)}")
        self.secret = secret

    @classmethod
    def load_or_create(cls, state_dir: Path) -> CredentialKey:
        """Read `<state_dir>/credential.key`, or make one at the first use (mode 0600).

        Where the service manager hands over a key, that one counts, so that it need not lie beside the data. Raises
        StorageUnavailable when it is unreadable, of a wrong size or readable by others, or when there are two keys.
        """
        path = state_dir / KEY_FILE
        try:
            if (handed := _handed_over(path)) is not None:
                return cls(handed)
            state_dir.mkdir(mode=0o750, parents=True, exist_ok=True)
            if not path.exists():
                _create(path)
            return cls(_read(path))
        except OSError as error:
            raise from_os(error, path) from error

    def ref(self, technology: str, value: str) -> str:
        """Return the reference of a card or code: 32 hex digits, the same for the same card at this venue only.

        `technology` is em4100, barcode, nfc and so on. The hexadecimal numbers of em4100 are taken in either case.
        """
        if technology == "em4100":
            value = value.upper()
        return blake2b(f"{technology}\0{value}".encode(), digest_size=REF_BYTES, key=self.secret).hexdigest()

    @property
    def fingerprint(self) -> str:
        """A name for the key that tells nothing of it; a directory made with another key does not fit."""
        return blake2b(b"fingerprint", digest_size=8, key=self.secret).hexdigest()

    def __repr__(self) -> str:
        return "CredentialKey(…)"


def _read(path: Path) -> bytes:
    if path.stat().st_mode & _OTHERS:
        raise StorageUnavailable(f"{path} can be read by others; run: chmod 600 {path}", fatal=True)
    secret = path.read_bytes()
    if len(secret) != KEY_BYTES:
        message = f"{path} has {len(secret)} bytes and not {KEY_BYTES}; restore it from a backup"
        raise StorageUnavailable(f"{message}, or remove it and import the directory again", fatal=True)
    return secret


def _handed_over(beside_data: Path) -> bytes | None:
    """Return the key that the service manager handed over, or None. Its files' modes are the manager's own business."""
    folder = os.environ.get(CREDENTIALS_DIRECTORY)
    if not folder or not (path := Path(folder) / KEY_FILE).exists():
        return None
    secret = path.read_bytes()
    if len(secret) != KEY_BYTES:
        message = f"{path} has {len(secret)} bytes and not {KEY_BYTES}"
        raise StorageUnavailable(f"{message}; restore the key from a backup", fatal=True)
    if beside_data.exists() and beside_data.read_bytes() != secret:
        message = f"{beside_data} is another key than {path}, and only one of them fits the data"
        raise StorageUnavailable(f"{message}; move the wrong one away", fatal=True)
    return secret


def _create(path: Path) -> None:
    """Write a new key beside its place and link it there, so that no crash and no second process leaves half a key."""
    draft = path.with_name(f"{path.name}.{secrets.token_hex(4)}")
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        os.write(descriptor, secrets.token_bytes(KEY_BYTES))
        own_like_folder(descriptor, path.parent)
        os.fsync(descriptor)
        os.link(draft, path)
        sync_folder(path.parent)
    except FileExistsError:
        # Another process was first; its key is the key.
        pass
    finally:
        os.close(descriptor)
        draft.unlink()


def own_like_folder(descriptor: int, folder: Path) -> None:
    """Give a file to the owner of its folder when root made it, so that the service can read what `sudo` wrote."""
    if os.geteuid() == 0:
        owner = folder.stat()
        os.fchown(descriptor, owner.st_uid, owner.st_gid)
