"""What goes on while the live view runs: guests who come and go by themselves, and what each key does."""

from __future__ import annotations

import asyncio
import shutil
from collections import deque
from collections.abc import Awaitable, Callable, Coroutine, Mapping
from contextlib import aclosing
from pathlib import Path
from random import Random
from typing import Any

import aiomqtt

from simulators.control import ControlError
from simulators.demo.acting import authenticate, clicked, gate_ready, pictures, relay, tap, walk_through
from simulators.demo.ledger import Ledger
from simulators.demo.listening import NotHeardError
from simulators.demo.processes import StageError
from simulators.demo.receipts import quick_receipt
from simulators.demo.setting import MEMBERS, STRANGER, Guest
from simulators.demo.stage import Stage

NEXT_GUEST_S = (0.7, 2.2)
DRAWER_STAYS_OPEN_S = 1.5
WALKS_THROUGH = 0.85
KEEP_IN = Path.cwd() / "demo-receipts"
MAX_TASKS = 8
MAX_PICTURES = 1_000

Act = Callable[[], Awaitable[object]]


class Life:
    """The venue's life; `keys` maps a key to what it is called and what it does."""

    def __init__(self, stage: Stage, random: Random) -> None:
        self.stage = stage
        self.ledger = Ledger(stage.room)
        self.automatic = True
        self.notes: deque[str] = deque(maxlen=3)
        self.ended = asyncio.Event()
        self._random = random
        self._north = asyncio.Lock()
        self._busy = asyncio.Lock()
        self._tasks: set[asyncio.Task[None]] = set()
        self._receipts = 0
        self.keys: Mapping[str, tuple[str, Act]] = {
            "n": ("north", self.at_north),
            "s": ("south", self.at_south),
            "e": ("east", self.at_east),
            "p": ("print", self.prints),
            "d": ("drawer", self.drawer),
            "o": ("paper out/in", self.paper),
            "k": ("kill -9", self.kill),
            "a": ("guests on/off", self.switch),
            "r": ("keep receipts", self.keep),
            "q": ("quit", self.quit),
        }

    async def run(self) -> None:
        """Let guests come and go, and drawers be shut, until cancelled."""
        self._begin(self._safely(self._keep_bar))
        try:
            while True:
                await asyncio.sleep(self._random.uniform(*NEXT_GUEST_S))
                if self.automatic and not self._busy.locked():
                    where = self._random.choice((self.at_north, self.at_north, self.at_south, self.at_east))
                    await self._safely(where)
        finally:
            for task in self._tasks:
                task.cancel()
            await asyncio.gather(*self._tasks, return_exceptions=True)

    def press(self, key: str) -> None:
        """Do what a key stands for, beside everything else."""
        if key in self.keys and len(self._tasks) < MAX_TASKS:
            self._begin(self._safely(self.keys[key][1]))

    def check_gateway(self) -> None:
        """Raise StageError when the gateway ended and nobody asked it to."""
        gateway = self.stage.gateway
        if gateway.ended is not None and not self._busy.locked():
            raise StageError(f"the gateway ended with status {gateway.ended}; its last words:\n{gateway.last_words()}")

    def _begin(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _keep_bar(self) -> None:
        """Push the drawer shut a moment after it was opened, whoever asked for that."""
        printer = self.stage.devices.bar_printer
        async with aclosing(printer.watch()) as states:
            async for state in states:
                if state["drawer_open"]:
                    await asyncio.sleep(DRAWER_STAYS_OPEN_S)
                    await printer.do("drawer", open=False)

    async def _safely(self, act: Act) -> None:
        try:
            await act()
        except (NotHeardError, ControlError, StageError, aiomqtt.MqttError) as error:
            self.notes.append(str(error))

    # Guests.

    async def at_north(self) -> None:
        """Somebody taps at the north gate, and mostly walks in."""
        async with self._north:
            await gate_ready(self.stage, "north")
            reader, board, after = (
                self.stage.devices.north_reader,
                self.stage.devices.north_board,
                self.stage.room.last_seq,
            )
            if self._random.random() < 0.1:
                await reader.do("tap", uid=STRANGER, ms=150)
                return
            lock = await relay(board)
            decision = await tap(self.stage, reader, self._somebody(), after)
            if decision["kind"] != "entry.granted":
                return
            await clicked(board, lock)
            if self._random.random() < WALKS_THROUGH:
                await walk_through(self.stage, decision)

    async def at_south(self) -> None:
        """Somebody shows a QR code at the south gate."""
        await self.stage.devices.south_scanner.do("scan", text=self._somebody().code)

    async def at_east(self) -> None:
        """Somebody leaves through the turnstile, or comes in when nobody is inside."""
        inside = [guest for guest in MEMBERS if guest.holder in self.ledger.inside]
        if inside and self._random.random() < 0.7:
            await authenticate(self.stage, self._random.choice(inside).card, "east-out")
        else:
            await authenticate(self.stage, self._somebody().card)

    def _somebody(self) -> Guest:
        """Mostly someone who is outside; one in ten tries to come in twice."""
        outside = [guest for guest in MEMBERS if guest.holder not in self.ledger.inside]
        return self._random.choice(outside if outside and self._random.random() < 0.9 else MEMBERS)

    # Keys.

    async def prints(self) -> None:
        """The bar's tablet prints."""
        if len(pictures(self.stage)) >= MAX_PICTURES:
            self.notes.append(f"There are {MAX_PICTURES} receipts already; that is enough for a demonstration.")
            return
        self._receipts += 1
        asked = await self.stage.bar_tablet.ask("bar-printer", "print", quick_receipt(self._receipts))
        answer = await self.stage.bar_tablet.answer(asked, "accepted")
        self.notes.append(f"bar-printer: {answer['message']}")

    async def drawer(self) -> None:
        """The bar's tablet opens the drawer."""
        asked = await self.stage.bar_tablet.ask("bar-drawer", "open", {"reason": "a key was pressed"})
        answer = await self.stage.bar_tablet.answer(asked)
        self.notes.append(f"bar-drawer: {answer['message']}")

    async def paper(self) -> None:
        """Take the bar printer's paper away, or put a new roll in."""
        printer = self.stage.devices.bar_printer
        there = (await printer.state())["paper"] != "out"
        await printer.do("paper", state="out" if there else "ok")
        self.notes.append("bar-printer: the paper is out" if there else "bar-printer: a new roll is in")

    async def kill(self) -> None:
        """Kill the gateway and start it again."""
        if self._busy.locked():
            return
        async with self._busy:
            await self.stage.gateway.kill()
            self.notes.append("The gateway was killed with -9 and is started again.")
            await self.stage.start_gateway()
            self.notes.append("The gateway is back.")

    async def switch(self) -> None:
        """Let guests come by themselves, or not."""
        self.automatic = not self.automatic

    async def keep(self) -> None:
        """Copy the receipts where they stay."""
        await asyncio.to_thread(shutil.copytree, self.stage.receipts, KEEP_IN, dirs_exist_ok=True)
        self.notes.append(f"The receipts so far are in {KEEP_IN} and stay there.")

    async def quit(self) -> None:
        """End the live view."""
        self.ended.set()
