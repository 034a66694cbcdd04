"""The venue's own small certificate authority: for the broker's certificate and the console's, and for nothing else.

Tablets know the authority by its fingerprint, which they scan together with their password, so no public authority, no
domain name and no internet are needed. Certificates are X.509 (RFC 5280) with keys on P-256, which every library with
TLS 1.2 speaks; the broker's names the hosts and addresses it is reached at.
"""

from __future__ import annotations

import datetime as dt
import ipaddress
import os
import socket
from collections.abc import Sequence
from pathlib import Path

import msgspec
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from gateway.store.database import sync_folder
from gateway.store.owners import make_folder, own_like_folder

AUTHORITY_DAYS = 3650
BROKER_DAYS = 825
"""What Apple's devices accept at most of an authority that a user added (support.apple.com/HT210176)."""
RENEW_BEFORE_DAYS = 90
NOWHERE = "192.0.2.1"
"""A documentation address (RFC 5737). Choosing a way there sends nothing and tells this computer's own address."""
BACKDATED_DAYS = 1
"""A computer without a clock battery may believe that it is a little earlier than it was."""
SECRET, PUBLIC, SHARED = 0o600, 0o644, 0o640
_PRIVATE = ("10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "fc00::/7")
_THIS_LINK = ("169.254.0.0/16", "fe80::/10", "127.0.0.0/8", "::1/128")
LOCAL_NETWORKS = tuple(ipaddress.ip_network(one) for one in (*_PRIVATE, *_THIS_LINK))
LOCAL_DOMAINS = ("local", "localhost")
"""Whatever the authority's key is stolen for, tablets that trust it believe it of nothing else than the venue."""
HANDED_OVER = "tls"
"""The folder under the state folder with what the gateway may know: the console's pair, and the others' public part."""


class Certificates(msgspec.Struct, frozen=True):
    """Where the certificates are. `broker` holds the broker's and the authority's, as the broker shows them."""

    authority: Path
    broker: Path
    broker_key: Path
    changed: bool

    @property
    def fingerprint(self) -> str:
        """SHA-256 of the authority's certificate in DER, as 64 hex digits."""
        return _load(self.authority).fingerprint(hashes.SHA256()).hex()

    @property
    def names(self) -> list[str]:
        """Host names and addresses that the broker's certificate is for."""
        return names_of(self.broker)


def ensure_certificates(
    folder: Path, venue: str, names: Sequence[str], now: dt.datetime, further: Sequence[str] = ()
) -> Certificates:
    """Make what is missing in `folder` and renew what expires soon or is for other `names`; keep the rest.

    A new authority means that every tablet must be told anew, so it is made only where there never was one. It may sign
    for private addresses, for `.local`, and for the `names` and `further` names that are known when it is made. Raises
    OSError, and ValueError when what lies there is no certificate, lacks its authority or may not sign for a name.
    """
    authority, key_file = folder / "ca.crt", folder / "ca.key"
    broker, broker_key = folder / "broker.crt", folder / "broker.key"
    if not authority.exists():
        # A key alone is what a power cut leaves of the first time.
        if broker.exists():
            raise ValueError(_lost(folder, authority.name))
        _make_authority(authority, key_file, venue, now, [*names, *further])
    changed = not _fits(broker, broker_key, authority, names, now)
    if changed:
        _issue(folder, broker, broker_key, names, now, SHARED)
    return Certificates(authority, broker, broker_key, changed)


def _lost(folder: Path, name: str) -> str:
    return (
        f"{name} of the venue's authority is gone, and no tablet would believe another one; put ca.crt and ca.key back "
        f"into {folder} from your copy. Without a copy move what is left of ca.* and broker.* away, run this again, "
        f"and let every tablet scan anew"
    )


def hand_over(folder: Path, state_dir: Path, names: Sequence[str], now: dt.datetime) -> bool:
    """Give the gateway a certificate for its console, for `names`, and the public part of what lies in `folder`.

    The gateway may not enter `folder`, where the authority's key is. Returns True when the console's certificate is
    new. Raises OSError and ValueError as `ensure_certificates`, which comes first.
    """
    shown = state_dir / HANDED_OVER
    make_folder(shown, 0o700)
    for name in ("ca.crt", "broker.crt"):
        content = (folder / name).read_bytes()
        if not (shown / name).exists() or (shown / name).read_bytes() != content:
            _write(shown / name, content, PUBLIC)
    console, key = shown / "console.crt", shown / "console.key"
    changed = not _fits(console, key, folder / "ca.crt", names, now)
    if changed:
        _issue(folder, console, key, names, now, SECRET)
    return changed


def due(folder: Path, state_dir: Path, now: dt.datetime) -> bool:
    """Say whether a certificate of the two pairs must be made anew, for the names that it has. Raises as the others."""
    pairs = [(folder / "broker.crt", folder / "broker.key")]
    pairs.append((state_dir / HANDED_OVER / "console.crt", state_dir / HANDED_OVER / "console.key"))
    return any(not one.exists() or not _fits(one, key, folder / "ca.crt", names_of(one), now) for one, key in pairs)


def own_names() -> list[str]:
    """Return how tablets may reach this computer: its address in the local network, its name, its name by mDNS."""
    host = socket.gethostname().lower()
    names = [host, f"{host}.local"] if "." not in host else [host]
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as way:
        try:
            way.connect((NOWHERE, 9))
            names.insert(0, way.getsockname()[0])
        except OSError:
            # No network yet; its name will do, and --name adds what is missing.
            pass
    return names


def names_of(certificate: Path) -> list[str]:
    """Return the host names and addresses that a certificate is for, in its order."""
    found = _load(certificate).extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    return [str(one.value) for one in found]


def _fits(broker: Path, key: Path, authority: Path, names: Sequence[str], now: dt.datetime) -> bool:
    """Say whether a certificate may stay: its names, its key, who signed it, and how long it still holds."""
    if not (broker.exists() and key.exists()) or names_of(broker) != list(names):
        return False
    certificate = _load(broker)
    if (
        not _belongs(certificate, key)
        or certificate.issuer != _load(authority).subject
        or f"{authority.read_text()}" not in broker.read_text()
    ):
        return False
    return certificate.not_valid_after_utc - now > dt.timedelta(days=RENEW_BEFORE_DAYS)


def _belongs(certificate: x509.Certificate, key_file: Path) -> bool:
    """Say whether this is the key of the certificate: a power cut may have come between the two, or a copy."""
    try:
        key = serialization.load_pem_private_key(key_file.read_bytes(), password=None)
    except (ValueError, TypeError):
        return False
    return key.public_key() == certificate.public_key()


def _make_authority(file: Path, key_file: Path, venue: str, now: dt.datetime, names: Sequence[str]) -> None:
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, f"Venue Gateway, {venue}"[:64])])
    made = (
        _builder(subject, subject, key.public_key(), now, AUTHORITY_DAYS)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(_usage(signs_certificates=True), critical=True)
        .add_extension(x509.NameConstraints(_permitted(names), None), critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .sign(key, hashes.SHA256())
    )
    _write(key_file, _pem(key), SECRET, keep=True)
    _write(file, made.public_bytes(serialization.Encoding.PEM), PUBLIC)


def _permitted(names: Sequence[str]) -> list[x509.GeneralName]:
    """Return what the authority may sign for, of RFC 5280, 4.2.1.10: a domain stands for all that is in it too."""
    allowed: list[x509.GeneralName] = [x509.DNSName(one) for one in LOCAL_DOMAINS]
    allowed += [x509.IPAddress(one) for one in LOCAL_NETWORKS]
    for name in map(_name, names):
        if not _covered(name, allowed):
            known = isinstance(name, x509.IPAddress)
            allowed.append(x509.IPAddress(ipaddress.ip_network(name.value)) if known else name)
    return allowed


def _covered(name: x509.GeneralName, allowed: Sequence[x509.GeneralName]) -> bool:
    if isinstance(name, x509.IPAddress):
        # Networks of the other version contain no address of this one.
        networks = [ipaddress.ip_network(str(one.value)) for one in allowed if isinstance(one, x509.IPAddress)]
        return any(ipaddress.ip_address(str(name.value)) in one for one in networks)
    return any(f".{name.value}".endswith(f".{one.value}") for one in allowed if isinstance(one, x509.DNSName))


def _refuse_foreign(authority: x509.Certificate, names: Sequence[str]) -> None:
    """Raise ValueError for a name that no tablet would believe of this authority; older ones have no such bound."""
    try:
        allowed = authority.extensions.get_extension_for_class(x509.NameConstraints).value.permitted_subtrees or []
    except x509.ExtensionNotFound:
        return
    for name in names:
        if not _covered(_name(name), allowed):
            raise ValueError(
                f"the authority may not sign for {name}, which was not known when it was made; use a private address "
                f"or a name in .local, or move ca.* and broker.* away and let every tablet scan anew"
            )


def _issue(
    folder: Path, certificate: Path, key_file: Path, names: Sequence[str], now: dt.datetime, key_mode: int
) -> None:
    if not (folder / "ca.key").exists():
        raise ValueError(_lost(folder, "ca.key"))
    authority, signer = _load(folder / "ca.crt"), _load_key(folder / "ca.key")
    if authority.public_key() != signer.public_key():
        raise ValueError(f"{folder / 'ca.key'} is not the key of ca.crt; restore the two from one backup")
    _refuse_foreign(authority, names)
    key = ec.generate_private_key(ec.SECP256R1())
    # A common name that looks like a host would be held against the authority's bounds as one, also where it is none.
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, f"{certificate.stem} of the venue")])
    days = min(BROKER_DAYS, (authority.not_valid_after_utc - now).days)
    made = (
        _builder(subject, authority.subject, key.public_key(), now, days)
        .add_extension(x509.SubjectAlternativeName([_name(one) for one in names]), critical=False)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(_usage(signs_certificates=False), critical=True)
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(signer.public_key()), critical=False)
        .sign(signer, hashes.SHA256())
    )
    # The key is first: where the power goes between the two, they do not fit, and the next time both are made anew.
    _write(key_file, _pem(key), key_mode)
    # The authority goes with it, so that a tablet that knows only its fingerprint can follow the chain.
    chain = made.public_bytes(serialization.Encoding.PEM) + (folder / "ca.crt").read_bytes()
    _write(certificate, chain, PUBLIC)


