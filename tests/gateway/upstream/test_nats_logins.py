"""Who may do what at a real nats-server: the users of docs/upstream.md, TLS with our own authority, `.creds` files."""

from __future__ import annotations

import asyncio
import datetime as dt
import json
import re
import ssl
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from nats.js.api import ConsumerConfig
from nats.js.errors import APIError

from gateway.config.upstream import ChangeStream, SinkEntry
from gateway.upstream.changes import Arrived
from gateway.upstream.making import make_changes, make_sink
from gateway.upstream.nats_credentials import NatsCredentials
from gateway.upstream.sinks import Sink, SinkUnavailable, Taken
from simulators.authority import Authority, Fault
from simulators.upstream_directory import digest
from tests.gateway.upstream.nats_accounts import Tenancy
from tests.gateway.upstream.nats_server import Consumer, NatsServer
from tests.gateway.upstream.served import ready_folder, venue
from tests.gateway.upstream.test_upstream_doc import PAGE

VENUE = "stadthalle"
ABOVE = {"user": "upstream", "password": "above"}


def block(begins: str, language: str = "") -> str:
    """A block of the page."""
    found = re.search(rf"```{language}\n({re.escape(begins)}.*?)```", PAGE, re.DOTALL)
    assert found is not None
    return found[1]


def secret(file: Path, text: str) -> str:
    file.touch(0o600)
    file.write_text(text)
    return str(file)


async def delivered(sink: Sink, folder: Path) -> Any:
    """Bring some events up by a sink."""
    async with venue(folder, 3) as made:
        pack = await made.outbox.pack(0)
        assert pack is not None
        try:
            return await sink.deliver(pack)
        finally:
            await sink.close()


async def why(sink: Sink, folder: Path) -> str:
    with pytest.raises(SinkUnavailable) as refused:
        await delivered(sink, folder)
    return str(refused.value)


async def changed(above: Consumer, entry: ChangeStream) -> None:
    """Bring a change down."""
    body = json.dumps({"after": 1, "cursor": 2, "changes": []}).encode()
    await above.js.publish(f"venues.{VENUE}.directory", body, headers={"Content-Digest": digest(body)})
    changes = make_changes(entry, VENUE)
    try:
        found = await changes.after(1)
        assert isinstance(found, Arrived)
        assert sha256(found.body).digest() == sha256(body).digest()
        await changes.settle(taken=True)
    finally:
        await changes.close()


# The page.


