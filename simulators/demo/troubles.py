"""The two chapters in which things go wrong: the daemon is killed, and a technician makes a mistake."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import Sequence

from simulators.demo.acting import clicked, gate_ready, relay, tap, walk_through
from simulators.demo.listening import Asked, Asker, Message, NotHeardError
from simulators.demo.processes import try_command
from simulators.demo.setting import COACH_PARTY, DORA, EMIL, Guest
from simulators.demo.stage import Stage
from simulators.demo.telling import Teller

ANSWERED_FIRST = 10
SENT_FIRST = 15


async def gateway_is_killed(stage: Stage, tell: Teller) -> None:
    """Whatever was answered is in the journal; whatever was not is asked again and happens once."""
    tell.say(f"A coach party of {len(COACH_PARTY)} reaches the east turnstile. In the middle of it: kill -9.")
    asked = await _kill_amid(stage, COACH_PARTY)
    offline = await stage.room.state("offline")
    tell.behind("broker", f"the gateway's last will: {offline}")
    before = {one.id: answer for one in asked if (answer := _answer_to(stage.turnstile, one)) is not None}
    tell.behind("answers", f"{len(before)} of {len(asked)} requests were answered before it died")
    entries = await _decisions(stage)
    missing = [name for name, answer in before.items() if entries.get(name) != [answer["data"]["entry"]]]
    status, words = await stage.verified()
    tell.behind("verify", words)
    tell.check("the journal's hash chain is whole", 0, status)
    tell.check("every answered request is in it, once, as it was answered", [], missing)
    await _start_again(stage, tell)
    await _ask_again(stage, tell, asked, before)
    await _next_guest(stage, tell)


async def _kill_amid(stage: Stage, guests: Sequence[Guest]) -> list[Asked]:
    """Let the guests tap, one right after the other, and kill the gateway while some of them wait for an answer."""
    asked = list(await asyncio.gather(*(_ask(stage, guest) for guest in guests[:SENT_FIRST])))
    await stage.turnstile.bell.until(lambda: _answered(stage.turnstile, asked), f"{ANSWERED_FIRST} answers")
    rest = [asyncio.create_task(_ask(stage, guest)) for guest in guests[SENT_FIRST:]]
    # When this returns all of them are written: the first may be answered already, the last is still on its way.
    await asyncio.sleep(0)
    await stage.gateway.kill()
    return [*asked, *await asyncio.gather(*rest)]


async def _ask(stage: Stage, guest: Guest) -> Asked:
    presented = {"technology": "em4100", "value": guest.card}
    return await stage.turnstile.ask("east-in", "authenticate", {"credential": presented}, request_id=guest.holder)


def _answered(turnstile: Asker, asked: Sequence[Asked]) -> bool | None:
    count = sum(_answer_to(turnstile, one) is not None for one in asked)
    return True if count >= ANSWERED_FIRST else None


def _answer_to(turnstile: Asker, asked: Asked) -> Message | None:
    return next((one for one in turnstile.answers if one["id"] == asked.id), None)


async def _decisions(stage: Stage) -> dict[str, list[str]]:
    """Of each request of the turnstile in the journal: the entries that were granted for it."""
    found: dict[str, list[str]] = {}
    for entry in await stage.exported():
        request = entry.get("request") or {}
        if entry["kind"] == "entry.granted" and request.get("client") == stage.turnstile.name:
            found.setdefault(request["id"], []).append(entry["entry"])
    return found


async def _start_again(stage: Stage, tell: Teller) -> None:
    began_s, after = time.monotonic(), stage.room.last_seq
    await stage.start_gateway()
    started = await stage.room.event("gateway.started", after=after)
    tell.say("It is started again.")
    tell.entry(started, "version", "clean")
    tell.behind("", f"all devices work again {time.monotonic() - began_s:.1f} s after the start")
    tell.check("it knows that the last run did not end well", False, started["clean"])


async def _ask_again(stage: Stage, tell: Teller, asked: Sequence[Asked], before: dict[str, Message]) -> None:
    """The turnstile repeats every request under its own id, as a client does that heard nothing."""
    guests = {guest.holder: guest for guest in COACH_PARTY}
    again = await asyncio.gather(*(_ask(stage, guests[one.id]) for one in asked))
    answers = {one.id: await stage.turnstile.answer(one) for one in again}
    let_in = sum(answer["data"].get("decision") == "granted" for answer in answers.values())
    same = [name for name, answer in before.items() if answers[name]["data"] == answer["data"]]
    tell.say("The turnstile repeats every request under the same id.")
    tell.check("whoever was answered gets the same answer", len(before), len(same))
    tell.check("whoever was not is let in now", len(asked), let_in)
    granted = await _decisions(stage)
    counts = Counter(len(granted.get(one.id, [])) for one in asked)
    tell.check("each of them went in exactly once", {1: len(asked)}, dict(counts))


async def _next_guest(stage: Stage, tell: Teller) -> None:
    lock, after = await relay(stage.devices.south_relay), stage.room.last_seq
    tell.say(f"And the story goes on: {DORA.name} shows her QR code at the south gate.")
    await stage.devices.south_scanner.do("scan", text=DORA.code)
    entry = await stage.room.event("entry.", after=after, gate="south", holder=DORA.holder)
    tell.entry(entry, "gate", "holder", "reason")
    tell.check("she is let in", "entry.granted", entry["kind"])
    await clicked(stage.devices.south_relay, lock)
    released = await stage.room.event("gate.released", entry=entry["entry"])
    tell.entry(released, "gate", "entry")
    tell.check("the south relay clicked", entry["entry"], released["entry"])


async def bad_configuration(stage: Stage, tell: Teller) -> None:
    """A file with a mistake is refused with line and reason; the last good one runs on."""
    after = stage.room.last_seq
    tell.say("A technician edits the file, mistypes a driver, and reloads (SIGHUP).")
    stage.config.write_text(stage.good_configuration.replace("driver: rdm6300", "driver: rdm630", 1))
    try:
        await _reload_refused(stage, tell, after)
        await _enters_all_the_same(stage, tell)
    finally:
        stage.config.write_text(stage.good_configuration)
    tell.say("The technician corrects the file and reloads.")
    stage.gateway.reload()
    loaded = await stage.room.event("configuration.loaded", after=after)
    tell.entry(loaded, "config_digest")
    tell.check("the gateway is well again", "online", (await stage.room.state("online"))["state"])


async def _reload_refused(stage: Stage, tell: Teller, after: int) -> None:
    stage.gateway.reload()
    refused = await stage.room.event("configuration.refused", after=after)
    why = _without_folder(stage, refused["first"])
    tell.entry({**refused, "first": why}, "problems", "first")
    state = await stage.room.state("degraded")
    tell.behind("state", f"{state['state']}: {_without_folder(stage, '; '.join(state['why']))}")
    status, output = await try_command("check", stage.config)
    tell.check("refused with file, line and reason", True, "demo.yaml:" in why and "rdm630" in why)
    tell.check("as `venue-gateway check` would have said before", (1, True), (status, refused["first"] in output))


async def _enters_all_the_same(stage: Stage, tell: Teller) -> None:
    await gate_ready(stage, "north")
    lock, after = await relay(stage.devices.north_board), stage.room.last_seq
    entry = await tap(stage, stage.devices.north_reader, EMIL, after)
    tell.entry(entry, "gate", "holder", "reason")
    if entry["kind"] != "entry.granted":
        raise NotHeardError(f"{EMIL.name} should be let in meanwhile, and was refused: {entry.get('reason')}")
    await clicked(stage.devices.north_board, lock)
    passed = await walk_through(stage, entry)
    tell.check(f"meanwhile {EMIL.name} taps and walks in: the last good file runs on", entry["entry"], passed["entry"])


def _without_folder(stage: Stage, text: str) -> str:
    return text.replace(f"{stage.folder}/", "")
