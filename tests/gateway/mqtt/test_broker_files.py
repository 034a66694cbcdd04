from __future__ import annotations

import asyncio
import contextlib
import getpass
import stat
from collections.abc import AsyncIterator, Mapping
from pathlib import Path

import aiomqtt
import pytest
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties
from structlog.testing import capture_logs

from gateway.config.schema import Broker, Client, Configuration, Venue
from gateway.mqtt.broker_files import (
    BrokerFiles,
    Listener,
    broker_acl,
    hash_password,
    password_matches,
    write_broker_files,
)
from gateway.mqtt.messages import GatewayState
from tests.gateway.mqtt.broker import BrokerProcess, client, next_message
from tests.gateway.mqtt.fakes import BASE, answers, running
from tests.gateway.mqtt.sessions import Inbox, outcome, session

AT = "2026-06-01T00:00:00.000Z"


def configuration(state_dir: Path, **clients: Mapping[str, set[str]]) -> Configuration:
    return Configuration(
        venue=Venue("hall", "Europe/Berlin", "EUR"),
        broker=Broker("unix:///run/venue-gateway/mqtt.sock"),
        state_dir=state_dir,
        clients={
            name: Client(name, {target: frozenset(verbs) for target, verbs in may.items()})
            for name, may in clients.items()
        },
    )


class Guarded:
    """A broker with the generated files, and the clients' passwords."""

    def __init__(self, broker: BrokerProcess, configured: Configuration, files: BrokerFiles) -> None:
        self.broker, self.configured, self.files = broker, configured, files

    def password(self, name: str) -> str:
        return (self.configured.state_dir / "clients" / f"{name}.password").read_text().strip()


@pytest.fixture
async def guarded(tmp_path: Path) -> AsyncIterator[Guarded]:
    configured = configuration(
        tmp_path,
        bar={"printer": {"print", "status"}, "drawer": {"open"}},
        office={"gateway": {"replay", "status"}},
    )
    broker = BrokerProcess("#")
    files = write_broker_files(
        configured,
        broker.directory,
        listener=Listener(broker.port, "127.0.0.1"),
        socket_path=str(broker.socket),
        user=getpass.getuser(),
    )
    async with broker:
        yield Guarded(broker, configured, files)


async def denied(connected: aiomqtt.Client, topic: str) -> bool:
    """True when the broker refuses a QoS 1 publication; aiomqtt raises nothing, so its reason code is read."""
    told: asyncio.Future[bool] = asyncio.get_running_loop().create_future()
    before = connected._client.on_publish

    def on_publish(paho: object, userdata: object, mid: int, code: object, properties: object) -> None:
        if not told.done():
            told.set_result(bool(getattr(code, "is_failure", False)))

    connected._client.on_publish = on_publish  # type: ignore[assignment]
    connected._client.publish(topic, b'{"id": "r1"}', qos=1)
    try:
        async with asyncio.timeout(10):
            return await told
    finally:
        connected._client.on_publish = before


async def test_i07_a_client_writes_what_it_was_granted_and_nothing_else(guarded: Guarded) -> None:
    async with client(guarded.broker, username="bar", password=guarded.password("bar")) as bar:
        mine = f"{BASE}/clients/bar/requests"
        allowed = [f"{mine}/printer/print", f"{mine}/printer/status", f"{mine}/drawer/open"]
        forbidden = [
            f"{mine}/printer/print_raw",
            f"{mine}/drawer/status",
            f"{mine}/gateway/replay",
            f"{mine}/printer/print/x",
            f"{BASE}/clients/bar/responses",
            f"{BASE}/clients/office/requests/gateway/replay",
            f"{BASE}/clients/office/responses",
            f"{BASE}/gateway/state",
            f"{BASE}/devices/printer/state",
            f"{BASE}/events",
            "venue/other/events",
            "anything",
        ]
        assert [topic for topic in allowed if await denied(bar, topic)] == []
        assert [topic for topic in forbidden if not await denied(bar, topic)] == []


