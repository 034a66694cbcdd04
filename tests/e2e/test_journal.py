"""The journal from outside: feed, replay, verify, tail, export; and nothing in it that is secret."""

from __future__ import annotations

import json

import pytest

from tests.e2e.venue import Venue

pytestmark = pytest.mark.asyncio(loop_scope="module")
VENUE = {"parts": ("north", "bar")}


async def some_history(venue: Venue) -> int:
    """A few entries more; returns the newest seq on the feed."""
    async with venue.client("entrance") as reader:
        for _ in range(5):
            await (await venue.authenticate(reader, "turnstile", venue.guests.code())).final()
        await (await venue.authenticate(reader, "turnstile", venue.guests.stranger())).final()
    last = venue.journal()[-1]["seq"]
    await venue.observer.until(lambda: venue.observer.feed[-1]["seq"] >= last, "the newest entry on the feed")
    return int(last)


async def test_the_feed_is_the_journal_in_order(venue: Venue) -> None:
    last = await some_history(venue)
    told = {entry["seq"]: entry for entry in venue.observer.feed}
    assert sorted(told) == list(range(1, max(told) + 1))
    stored = {row["seq"]: row for row in venue.journal()}
    for seq in range(1, last + 1):
        body = {key: value for key, value in told[seq].items() if key not in {"id", "at"}}
        assert body == stored[seq]


async def test_a_replay_gives_the_entries_after_a_seq_in_pages(venue: Venue) -> None:
    last = await some_history(venue)
    told = {entry["seq"]: entry for entry in venue.observer.feed}
    async with venue.client("screens") as screens:
        page = (await (await screens.ask("gateway", "replay", {"after_seq": 3, "limit": 4})).final())["data"]
        assert [entry["seq"] for entry in page["entries"]] == [4, 5, 6, 7]
        assert (page["last_seq"], page["more"]) == (7, True)
        assert page["entries"] == [told[seq] for seq in (4, 5, 6, 7)]
        same = (await (await screens.ask("gateway", "replay", {"from_seq": 4, "limit": 4})).final())["data"]
        assert same == page
        end = (await (await screens.ask("gateway", "replay", {"after_seq": last - 1, "limit": 500})).final())["data"]
        assert not end["more"]
        assert end["entries"][0]["seq"] == last
        beyond = (await (await screens.ask("gateway", "replay", {"after_seq": 10**9})).final())["data"]
        assert (beyond["entries"], beyond["more"]) == ([], False)
        numbers = ({"after_seq": -1}, {"after_seq": 2**63}, {"from_seq": 2**63}, {"limit": 0}, {"limit": 501})
        for wrong in (*numbers, {"after": 1}, {"after_seq": "1"}):
            answer = await (await screens.ask("gateway", "replay", wrong)).final()
            assert (answer["status"], answer["reason"]) == ("denied", "malformed"), wrong


async def test_a_page_of_long_entries_is_as_long_as_one_answer_may_be(venue: Venue) -> None:
    first = venue.journal()[-1]["seq"]
    order = {"holder": "\N{ADMISSION TICKETS}" * 200, "reason": "\N{ADMISSION TICKETS}" * 200}
    async with venue.client("supervisor") as supervisor:
        for told in [await supervisor.ask("gateway", "unblock", order) for _ in range(400)]:
            await told.final()
    async with venue.client("screens") as screens:
        seen, more = [first], True
        while more:
            answer = await (await screens.ask("gateway", "replay", {"after_seq": seen[-1], "limit": 500})).final()
            assert answer["status"] == "done", answer["message"]
            seen += [entry["seq"] for entry in answer["data"]["entries"]]
            more = answer["data"]["more"]
    assert seen == list(range(first, first + len(seen)))
    assert len(seen) > 400


async def test_the_gateway_says_how_it_is(venue: Venue) -> None:
    async with venue.client("screens") as screens:
        status = (await (await screens.ask("gateway", "status")).final())["data"]
        assert status["state"] == "online"
        assert status["figures"]["journal_seq"] >= 1


async def test_verify_tail_and_export_while_the_gateway_runs(venue: Venue) -> None:
    last = await some_history(venue)
    verified = await venue.command("journal", "verify")
    assert verified.status == 0, verified.out
    tail = await venue.command("journal", "tail", "-n", "3")
    assert len(tail.out.splitlines()) == 3
    exported = [json.loads(line) for line in (await venue.command("journal", "export")).out.splitlines()]
    assert [entry["seq"] for entry in exported][:last] == list(range(1, last + 1))
    later = (await venue.command("journal", "export", "--after-seq", str(last - 2))).out.splitlines()
    assert [json.loads(line)["seq"] for line in later][:2] == [last - 1, last]


async def test_i12_nothing_that_is_written_or_sent_names_a_card_or_a_password(venue: Venue) -> None:
    """The check after every test does this too; here it is shown that it would find one."""
    guest = venue.guests.tag()
    async with venue.client("entrance") as reader:
        await (await venue.authenticate(reader, "north", guest)).final()
        broken = b'{"id": "spilt", "data": {"credential": {"technology": "em4100", "value": 5, "x": "%s"}}}'
        spilt = await reader.send("north", "authenticate", broken % guest.value.encode(), request_id="spilt")
        assert (await spilt.final())["reason"] == "malformed"
        await venue.authenticate(reader, "north", guest, request_id=f"id-{'x' * 40}")
    await (await venue.device("north-reader")).do("tap", uid=guest.value)
    await venue.observer.event("entry.denied", gate="north", holder=guest.holder)
    exported = (await venue.command("journal", "export")).out
    assert not venue.secrets_in([exported])
    assert not venue.problems(stored=True)
    password = (venue.state_dir / "clients" / "entrance.password").read_text().strip()
    for spilt in (f"tag {guest.value.lower()} read", f"tag {int(guest.value, 16)} read", f"password={password}"):
        assert venue.secrets_in([spilt])
