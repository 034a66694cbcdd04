"""An authority that signs certificates: of the reference upstream's own server, and of the venues that enrol."""

from __future__ import annotations

import datetime as dt
import ipaddress
import ssl
from pathlib import Path
from typing import Literal, get_args

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.types import CertificatePublicKeyTypes
from cryptography.x509.oid import NameOID

DAY = dt.timedelta(days=1)
AUTHORITY = "authority"
Fault = Literal["", "expired", "not_yet", "self_signed", "wrong_host"]
FAULTS: tuple[str, ...] = tuple(one for one in get_args(Fault) if one)
Key = ec.EllipticCurvePrivateKey


class Authority:
    """Lives in a folder: `authority.crt` is what others trust. It begins anew where there is none."""

    def __init__(self, folder: Path) -> None:
        """Make the authority, or take the one that is in `folder`."""
        self._folder = folder
        self.file = folder / "authority.crt"
        key_file = folder / "authority.key"
        if key_file.exists():
            self._key = _read_key(key_file)
            return
        self._key = ec.generate_private_key(ec.SECP256R1())
        _write_key(key_file, self._key)
        certificate = self._sign(AUTHORITY, self._key.public_key(), dt.timedelta(days=-9), 9 * DAY, is_authority=True)
        self.file.write_bytes(_pem(certificate))

    def server(self, fault: Fault = "") -> ssl.SSLContext:
        """Return TLS for a server on the loopback, as wrong as it is wanted; venues it knows by this authority."""
        key = ec.generate_private_key(ec.SECP256R1())
        begins, ends = {"expired": (-3 * DAY, -DAY), "not_yet": (DAY, 3 * DAY)}.get(fault, (-DAY, DAY))
        address = "127.0.0.2" if fault == "wrong_host" else "127.0.0.1"
        own = key if fault == "self_signed" else None
        certificate = self._sign("upstream", key.public_key(), begins, ends, address=address, own=own)
        (self._folder / "server.crt").write_bytes(_pem(certificate))
        _write_key(self._folder / "server.key", key)
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        context.load_cert_chain(self._folder / "server.crt", self._folder / "server.key")
        context.verify_mode = ssl.CERT_OPTIONAL
        context.load_verify_locations(self.file)
        return context

    def venue(self, request_pem: str, venue: str, lasts: dt.timedelta = 90 * DAY) -> str:
        """Return a certificate, as PEM, for the key of a signing request. Raises ValueError for none."""
        request = x509.load_pem_x509_csr(request_pem.encode())
        if not request.is_signature_valid:
            raise ValueError("the request is not signed with its own key")
        begins = min(dt.timedelta(0), lasts) - min(abs(lasts), DAY)
        return _pem(self._sign(venue, request.public_key(), begins, lasts)).decode()

    def _sign(
        self,
        name: str,
        key: CertificatePublicKeyTypes,
        begins: dt.timedelta,
        ends: dt.timedelta,
        *,
        address: str = "127.0.0.1",
        own: Key | None = None,
        is_authority: bool = False,
    ) -> x509.Certificate:
        now, authority = dt.datetime.now(dt.UTC), self._key.public_key()
        usage = x509.KeyUsage(
            digital_signature=True, content_commitment=False, key_encipherment=False, data_encipherment=False,
            key_agreement=False, key_cert_sign=is_authority, crl_sign=is_authority, encipher_only=False,
            decipher_only=False,
        )  # fmt: skip
        issuer = authority if own is None else own.public_key()
        return (
            x509.CertificateBuilder()
            .subject_name(_name(name))
            .issuer_name(_name(name if own is not None else AUTHORITY))
            .public_key(key)
            .serial_number(x509.random_serial_number())
            .not_valid_before(now + begins)
            .not_valid_after(now + ends)
            .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address(address))]), critical=False)
            .add_extension(x509.BasicConstraints(ca=is_authority, path_length=None), critical=True)
            .add_extension(x509.SubjectKeyIdentifier.from_public_key(key), critical=False)
            .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(issuer), critical=False)
            .add_extension(usage, critical=True)
            .sign(self._key if own is None else own, hashes.SHA256())
        )


def _name(name: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])


def _pem(certificate: x509.Certificate) -> bytes:
    return certificate.public_bytes(serialization.Encoding.PEM)


def _write_key(file: Path, key: Key) -> None:
    file.touch(0o600)
    file.write_bytes(
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )


def _read_key(file: Path) -> Key:
    key = serialization.load_pem_private_key(file.read_bytes(), None)
    if not isinstance(key, ec.EllipticCurvePrivateKey):
        raise TypeError(f"{file} holds another kind of key")
    return key