async def test_i07_a_client_hears_itself_the_public_topics_and_no_other_client(guarded: Guarded) -> None:
    bar_login = {"username": "bar", "password": guarded.password("bar")}
    office_login = {"username": "office", "password": guarded.password("office")}
    async with (
        running(guarded.broker) as run,
        client(guarded.broker, "#", **bar_login) as bar,
        client(guarded.broker, "#", **office_login) as office,
    ):
        run.face.announcer.gateway_state(GatewayState(state="online", at=AT))
        session = run.face.session
        for topic in (
            f"{BASE}/events",
            f"{BASE}/devices/printer/events",
            f"{BASE}/devices/north/events",
            f"{BASE}/clients/bar/responses",
            f"{BASE}/clients/office/responses",
            f"{BASE}/clients/bar/last",
            f"{BASE}/clients/office/last",
        ):
            session.publish(topic, b"x")
        heard = {"bar": await heard_until_last(bar), "office": await heard_until_last(office)}
    assert heard == {
        "bar": ["gateway/state", "devices/printer/events", "clients/bar/responses", "clients/bar/last"],
        "office": ["gateway/state", "events", "clients/office/responses", "clients/office/last"],
    }


async def heard_until_last(connected: aiomqtt.Client) -> list[str]:
    heard: list[str] = []
    while not heard or not heard[-1].endswith("/last"):
        heard.append((await next_message(connected)).topic.value.removeprefix(f"{BASE}/"))
    return heard


async def test_a_request_over_the_guarded_listener_is_answered(guarded: Guarded) -> None:
    responses = f"{BASE}/clients/bar/responses"
    async with (
        running(guarded.broker),
        client(guarded.broker, responses, username="bar", password=guarded.password("bar")) as bar,
    ):
        await bar.publish(f"{BASE}/clients/bar/requests/printer/status", b'{"id": "r1"}', qos=1)
        assert answers((await next_message(bar)).payload)["status"] == "done"


@pytest.mark.parametrize("login", [(None, None), ("bar", "wrong"), ("nobody", "x")])
async def test_i07_nobody_comes_in_without_a_password(guarded: Guarded, login: tuple[str | None, str | None]) -> None:
    with pytest.raises(aiomqtt.MqttError, match=r"[Nn]ot authorized"):
        async with client(guarded.broker, username=login[0], password=login[1]):
            pass


async def test_denied_publications_of_the_gateway_are_noticed_and_logged_once_a_topic(guarded: Guarded) -> None:
    password = guarded.broker.directory / "bar.password"
    password.write_text(guarded.password("bar") + "\n")
    where = Broker(f"mqtt://127.0.0.1:{guarded.broker.port}", username="bar", password_file=str(password))
    inbox = Inbox()
    with capture_logs() as logs:
        async with session(where, inbox) as ours:
            assert await inbox.state() == (True, "")
            for _ in range(3):
                told = await outcome(lambda done: ours.publish(f"{BASE}/gateway/state", b"x", on_ack=done))
                assert told.name == "REFUSED"
    refused = [line for line in logs if line["event"] == "mqtt.publish_refused"]
    assert [(line["topic"], line["why"]) for line in refused] == [(f"{BASE}/gateway/state", "not authorized")]


async def test_a_wrong_gateway_password_names_its_file(guarded: Guarded, tmp_path: Path) -> None:
    file = tmp_path / "gateway.password"
    file.write_text("wrong\n")
    inbox = Inbox()
    where = Broker(f"mqtt://127.0.0.1:{guarded.broker.port}", username="gateway", password_file=str(file))
    async with session(where, inbox):
        assert (await inbox.state())[1] == f"the broker refused the user gateway: check the password in {file}"


async def test_i09_a_packet_over_the_limit_ends_its_own_clients_connection_and_no_other(guarded: Guarded) -> None:
    logins = {name: {"username": name, "password": guarded.password(name)} for name in ("bar", "office")}
    responses = f"{BASE}/clients/office/responses"
    async with (
        running(guarded.broker) as run,
        client(guarded.broker, responses, **logins["office"]) as office,
        client(guarded.broker, **logins["bar"]) as bar,
    ):
        bar._client.publish(f"{BASE}/clients/bar/requests/printer/print", b"x" * 1_100_000, qos=1)
        with pytest.raises(aiomqtt.MqttError, match="isconnected"):
            await next_message(bar)
        run.face.session.publish(responses, b"still here")
        assert (await next_message(office)).payload == b"still here"


