"""One of many venues: known by its own certificate, and taking nothing from above that is not signed."""

from __future__ import annotations

import asyncio
import datetime as dt
import time
from base64 import b64decode
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, closing
from pathlib import Path
from random import Random
from typing import Any

import msgspec
import pytest

from gateway.config.upstream import Endpoint
from gateway.domain.orders import KeyGiven, Order, RefusedOrder, Situation
from gateway.ops.enrolling import EnrolRefused, Wanted, enroll
from gateway.store.directory import Directory
from gateway.store.directory_fold import fold_directory
from gateway.store.directory_overlay import ChangeFile
from gateway.upstream.changes import Changes
from gateway.upstream.directory import Above, DirectorySync
from gateway.upstream.fleet import FleetLink
from gateway.upstream.freshness import VenueTime
from gateway.upstream.http import Client
from gateway.upstream.identity import Identity
from gateway.upstream.seal import Seal
from gateway.upstream.sinks import SinkUnavailable
from simulators.upstream import Faults, Upstream
from tests.gateway.ops.house import YAML, configuration
from tests.gateway.upstream.served import ready_folder
from tests.gateway.upstream.test_directory import FakeVenue, credential, rows
from tests.gateway.upstream.waiting import until

VENUE = "hall"


@asynccontextmanager
async def upstream(folder: Path) -> AsyncIterator[tuple[Upstream, str]]:
    above = Upstream(ready_folder(folder))
    above.directory.set(rows(20))
    port = await above.start(0, above.fleet.authority.server())
    try:
        yield above, f"https://127.0.0.1:{port}"
    finally:
        await above.stop()


async def enrolled(folder: Path, above: Upstream, url: str, **more: Any) -> Identity:
    """Enrol as the command does; in a thread, for it has a loop of its own."""
    wanted = Wanted(url=url, code=above.fleet.invite(VENUE), ca_file=str(above.fleet.authority.file), **more)
    await asyncio.to_thread(enroll, configuration(ready_folder(folder), YAML), wanted)
    return Identity(folder / "state")


def client_of(identity: Identity | None, above: Upstream, url: str, *, sealed: bool = True) -> Client:
    endpoint = Endpoint(url=url, ca_file=str(above.fleet.authority.file))
    seal = Seal(VENUE, lambda: identity.trust().by_id) if identity is not None and sealed else None
    return Client(endpoint, VENUE, identity=identity, seal=seal)


async def asked(client: Client) -> int:
    try:
        return (await client.ask("GET", "/findings", query={"after": "0"})).status
    finally:
        await client.close()


# Who a venue is.


async def test_a_code_makes_a_key_that_only_its_owner_reads_and_is_good_once(tmp_path: Path):
    async with upstream(tmp_path / "up") as (above, url):
        identity = await enrolled(tmp_path / "venue", above, url)
        files = {file.name: file.stat().st_mode & 0o777 for file in identity.folder.iterdir()}
        assert files == {"identity.key": 0o600, "identity.crt": 0o600, "trust.json": 0o600}
        assert identity.folder.stat().st_mode & 0o777 == 0o700
        key = identity.key_file.read_bytes()
        with pytest.raises(EnrolRefused, match="enrolled already"):
            await enrolled(tmp_path / "venue", above, url)
        await enrolled(tmp_path / "venue", above, url, replace=True)
        replaced = identity.key_file.read_bytes()
        assert replaced != key, "who asks for another identity may think that the key is known"
        assert await asked(client_of(identity, above, url)) == 204
        assert {file.name for file in identity.folder.iterdir()} == set(files)
        code = above.fleet.invite(VENUE)
        above.fleet.enrol(VENUE, code, identity.request_pem(VENUE))
        wanted = Wanted(url=url, code=code, ca_file=str(above.fleet.authority.file), replace=True)
        with pytest.raises(EnrolRefused, match="was used before"):
            await asyncio.to_thread(enroll, configuration(tmp_path / "venue", YAML), wanted)
        assert identity.key_file.read_bytes() == replaced, "what is refused changes nothing"


