"""The story's ears: MQTT clients that keep what they heard, and a way to wait for news that always says what for."""

from __future__ import annotations

import asyncio
import socket
import time
from collections import deque
from collections.abc import Callable
from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Self, TypeVar

import aiomqtt
import msgspec

from simulators.demo.setting import BASE

WAIT_S = 10.0
KEPT = 5_000
PENDING_MAX = 200
EXPIRES_IN_S = 20.0
ASK_AGAIN_S = 0.05
ASK_TIMES = 150

Message = dict[str, Any]
T = TypeVar("T")


class NotHeardError(Exception):
    """What was awaited did not come. The message says what, how long, and what came instead."""


class Bell:
    """Rings whenever something new was heard."""

    def __init__(self) -> None:
        self._fresh = asyncio.Event()
        self._lost = ""

    def ring(self) -> None:
        """Wake everyone who waits, to look again."""
        fresh, self._fresh = self._fresh, asyncio.Event()
        fresh.set()

    def lose(self, why: str) -> None:
        """Nothing more will be heard: everyone who waits is told why."""
        self._lost = why
        self.ring()

    async def until(
        self,
        find: Callable[[], T | None],
        what: str,
        timeout_s: float = WAIT_S,
        instead: Callable[[], object] = lambda: "nothing",
    ) -> T:
        """The first thing `find` finds. Raises NotHeardError, which names `what` and what was heard `instead`."""
        try:
            async with asyncio.timeout(timeout_s):
                while (found := find()) is None:
                    if self._lost:
                        raise NotHeardError(f"waiting for {what}: {self._lost}")
                    await self._fresh.wait()
        except TimeoutError:
            raise NotHeardError(f"{what} did not come within {timeout_s:g} s; last heard: {instead()}") from None
        return found

    async def news(self, timeout_s: float) -> None:
        """Return at the next ring, or after `timeout_s`."""
        try:
            async with asyncio.timeout(timeout_s):
                await self._fresh.wait()
        except TimeoutError:
            return


class Client:
    """One client of the venue's broker, under its own name and password, with TCP_NODELAY."""

    subscriptions: tuple[str, ...] = ()

    def __init__(self, name: str, port: int, state_dir: Path) -> None:
        self.name = name
        self.bell = Bell()
        self.password = (state_dir / "clients" / f"{name}.password").read_text().strip()
        self.mqtt = aiomqtt.Client(
            "127.0.0.1",
            port,
            username=name,
            password=self.password,
            identifier=f"demo-{name}",
            protocol=aiomqtt.ProtocolVersion.V5,
            socket_options=[(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)],
        )
        # A coach party asks all at once, and that is no cause for a warning.
        self.mqtt.pending_calls_threshold = PENDING_MAX
        self._stack = AsyncExitStack()

    async def __aenter__(self) -> Self:
        await self._stack.enter_async_context(self.mqtt)
        for topic in self.subscriptions:
            await self.mqtt.subscribe(topic, qos=1)
        listening = asyncio.create_task(self._listen())
        self._stack.callback(listening.cancel)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            await self._stack.aclose()
        except aiomqtt.MqttError:
            # The broker went first; there is nobody to say goodbye to.
            return

    async def _listen(self) -> None:
        try:
            async for message in self.mqtt.messages:
                payload = message.payload
                if isinstance(payload, (bytes, bytearray)):
                    self.heard(message.topic.value, msgspec.json.decode(payload) if payload else None)
                    self.bell.ring()
        except (aiomqtt.MqttError, msgspec.MsgspecError) as error:
            self.bell.lose(f"{self.name} lost the broker: {error}")

    def heard(self, topic: str, payload: Any) -> None:  # noqa: ANN401 - whatever JSON holds
        """Keep a message."""


@dataclass(frozen=True)
class Asked:
    """A request as it was sent. `at_s` is of the monotonic clock."""

    id: str
    topic: str
    payload: bytes
    at_s: float


class Asker(Client):
    """A thin client: it asks, and hears its answers."""

    def __init__(self, name: str, port: int, state_dir: Path) -> None:
        super().__init__(name, port, state_dir)
        self.subscriptions = (f"{BASE}/clients/{name}/responses",)
        self.answers: deque[Message] = deque(maxlen=KEPT)
        self._count = 0

    def heard(self, topic: str, payload: Any) -> None:  # noqa: ANN401, ARG002 - there is only one topic
        """Keep an answer."""
        self.answers.append({**payload, "at_s": time.monotonic()})

    async def ask(self, target: str, verb: str, data: Message, *, request_id: str = "") -> Asked:
        """Send a request, which is worth something for 20 seconds; what comes of it is heard in `answer`."""
        self._count += 1
        expires_at = round((time.time() + EXPIRES_IN_S) * 1000)
        identity = request_id or f"{self.name}-{self._count:03d}"
        payload = msgspec.json.encode({"id": identity, "expires_at": expires_at, "data": data})
        asked = Asked(identity, f"{BASE}/clients/{self.name}/requests/{target}/{verb}", payload, time.monotonic())
        await self.mqtt.publish(asked.topic, payload, qos=1)
        return asked

    async def answer(self, asked: Asked, wanted: str = "final", timeout_s: float = WAIT_S, **data: Any) -> Message:  # noqa: ANN401
        """The final answer to a request, or with another `wanted` status that one, holding `data`."""

        def find() -> Message | None:
            return next((one for one in self.answers if _is_answer(one, asked, wanted, data)), None)

        def instead() -> str:
            heard = [
                f"{one['status']} {one.get('message', '')}".strip() for one in self.answers if one["id"] == asked.id
            ]
            return "; ".join(heard) or "no answer at all"

        words = " ".join([wanted, *(f"{key}={value}" for key, value in data.items())])
        return await self.bell.until(find, f"the answer '{words}' to {asked.id}", timeout_s, instead)


