"""What the Python client does when somebody else's message is nonsense, and when nobody waits any more."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from types import SimpleNamespace
from typing import Any, Self

import pytest

from gateway.client import Invitation, NoAnswer, NotConnected, VenueClient, WrongInvitation, venue
from gateway.client.connection import Connection

MINE = "venue/hall/clients/bar"
TOLD = {
    "v": 1, "venue": "hall", "mqtts": "gateway.local:8883", "ca_sha256": "0" * 64, "user": "bar", "password": "hush"
}  # fmt: skip
ARMED = {"transfer": "bar/1", "reader": "desk", "until_ms": 1}


class Line:
    """Stands for the MQTT library: what comes is put into `coming`, what goes is in `sent`."""

    last_code = 0

    def __init__(self) -> None:
        self.coming: asyncio.Queue[Any] = asyncio.Queue()
        self.sent: list[tuple[str, dict[str, Any]]] = []
        self.went = asyncio.Event()
        self.listened = asyncio.Event()
        self.answers: dict[str, list[dict[str, Any]]] = {"cancel": [{"status": "done"}]}

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        pass

    async def subscribe(self, topic: str, qos: int) -> None:
        if topic.endswith("/events"):
            self.listened.set()

    async def publish(self, topic: str, payload: bytes, qos: int) -> None:
        message = json.loads(payload)
        verb = topic.rpartition("/")[2]
        self.sent.append((verb, message))
        self.went.set()
        for answer in self.answers.get(verb, []):
            self.tell(f"{MINE}/responses", json.dumps({"id": message["id"], **answer}).encode())

    def tell(self, topic: str, payload: bytes) -> None:
        self.coming.put_nowait(SimpleNamespace(topic=SimpleNamespace(value=topic), payload=payload))

    @property
    async def messages(self) -> AsyncIterator[Any]:
        while True:
            one = await self.coming.get()
            if isinstance(one, Exception):
                raise one
            yield one

    async def until_sent(self, verb: str) -> dict[str, Any]:
        async with asyncio.timeout(5):
            while True:
                for name, message in self.sent:
                    if name == verb:
                        return message
                self.went.clear()
                await self.went.wait()


class OneLine(Connection):
    """A connection over a given line."""

    def __init__(self, line: Line) -> None:
        super().__init__("hall", "bar", "secret", "localhost", 1, None)
        self.line = line

    def _client(self) -> Any:
        return self.line


@pytest.fixture
def line() -> Line:
    return Line()


@pytest.fixture
async def client(line: Line) -> AsyncIterator[VenueClient]:
    one = VenueClient("hall", "bar", "secret", "localhost", tls_context=None)
    one.connection = OneLine(line)
    async with one:
        yield one


@pytest.mark.parametrize(
    "payload", [b"", b"{", b"\xff", b'{"id": 1, "status": "done"}', b'{"id": "x", "status": "new"}']
)
async def test_a_message_that_nobody_understands_is_passed_over(
    client: VenueClient, line: Line, payload: bytes
) -> None:
    line.tell(f"{MINE}/responses", payload)
    line.tell("venue/hall/gateway/state", payload)
    line.answers["open"] = [{"status": "done", "data": {"opening": "o", "confirmed": True}}]
    assert (await client.open_drawer("drawer", "sale")).opening == "o"


@pytest.mark.parametrize("payload", [b"", b"{", b"\xff", b"{}", b"[]", b"[1]", b'[{"seq": 1}]'])
async def test_an_event_that_nobody_understands_is_passed_over(client: VenueClient, line: Line, payload: bytes) -> None:
    following = asyncio.ensure_future(anext(client.events()))
    async with asyncio.timeout(5):
        await line.listened.wait()
    whole = [{"seq": 7, "id": "i", "at": "2026-07-01T19:30:05Z", "kind": "entry.granted"}]
    line.tell("venue/hall/events", payload)
    line.tell("venue/hall/events", json.dumps(whole).encode())
    async with asyncio.timeout(5):
        assert (await following).seq == 7


async def test_whoever_waits_is_told_when_the_connection_ends_by_a_mistake(
    client: VenueClient, line: Line, caplog: pytest.LogCaptureFixture
) -> None:
    asking = asyncio.create_task(client.open_drawer("drawer", "sale"))
    await line.until_sent("open")
    line.coming.put_nowait(RuntimeError("a mistake"))
    async with asyncio.timeout(5):
        with pytest.raises(NotConnected):
            await asking
    with pytest.raises(NotConnected):
        await client.open_drawer("drawer", "sale")
    assert "ended by a mistake" in caplog.text


async def test_a_charge_without_an_answer_is_cancelled_at_the_reader(
    client: VenueClient, line: Line, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(venue, "CARD_S", 0.01)
    with pytest.raises(NoAnswer) as nothing:
        await client.charge(300, reader="desk")
    assert (await line.until_sent("cancel"))["data"] == {"request": nothing.value.request_id}


async def test_a_beginning_that_times_out_or_is_cancelled_is_cancelled_at_the_reader(
    client: VenueClient, line: Line, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(venue, "ANSWER_S", 0.01)
    with pytest.raises(NoAnswer) as nothing:
        await client.begin_charge(300, reader="desk")
    assert (await line.until_sent("cancel"))["data"] == {"request": nothing.value.request_id}
    line.sent.clear()
    monkeypatch.setattr(venue, "ANSWER_S", 5.0)
    beginning = asyncio.create_task(client.begin_charge(300, reader="desk"))
    asked = await line.until_sent("charge")
    beginning.cancel()
    with pytest.raises(asyncio.CancelledError):
        await beginning
    assert (await line.until_sent("cancel"))["data"] == {"request": asked["id"]}


async def test_whoever_no_longer_waits_to_be_paid_lets_the_reader_go(client: VenueClient, line: Line) -> None:
    line.answers["charge"] = [{"status": "accepted", "data": ARMED}]
    waiting = await client.begin_charge(300, reader="desk")
    with pytest.raises(NoAnswer):
        await waiting.paid(timeout_s=0.01)
    assert (await line.until_sent("cancel"))["data"] == {"request": waiting.id}


async def test_what_is_cancelled_before_it_is_sent_is_not_sent_by_a_later_connection(client: VenueClient) -> None:
    async with client.connection._publishing:
        charging = asyncio.create_task(client.charge(300, reader="desk"))
        await asyncio.sleep(0)
        assert client.connection._open
        charging.cancel()
        with pytest.raises(asyncio.CancelledError):
            await charging
        assert not any(one.topic.endswith("/charge") for one in client.connection._open.values())


@pytest.mark.parametrize(
    ("answer", "is_told"),
    [
        ({"status": "failed", "reason": "storage_unavailable", "message": "The disk is full."}, True),
        ({"status": "denied", "reason": "not_granted", "message": "Not here."}, True),
        ({"status": "denied", "reason": "payment_ended"}, False),
        ({"status": "done"}, False),
    ],
)
async def test_a_reader_that_could_not_be_let_go_is_told_of(
    client: VenueClient, line: Line, caplog: pytest.LogCaptureFixture, answer: dict[str, Any], is_told: bool
) -> None:
    line.answers["cancel"] = [answer]
    charging = asyncio.create_task(client.charge(300, reader="desk", request_id="r-1"))
    await line.until_sent("charge")
    charging.cancel()
    with pytest.raises(asyncio.CancelledError):
        await charging
    await asyncio.wait(client._background)
    assert ("may still wait for a card for r-1" in caplog.text) == is_told
    assert "never retrieved" not in caplog.text


async def test_a_reader_that_could_not_be_let_go_for_want_of_a_connection_is_told_of(
    client: VenueClient, line: Line, caplog: pytest.LogCaptureFixture
) -> None:
    line.answers.clear()
    charging = asyncio.create_task(client.charge(300, reader="desk", request_id="r-1"))
    await line.until_sent("charge")
    charging.cancel()
    with pytest.raises(asyncio.CancelledError):
        await charging
    await line.until_sent("cancel")
    background = list(client._background)
    await client.connection.stop()
    await asyncio.wait(background)
    assert "may still wait for a card for r-1" in caplog.text


@pytest.mark.parametrize(
    "wrong",
    [
        {"mqtts": "hostonly"}, {"mqtts": ":8883"}, {"mqtts": "host:"}, {"mqtts": "host:port"}, {"mqtts": "host:0"},
        {"mqtts": "host:65536"}, {"mqtts": "host:-1"}, {"ca_sha256": "é" * 64}, {"ca_sha256": ""},
    ],
)  # fmt: skip
def test_an_invitation_without_a_whole_address_or_fingerprint_is_none(wrong: dict[str, str]) -> None:
    with pytest.raises(WrongInvitation):
        Invitation.parse(json.dumps(TOLD | wrong))
    assert Invitation.parse(json.dumps(TOLD | {"mqtts": "[::1]:8883"})).address == ("::1", 8883)
