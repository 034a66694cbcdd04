"""Entry at a gate without a contact and by a networked reader: from the bytes to the relay, once."""

from __future__ import annotations

import asyncio

import pytest

from tests.e2e.bulletin import poll
from tests.e2e.venue import Venue

pytestmark = pytest.mark.asyncio(loop_scope="module")
VENUE = {"parts": ("north", "south"), "guests": 200}
ROUNDS = 60


async def test_a_tag_at_a_gate_without_a_contact_pulses_the_relay_once(venue: Venue) -> None:
    guest, mark = venue.guests.tag(), venue.observer.mark
    relay, before = await venue.device("north-relay"), await venue.pulses("north-relay")
    await (await venue.device("north-reader")).do("tap", uid=guest.value)
    state = await relay.until(lambda s: s["relays"][0]["pulses"] == before + 1)
    assert 40 <= state["relays"][0]["last_pulse_ms"] <= 250
    granted = await venue.observer.event("entry.granted", since=mark, gate="north")
    assert (granted["holder"], granted["source"], granted["uses"]) == (guest.holder, "north-reader", 1)
    assert not granted.get("passage_observed")
    await venue.observer.event("gate.released", since=mark, entry=granted["entry"])
    # Without a contact nobody can say more, so the guest counts as gone through and the gate is free again.
    await venue.observer.state("devices/north/state", state="locked")


async def test_an_unknown_tag_is_refused_and_moves_nothing(venue: Venue) -> None:
    mark, before = venue.observer.mark, await venue.pulses("north-relay")
    await (await venue.device("north-reader")).do("tap", uid=venue.guests.stranger().value)
    denied = await venue.observer.event("entry.denied", since=mark, gate="north")
    assert denied["reason"] == "unknown_credential"
    assert await venue.pulses("north-relay") == before


async def test_one_id_leads_from_the_tap_to_the_passage_in_the_log(venue: Venue) -> None:
    mark, log = venue.observer.mark, venue.daemon.mark
    await (await venue.device("south-scanner")).do("scan", text=venue.guests.code().value)
    await venue.observer.event("gate.released", since=mark, gate="south")
    await (await venue.device("south-board")).do("pulse_input", channel=1, ms=100)
    passed = await venue.observer.event("entry.passed", since=mark, gate="south")
    await venue.admits("south")
    for kind in ("entry.granted", "gate.released", "entry.passed"):
        await venue.daemon.logged(kind, since=log, entry=passed["entry"])


async def test_i02_a_held_tag_is_one_tap(venue: Venue) -> None:
    guest, mark = venue.guests.tag(), venue.observer.mark
    reader, before = await venue.device("north-reader"), await venue.pulses("north-relay")
    sent = (await reader.state())["frames_sent"]

    async def a_dozen_frames() -> bool:
        return bool((await reader.state())["frames_sent"] >= sent + 12)

    await reader.do("hold", uid=guest.value)
    await poll(a_dozen_frames, "a dozen frames of one tag")
    await reader.do("release")
    # The next guest's tap comes after every frame of the first on the same line.
    other = venue.guests.tag()
    await reader.do("tap", uid=other.value)
    await venue.observer.event("entry.granted", since=mark, holder=other.holder)
    assert len(venue.observer.events("entry.granted", since=mark)) == 2
    assert not venue.observer.events("entry.denied", since=mark)
    await (await venue.device("north-relay")).until(lambda s: s["relays"][0]["switched_on"] == before + 2)


async def test_a_networked_reader_hears_the_decision_and_the_gate_opens_the_same_way(venue: Venue) -> None:
    guest, mark = venue.guests.code(), venue.observer.mark
    before = await venue.pulses("north-relay")
    async with venue.client("entrance") as reader:
        answer = await (await venue.authenticate(reader, "north", guest)).final()
        assert (answer["status"], answer["target"], answer["verb"]) == ("done", "north", "authenticate")
        assert (answer["data"]["decision"], answer["data"]["gate"]) == ("granted", "north")
        await venue.observer.event("gate.released", since=mark, entry=answer["data"]["entry"])
        await venue.closed("north-relay", before + 1)

        again = await (await venue.authenticate(reader, "north", guest)).final()
        assert (again["status"], again["reason"]) == ("denied", "no_uses_left")
        unknown = await (await venue.authenticate(reader, "north", venue.guests.stranger("barcode"))).final()
        assert (unknown["status"], unknown["reason"]) == ("denied", "unknown_credential")
        assert unknown["message"]
    await venue.closed("north-relay", before + 1)


