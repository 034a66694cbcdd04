"""What is retained: how the gateway and each device are, always the newest, again at every reconnect."""

from __future__ import annotations

import asyncio
from collections.abc import Collection

import msgspec
import structlog

from gateway.mqtt.messages import (
    DeviceEvent,
    DeviceState,
    GatewayDevices,
    GatewayHealth,
    GatewayInfo,
    GatewayState,
    GatewayZones,
)
from gateway.mqtt.session import Session, Will
from gateway.mqtt.topics import Topics
from gateway.mqtt5.connection import QOS_1, Incoming

QUIET_S = 0.1
"""At most one message per topic in this time; of several, the last one is published at its end."""
TOPICS_MAX = 2_000

_encode = msgspec.json.Encoder().encode
log = structlog.get_logger()


def last_will(topics: Topics) -> Will:
    """Return what the broker publishes when it loses the gateway."""
    state = GatewayState(state="offline", why=("the connection to the gateway was lost",))
    return Will(topics.gateway_state, payload=_encode(state), qos=QOS_1, retain=True)


class _Latest:
    """The newest payload of one topic, and whether the broker has it."""

    __slots__ = ("dirty", "payload", "timer")

    def __init__(self) -> None:
        self.payload = b""
        self.dirty = False
        self.timer: asyncio.TimerHandle | None = None


class Announcer:
    """Keeps the retained topics true. Every method is cheap and may be called as often as one likes."""

    def __init__(self, session: Session, topics: Topics) -> None:
        self._session = session
        self._topics = topics
        self._latest: dict[str, _Latest] = {}
        self._quiet_s = QUIET_S
        session.state_listeners.append(self._state_changed)
        session.drained_listeners.append(self._publish_dirty)

    def gateway_state(self, state: GatewayState) -> None:
        """Announce whether the gateway works."""
        self._set(self._topics.gateway_state, _encode(state))

    def gateway_info(self, info: GatewayInfo) -> None:
        """Announce what runs here."""
        self._set(self._topics.gateway_info, _encode(info))

    def gateway_devices(self, devices: GatewayDevices) -> None:
        """Announce which devices there are."""
        self._set(self._topics.gateway_devices, _encode(devices))

    def gateway_health(self, health: GatewayHealth) -> None:
        """Announce the figures."""
        self._set(self._topics.gateway_health, _encode(health))

    def gateway_zones(self, zones: GatewayZones) -> None:
        """Announce how full the zones are, and what staff ordered for them."""
        self._set(self._topics.gateway_zones, _encode(zones))

    def device_state(self, device: str, state: DeviceState) -> None:
        """Announce how a device or gate is."""
        self._set(self._topics.device_state(device), _encode(state))

    def device_gone(self, device: str) -> None:
        """Clear the state of a device that is no longer configured."""
        topic = self._topics.device_state(device)
        latest = self._latest.pop(topic, None)
        if latest is not None and latest.timer is not None:
            latest.timer.cancel()
        self._session.publish(topic, b"", retain=True)

    def keep_only(self, names: Collection[str]) -> None:
        """Clear the state of every device and gate that is not among `names`, those configured now."""
        states = {topic: self._topics.parse_device_state(topic) for topic in self._latest}
        for name in states.values():
            if name is not None and name not in names:
                self.device_gone(name)

    def device_event(self, device: str, event: DeviceEvent) -> None:
        """Tell live what a device told; lost when nobody listens or the broker does not keep up."""
        self._session.publish(self._topics.device_events(device), _encode(event), qos=0)

    def retained_found(self, message: Incoming) -> None:
        """Clear a device state that an earlier configuration left in the broker."""
        device = self._topics.parse_device_state(message.topic)
        if device is not None and message.payload and message.topic not in self._latest:
            log.info("mqtt.stale_state_cleared", device=device)
            self._session.publish(message.topic, b"", retain=True)

    def close(self) -> None:
        """Publish at once what still waits, and from now on every change without a pause."""
        self._quiet_s = 0.0
        self._stop_timers()
        self._publish_dirty()

    def _set(self, topic: str, payload: bytes) -> None:
        latest = self._latest.get(topic)
        if latest is None:
            if len(self._latest) >= TOPICS_MAX:
                log.error("mqtt.too_many_topics", topic=topic)
                return
            latest = self._latest[topic] = _Latest()
        elif latest.payload == payload:
            return
        latest.payload = payload
        latest.dirty = True
        if latest.timer is None:
            self._publish(topic, latest)

    def _publish(self, topic: str, latest: _Latest) -> None:
        # No acknowledgement is waited for: the session reports a refusal, and a reconnect publishes everything again.
        if not self._session.publish(topic, latest.payload, retain=True):
            return
        latest.dirty = False
        if self._quiet_s:
            latest.timer = asyncio.get_running_loop().call_later(self._quiet_s, self._quiet_over, topic, latest)

    def _quiet_over(self, topic: str, latest: _Latest) -> None:
        latest.timer = None
        if latest.dirty:
            self._publish(topic, latest)

    def _publish_dirty(self) -> None:
        for topic, latest in self._latest.items():
            if latest.dirty and latest.timer is None:
                self._publish(topic, latest)

    def _state_changed(self, connected: bool, _why: str) -> None:
        if not connected:
            return
        self._stop_timers()
        for latest in self._latest.values():
            latest.dirty = True
        self._publish_dirty()

    def _stop_timers(self) -> None:
        for latest in self._latest.values():
            if latest.timer is not None:
                latest.timer.cancel()
                latest.timer = None
