"""A broker in virtual time: MQTT 5 bytes towards the gateway, plain calls towards everyone else.

It delays, drops connections, delivers a message twice, lets topics overtake one another, cuts packets into pieces, and
keeps what is retained. The gateway's own connection code talks to it through a transport without a socket.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from random import Random
from typing import Any

import mqtt5

from tests.simulation.observers import Observers
from tests.simulation.timeline import Timeline
from tests.simulation.wire import feed_seqs

DELAYS_S = (0.0002, 0.0005, 0.001, 0.004)


class SimTransport(asyncio.Transport):
    """The gateway's end of its connection; bytes cross to the broker in order and with a delay."""

    def __init__(self, link: Link) -> None:
        super().__init__()
        self._link = link

    def write(self, data: Any) -> None:
        self._link.from_gateway(bytes(data))

    def abort(self) -> None:
        self._link.close(will=True)

    def close(self) -> None:
        self._link.close(will=False)

    def is_closing(self) -> bool:
        return not self._link.open

    def set_write_buffer_limits(self, high: Any = None, low: Any = None) -> None:
        pass

    def pause_reading(self) -> None:
        """What comes meanwhile waits in the gateway's own buffer."""

    def resume_reading(self) -> None:
        pass


class Link:
    """One connection of the gateway."""

    def __init__(self, broker: Broker, protocol: asyncio.Protocol) -> None:
        self.broker = broker
        self.protocol = protocol
        self.open = True
        self.filters: list[str] = []
        self._rest = b""
        self._lanes = {"up": 0.0, "down": 0.0}
        self._packet_id = 0
        self._will: mqtt5.Will | None = None
        self._feed: dict[int, int] = {}

    # From the gateway.

    def from_gateway(self, data: bytes) -> None:
        if not self.open or self.broker.timeline.killed:
            return
        view = memoryview(self._rest + data)
        at = 0
        while at < len(view):
            try:
                packet, used = mqtt5.read(view[at:])
            except IndexError:
                break
            at += used
            if isinstance(packet, mqtt5.PublishPacket):
                self.broker.observers.wire.told(packet.topic, packet.payload, retain=packet.retain)
            self._cross("up", self._arrived, packet)
        self._rest = bytes(view[at:])

    def _cross(self, lane: str, function: Callable[..., None], *args: Any) -> None:
        """Let something cross the network: in order within its lane, late by a random time."""
        broker, lanes = self.broker, self._lanes
        at_s = broker.timeline.now_s + broker.delay_s()
        if at_s < (before_s := lanes[lane]):
            at_s = before_s
        lanes[lane] = at_s
        broker.timeline.at(at_s, function, *args)

    def _arrived(self, packet: mqtt5.Packet) -> None:
        if not self.open:
            return
        if self.broker.frozen:
            self.broker.faults.count("broker", "swallowed while frozen")
            return
        if isinstance(packet, mqtt5.PublishPacket):
            # Nearly all are, and looking through the others first would be a good part of the whole delivery.
            self._take(packet)
            return
        match packet:
            case mqtt5.ConnectPacket():
                self._will = packet.will
                self._send(mqtt5.ConnAckPacket(receive_max=self.broker.receive_max).write())
            case mqtt5.SubscribePacket():
                self.filters = [one.pattern for one in packet.topic_filters]
                codes = [mqtt5.SubAckReasonCode.GRANTED_QOS_AT_LEAST_ONCE] * len(self.filters)
                for topic, payload in self.broker.retained.items():
                    self.deliver(topic, payload, retain=True)
                self._send(mqtt5.SubAckPacket(packet.packet_id, codes).write())
            case mqtt5.PingReqPacket():
                self._send(mqtt5.PingRespPacket().write())
            case mqtt5.DisconnectPacket():
                self._will = None
            case _:
                pass

    def _take(self, packet: mqtt5.PublishPacket) -> None:
        seqs = self.broker.route(packet)
        if packet.packet_id is not None:
            if seqs:
                self._feed[packet.packet_id] = seqs[-1]
            self._send(mqtt5.PubAckPacket(packet.packet_id).write(), packet.packet_id)

    # To the gateway.

    def deliver(self, topic: str, payload: bytes, *, retain: bool, **properties: Any) -> None:
        if not self.open or not any(matches(pattern, topic) for pattern in self.filters):
            return
        if retain:
            self.broker.faults.count("broker", "handed out retained requests")
        self._packet_id = self._packet_id % 0xFFFF + 1
        packet = mqtt5.PublishPacket(
            topic, payload, qos=mqtt5.QoS.AT_LEAST_ONCE, retain=retain, packet_id=self._packet_id, **properties
        )
        self._send(packet.write())

    def _send(self, data: bytes, acknowledges: int | None = None) -> None:
        random = self.broker.random
        if len(data) > 2 and random.random() < 0.05:
            self.broker.faults.count("network", "packet in pieces")
            cut = random.randrange(1, len(data))
            self._cross("down", self._deliver_bytes, data[:cut], None)
            data = data[cut:]
        self._cross("down", self._deliver_bytes, data, acknowledges)

    def _deliver_bytes(self, data: bytes, acknowledges: int | None) -> None:
        if not self.open or self.broker.timeline.killed:
            return
        if acknowledges in self._feed:
            self.broker.observers.wire.acknowledged_feed(self._feed.pop(acknowledges))
        self.protocol.data_received(data)

    def close(self, *, will: bool) -> None:
        """The gateway ended the connection."""
        if self.open:
            self.open = False
            self.broker.lost(self, self._will if will else None)
            if not self.broker.timeline.killed:
                self.broker.timeline.after(0.0, self._say_lost, None)

    def drop(self, error: Exception | None) -> None:
        """The network or the broker ended it."""
        if self.open:
            self.open = False
            self.broker.faults.count("broker", "cut the connection")
            self.broker.lost(self, self._will)
            if not self.broker.timeline.killed:
                self._say_lost(error)

    def _say_lost(self, error: Exception | None) -> None:
        if not self.broker.timeline.killed:
            self.protocol.connection_lost(error)

    def vanish(self) -> None:
        """The gateway's process is gone; the kernel closes its sockets."""
        if self.open:
            self.open = False
            self.broker.lost(self, self._will)


