"""The listener: encrypted where asked, bounded, and harmless where it cannot listen."""

from __future__ import annotations

import asyncio
import datetime as dt
import ssl

import aiohttp
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from gateway.config.console import ConsoleSettings
from gateway.web import server as module
from gateway.web.server import ConsoleServer
from tests.gateway.web.conftest import FakeVenue
from tests.ports import free_port


@pytest.fixture
async def server(users_file):
    one = ConsoleServer(FakeVenue(), users_file)
    yield one
    await one.close()


def certificate(folder, serial=1):
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "localhost")])
    now = dt.datetime.now(dt.UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(serial)
        .not_valid_before(now - dt.timedelta(days=1))
        .not_valid_after(now + dt.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName("localhost")]), critical=False)
        .sign(key, hashes.SHA256())
    )
    (folder / "cert.pem").write_bytes(made.public_bytes(serialization.Encoding.PEM))
    pem, pkcs8 = serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8
    (folder / "key.pem").write_bytes(key.private_bytes(pem, pkcs8, serialization.NoEncryption()))


async def test_with_a_certificate_it_is_encrypted(server, tmp_path):
    certificate(tmp_path)
    files = {"certificate_file": str(tmp_path / "cert.pem"), "private_key_file": str(tmp_path / "key.pem")}
    port = free_port()
    await server.configure(ConsoleSettings(listen=f"127.0.0.1:{port}", **files))
    trust = ssl.create_default_context(cafile=str(tmp_path / "cert.pem"))
    async with aiohttp.ClientSession() as http:
        async with http.get(f"https://localhost:{port}/", ssl=trust) as page:
            assert page.status == 200
        with pytest.raises(aiohttp.ClientError):
            await http.get(f"http://localhost:{port}/")


async def shown_serial(port):
    pem = await asyncio.to_thread(ssl.get_server_certificate, ("127.0.0.1", port), timeout=5)
    return x509.load_pem_x509_certificate(pem.encode()).serial_number


async def test_a_renewed_certificate_is_taken_at_a_reload_and_nobody_is_interrupted(server, tmp_path):
    certificate(tmp_path)
    files = {"certificate_file": str(tmp_path / "cert.pem"), "private_key_file": str(tmp_path / "key.pem")}
    port = free_port()
    settings = ConsoleSettings(listen=f"127.0.0.1:{port}", **files)
    await server.configure(settings)
    trust = ssl.create_default_context(cafile=str(tmp_path / "cert.pem"))
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=1, ssl=trust)) as http:
        async with http.get(f"https://localhost:{port}/") as page:
            await page.read()
        certificate(tmp_path, 2)
        await server.configure(settings)
        assert await shown_serial(port) == 2
        # The old connection, for the client does not know the new certificate.
        async with http.get(f"https://localhost:{port}/") as page:
            assert page.status == 200


@pytest.mark.parametrize("spoilt", ["cert.pem", "key.pem"])
async def test_a_renewed_certificate_that_is_none_leaves_the_old_one_in_force(server, tmp_path, spoilt):
    certificate(tmp_path)
    files = {"certificate_file": str(tmp_path / "cert.pem"), "private_key_file": str(tmp_path / "key.pem")}
    settings = ConsoleSettings(listen=f"127.0.0.1:{(port := free_port())}", **files)
    await server.configure(settings)
    kept = (tmp_path / spoilt).read_bytes()
    certificate(tmp_path, 2)
    (tmp_path / spoilt).write_bytes(kept)
    await server.configure(settings)
    assert await shown_serial(port) == 1


@pytest.mark.parametrize("content", [None, b"", b"no certificate"])
async def test_without_its_certificate_it_does_not_listen_and_nothing_else_happens(server, tmp_path, content):
    if content is not None:
        (tmp_path / "c.pem").write_bytes(content)
    file = str(tmp_path / "c.pem")
    port = free_port()
    await server.configure(ConsoleSettings(listen=f"127.0.0.1:{port}", certificate_file=file, private_key_file=file))
    assert not server.listens
    await server.configure(ConsoleSettings(listen=f"127.0.0.1:{port}"))
    assert server.listens


async def test_a_port_that_is_taken_is_tried_again_at_the_next_reload(server):
    taken = await asyncio.start_server(lambda _r, _w: None, "127.0.0.1", 0)
    settings = ConsoleSettings(listen=f"127.0.0.1:{taken.sockets[0].getsockname()[1]}")
    await server.configure(settings)
    assert not server.listens
    taken.close()
    await taken.wait_closed()
    await server.configure(settings)
    assert server.listens


async def ended(reader):
    try:
        return await reader.read() == b""
    except ConnectionResetError:
        return True


async def test_i09_connections_have_a_bound_and_silent_ones_an_end(server, monkeypatch):
    monkeypatch.setattr(module, "CONNECTIONS_MAX", 3)
    monkeypatch.setattr(module, "SILENT_S", 0.2)
    port = free_port()
    await server.configure(ConsoleSettings(listen=f"127.0.0.1:{port}"))
    silent = [await asyncio.open_connection("127.0.0.1", port) for _ in range(3)]
    silent[0][1].write(b"GET / HTTP/1.1\r\nHost:")
    over, _ = extra = await asyncio.open_connection("127.0.0.1", port)
    assert await over.read() == b"", "one too many is closed at once"
    for reader, _ in silent:
        async with asyncio.timeout(5):
            assert await ended(reader)
    for _, writer in (*silent, extra):
        writer.close()
    async with aiohttp.ClientSession() as http, http.get(f"http://127.0.0.1:{port}/") as page:
        assert page.status == 200


@pytest.mark.parametrize(
    "sent",
    [
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
        b"GET / HTTP/9.9\r\n\r\n",
        b"\0" * 5000,
        b"GET /" + b"x" * 9000 + b" HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: 127.0.0.1\r\nX: " + b"x" * 9000 + b"\r\n\r\n",
        b"POST /api/login HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: -1\r\n\r\n",
        b"POST /api/login HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: 127.0.0.1\r\nHost: evil\r\nConnection: close\r\n\r\n",
    ],
)
async def test_bytes_that_are_no_request_get_no_page_and_leave_no_trace(server, sent, capfd):
    port = free_port()
    await server.configure(ConsoleSettings(listen=f"127.0.0.1:{port}"))
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(sent)
    writer.write_eof()
    async with asyncio.timeout(5):
        answer = await reader.read()
    writer.close()
    assert b" 200 " not in answer.split(b"\r\n")[0] or b"Host: evil" in sent
    told = capfd.readouterr()
    assert "Traceback" not in told.out + told.err
