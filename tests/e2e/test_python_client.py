"""`gateway.client` against the real daemon, broker and simulated devices, by TLS and the invitation alone."""

from __future__ import annotations

import asyncio
import contextlib
import json
import re
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from gateway.client import Denied, Entry, Failed, NotConnected, VenueClient, WrongInvitation
from tests.e2e import joined
from tests.e2e.bulletin import WAIT_S, poll
from tests.e2e.paper import newest
from tests.e2e.venue import Venue

pytestmark = pytest.mark.asyncio(loop_scope="module")
READER, PRINTER, DRAWER = "north-reader", "bar-printer", "bar-drawer"
DOCS = Path(__file__).resolve().parents[2] / "docs" / "clients.md"


def changed(settings: dict[str, Any]) -> None:
    joined.with_till(settings)
    settings["clients"]["screens"]["may"]["gateway"] = ["replay"]


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def venue() -> AsyncIterator[Venue]:
    one = Venue(("north", "south", "bar"), guests=40, change=changed, start=("directory",))
    try:
        async with one:
            await joined.begin(one)
            yield one
        assert not one.problems(stored=True)
    finally:
        one.remove()


@contextlib.asynccontextmanager
async def client(venue: Venue, name: str = "bar-tablet") -> AsyncIterator[VenueClient]:
    async with await VenueClient.join(joined.text(joined.invitation(venue, name))) as one:
        yield one


async def tap(venue: Venue, guest: Any) -> None:
    await (await venue.device(READER)).do("tap", uid=guest.value)


async def armed(venue: Venue, mark: int) -> None:
    await venue.observer.event("wallet.armed", since=mark, reader=READER)


async def test_a_card_pays_and_gets_it_back(venue: Venue) -> None:
    guest, mark = venue.guests.tag(None), venue.observer.mark
    async with client(venue) as bar:
        topped = await bar.top_up(2000, by="cash", credential=guest.credential)
        assert (topped.balance_minor, topped.currency) == (2000, "EUR")
        charging = asyncio.create_task(bar.charge(1250, reader=READER, tip_minor=50))
        await armed(venue, mark)
        await tap(venue, guest)
        paid = await charging
        assert (paid.amount_minor, paid.balance_minor, paid.holder) == (1300, 700, guest.holder)
        back = await bar.refund(paid.transfer, 300)
        assert (back.of, back.balance_minor) == (paid.transfer, 1000)
        left = await bar.balance(credential=guest.credential)
        assert (left.available_minor, left.held_minor) == (1000, 0)


async def test_a_refusal_is_an_error_with_its_one_word_and_a_sentence(venue: Venue) -> None:
    guest = venue.guests.tag(None)
    async with client(venue) as bar:
        await bar.top_up(100, by="cash", credential=guest.credential)
        with pytest.raises(Denied) as refused:
            await bar.charge(5000, credential=guest.credential)
        assert refused.value.reason == "insufficient_funds"
        assert str(refused.value).startswith("There is not enough in the wallet.")
        assert refused.value.answer.data["available_minor"] == 100
        with pytest.raises(Denied, match="under `clients:`") as refused:
            await bar.ask("wallet", "close_out", {"credential": guest.credential})
        assert refused.value.reason == "not_granted"
        with pytest.raises(ValueError, match="one of them"):
            await bar.balance()


async def test_a_button_cancels_and_so_does_a_task_that_is_cancelled(venue: Venue) -> None:
    async with client(venue) as bar:
        waiting = await bar.begin_charge(300, reader=READER)
        assert waiting.armed.reader == READER
        await waiting.cancel()
        with pytest.raises(Failed) as ended:
            await waiting.paid()
        assert ended.value.reason == "payment_cancelled"
        mark = venue.observer.mark
        charging = asyncio.create_task(bar.charge(300, reader=READER))
        await armed(venue, mark)
        charging.cancel()
        with pytest.raises(asyncio.CancelledError):
            await charging
        await venue.observer.event("wallet.cancelled", since=mark)


async def test_paper_and_drawer(venue: Venue) -> None:
    async with client(venue) as bar:
        lines = [{"type": "text", "text": "Grüße aus Python"}, {"type": "cut"}]
        assert (await bar.print(PRINTER, lines, title="Beleg")).confirmed
        assert "Grüße aus Python" in await newest(venue, PRINTER)
        drawer = asyncio.create_task(bar.open_drawer(DRAWER, "change for a fifty"))
        assert (await drawer).opening
        assert (await venue.observer.event("drawer.opening", reason="change for a fifty"))["client"] == "bar-tablet"