def test_passwords_are_private_made_once_and_go_with_their_client(tmp_path: Path) -> None:
    first = configuration(tmp_path, bar={}, office={})
    one = write_broker_files(first, tmp_path / "broker")
    bar = tmp_path / "clients" / "bar.password"
    secret = bar.read_text()
    assert one.changed
    assert len(secret.strip()) >= 24
    assert stat.S_IMODE(bar.stat().st_mode) == 0o600
    assert stat.S_IMODE(bar.parent.stat().st_mode) == 0o700
    assert stat.S_IMODE(one.passwords.stat().st_mode) == 0o640
    assert secret.strip() not in one.passwords.read_text()
    assert not write_broker_files(first, tmp_path / "broker").changed
    two = write_broker_files(configuration(tmp_path, bar={}), tmp_path / "broker")
    assert two.changed
    assert bar.read_text() == secret
    assert [file.name for file in bar.parent.iterdir()] == ["bar.password"]
    assert two.passwords.read_text().startswith("bar:$7$101$")


def test_the_hash_is_mosquittos() -> None:
    # Made by `mosquitto_passwd -b -c` of Mosquitto 2.0.11 for the password "secret".
    made = (
        "$7$101$mWWRxaEe4UNwq1Ac$rTSpqJeobXMmxE89QJMnCd+s88xlpt81"
        "/lUNUswgIHgBgVI7GvmsR5NkyjxGAmDEpIHCcDKjH0xPMYFxmgZgDg=="
    )
    assert password_matches(made, "secret")
    assert not password_matches(made, "Secret")
    assert not password_matches("", "secret")
    assert hash_password("x", b"a" * 12) != hash_password("x", b"b" * 12)


def test_the_acl_in_full(tmp_path: Path) -> None:
    configured = configuration(tmp_path, bar={"printer": {"print"}, "gateway": {"replay"}})
    assert broker_acl(configured) == (
        "# Written by venue-gateway from its configuration; changes are overwritten.\n\n"
        "user bar\n"
        "topic read venue/hall/clients/bar/#\n"
        "topic read venue/hall/gateway/+\n"
        "topic read venue/hall/devices/+/state\n"
        "topic read venue/hall/events\n"
        "topic write venue/hall/clients/bar/requests/gateway/replay\n"
        "topic read venue/hall/devices/printer/events\n"
        "topic write venue/hall/clients/bar/requests/printer/print\n"
    )


async def test_i07_taking_over_anothers_client_id_tells_nothing_of_its_messages(guarded: Guarded) -> None:
    lasting = Properties(PacketTypes.CONNECT)
    lasting.SessionExpiryInterval = 60

    def as_user(name: str) -> aiomqtt.Client:
        return aiomqtt.Client(
            "127.0.0.1",
            guarded.broker.port,
            identifier="tablet-7",
            username=name,
            password=guarded.password(name),
            protocol=aiomqtt.ProtocolVersion.V5,
            clean_start=False,
            properties=lasting,
        )

    async with running(guarded.broker) as run:
        with contextlib.suppress(aiomqtt.MqttError):
            async with as_user("office") as office:
                await office.subscribe(f"{BASE}/clients/office/responses", qos=1)
        run.face.session.publish(f"{BASE}/clients/office/responses", b"queued")
        assert await run.face.session.drain(10)
        async with as_user("bar") as thief:
            await thief.subscribe(f"{BASE}/clients/bar/last", qos=1)
            run.face.session.publish(f"{BASE}/clients/office/responses", b"live")
            run.face.session.publish(f"{BASE}/clients/bar/last", b"x")
            assert await heard_until_last(thief) == ["clients/bar/last"]
