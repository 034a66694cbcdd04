"""One MQTT 5 connection: packets over an asyncio transport, by the sans-I/O codec `mqtt5`.

Everything here is synchronous and cheap: what is written in one iteration of the loop leaves in one system call, and a
message is handed over in the very call in which its bytes arrived. See docs/decisions/0001-mqtt5-over-asyncio.md.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Sequence
from typing import Protocol, cast

import mqtt5
import msgspec

from gateway.config.schema import Broker
from gateway.mqtt5.bounds import Limits, Outcome
from gateway.mqtt5.endpoint import BrokerUnavailable, explain_disconnect, explain_refusal
from gateway.mqtt5.outgoing import QOS_0, QOS_1, OnAck, Outgoing, packet_of

__all__ = ["QOS_1", "Connection", "Incoming", "Limits", "OnAck", "Outcome", "Owner"]

OK_BELOW = 0x80
"""Reason codes from here on are failures (MQTT 5.0, section 2.4). The codes of `mqtt5` compare only by `int()`."""
WRITE_BUFFER_BYTES = 1024 * 1024
ACKNOWLEDGE_S = 0.005
"""An acknowledgement waits this long for something to go with. The broker sends hundreds before it misses the first."""
PACKET_ID_MAX = 0xFFFF
PACKET_OVERHEAD_BYTES = 128 * 1024
"""What a packet may hold beside its payload: a topic of at most 64 KiB and as much in properties."""
REST_BYTES_MAX = 64 * 1024
"""More than this is left to the broker while what is here already waits for its turn."""
MESSAGES_PER_TURN = 16
"""So many messages are taken before whoever taps at a reader of our own has a turn: a few milliseconds' worth (I8)."""


class Incoming(msgspec.Struct, frozen=True):
    """One message from the broker. `retain` is the publisher's flag; the last two are its MQTT 5 properties."""

    topic: str
    payload: bytes
    retain: bool
    response_topic: str | None = None
    correlation_data: bytes | None = None


class Owner(Protocol):
    """Whoever the connection works for. All calls are synchronous and must not raise."""

    def took(self, message: Incoming) -> None:
        """Take a message; it is acknowledged when this returns."""
        ...

    def refused(self, topic: str, why: str) -> None:
        """Hear that the broker did not take a publication on `topic`."""
        ...

    def drained(self) -> None:
        """Hear that there is room again after a publication found none."""
        ...


