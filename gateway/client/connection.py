"""One login at the broker: connects again by itself, and repeats what was not answered under the same id."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import socket
import ssl
from collections.abc import AsyncIterator, Callable
from typing import Any

import aiomqtt
import msgspec

from gateway.client.errors import Denied, NotConnected, VenueError
from gateway.client.messages import Answer, GatewayState

log = logging.getLogger("gateway.client")

KEEPALIVE_S = 20
AGAIN_S = (0.5, 1.0, 2.0, 5.0)
OPEN_MAX = 256
"""Requests of this program that wait for an answer at once."""
INCOMING_MAX = 4096
REFUSED_FROM = 128
"""MQTT 5 reason codes from here on are failures; 135 is "not authorized"."""
_GONE = "the connection to the venue was closed"

Listener = Callable[[bytes | None], None]
"""Takes each message of a topic, and None whenever some may have been missed."""


class _Mqtt(aiomqtt.Client):
    """Keeps the reason code of the last PUBACK, which aiomqtt drops: by it alone the broker says "not granted"."""

    last_code = 0

    def _on_publish(self, client: Any, userdata: Any, mid: int, reason_code: Any, properties: Any) -> None:  # noqa: ANN401
        self.last_code = reason_code.value
        super()._on_publish(client, userdata, mid, reason_code, properties)


class Pending:
    """A request under way: `accepted` is there when the first answer is, `last` when no other will come."""

    def __init__(self, request_id: str, topic: str, payload: bytes) -> None:
        """Keep what is sent, for it may be sent again."""
        loop = asyncio.get_running_loop()
        self.id, self.topic, self.payload = request_id, topic, payload
        self.accepted: asyncio.Future[Answer] = loop.create_future()
        self.last: asyncio.Future[Answer] = loop.create_future()

    def answer(self, answer: Answer) -> None:
        """Take an answer; a second last word, as after an outage, is the same one again."""
        if not self.accepted.done():
            self.accepted.set_result(answer)
        if answer.final and not self.last.done():
            self.last.set_result(answer)

    def fail(self, error: VenueError) -> None:
        """End it without an answer."""
        for future in (self.accepted, self.last):
            if not future.done():
                future.set_exception(error)
                # Whoever gave up waiting does not look at it, and that is no mistake.
                future.exception()


class Connection:
    """Everything between this program and the broker. Made and ended by `VenueClient`."""

    def __init__(
        self, venue: str, user: str, password: str, host: str, port: int, tls_context: ssl.SSLContext | None
    ) -> None:
        """Prepare to log in; nothing is sent yet."""
        self.base = f"venue/{venue}"
        self.mine = f"{self.base}/clients/{user}"
        self.state = GatewayState(state="offline")
        self._login = (user, password)
        self._place = (host, port)
        self._tls = tls_context
        self._mqtt: _Mqtt | None = None
        self._publishing = asyncio.Lock()
        self._sending: asyncio.Task[None] | None = None
        self._open: dict[str, Pending] = {}
        self._listeners: dict[str, Listener] = {}
        self._task: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Connect. Raises NotConnected when that does not work at once; from then on it is tried for ever."""
        connected: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._task = asyncio.create_task(self._stay_connected(connected), name="venue connection")
        self._task.add_done_callback(self._ended)
        try:
            await asyncio.wait([connected, self._task], return_when=asyncio.FIRST_COMPLETED)
            if not connected.done():
                connected.set_exception(NotConnected(_GONE))
            await connected
        except BaseException:
            await self.stop()
            raise

    async def stop(self) -> None:
        """Log out. What is still open gets no answer any more."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait([self._task])

    def _ended(self, task: asyncio.Task[None]) -> None:
        """Let nobody wait for a connection that nothing keeps up any more."""
        if not task.cancelled() and (error := task.exception()) is not None:
            log.error("the connection to the venue has ended by a mistake; log in again", exc_info=error)
        for pending in self._open.values():
            pending.fail(NotConnected(_GONE))

    def begin(self, request_id: str, target: str, verb: str, payload: bytes) -> Pending:
        """Keep a request, to be sent by `send` and again after each interruption, until `forget`."""
        if self._task is None or self._task.done():
            raise NotConnected(_GONE)
        if len(self._open) >= OPEN_MAX:
            raise NotConnected(f"{OPEN_MAX} requests wait for their answers already")
        pending = Pending(request_id, f"{self.mine}/requests/{target}/{verb}", payload)
        self._open[request_id] = pending
        return pending

    def forget(self, pending: Pending) -> None:
        """Await no answer any more."""
        self._open.pop(pending.id, None)

    async def send(self, pending: Pending) -> None:
        """Publish a request where there is a connection; where there is none, the next one begins with it."""
        async with self._publishing:
            if self._mqtt is None:
                return
            self._sending = asyncio.create_task(self._publish(self._mqtt, pending), name="publish")
            await asyncio.wait([self._sending])

    async def _publish(self, mqtt: _Mqtt, pending: Pending) -> None:
        try:
            await mqtt.publish(pending.topic, pending.payload, qos=1)
        except aiomqtt.MqttError:
            return
        if mqtt.last_code >= REFUSED_FROM:
            told = "This client may not ask that here. The technician grants it in the YAML, under `clients:`."
            pending.fail(Denied(Answer(id=pending.id, status="denied", reason="not_granted", message=told)))

    @contextlib.asynccontextmanager
    async def listening(self, topic: str, listener: Listener) -> AsyncIterator[None]:
        """Hear a topic, also after each interruption."""
        if topic in self._listeners:
            raise VenueError(f"{topic} is listened to already")
        self._listeners[topic] = listener
        try:
            if self._mqtt is not None:
                # An interruption right now is no mistake: the next connection begins with this subscription.
                with contextlib.suppress(aiomqtt.MqttError):
                    await self._mqtt.subscribe(topic, qos=1)
            yield
        finally:
            del self._listeners[topic]

    async def _stay_connected(self, first: asyncio.Future[None]) -> None:
        tries = 0
        while True:
            try:
                async with self._client() as mqtt:
                    await self._listen(mqtt, first)
            except aiomqtt.MqttError as error:
                if not first.done():
                    first.set_exception(NotConnected(f"{self._place[0]}:{self._place[1]}: {error}"))
                    return
                tries = 0 if self._mqtt is not None else tries + 1
            finally:
                self._lost()
            await asyncio.sleep(AGAIN_S[min(tries, len(AGAIN_S) - 1)])

    def _lost(self) -> None:
        self._mqtt = None
        # Nobody knows how the gateway is now; its next word makes whatever is open be asked again.
        self.state = GatewayState(state="offline")
        if self._sending is not None:
            # Its acknowledgement will not come, and the next connection must not wait for it.
            self._sending.cancel()

    def _client(self) -> _Mqtt:
        user, password = self._login
        return _Mqtt(
            *self._place,
            username=user,
            password=password,
            protocol=aiomqtt.ProtocolVersion.V5,
            keepalive=KEEPALIVE_S,
            tls_context=self._tls,
            max_queued_incoming_messages=INCOMING_MAX,
            # Without it a round trip takes 44 ms: Nagle's algorithm waits for a delayed acknowledgement.
            socket_options=[(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)],
        )

    async def _listen(self, mqtt: _Mqtt, first: asyncio.Future[None]) -> None:
        """Subscribe, ask again what is open, and take messages until the connection ends."""
        for topic in (f"{self.mine}/responses", f"{self.base}/gateway/state", *self._listeners):
            await mqtt.subscribe(topic, qos=1)
        self._mqtt = mqtt
        if not first.done():
            first.set_result(None)
        for listener in self._listeners.values():
            listener(None)
        again = asyncio.create_task(self._send_open(), name="requests sent again")
        try:
            async for message in mqtt.messages:
                if self._read(message.topic.value, bytes(message.payload)):
                    again.cancel()
                    again = asyncio.create_task(self._send_open(), name="requests sent again")
        finally:
            again.cancel()

    async def _send_open(self) -> None:
        for pending in list(self._open.values()):
            await self.send(pending)

    def _read(self, topic: str, payload: bytes) -> bool:
        try:
            return self._take(topic, payload)
        except (msgspec.DecodeError, UnicodeError) as error:
            # A newer gateway, or somebody else who may publish there: no reason to hear nothing any more.
            log.warning("a message on %s was not understood: %s", topic, error)
            return False

    def _take(self, topic: str, payload: bytes) -> bool:
        """Hand a message on. True when the gateway has come back, and what is open should be asked again."""
        if topic == f"{self.mine}/responses":
            answer = msgspec.json.decode(payload, type=Answer)
            if (pending := self._open.get(answer.id)) is not None:
                pending.answer(answer)
        elif topic == f"{self.base}/gateway/state":
            before, self.state = self.state, msgspec.json.decode(payload, type=GatewayState)
            return before.state == "offline" != self.state.state
        elif (listener := self._listeners.get(topic)) is not None:
            listener(payload)
        return False
