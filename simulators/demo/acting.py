"""What people and things do in the story, and what can be seen of it from outside."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

from simulators.control import Control
from simulators.demo.listening import Asked, Message
from simulators.demo.setting import Guest
from simulators.demo.stage import Stage

WALK_MS = 300
TAP_MS = 150


async def authenticate(stage: Stage, card: str, gate: str = "east-in") -> tuple[Asked, Message]:
    """The turnstile asks for a wristband; the request and its answer."""
    presented = {"technology": "em4100", "value": card}
    asked = await stage.turnstile.ask(gate, "authenticate", {"credential": presented})
    return asked, await stage.turnstile.answer(asked)


async def tap(stage: Stage, reader: Control, guest: Guest, after: int) -> Message:
    """A guest taps at the north gate; the decision."""
    await reader.do("tap", uid=guest.card, ms=TAP_MS)
    return await stage.room.event("entry.", after=after, gate="north", holder=guest.holder)


async def relay(board: Control) -> dict[str, Any]:
    """How the first relay of a board is, and how often it clicked."""
    found: dict[str, Any] = (await board.state())["relays"][0]
    return found


async def clicked(board: Control, before: dict[str, Any]) -> None:
    """Wait for the first relay's next click."""
    await board.until(lambda state: state["relays"][0]["switched_on"] > before["switched_on"])


async def walk_through(stage: Stage, granted: Message) -> Message:
    """Someone walks through the north gate: its contact closes for a moment. The passage, from the journal."""
    await stage.devices.north_board.do("pulse_input", channel=1, ms=WALK_MS)
    return await stage.room.event("entry.passed", entry=granted["entry"])


async def gate_ready(stage: Stage, gate: str) -> None:
    """Wait until a gate takes the next guest: nobody is expected there, and nobody stands in it."""
    await stage.room.ask_until(gate, "status", lambda answer: answer["data"].get("admits"))


def confirmed(answer: Message) -> bool:
    """Whether an answer says that the device itself confirmed what was done."""
    return answer.get("data", {}).get("confirmed") is True


def paper_text(printer: dict[str, Any]) -> str:
    """The text of a printer's newest receipt."""
    return Path(printer["receipts"][-1]["txt"]).read_text("utf-8")


def why(returned: Message) -> str:
    """Why an entry was handed back; the usual reason is not written out."""
    return str(returned.get("why", "not_passed"))


def seconds_between(first: Message, later: Message) -> float:
    """The time from one journal entry to another."""
    return (datetime.fromisoformat(later["at"]) - datetime.fromisoformat(first["at"])).total_seconds()


def pictures(stage: Stage) -> Sequence[Path]:
    """Every receipt so far."""
    return sorted(stage.receipts.glob("*/receipt-*.png"))
