"""What a client of the console may not do, and does not get; and what everybody gets with it."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable

import pytest
from aiohttp.test_utils import TestClient
from msgspec.structs import replace
from yarl import URL

from gateway.domain.answers import Answer
from gateway.web import browsers
from gateway.web.contract import COOKIE, ROUTES
from gateway.web.http import BODY_BYTES_MAX
from gateway.web.live import SCREENS_MAX, WATCHERS_MAX
from gateway.web.login import NAME_TRIES
from gateway.web.pages import ASKED_MAX
from gateway.web.static_files import TYPES
from gateway.web.throttle import LEAK_S, TRIES
from gateway.web.users import ROLES
from tests.e2e.bulletin import poll
from tests.gateway.web.conftest import JOB, PASSWORD

ASK = {"id": "12345678", "target": "gate", "verb": "why", "data": {}}
PRIVATE = ["/api/session", "/api/state", "/api/stream", f"/api/receipts/{JOB}.png", "/api/configuration"]
ACTIONS = ["/api/logout", "/api/alive", "/api/lookup", "/api/ask"]


async def until(is_true: Callable[[], bool]) -> None:
    async def look() -> bool:
        return is_true()

    await poll(look, "it is so")


@pytest.mark.parametrize("path", PRIVATE)
async def test_nothing_is_shown_to_whoever_is_not_signed_in(house, path):
    answer = await house.client.get(path)
    assert answer.status == 401
    assert "fake" not in await answer.text()


@pytest.mark.parametrize("path", ACTIONS)
async def test_nothing_is_done_for_whoever_is_not_signed_in(house, path):
    assert (await house.post(path, ASK)).status == 401
    assert not house.venue.asked


@pytest.mark.parametrize("token", ["", "wrong", "x" * 3000])
@pytest.mark.parametrize("path", ACTIONS)
async def test_nothing_is_done_without_the_pages_own_token(house, path, token):
    await house.sign_in()
    house.csrf = token
    answer = await house.post(path, ASK)
    assert (answer.status, (await answer.json())["error"]) == (403, "wrong_token")
    assert not house.venue.asked


@pytest.mark.parametrize(
    "headers",
    [
        {"Origin": "https://evil.example"},
        {"Origin": "null"},
        {"Origin": "http://127.0.0.1"},
        {"Sec-Fetch-Site": "cross-site"},
        {"Sec-Fetch-Site": "same-site"},
    ],
)
@pytest.mark.parametrize("path", ["/api/login", *ACTIONS])
async def test_another_sites_page_does_nothing(house, path, headers):
    await house.sign_in()
    assert (await house.post(path, ASK, **headers)).status == 403
    assert not house.venue.asked


@pytest.mark.parametrize(
    "host", ["evil.example", "127.0.0.1.evil.example", "", "gateway.local.", "[::1]", "127.0.0.1:80:80"]
)
async def test_a_request_to_another_name_is_refused(house, host):
    for path in ("/", "/static/app.js", "/api/session"):
        answer = await house.client.get(path, headers={"Host": host})
        assert answer.status in {400, 421}
    assert (await house.client.get("/", headers={"Host": "gateway.local:8080"})).status == 200


@pytest.mark.parametrize(
    "path",
    [
        "/static/../users.json",
        "/static/..%2f..%2fusers.json",
        "/static/%2e%2e/%2e%2e/etc/passwd",
        "/static//etc/passwd",
        "/static/app.js/../../pages.py",
        "/static/app.js%00.png",
        "/static/",
        "/static/APP.JS",
        "/.git/config",
        "/api",
        "/api/receipts/../../etc/passwd",
        f"/api/receipts/{JOB}/x",
    ],
)
async def test_there_is_no_way_to_another_file(house, path):
    await house.sign_in()
    answer = await house.client.get(URL(path, encoded=True))
    assert answer.status == 404
    assert "root:" not in await answer.text()


@pytest.mark.parametrize("job", ["x", "'; DROP TABLE journal", "0" * 36, JOB.upper(), JOB + "0", "%00", "é"])
async def test_only_a_known_job_has_a_picture(house, job):
    await house.sign_in()
    assert (await house.client.get(f"/api/receipts/{job}.png")).status == 404


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{",
        b"null",
        b"[]",
        b'"text"',
        b"[" * 9000,
        b'{"id": 1}',
        b'{"id": "short", "target": "g", "verb": "why"}',
        b'{"id": "12345678", "target": "g", "verb": "why", "client": "console/root"}',
        b'{"id": "12345678", "target": "g"}',
        b'{"id": "12345678\\n", "target": "g", "verb": "why"}',
        b'{"id": "12345678", "target": "", "verb": "why"}',
        b"\xff\xfe\x00",
        json.dumps(ASK | {"target": "x" * 64}).encode(),
    ],
)
async def test_a_malformed_request_gets_a_short_answer(house, body):
    await house.sign_in()
    headers = {"X-CSRF-Token": house.csrf, "Content-Type": "application/json"}
    answer = await house.client.post("/api/ask", data=body, headers=headers)
    assert answer.status == 400
    assert len(await answer.read()) < 500
    assert not house.venue.asked


@pytest.mark.parametrize(
    "kind", ["text/plain", "application/x-www-form-urlencoded", "multipart/form-data; boundary=x", ""]
)
async def test_a_form_of_another_page_cannot_be_sent(house, kind):
    headers = {"Content-Type": kind} if kind else {}
    body = json.dumps({"user": "ada", "password": PASSWORD}).encode()
    assert (await house.client.post("/api/login", data=body, headers=headers)).status in {400, 415}


@pytest.mark.parametrize("path", ["/api/login", *ACTIONS])
async def test_i09_a_huge_body_is_not_read(house, path):
    await house.sign_in()
    headers = {"X-CSRF-Token": house.csrf, "Content-Type": "application/json"}
    body = b'{"user": "' + b"x" * (BODY_BYTES_MAX + 1)
    answer = await house.client.post(path, data=body, headers=headers)
    # Where nothing is asked in the body it is not looked at.
    assert answer.status == 413 or path in {"/api/logout", "/api/alive"}


@pytest.mark.parametrize("method", ["PUT", "DELETE", "PATCH", "OPTIONS", "TRACE", "PROPFIND"])
async def test_other_methods_are_not_there(house, method):
    await house.sign_in()
    for path in ("/", "/api/ask", "/api/state"):
        assert (await house.client.request(method, path)).status in {404, 405}


async def test_a_flood_of_logins_is_slowed_down_and_tells_nothing(house, clock):
    tries = [("ada", "wrong password"), ("nobody", "wrong password")] * TRIES
    answers = [await house.client.post("/api/login", json={"user": u, "password": p}) for u, p in tries]
    assert [one.status for one in answers] == [401] * TRIES + [429] * TRIES
    assert len({await one.text() for one in answers[:TRIES]}) == 1, "known and unknown names must look the same"
    assert int(answers[-1].headers["Retry-After"]) > 0
    assert await house.sign_in() == 429, "the right password waits too"
    clock.now_s += LEAK_S
    assert await house.sign_in() == 200


async def test_a_browser_that_knew_the_password_once_is_not_held_up_by_a_flood(house, clock):
    """As through `ssh -L`, where everybody comes from 127.0.0.1."""
    assert await house.sign_in() == 200
    async with TestClient(house.client.server) as stranger:
        wrong = {"user": "ada", "password": "wrong password"}
        for _ in range(NAME_TRIES):
            clock.now_s += LEAK_S
            assert (await stranger.post("/api/login", json=wrong)).status == 401
        while (await stranger.post("/api/login", json=wrong)).status == 401:
            pass
        assert await house.sign_in() == 200
        # Whoever has such a cookie has tries of their own, and no more of them.
        assert [await house.sign_in("ada", "wrong password") for _ in range(TRIES + 1)] == [401] * TRIES + [429]
        assert await house.sign_in() == 429
        clock.now_s += LEAK_S
        assert await house.sign_in() == 200


async def test_a_browser_is_known_for_one_name_and_one_password(house):
    assert await house.sign_in() == 200
    ada = house.users.get("ada")
    [kept] = [one for one in house.client.session.cookie_jar if one.key == browsers.COOKIE]
    assert (kept["httponly"], kept["samesite"], kept["path"]) == (True, "Strict", "/api/login")
    assert browsers.known(kept.value, "ada", ada)
    assert not browsers.known(kept.value, "bea", house.users.get("bea"))
    assert not browsers.known(kept.value, "ada", replace(ada, digest="00" * 32))
    for made_up in ("", ".", "a.b", "\udcff.\udcff", "a." + "0" * 64, kept.value[1:]):
        assert not browsers.known(made_up, "ada", ada)


async def test_many_logins_at_once_are_not_many_tries(house):
    wrong = {"user": "ada", "password": "wrong password"}
    answers = await asyncio.gather(*(house.client.post("/api/login", json=wrong) for _ in range(40)))
    statuses = [one.status for one in answers]
    assert statuses.count(401) <= TRIES
    assert statuses.count(429) >= 40 - TRIES


@pytest.mark.parametrize(
    ("name", "path"),
    [("vic", f"/api/receipts/{JOB}.png"), ("vic", "/api/configuration"), ("bea", "/api/configuration")],
)
async def test_a_role_sees_no_more_than_it_may(house, name, path):
    await house.sign_in(name)
    assert (await house.client.get(path)).status == 403


async def test_a_viewer_looks_nobody_up(house):
    await house.sign_in("vic")
    assert (await house.post("/api/lookup", {"holder": "ada"})).status == 403
    assert not house.venue.looked_up


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"holder": "a", "ref": "0" * 32},
        {"ref": "xyz"},
        {"holder": ""},
        {"credential": {"technology": "psychic", "value": "1"}},
    ],
)
async def test_a_look_up_names_one_thing(house, body):
    await house.sign_in("bea")
    assert (await house.post("/api/lookup", body)).status == 400
    assert not house.venue.looked_up


async def test_i12_a_wrong_look_up_does_not_repeat_the_number(house):
    await house.sign_in("bea")
    answer = await house.post(
        "/api/lookup", {"credential": {"technology": "em4100", "value": "4A00A70000", "4A00A70000": 1}}
    )
    assert answer.status == 400
    assert "4A00A70000" not in await answer.text()


async def test_who_asks_is_who_signed_in_and_metal_has_an_end(house):
    await house.sign_in("bea")
    house.venue.answer = Answer("done")
    assert (await (await house.post("/api/ask", ASK)).json())["status"] == "done"
    asked = house.venue.asked[0]
    assert (asked.client, asked.target, asked.verb, asked.data) == ("console/bea", "gate", "why", b"{}")
    assert 0 < asked.expires_at_ms - house.venue.now_ms() <= 10_000


async def test_i09_only_so_much_is_asked_at_once(house):
    await house.sign_in()
    house.venue.answer = None
    asks = [house.post("/api/ask", ASK | {"id": f"request-{number}"}) for number in range(ASKED_MAX)]
    waiting = [asyncio.ensure_future(one) for one in asks]
    await until(lambda: len(house.venue.asked) == ASKED_MAX)
    assert (await house.post("/api/ask", ASK)).status == 503
    for one in waiting:
        one.cancel()
    await asyncio.gather(*waiting, return_exceptions=True)


async def test_i09_only_so_many_screens_are_open(house):
    await house.sign_in()
    for number in range(WATCHERS_MAX):
        house.live.watch(f"user-{number}", sees_guests=True)
    assert (await house.client.get("/api/stream")).status == 503
    house.live.close()
    again = await house.client.get("/api/stream")
    assert again.status == 200
    again.close()


async def test_i09_one_viewer_with_many_screens_shuts_no_technician_out(house):
    await house.sign_in("vic")
    opened = [await house.client.get("/api/stream") for _ in range(WATCHERS_MAX + 2)]
    assert {one.status for one in opened} == {200}
    assert (await opened[0].text()).endswith("event: crowded\ndata: {}\n\n")
    assert house.live.watchers == SCREENS_MAX
    await house.sign_in("ada")
    theirs = await house.client.get("/api/stream")
    assert theirs.status == 200
    for one in (*opened, theirs):
        one.close()
    await until(lambda: not house.live.watchers)


@pytest.mark.parametrize("path", ["/", "/static/app.js", "/api/session", "/nowhere", "/api/stream"])
async def test_every_answer_keeps_the_browser_on_a_short_line(house, path):
    await house.sign_in()
    answer = await house.client.get(path)
    policy = answer.headers["Content-Security-Policy"]
    assert "default-src 'none'" in policy
    assert "unsafe" not in policy
    assert "frame-ancestors 'none'" in policy
    assert answer.headers["X-Content-Type-Options"] == "nosniff"
    assert answer.headers["Cache-Control"] == ("no-cache" if path in {"/", "/static/app.js"} else "no-store")
    answer.close()


async def test_the_cookie_is_for_this_page_alone(house):
    answer = await house.client.post("/api/login", json={"user": "ada", "password": PASSWORD})
    cookie = answer.cookies[COOKIE]
    assert (cookie["httponly"], cookie["samesite"], cookie["path"]) == (True, "Strict", "/")
    house.pages.encrypted = True
    answer = await house.client.post("/api/login", json={"user": "ada", "password": PASSWORD})
    assert answer.cookies[COOKIE]["secure"]


async def test_the_page_has_no_inline_script_and_no_foreign_source(house):
    page = await (await house.client.get("/")).text()
    assert "<script>" not in page
    assert "style=" not in page
    for name in (one for one in TYPES if one.endswith((".js", ".css"))):
        text = await (await house.client.get(f"/static/{name}")).text()
        assert "innerHTML" not in text
        assert "eval(" not in text
        # How a device is connected, which a browser fetches nothing by.
        text = text.replace("usb://", "").replace("tcp://", "")
        foreign = [word for word in text.split('"') if "//" in word and "://" in word]
        assert set(foreign) <= {"http://www.w3.org/2000/svg", "https://example.org/test"}, name


async def test_a_file_is_sent_once(house):
    first = await house.client.get("/static/console.css")
    again = await house.client.get("/static/console.css", headers={"If-None-Match": first.headers["ETag"]})
    assert (first.status, again.status) == (200, 304)


async def test_an_idle_login_ends_and_its_stream_too(house, clock):
    await house.sign_in()
    stream = await house.client.get("/api/stream")
    clock.now_s += house.pages.sessions.idle_timeout_s + 1
    house.pages.sweep()
    text = await stream.text()
    assert text.endswith("event: bye\ndata: {}\n\n")
    assert (await house.client.get("/api/state")).status == 401


@pytest.mark.parametrize(
    "content", [b"", b"\x1b@no json", b"[" * 5000, b'{"lines": [{"type": "image", "png": "AAAA"}]}']
)
async def test_a_receipt_that_cannot_be_read_is_still_a_picture(house, content):
    await house.sign_in("bea")
    house.venue.content = content
    answer = await house.client.get(f"/api/receipts/{JOB}.png")
    assert (answer.status, answer.content_type) == (200, "image/png")
    assert (await answer.read()).startswith(b"\x89PNG")


async def test_a_mistake_in_the_gateway_tells_nothing(house):
    await house.sign_in()

    def broken(_request):
        raise RuntimeError("the secret is 4A00A70000")

    house.venue.handle = broken
    answer = await house.post("/api/ask", ASK)
    assert answer.status == 500
    assert "4A00" not in await answer.text()


PUBLISHED = [route for route in ROUTES if route.role is not None]


@pytest.mark.parametrize("route", PUBLISHED, ids=lambda one: one.name)
@pytest.mark.parametrize(("name", "role"), [("", ""), ("vic", "viewer"), ("bea", "staff"), ("ada", "technician")])
async def test_the_published_role_is_the_one_that_is_asked_for(house, route, name, role):
    if name:
        await house.sign_in(name)
    headers = {"X-CSRF-Token": house.csrf}
    path = route.path.replace("{job}", JOB)
    answer = await house.client.request(route.method, path, json={} if route.takes else None, headers=headers)
    enough = role and ROLES.index(role) >= ROLES.index(route.role)
    assert (answer.status in {200, 400}) is bool(enough), await answer.text()
    assert enough or answer.status == (403 if name else 401)
    answer.close()
