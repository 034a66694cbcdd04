"""Neighbours nobody wants, each a process of its own: `python -m tests.e2e.hostile KIND key=value …`.

Each says `ready` on a line of its own once it is at work, and goes on until it is killed; `meter` is no neighbour but
the one who measures, in a process that has nothing else to do.
"""

from __future__ import annotations

import contextlib
import json
import os
import resource
import select
import socket
import sys
import time
from collections.abc import Callable, Iterator
from itertools import cycle
from random import Random

import mqtt5

from benchmarks.local import LocalGate, Wire
from drivers.codecs.rdm6300 import encode_frame

TURN_S = 0.01
BAUD_BYTES_S = 92_160
"""What a line of 921,600 baud carries in a second."""
MALFORMED = (
    b"", b"{", b"null", b"[]", b'{"id":7}', b'{"id":"x","expires_at":"soon"}', b"\xff\xfe\x00", b'{"id":"' + b"x" * 300,
    b'{"id":"a","data":' + b"[" * 200, b'{"id":"a","id":"b"}', b'{"id":"r","expires_at":1,"data":{"document":{}}}',
)  # fmt: skip


def connect(port: int, name: str, password: str, client_id: str = "") -> socket.socket:
    """Say CONNECT over TCP and wait for the broker's answer."""
    one = socket.create_connection(("127.0.0.1", port))
    one.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    one.sendall(_hello(name, password, client_id))
    return one


def _hello(name: str, password: str, client_id: str) -> bytes:
    packet = mqtt5.ConnectPacket(
        client_id=client_id or f"{name}-{os.getpid()}", username=name, password=password.encode(), clean_start=True,
        keep_alive=300,
    )  # fmt: skip
    return packet.write()


def publish(topic: str, payload: bytes, packet_id: int | None = None, *, retain: bool = False) -> bytes:
    """The bytes of a publication, with QoS 1 where it has an id."""
    qos = mqtt5.QoS.AT_MOST_ONCE if packet_id is None else mqtt5.QoS.AT_LEAST_ONCE
    return mqtt5.PublishPacket(topic, payload, qos=qos, packet_id=packet_id, retain=retain).write()


def flood(port: str, name: str, password: str, topic: str, per_s: str, turn_s: str = "0.01") -> None:
    """Publish so many malformed requests a second, a burst each turn, half of them with QoS 0, and count them."""
    one = connect(int(port), name, password)
    one.recv(100)
    packets = cycle([publish(topic, payload, packet_id) for packet_id in (None, 7) for payload in MALFORMED])
    ready()
    began, sent = time.monotonic(), 0
    while True:
        # What it was too slow for is not made up for: a second holds at most so many.
        due = min(int((time.monotonic() - began) * int(per_s)) - sent, int(int(per_s) * 5 * float(turn_s)))
        if due < int(per_s) * float(turn_s):
            _drain(one)
            rest(float(turn_s) / 10)
            continue
        one.sendall(b"".join(next(packets) for _ in range(due)))
        sent += due
        _drain(one)
        if sent % 1000 < due:
            tell(f"sent {sent} in {time.monotonic() - began:.1f} s")


def deaf(port: str, name: str, password: str, topics: str) -> None:
    """Subscribe to everything there is to hear, and never read a byte of it."""
    one = socket.socket()
    one.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    one.connect(("127.0.0.1", int(port)))
    one.sendall(_hello(name, password, ""))
    wanted = [mqtt5.TopicFilter(topic, max_qos=mqtt5.QoS.AT_LEAST_ONCE) for topic in topics.split(",")]
    one.sendall(mqtt5.SubscribePacket(1, wanted).write())
    ready()
    while True:
        rest(1)


def crowd(port: str, name: str, password: str, count: str) -> None:
    """Connect so many clients at once, leave all together, and again, without end."""
    resource.setrlimit(resource.RLIMIT_NOFILE, (4096, resource.getrlimit(resource.RLIMIT_NOFILE)[1]))
    rounds = 0
    while True:
        everyone = []
        for number in range(int(count)):
            with contextlib.suppress(OSError):
                everyone.append(connect(int(port), name, password, f"{name}-{os.getpid()}-{number}"))
        for one in everyone:
            one.settimeout(10)
            with contextlib.suppress(OSError):
                one.recv(10)
        rounds += 1
        if rounds == 1:
            ready()
        tell(f"{rounds} rounds, {len(everyone)} connected")
        for one in everyone:
            one.close()


def babble(rate: str = str(BAUD_BYTES_S)) -> None:
    """A device on a serial line that never stops talking: noise, with frames in it that are nearly right."""
    wire, dice = Wire(), Random(1)
    print(wire.port, flush=True)
    ready()
    os.set_blocking(wire._device, False)
    frame = encode_frame("0123456789")
    while True:
        piece = (
            dice.randbytes(dice.randrange(60)) + frame[: dice.randrange(len(frame))] + dice.choice((b"", b"\r", b"\n"))
        )
        with contextlib.suppress(BlockingIOError):
            os.write(wire._device, piece * max(1, int(int(rate) * TURN_S / (len(piece) + 1))))
        rest(TURN_S)


def retain(unix: str, prefix: str, count: str) -> None:
    """Leave so many retained messages in the broker, each on a topic of its own."""
    one = socket.socket(socket.AF_UNIX)
    one.connect(unix)
    one.sendall(mqtt5.ConnectPacket(client_id=f"hoarder-{os.getpid()}", clean_start=True, keep_alive=300).write())
    one.recv(100)
    left = 0
    try:
        for left in range(0, int(count), 500):
            numbers = range(left, min(left + 500, int(count)))
            one.sendall(b"".join(publish(prefix.replace("N", str(number)), b"{}", retain=True) for number in numbers))
        # The broker takes packets in order: once this is acknowledged, so is everything before it.
        one.sendall(publish("hoarded", b"", 1))
        one.recv(100)
        ready()
        tell(f"left {count}")
    except OSError as error:
        ready()
        tell(f"left {left}, then the broker closed the connection: {error}")


def meter(tags: str, pause_ms: str) -> None:
    """Hold tags to a reader; for each line `N` read, answer with N times in ms, from frame to relay, as JSON."""
    gate, numbers = LocalGate(), cycle(tags.split(","))
    print(gate.reader.port, gate.relay.port, flush=True)
    ready()
    for line in sys.stdin:
        times_ms = list(_measure(gate, numbers, int(line), int(pause_ms) / 1000))
        tell(json.dumps(times_ms))


def _measure(gate: LocalGate, numbers: Iterator[str], count: int, pause_s: float) -> Iterator[float]:
    for _ in range(count):
        yield gate.tap(next(numbers)) * 1000
        rest(pause_s)


def _drain(one: socket.socket) -> None:
    with contextlib.suppress(BlockingIOError):
        one.recv(1 << 20, socket.MSG_DONTWAIT)


def rest(duration_s: float) -> None:
    """Do nothing for a while."""
    select.select([], [], [], duration_s)


def ready() -> None:
    """Say that the work has begun."""
    tell("ready")


def tell(line: str) -> None:
    """Say something to whoever started this; the last line is the newest."""
    print(line, flush=True)


KINDS: dict[str, Callable[..., None]] = {one.__name__: one for one in (flood, deaf, crowd, babble, retain, meter)}

if __name__ == "__main__":
    KINDS[sys.argv[1]](**dict(argument.split("=", 1) for argument in sys.argv[2:]))
