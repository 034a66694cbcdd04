"""Card numbers become keyed references here, at the edge; nothing behind it ever sees a number (I12)."""

from __future__ import annotations

import os
import secrets
from hashlib import blake2b
from pathlib import Path

from gateway.store.database import sync_folder
from gateway.store.errors import StorageUnavailable, from_os
from gateway.store.owners import make_folder, own_like_folder

KEY_FILE = "credential.key"
CREDENTIALS_DIRECTORY = "CREDENTIALS_DIRECTORY"
"""Where systemd hands a service its `LoadCredential=` files (systemd.exec(5))."""
PACKAGED_STATE, PACKAGED_KEYS = Path("/var/lib/venue-gateway"), Path("/etc/venue-gateway/keys")
"""Where the Debian package keeps the state, and apart from it the key, which systemd hands over from there."""
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
        self._keyed = blake2b(digest_size=REF_BYTES, key=secret)

    @classmethod
    def load_or_create(cls, state_dir: Path) -> CredentialKey:
        """Read the key in force, or make `<state_dir>/credential.key` at the first use (mode 0600).

        Where the package keeps the key apart, none is made: it would be a second one. Raises StorageUnavailable when it
        is unreadable, of a wrong size or readable by others, or when there are two keys.
        """
        path = key_path(state_dir)
        try:
            if path.parent == state_dir and not path.exists():
                make_folder(state_dir)
                _create(path)
        except OSError as error:
            raise from_os(error, path) from error
        return cls.load(state_dir)

    @classmethod
    def load(cls, state_dir: Path) -> CredentialKey:
        """Read the key in force. Raises StorageUnavailable likewise, and when there is none."""
        path = key_path(state_dir)
        try:
            return cls(_read(path, state_dir / KEY_FILE))
        except FileNotFoundError:
            todo = "start the gateway once, which makes one, or restore it: venue-gateway restore FILE --keys FILE"
            raise StorageUnavailable(f"{path} is not there; {todo}", fatal=True) from None
        except PermissionError as error:
            if path.parent == PACKAGED_KEYS:
                message = f"{path} may be read by root alone; run this as root (sudo, without -u)"
                raise StorageUnavailable(message, fatal=True) from error
            raise from_os(error, path) from error
        except OSError as error:
            raise from_os(error, path) from error

    def ref(self, technology: str, value: str) -> str:
        """Return the reference of a card or code: 32 hex digits, the same for the same card at this venue only.

        `technology` is em4100, barcode, nfc and so on. The hexadecimal numbers of em4100 are taken in either case.
        """
        return self.ref_bytes(technology, value).hex()

    def ref_bytes(self, technology: str, value: str) -> bytes:
        """Return the same as 16 bytes."""
        if technology == "em4100":
            value = value.upper()
        keyed = self._keyed.copy()
        keyed.update(f"{technology}\0{value}".encode())
        return keyed.digest()

    @property
    def fingerprint(self) -> str:
        """A name for the key that tells nothing of it; a directory made with another key does not fit."""
        return blake2b(b"fingerprint", digest_size=8, key=self.secret).hexdigest()

    def __repr__(self) -> str:
        return "CredentialKey(…)"


def key_path(state_dir: Path) -> Path:
    """Return where the key in force lies, or has to lie where there is none.

    The one that the service manager hands over counts, so that it need not lie beside the data; then that of the
    package, for the state folder of the package; else it is `<state_dir>/credential.key`.
    """
    folder = os.environ.get(CREDENTIALS_DIRECTORY)
    if folder and (handed := Path(folder) / KEY_FILE).exists():
        return handed
    if state_dir == PACKAGED_STATE and PACKAGED_KEYS.exists():
        return PACKAGED_KEYS / KEY_FILE
    return state_dir / KEY_FILE


def _read(path: Path, beside_data: Path) -> bytes:
    # The modes of what the service manager hands over are its own business.
    if path == beside_data and path.stat().st_mode & _OTHERS:
        raise StorageUnavailable(f"{path} can be read by others; run: chmod 600 {path}", fatal=True)
    secret = path.read_bytes()
    if len(secret) != KEY_BYTES:
        message = f"{path} has {len(secret)} bytes and not {KEY_BYTES}; restore it from a backup"
        raise StorageUnavailable(f"{message}, or remove it and import the directory again", fatal=True)
    if path != beside_data and beside_data.exists() and beside_data.read_bytes() != secret:
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
