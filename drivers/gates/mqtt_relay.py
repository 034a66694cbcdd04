"""Relays that speak MQTT themselves, by the venue's own broker: what Shelly and Tasmota share."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable

import msgspec

from drivers.api import (
    DeviceFault,
    DeviceOffline,
    DeviceTimeout,
    DriverError,
    Emit,
    InputChanged,
    MessageBus,
    MessageLink,
    Online,
)
from drivers.codecs.mqtt_relay import Alive, Confirmed, Declined, Dialect, InputIs, Nonsense, RelayIs, Told
from drivers.gates.pulses import PulseEnds
from drivers.noise import NoiseReport

HEARTBEAT_S = 0.6
SILENT_MAX_S = 1.7
"""A device that was asked again and again and said nothing for so long is gone: its last will comes much later."""
FIRST_WORD_S = 3.0
CONFIRM_TIMEOUT_S = 1.5
REST_TIMEOUT_S = 0.5


class Layout(msgspec.Struct, frozen=True):
    """What the shared part needs to know of a device's options."""

    name: str
    relays: int
    inputs: int = 0
    idle_closed: tuple[int, ...] = ()


class _Command(msgspec.Struct):
    number: int
    channel: int
    closed: bool
    done: asyncio.Future[DriverError | None]


class MqttRelay:
    """One relay device behind the broker. A command counts once the device has said that it carried it out."""

    def __init__(self, layout: Layout, dialect: Dialect, emit: Emit, bus: MessageBus) -> None:
        self.channels = layout.relays
        self.board_timed = dialect.board_timed
        self.notice_s = SILENT_MAX_S + HEARTBEAT_S
        self._layout = layout
        self._dialect = dialect
        self._emit = emit
        self._bus = bus
        self._noise = NoiseReport(emit)
        self._ends = PulseEnds(self._end_pulse)
        self._link: MessageLink | None = None
        self._lost: asyncio.Future[DeviceOffline] | None = None
        self._online = False
        self._heard_s = 0.0
        self._number = 0
        self._commands: list[_Command] = []
        self._active: set[int] = set()
        self._active_before: frozenset[int] = frozenset()
        self._opening: set[asyncio.Task[None]] = set()

    async def run(self) -> None:
        """Serve until cancelled; raises DriverError when broker or device are not there, or are gone."""
        loop = asyncio.get_running_loop()
        self._lost, self._heard_s = loop.create_future(), loop.time() + FIRST_WORD_S - SILENT_MAX_S
        self._link = self._bus.open(self._dialect.topics, self._on_message, self._on_link)
        try:
            await self._watch(self._lost)
        finally:
            await self._rest()
            self._link.close()
            self._link, self._lost = None, None
            self._noise.close()

    async def pulse(self, channel: int, pulse_ms: int) -> None:
        """Close relay `channel` for `pulse_ms` and return when the device has said that it is closed.

        Raises DeviceOffline when nothing was sent, DeviceTimeout when the device did not confirm (the broker throws
        the command away after two seconds), DeviceFault when it refused.
        """
        self._require(channel)
        timed = self._dialect.board_timed and channel not in self._ends.held
        if not timed:
            self._ends.begin(channel, pulse_ms)
        await self._switch(channel, closed=True, pulse_ms=pulse_ms if timed else None)

    async def hold(self, channel: int, active: bool) -> None:
        """Close (`active`) or open relay `channel` until told otherwise; raises as `pulse` does."""
        self._require(channel)
        with self._ends.hold(channel, active):
            await self._switch(channel, closed=active, pulse_ms=None)

    async def _watch(self, lost: asyncio.Future[DeviceOffline]) -> None:
        """Ask again and again: a device that lost its power says nothing, and the broker notices late."""
        loop = asyncio.get_running_loop()
        while not lost.done():
            if loop.time() - self._heard_s > SILENT_MAX_S:
                raise DeviceOffline(
                    f"{self._layout.name} says nothing: check its power and network, and in its own settings the "
                    "broker's address, user and password and its topic"
                )
            self._ask()
            await asyncio.wait({lost}, timeout=HEARTBEAT_S)
        raise lost.result()

    def _ask(self) -> None:
        for message in self._dialect.ask() if self._link is not None else ():
            self._link_or_offline().publish(message.topic, message.payload)

    def _on_link(self, why: str) -> None:
        if why:
            self._lose(f"the broker cannot be reached: {why}")
        else:
            self._ask()

    def _on_message(self, topic: str, payload: bytes, retained: bool) -> None:
        for told in self._dialect.read(topic, payload):
            if isinstance(told, Nonsense):
                self._noise.add(len(payload), told.why)
            elif isinstance(told, Alive) and not told.online:
                # The last will counts also where the broker had kept it.
                self._lose(f"{self._layout.name} left the broker: check its power and its network")
            elif not retained:
                self._take(told)

    def _take(self, told: Told) -> None:
        """Take what the device says now; what the broker had kept is from some earlier time."""
        self._heard_s = asyncio.get_running_loop().time()
        if not self._online and self._lost is not None and not self._lost.done():
            self._come_online()
        if isinstance(told, RelayIs):
            self._settle(lambda one: (one.channel, one.closed) == (told.channel, told.closed), None)
        elif isinstance(told, InputIs):
            self._note_input(told)
        elif isinstance(told, Confirmed):
            self._settle(lambda one: one.number == told.number, None)
        elif isinstance(told, Declined):
            fault = DeviceFault(f"{self._layout.name} refused: {told.why}")
            self._settle(lambda one: one.number == told.number, fault)

    def _come_online(self) -> None:
        """Begin from a known state: whoever closed a relay before is not there any more to open it."""
        self._online, self._active_before = True, frozenset(self._active)
        self._emit(Online())
        for channel in range(1, self.channels + 1):
            self._send_switch(channel, closed=False, pulse_ms=None)

    def _note_input(self, told: InputIs) -> None:
        channel = told.channel
        if channel > self._layout.inputs:
            return
        active = told.closed != (channel in self._layout.idle_closed)
        again = channel in self._active_before
        self._active_before -= {channel}
        if active != (channel in self._active) or again:
            (self._active.add if active else self._active.discard)(channel)
            self._emit(InputChanged(channel, active))

    async def _switch(self, channel: int, *, closed: bool, pulse_ms: int | None) -> None:
        command = self._send_switch(channel, closed=closed, pulse_ms=pulse_ms)
        if command is None:
            raise DeviceOffline(f"{self._layout.name}: the broker takes nothing just now")
        try:
            async with asyncio.timeout(CONFIRM_TIMEOUT_S):
                await asyncio.wait({command.done})
        except TimeoutError:
            raise DeviceTimeout(f"{self._layout.name} did not confirm the command in time") from None
        finally:
            self._commands = [one for one in self._commands if one is not command]
        if (error := command.done.result()) is not None:
            raise error

    def _send_switch(self, channel: int, *, closed: bool, pulse_ms: int | None) -> _Command | None:
        self._number = self._number % 1_000_000 + 1
        messages = self._dialect.switch(channel, closed=closed, pulse_ms=pulse_ms, number=self._number)
        link = self._link_or_offline()
        if not all(link.publish(message.topic, message.payload) for message in messages):
            return None
        # A relay may say "on" once more for an earlier pulse; its state from before the command is never taken for it.
        command = _Command(self._number, channel, closed, asyncio.get_running_loop().create_future())
        self._commands = [*self._commands[-16:], command]
        return command

    def _settle(self, means: Callable[[_Command], bool], error: DriverError | None) -> None:
        for command in self._commands:
            if means(command) and not command.done.done():
                command.done.set_result(error)

    def _lose(self, why: str) -> None:
        if self._lost is not None and not self._lost.done():
            self._lost.set_result(DeviceOffline(why))

    async def _rest(self) -> None:
        """Open every relay that may be closed, if anyone still listens, and answer whoever waits."""
        online, self._online = self._online, False
        closed = sorted(self._ends.may_be_closed)
        self._ends.clear()
        for command in self._commands:
            if not command.done.done():
                command.done.set_result(DeviceTimeout(f"{self._layout.name} was lost while a command was on its way"))
        waiting = []
        for channel in closed if online else ():
            with contextlib.suppress(DriverError):
                waiting.append(self._send_switch(channel, closed=False, pulse_ms=None))
        if pending := {command.done for command in waiting if command is not None}:
            await asyncio.wait(pending, timeout=REST_TIMEOUT_S)
        self._commands.clear()

    def _end_pulse(self, channel: int) -> None:
        task = asyncio.get_running_loop().create_task(self._open_again(channel))
        self._opening.add(task)
        task.add_done_callback(self._opening.discard)

    async def _open_again(self, channel: int) -> None:
        # A relay that stays closed is opened at the start of the next connection, so a failure ends this one.
        try:
            await self._switch(channel, closed=False, pulse_ms=None)
        except DriverError as error:
            self._lose(f"relay {channel} may still be closed: {error}")

    def _require(self, channel: int) -> None:
        if not 1 <= channel <= self.channels:
            raise DeviceFault(f"there is no relay {channel} on {self._layout.name}: it has 1 to {self.channels}")
        if not self._online:
            raise DeviceOffline(f"{self._layout.name} is not connected")

    def _link_or_offline(self) -> MessageLink:
        if self._link is None:
            raise DeviceOffline(f"{self._layout.name} is not connected")
        return self._link
