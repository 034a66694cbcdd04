"""The one MQTT client that asks in every measurement, so that what differs is who answers."""

from __future__ import annotations

import asyncio
import gc
import socket
import time
from collections.abc import Callable, Sequence
from typing import NamedTuple, SupportsInt, cast

import mqtt5
import msgspec

IN_FLIGHT_MAX = 1000
PATIENCE_S = 10.0
KEEP_ALIVE_S = 300
"""The most the gateway's broker allows; no benchmark is silent for that long."""

OnPublish = Callable[[mqtt5.PublishPacket], None]


class BareClient(asyncio.Protocol):
    """A QoS 1 client with nothing to it: packets in, callback; packets of one loop turn out in one write."""

    def __init__(self, client_id: str, username: str | None, password: bytes | None) -> None:
        self.on_publish: OnPublish = lambda _: None
        self.on_taken: Callable[[int], None] = lambda _: None
        """Called with the number of each publication that the broker has acknowledged."""
        self._connect = mqtt5.ConnectPacket(
            client_id=client_id,
            username=username,
            password=password,
            clean_start=True,
            keep_alive=KEEP_ALIVE_S,
            receive_max=IN_FLIGHT_MAX,
        )
        self._buffer = b""
        self._out: list[bytes] = []
        self._flushing = False
        self._packet_id = 0
        self._loop = asyncio.get_running_loop()
        self._connected: asyncio.Future[None] = self._loop.create_future()
        self._subscribed: asyncio.Future[None] = self._loop.create_future()
        self.lost: asyncio.Future[str] = self._loop.create_future()
        self._transport: asyncio.Transport

    @classmethod
    async def tcp(cls, port: int, client_id: str, username: str, password: str) -> BareClient:
        """Connect over TCP on loopback, as a tablet does, with Nagle's algorithm off."""
        transport, client = await asyncio.get_running_loop().create_connection(
            lambda: cls(client_id, username, password.encode()), "127.0.0.1", port
        )
        transport.get_extra_info("socket").setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        await asyncio.wait_for(client._connected, PATIENCE_S)  # noqa: SLF001 - its own
        return client

    @classmethod
    async def unix(cls, path: str, client_id: str) -> BareClient:
        """Connect over a Unix socket, as the gateway does."""
        _, client = await asyncio.get_running_loop().create_unix_connection(lambda: cls(client_id, None, None), path)
        await asyncio.wait_for(client._connected, PATIENCE_S)  # noqa: SLF001 - its own
        return client

    async def subscribe(self, pattern: str) -> None:
        """Subscribe with QoS 1 and wait until the broker has taken it."""
        self._subscribed = self._loop.create_future()
        wanted = mqtt5.TopicFilter(pattern, max_qos=mqtt5.QoS.AT_LEAST_ONCE)
        self._send(mqtt5.SubscribePacket(self._next_id(), [wanted]).write())
        await asyncio.wait_for(self._subscribed, PATIENCE_S)

    def publish(self, topic: str, payload: bytes) -> int:
        """Publish with QoS 1; returns the publication's number."""
        number = self._next_id()
        packet = mqtt5.PublishPacket(topic, payload, qos=mqtt5.QoS.AT_LEAST_ONCE, packet_id=number)
        self._send(packet.write())
        return number

    def close(self) -> None:
        """Drop the connection."""
        self._transport.abort()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Say CONNECT."""
        # What a stream's protocol gets is a Transport, though asyncio types it as its base.
        self._transport = cast("asyncio.Transport", transport)
        self._transport.write(self._connect.write())

    def connection_lost(self, exc: Exception | None) -> None:
        """Tell whoever waits for an answer that none will come."""
        self.lost.set_result(f"the broker's connection broke: {exc or 'closed'}")

    def data_received(self, data: bytes) -> None:
        """Read every whole packet."""
        view, start = memoryview(self._buffer + data), 0
        while True:
            try:
                packet, length = mqtt5.read(view[start:])
            except IndexError:
                break
            start += length
            self._take(packet)
        self._buffer = bytes(view[start:])
        self._flush()

    def _take(self, packet: mqtt5.Packet) -> None:
        if isinstance(packet, mqtt5.PublishPacket):
            if packet.packet_id is not None:
                self._send(mqtt5.PubAckPacket(packet.packet_id).write())
            self.on_publish(packet)
        elif isinstance(packet, mqtt5.PubAckPacket):
            if int(packet.reason_code) >= 0x80:
                raise RuntimeError(f"the broker refused a publication: {packet.reason_code!r}")
            self.on_taken(packet.packet_id)
        elif isinstance(packet, mqtt5.ConnAckPacket):
            self._settle(self._connected, [packet.reason_code])
        elif isinstance(packet, mqtt5.SubAckPacket):
            self._settle(self._subscribed, packet.reason_codes)

    def _settle(self, waiting: asyncio.Future[None], codes: Sequence[SupportsInt]) -> None:
        refused = [code for code in codes if int(code) >= 0x80]
        if refused:
            waiting.set_exception(RuntimeError(f"the broker refused: {refused[0]!r}"))
        else:
            waiting.set_result(None)

    def _next_id(self) -> int:
        self._packet_id = self._packet_id % 65_000 + 1
        return self._packet_id

    def _send(self, data: bytes) -> None:
        self._out.append(data)
        if not self._flushing:
            self._flushing = True
            self._loop.call_soon(self._flush)

    def _flush(self) -> None:
        self._flushing = False
        if self._out:
            self._transport.write(b"".join(self._out))
            self._out.clear()


class Timing(NamedTuple):
    """Latencies in the order of the answers, and the time from the first request to the last answer, all in s."""

    latencies_s: Sequence[float]
    elapsed_s: float

    @property
    def rate(self) -> float:
        """Answers a second."""
        return len(self.latencies_s) / self.elapsed_s

    def quantile_ms(self, share: float) -> float:
        """Return the latency that `share` of all do not exceed, in ms; 0.5 gives the median."""
        return quantile(self.latencies_s, share) * 1000


def quantile(values: Sequence[float], share: float) -> float:
    """Return the value that `share` of all values do not exceed (nearest rank)."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))]