async def test_a_gate_lets_in_or_says_why_not(venue: Venue) -> None:
    guest = venue.guests.tag()
    async with client(venue, "entrance") as entrance:
        let_in = await entrance.authenticate("turnstile", **guest.credential)
        assert (let_in.gate, let_in.zone, let_in.decision) == ("turnstile", "hall", "granted")
        with pytest.raises(Denied) as refused:
            await entrance.authenticate("turnstile", **guest.credential)
        assert refused.value.reason in {"no_uses_left", "already_inside"}
        assert refused.value.answer.feedback is not None
        assert refused.value.answer.feedback.colour == "red"


async def test_what_was_missed_is_replayed_and_then_it_goes_on_live(venue: Venue) -> None:
    known = venue.journal()
    async with client(venue, "screens") as screens, client(venue, "entrance") as entrance:
        seen: list[Entry] = []

        async def follow() -> None:
            async for one in screens.events(after_seq=3):
                seen.append(one)  # noqa: PERF401 - it is looked at meanwhile

        following = asyncio.create_task(follow())
        await poll(lambda: _true(len(seen) >= len(known) - 3), "the replay")
        await venue.broker.kill()
        await venue.broker.start()
        guest = venue.guests.tag()
        await entrance.authenticate("turnstile", **guest.credential)
        await poll(lambda: _true(any(one.fields.get("holder") == guest.holder for one in seen)), "the live entry")
        following.cancel()
        await asyncio.wait([following])
    journal = venue.journal()
    assert [one.seq for one in seen] == list(range(4, 4 + len(seen)))
    assert [one.kind for one in seen] == [row["kind"] for row in journal[3 : 3 + len(seen)]]
    async with client(venue) as bar:
        with pytest.raises(Denied) as refused:
            await anext(bar.events(after_seq=0))
        assert refused.value.reason == "not_granted"


async def _true(value: bool) -> bool:
    return value


async def test_i02_whoever_asks_while_broker_and_gateway_are_away_is_answered_once_they_are_back(venue: Venue) -> None:
    guest = venue.guests.tag(None)
    async with client(venue) as bar:
        await bar.top_up(1000, by="cash", credential=guest.credential)
        await venue.broker.kill()
        charging = asyncio.create_task(bar.charge(400, credential=guest.credential, request_id="during-outage"))
        await asyncio.sleep(0)
        await venue.daemon.kill()
        await venue.broker.start()
        await venue.start_daemon()
        assert (await charging).balance_minor == 600
        again = await bar.charge(400, credential=guest.credential, request_id="during-outage")
        assert again.balance_minor == 600
        assert (await bar.balance(credential=guest.credential)).available_minor == 600


async def test_only_the_broker_of_the_invitation_is_believed(venue: Venue) -> None:
    told = joined.invitation(venue, "bar-tablet")
    with pytest.raises(WrongInvitation, match="is not the one of the invitation"):
        await VenueClient.join(joined.text(told | {"ca_sha256": "0" * 64}))
    with pytest.raises(WrongInvitation) as wrong:
        await VenueClient.join('{"password": "hush"}')
    assert "hush" not in str(wrong.value)
    with pytest.raises(NotConnected):
        async with await VenueClient.join(joined.text(told | {"password": "wrong"})):
            pytest.fail("a wrong password came in")
    with pytest.raises(NotConnected):
        await VenueClient.join(joined.text(told | {"mqtts": "127.0.0.1:1"}))


async def test_the_example_of_the_docs_does_what_it_says(venue: Venue, tmp_path: Path) -> None:
    found = re.search(r"<!-- tested -->\n```python\n(.*?)```", DOCS.read_text(), re.DOTALL)
    assert found is not None
    (tmp_path / "example.py").write_text(found[1])
    (tmp_path / "invitation.json").write_text(json.dumps(joined.invitation(venue, "bar-tablet")))
    guest, mark = venue.guests.tag(None), venue.observer.mark
    async with client(venue) as bar:
        await bar.top_up(1000, by="cash", credential=guest.credential)
    root = str(DOCS.parents[1])
    process = await asyncio.create_subprocess_exec(
        sys.executable, "example.py", cwd=tmp_path, stdout=asyncio.subprocess.PIPE, env={"PYTHONPATH": root}
    )
    await armed(venue, mark)
    await tap(venue, guest)
    async with asyncio.timeout(WAIT_S):
        out, _ = await process.communicate()
    assert (process.returncode, out.decode()) == (0, "paid 450 EUR, 550 left\n")
    assert "1 × Weißbier" in await newest(venue, PRINTER)
