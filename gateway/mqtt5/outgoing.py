"""What is published, and how it looks on the wire."""

from __future__ import annotations

from collections.abc import Callable

import mqtt5
import msgspec

from gateway.mqtt5.bounds import Outcome

QOS_1 = mqtt5.QoS.AT_LEAST_ONCE
QOS_0 = mqtt5.QoS.AT_MOST_ONCE

OnAck = Callable[[Outcome], None]


class Outgoing(msgspec.Struct):
    """One publication; `on_ack` hears what became of it."""

    topic: str
    payload: bytes
    retain: bool
    expiry_s: int | None
    correlation_data: bytes | None
    on_ack: OnAck | None
    content_type: str | None


def packet_of(message: Outgoing, qos: mqtt5.QoS, packet_id: int | None) -> bytes:
    """Return the packet that publishes a message."""
    return mqtt5.PublishPacket(
        message.topic,
        message.payload,
        qos=qos,
        retain=message.retain,
        packet_id=packet_id,
        message_expiry_interval=message.expiry_s,
        correlation_data=message.correlation_data,
        content_type=message.content_type,
    ).write()
