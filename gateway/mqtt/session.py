"""The gateway's standing with the broker: connect, stay, come back, and tell everyone which of these it is."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from random import Random

import mqtt5
import structlog

from gateway.config.schema import Broker
from gateway.mqtt5.connection import Connection, Incoming, Limits, OnAck, Outcome
from gateway.mqtt5.endpoint import CONNECT_TIMEOUT_S, BrokerUnavailable, login, open_connection

__all__ = ["Incoming", "Limits", "OnAck", "Outcome", "Session", "StateListener", "Will"]

BACKOFF_FIRST_S = 0.2
BACKOFF_MAX_S = 10.0
STABLE_AFTER_S = 10.0
"""A connection that lasted this long was a good one: the next attempt comes soon again."""
REFUSED_TOPICS_MAX = 200

Will = mqtt5.Will
StateListener = Callable[[bool, str], None]

log = structlog.get_logger()


class Session:
    """A connection to the broker that is made again whenever it breaks; `run()` is its whole life.

    MQTT 5, clean start and session expiry 0: a request sent while the gateway was away is never executed late. Nothing
    that was unacknowledged is sent again by itself after a reconnect; who needs that hears `Outcome.LOST`.
    `state_listeners` are called with (connected, reason in words), in order, at every change.
    """

    def __init__(
        self,
        broker: Broker,
        *,
        name: str,
        subscriptions: Sequence[str],
        on_message: Callable[[Incoming], None],
        random: Random,
        will: Will | None = None,
        limits: Limits | None = None,
    ) -> None:
        self._broker = broker
        self._name = name
        self._subscriptions = subscriptions
        self._on_message = on_message
        self._random = random
        self._will = will
        self._limits = limits or Limits()
        self._connection: Connection | None = None
        self._refused_topics: set[str] = set()
        self._reported = ""
        self.why = "not connected yet"
        self.state_listeners: list[StateListener] = []
        self.drained_listeners: list[Callable[[], None]] = []

    @property
    def connected(self) -> bool:
        """True while publications reach the broker."""
        return self._connection is not None and self._connection.usable

    @property
    def pending(self) -> int:
        """How many QoS 1 publications the broker has not acknowledged yet."""
        return self._connection.pending if self._connection is not None else 0

    @property
    def payload_max(self) -> int:
        """The largest payload, in bytes, that this broker takes; while there is none, that any may take."""
        return self._connection.payload_max if self._connection is not None else self._limits.payload_bytes

    def publish(
        self,
        topic: str,
        payload: bytes,
        *,
        qos: int = 1,
        retain: bool = False,
        expiry_s: int | None = None,
        correlation_data: bytes | None = None,
        on_ack: OnAck | None = None,
    ) -> bool:
        """Publish with QoS 0 or 1; cheap, never waits.

        False when not connected, the payload is too large, or the queue is full: then nothing was sent, `on_ack` is not
        called, and after a full queue `drained_listeners` are called once there is room.
        """
        connection = self._connection
        if connection is None:
            return False
        return connection.publish(
            topic,
            payload,
            qos=qos,
            retain=retain,
            expiry_s=expiry_s,
            correlation_data=correlation_data,
            on_ack=on_ack,
        )

    def flush(self) -> None:
        """Send now what was published in this iteration of the loop, because somebody stands at a gate for it."""
        if self._connection is not None:
            self._connection.flush()

    async def run(self) -> None:
        """Connect and stay connected until cancelled. A wrong or missing broker is waited for, and a bug survived."""
        failures = 0
        while True:
            began = asyncio.get_running_loop().time()
            try:
                why = await self._connect_and_stay()
            except Exception:
                # Without this task nobody hears of the gateway again until it is restarted.
                log.exception("mqtt.session_failed")
                why = "the session failed with a bug; the log has its traceback"
            lasted_s = asyncio.get_running_loop().time() - began
            failures = 0 if lasted_s >= STABLE_AFTER_S else min(failures + 1, 16)
            self._change(why)
            await asyncio.sleep(self._backoff_s(failures))

    async def drain(self, timeout_s: float) -> bool:
        """Wait until the broker acknowledged everything; False when it did not within `timeout_s` seconds."""
        if self._connection is None:
            return False
        try:
            async with asyncio.timeout(timeout_s):
                await self._connection.idle.wait()
        except TimeoutError:
            return False
        return True

    def _backoff_s(self, failures: int) -> float:
        """Grow with each failure up to a cap; the random half keeps many gateways from knocking in step."""
        longest: float = min(BACKOFF_MAX_S, BACKOFF_FIRST_S * 2.0**failures)
        return longest * (0.5 + self._random.random() / 2)

    async def _connect_and_stay(self) -> str:
        """Return why the connection could not be made, or why it ended."""
        try:
            connection = await self._connect()
            self._change("")
            return await connection.ended()
        except BrokerUnavailable as error:
            return str(error)
        finally:
            opened, self._connection = self._connection, None
            if opened is not None:
                opened.say_goodbye()

    async def _connect(self) -> Connection:
        packet = self._connect_packet()

        def made() -> Connection:
            # Kept from its first byte on: retained messages come with the SUBACK and may need an answer at once.
            self._connection = Connection(self, self._broker, packet, self._subscriptions, self._limits)
            return self._connection

        connection = await open_connection(self._broker, made)
        try:
            async with asyncio.timeout(CONNECT_TIMEOUT_S):
                await connection.establish()
        except TimeoutError:
            connection.end("not established")
            raise BrokerUnavailable("the broker took the connection but does not speak MQTT") from None
        return connection

    def _connect_packet(self) -> mqtt5.ConnectPacket:
        username, password = login(self._broker)
        return mqtt5.ConnectPacket(
            # A client could push the gateway off the broker by connecting with its client id, so nobody can guess it.
            client_id=f"{self._name}-{self._random.getrandbits(64):016x}",
            username=username,
            password=password,
            clean_start=True,
            session_expiry_interval=0,
            keep_alive=max(1, round(2 * self._limits.ping_s)),
            receive_max=self._limits.window_messages,
            max_packet_size=self._limits.incoming_bytes,
            will=self._will,
        )

    def _change(self, why: str) -> None:
        """Report a change once; the same failure over and over is one line in the log."""
        self.why = why
        if why != self._reported or not why:
            self._reported = why
            log.warning("mqtt.disconnected", why=why) if why else log.info("mqtt.connected", broker=self._broker.url)
        for listener in self.state_listeners:
            try:
                listener(not why, why)
            except Exception:
                log.exception("mqtt.session_failed")

    # What the connection calls.

    def took(self, message: Incoming) -> None:
        """Hand a message on. One that cannot be handled must not take the connection with it."""
        try:
            self._on_message(message)
        except Exception:
            log.exception("mqtt.message_failed", topic=message.topic[:200])

    def refused(self, topic: str, why: str) -> None:
        """Log a refused publication once for each topic."""
        if topic not in self._refused_topics and len(self._refused_topics) < REFUSED_TOPICS_MAX:
            self._refused_topics.add(topic)
            log.warning("mqtt.publish_refused", topic=topic, why=why, hint="check the broker's ACL for the gateway")

    def drained(self) -> None:
        """Pass on that there is room again."""
        for listener in self.drained_listeners:
            listener()
