"""The venue's broker for devices that speak MQTT themselves.

Each gets a connection of its own, so that one that babbles or is refused costs nobody else anything (I8).
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from random import Random

from drivers.api import MessageLink, OnMessage
from gateway.config.schema import Broker
from gateway.mqtt.session import Incoming, Session
from gateway.mqtt5.connection import Limits

COMMAND_EXPIRY_S = 2
"""A command that the device did not get by then is thrown away by the broker: nobody expects it any more (I6)."""
LIMITS = Limits(queue_messages=100, queue_bytes=256 * 1024, payload_bytes=64 * 1024, incoming_bytes=256 * 1024)

Spawn = Callable[..., asyncio.Task[None]]


class DeviceLink:
    """One device's connection."""

    def __init__(self, session: Session, task: asyncio.Task[None]) -> None:
        """Take a session and the task it runs in."""
        self._session = session
        self._task = task

    def publish(self, topic: str, payload: bytes) -> bool:
        """Publish with QoS 1, never retained, for two seconds; False: nothing was sent."""
        return self._session.publish(topic, payload, qos=1, retain=False, expiry_s=COMMAND_EXPIRY_S)

    def close(self) -> None:
        """Disconnect; nothing is said any more."""
        self._session.state_listeners.clear()
        self._task.cancel()


class DeviceBus:
    """Opens a connection for each device that asks for one."""

    def __init__(self, broker: Broker, name: str, spawn: Spawn, random: Random) -> None:
        """Take the broker of the configuration, a name for the client ids, and where tasks are run."""
        self._broker = broker
        self._name = name
        self._spawn = spawn
        self._random = random

    def open(self, topics: tuple[str, ...], on_message: OnMessage, on_link: Callable[[str], None]) -> MessageLink:
        """Connect and stay connected, subscribed to `topics`; see `drivers.api.MessageBus`."""

        def took(message: Incoming) -> None:
            on_message(message.topic, message.payload, message.retain)

        def changed(connected: bool, why: str) -> None:
            on_link("" if connected else why)

        session = Session(
            self._broker,
            name=self._name,
            subscriptions=topics,
            on_message=took,
            random=self._random,
            limits=LIMITS,
        )
        session.state_listeners.append(changed)
        return DeviceLink(session, self._spawn(session.run()))
