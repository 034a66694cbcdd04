"""The live view: gates, devices, the last entries of the journal and what waits, until Ctrl-C or q."""

from __future__ import annotations

import asyncio
import os
import sys
import termios
import tty
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from random import Random

from rich.console import Console, Group
from rich.live import Live
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

from simulators.demo.life import Life
from simulators.demo.listening import Message
from simulators.demo.setting import DEVICES
from simulators.demo.stage import Stage
from simulators.demo.telling import listed

GATES = ("north", "south", "east-in", "east-out")
EVENTS_MAX = 12
OTHER_LINES = 18
REFRESH_S = 0.15
IDLE_REFRESH_S = 1.0
GOOD, BAD, NOTABLE = "green", "red", "yellow"
STYLES = {
    "entry.granted": GOOD, "entry.passed": GOOD, "print.done": GOOD, "device.online": GOOD, "gateway.started": GOOD,
    "entry.denied": BAD, "gate.forced": BAD, "device.offline": BAD, "print.failed": BAD, "print.unknown": BAD,
    "entry.returned": NOTABLE, "print.held": NOTABLE, "entry.unknown": BAD,
}  # fmt: skip
STATE_STYLES = {"online": GOOD, "released": GOOD, "offline": BAD, "fault": BAD, "forced": BAD, "degraded": NOTABLE}
SHOWN_FIELDS = ("gate", "holder", "reason", "why", "printer", "drawer", "client", "device", "confirmed", "clean")


async def live(stage: Stage, console: Console) -> None:
    """Show the venue until cancelled, until q, or until the gateway ends by itself. Without a terminal: plain lines."""
    life = Life(stage, Random())
    life.ledger.follow()
    running = asyncio.create_task(life.run())
    try:
        if console.is_terminal:
            await _draw(life, console)
        else:
            await _print_lines(life, console)
    finally:
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)


async def _draw(life: Life, console: Console) -> None:
    newest: deque[Message] = deque(maxlen=max(3, min(EVENTS_MAX, console.height - OTHER_LINES)))
    with (
        _keys(life.press),
        Live(console=console, auto_refresh=False, transient=True, redirect_stdout=False) as view,
    ):
        while not life.ended.is_set():
            life.check_gateway()
            newest.extend(life.ledger.follow())
            view.update(_picture(life, newest), refresh=True)
            # Not faster than an eye can follow, and at once when something happens.
            await asyncio.sleep(REFRESH_S)
            await life.stage.room.bell.news(IDLE_REFRESH_S)


async def _print_lines(life: Life, console: Console) -> None:
    while not life.ended.is_set():
        life.check_gateway()
        for entry in life.ledger.follow():
            console.print(_entry(entry), soft_wrap=True)
        await life.stage.room.bell.news(IDLE_REFRESH_S)


@contextmanager
def _keys(press: Callable[[str], None]) -> Iterator[None]:
    """Hand on each key at once. Ctrl-C stays what it is."""
    if not sys.stdin.isatty():
        yield
        return
    loop, number = asyncio.get_running_loop(), sys.stdin.fileno()
    before = termios.tcgetattr(number)

    def read() -> None:
        data = os.read(number, 64)
        if not data:
            loop.remove_reader(number)
        for key in data.decode(errors="replace"):
            press(key)

    tty.setcbreak(number)
    loop.add_reader(number, read)
    try:
        yield
    finally:
        loop.remove_reader(number)
        termios.tcsetattr(number, termios.TCSADRAIN, before)


def _picture(life: Life, newest: deque[Message]) -> Group:
    tables = Table.grid(expand=True, padding=(0, 1))
    tables.add_column(ratio=2)
    tables.add_column(ratio=3)
    tables.add_row(Panel(_gates(life), title="gates"), Panel(_devices(life), title="devices"))
    journal = Text("\n").join(_entry(entry) for entry in newest)
    return Group(tables, Panel(journal, title="journal"), _figures(life), *map(Text, life.notes), _key_line(life))


def _gates(life: Life) -> Table:
    table = Table.grid(padding=(0, 2))
    for gate in GATES:
        state = life.stage.room.devices.get(gate, {})
        table.add_row(gate, _state(state))
    table.add_row("hall", f"{len(life.ledger.inside)} inside")
    return table


def _devices(life: Life) -> Table:
    table = Table.grid(padding=(0, 2))
    for device in (*DEVICES, "bar-drawer"):
        state = life.stage.room.devices.get(device, {})
        said = state.get("status", {})
        waiting = life.ledger.waiting(device)
        words = [name.replace("_", " ") for name, value in said.items() if value is True and name in _WORTH_SAYING]
        words += [f"contact {said['contact']}"] if "contact" in said else []
        words += [f"waiting: {listed(waiting)}"] if waiting else []
        table.add_row(device, _state(state), Text(listed(words) or state.get("why", ""), "dim", no_wrap=True))
    return table


_WORTH_SAYING = ("paper_out", "paper_near_end", "cover_open", "can_print")


def _figures(life: Life) -> Text:
    gateway = life.stage.room.gateway.get("state", {})
    counts = life.ledger.counts
    told = (
        f"  journal #{life.stage.room.last_seq}   granted {counts['entry.granted']}   "
        f"refused {counts['entry.denied']}   handed back {counts['entry.returned']}   printed {counts['print.done']}   "
        f"guests {'come by themselves' if life.automatic else 'wait for a key'}"
    )
    return Text.assemble("gateway ", _state(gateway), (told, "dim"))


def _key_line(life: Life) -> Text:
    parts = [part for key, (name, _) in life.keys.items() for part in ((key, "bold cyan"), (f" {name}   ", "dim"))]
    return Text.assemble(*parts)


def _state(state: Message) -> Text:
    word = state.get("state", "?")
    return Text(word, STATE_STYLES.get(word, ""))


def _entry(entry: Message) -> Text:
    shown = "  ".join(f"{name}={entry[name]}" for name in SHOWN_FIELDS if entry.get(name) is not None)
    at = entry["at"][11:19]
    style = STYLES.get(entry["kind"], "")
    return Text.assemble((f"#{entry['seq']:<5} {at} ", "dim"), (f"{entry['kind']:<16} ", style), shown, no_wrap=True)