@pytest.mark.parametrize(
    ("url", "code", "said"),
    [
        ("http://up.example", "x", "URL: http:// is read along by anybody on the way; write https://"),
        ("https://127.0.0.1:1", "", "the code is what upstream shows for this venue, once"),
        ("https://127.0.0.1:1", "x", "127.0.0.1 cannot be reached"),
    ],
)
def test_an_enrolment_that_cannot_be_is_said_so(tmp_path: Path, url: str, code: str, said: str):
    with pytest.raises(EnrolRefused, match=said):
        enroll(configuration(tmp_path, YAML), Wanted(url=url, code=code))


async def test_only_the_enrolled_gateway_speaks_for_its_venue(tmp_path: Path):
    async with upstream(tmp_path / "up") as (above, url):
        nobody = client_of(None, above, url)
        assert await asked(nobody) == 204
        identity = await enrolled(tmp_path / "venue", above, url)
        with pytest.raises(SinkUnavailable, match="403"):
            await asked(client_of(None, above, url))
        assert await asked(client_of(identity, above, url)) == 204


async def test_a_certificate_is_renewed_in_its_last_third_for_the_same_key(tmp_path: Path):
    async with upstream(tmp_path / "up") as (above, url):
        above.fleet.lasts = dt.timedelta(seconds=30)
        identity = await enrolled(tmp_path / "venue", above, url)
        now = dt.datetime.now(dt.UTC)
        assert not identity.renewal_due(now)
        assert identity.renewal_due(now + dt.timedelta(seconds=20))
        above.fleet.lasts = dt.timedelta(days=90)
        client, key = client_of(identity, above, url), identity.key_file.read_bytes()
        assert (await client.ask("GET", "/findings", query={"after": "0"})).status == 204
        link = FleetLink(client, lambda: 0, lambda _: None, Carrier({}), lambda: None, Random(1))  # type: ignore[arg-type]
        ends = identity.take_certificate(await link.renew(identity.request_pem(VENUE)), VENUE)
        assert ends > now + dt.timedelta(days=80)
        assert not identity.renewal_due(now + dt.timedelta(days=30))
        assert identity.key_file.read_bytes() == key
        # The next request shows the new one.
        assert await asked(client) == 204


async def test_a_certificate_that_has_ended_is_said_with_what_to_do(tmp_path: Path):
    async with upstream(tmp_path / "up") as (above, url):
        identity = await enrolled(tmp_path / "venue", above, url)
        made = above.fleet.authority.venue(identity.request_pem(VENUE), VENUE, dt.timedelta(seconds=-1))
        identity.certificate_file.write_text(made)
        with pytest.raises(
            SinkUnavailable,
            match="own certificate has ended; enrol again: venue-gateway enroll",
        ):
            await asked(client_of(identity, above, url))


async def test_the_time_of_enrolment_is_pinned_by_the_clock_of_upstream(tmp_path: Path):
    async with upstream(tmp_path / "up") as (above, url):
        began_ms = now_ms()
        identity = await enrolled(tmp_path / "venue", above, url)
        assert began_ms - 1000 <= identity.trust().since_ms <= now_ms()


