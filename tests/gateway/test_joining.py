"""A tablet joins: certificates, TLS, WebSockets and the code it scans, with a real Mosquitto."""

from __future__ import annotations

import asyncio
import contextlib
import datetime as dt
import getpass
import json
import os
import shutil
import ssl
import stat
import subprocess
import tempfile
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import aiohttp
import aiomqtt
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from PIL import Image

from gateway import cli, joining
from gateway.client import NotConnected, VenueClient
from gateway.config.loading import load
from gateway.devices.registry import kinds
from gateway.mqtt.authority import ensure_certificates, hand_over
from gateway.mqtt.broker_files import Listener, write_broker_files
from gateway.web.server import ConsoleServer
from tests.e2e.broker import listens
from tests.e2e.bulletin import poll
from tests.gateway.mqtt.broker import BrokerProcess, free_port
from tests.gateway.web.conftest import FakeVenue

YAML = """\
# The club's own file, with its own words.
venue: {{id: club, timezone: Europe/Berlin, currency: EUR}}
broker: unix://{folder}/m.sock
state_dir: state
devices:
  bar-printer: {{driver: escpos, connect: "tcp://127.0.0.1:9"}}  # behind the bar
clients:
  door: {{may: {{gateway: [status]}}}}
"""
BAR = ("client", "add", "bar", "--may", "bar-printer=print,status")


class Club:
    """A venue's folder, its broker, and its command line."""

    def __init__(self) -> None:
        self.broker = BrokerProcess("#")
        self.folder = self.broker.directory
        self.tls, self.wss = self.broker.port, free_port()
        self.config = self.folder / "club.yaml"
        self.config.write_text(YAML.format(folder=self.folder))

    def run(self, *words: str) -> int:
        return cli.main([*words, "--folder", str(self.folder), "--config", str(self.config)])

    def apply(self, *more: str) -> int:
        listen = ("--tls", f"127.0.0.1:{self.tls}", "--websockets", f"127.0.0.1:{self.wss}")
        return self.run("broker", "apply", *listen, "--name", "127.0.0.1", "--user", getpass.getuser(), *more)

    @property
    def pid(self) -> str:
        assert self.broker._process is not None
        return str(self.broker._process.pid)

    def password(self, name: str) -> str:
        return (self.folder / "state/clients" / f"{name}.password").read_text().strip()

    def client(self, name: str | None, password: str | None = None, *, websockets: bool = False) -> aiomqtt.Client:
        return aiomqtt.Client(
            "127.0.0.1",
            self.wss if websockets else self.tls,
            username=name,
            password=password or (self.password(name) if name else None),
            transport="websockets" if websockets else "tcp",
            tls_context=ssl.create_default_context(cafile=str(self.folder / "ca.crt")),
            protocol=aiomqtt.ProtocolVersion.V5,
            timeout=5,
        )


@pytest.fixture
def club(monkeypatch: pytest.MonkeyPatch) -> Iterator[Club]:
    monkeypatch.setattr(joining, "SYSTEMD_RUNS", Path("/nowhere"))
    one = Club()
    yield one
    shutil.rmtree(one.folder, ignore_errors=True)


@pytest.fixture
async def running(club: Club) -> AsyncIterator[Club]:
    assert club.apply() == 0
    async with club.broker:
        # The two listeners open one after the other.
        await poll(lambda: listens(club.wss), "WebSockets are listened for")
        yield club


@pytest.mark.parametrize("websockets", [False, True])
async def test_a_tablet_comes_by_tls_and_by_websockets_with_its_own_password(running: Club, websockets: bool) -> None:
    async with running.client("door", websockets=websockets) as door:
        await door.subscribe("venue/club/gateway/+", qos=1)


@pytest.mark.parametrize("websockets", [False, True])
@pytest.mark.parametrize(("name", "password"), [(None, None), ("door", "wrong"), ("door", ""), ("admin", "admin")])
async def test_nobody_comes_without_a_right_password(
    running: Club, websockets: bool, name: str | None, password: str | None
) -> None:
    with pytest.raises(aiomqtt.MqttError):
        async with running.client(name, password or " " if name else None, websockets=websockets):
            pass


async def test_plain_text_gets_no_answer(running: Club) -> None:
    for port in (running.tls, running.wss):
        with pytest.raises(aiomqtt.MqttError):
            async with aiomqtt.Client("127.0.0.1", port, username="door", password=running.password("door"), timeout=1):
                pass


