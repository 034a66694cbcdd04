"""Who this gateway is to upstream: a key pair of its own, a certificate over it, and upstream's keys, pinned.

All of it lies in `fleet/` of the state folder, but for a private key that systemd hands over as the credential
`identity.key`: such a key lies apart from the data. It is made once and never leaves the machine.
"""

from __future__ import annotations

import os
import shutil
import ssl
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path

import msgspec
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from gateway.domain.orders import KeyGiven
from gateway.store.credentials import CREDENTIALS_DIRECTORY
from gateway.store.database import sync_folder
from gateway.store.owners import make_folder, own_like_folder

FOLDER = "fleet"
KEY_FILE, CERTIFICATE_FILE, TRUST_FILE = "identity.key", "identity.crt", "trust.json"
DRAFT = "draft"
PRIVATE, PRIVATE_FOLDER = 0o600, 0o700
_OTHERS = 0o077
RENEW_PART = 3
"""A certificate is renewed once less than a third of its time is left."""


class NotEnrolled(Exception):
    """There is no identity here, or none that can be used; the message says what to do."""


class Trust(msgspec.Struct, frozen=True):
    """What was pinned at enrolment: whose venue this is, upstream's public keys by their names, and when that was.

    `since_ms` is in UTC milliseconds of upstream's clock; 0 where nobody knows.
    """

    url: str
    venue: str
    keys: tuple[KeyGiven, ...]
    since_ms: int = 0

    @property
    def by_id(self) -> Mapping[str, bytes]:
        """The keys by their names."""
        return {one.id: one.key for one in self.keys}