@pytest.fixture
async def of_the_page(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[NatsServer]:
    """A server with the users of the page, and the streams that its program makes."""
    monkeypatch.setenv("UPSTREAM_PASSWORD", ABOVE["password"])
    monkeypatch.setenv("STADTHALLE_PASSWORD", "hall")
    (tmp_path / "streams.py").write_text(block('"""Makes the streams', "python"))
    password = secret(tmp_path / "above.password", ABOVE["password"])
    async with NatsServer(tmp_path / "nats", block("accounts {")) as server:
        # Twice: it says that what is there stays.
        for _ in range(2):
            program = await asyncio.create_subprocess_exec(
                sys.executable, str(tmp_path / "streams.py"), server.url, ABOVE["user"], password
            )
            assert await program.wait() == 0
        yield server


async def test_the_users_and_the_streams_of_the_page_are_what_a_venue_needs(tmp_path: Path, of_the_page: NatsServer):
    login = {"username": VENUE, "password_file": secret(tmp_path / "hall.password", "hall")}
    assert await delivered(make_sink(SinkEntry(url=of_the_page.url, **login), VENUE, "bus"), tmp_path / "v") == Taken()
    async with Consumer([of_the_page.url], **ABOVE) as above:
        assert len(await above.messages()) == 1
        await changed(above, ChangeStream(url=of_the_page.url, **login))
        events, directory = [(await above.js.stream_info(name)).config for name in ("EVENTS", "DIRECTORY")]
        assert (events.storage, events.retention, events.max_msgs, events.max_bytes) == ("file", "limits", -1, -1)
        assert (events.max_age, events.duplicate_window) == (30 * 86400, 120)
        assert directory.max_msgs_per_subject == 10_000


async def test_the_user_of_one_venue_can_do_nothing_for_another(tmp_path: Path, of_the_page: NatsServer):
    login = {"username": VENUE, "password_file": secret(tmp_path / "hall.password", "hall")}
    there = make_sink(SinkEntry(url=of_the_page.url, subject="venues.arena.events", **login), VENUE, "bus")
    assert "have the user's permissions corrected" in await why(there, tmp_path / "1")
    other = make_changes(ChangeStream(url=of_the_page.url, subject="venues.arena.directory", **login), VENUE)
    with pytest.raises(SinkUnavailable, match="have the user's permissions corrected"):
        await other.after(0)
    await other.close()
    complaints: list[str] = []

    async def complained(error: Exception) -> None:
        complaints.append(str(error))

    async with Consumer([of_the_page.url], user=VENUE, password="hall", inbox_prefix="_INBOX.stadthalle") as own:
        own.client._error_cb = complained
        await own.client.subscribe("_INBOX.arena.>")
        await own.client.subscribe("venues.arena.directory")
        await own.client.flush()
        # Nor a consumer under its own name that is for the subject of another.
        with pytest.raises(APIError):
            await own.js._api_request(
                "$JS.API.CONSUMER.CREATE.DIRECTORY.venue-stadthalle.venues.stadthalle.directory",
                json.dumps(
                    {
                        "stream_name": "DIRECTORY",
                        "config": ConsumerConfig(
                            name="venue-stadthalle",
                            durable_name="venue-stadthalle",
                            filter_subject="venues.arena.directory",
                        ).as_dict(),
                    }
                ).encode(),
                timeout=2,
            )
    assert [one.count("permissions violation") for one in map(str.lower, complaints)] == [1, 1]


# TLS.


@asynccontextmanager
async def over_tls(folder: Path, fault: Fault = "", more: str = "verify: true") -> AsyncIterator[tuple[str, dict]]:
    """A server that wants a certificate of our own authority, and the files of a venue that has one."""
    authority = Authority(ready_folder(folder / "authority"))
    authority.server(fault)
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, VENUE)])
    request = x509.CertificateSigningRequestBuilder().subject_name(name).sign(key, hashes.SHA256())
    pem = request.public_bytes(serialization.Encoding.PEM).decode()
    certificate = authority.venue(pem, VENUE, dt.timedelta(days=3))
    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    files = {
        "ca_file": str(authority.file),
        "certificate_file": secret(folder / "venue.crt", certificate),
        "key_file": secret(folder / "venue.key", private.decode()),
    }
    at = json.dumps(str(folder / "authority"))[1:-1]
    settings = (
        f'tls {{cert_file: "{at}/server.crt", key_file: "{at}/server.key", ca_file: "{at}/authority.crt", {more}}}'
    )
    async with NatsServer(folder / "nats", settings) as server:
        yield f"tls://127.0.0.1:{server.port}", files


async def test_i05_with_tls_on_both_sides_events_go_up_and_changes_come_down(tmp_path: Path):
    async with over_tls(tmp_path) as (url, files):
        tls = ssl.create_default_context(cafile=files["ca_file"])
        tls.load_cert_chain(files["certificate_file"], files["key_file"])
        async with Consumer([url], tls=tls, tls_hostname="127.0.0.1") as above:
            await above.js.add_stream(name="EVENTS", subjects=["venues.*.events"])
            await above.js.add_stream(name="DIRECTORY", subjects=["venues.*.directory"])
            sink = make_sink(SinkEntry(url=url, **files), VENUE, "bus")
            assert await delivered(sink, tmp_path / "venue") == Taken()
            await changed(above, ChangeStream(url=url, **files))


async def test_what_is_wrong_with_tls_is_said_in_a_sentence(tmp_path: Path):
    async with over_tls(tmp_path) as (url, files):
        nobody = make_sink(SinkEntry(url=url, ca_file=files["ca_file"]), VENUE, "bus")
        said = await why(nobody, tmp_path / "1")
        assert "wants a certificate of this venue, look at `certificate_file`, which is not set" in said
        unknown = {name: file for name, file in files.items() if name != "ca_file"}
        assert "name that authority's file in `ca_file`" in await why(
            make_sink(SinkEntry(url=url, **unknown), VENUE, "bus"), tmp_path / "2"
        )
        (tmp_path / "venue.key").chmod(0o644)
        assert "chmod 600" in await why(make_sink(SinkEntry(url=url, **files), VENUE, "bus"), tmp_path / "3")


