"""The broker missing, killed, restarted, or refusing: gates work on, and what was missed is told later."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from tests.e2e.settings import BASE
from tests.e2e.tablet import Tablet
from tests.e2e.venue import Venue

pytestmark = pytest.mark.asyncio(loop_scope="module")


async def tap_opens(venue: Venue) -> None:
    relay, before = await venue.device("north-relay"), await venue.pulses("north-relay")
    await (await venue.device("north-reader")).do("tap", uid=venue.guests.tag().value, ms=50)
    await relay.until(lambda s: s["relays"][0]["pulses"] == before + 1)


async def replay(tablet: Tablet, after_seq: int = 0) -> list[dict[str, Any]]:
    """Every journal entry after a seq, page by page, as a client that missed some asks for them."""
    entries: list[dict[str, Any]] = []
    while True:
        data = {"after_seq": entries[-1]["seq"] if entries else after_seq, "limit": 50}
        page = (await (await tablet.ask("gateway", "replay", data)).final())["data"]
        entries += page["entries"]
        if not page["more"]:
            return entries


async def test_gates_work_without_a_broker_and_all_is_told_when_it_comes(start_venue: Any) -> None:
    venue = await start_venue(("north", "bar"), start=("directory", "daemon"))
    lost = await venue.daemon.logged("mqtt.disconnected")
    assert str(venue.broker.socket) in lost["why"]
    for _ in range(3):
        await tap_opens(venue)
    await venue.broker.start()
    async with venue.observer:
        # Everything retained is there although nobody listened when it became true.
        await venue.observer.state("gateway/state", state="online")
        for topic in ("gateway/info", "gateway/devices", "gateway/health"):
            await venue.observer.state(topic)
        for name in ("north-reader", "north-relay", "bar-printer", "bar-drawer"):
            await venue.observer.state(f"devices/{name}/state", state="online")
        await venue.observer.state("devices/north/state", state="locked", inside=3)
        await tap_opens(venue)
        async with venue.client("screens") as screens:
            entries = await replay(screens)
        assert [entry["seq"] for entry in entries] == list(range(1, len(entries) + 1))
        assert sum(entry["kind"] == "entry.granted" for entry in entries) == 4
        assert not venue.observer.feed_problems()


async def test_i05_the_feed_is_complete_and_in_order_over_a_broker_that_dies_and_comes_back(start_venue: Any) -> None:
    venue = await start_venue(("north",))
    for _ in range(3):
        for _ in range(4):
            await tap_opens(venue)
        log = venue.daemon.mark
        await venue.broker.kill()
        await venue.daemon.logged("mqtt.disconnected", since=log)
        for _ in range(4):
            await tap_opens(venue)
        connections = venue.observer.connections
        await venue.broker.start()
        await venue.observer.is_connected()
        await venue.daemon.logged("mqtt.connected", since=log)
        await venue.observer.state("gateway/state", state="online")
        await venue.observer.state("devices/north/state", state="locked")
        assert venue.observer.connections > connections
        await tap_opens(venue)
    async with venue.client("screens") as screens:
        told = {entry["seq"]: entry for entry in await replay(screens)}
    last = max(told)
    await venue.observer.until(lambda: venue.observer.feed[-1]["seq"] >= last, "the newest entry on the feed")
    assert list(told) == list(range(1, last + 1))
    # The onlooker was away as long as the broker; what it did hear is what the journal says.
    heard = {entry["seq"]: entry for entry in venue.observer.feed}
    assert all(told[seq] == entry for seq, entry in heard.items() if seq in told)
    assert sum(entry["kind"] == "entry.granted" for entry in told.values()) == 27
    assert [row["kind"] for row in venue.journal()][:last] == [entry["kind"] for entry in told.values()]


async def test_i05_entries_from_an_outage_come_on_the_feed_by_themselves(start_venue: Any) -> None:
    venue = await start_venue(("north",))
    await tap_opens(venue)
    await venue.observer.event("gate.released")
    seen = venue.observer.feed[-1]["seq"]
    # The gateway alone is cut off: it waits with its password of yesterday while the broker and the onlooker go on.
    await venue.daemon.stop()
    await venue.start_daemon()
    await tap_opens(venue)
    await venue.daemon.kill()
    await venue.start_daemon()
    await tap_opens(venue)
    last = venue.journal()[-1]["seq"]
    await venue.observer.until(lambda: venue.observer.feed[-1]["seq"] >= last, "the newest entry on the feed")
    assert {entry["seq"] for entry in venue.observer.feed} == set(range(1, venue.observer.feed[-1]["seq"] + 1))
    assert seen < last


async def test_an_answer_that_could_not_be_delivered_comes_when_the_broker_is_back(start_venue: Any) -> None:
    venue = await start_venue(("north", "bar"))
    control = await venue.device("bar-printer")
    await control.do("paper", state="out")
    async with venue.client("bar-tablet") as tablet:
        document = {"document": {"lines": [{"type": "text", "text": "Spät"}, {"type": "cut"}]}}
        late = await tablet.ask("bar-printer", "print", document, request_id="late", expires_s=50)
        await late.accepted(held="paper_out")
        log = venue.daemon.mark
        await venue.broker.kill()
    await venue.daemon.logged("mqtt.disconnected", since=log)
    await control.do("paper", state="ok")
    await venue.daemon.logged("print.done", since=log)
    await venue.broker.start()
    async with venue.client("bar-tablet") as tablet:
        # Its own session was lost with the broker, so it asks again with the same id, and hears the end of it.
        again = await tablet.ask("bar-printer", "print", document, request_id="late", expires_s=50)
        assert (await again.final())["status"] == "done"
    assert (await control.state())["receipt_count"] == 1


async def test_a_wrong_password_is_said_and_a_right_one_used_without_a_restart(start_venue: Any) -> None:
    def by_tcp(settings: dict[str, Any]) -> None:
        settings["broker"] = {"url": "mqtt://127.0.0.1:1", "username": "gateway", "password_file": "gateway.password"}

    venue = await start_venue(("north",), change=by_tcp, start=())
    password = venue.directory / "gateway.password"
    venue.settings["broker"]["url"] = f"mqtt://127.0.0.1:{venue.broker.port}"
    venue.write_config()
    password.write_text("right-password-of-the-gateway\n")
    await venue._start_broker()
    await venue.import_directory()
    listener = f"listener 0 {venue.broker.socket}\nallow_anonymous true\n"
    configuration = venue.broker.configuration
    configuration.write_text(configuration.read_text() + listener)
    await venue.broker.start()
    password.write_text("wrong-password-of-the-gateway\n")
    await venue.start_daemon()
    lost = await venue.daemon.logged("mqtt.disconnected")
    assert "refused the user gateway" in lost["why"]
    assert "gateway.password" in lost["why"]
    await tap_opens(venue)
    password.write_text("right-password-of-the-gateway\n")
    async with venue.observer:
        await venue.daemon.logged("mqtt.connected")
        await venue.observer.state("gateway/state", state="online")
        await venue.observer.event("entry.granted")
    assert not [line for line in venue.daemon.text if "password-of-the" in line]


async def test_the_last_will_says_offline_and_the_return_online(start_venue: Any) -> None:
    venue = await start_venue(("north",))
    await venue.observer.state("gateway/state", state="online")
    await venue.daemon.kill()
    state = await venue.observer.state("gateway/state", state="offline")
    assert "lost" in state["why"][0]
    await venue.start_daemon()
    await venue.observer.state("gateway/state", state="online")
    assert await venue.daemon.stop() == 0
    assert (await venue.observer.state("gateway/state", state="offline"))["why"] == ["stopped"]


async def test_many_clients_come_and_go(start_venue: Any) -> None:
    venue = await start_venue(("north",))

    async def one(number: int) -> str:
        async with venue.client("exit-reader") as client:
            guest = venue.guests.code()
            answer = await (await venue.authenticate(client, "turnstile", guest, request_id=f"n{number}")).final()
            return str(answer["status"])

    assert set(await asyncio.gather(*(one(number) for number in range(30)))) == {"done"}
    assert f"{BASE}/gateway/state" in venue.observer.retained