class Question(NamedTuple):
    """One request, ready to send, and the id its answer will carry."""

    id: str
    topic: str
    payload: bytes


class _Answered(msgspec.Struct):
    id: str


_decode = msgspec.json.Decoder(_Answered).decode


class _Load:
    """Requests, a fixed number of them open at a time; each answer that comes sends the next request."""

    def __init__(self, client: BareClient, ask: Callable[[], Question], count: int, expect: bytes) -> None:
        self._client, self._ask, self._count, self._expect = client, ask, count, expect
        self._sent = 0
        self._open: dict[str, float] = {}
        self.latencies_s: list[float] = []
        self.finished: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def send_next(self) -> None:
        question = self._ask()
        self._sent += 1
        self._open[question.id] = time.perf_counter()
        self._client.publish(question.topic, question.payload)

    def answered(self, packet: mqtt5.PublishPacket) -> None:
        came_s = time.perf_counter()
        asked_s = self._open.pop(_decode(packet.payload).id, None)
        if asked_s is None or self.finished.done():
            return
        self.latencies_s.append(came_s - asked_s)
        if self._expect not in packet.payload:
            self.finished.set_exception(RuntimeError(f"an answer is not {self._expect!r}: {packet.payload[:300]!r}"))
        elif len(self.latencies_s) == self._count:
            self.finished.set_result(None)
        elif self._sent < self._count:
            self.send_next()


async def load(
    client: BareClient,
    ask: Callable[[], Question],
    count: int,
    in_flight: int,
    expect: bytes = b"",
    timeout_s: float = 120,
) -> Timing:
    """Send `count` requests with `in_flight` of them open, and time each from its sending to its answer.

    Raises RuntimeError for an answer without the bytes `expect` and for a lost connection, TimeoutError when not
    everything is answered within `timeout_s`.
    """
    run = _Load(client, ask, count, expect)
    client.on_publish = run.answered
    # A collection in this process would show as a latency of the one that answers.
    gc.collect()
    gc.disable()
    try:
        began_s = time.perf_counter()
        for _ in range(min(in_flight, count)):
            run.send_next()
        await asyncio.wait((run.finished, client.lost), timeout=timeout_s, return_when=asyncio.FIRST_COMPLETED)
        elapsed_s = time.perf_counter() - began_s
    finally:
        gc.enable()
        client.on_publish = lambda _: None
    if client.lost.done():
        raise RuntimeError(client.lost.result())
    if not run.finished.done():
        raise TimeoutError(f"{len(run.latencies_s)} of {count} requests were answered within {timeout_s:g} s")
    run.finished.result()
    return Timing(run.latencies_s, elapsed_s)
