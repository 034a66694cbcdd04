"""A scripted client that tries what it must not do, over MQTT and over HTTP. It gets none of it.

It has what an angry guest with a stolen tablet has: the login of one client, and the console's address.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import Awaitable, Callable
from typing import Any, NamedTuple

import aiomqtt
import pytest
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties

from gateway.web.users import Users
from tests.e2e.bulletin import WAIT_S
from tests.e2e.console import Visitor, address, with_console
from tests.e2e.paper import receipt
from tests.e2e.settings import BASE
from tests.e2e.tablet import Tablet, envelope
from tests.e2e.venue import Venue

pytestmark = pytest.mark.asyncio(loop_scope="module")
VENUE = {"parts": ("north", "south", "bar", "kiosk"), "change": with_console}
NOT_AUTHORIZED = 135
ME, OTHER = "bar-tablet", "kiosk-tablet"
MAY_HEAR = (f"{BASE}/clients/{ME}/", f"{BASE}/gateway/", f"{BASE}/devices/bar-printer/", f"{BASE}/devices/bar-drawer/")


class Thief(NamedTuple):
    """What the scripted client works with."""

    venue: Venue
    tablet: Tablet
    visitor: Visitor


Try = Callable[[Thief], Awaitable[bool]]
"""Tries one thing; True when it was refused."""
TRIES: dict[str, Try] = {}


def attempt(what: str) -> Callable[[Try], Try]:
    def keep(one: Try) -> Try:
        assert what not in TRIES
        TRIES[what] = one
        return one

    return keep


# Who it is.


async def _comes_in(thief: Thief, name: str | None, password: str | None) -> bool:
    with contextlib.suppress(aiomqtt.MqttError):
        protocol = aiomqtt.ProtocolVersion.V5
        async with aiomqtt.Client(
            "127.0.0.1", thief.venue.broker.port, username=name, password=password, protocol=protocol
        ):
            return True
    return False


def _password(thief: Thief) -> str:
    return (thief.venue.state_dir / "clients" / f"{ME}.password").read_text().strip()


LOGINS: dict[str, Callable[[Thief], tuple[str | None, str | None]]] = {
    "log in without a name": lambda _: (None, None),
    "log in with its name and no password": lambda _: (ME, None),
    "log in with an empty password": lambda _: (ME, ""),
    "log in as another client with its own password": lambda thief: (OTHER, _password(thief)),
    "log in as a user of the console": lambda thief: ("console/ada", _password(thief)),
    "log in as the gateway": lambda thief: ("venue-gateway", _password(thief)),
    "log in as a name with a wildcard": lambda thief: ("+", _password(thief)),
}
for _what, _login in LOGINS.items():

    @attempt(_what)
    async def _log_in(thief: Thief, login: Any = _login) -> bool:
        return not await _comes_in(thief, *login(thief))


# What it publishes.

PUBLISHES = {
    "ask as another client": f"{BASE}/clients/{OTHER}/requests/kiosk-printer/print",
    "ask for a verb that was not granted": f"{BASE}/clients/{ME}/requests/wallet/top_up",
    "ask at a target that was not granted": f"{BASE}/clients/{ME}/requests/turnstile/authenticate",
    "open another drawer": f"{BASE}/clients/{ME}/requests/kiosk-drawer/open",
    "order an emergency release": f"{BASE}/clients/{ME}/requests/gateway/emergency_release",
    "ask for the journal": f"{BASE}/clients/{ME}/requests/gateway/replay",
    "leave its topics by dots": f"{BASE}/clients/{ME}/requests/../{OTHER}/print",
    "ask as a client with its name in front": f"{BASE}/clients/{ME}x/requests/bar-printer/print",
    "ask at another venue": f"venue/other/clients/{ME}/requests/bar-printer/print",
    "say that the gateway is offline": f"{BASE}/gateway/state",
    "say how a device is": f"{BASE}/devices/north-reader/state",
    "say what a device told": f"{BASE}/devices/bar-printer/events",
    "write into the event feed": f"{BASE}/events",
    "answer itself": f"{BASE}/clients/{ME}/responses",
    "answer another client": f"{BASE}/clients/{OTHER}/responses",
    "write to the broker's own topics": "$SYS/broker/uptime",
    "publish anywhere else": "hello",
}
for _what, _topic in PUBLISHES.items():

    @attempt(_what)
    async def _publish(thief: Thief, topic: str = _topic) -> bool:
        payload = envelope("forged", {**receipt("GOTCHA"), "reason": "theft"})
        codes = [await thief.tablet.publish(topic, payload, retain=retain) for retain in (False, True)]
        return codes == [NOT_AUTHORIZED] * 2


async def _refused(thief: Thief, reason: str, verb: str, payload: bytes, **options: Any) -> bool:
    target = "bar-drawer" if verb == "open" else "bar-printer"
    request_id = json.loads(payload)["id"]
    answer = await (await thief.tablet.send(target, verb, payload, request_id=request_id, **options)).final()
    return (answer["status"], answer["reason"]) == ("denied", reason)


@attempt("leave an order for later, retained")
async def _retained(thief: Thief) -> bool:
    refused = await _refused(thief, "retained", "open", envelope("kept", {"reason": "theft"}, 50), retain=True)
    topic = f"{thief.tablet.prefix}/requests/bar-drawer/open"
    return refused and not thief.venue.observer.retained.get(topic)


@attempt("open the drawer without an expiry")
async def _without_expiry(thief: Thief) -> bool:
    return await _refused(thief, "expiry_required", "open", envelope("endless", {"reason": "theft"}, None))


@attempt("open the drawer with an order from yesterday")
async def _late(thief: Thief) -> bool:
    return await _refused(thief, "request_expired", "open", envelope("late", {"reason": "theft"}, -86400))


@attempt("open the drawer with an order that is good for a year")
async def _far(thief: Thief) -> bool:
    return await _refused(thief, "expiry_too_far", "open", envelope("far", {"reason": "theft"}, 365 * 86400))


@attempt("open the drawer without a reason")
async def _no_reason(thief: Thief) -> bool:
    return await _refused(thief, "malformed", "open", envelope("why", {"reason": " "}))


@attempt("use an id again for something else")
async def _conflict(thief: Thief) -> bool:
    first = envelope("twice", receipt("one"))
    answer = await (await thief.tablet.send("bar-printer", "print", first, request_id="twice")).final()
    assert answer["status"] == "done"
    asked = await thief.tablet.send("bar-printer", "print", envelope("twice", receipt("two")), request_id="twice")
    return (await asked.answer(since=2))["reason"] == "idempotency_conflict"


@attempt("name another client in the message")
async def _forged_name(thief: Thief) -> bool:
    message = {"id": "named", "client": OTHER, "data": receipt("GOTCHA")}
    return await _refused(thief, "malformed", "print", json.dumps(message).encode())


@attempt("have the answer sent to another client")
async def _answer_elsewhere(thief: Thief) -> bool:
    place = f"{BASE}/clients/{OTHER}/responses"
    asked = await thief.tablet.send(
        "bar-printer", "status", envelope("elsewhere"), request_id="elsewhere", ResponseTopic=place
    )
    await asked.final()
    return not [one for one in thief.venue.observer.seen if one.topic == place and b"elsewhere" in one.payload]


@attempt("have the broker publish its will as another client")
async def _will(thief: Thief) -> bool:
    topic = f"{BASE}/clients/{OTHER}/requests/kiosk-printer/print"
    will = aiomqtt.Will(topic, envelope("will", receipt("GOTCHA")), qos=1)
    properties = Properties(PacketTypes.CONNECT)
    properties.SessionExpiryInterval = 0
    dying = aiomqtt.Client(
        "127.0.0.1", thief.venue.broker.port, username=ME, password=_password(thief), will=will,
        protocol=aiomqtt.ProtocolVersion.V5, properties=properties, identifier="dying",
    )  # fmt: skip
    await dying.__aenter__()
    # Another connection by the same name ends the first one without a goodbye, and its will is published.
    with contextlib.suppress(aiomqtt.MqttError):
        async with aiomqtt.Client(
            "127.0.0.1", thief.venue.broker.port, username=ME, password=_password(thief),
            protocol=aiomqtt.ProtocolVersion.V5, identifier="dying",
        ):  # fmt: skip
            await (await thief.tablet.ask("bar-printer", "status")).final()
    with contextlib.suppress(aiomqtt.MqttError):
        await dying.__aexit__(None, None, None)
    return not [one for one in thief.venue.observer.seen if one.topic == topic]


# What it hears.

SUBSCRIPTIONS = {
    "hear everything": "#",
    "hear the broker's own topics": "$SYS/#",
    "hear the answers of others": f"{BASE}/clients/+/responses",
    "hear the requests of others": f"{BASE}/clients/+/requests/#",
    "hear the journal": f"{BASE}/events",
    "hear what readers read": f"{BASE}/devices/+/events",
    "share a subscription to the answers of others": f"$share/us/{BASE}/clients/+/responses",
}
for _what, _topic in SUBSCRIPTIONS.items():

    @attempt(_what)
    async def _hear(thief: Thief, topic: str = _topic) -> bool:
        async with thief.venue.client(ME) as ears, thief.venue.client(OTHER) as victim:
            await ears.subscribe(topic)
            await (await victim.ask("kiosk-printer", "print", receipt("hush"))).final()
            guest = thief.venue.guests.stranger()
            mark = thief.venue.observer.mark
            await (await thief.venue.device("north-reader")).do("tap", uid=guest.value)
            await thief.venue.observer.event("entry.denied", since=mark)
            # What the broker had for it before this answer is there with it.
            await (await ears.ask("bar-printer", "status")).final()
            heard = {one.topic.value for one in ears.messages}
            return all(place.startswith(MAY_HEAR) or place.endswith("/state") for place in heard)


# The console.

_PAGES = ("/api/state", "/api/stream", "/api/session", "/api/configuration", f"/api/receipts/{'0' * 36}.png")
for _page in _PAGES:

    @attempt(f"read {_page} without signing in")
    async def _read(thief: Thief, page: str = _page) -> bool:
        return (await thief.visitor.get(page))[0] == 401


_PATHS = (
    "/static/../../../etc/passwd", "/static/..%2f..%2fusers.py", "/static/%2e%2e/console-users.json",
    "/tablet/../static/app.js%00", "/tablet/..%2findex.html", "//etc/passwd", "/api/receipts/..%2f..%2fjournal.db",
)  # fmt: skip
for _path in _PATHS:

    @attempt(f"read the file {_path}")
    async def _file(thief: Thief, path: str = _path) -> bool:
        host, _, port = thief.visitor.base.removeprefix("http://").partition(":")
        reader, writer = await asyncio.open_connection(host, int(port))
        writer.write(f"GET {path} HTTP/1.1\r\nHost: {host}:{port}\r\nConnection: close\r\n\r\n".encode())
        async with asyncio.timeout(WAIT_S):
            answer = await reader.read()
        writer.close()
        return answer.split(b" ")[1] in {b"400", b"401", b"404"}


async def _signed_in(thief: Thief, name: str) -> Visitor:
    visitor = await Visitor(thief.visitor.base).__aenter__()
    assert await visitor.sign_in(name) == 200
    return visitor


async def _status(thief: Thief, name: str, path: str, body: Any = None, **options: Any) -> int:
    visitor = await _signed_in(thief, name)
    try:
        return (await (visitor.get(path) if body is None else visitor.post(path, body, **options)))[0]
    finally:
        await visitor.__aexit__()


ORDER = {"id": "stolen", "target": "bar-drawer", "verb": "open", "data": {"reason": "theft"}}


@attempt("read the configuration as staff")
async def _staff_reads(thief: Thief) -> bool:
    return await _status(thief, "bea", "/api/configuration") == 403


@attempt("look a guest up as a viewer")
async def _viewer_looks(thief: Thief) -> bool:
    return await _status(thief, "vic", "/api/lookup", {"holder": "guest-1"}) == 403


@attempt("open the drawer as a viewer")
async def _viewer_opens(thief: Thief) -> bool:
    visitor = await _signed_in(thief, "vic")
    answer = await visitor.ask("bar-drawer", "open", {"reason": "theft"})
    await visitor.__aexit__()
    return answer.get("reason") == "not_granted"


@attempt("pulse a relay as staff")
async def _staff_pulses(thief: Thief) -> bool:
    visitor = await _signed_in(thief, "bea")
    answer = await visitor.ask("north-relay", "pulse", {"reason": "theft", "channel": 1})
    await visitor.__aexit__()
    return answer.get("reason") == "not_granted"


@attempt("order without the page's token, as another site's page would")
async def _without_token(thief: Thief) -> bool:
    return await _status(thief, "bea", "/api/ask", ORDER, headers={"X-CSRF-Token": ""}) == 403


@attempt("order from another site's page")
async def _origin(thief: Thief) -> bool:
    return await _status(thief, "bea", "/api/ask", ORDER, headers={"Origin": "https://evil.example"}) == 403


@attempt("order by a form of another site's page")
async def _form(thief: Thief) -> bool:
    visitor = await _signed_in(thief, "bea")
    status, _ = await visitor.post("/api/ask", data=json.dumps(ORDER), headers={"Content-Type": "text/plain"})
    await visitor.__aexit__()
    return status == 415


@attempt("lead the browser here by another name")
async def _rebinding(thief: Thief) -> bool:
    return (await thief.visitor.get("/api/session", headers={"Host": "evil.example"}))[0] == 421


@attempt("come in with a made-up cookie")
async def _cookie(thief: Thief) -> bool:
    return (await thief.visitor.get("/api/state", headers={"Cookie": "vg_console=" + "A" * 43}))[0] == 401


@attempt("go on after signing out")
async def _signed_out(thief: Thief) -> bool:
    visitor = await _signed_in(thief, "bea")
    token = next(one.value for one in visitor.http.cookie_jar if one.key == "vg_console")
    assert (await visitor.post("/api/logout", {}))[0] == 200
    status, _ = await visitor.get("/api/state", headers={"Cookie": f"vg_console={token}"})
    await visitor.__aexit__()
    return status == 401


@attempt("go on with the login of a user who was taken out")
async def _taken_out(thief: Thief) -> bool:
    users = Users(thief.venue.state_dir / "console-users.json")
    users.put("mallory", "staff", "a password of her own")
    visitor = await Visitor(thief.visitor.base).__aenter__()
    assert await visitor.sign_in("mallory", "a password of her own") == 200
    users.remove("mallory")
    status, _ = await visitor.post("/api/ask", ORDER)
    await visitor.__aexit__()
    return status == 401


@attempt("order by a method that is none")
async def _method(thief: Thief) -> bool:
    return await _status(thief, "bea", "/api/ask") in {404, 405}


@attempt("order in the name of another user")
async def _another_user(thief: Thief) -> bool:
    return await _status(thief, "bea", "/api/ask", {**ORDER, "client": "console/ada"}) == 400


@attempt("guess a password quickly")
async def _guess(thief: Thief) -> bool:
    statuses = [await thief.visitor.sign_in("ada", f"guess {number}") for number in range(8)]
    return 200 not in statuses and statuses[-1] == 429


async def test_i07_a_scripted_client_tries_what_it_must_not_do_and_gets_none(venue: Venue) -> None:
    mark = venue.observer.mark
    relays = [await venue.pulses("north-relay", channel) for channel in (1, 2)]
    kicks = int((await (await venue.device("bar-printer")).state())["kick_count"])
    got = []
    async with venue.client(ME) as tablet, Visitor(address(venue)) as visitor:
        thief = Thief(venue, tablet, visitor)
        for what, one in TRIES.items():
            if not await one(thief):
                got.append(what)
        await (await tablet.ask("bar-printer", "status")).final()
    assert got == []
    assert len(TRIES) >= 30
    assert [await venue.pulses("north-relay", channel) for channel in (1, 2)] == relays
    assert int((await (await venue.device("bar-printer")).state())["kick_count"]) == kicks
    kinds = {row["kind"] for row in venue.journal(mark)}
    assert not kinds & {"drawer.opening", "entry.granted", "zone.released", "bench.started", "wallet.transferred"}
