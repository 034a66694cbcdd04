"""The sink that publishes each event at an MQTT 5 broker: a CloudEvent a message, QoS 1, in order.

Binding: https://github.com/cloudevents/spec/blob/v1.0.2/cloudevents/bindings/mqtt-protocol-binding.md, structured mode.
"""

from __future__ import annotations

import asyncio
from functools import partial
from urllib.parse import urlsplit

import mqtt5

from gateway.config.schema import Broker
from gateway.config.upstream import SinkEntry
from gateway.mqtt5.bounds import Limits, Outcome
from gateway.mqtt5.connection import Connection, Incoming
from gateway.mqtt5.endpoint import BrokerUnavailable
from gateway.upstream.cloudevents import MEDIA_TYPE
from gateway.upstream.sinks import Pack, Refused, SinkUnavailable, Taken, Verdict
from gateway.upstream.tls import explain_connecting, read_secret, tls_context

CONNECT_S = 10.0
ANSWER_S = 60.0
PING_S = 15.0
PORTS = {"mqtts": 8883, "mqtt": 1883}
_CODES = mqtt5.ConnAckReasonCode


class MqttSink:
    """One broker that gets every event. A pack is taken once everything in it is acknowledged."""

    singly = True

    def __init__(self, entry: SinkEntry, venue: str, name: str) -> None:
        """Prepare; nothing is opened yet. `name` is the sink's, and in the client id."""
        parts = urlsplit(entry.url)
        self._entry = entry
        self.keep_s = entry.keep_after_ack_s
        self._tls = parts.scheme == "mqtts"
        self._host = parts.hostname or ""
        self._port = parts.port or PORTS[parts.scheme]
        self._topic = entry.topic.format(venue=venue)
        # Fixed, so that a broker can grant by it, and a connection that only seems to live is taken over.
        self._client_id = f"venue-gateway.{venue}.{name}"
        self._connection: Connection | None = None
        self._why = ""

    async def deliver(self, pack: Pack) -> Verdict:
        """Publish all events of a pack and wait for their acknowledgements. Raises SinkUnavailable."""
        connection = await self._connected()
        most = connection.payload_max
        large = next((number for number, part in enumerate(pack.parts) if len(part) > most), None)
        if large is not None:
            return Refused(f"the broker takes no more than {most} bytes", pack.events[large][1])
        outcomes = await self._publish(connection, pack.parts)
        if Outcome.LOST in outcomes:
            raise SinkUnavailable(f"{self._host}: {connection.closed.result()}")
        if Outcome.UNHEARD in outcomes:
            raise SinkUnavailable(
                f"nobody subscribes to {self._topic} at {self._host}, so events would be lost there; have whoever "
                "needs them subscribe with QoS 1 and a session that outlives its connection"
            )
        refused = [number for number, outcome in enumerate(outcomes) if outcome is Outcome.REFUSED]
        if len(refused) == len(outcomes):
            # It may be about this event or about all: the next that is taken tells.
            raise SinkUnavailable(
                f"{self._host} refuses what is published on {self._topic} ({self._why}); look at its rights and quotas"
            )
        return Refused(self._why, pack.events[refused[0]][1]) if refused else Taken()

    async def close(self) -> None:
        """Leave the broker."""
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.say_goodbye()

    async def _publish(self, connection: Connection, parts: tuple[bytes, ...]) -> list[Outcome]:
        outcomes = [Outcome.LOST] * len(parts)
        waiting, done = len(parts), asyncio.get_running_loop().create_future()

        def acknowledged(number: int, outcome: Outcome) -> None:
            nonlocal waiting
            outcomes[number] = outcome
            waiting -= 1
            if not waiting and not done.done():
                done.set_result(None)

        for number, part in enumerate(parts):
            told = partial(acknowledged, number)
            if not connection.publish(self._topic, part, on_ack=told, content_type=MEDIA_TYPE):
                connection.end("there was no room for a whole pack")
                return outcomes
        try:
            async with asyncio.timeout(ANSWER_S):
                await done
        except TimeoutError:
            connection.end(f"the broker acknowledges nothing within {ANSWER_S:g} s")
        return outcomes

    async def _connected(self) -> Connection:
        if self._connection is not None and self._connection.usable:
            return self._connection
        await self.close()
        password = await asyncio.to_thread(read_secret, self._entry.password_file, "password")
        hello = mqtt5.ConnectPacket(
            client_id=self._client_id,
            username=self._entry.username,
            password=password.encode() if password else None,
            clean_start=True,
            session_expiry_interval=0,
            keep_alive=round(2 * PING_S),
        )
        self._connection = await self._open(hello)
        try:
            async with asyncio.timeout(CONNECT_S):
                await self._connection.establish()
        except BrokerUnavailable as error:
            raise SinkUnavailable(f"{self._host}: {error}") from error
        except TimeoutError:
            self._connection.end("not established")
            raise SinkUnavailable(f"{self._host} takes the connection but does not speak MQTT 5") from None
        return self._connection

    async def _open(self, hello: mqtt5.ConnectPacket) -> Connection:
        entry, context = self._entry, None
        if self._tls:
            context = await asyncio.to_thread(tls_context, entry.ca_file, entry.certificate_file, entry.key_file)
        limits = Limits(ping_s=PING_S)
        broker = Broker(entry.url)

        def made() -> Connection:
            return Connection(self, broker, hello, (), limits, explain=self._explain, tell_unheard=True)

        try:
            async with asyncio.timeout(CONNECT_S):
                loop = asyncio.get_running_loop()
                _, connection = await loop.create_connection(made, self._host, self._port, ssl=context)
        except (OSError, ValueError) as error:
            raise SinkUnavailable(explain_connecting(error, f"{self._host}:{self._port}")) from error
        return connection

    def _explain(self, _: Broker, code: mqtt5.ConnAckReasonCode) -> str:
        if code in (_CODES.BAD_USER_NAME_OR_PASSWORD, _CODES.NOT_AUTHORIZED):
            file = self._entry.password_file or self._entry.certificate_file
            return (
                f"the broker refuses the login; look at {file or '`username` and `password_file`, which are not set'}"
            )
        if code == _CODES.UNSUPPORTED_PROTOCOL_VERSION:
            return "the broker does not speak MQTT 5; it has to"
        return f"the broker refuses the connection: {code.name.lower().replace('_', ' ')}"

    # What the connection calls.

    def took(self, message: Incoming) -> None:
        """Leave a message alone; nothing is subscribed to."""

    def refused(self, topic: str, why: str) -> None:
        """Remember why the broker did not take a publication; the outcome follows."""
        del topic
        self._why = why

    def drained(self) -> None:
        """Hear of room that nobody waits for."""
