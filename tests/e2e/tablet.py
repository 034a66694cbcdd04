"""A thin client of the venue with a login of its own: it asks, and hears what becomes of it."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import json
import socket
import time
from pathlib import Path
from typing import Any, Self

import aiomqtt
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties

from tests.e2e.bulletin import WAIT_S, Bulletin
from tests.e2e.settings import BASE

Answer = dict[str, Any]
_numbers = itertools.count(1)


class Conversation:
    """One request and every answer to it, in order."""

    def __init__(self, tablet: Tablet, request_id: str) -> None:
        self.id = request_id
        self._tablet = tablet

    @property
    def answers(self) -> list[Answer]:
        """What came so far."""
        return self._tablet.answers.get(self.id, [])

    async def final(self, wait_s: float = WAIT_S) -> Answer:
        """The answer after which none will come."""
        return await self.answer(wait_s, final=True)

    async def accepted(self, wait_s: float = WAIT_S, **data: Any) -> Answer:
        """The first `accepted`, with these fields in its data."""
        return await self.answer(wait_s, status="accepted", **data)

    async def answer(
        self, wait_s: float = WAIT_S, *, status: str = "", final: bool = False, since: int = 0, **data: Any
    ) -> Answer:
        """The first answer after the first `since` that is as asked."""

        def find() -> Answer | None:
            for one in self.answers[since:]:
                fits = not status or one["status"] == status
                if fits and not (final and one["status"] == "accepted") and data.items() <= one.get("data", {}).items():
                    return one
            return None

        what = "a final answer" if final else f"an answer {status} {data}"
        return await self._tablet.bulletin.until(find, lambda: f"{what} to {self.id}; so far {self.answers}", wait_s)


class Tablet:
    """One MQTT client. Answers are filed by the id they repeat; those without an id under the empty one."""

    def __init__(self, name: str, password: str | None, address: int | Path) -> None:
        """Speak as `name` at a TCP port of this machine, or at a Unix socket."""
        tcp = isinstance(address, int)
        self.name = name
        self.answers: dict[str, list[Answer]] = {}
        self.messages: list[aiomqtt.Message] = []
        self.bulletin = Bulletin()
        self._client = aiomqtt.Client(
            "127.0.0.1" if tcp else str(address), port=address if isinstance(address, int) else 1883,
            transport="tcp" if tcp else "unix", username=name if password else None, password=password,
            socket_options=[(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)] if tcp else [],
            protocol=aiomqtt.ProtocolVersion.V5, max_concurrent_outgoing_calls=200,
        )  # fmt: skip
        # The library drops the reason code of a PUBACK, and with it that the ACL refused a message.
        self._codes: dict[int, int] = {}
        self._on_publish = self._client._client.on_publish
        self._client._client.on_publish = self._acknowledged
        self.last_code = 0
        self._task: asyncio.Task[None] | None = None

    @property
    def prefix(self) -> str:
        """What its own topics begin with."""
        return f"{BASE}/clients/{self.name}"

    async def __aenter__(self) -> Self:
        await self._client.__aenter__()
        await self._client.subscribe(f"{self.prefix}/responses", qos=1)
        self._task = asyncio.create_task(self._listen())
        return self

    async def __aexit__(self, *_: object) -> None:
        assert self._task is not None
        self._task.cancel()
        with contextlib.suppress(asyncio.CancelledError, aiomqtt.MqttError):
            await self._task
        with contextlib.suppress(aiomqtt.MqttError):
            await self._client.__aexit__(None, None, None)

    async def subscribe(self, topic: str) -> None:
        """Listen to one more topic."""
        await self._client.subscribe(topic, qos=1)

    async def ask(
        self, target: str, verb: str, data: Any = None, *, request_id: str = "", expires_s: float | None = 5.0
    ) -> Conversation:
        """Send a right request, by default one that expires in five seconds."""
        request_id = request_id or f"{self.name}-{next(_numbers)}"
        payload = envelope(request_id, data, expires_s)
        return await self.send(target, verb, payload, request_id=request_id)

    async def send(
        self, target: str, verb: str, payload: bytes, *, request_id: str = "", retain: bool = False, **properties: Any
    ) -> Conversation:
        """Send any bytes to a request topic of its own."""
        await self.publish(f"{self.prefix}/requests/{target}/{verb}", payload, retain=retain, **properties)
        return Conversation(self, request_id)

    async def publish(self, topic: str, payload: bytes, *, retain: bool = False, **properties: Any) -> int:
        """Publish with QoS 1 to any topic; returns the broker's reason code, 135 where the ACL refused it."""
        packed = None
        if properties:
            packed = Properties(PacketTypes.PUBLISH)
            for name, value in properties.items():
                setattr(packed, name, value)
        await self._client.publish(topic, payload, qos=1, retain=retain, properties=packed, timeout=WAIT_S)
        return self.last_code

    def _acknowledged(self, client: Any, userdata: Any, mid: int, reason_code: Any, properties: Any) -> None:
        self.last_code = reason_code.value
        self._on_publish(client, userdata, mid, reason_code, properties)

    async def _listen(self) -> None:
        async for message in self._client.messages:
            self.messages.append(message)
            if message.topic.value.startswith(f"{self.prefix}/res"):
                answer = json.loads(bytes(message.payload))
                self.answers.setdefault(answer["id"], []).append(answer)
            self.bulletin.post()


def envelope(request_id: str, data: Any = None, expires_s: float | None = 5.0) -> bytes:
    """The bytes of a request."""
    message: dict[str, Any] = {"id": request_id}
    if expires_s is not None:
        message["expires_at"] = round((time.time() + expires_s) * 1000)
    if data is not None:
        message["data"] = data
    return json.dumps(message).encode()
