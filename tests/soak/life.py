"""Everybody at a simulated venue, and everything that goes wrong there, for as long as one likes."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
from collections import Counter
from collections.abc import Awaitable, Callable
from random import Random
from typing import Any

import aiomqtt

from simulators.control import ControlError
from tests.e2e.paper import receipt
from tests.e2e.tablet import Tablet
from tests.e2e.venue import Venue

GUESTS = 400
ANSWER_S = 20.0
START_S = 60.0
AWAY_S = (0.1, 3.0)
BETWEEN_TROUBLES_S = (0.5, 3.0)
PLUGGED = ("north-reader", "north-relay", "south-scanner", "south-board", "kiosk-printer", "bar-printer")


def everything(settings: dict[str, Any]) -> None:
    """Configure wallets beside the rest, and gates at which one guest may come in again and again."""
    settings["clients"]["bar-tablet"]["may"]["wallet"] = ["top_up", "charge", "balance"]
    for gate in settings["gates"].values():
        gate["anti_passback"] = "off"


class Life:
    """Guests, tills and troubles, each in a task of its own."""

    def __init__(self, venue: Venue, dice: Random) -> None:
        self.venue = venue
        self.counted: Counter[str] = Counter()
        self.broken: list[str] = []
        self._dice = dice
        self._numbers = itertools.count(1)
        self._tags = [venue.guests.tag(uses=None) for _ in range(GUESTS)]
        self._codes = [venue.guests.code(uses=None) for _ in range(GUESTS)]
        self._killing = asyncio.Lock()

    async def people(self) -> None:
        """Let everybody come, tap, buy and print until cancelled."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self._at("entrance", self._networked, 0.05))
            group.create_task(self._at("bar-tablet", self._bar, 0.2))
            group.create_task(self._at("kiosk-tablet", self._kiosk, 0.5))
            group.create_task(self._forever(self._tap, 0.3))
            group.create_task(self._forever(self._scan, 0.5))

    async def _at(self, client: str, act: Callable[[Tablet], Awaitable[None]], pause_s: float) -> None:
        """Be one client, which comes back whenever the broker does."""
        while True:
            with contextlib.suppress(aiomqtt.MqttError, OSError, TimeoutError):
                async with self.venue.client(client) as tablet:
                    while True:
                        await act(tablet)
                        tablet.answers.clear()
                        tablet.messages.clear()
                        await asyncio.sleep(self._dice.uniform(0, 2 * pause_s))
            await asyncio.sleep(0.2)

    async def _forever(self, act: Callable[[], Awaitable[None]], pause_s: float) -> None:
        while True:
            with contextlib.suppress(ControlError, OSError):
                await act()
            await asyncio.sleep(self._dice.uniform(0, 2 * pause_s))

    async def _ask(self, tablet: Tablet, target: str, verb: str, data: dict[str, Any]) -> None:
        """Ask, and wait for the end; who is not answered in time asks again later, as people do."""
        asked = await tablet.ask(target, verb, data, request_id=f"{verb}-{next(self._numbers)}", expires_s=10)
        try:
            answer = await asked.final(ANSWER_S)
        except AssertionError:
            self.counted["unanswered"] += 1
            return
        self.counted[f"{verb} {answer['status']}"] += 1

    async def _networked(self, entrance: Tablet) -> None:
        guest = self._dice.choice(self._codes)
        await self._ask(
            entrance, self._dice.choice(("vip", "turnstile")), "authenticate", {"credential": guest.credential}
        )

    async def _bar(self, bar: Tablet) -> None:
        guest, amount = self._dice.choice(self._tags).credential, self._dice.randrange(1, 900)
        what = self._dice.randrange(4)
        if what == 0:
            await self._ask(bar, "wallet", "top_up", {"amount_minor": 2 * amount, "by": "cash", "credential": guest})
        elif what == 1:
            await self._ask(bar, "wallet", "charge", {"amount_minor": amount, "credential": guest})
        elif what == 2:
            await self._ask(bar, "bar-printer", "print", receipt("Danke " * self._dice.randrange(1, 30), cut=False))
        else:
            await self._ask(bar, "bar-drawer", "open", {"reason": "sale"})
            await (await self.venue.device("bar-printer")).do("drawer", open=False)

    async def _kiosk(self, kiosk: Tablet) -> None:
        await self._ask(kiosk, "kiosk-printer", "print", receipt("Willkommen", cut=False))

    async def _tap(self) -> None:
        await (await self.venue.device("north-reader")).do("tap", uid=self._dice.choice(self._tags).value, ms=60)

    async def _scan(self) -> None:
        await (await self.venue.device("south-scanner")).do("scan", text=self._dice.choice(self._codes).value)
        await asyncio.sleep(0.1)
        await (await self.venue.device("south-board")).do("pulse_input", channel=1, ms=60)

    # What goes wrong.

    async def troubles(self, *, deadly: bool) -> None:
        """Break something, mend it, and break the next; with `deadly`, the daemon itself too."""
        kinds = [self._unplug, self._unplug, self._paper_out, self._broker_dies]
        if deadly:
            kinds += [self._daemon_dies, self._daemon_stops]
        while True:
            await asyncio.sleep(self._dice.uniform(*BETWEEN_TROUBLES_S))
            trouble = self._dice.choice(kinds)
            self.counted[trouble.__name__.strip("_")] += 1
            # Cut off halfway, it would leave the venue broken.
            await asyncio.shield(trouble())

    async def _away(self) -> None:
        await asyncio.sleep(self._dice.uniform(*AWAY_S))

    async def _unplug(self) -> None:
        device = await self.venue.device(self._dice.choice(PLUGGED))
        await device.do("unplug")
        await self._away()
        await device.do("plug")

    async def _paper_out(self) -> None:
        printer = await self.venue.device(self._dice.choice(("bar-printer", "kiosk-printer")))
        await printer.do("paper", state="out")
        await self._away()
        await printer.do("paper", state="ok")

    async def _broker_dies(self) -> None:
        await self.venue.broker.kill()
        await self._away()
        await self.venue.broker.start()

    async def _daemon_dies(self) -> None:
        await self.venue.daemon.kill()
        await self._away()
        await self.venue.start_daemon(online=False, wait_s=START_S)

    async def _daemon_stops(self) -> None:
        if status := await self.venue.daemon.stop():
            self.broken.append(f"the daemon ended with status {status}")
        await self.venue.start_daemon(online=False, wait_s=START_S)