async def test_the_chain_ends_at_the_fingerprint_that_was_scanned(running: Club) -> None:
    command = ["openssl", "s_client", "-showcerts", "-connect", f"127.0.0.1:{running.tls}"]
    process = await asyncio.create_subprocess_exec(
        *command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
    )
    shown, _ = await process.communicate()
    parts = shown.decode().split("-----BEGIN CERTIFICATE-----")[1:]
    pem = "-----BEGIN CERTIFICATE-----" + parts[-1].partition("-----END")[0] + "-----END CERTIFICATE-----\n"
    authority = x509.load_pem_x509_certificate((running.folder / "ca.crt").read_bytes())
    shown_last = x509.load_pem_x509_certificate(pem.encode())
    assert shown_last.fingerprint(hashes.SHA256()) == authority.fingerprint(hashes.SHA256())


async def test_a_new_tablet_joins_while_the_others_stay_connected(
    running: Club, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    authority = (running.folder / "ca.crt").read_bytes()
    async with running.client("door") as door:
        await door.subscribe("venue/club/gateway/+", qos=1)
        assert running.run(*BAR, "--png", str(tmp_path / "bar.png")) == 0
        assert running.apply("--pid", running.pid) == 0
        running.broker.pause(1)  # SIGHUP
        async with asyncio.timeout(5):
            while True:
                with contextlib.suppress(aiomqtt.MqttError):
                    async with running.client("bar") as bar:
                        await bar.subscribe("venue/club/gateway/+", qos=1)
                        break
        # Were its connection gone, this would raise.
        await door.subscribe("venue/club/clients/door/#", qos=1)
    text = running.config.read_text()
    assert "# behind the bar" in text
    assert "bar-printer:" in text.split("clients:")[1]
    assert (running.folder / "ca.crt").read_bytes() == authority
    told = capsys.readouterr().out
    assert f"password {running.password('bar')}" in told
    assert "█" in told
    assert stat.S_IMODE((tmp_path / "bar.png").stat().st_mode) == 0o600
    with Image.open(tmp_path / "bar.png") as picture:
        assert picture.size[0] > 100


def shown_serial(port: int) -> int:
    """The number of the certificate that is shown at a port."""
    pem = ssl.get_server_certificate(("127.0.0.1", port), timeout=5)
    return x509.load_pem_x509_certificate(pem.encode()).serial_number


async def test_a_new_certificate_is_shown_at_both_ports_after_what_is_told(
    running: Club, capsys: pytest.CaptureFixture[str]
) -> None:
    before = shown_serial(running.tls)
    assert shown_serial(running.wss) == before
    assert running.apply("--pid", running.pid, "--name", "gateway.local") == 0
    told = capsys.readouterr().out
    assert "read its files again" not in told
    assert f"kill {running.pid}; mosquitto -c {running.folder / 'mosquitto.conf'}" in told
    await running.broker.kill()
    await running.broker.start()
    await poll(lambda: listens(running.wss), "WebSockets are listened for")
    made = x509.load_pem_x509_certificate((running.folder / "broker.crt").read_bytes()).serial_number
    assert made != before
    assert [shown_serial(port) for port in (running.tls, running.wss)] == [made, made]


def test_systemd_restarts_the_broker_for_a_certificate_and_reloads_it_for_a_grant(
    club: Club, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    asked, program = tmp_path / "asked", tmp_path / "systemctl"
    program.write_text(f'#!/bin/sh\necho "$*" >>{asked}\n')
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    monkeypatch.setattr(joining, "SYSTEMD_RUNS", tmp_path)
    assert club.apply() == 0
    assert club.apply("--name", "gateway.local") == 0
    assert "clients connect again by themselves" in capsys.readouterr().out
    club.config.write_text(club.config.read_text().replace("[status]", "[status, replay]"))
    assert club.apply("--name", "gateway.local") == 0
    assert asked.read_text().splitlines() == [
        "restart mosquitto.service",
        "restart mosquitto.service",
        "reload-or-restart mosquitto.service",
    ]


async def test_a_browser_that_trusts_the_authority_reaches_the_console(club: Club) -> None:
    state, port = club.folder / "state", free_port()
    pair = f"certificate_file: {state}/tls/console.crt, private_key_file: {state}/tls/console.key"
    page = f'console: {{listen: "127.0.0.1:{port}", hosts: [localhost], {pair}}}\n'
    club.config.write_text(club.config.read_text() + page)
    assert club.apply() == 0
    assert stat.S_IMODE((state / "tls").stat().st_mode) == 0o700
    assert stat.S_IMODE((state / "tls/console.key").stat().st_mode) == 0o600
    settings = load(club.config, kinds()).console
    server = ConsoleServer(FakeVenue(), state / "users.json")
    await server.configure(settings)
    assert server.listens
    trust = ssl.create_default_context(cafile=str(state / "tls/ca.crt"))
    async with aiohttp.ClientSession() as http:
        for host in ("127.0.0.1", "localhost"):
            async with http.get(f"https://{host}:{port}/tablet", ssl=trust) as answer:
                assert answer.status == 200
        # A tablet that has not installed the authority says so instead.
        with pytest.raises(aiohttp.ClientConnectorCertificateError):
            await http.get(f"https://127.0.0.1:{port}/tablet")
    await server.close()


# The MQTT library leaves the socket of a failed handshake to the garbage collector.
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
async def test_an_ended_certificate_is_named_to_the_client_and_the_renewal_mends_it(
    club: Club, capsys: pytest.CaptureFixture[str]
) -> None:
    ago = dt.datetime.now(dt.UTC) - dt.timedelta(days=900)
    club.folder.mkdir(exist_ok=True)
    ensure_certificates(club.folder, "club", ["127.0.0.1"], ago)
    made = club.folder / "broker.crt", club.folder / "broker.key"
    (club.folder / "state").mkdir()
    hand_over(club.folder, club.folder / "state", ["127.0.0.1"], ago)
    files = load(club.config, kinds())
    place = Listener(club.tls, "127.0.0.1", *map(str, made))
    write_broker_files(files, club.folder, listener=place, user=getpass.getuser())
    code = {"v": 1, "venue": "club", "mqtts": f"127.0.0.1:{club.tls}", "user": "door"}
    code |= {"password": club.password("door"), "ca_sha256": fingerprint(club)}
    async with club.broker:
        with pytest.raises(NotConnected, match="certificate has expired"):
            async with await VenueClient.join(json.dumps(code)):
                pass
        assert club.apply("--only-if-due") == 0
        assert fingerprint(club) == code["ca_sha256"], "no tablet scans anew"
        await club.broker.kill()
        await club.broker.start()
        async with club.client("door"):
            pass
        assert club.apply("--only-if-due") == 0
        assert "No certificate is due" in capsys.readouterr().out


def fingerprint(club: Club) -> str:
    authority = x509.load_pem_x509_certificate((club.folder / "ca.crt").read_bytes())
    return authority.fingerprint(hashes.SHA256()).hex()


async def test_a_console_whose_certificate_has_ended_is_refused_and_the_renewal_mends_it(club: Club) -> None:
    state, port = club.folder / "state", free_port()
    pair = f"certificate_file: {state}/tls/console.crt, private_key_file: {state}/tls/console.key"
    club.config.write_text(club.config.read_text() + f'console: {{listen: "127.0.0.1:{port}", {pair}}}\n')
    ago = dt.datetime.now(dt.UTC) - dt.timedelta(days=900)
    ensure_certificates(club.folder, "club", ["127.0.0.1"], ago)
    state.mkdir()
    hand_over(club.folder, state, ["127.0.0.1"], ago)
    settings = load(club.config, kinds()).console
    server = ConsoleServer(FakeVenue(), state / "users.json")
    await server.configure(settings)
    trust = ssl.create_default_context(cafile=str(state / "tls/ca.crt"))
    async with aiohttp.ClientSession() as http:
        with pytest.raises(aiohttp.ClientConnectorCertificateError, match="certificate has expired"):
            await http.get(f"https://127.0.0.1:{port}/tablet", ssl=trust)
        assert club.apply("--only-if-due") == 0
        await server.configure(settings)
        async with http.get(f"https://127.0.0.1:{port}/tablet", ssl=trust) as answer:
            assert answer.status == 200
    await server.close()


def test_the_code_tells_where_whom_to_trust_and_who_one_is(club: Club) -> None:
    assert club.apply() == 0
    certificates = joining.Certificates(club.folder / "ca.crt", club.folder / "broker.crt", club.folder / "x", False)
    told = json.loads(joining.invitation("club", certificates, (("", 8883), ("", 8884)), "bar", "secret"))
    assert told == {
        "v": 1,
        "venue": "club",
        "mqtts": "127.0.0.1:8883",
        "wss": "127.0.0.1:8884",
        "ca_sha256": certificates.fingerprint,
        "user": "bar",
        "password": "secret",
    }


def test_a_new_password_locks_the_lost_tablet_out(club: Club) -> None:
    assert club.apply() == 0
    before = club.password("door")
    assert club.run("client", "add", "door", "--new-password") == 0
    assert club.password("door") != before
    after = club.password("door")
    assert club.run("client", "add", "door") == 0
    assert club.password("door") == after


def test_applying_twice_changes_nothing(club: Club, capsys: pytest.CaptureFixture[str]) -> None:
    assert club.apply() == 0
    before = {file.name: file.read_bytes() for file in club.folder.iterdir() if file.is_file()}
    assert club.apply() == 0
    assert {file.name: file.read_bytes() for file in club.folder.iterdir() if file.is_file()} == before
    assert "Nothing has changed" in capsys.readouterr().out


def test_what_is_not_said_again_stays_as_it_is(club: Club, capsys: pytest.CaptureFixture[str]) -> None:
    assert club.apply() == 0
    assert club.run("broker", "apply") == 0
    assert "Nothing has changed" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("client", "add", "bar"), "bar is new: say what it may ask"),
        ((*BAR[:4], "bar-printer=fly"), "stays as it was"),
        ((*BAR[:4], "no-such=print"), "stays as it was"),
    ],
)
def test_a_tablet_that_cannot_join_changes_nothing(
    club: Club, words: tuple[str, ...], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert club.apply() == 0
    before = club.config.read_bytes()
    assert club.run(*words) == 1
    assert said in capsys.readouterr().err
    assert club.config.read_bytes() == before
    assert not list(club.folder.glob(".club*"))


def test_a_broker_that_the_page_may_not_reach_is_told(club: Club, capsys: pytest.CaptureFixture[str]) -> None:
    club.config.write_text(club.config.read_text() + "console: {listen: '127.0.0.1:8443'}\n")
    told = "only once that stands under `console: hosts:`"
    assert club.apply() == 0
    assert told not in capsys.readouterr().out
    assert club.run("broker", "apply", "--name", "10.0.0.7") == 0
    assert f"at 10.0.0.7 {told}" in capsys.readouterr().out


def test_a_mistake_in_a_grant_is_told_of_the_file_that_people_know(
    club: Club, capsys: pytest.CaptureFixture[str]
) -> None:
    club.apply()
    assert club.run("client", "add", "door2", "--may", "nothing=print") == 1
    assert capsys.readouterr().err.startswith(f"{club.config}:")
    assert not list(club.folder.glob(".*.new"))


def test_a_file_that_upstream_may_order_stays_where_it_lies(club: Club) -> None:
    club.apply()
    elsewhere = club.folder / "config"
    elsewhere.mkdir()
    club.config.rename(elsewhere / club.config.name)
    club.config.symlink_to(elsewhere / club.config.name)
    assert club.run(*BAR) == 0
    assert club.config.is_symlink()
    assert "bar:" in (elsewhere / club.config.name).read_text()


def test_a_tablet_is_told_to_wait_for_the_broker(club: Club, capsys: pytest.CaptureFixture[str]) -> None:
    assert club.run(*BAR) == 1
    assert "run `venue-gateway broker apply` first" in capsys.readouterr().err


def test_the_files_no_stranger_may_read(club: Club) -> None:
    assert club.apply() == 0
    modes: dict[str, Any] = {"ca.key": 0o600, "broker.key": 0o640, "mosquitto.passwd": 0o640, "ca.crt": 0o644}
    for name, mode in modes.items():
        assert stat.S_IMODE((club.folder / name).stat().st_mode) == mode


@pytest.mark.parametrize("place", ["8883", "x:y", ":0", ":65536", ":٣"])
def test_a_place_that_is_none_is_refused(place: str) -> None:
    with pytest.raises(SystemExit), tempfile.TemporaryDirectory() as folder:
        cli.main(["broker", "apply", "--folder", folder, "--tls", place if place != "8883" else "x8883"])
