"""At the bar: a guest puts money on her wristband, buys a drink with it, and another has a voucher for one."""

from __future__ import annotations

import asyncio
from typing import Any

from simulators.demo.acting import TAP_MS
from simulators.demo.listening import Asker, Message
from simulators.demo.setting import ADA, BEN, VOUCHER, Guest
from simulators.demo.stage import Stage
from simulators.demo.telling import Teller

PRICE_MINOR, TOPPED_UP_MINOR = 1250, 2000
AWAY_S = 0.6
"""Longer than a reader takes to believe that a tag is gone."""


async def guest_buys_a_drink(stage: Stage, tell: Teller) -> None:
    """The tablet names the reader, the next tap pays, and the tablet asks for receipt and drawer by itself."""
    credential = {"technology": "em4100", "value": ADA.card}
    tell.say(f"At the ticket office {ADA.name} pays 20.00 EUR in cash, and has them put on her wristband.")
    data = {"amount_minor": TOPPED_UP_MINOR, "by": "cash", "credential": credential}
    asked = await stage.office_tablet.ask("wallet", "top_up", data)
    topped_up = await stage.office_tablet.answer(asked)
    tell.check("the money is there", 2000, topped_up["data"].get("balance_minor"))
    tell.say("At the bar the tablet says: charge 12.50 EUR at the bar's reader.")
    after = stage.room.last_seq
    paid = await _at_the_reader(stage, tell, ADA, "wallet", "charge", {"amount_minor": PRICE_MINOR})
    moved = await stage.room.event("wallet.transferred", after=after, action="charge")
    tell.entry(moved, "holder", "amount_minor", "balances")
    tell.check("paid, once it was on disk", ("done", "Paid 12.50 EUR."), (paid["status"], paid["message"]))
    tell.check("7.50 EUR are left on it", 750, paid["data"].get("balance_minor"))
    tell.check("all accounts together add up to zero", 0, -TOPPED_UP_MINOR + sum(moved["balances"].values()))
    tell.say("She wants another, which is more than she has.")
    refused = await _at_the_reader(stage, tell, ADA, "wallet", "charge", {"amount_minor": PRICE_MINOR})
    tell.check("refused, with its one reason", ("denied", "insufficient_funds"), _word(refused))


async def voucher_is_redeemed(stage: Stage, tell: Teller) -> None:
    """A drink voucher is used once, and what was wrong is undone."""
    lines = {"lines": [{"item": VOUCHER}]}
    tell.say(f"{BEN.name}'s ticket came with a voucher for a drink. He holds his wristband to the same reader.")
    after = stage.room.last_seq
    redeemed = await _at_the_reader(stage, tell, BEN, "entitlements", "redeem", lines)
    made = await stage.room.event("redemption.made", after=after, holder=BEN.holder)
    tell.entry(made, "holder", "used", "left")
    tell.check("he has his drink", ("done", "Redeemed: 1 drink."), (redeemed["status"], redeemed["message"]))
    tell.check("and no voucher any more", {VOUCHER: 0}, redeemed["data"].get("left"))
    again = await _at_the_reader(stage, tell, BEN, "entitlements", "redeem", lines)
    tell.check("a second one is refused", ("denied", "no_uses_left"), _word(again))
    tell.say("The barrel is empty: the tablet gives the voucher back.")
    asked = await stage.bar_tablet.ask("entitlements", "undo", {"redemption": redeemed["data"].get("redemption", "")})
    undone = await stage.bar_tablet.answer(asked)
    tell.check("it is his again", ("done", "Given back: 1 drink."), (undone["status"], undone["message"]))


async def _at_the_reader(
    stage: Stage, tell: Teller, guest: Guest, target: str, verb: str, data: dict[str, Any]
) -> Message:
    """The tablet asks, the reader waits, the guest taps; the last answer."""
    tablet: Asker = stage.bar_tablet
    asked = await tablet.ask(target, verb, {**data, "reader": "bar-reader"})
    tell.behind("asks", f"{asked.topic}  {asked.payload.decode()}")
    accepted = await tablet.answer(asked, "accepted")
    await stage.devices.bar_reader.do("tap", uid=guest.card, ms=TAP_MS)
    final = await tablet.answer(asked)
    tell.behind("answers", f"{accepted['status']} ({accepted['message']}), then {final['status']} ({final['message']})")
    shown = final.get("feedback", {}).get("text", {})
    tell.behind("display", " / ".join(shown.values()))
    # A tag that is held on is no second tap: the wristband has to be away for a moment.
    await stage.devices.bar_reader.until(lambda state: state["held"] is None)
    await asyncio.sleep(AWAY_S)
    return final


def _word(answer: Message) -> tuple[str, str | None]:
    return answer["status"], answer.get("reason")
