"""The story: guests at the gates, a turnstile that asks, tablets that print. Each chapter checks what came out."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence

from simulators.control import ControlError
from simulators.demo import bar, setting, troubles
from simulators.demo.acting import (
    authenticate,
    clicked,
    confirmed,
    gate_ready,
    paper_text,
    relay,
    seconds_between,
    tap,
    walk_through,
    why,
)
from simulators.demo.listening import NotHeardError
from simulators.demo.processes import StageError
from simulators.demo.receipts import ON_THE_BAR_RECEIPT, TICKET_URL, bar_receipt, office_receipt
from simulators.demo.setting import ADA, BEN, CLEO, PULSE_MS, STRANGER
from simulators.demo.stage import Stage
from simulators.demo.telling import Teller, hex_bytes
from simulators.rdm6300 import frame

Chapter = Callable[[Stage, Teller], Awaitable[None]]

HOLD_MS = 500
PULSE_TOLERANCE_MS = 250
TIMEOUT_TOLERANCE_S = 1.0


async def tell_story(stage: Stage, tell: Teller) -> None:
    """Tell every chapter; one that cannot be told to its end says why, and the next one is told."""
    for number, (title, chapter) in enumerate(CHAPTERS, start=1):
        tell.chapter(number, title)
        try:
            await chapter(stage, tell)
        except (NotHeardError, ControlError, StageError) as error:
            tell.broke(str(error))
            if stage.gateway.ended is not None:
                tell.note(f"The gateway ended with status {stage.gateway.ended}; its last words:")
                tell.note(stage.gateway.last_words())
                return
        await tell.pause()


async def guest_enters(stage: Stage, tell: Teller) -> None:
    """A tap opens the gate for one passage."""
    reader, board, after = stage.devices.north_reader, stage.devices.north_board, stage.room.last_seq
    before = await reader.state()
    lock = await relay(board)
    tell.say(f"{ADA.name} holds her wristband to the reader for half a second.")
    await reader.do("tap", uid=ADA.card, ms=HOLD_MS)
    tell.behind("serial", f"north-reader sends {hex_bytes(frame(ADA.card))}")
    granted = await stage.room.event("entry.granted", after=after, gate="north", holder=ADA.holder)
    tell.entry(granted, "gate", "holder", "entitlement", "source")
    tell.behind("", f"credential={granted['credential']}: a keyed digest; her number is stored nowhere")
    await clicked(board, lock)
    passed = await walk_through(stage, granted)
    tell.entry(passed, "gate", "entry")
    pulse_ms = (await board.until(lambda state: state["relays"][0]["pulses"] > lock["pulses"]))["relays"][0]
    held = await reader.until(lambda state: state["held"] is None)
    frames = held["frames_sent"] - before["frames_sent"]
    tell.behind("relay", f"north-board.1 was closed for {pulse_ms['last_pulse_ms']:.0f} ms, told to for {PULSE_MS}")
    decisions = sum(stage.room.count(kind, holder=ADA.holder) for kind in ("entry.granted", "entry.denied"))
    tell.check(f"{frames} frames of one held wristband are one tap", 1, decisions)
    tell.check("the relay clicked once", 1, (await relay(board))["switched_on"] - lock["switched_on"])
    tell.check(f"for {PULSE_MS} ms, give or take", True, abs(pulse_ms["last_pulse_ms"] - PULSE_MS) < PULSE_TOLERANCE_MS)
    tell.check("the passage contact saw her walk in, and the journal has it", granted["entry"], passed["entry"])


async def same_ticket_again(stage: Stage, tell: Teller) -> None:
    """The ticket is used up, at every gate."""
    scanner, relays, after = stage.devices.south_scanner, stage.devices.south_relay, stage.room.last_seq
    lock = await relay(relays)
    tell.say("A friend shows the same ticket, printed as a QR code, at the south gate.")
    await scanner.do("scan", text=ADA.code)
    tell.behind("serial", f"south-scanner sends {ADA.code} and a carriage return")
    denied = await stage.room.event("entry.", after=after, gate="south", holder=ADA.holder)
    tell.entry(denied, "gate", "holder", "reason")
    tell.check("refused, with its one reason", ("entry.denied", "no_uses_left"), (denied["kind"], denied.get("reason")))
    tell.check("the south relay did not move", lock["switched_on"], (await relay(relays))["switched_on"])


async def guest_turns_back(stage: Stage, tell: Teller) -> None:
    """Who does not walk through keeps the ticket."""
    reader, after = stage.devices.north_reader, stage.room.last_seq
    await gate_ready(stage, "north")
    tell.say(f"{BEN.name} taps at the north gate, is let in, and runs back for his umbrella.")
    first = await tap(stage, reader, BEN, after)
    tell.entry(first, "gate", "holder", "uses")
    returned = await stage.room.event("entry.returned", entry=first["entry"])
    tell.entry(returned, "gate", "holder", "uses")
    waited_s = seconds_between(first, returned)
    on_time = abs(waited_s - setting.PASSAGE_TIMEOUT_S) < TIMEOUT_TOLERANCE_S
    tell.check(f"after {waited_s:.1f} s the entry is handed back", (True, "not_passed"), (on_time, why(returned)))
    tell.check("the ticket is as before", first["uses"] - 1, returned["uses"])
    await gate_ready(stage, "north")
    tell.say("He comes again, with the umbrella.")
    lock = await relay(stage.devices.north_board)
    second = await tap(stage, reader, BEN, returned["seq"])
    tell.check("the same ticket works", "entry.granted", second["kind"])
    await clicked(stage.devices.north_board, lock)
    passed = await walk_through(stage, second)
    tell.entry(passed, "gate", "entry")
    tell.check("and this time he is seen to walk in", second["entry"], passed["entry"])


async def turnstile_asks(stage: Stage, tell: Teller) -> None:
    """A reader on the network asks over MQTT and moves its own barrier."""
    tell.say(f"{CLEO.name} taps at the east turnstile, which reads by itself and asks over MQTT.")
    asked, answer = await authenticate(stage, CLEO.card)
    tell.behind("asks", f"{asked.topic}  {len(asked.payload)} bytes")
    tell.behind("", asked.payload.decode())
    shown = f"{answer['status']}, {answer['message']}, {answer['data']}"
    tell.behind("answer", f"…/clients/{stage.turnstile.name}/responses  {shown}")
    entry = await stage.room.event("entry.granted", gate="east-in", holder=CLEO.holder)
    tell.entry(entry, "gate", "holder", "source")
    tell.check(f"let in, in {(answer['at_s'] - asked.at_s) * 1000:.1f} ms", "granted", answer["data"].get("decision"))
    tell.check("and the answer is what the journal holds", entry["entry"], answer["data"].get("entry"))
    _, refused = await authenticate(stage, STRANGER)
    tell.check("a wristband nobody knows is refused", "unknown_credential", refused.get("reason"))


async def tablet_prints(stage: Stage, tell: Teller) -> None:
    """A receipt and the drawer, asked for by a tablet."""
    printer, tablet = stage.devices.bar_printer, stage.bar_tablet
    before = await printer.state()
    tell.say("The bar's tablet sends a receipt: lines, columns, a QR code, umlauts and the euro sign.")
    asked = await tablet.ask("bar-printer", "print", bar_receipt())
    tell.behind("asks", f"{asked.topic}  {len(asked.payload)} bytes")
    accepted = await tablet.answer(asked, "accepted")
    done = await tablet.answer(asked)
    tell.behind("answers", f"{accepted['status']} ({accepted['message']}), then {done['status']} ({done['message']})")
    after = await printer.until(lambda state: state["receipt_count"] > before["receipt_count"])
    received = after["received_bytes"] - before["received_bytes"]
    tell.behind("printer", f"got {received} bytes of ESC/POS over TCP, cut the paper, and drew it")
    tell.check("printed, and the printer itself confirms it", ("done", True), (done["status"], confirmed(done)))
    text = paper_text(after)
    tell.check("every word is on the paper", [], [word for word in ON_THE_BAR_RECEIPT if word not in text])
    tell.check("so is the QR code", True, TICKET_URL in text)
    await drawer_opens(stage, tell)


async def drawer_opens(stage: Stage, tell: Teller) -> None:
    """The drawer opens for a named client with a reason, and its contact tells."""
    printer, tablet, after = stage.devices.bar_printer, stage.bar_tablet, stage.room.last_seq
    before = await printer.state()
    tell.say("Cash changes hands, so the tablet opens the drawer.")
    asked = await tablet.ask("bar-drawer", "open", {"reason": "sale of 30.30 EUR, cash"})
    tell.behind("asks", f"{asked.topic}  {asked.payload.decode()}")
    done = await tablet.answer(asked)
    opening = await stage.room.event("drawer.opening", after=after, drawer="bar-drawer")
    tell.entry(opening, "drawer", "client", "reason")
    state = await printer.state()
    tell.check("the drawer got one pulse", 1, state["kick_count"] - before["kick_count"])
    tell.check("its contact saw it open", ("done", True), (done["status"], confirmed(done)))
    await printer.do("drawer", open=False)
    closed = await stage.room.event("drawer.closed", after=after, drawer="bar-drawer")
    tell.entry(closed, "drawer")
    tell.check("and somebody pushed it shut", "drawer.closed", closed["kind"])


async def paper_runs_out(stage: Stage, tell: Teller) -> None:
    """Paper out holds the job; new paper prints it once."""
    printer, tablet, after = stage.devices.office_printer, stage.office_tablet, stage.room.last_seq
    before = await printer.state()
    tell.say("At the ticket office the roll is empty, and the tablet there sends a ticket.")
    await printer.do("paper", state="out")
    asked = await tablet.ask("office-printer", "print", office_receipt())
    held = await tablet.answer(asked, "accepted", held="paper_out")
    tell.behind("answer", f"{held['status']}: {held['message']}")
    tell.entry(await stage.room.event("print.held", after=after, printer="office-printer"), "printer", "why")
    tell.check("the job waits", before["receipt_count"], (await printer.state())["receipt_count"])
    tell.say("A new roll is put in.")
    await printer.do("paper", state="ok")
    done = await tablet.answer(asked)
    tell.entry(await stage.room.event("print.done", after=after, printer="office-printer"), "printer", "confirmed")
    printed = await printer.until(lambda state: state["receipt_count"] > before["receipt_count"])
    tell.check("it prints by itself", ("done", True), (done["status"], confirmed(done)))
    tell.check("and once", 1, printed["receipt_count"] - before["receipt_count"])
    tell.check(
        "the ticket is whole", True, "Eintrittskarte" in paper_text(printed) and "SAAL-0001" in paper_text(printed)
    )


CHAPTERS: Sequence[tuple[str, Chapter]] = (
    ("A guest taps at the north gate and walks in", guest_enters),
    ("The same ticket is refused at the south gate", same_ticket_again),
    ("A guest is let in, does not walk through, and gets the entry back", guest_turns_back),
    ("A turnstile on the network asks for a decision", turnstile_asks),
    ("A tablet prints a receipt and opens the cash drawer", tablet_prints),
    ("A guest buys a drink with her wristband", bar.guest_buys_a_drink),
    ("A voucher for a drink is redeemed, once, and given back", bar.voucher_is_redeemed),
    ("The paper runs out, the job waits, and new paper prints it once", paper_runs_out),
    ("The gateway is killed with -9 while guests wait, and loses nothing", troubles.gateway_is_killed),
    ("A wrong configuration is refused, and the gateway works on", troubles.bad_configuration),
)