def _builder(
    subject: x509.Name, issuer: x509.Name, key: ec.EllipticCurvePublicKey, now: dt.datetime, days: int
) -> x509.CertificateBuilder:
    return x509.CertificateBuilder(
        issuer_name=issuer,
        subject_name=subject,
        public_key=key,
        serial_number=x509.random_serial_number(),
        not_valid_before=now - dt.timedelta(days=BACKDATED_DAYS),
        not_valid_after=now + dt.timedelta(days=days),
    )


def _usage(*, signs_certificates: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=not signs_certificates,
        key_cert_sign=signs_certificates,
        crl_sign=signs_certificates,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        encipher_only=False,
        decipher_only=False,
    )


def _name(text: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(text))
    except ValueError:
        return x509.DNSName(text)


def _load(file: Path) -> x509.Certificate:
    return x509.load_pem_x509_certificate(file.read_bytes())


def _load_key(file: Path) -> ec.EllipticCurvePrivateKey:
    key = serialization.load_pem_private_key(file.read_bytes(), password=None)
    if not isinstance(key, ec.EllipticCurvePrivateKey):
        raise TypeError(f"{file} is no key of this authority; restore it from a backup")
    return key


def _pem(key: ec.EllipticCurvePrivateKey) -> bytes:
    return key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )


def _write(file: Path, content: bytes, mode: int, *, keep: bool = False) -> None:
    """Write by rename, with its mode from the first byte. The authority's key is for whoever made it to `keep`."""
    new = file.with_name(f".{file.name}.new")
    new.unlink(missing_ok=True)
    descriptor = os.open(new, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode)
    with os.fdopen(descriptor, "wb") as stream:
        stream.write(content)
        if not keep:
            own_like_folder(descriptor, file.parent)
        stream.flush()
        os.fsync(descriptor)
    new.replace(file)
    sync_folder(file.parent)