async def test_i02_the_same_id_twice_is_one_entry_and_the_same_answer(venue: Venue) -> None:
    guest, mark, before = venue.guests.tag(uses=None), venue.observer.mark, await venue.pulses("north-relay")
    async with venue.client("entrance") as reader:
        # At once, before the first can have been stored, then it shares the first's answer; and again long after.
        first = await venue.authenticate(reader, "north", guest, request_id="twice")
        await venue.authenticate(reader, "north", guest, request_id="twice")
        await first.final()
        await venue.authenticate(reader, "north", guest, request_id="twice")
        await first.answer(since=1, final=True)
        other = await venue.authenticate(reader, "north", venue.guests.tag(), request_id="twice")
        assert (await other.answer(status="denied"))["reason"] == "idempotency_conflict"
        same = [answer for answer in first.answers if answer["status"] == "done"]
        assert len({answer["data"]["entry"] for answer in same}) == 1
        # Another gate is another question, even about the same guest.
        known = len(first.answers)
        await venue.authenticate(reader, "turnstile", guest, request_id="twice")
        assert (await other.answer(since=known))["reason"] == "idempotency_conflict"
    await venue.observer.event("entry.granted", since=mark)
    assert len(venue.observer.events("entry.granted", since=mark)) == 1
    await venue.closed("north-relay", before + 1)


async def test_i02_two_clients_may_use_the_same_id(venue: Venue) -> None:
    async with venue.client("entrance") as one, venue.client("exit-reader") as two:
        answers = [
            await (await venue.authenticate(client, "turnstile", venue.guests.code(), request_id="mine")).final()
            for client in (one, two)
        ]
    assert answers[0]["data"]["entry"] != answers[1]["data"]["entry"]


async def test_i04_a_single_ticket_at_two_gates_at_once_admits_once(venue: Venue) -> None:
    async with venue.client("entrance") as one, venue.client("exit-reader") as two:
        for _ in range(ROUNDS):
            guest = venue.guests.code()
            asked = await asyncio.gather(
                venue.authenticate(one, "vip", guest), venue.authenticate(two, "turnstile", guest)
            )
            answers = [await conversation.final() for conversation in asked]
            assert sorted(answer["status"] for answer in answers) == ["denied", "done"]
            refused = next(answer for answer in answers if answer["status"] == "denied")
            assert refused["reason"] in {"no_uses_left", "already_inside"}


async def test_i04_a_single_ticket_at_a_wired_and_a_networked_gate_admits_once(venue: Venue) -> None:
    scanner, reader = await venue.device("south-scanner"), await venue.device("north-reader")
    async with venue.client("entrance") as networked:
        for number in range(8):
            guest = venue.guests.tag() if number % 2 else venue.guests.code()
            mark = venue.observer.mark
            wired = reader.do("tap", uid=guest.value) if number % 2 else scanner.do("scan", text=guest.value)
            _, asked = await asyncio.gather(wired, venue.authenticate(networked, "turnstile", guest))
            await asked.final()
            both = await venue.observer.until(
                lambda: (found := _decisions(venue, mark, guest.holder)) and len(found) == 2 and found,  # noqa: B023
                "both decisions",
            )
            assert sorted(entry["kind"] for entry in both) == ["entry.denied", "entry.granted"]
            await venue.admits("south")


def _decisions(venue: Venue, mark: int, holder: str) -> list[dict[str, object]]:
    return [
        *venue.observer.events("entry.granted", since=mark, holder=holder),
        *venue.observer.events("entry.denied", since=mark, holder=holder),
    ]
