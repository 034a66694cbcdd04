from __future__ import annotations

import getpass
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from gateway.config.schema import Broker, Client, Configuration, Venue
from gateway.mqtt.broker_files import Listener, write_broker_files
from gateway.mqtt.session import Outcome
from tests.gateway.mqtt.broker import BrokerProcess
from tests.gateway.mqtt.certificates import make_certificate
from tests.gateway.mqtt.sessions import Inbox, outcome, session

BASE = "venue/hall"


@pytest.fixture
async def remote(tmp_path: Path) -> AsyncIterator[Broker]:
    """The gateway's way to a broker elsewhere: TLS, user and password."""
    broker = BrokerProcess("#")
    certificate, key = make_certificate(broker.directory)
    password = tmp_path / "gateway.password"
    password.write_text("a secret\n")
    where = Broker(f"mqtts://127.0.0.1:{broker.port}", "venue-gateway", str(password), str(certificate))
    configuration = Configuration(
        venue=Venue("hall", "Europe/Berlin", "EUR"),
        broker=where,
        state_dir=tmp_path,
        clients={"bar": Client("bar", {"printer": frozenset({"print"})})},
    )
    listener = Listener(broker.port, "127.0.0.1", str(certificate), str(key))
    write_broker_files(configuration, broker.directory, listener=listener, user=getpass.getuser())
    async with broker:
        yield where


async def test_a_remote_broker_is_reached_by_tls_with_user_and_password(remote: Broker) -> None:
    inbox = Inbox()
    async with session(remote, inbox) as ours:
        assert await inbox.state() == (True, "")
        told = await outcome(lambda done: ours.publish(f"{BASE}/gateway/state", b"x" * 500_000, on_ack=done))
        assert told is Outcome.DELIVERED


@pytest.mark.parametrize(("days", "told"), [((-9, -2), "has expired"), ((2, 9), "does not count yet")])
async def test_a_certificate_of_another_time_is_named(tmp_path: Path, days: tuple[float, float], told: str) -> None:
    broker = BrokerProcess("#")
    certificate, key = make_certificate(broker.directory, *days)
    where = Broker(f"mqtts://127.0.0.1:{broker.port}", "venue-gateway", None, str(certificate))
    configuration = Configuration(venue=Venue("hall", "Europe/Berlin", "EUR"), broker=where, state_dir=tmp_path)
    listener = Listener(broker.port, "127.0.0.1", str(certificate), str(key))
    write_broker_files(configuration, broker.directory, listener=listener, user=getpass.getuser())
    inbox = Inbox()
    async with broker, session(where, inbox):
        connected, why = await inbox.state()
        assert not connected
        assert told in why
        assert "look whether the clock is right" in why


async def test_an_unknown_authority_is_refused_and_named(remote: Broker) -> None:
    inbox = Inbox()
    async with session(Broker(remote.url, remote.username, remote.password_file), inbox):
        connected, why = await inbox.state()
        assert not connected
        assert "is not trusted" in why
        assert "check broker.ca_file" in why


async def test_a_missing_authority_file_is_named(remote: Broker, tmp_path: Path) -> None:
    inbox = Inbox()
    missing = tmp_path / "no.crt"
    async with session(Broker(remote.url, remote.username, remote.password_file, str(missing)), inbox):
        assert (await inbox.state())[1] == f"there is no file {missing}: check broker.ca_file"


async def test_tls_to_a_port_without_it_says_so(broker: BrokerProcess) -> None:
    inbox = Inbox()
    async with session(Broker(f"mqtts://127.0.0.1:{broker.port}"), inbox):
        connected, why = await inbox.state()
        assert not connected
        assert why
