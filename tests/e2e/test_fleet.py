"""A gateway of a fleet: enrolled by the command, ordered about from above, and never left with a bad configuration."""

from __future__ import annotations

import io
import json
import signal
import tarfile
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from simulators.upstream import Upstream
from tests.e2e.bulletin import poll
from tests.e2e.settings import VENUE_ID, as_yaml
from tests.e2e.venue import Venue

pytestmark = pytest.mark.asyncio(loop_scope="module")
ALLOWED = ["configuration", "log_level", "diagnostics", "restart", "lock_down", "restore"]
UNHEALTHY_S = 5


class Above:
    """The reference upstream with TLS, in this process."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir()
        self.upstream = Upstream(folder)
        self.url = ""

    async def start(self) -> None:
        port = await self.upstream.start(0, self.upstream.fleet.authority.server())
        self.url = f"https://127.0.0.1:{port}"

    def connect(self, settings: dict[str, Any]) -> None:
        ca_file = str(self.upstream.fleet.authority.file)
        settings["upstream"] = {"url": self.url, "ca_file": ca_file, "directory": False, "fleet": {"orders": ALLOWED}}

    async def enroll(self, venue: Venue) -> None:
        code = self.upstream.fleet.invite(VENUE_ID)
        ca_file = str(self.upstream.fleet.authority.file)
        done = await venue.command("enroll", self.url, "--code", code, "--ca-file", ca_file)
        assert done.status == 0, done.out + done.err
        venue.daemon.signal(signal.SIGHUP)

    def facts(self, kind: str) -> list[dict[str, Any]]:
        """What has come up of one kind."""
        events = [json.loads(line) for line in self.upstream.events.lines]
        return [event["data"] for event in events if event["type"] == f"venue.{kind}"]

    async def ended(self, order: dict[str, Any]) -> dict[str, Any]:
        """What became of an order, as upstream hears it."""
        found: list[dict[str, Any]] = []

        async def come() -> bool:
            told = [*self.facts("order.ended"), *self.facts("order.refused")]
            found[:] = [fact for fact in told if fact["order_id"] == order["id"]]
            return bool(found)

        await poll(come, f"upstream hears what became of {order['kind']}")
        return found[0]

    def order(self, kind: str, data: dict[str, Any] | None = None, **changes: Any) -> dict[str, Any]:
        return self.upstream.fleet.order(VENUE_ID, kind, data, **changes)


@pytest_asyncio.fixture(loop_scope="module")
async def above(tmp_path: Path) -> AsyncIterator[Above]:
    made = Above(tmp_path / "up")
    await made.start()
    yield made
    await made.upstream.stop()


async def enrolled(start_venue: Callable[..., Awaitable[Venue]], above: Above) -> Venue:
    venue = await start_venue(("north",), change=above.connect)
    state = await venue.observer.state("gateway/state", state="degraded")
    assert "fleet: this gateway is not enrolled; run: venue-gateway enroll URL --code CODE, and reload" in state["why"]
    log = venue.daemon.mark
    await above.enroll(venue)
    # The state may be seen before the log is read, and a test that marks the log would find this load behind its mark.
    await venue.daemon.logged("configuration_loaded", since=log)
    await venue.observer.state("gateway/state", state="online")
    return venue


async def test_a_signed_directory_comes_down_and_a_ticket_let_in_elsewhere_is_in_the_report(
    start_venue: Callable[..., Awaitable[Venue]], above: Above
) -> None:
    def change(settings: dict[str, Any]) -> None:
        above.connect(settings)
        settings["upstream"]["directory"] = True

    venue = await start_venue(("north",), change=change, start=("broker", "daemon"))
    await above.enroll(venue)
    await venue.daemon.logged("configuration_loaded")
    above.upstream.directory.set([json.loads(line) for line in venue.guests.rows()])
    await venue.observer.event("directory.loaded", since=0)
    guest, mark = venue.guests.tag(uses=1), venue.observer.mark
    await (await venue.device("north-reader")).do("tap", uid=guest.value)
    granted = await venue.observer.event("entry.granted", since=mark, holder=guest.holder)
    data = {"holder": guest.holder, "entitlement": granted["entitlement"]}
    source = "/venues/arena/journals/0197c0de-0000-7000-8000-00000000000f"
    elsewhere = {"source": source, "sequence": "0000000000000003", "type": "venue.entry.granted", "data": data}

    async def known() -> bool:
        return bool(above.facts("entry.granted"))

    await poll(known, "upstream knows of the entry")
    above.upstream.findings.saw([json.dumps(elsewhere).encode()])
    found = await venue.observer.event("upstream.found", since=mark)
    assert (found["what"], found["elsewhere"]) == ("entered_elsewhere", "arena")
    made = await venue.command("reconcile", "--after-seq", "0", "--json", "-")
    assert made.status == 0, made.err
    over = json.loads(made.out)["over_entries"]
    assert over == [{"seq": found["event_seq"], "what": "entered_elsewhere", "elsewhere": "arena"}]
    entries = {one["seq"]: one["kind"] for one in venue.journal()}
    assert entries[found["event_seq"]] == "entry.granted"


def changed(venue: Venue, **gate: Any) -> str:
    settings = json.loads(json.dumps(venue.settings))
    settings["gates"]["north"] |= gate
    return as_yaml(settings)


async def test_orders_are_carried_out_and_their_outcome_comes_up(
    start_venue: Callable[..., Awaitable[Venue]], above: Above
) -> None:
    venue = await enrolled(start_venue, above)

    locked = above.order("lock_down", {"reason": "drill"}, by="ann")
    assert (await above.ended(locked))["outcome"] == "done"
    assert above.facts("zone.locked_down")[0]["client"] == "upstream/ann"
    await venue.observer.state("devices/north/state", state="locked_down")
    assert (await above.ended(above.order("restore", {"reason": "over"})))["outcome"] == "done"
    await venue.observer.state("devices/north/state", state="locked")

    level = above.order("log_level", {"level": "error", "for_s": 1})
    assert (await above.ended(level))["message"] == "error for 1 s"
    await venue.daemon.logged("log_level_restored")

    bundle = above.order("diagnostics")
    assert (await above.ended(bundle))["outcome"] == "done"
    with tarfile.open(fileobj=io.BytesIO(above.upstream.fleet.bundles[bundle["id"]])) as tar:
        names = {name.rpartition("/")[2] for name in tar.getnames()}
    assert {"versions.json", "configuration.yaml", "doctor.json", "journal.ndjson"} <= names

    refused = await above.ended(above.order("emergency_release", {"reason": "x"}))
    assert refused["refusal"] == "not_allowed"
    malformed = await above.ended(above.order("log_level", {"level": "loud"}))
    assert malformed["outcome"] == "failed"
    assert "`data` of log_level" in malformed["message"]

    fleet = above.upstream.fleet
    fleet.add_key("k2")
    assert (await above.ended(above.order("keys", {"keys": fleet.public_keys()})))["message"] == "k1, k2"
    fleet.signing = "k2"
    only_new = [key for key in fleet.public_keys() if key["id"] == "k2"]
    assert (await above.ended(above.order("keys", {"keys": only_new})))["outcome"] == "done"
    fleet.signing = "k1"
    above.order("log_level", {"level": "debug"})

    async def old_key_is_out() -> bool:
        return any(fact["refusal"] == "unknown_key" for fact in above.facts("order.refused"))

    await poll(old_key_is_out, "an order with a key that counts no more is refused")
    fleet.signing = "k2"

    restart = above.order("restart")
    assert await venue.daemon.ended() == 0
    await venue.start_daemon()
    assert (await above.ended(restart))["message"] == "restarted"
    # The service manager gives up what restarts all the time.
    again = await above.ended(above.order("restart"))
    assert again["refusal"] == "busy"


async def test_i11_a_configuration_from_above_stays_only_if_it_is_good(
    start_venue: Callable[..., Awaitable[Venue]], above: Above
) -> None:
    venue = await enrolled(start_venue, above)
    good, log = venue.config.read_text(), venue.daemon.mark

    wrong = await above.ended(above.order("configuration", {"yaml": good.replace("driver: lcus", "driver: lcuss")}))
    assert wrong["outcome"] == "failed"
    assert "lcuss" in wrong["message"]
    for text in (good.replace("orders:", "orders: [emergency_release]\n    #"), good.split("upstream:")[0]):
        cut_off = await above.ended(above.order("configuration", {"yaml": text}))
        assert cut_off["outcome"] == "failed", text
    assert venue.config.read_text() == good
    assert not [line for line in venue.daemon.lines[log:] if line["event"] == "configuration_loaded"]

    taken = await above.ended(above.order("configuration", {"yaml": changed(venue, pulse_ms=120)}))
    assert taken["outcome"] == "done", taken
    assert "pulse_ms: 120" in venue.config.read_text()

    better, log = venue.config.read_text(), venue.daemon.mark
    settings = json.loads(json.dumps(venue.settings))
    settings["devices"]["north-relay"]["port"] = "/dev/nowhere"
    order = above.order("configuration", {"yaml": as_yaml(settings), "healthy_within_s": UNHEALTHY_S})
    back = await above.ended(order)
    assert back["outcome"] == "rolled_back"
    assert "offline since: north-relay" in back["message"]
    assert venue.config.read_text() == better
    await venue.daemon.logged("device_status", since=log, device="north-relay", status="online")
    assert not [file.name for file in venue.directory.glob("venue.yaml.*") if file.name != "venue.yaml.before"]


async def test_i11_a_crash_in_a_trial_goes_back_by_itself(
    start_venue: Callable[..., Awaitable[Venue]], above: Above
) -> None:
    venue = await enrolled(start_venue, above)
    good, mark = venue.config.read_text(), venue.daemon.mark
    settings = json.loads(json.dumps(venue.settings))
    settings["devices"]["north-relay"]["port"] = "/dev/nowhere"
    order = above.order("configuration", {"yaml": as_yaml(settings), "healthy_within_s": 600})
    await venue.daemon.logged("configuration_loaded", since=mark)
    assert venue.config.read_text() != good
    await venue.daemon.kill()
    await venue.start_daemon()
    await venue.daemon.logged("configuration_rolled_back")
    ended = await above.ended(order)
    assert ended["outcome"] == "rolled_back"
    assert venue.config.read_text() == good
    # The same order again, as one who recorded it would give it.
    above.upstream.fleet.send(VENUE_ID, above.upstream.fleet._orders[VENUE_ID][-1])

    async def refused() -> bool:
        return [fact["refusal"] for fact in above.facts("order.refused")] == ["replayed"]

    await poll(refused, "the replay is refused")