async def test_the_key_can_lie_apart_from_the_data_and_stays_apart(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    apart = ready_folder(tmp_path / "keys")
    async with upstream(tmp_path / "up") as (above, url):
        first = await enrolled(tmp_path / "venue", above, url)
        first.key_file.rename(apart / "identity.key")
        # As systemd hands it over: the group of the service may read it.
        (apart / "identity.key").chmod(0o440)
        assert not first.enrolled
        monkeypatch.setenv("CREDENTIALS_DIRECTORY", str(apart))
        identity = Identity(tmp_path / "venue/state")
        assert identity.enrolled
        assert await asked(client_of(identity, above, url)) == 204
        identity.take_certificate(above.fleet.renew(VENUE, identity.request_pem(VENUE))["certificate"], VENUE)
        assert await asked(client_of(identity, above, url)) == 204
        before = identity.key_file.read_bytes()
        again = await enrolled(tmp_path / "venue", above, url, replace=True)
        assert again.key_file == apart / "identity.key"
        assert again.key_file.read_bytes() != before
        assert again.key_file.stat().st_mode & 0o777 == 0o600
        assert sorted(file.name for file in again.folder.iterdir()) == ["identity.crt", "trust.json"]
        assert await asked(client_of(again, above, url)) == 204
        (again.folder / "identity.key").write_bytes(before)
        with pytest.raises(SinkUnavailable, match=r"is another key than .* move the wrong one away"):
            await asked(client_of(again, above, url))


# What is signed.


def now_ms() -> int:
    return time.time_ns() // 1_000_000


@asynccontextmanager
async def syncing(folder: Path, client: Client, changes: Changes | None = None) -> AsyncIterator[FakeVenue]:
    here = FakeVenue(ready_folder(folder))
    here.sync = DirectorySync(
        Above(client, changes), here.directory, ChangeFile(folder), here.key, here, Random(1),
        VenueTime(now_ms),
        here.facts.append,
    )  # fmt: skip
    task = asyncio.get_running_loop().create_task(here.sync.run())
    try:
        yield here
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        here.directory.close()


@asynccontextmanager
async def directory(tmp_path: Path, *faults: Faults) -> AsyncIterator[tuple[Upstream, FakeVenue, Identity]]:
    async with upstream(tmp_path / "up") as (above, url):
        identity = await enrolled(tmp_path / "venue", above, url)
        above.faults = list(faults)
        async with syncing(tmp_path / "directory", client_of(identity, above, url)) as here:
            await until(lambda: here.directory.confirmed_ms)
            yield above, here, identity


async def test_a_signed_directory_is_taken_and_so_are_its_changes(tmp_path: Path):
    async with directory(tmp_path) as (above, here, _):
        above.directory.change([{"row": credential(3, state="blocked")}])
        await until(lambda: here.state(3) == "blocked")
        assert here.sync is not None
        assert here.sync.refused == ""


HOUR_S = 3600.0


async def test_a_recorded_word_that_nothing_is_newer_makes_the_directory_no_younger(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr("gateway.upstream.changes.POLL_S", 0.2)
    async with directory(tmp_path) as (above, here, _):
        sync = here.sync
        assert sync is not None
        assert now_ms() - here.directory.as_of_ms < 20_000
        above.faults = [Faults(path="/changes", sealed_ago_s=HOUR_S)]
        await until(lambda: "an old one that was sent again" in sync.refused)
        known_ms, asked = here.directory.as_of_ms, len(above.requests)
        sync.try_now()
        await until(lambda: len(above.requests) > asked + 1)
        assert "compare upstream's clock with this one" in sync.trouble()
        assert here.directory.as_of_ms == known_ms
        assert [type(fact).__name__ for fact in here.facts] == ["DirectoryRefused"]
        above.faults = []
        sync.try_now()
        above.directory.change([{"row": credential(3, state="blocked")}])
        await until(lambda: here.state(3) == "blocked" and not sync.trouble())
        await until(lambda: here.directory.as_of_ms > known_ms)


async def test_a_recorded_snapshot_makes_the_directory_no_younger(tmp_path: Path):
    async with directory(tmp_path, Faults(path="/snapshot", sealed_ago_s=HOUR_S)) as (above, here, _):
        assert HOUR_S * 1000 - 1 <= now_ms() - here.directory.as_of_ms < HOUR_S * 1000 + 20_000
        # Nor does a restart, nor a file that is built anew here.
        confirmed_ms = here.directory.as_of_ms
        assert fold_directory(here.folder) == 1
        here.directory.reload()
        assert here.directory.as_of_ms == confirmed_ms
        with closing(Directory.open(here.folder)) as again:
            assert again.as_of_ms == confirmed_ms
        assert above.faults


async def test_changes_with_a_seal_from_the_future_act_and_say_nothing_of_the_age(tmp_path: Path):
    async with directory(tmp_path, Faults(path="/changes", sealed_ago_s=-HOUR_S)) as (above, here, _):
        known_ms = here.directory.as_of_ms
        above.directory.change([{"row": credential(3, state="blocked")}])
        await until(lambda: here.state(3) == "blocked" and here.sync is not None and here.sync.untimely)
        assert here.sync is not None
        assert "nobody can say how old the directory is" in here.sync.trouble()
        assert here.directory.as_of_ms == known_ms


UNSEALED: dict[str, tuple[Faults, str]] = {
    "unsigned": (Faults(unsigned=True), "without a signature; this gateway is enrolled and takes none such"),
    "for another venue": (Faults(for_other=True), "the signature does not fit"),
}


@pytest.mark.parametrize("wrong", UNSEALED)
async def test_changes_without_a_good_signature_are_refused_whole(tmp_path: Path, wrong: str):
    fault, said = UNSEALED[wrong]
    async with directory(tmp_path, msgspec.structs.replace(fault, path="/changes")) as (above, here, _):
        above.directory.change([{"row": credential(3, state="blocked")}])
        await until(lambda: here.sync is not None and here.sync.refused)
        assert here.sync is not None
        assert said in here.sync.refused
        assert (here.state(3), here.directory.cursor) == ("active", 1)
        above.faults = []
        here.sync.try_now()
        await until(lambda: here.state(3) == "blocked")


@pytest.mark.parametrize("wrong", UNSEALED)
async def test_a_snapshot_without_a_good_signature_is_refused(tmp_path: Path, wrong: str):
    fault, said = UNSEALED[wrong]
    async with upstream(tmp_path / "up") as (above, url):
        identity = await enrolled(tmp_path / "venue", above, url)
        above.faults = [fault]
        async with syncing(tmp_path / "directory", client_of(identity, above, url)) as here:
            await until(lambda: here.sync is not None and here.sync.refused)
            assert here.sync is not None
            assert said in here.sync.refused
            assert not here.directory.loaded


async def test_a_snapshot_that_is_older_than_what_is_here_is_refused(tmp_path: Path):
    async with directory(tmp_path) as (above, here, _):
        for number in range(4):
            above.directory.change([{"row": credential(number, state="blocked")}])
        await until(lambda: here.directory.cursor == 5)
        # As one who puts an old backup in place.
        assert here.sync is not None
        here.sync._snapshot_again_s = 0.0
        above.directory.cursor = 1
        above.directory.set(rows(3))
        await until(lambda: here.sync is not None and here.sync.refused)
        assert here.sync is not None
        assert here.sync.refused == (
            "a snapshot with 2 changes is older than the directory in force, which has 5; give one that is newer"
        )
        assert (here.state(3), here.directory.cursor) == ("blocked", 5)


async def test_keys_can_follow_each_other(tmp_path: Path):
    async with directory(tmp_path) as (above, here, identity):
        above.fleet.add_key("k2")
        above.directory.change([{"row": credential(3, state="blocked")}])
        await until(lambda: here.state(3) == "blocked")
        trust = identity.trust()
        fresh = [KeyGiven(one["id"], b64decode(one["key"])) for one in above.fleet.public_keys()]
        identity.pin(type(trust)(trust.url, trust.venue, tuple(fresh[1:])))
        above.fleet.drop_key("k1")
        above.directory.change([{"row": credential(4, state="blocked")}])
        await until(lambda: here.state(4) == "blocked")


# Orders.


class Carrier:
    """Judges by the keys it is given, and keeps what it is to carry out."""

    def __init__(self, keys: dict[str, bytes]) -> None:
        self.keys = keys
        self.facts: list[Any] = []
        self.orders: list[Order] = []
        self.busy = False

    def situation(self) -> Situation:
        versions = {fact.order_kind: fact.version for fact in self.facts if type(fact).__name__ == "OrderTaken"}
        now_ms = round(dt.datetime.now(dt.UTC).timestamp() * 1000)
        return Situation(
            venue=VENUE, now_ms=now_ms, keys=self.keys, allowed=("restart", "diagnostics"), versions=versions
        )

    def check_free(self, order: Order) -> None:
        if self.busy:
            raise RefusedOrder("busy", "another is under way", order)

    def carry_out(self, order: Order) -> None:
        self.orders.append(order)

    def cursor(self) -> int:
        return self.facts[-1].cursor if self.facts else 0

    def record(self, fact: Any) -> asyncio.Future[None]:
        self.facts.append(fact)
        done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        done.set_result(None)
        return done


@asynccontextmanager
async def ordering(tmp_path: Path) -> AsyncIterator[tuple[Upstream, Carrier, FleetLink]]:
    async with upstream(tmp_path / "up") as (above, url):
        identity = await enrolled(tmp_path / "venue", above, url)
        carrier = Carrier(dict(identity.trust().by_id))

        async def renew() -> None: ...

        link = FleetLink(client_of(identity, above, url), carrier.cursor, carrier.record, carrier, renew, Random(1))
        task = asyncio.get_running_loop().create_task(link.run())
        try:
            yield above, carrier, link
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)


async def test_an_order_is_on_record_and_then_carried_out_once(tmp_path: Path):
    async with ordering(tmp_path) as (above, carrier, _):
        above.faults = [Faults(path="/orders", times=1, cut_after_bytes=30)]
        given = above.fleet.order(VENUE, "restart")
        await until(lambda: carrier.orders)
        assert [one.id for one in carrier.orders] == [given["id"]]
        fact = carrier.facts[0]
        assert (fact.order_kind, fact.version, fact.by, fact.signed_with, fact.cursor) == ("restart", 1, "ops", "k1", 1)


def replay(above: Upstream) -> None:
    above.fleet.send(VENUE, above.fleet._orders[VENUE][0])


WRONG_ORDERS: dict[str, tuple[Callable[[Upstream], Any], str]] = {
    "the same again": (replay, "replayed"),
    "an older one": (lambda up: up.fleet.order(VENUE, "restart", version=1), "replayed"),
    "for another venue": (lambda up: up.fleet.order(VENUE, "restart", venue="arena"), "wrong_venue"),
    "too late": (lambda up: up.fleet.order(VENUE, "restart", issued_at_ms=1, expires_at_ms=2), "expired"),
    "not allowed here": (lambda up: up.fleet.order(VENUE, "lock_down"), "not_allowed"),
    "no order": (lambda up: up.fleet.send(VENUE, ["what?"]), "malformed"),
    "another's key": (lambda up: up.fleet.send(VENUE, {**up.fleet.signed("{}"), "key": "k7"}), "unknown_key"),
    "changed on the way": (
        lambda up: up.fleet.send(VENUE, {**up.fleet.signed("{}"), "order": "{ }"}), "bad_signature"
    ),
}  # fmt: skip


@pytest.mark.parametrize("wrong", WRONG_ORDERS)
async def test_a_wrong_order_is_refused_in_a_word_and_harms_no_other(tmp_path: Path, wrong: str):
    give, word = WRONG_ORDERS[wrong]
    async with ordering(tmp_path) as (above, carrier, _):
        above.fleet.order(VENUE, "restart")
        await until(lambda: len(carrier.facts) == 1)
        give(above)
        above.fleet.order(VENUE, "diagnostics")
        await until(lambda: len(carrier.facts) == 3)
        refused = carrier.facts[1]
        assert (refused.refusal, refused.cursor) == (word, 2)
        assert refused.why
        assert [one.kind for one in carrier.orders] == ["restart", "diagnostics"]


async def test_an_order_while_another_is_under_way_hears_busy(tmp_path: Path):
    async with ordering(tmp_path) as (above, carrier, _):
        carrier.busy = True
        above.fleet.order(VENUE, "restart")
        await until(lambda: carrier.facts)
        assert carrier.facts[0].refusal == "busy"
        assert carrier.orders == []


async def test_a_bundle_goes_up_under_the_order_that_wanted_it(tmp_path: Path):
    async with ordering(tmp_path) as (above, _, link):
        await link.send_diagnostics("o-1", b"bundle")
        assert above.fleet.bundles == {"o-1": b"bundle"}
