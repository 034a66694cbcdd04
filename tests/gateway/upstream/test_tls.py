"""Certificates that are not right are refused, each with a sentence a technician can act on."""

from __future__ import annotations

import datetime as dt
import ipaddress
import ssl
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from gateway.upstream.sinks import SinkUnavailable, Taken
from simulators.upstream import Upstream
from tests.gateway.upstream.served import https, ready_folder, venue

DAY = dt.timedelta(days=1)
Key = ec.EllipticCurvePrivateKey


class Authority:
    """Signs certificates for the loopback."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.key = ec.generate_private_key(ec.SECP256R1())
        self.file = folder / "authority.crt"
        self.file.write_bytes(self._sign("authority", self.key, "authority", is_authority=True))

    def certificate(
        self, *, days_from: int = -1, days_until: int = 1, address: str = "127.0.0.1", by_itself: bool = False
    ) -> ssl.SSLContext:
        key = ec.generate_private_key(ec.SECP256R1())
        made = self._sign(
            "upstream",
            key,
            "upstream" if by_itself else "authority",
            days_from,
            days_until,
            address,
            by_itself=by_itself,
        )
        (self.folder / "one.crt").write_bytes(made)
        (self.folder / "one.key").write_bytes(
            key.private_bytes(
                serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
            )
        )
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        context.load_cert_chain(self.folder / "one.crt", self.folder / "one.key")
        return context

    def _sign(
        self, name: str, key: Key, issuer: str, days_from: int = -9, days_until: int = 9, address: str = "127.0.0.1",
        *, is_authority: bool = False, by_itself: bool = False,
    ) -> bytes:  # fmt: skip
        now = dt.datetime.now(dt.UTC)
        authority = self.key.public_key()
        return (
            x509.CertificateBuilder()
            .subject_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)]))
            .issuer_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, issuer)]))
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now + days_from * DAY)
            .not_valid_after(now + days_until * DAY)
            .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address(address))]), critical=False)
            .add_extension(x509.BasicConstraints(ca=is_authority, path_length=None), critical=True)
            .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
            .add_extension(
                x509.AuthorityKeyIdentifier.from_issuer_public_key(key.public_key() if by_itself else authority),
                critical=False,
            )
            .add_extension(
                x509.KeyUsage(True, False, False, False, False, is_authority, is_authority, False, False),
                critical=True,
            )
            .sign(key if by_itself else self.key, hashes.SHA256())
            .public_bytes(serialization.Encoding.PEM)
        )


@asynccontextmanager
async def serving(folder: Path, tls: ssl.SSLContext) -> AsyncIterator[str]:
    upstream = Upstream(ready_folder(folder))
    port = await upstream.start(0, tls)
    try:
        yield f"https://127.0.0.1:{port}"
    finally:
        await upstream.stop()


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    return Authority(tmp_path)


async def deliver(folder: Path, tls: ssl.SSLContext, **options: str) -> object:
    async with venue(folder / "venue", 3) as made, serving(folder / "upstream", tls) as url:
        pack = await made.outbox.pack(0)
        assert pack is not None
        sink = https(url, **options)
        try:
            return await sink.deliver(pack)
        finally:
            await sink.close()


async def test_a_right_certificate_is_taken(tmp_path: Path, authority: Authority):
    assert await deliver(tmp_path, authority.certificate(), ca_file=str(authority.file)) == Taken()


WRONG: dict[str, tuple[Callable[[Authority], ssl.SSLContext], str]] = {
    "expired": (
        lambda ca: ca.certificate(days_from=-3, days_until=-1),
        "the certificate of 127.0.0.1 has expired; have it renewed there, and look whether the clock is right here",
    ),
    "not yet": (
        lambda ca: ca.certificate(days_from=1, days_until=3),
        "the certificate of 127.0.0.1 does not count yet; look whether the clock is right here",
    ),
    "self-signed": (
        lambda ca: ca.certificate(by_itself=True),
        (
            "the certificate of 127.0.0.1 is signed by itself; "
            "if it is the right one, name its authority's file in `ca_file`"
        ),
    ),
    "wrong host": (
        lambda ca: ca.certificate(address="127.0.0.2"),
        (
            "the certificate of 127.0.0.1 is for another host; "
            "write the name that stands in it into `url`, or have it made anew"
        ),
    ),
}


@pytest.mark.parametrize("wrong", WRONG)
async def test_a_wrong_certificate_is_refused_in_words(tmp_path: Path, authority: Authority, wrong: str):
    make, sentence = WRONG[wrong]
    with pytest.raises(SinkUnavailable) as refused:
        await deliver(tmp_path, make(authority), ca_file=str(authority.file))
    assert str(refused.value) == sentence


async def test_an_authority_that_nobody_knows_is_refused_in_words(tmp_path: Path, authority: Authority):
    with pytest.raises(SinkUnavailable) as refused:
        await deliver(tmp_path, authority.certificate())
    assert str(refused.value) == (
        "nobody here knows who signed the certificate of 127.0.0.1; name that authority's file in `ca_file`"
    )


async def test_a_ca_file_that_is_none_is_said_so(tmp_path: Path, authority: Authority):
    (tmp_path / "none.pem").write_text("nothing")
    with pytest.raises(SinkUnavailable, match=r"none\.pem cannot be used as `ca_file`"):
        await deliver(tmp_path, authority.certificate(), ca_file=str(tmp_path / "none.pem"))


async def test_plain_http_behind_https_is_said_so(tmp_path: Path):
    upstream = Upstream(ready_folder(tmp_path / "upstream"))
    port = await upstream.start(0)
    async with venue(tmp_path / "venue", 1) as made:
        pack = await made.outbox.pack(0)
        assert pack is not None
        sink = https(f"https://127.0.0.1:{port}")
        with pytest.raises(SinkUnavailable, match="is there an https server on this port"):
            await sink.deliver(pack)
        await sink.close()
    await upstream.stop()