class Identity:
    """The folder's content. Methods that read or write files raise OSError besides what they say."""

    def __init__(self, state_dir: Path) -> None:
        """Name the files; nothing is read yet."""
        self.folder = state_dir / FOLDER
        handed = Path(os.environ.get(CREDENTIALS_DIRECTORY) or self.folder) / KEY_FILE
        self.key_file = handed if handed.exists() else self.folder / KEY_FILE
        self.certificate_file = self.folder / CERTIFICATE_FILE
        self._trust_file = self.folder / TRUST_FILE

    @property
    def enrolled(self) -> bool:
        """True where all three files are there."""
        return all(file.exists() for file in (self.key_file, self.certificate_file, self._trust_file))

    @property
    def key_is_apart(self) -> bool:
        """True where the private key lies apart from the data; the daemon reads that at its start only."""
        return self.key_file.parent != self.folder

    def trust(self) -> Trust:
        """Return what was pinned. Raises NotEnrolled."""
        try:
            return msgspec.json.decode(self._trust_file.read_bytes(), type=Trust)
        except FileNotFoundError:
            raise NotEnrolled("this gateway is not enrolled; run: venue-gateway enroll URL --code CODE") from None
        except msgspec.MsgspecError as error:
            message = f"{self._trust_file} cannot be read ({error}); enrol again with --replace"
            raise NotEnrolled(message) from error

    def pin(self, trust: Trust) -> None:
        """Take upstream's keys as they are from here on."""
        self._write(self._trust_file, msgspec.json.format(msgspec.json.encode(trust)))

    def draft(self) -> Identity:
        """Return an empty identity in a folder of its own, to be made whole before it takes this one's place."""
        self._make_folder()
        fresh = Identity(self.folder.parent)
        fresh.folder = self.folder / DRAFT
        fresh.key_file, fresh.certificate_file, fresh._trust_file = (
            fresh.folder / name for name in (KEY_FILE, CERTIFICATE_FILE, TRUST_FILE)
        )
        shutil.rmtree(fresh.folder, ignore_errors=True)
        return fresh

    def become(self, fresh: Identity) -> None:
        """Take the files of a whole draft over. A crash in between leaves no identity rather than a mixed one."""
        self._trust_file.unlink(missing_ok=True)
        sync_folder(self.folder)
        if not self.key_is_apart:
            fresh.key_file.replace(self.key_file)
        else:
            # Where it lies apart it stays apart, on a disk of its own maybe.
            self._write(self.key_file, fresh.key_file.read_bytes())
            fresh.key_file.unlink()
        fresh.certificate_file.replace(self.certificate_file)
        sync_folder(self.folder)
        fresh._trust_file.replace(self._trust_file)
        fresh.folder.rmdir()
        sync_folder(self.folder)

    def make_key(self) -> None:
        """Make the key pair, where there is none."""
        self._make_folder()
        if not self.key_file.exists():
            key = ec.generate_private_key(ec.SECP256R1())
            pem = key.private_bytes(
                serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
            )
            self._write(self.key_file, pem)

    def _make_folder(self) -> None:
        make_folder(self.folder, PRIVATE_FOLDER)

    def request_pem(self, venue: str) -> str:
        """Return a certificate signing request for this key. Raises NotEnrolled for a key that others can read."""
        self._check_private()
        key = serialization.load_pem_private_key(self.key_file.read_bytes(), None)
        if not isinstance(key, ec.EllipticCurvePrivateKey):
            raise NotEnrolled(f"{self.key_file} holds no key of this gateway; enrol again with --replace")
        name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, venue)])
        request = x509.CertificateSigningRequestBuilder().subject_name(name).sign(key, hashes.SHA256())
        return request.public_bytes(serialization.Encoding.PEM).decode()

    def take_certificate(self, pem: str, venue: str) -> datetime:
        """Store a certificate for this key and this venue; returns its end. Raises NotEnrolled for any other."""
        try:
            first = x509.load_pem_x509_certificates(pem.encode())[0]
        except ValueError as error:
            raise NotEnrolled(f"upstream sent no certificate ({error})") from error
        key = serialization.load_pem_private_key(self.key_file.read_bytes(), None)
        if first.public_key() != key.public_key():
            raise NotEnrolled("upstream sent a certificate for another key")
        names = [str(one.value) for one in first.subject.get_attributes_for_oid(NameOID.COMMON_NAME)]
        if names != [venue]:
            raise NotEnrolled(f"upstream sent a certificate for {', '.join(names) or 'nobody'}, this is {venue}")
        if first.not_valid_after_utc <= datetime.now(UTC):
            raise NotEnrolled("upstream sent a certificate that has ended; look whether the clock is right here")
        self._write(self.certificate_file, pem.encode())
        return first.not_valid_after_utc

    def renewal_due(self, now: datetime) -> bool:
        """Return whether less than a third of the certificate's time is left. Raises ValueError for a broken file."""
        certificate = x509.load_pem_x509_certificates(self.certificate_file.read_bytes())[0]
        whole: timedelta = certificate.not_valid_after_utc - certificate.not_valid_before_utc
        return now >= certificate.not_valid_after_utc - whole / RENEW_PART

    def has_ended(self) -> bool:
        """Return whether the certificate is over, by this machine's clock. Raises ValueError for a broken file."""
        certificate = x509.load_pem_x509_certificates(self.certificate_file.read_bytes())[0]
        return datetime.now(UTC) >= certificate.not_valid_after_utc

    def show_to(self, context: ssl.SSLContext) -> None:
        """Let a TLS client show the certificate. Raises ssl.SSLError, and NotEnrolled for a key that others read."""
        self._check_private()
        context.load_cert_chain(self.certificate_file, self.key_file)

    def _check_private(self) -> None:
        """Raise NotEnrolled for a key that others can read, or one of two.

        The modes of what systemd hands over are its own business.
        """
        if not self.key_is_apart:
            if self.key_file.stat().st_mode & _OTHERS:
                raise NotEnrolled(f"{self.key_file} can be read by others; run: chmod 600 {self.key_file}")
            return
        beside_data = self.folder / KEY_FILE
        if beside_data.exists() and beside_data.read_bytes() != self.key_file.read_bytes():
            message = f"{beside_data} is another key than {self.key_file}, and only one of them fits the certificate"
            raise NotEnrolled(f"{message}; move the wrong one away")

    def _write(self, file: Path, content: bytes) -> None:
        """Write a file whole or not at all, readable by its owner alone."""
        draft = file.with_name(f"{file.name}.new")
        descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, PRIVATE)
        with os.fdopen(descriptor, "wb") as out:
            out.write(content)
            out.flush()
            own_like_folder(out.fileno(), file.parent)
            os.fsync(out.fileno())
        draft.replace(file)
        sync_folder(file.parent)
