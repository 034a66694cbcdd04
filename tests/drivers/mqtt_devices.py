"""Devices that speak MQTT, and a broker in memory that keeps what is retained."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import msgspec

Publish = Callable[[str, bytes, bool], None]


class Gen1:
    """A Shelly of the first generation with one relay and one input."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.closed = self.input = self.silent = False
        self.pulses: list[int] = []
        self.publish: Publish = lambda *_: None

    def hear(self, topic: str, payload: bytes) -> None:
        base = f"shellies/{self.name}"
        if self.silent:
            return
        if topic == f"{base}/command":
            self.publish(f"{base}/online", b"true", True)
            self.tell()
        elif topic == f"{base}/relay/0/command":
            self.closed = payload == b"on"
            self.tell()

    def tell(self) -> None:
        base = f"shellies/{self.name}"
        self.publish(f"{base}/relay/0", b"on" if self.closed else b"off", True)
        self.publish(f"{base}/input/0", b"1" if self.input else b"0", True)

    def leave(self) -> None:
        self.publish(f"shellies/{self.name}/online", b"false", True)


class Gen2:
    """A Shelly of the second generation; it ends its own pulse."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.closed = self.input = self.silent = self.refuse = False
        self.pulses: list[int] = []
        self.publish: Publish = lambda *_: None
        self._timer: asyncio.TimerHandle | None = None

    def hear(self, topic: str, payload: bytes) -> None:
        if self.silent or topic != f"{self.name}/rpc":
            return
        frame = msgspec.json.decode(payload)
        if frame["method"] == "Shelly.GetStatus":
            self.answer(frame, result=self.status())
        elif self.refuse:
            self.answer(frame, error={"code": -103, "message": "Invalid argument"})
        else:
            self.switch(frame)

    def switch(self, frame) -> None:
        was_on, parameters = self.closed, frame["params"]
        if parameters["id"] == 0:
            self.set(parameters["on"])
            if self._timer is not None:
                self._timer.cancel()
            if "toggle_after" in parameters:
                self.pulses.append(round(parameters["toggle_after"] * 1000))
                loop = asyncio.get_running_loop()
                self._timer = loop.call_later(parameters["toggle_after"], self.set, not parameters["on"])
        self.answer(frame, result={"was_on": was_on})

    def set(self, closed: bool) -> None:
        self.closed = closed
        self.notify({"switch:0": {"id": 0, "output": closed, "source": "MQTT"}})

    def move_input(self, closed: bool) -> None:
        self.input = closed
        self.notify({"input:0": {"id": 0, "state": closed}})

    def notify(self, status) -> None:
        frame = {
            "src": self.name,
            "dst": f"{self.name}/events",
            "method": "NotifyStatus",
            "params": {"ts": 1, **status},
        }
        self.publish(f"{self.name}/events/rpc", msgspec.json.encode(frame), False)

    def status(self):
        return {"switch:0": {"id": 0, "output": self.closed}, "input:0": {"id": 0, "state": self.input}, "sys": {}}

    def answer(self, frame, **outcome) -> None:
        reply = {"id": frame["id"], "src": self.name, "dst": frame["src"], **outcome}
        self.publish(f"{frame['src']}/rpc", msgspec.json.encode(reply), False)

    def leave(self) -> None:
        self.publish(f"{self.name}/online", b"false", True)


class Sonoff:
    """A device with the Tasmota firmware and one relay."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.closed = self.silent = False
        self.pulses: list[int] = []
        self.publish: Publish = lambda *_: None
        self._pulse_ms = 0
        self._timer: asyncio.TimerHandle | None = None

    def hear(self, topic: str, payload: bytes) -> None:
        if self.silent or not topic.startswith(f"cmnd/{self.name}/"):
            return
        command = topic.rsplit("/", 1)[1]
        if command == "Backlog0":
            for one in payload.decode().split(";"):
                self.obey(*one.split())
        else:
            self.tell()

    def obey(self, command: str, value: str) -> None:
        if command == "PulseTime1":
            self._pulse_ms = int(value) * 100
            return
        assert command == "Power1"
        self.closed = value == "ON"
        if self._timer is not None:
            self._timer.cancel()
        if self.closed and self._pulse_ms:
            self.pulses.append(self._pulse_ms)
            self._timer = asyncio.get_running_loop().call_later(self._pulse_ms / 1000, self.obey, "Power1", "OFF")
        self.tell()

    def tell(self) -> None:
        self.publish(f"stat/{self.name}/RESULT", b'{"POWER":"ON"}' if self.closed else b'{"POWER":"OFF"}', False)

    def leave(self) -> None:
        self.publish(f"tele/{self.name}/LWT", b"Offline", True)


Device = Gen1 | Gen2 | Sonoff


class FakeBus:
    """A broker in memory: every message goes to every device and, as subscribed, to every link."""

    def __init__(self) -> None:
        self.devices: list[Device] = []
        self.kept: dict[str, bytes] = {}
        self._links: list[FakeLink] = []

    @property
    def open_links(self) -> int:
        return len(self._links)

    def attach(self, device: Device) -> Device:
        device.publish = self.said
        self.devices.append(device)
        return device

    def said(self, topic: str, payload: bytes, retain: bool) -> None:
        if retain:
            self.kept[topic] = payload
        asyncio.get_running_loop().call_soon(self.deliver, topic, payload)

    def deliver(self, topic: str, payload: bytes, *, retained: bool = False) -> None:
        for link in list(self._links):
            if link.wants(topic):
                link.on_message(topic, payload, retained)

    def lose(self, why: str) -> None:
        for link in list(self._links):
            link.on_link(why)

    def open(self, topics, on_message, on_link) -> FakeLink:
        link = FakeLink(self, topics, on_message, on_link)
        self._links.append(link)
        self.kept = {topic: payload for topic, payload in self.kept.items() if payload not in (b"false", b"Offline")}
        asyncio.get_running_loop().call_soon(link.begin)
        return link

    def closed(self, link: FakeLink) -> None:
        self._links.remove(link)


class FakeLink:
    def __init__(self, bus: FakeBus, topics, on_message, on_link) -> None:
        self._bus, self._topics = bus, topics
        self.on_message, self.on_link = on_message, on_link

    def begin(self) -> None:
        for topic, payload in self._bus.kept.items():
            if self.wants(topic):
                self.on_message(topic, payload, True)
        self.on_link("")

    def wants(self, topic: str) -> bool:
        return any(_matches(pattern.split("/"), topic.split("/")) for pattern in self._topics)

    def publish(self, topic: str, payload: bytes) -> bool:
        for device in self._bus.devices:
            asyncio.get_running_loop().call_soon(device.hear, topic, payload)
        return True

    def close(self) -> None:
        self._bus.closed(self)


def _matches(pattern: list[str], topic: list[str]) -> bool:
    return len(pattern) == len(topic) and all(one in ("+", other) for one, other in zip(pattern, topic, strict=True))