class Connection(asyncio.Protocol):
    """One connection from CONNECT to its end. `ready` is done after SUBACK, `closed` with the reason in words."""

    def __init__(
        self,
        owner: Owner,
        broker: Broker,
        connect: mqtt5.ConnectPacket,
        filters: Sequence[str],
        limits: Limits,
        *,
        explain: Callable[[Broker, mqtt5.ConnAckReasonCode], str] = explain_refusal,
        tell_unheard: bool = False,
    ) -> None:
        """Prepare; `explain` says why the broker turned the login down, and with `tell_unheard` it counts who hears."""
        self._owner = owner
        self._broker = broker
        self._connect = connect
        self._filters = filters
        self._limits = limits
        self._explain = explain
        self._tell_unheard = tell_unheard
        self._loop = asyncio.get_running_loop()
        self.ready: asyncio.Future[None] = self._loop.create_future()
        self.closed: asyncio.Future[str] = self._loop.create_future()
        self._transport: asyncio.Transport | None = None
        self._rest = b""
        self._out: list[bytes] = []
        self._flush_due = False
        self._ack_timer: asyncio.TimerHandle | None = None
        self._paused = self._resting = False
        self._inflight: dict[int, Outgoing] = {}
        self._queue: deque[Outgoing] = deque()
        self._queued_bytes = 0
        self._wanted_room = False
        self._window = 1
        self._welcome = False
        self._payload_max = limits.payload_bytes
        self._packet_id = 0
        self._heard = True
        self._ping_timer: asyncio.TimerHandle | None = None
        self.idle = asyncio.Event()
        self.idle.set()

    # Publishing.

    @property
    def usable(self) -> bool:
        """True between SUBACK and the end."""
        return self.ready.done() and not self.closed.done()

    @property
    def pending(self) -> int:
        """How many QoS 1 publications are not acknowledged yet."""
        return len(self._inflight) + len(self._queue)

    @property
    def payload_max(self) -> int:
        """The largest payload in bytes that this broker takes."""
        return self._payload_max

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
        content_type: str | None = None,
    ) -> bool:
        """Send, or queue for sending. False when there is no room: nothing was sent and `on_ack` is not called."""
        message = Outgoing(topic, payload, retain, expiry_s, correlation_data, on_ack, content_type)
        if not self._welcome or len(payload) > self._payload_max:
            return False
        if qos == 0:
            return self._publish_unacknowledged(message)
        if not self._queue and self._may_send():
            self._send(message)
            return True
        return self._enqueue(message)

    def _publish_unacknowledged(self, message: Outgoing) -> bool:
        """What is live only is dropped when the broker does not keep up."""
        if self._paused:
            return False
        self._write(packet_of(message, QOS_0, None))
        return True

    def _enqueue(self, message: Outgoing) -> bool:
        size = self._queued_bytes + len(message.payload)
        if len(self._queue) >= self._limits.queue_messages or size > self._limits.queue_bytes:
            self._wanted_room = True
            return False
        self._queue.append(message)
        self._queued_bytes = size
        return True

    def _may_send(self) -> bool:
        return len(self._inflight) < self._window and not self._paused

    def _send(self, message: Outgoing) -> None:
        packet_id = self._packet_id % PACKET_ID_MAX + 1
        while packet_id in self._inflight:
            packet_id = packet_id % PACKET_ID_MAX + 1
        self._packet_id = packet_id
        self._inflight[packet_id] = message
        self.idle.clear()
        self._write(packet_of(message, QOS_1, packet_id))

    def _pump(self) -> None:
        while self._queue and self._may_send():
            message = self._queue.popleft()
            self._queued_bytes -= len(message.payload)
            self._send(message)
        if self._wanted_room and len(self._queue) <= self._limits.queue_messages // 2:
            self._wanted_room = False
            self._owner.drained()

    def _write(self, data: bytes) -> None:
        self._out.append(data)
        if not self._flush_due:
            self._flush_due = True
            self._loop.call_soon(self.flush)

    def _acknowledge(self, data: bytes) -> None:
        """Most messages are answered in a moment: the acknowledgement goes with the answer and wakes nobody twice."""
        self._out.append(data)
        if not self._flush_due and self._ack_timer is None:
            self._ack_timer = self._loop.call_later(ACKNOWLEDGE_S, self._acknowledge_now)

    def _acknowledge_now(self) -> None:
        self._ack_timer = None
        self.flush()

    def flush(self) -> None:
        """Write now what would be written when the loop comes round."""
        self._flush_due = False
        if self._out and self._transport is not None:
            self._transport.write(b"".join(self._out))
        self._out.clear()

    # The asyncio protocol.

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Say hello."""
        # What a stream's protocol gets is a Transport, though asyncio types it as its base.
        self._transport = transport = cast("asyncio.Transport", transport)
        transport.set_write_buffer_limits(high=WRITE_BUFFER_BYTES)
        transport.write(self._connect.write())
        self._ping_timer = self._loop.call_later(self._limits.ping_s, self._ping)

    def data_received(self, data: bytes) -> None:
        """Take every whole packet; what is left waits for its rest."""
        self._heard = True
        self._rest = self._rest + data if self._rest else data
        if not self._resting:
            self._read()

    def _read(self) -> None:
        view = memoryview(self._rest)
        at, messages = 0, 0
        while at < len(view) and messages < MESSAGES_PER_TURN and not self.closed.done():
            try:
                packet, used = mqtt5.read(view[at:])
            except IndexError:
                break
            except BaseException as error:
                # On text that is no UTF-8 mqtt5 0.8 panics; pyo3 hands a panic over as a BaseException of its own.
                if not isinstance(error, ValueError) and type(error).__name__ != "PanicException":
                    raise
                return self.end("the broker sent a malformed packet")
            at += used
            messages += isinstance(packet, mqtt5.PublishPacket)
            self._take(packet)
        self._rest = bytes(view[at:])
        if messages == MESSAGES_PER_TURN:
            self._rest_a_turn()
        if len(self._rest) > self._limits.incoming_bytes:
            return self.end("the broker sent a packet larger than was agreed")
        if self._flush_due:
            self.flush()
        return None

    def _rest_a_turn(self) -> None:
        """Let readers, gates and those just answered have their turn; the broker holds back the rest of a flood."""
        self._resting = True
        if self._transport is not None and len(self._rest) > REST_BYTES_MAX:
            self._transport.pause_reading()
        self._loop.call_soon(self._go_on)

    def _go_on(self) -> None:
        self._resting = False
        if self._transport is not None and not self.closed.done():
            self._transport.resume_reading()
            self._read()

    def connection_lost(self, exc: Exception | None) -> None:
        """Tell everyone who waits."""
        self.end(f"the connection broke: {exc}" if exc else "the broker closed the connection")

    def pause_writing(self) -> None:
        """The broker does not keep up reading."""
        self._paused = True

    def resume_writing(self) -> None:
        """The broker reads again."""
        self._paused = False
        self._pump()

    def end(self, why: str) -> None:
        """Close the connection at once. Publications without acknowledgement become LOST."""
        if self.closed.done():
            return
        self.closed.set_result(why)
        self._welcome = False
        for timer in (self._ping_timer, self._ack_timer):
            if timer is not None:
                timer.cancel()
        if self._transport is not None:
            self._transport.abort()
        waiting = [*self._inflight.values(), *self._queue]
        self._inflight.clear()
        self._queue.clear()
        self.idle.set()
        for message in waiting:
            if message.on_ack is not None:
                message.on_ack(Outcome.LOST)

    def say_goodbye(self) -> None:
        """End the connection in order, so that the broker does not publish the last will."""
        if self._transport is None or self.closed.done():
            return
        self._write(mqtt5.DisconnectPacket().write())
        self.flush()
        # close(), unlike abort(), writes what is buffered first.
        self._transport.close()
        self._transport = None
        self.end("the gateway said goodbye")

    # Packets.

    def _take(self, packet: mqtt5.Packet) -> None:
        match packet:
            case mqtt5.PublishPacket():
                self._take_message(packet)
            case mqtt5.PubAckPacket():
                self._take_acknowledgement(packet)
            case mqtt5.PingRespPacket():
                pass
            case mqtt5.ConnAckPacket():
                self._take_welcome(packet)
            case mqtt5.SubAckPacket():
                self._take_subscription(packet)
            case mqtt5.DisconnectPacket():
                self.end(explain_disconnect(packet.reason_code))
            case _:
                self.end(f"the broker sent an unexpected {type(packet).__name__}")

    def _take_message(self, packet: mqtt5.PublishPacket) -> None:
        if packet.qos == mqtt5.QoS.EXACTLY_ONCE:
            return self.end("the broker sent a QoS 2 message to a QoS 1 subscription")
        message = Incoming(packet.topic, packet.payload, packet.retain, packet.response_topic, packet.correlation_data)
        self._owner.took(message)
        if packet.packet_id is not None:
            self._acknowledge(mqtt5.PubAckPacket(packet.packet_id).write())
        return None

    def _take_acknowledgement(self, packet: mqtt5.PubAckPacket) -> None:
        message = self._inflight.pop(packet.packet_id, None)
        if message is None:
            return
        refused = int(packet.reason_code) >= OK_BELOW
        if refused:
            why = packet.reason_str or packet.reason_code.name.lower().replace("_", " ")
            self._owner.refused(message.topic, why)
        if message.on_ack is not None:
            unheard = self._tell_unheard and packet.reason_code == mqtt5.PubAckReasonCode.NO_MATCHING_SUBSCRIBERS
            heard = Outcome.UNHEARD if unheard else Outcome.DELIVERED
            message.on_ack(Outcome.REFUSED if refused else heard)
        self._pump()
        if not self._inflight:
            self.idle.set()

    def _take_welcome(self, packet: mqtt5.ConnAckPacket) -> None:
        if int(packet.reason_code) >= OK_BELOW:
            return self.end(self._explain(self._broker, packet.reason_code))
        self._window = min(packet.receive_max, self._limits.window_messages)
        if packet.max_packet_size is not None:
            room = max(packet.max_packet_size - PACKET_OVERHEAD_BYTES, packet.max_packet_size // 2)
            self._payload_max = min(self._payload_max, room)
        # Publishing may begin now: Mosquitto sends retained messages before the SUBACK, and those need an answer too.
        self._welcome = True
        if not self._filters:
            return self.ready.set_result(None)
        # no_local: what the gateway publishes itself, such as the clearing of a retained request, is not for it.
        wanted = [mqtt5.TopicFilter(pattern, max_qos=QOS_1, no_local=True) for pattern in self._filters]
        return self._write(mqtt5.SubscribePacket(1, wanted).write())

    def _take_subscription(self, packet: mqtt5.SubAckPacket) -> None:
        for pattern, code in zip(self._filters, packet.reason_codes, strict=False):
            if int(code) >= OK_BELOW:
                return self.end(f"the broker does not let the gateway subscribe to {pattern}: check its ACL")
        if not self.ready.done():
            self.ready.set_result(None)
        return None

    def _ping(self) -> None:
        """Ping, and give up when nothing at all was heard since the ping before."""
        if not self._heard:
            return self.end(f"the broker has been silent for {2 * self._limits.ping_s:g} s")
        self._heard = False
        self._write(mqtt5.PingReqPacket().write())
        self._ping_timer = self._loop.call_later(self._limits.ping_s, self._ping)
        return None

    async def establish(self) -> None:
        """Wait until the subscriptions stand. Raises BrokerUnavailable."""
        await asyncio.wait((self.ready, self.closed), return_when=asyncio.FIRST_COMPLETED)
        if self.closed.done():
            raise BrokerUnavailable(self.closed.result())

    async def ended(self) -> str:
        """Wait for the end and return why it came. Cancelling the wait leaves the connection as it is."""
        await asyncio.wait((self.closed,))
        return self.closed.result()