def _is_answer(answer: Message, asked: Asked, wanted: str, data: Message) -> bool:
    if answer["id"] != asked.id or answer["at_s"] < asked.at_s:
        return False
    status = answer["status"]
    fits_status = status != "accepted" if wanted == "final" else status == wanted
    return bool(fits_status and data.items() <= answer.get("data", {}).items())


class ControlRoom(Asker):
    """Hears the journal as it is written, and how the gateway and each device are."""

    def __init__(self, port: int, state_dir: Path) -> None:
        super().__init__("control-room", port, state_dir)
        own = self.subscriptions
        self.subscriptions = (*own, f"{BASE}/events", f"{BASE}/gateway/+", f"{BASE}/devices/+/state")
        self.events: deque[Message] = deque(maxlen=KEPT)
        self.gateway: dict[str, Message] = {}
        self.devices: dict[str, Message] = {}
        self.last_seq = 0

    def heard(self, topic: str, payload: Any) -> None:  # noqa: ANN401
        """Keep an event, a state or an answer."""
        match topic.removeprefix(f"{BASE}/").split("/"):
            case ["events"]:
                self._take(payload)
            case ["gateway", what]:
                self.gateway[what] = payload or {}
            case ["devices", device, "state"]:
                self.devices[device] = payload or {}
            case _:
                super().heard(topic, payload)

    def forget(self) -> None:
        """Forget every state, as for a gateway that is about to start; the journal's entries stay."""
        self.gateway.clear()
        self.devices.clear()

    def _take(self, entries: list[Message]) -> None:
        # The feed comes at least once: after a crash some of it comes again.
        for entry in entries:
            if entry["seq"] > self.last_seq:
                self.last_seq = entry["seq"]
                self.events.append(entry)

    async def event(self, kind: str, *, after: int = 0, timeout_s: float = WAIT_S, **fields: Any) -> Message:  # noqa: ANN401
        """The first journal entry after a number that is of this kind and has these fields, once there is one."""

        def find() -> Message | None:
            return next((one for one in self.events if one["seq"] > after and fits(one, kind, fields)), None)

        words = " ".join([kind, *(f"{key}={value}" for key, value in fields.items())])
        return await self.bell.until(find, f"the journal entry '{words}'", timeout_s, self._last_words)

    def count(self, kind: str, **fields: Any) -> int:  # noqa: ANN401
        """How many such entries were heard so far."""
        return sum(fits(one, kind, fields) for one in self.events)

    async def state(self, wanted: str, timeout_s: float = WAIT_S) -> Message:
        """The gateway's retained state, once it is `wanted`: online, degraded or offline."""

        def find() -> Message | None:
            state = self.gateway.get("state", {})
            return state if state.get("state") == wanted else None

        return await self.bell.until(
            find, f"the gateway's state '{wanted}'", timeout_s, lambda: self.gateway.get("state", "no state")
        )

    async def device(self, name: str, *wanted: str, timeout_s: float = WAIT_S) -> Message:
        """The retained state of a device or gate, once it is one of `wanted`."""

        def find() -> Message | None:
            state = self.devices.get(name, {})
            return state if state.get("state") in wanted else None

        def instead() -> object:
            return self.devices.get(name, "no state")

        return await self.bell.until(find, f"{name} to be {' or '.join(wanted)}", timeout_s, instead)

    async def ask_until(self, target: str, verb: str, enough: Callable[[Message], object]) -> Message:
        """Ask a question again and again until its answer is the one hoped for."""
        answer: Message = {}
        for _ in range(ASK_TIMES):
            answer = await self.answer(await self.ask(target, verb, {}))
            if enough(answer):
                return answer
            await asyncio.sleep(ASK_AGAIN_S)
        raise NotHeardError(f"{target} was asked {ASK_TIMES} times for its {verb} and last said {answer}")

    def _last_words(self) -> str:
        return ", ".join(f"#{one['seq']} {one['kind']}" for one in list(self.events)[-4:]) or "nothing"


def fits(entry: Message, kind: str, fields: Message) -> bool:
    """Whether an entry is of a kind, or of its family (`entry.`), and has these fields."""
    same = entry["kind"].startswith(kind) if kind.endswith(".") else entry["kind"] == kind
    return bool(same and fields.items() <= entry.items())