@pytest.mark.parametrize(
    ("fault", "said"),
    [
        ("expired", "has expired; have it renewed there"),
        ("wrong_host", "is for another host"),
        ("self_signed", "signed"),
    ],
)
async def test_a_server_with_a_wrong_certificate_gets_nothing(tmp_path: Path, fault: Fault, said: str):
    async with over_tls(tmp_path, fault) as (url, files):
        assert said in await why(make_sink(SinkEntry(url=url, **files), VENUE, "bus"), tmp_path / "venue")


async def test_a_certificate_can_be_the_login(tmp_path: Path):
    users = f'verify_and_map: true}}\nauthorization {{users: [{{user: "CN={VENUE}"}}, {{user: "CN=arena"}}]'
    async with over_tls(tmp_path, more=users) as (url, files):
        said = await why(make_sink(SinkEntry(url=url, **files), VENUE, "bus"), tmp_path / "venue")
        assert "no stream at" in said


# Credentials.


async def test_i05_with_a_credentials_file_events_go_up_and_changes_come_down(tmp_path: Path):
    tenancy = Tenancy()
    rights = re.findall(r'"([^"]+)"', block("accounts {"))
    own = secret(tmp_path / "hall.creds", tenancy.credentials(VENUE, rights[:-1], rights[-1:]))
    everything = secret(tmp_path / "above.creds", tenancy.credentials("upstream"))
    async with NatsServer(tmp_path / "nats", tenancy.settings()) as server:
        login = logged_in(everything)
        async with Consumer([server.url], **login) as above:
            await above.js.add_stream(name="EVENTS", subjects=["venues.*.events"])
            await above.js.add_stream(name="DIRECTORY", subjects=["venues.*.directory"])
            sink = make_sink(SinkEntry(url=server.url, credentials_file=own), VENUE, "bus")
            assert await delivered(sink, tmp_path / "venue") == Taken()
            await changed(above, ChangeStream(url=server.url, credentials_file=own))


def logged_in(file: str) -> dict[str, Any]:
    """The login for the test's own client."""
    known = NatsCredentials(file)
    return {"user_jwt_cb": known.token, "signature_cb": known.sign}


async def test_what_is_wrong_with_a_credentials_file_is_said_and_nothing_of_it_is_shown(tmp_path: Path):
    tenancy, stranger = Tenancy(), Tenancy()
    good = tenancy.credentials(VENUE)
    seed = re.search("SU[A-Z0-9]{50,}", good)
    assert seed is not None
    wrong = {
        "has no token in it": ("hall\n", "is no .creds file"),
        "has a damaged seed": (good.replace(seed[0], seed[0][:-1] + "?"), "is no .creds file"),
        "has a seed with a letter too many": (good.replace(seed[0], seed[0] + "AA"), "is damaged or not a user's"),
        "has a seed with another letter": (
            good.replace(seed[0], seed[0][:20] + ("A" if seed[0][20] != "A" else "B") + seed[0][21:]),
            "is damaged or not a user's",
        ),
        "is that of another operator": (stranger.credentials(VENUE), "refuses the login; look at"),
    }
    async with NatsServer(tmp_path / "nats", tenancy.settings()) as server:
        for number, (which, (text, said)) in enumerate(wrong.items()):
            file = secret(tmp_path / f"{number}.creds", text)
            sink = make_sink(SinkEntry(url=server.url, credentials_file=file), VENUE, "bus")
            told = await why(sink, tmp_path / str(number))
            assert said in told, which
            assert file in told, which
            assert not re.search("SU[A-Z0-9]{20}|eyJ", told), which
        missing = make_sink(SinkEntry(url=server.url, credentials_file=str(tmp_path / "none")), VENUE, "bus")
        assert "cannot be read" in await why(missing, tmp_path / "none-venue")