class Broker:
    """What outlives every connection: retained messages, and the clients who listen."""

    def __init__(self, base: str, timeline: Timeline, random: Random, observers: Observers) -> None:
        self.timeline = timeline
        self.random = random
        self.observers = observers
        self.faults = observers.faults
        self.base = base
        self.events_topic = f"{base}/events"
        self.retained: dict[str, bytes] = {}
        self.link: Link | None = None
        self.up = True
        self.frozen = False
        self.slow = 1.0
        self.receive_max = random.choice((1, 3, 20, 1000))
        self.on_response: Callable[[str, bytes], None] | None = None
        self._published = self._forwarded = 0

    def delay_s(self) -> float:
        return DELAYS_S[int(self.random.random() * len(DELAYS_S))] * self.slow

    async def connect(self, protocol_factory: Callable[[], asyncio.Protocol]) -> tuple[SimTransport, asyncio.Protocol]:
        await asyncio.sleep(self.delay_s())
        if not self.up:
            self.faults.count("broker", "refused a connection")
            raise ConnectionRefusedError
        protocol = protocol_factory()
        self.link = Link(self, protocol)
        transport = SimTransport(self.link)
        protocol.connection_made(transport)
        return transport, protocol

    def publish(self, topic: str, payload: bytes, *, retain: bool = False, **properties: Any) -> None:
        """A client publishes. Each topic is a lane of its own, so that topics overtake one another."""
        if not self.up:
            self.faults.count("broker", "lost a request")
            return
        if retain:
            self.retained[topic] = payload
        self._published += 1
        copies = 1
        if self.random.random() < 0.08:
            copies = 2
            self.faults.count("broker", "delivered twice")
        if self.slow > 1:
            self.faults.count("broker", "crawled")
        for _ in range(copies):
            self.timeline.after(self.delay_s(), self._forward, self._published, topic, payload, retain, properties)

    def _forward(self, number: int, topic: str, payload: bytes, retain: bool, properties: dict[str, Any]) -> None:
        if self.link is None or not self.up or self.frozen:
            self.faults.count("broker", "lost a request")
            return
        if number < self._forwarded:
            self.faults.count("broker", "let topics overtake")
        self._forwarded = max(self._forwarded, number)
        self.link.deliver(topic, payload, retain=retain, **properties)

    def route(self, packet: mqtt5.PublishPacket) -> list[int]:
        """Take what the gateway published. Returns the numbers of the rows of the feed in it."""
        topic = packet.topic
        if packet.retain:
            if packet.payload:
                self.retained[topic] = packet.payload
            else:
                self.retained.pop(topic, None)
        if topic == self.events_topic:
            seqs = feed_seqs(packet.payload)
            self.observers.wire.arrived(seqs)
            return seqs
        if topic.endswith("/responses") and self.on_response is not None:
            self.on_response(topic, packet.payload)
        return []

    def lost(self, link: Link, will: mqtt5.Will | None) -> None:
        if link is self.link:
            self.link = None
        if will is not None and will.retain and will.payload is not None:
            self.retained[will.topic] = will.payload

    def go_down(self) -> None:
        self.up = False
        self.cut()

    def cut(self) -> None:
        if self.link is not None:
            self.link.drop(self.random.choice((None, ConnectionResetError("reset by peer"))))


def matches(pattern: str, topic: str) -> bool:
    wanted, levels = pattern.split("/"), topic.split("/")
    return len(wanted) == len(levels) and all(one in ("+", level) for one, level in zip(wanted, levels, strict=True))
