"""SIGHUP: a good file changes only what it changes, a bad one changes nothing (I11)."""

from __future__ import annotations

import signal

import pytest

from tests.e2e.paper import print_text, printed
from tests.e2e.venue import Venue

pytestmark = pytest.mark.asyncio(loop_scope="module")
VENUE = {"parts": ("north", "south", "bar")}


async def reload(venue: Venue) -> int:
    """Write the settings, tell the daemon, and return where its log stood."""
    mark = venue.daemon.mark
    venue.write_config()
    venue.daemon.signal(signal.SIGHUP)
    return mark


async def frames(venue: Venue, name: str) -> int:
    """An LCUS board is told at each new connection to open its relays, so its frames count the connections."""
    return int((await (await venue.device(name)).state())["frames"])


async def test_i11_a_good_reload_restarts_only_what_changed(venue: Venue) -> None:
    untouched, log = await frames(venue, "north-relay"), venue.daemon.mark
    venue.settings["devices"]["south-board"]["poll_ms"] = 25
    venue.settings["gates"]["north"]["pulse_ms"] = 120
    await reload(venue)
    await venue.daemon.logged("configuration_loaded", since=log)
    await venue.daemon.logged("device_status", since=log, device="south-board", status="online")
    touched = {line["device"] for line in venue.daemon.lines[log:] if line["event"] == "device_status"}
    assert touched == {"south-board"}
    assert await frames(venue, "north-relay") == untouched
    # The changed pulse is in force at once, over the link that stayed open.
    relay, before = await venue.device("north-relay"), await venue.pulses("north-relay")
    await (await venue.device("north-reader")).do("tap", uid=venue.guests.tag().value)
    state = await relay.until(lambda s: s["relays"][0]["pulses"] == before + 1)
    assert 100 <= state["relays"][0]["last_pulse_ms"] <= 300


async def test_i11_an_unchanged_file_restarts_nothing(venue: Venue) -> None:
    log = await reload(venue)
    await venue.daemon.logged("configuration_loaded", since=log)
    assert not [line for line in venue.daemon.lines[log:] if line["event"] == "device_status"]


async def test_i11_a_bad_file_is_refused_with_file_and_line_and_the_last_good_one_runs_on(venue: Venue) -> None:
    mark, log, good = venue.observer.mark, venue.daemon.mark, venue.config.read_text()
    venue.config.write_text(good.replace("driver: lcus", "driver: lcuss").replace("timezone", "timezon"))
    venue.daemon.signal(signal.SIGHUP)
    problem = await venue.daemon.logged("configuration_problem", since=log)
    assert problem["problem"].startswith(f"{venue.config}:")
    refused = await venue.observer.event("configuration.refused", since=mark)
    assert refused["problems"] >= 2
    state = await venue.observer.state("gateway/state", state="degraded")
    assert any(str(venue.config) in why for why in state["why"])
    guest = venue.guests.tag()
    await (await venue.device("north-reader")).do("tap", uid=guest.value)
    await venue.observer.event("gate.released", since=mark, gate="north")
    assert not [line for line in venue.daemon.lines[log:] if line["event"] == "device_status"]
    venue.config.write_text(good)
    venue.daemon.signal(signal.SIGHUP)
    await venue.observer.state("gateway/state", state="online")


@pytest.mark.parametrize("text", ["", "\x00\x01\x02", "venue: [", "- 1\n- 2\n", "x: " + "[" * 3000])
async def test_i11_a_file_that_is_no_configuration_is_refused(venue: Venue, text: str) -> None:
    mark, good = venue.observer.mark, venue.config.read_text()
    venue.config.write_text(text)
    venue.daemon.signal(signal.SIGHUP)
    await venue.observer.event("configuration.refused", since=mark)
    venue.config.write_text(good)
    venue.daemon.signal(signal.SIGHUP)
    await venue.observer.state("gateway/state", state="online")
    assert venue.daemon.running


async def test_i11_a_missing_file_is_refused(venue: Venue) -> None:
    mark, good = venue.observer.mark, venue.config.read_text()
    venue.config.unlink()
    venue.daemon.signal(signal.SIGHUP)
    await venue.observer.event("configuration.refused", since=mark)
    venue.config.write_text(good)
    venue.daemon.signal(signal.SIGHUP)
    await venue.observer.state("gateway/state", state="online")


async def test_i11_what_cannot_change_while_running_is_refused(venue: Venue) -> None:
    mark = venue.observer.mark
    venue.settings["venue"]["id"] = "elsewhere"
    await reload(venue)
    refused = await venue.observer.event("configuration.refused", since=mark)
    assert "venue.id" in refused["first"]
    venue.settings["venue"]["id"] = "e2e"
    await reload(venue)
    await venue.observer.state("gateway/state", state="online")


async def test_a_new_client_can_act_after_both_have_read_the_file_again(venue: Venue) -> None:
    venue.settings["clients"]["late-tablet"] = {"may": {"bar-printer": ["print"]}}
    log = await reload(venue)
    await venue.daemon.logged("configuration_loaded", since=log)
    listen = f"127.0.0.1:{venue.broker.port}"
    await venue.command("broker", "write", venue.broker.configuration.parent, "--user", "root", "--listen", listen)
    venue.broker.signal(signal.SIGHUP)
    async with venue.client("bar-tablet") as witness:
        await (await witness.ask("bar-printer", "status")).final()
    async with venue.client("late-tablet") as tablet:
        assert (await (await print_text(tablet, "bar-printer", "Neu hier")).final())["status"] == "done"


async def test_a_removed_device_and_gate_are_gone_and_their_waiting_jobs_end(venue: Venue) -> None:
    control, mark = await venue.device("bar-printer"), venue.observer.mark
    await control.do("paper", state="out")
    settings = venue.settings
    async with venue.client("bar-tablet") as tablet:
        waiting = await print_text(tablet, "bar-printer", "Nie gedruckt")
        await waiting.accepted(held="paper_out")
        kept = {"devices": dict(settings["devices"]), "gates": dict(settings["gates"]), "clients": settings["clients"]}
        settings["devices"] = {n: d for n, d in kept["devices"].items() if not n.startswith("bar")}
        settings["gates"] = {n: g for n, g in kept["gates"].items() if n != "south"}
        gone = {"bar-printer", "bar-drawer", "south"}
        settings["clients"] = {
            name: {"may": {target: verbs for target, verbs in client["may"].items() if target not in gone}}
            for name, client in kept["clients"].items()
        }
        await reload(venue)
        await venue.observer.event("configuration.loaded", since=mark)
        for name in gone:
            await venue.observer.no_state(f"devices/{name}/state")
        end = await waiting.final()
        assert (end["status"], end["reason"]) == ("failed", "configuration_changed")
        settings.update(kept)
        await control.do("paper", state="ok")
        await reload(venue)
        await venue.observer.state("devices/bar-printer/state", state="online")
        await venue.observer.state("devices/south/state", state="locked")
        assert (await (await print_text(tablet, "bar-printer", "Wieder da")).final())["status"] == "done"
    assert "Nie gedruckt" not in await printed(venue, "bar-printer")
