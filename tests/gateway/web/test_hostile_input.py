"""Every address of the console with bytes, methods, queries and headers that nobody means well by.

What fits the published document, and what does not, is test_console_contract's; here is what no document describes.
Whatever comes, the answer is a short refusal that repeats nothing, and nothing is done.
"""

from __future__ import annotations

import pytest

from gateway.web.contract import ROUTES

SHAPES = {route.path: route.takes for route in ROUTES if route.method == "POST"}
PRIVATE = [route.path.replace("{job}", "x.png") for route in ROUTES if route.role and route.method == "GET"]
REFUSED = {400, 401, 403, 404, 405, 413, 415, 421, 429, 503}
MARK = "q7Zx9mark"


def test_every_address_is_one_of_the_published(house):
    served = {(one.method, one.resource.canonical) for one in house.pages.application().router.routes()}
    assert served == {(route.method, route.path) for route in ROUTES}


RAW = [
    b"", b"{", b"\xff\xfe", b"[" * 100_000, b'{"user": ' + b"9" * 5000 + b"}", b'{"a":1}' * 3, b"null", b"\0" * 100,
    b'{"user": "a", "user": "b", "password": "c"}', b'{"user": "\\ud800", "password": "x"}', b"x" * 17_000,
]  # fmt: skip


@pytest.mark.parametrize("path", SHAPES)
@pytest.mark.parametrize("raw", RAW, ids=range(len(RAW)))
async def test_bytes_that_are_no_request_are_refused(house, path, raw):
    await house.sign_in()
    headers = {"Content-Type": "application/json", "X-CSRF-Token": house.csrf}
    answer = await house.client.post(path, data=raw, headers=headers)
    assert answer.status in REFUSED | ({200} if SHAPES[path] is None else set())
    assert not house.venue.asked


@pytest.mark.parametrize("path", [*SHAPES, *PRIVATE, "/", "/static/app.js", "/tablet"])
async def test_any_method_with_any_query_harms_nothing(house, path):
    for method in ("GET", "HEAD", "POST", "PUT", "DELETE", "PATCH", "OPTIONS", "TRACE"):
        for query in ("", f"?a={MARK}", "?" + "a[]=1&" * 200, "?%00%ff%0d%0a", "?user=ada&password=x"):
            answer = await house.client.request(method, path + query, headers={"Range": "bytes=0-9999999999"})
            assert answer.status in REFUSED | {200, 400, 414}
            assert MARK not in await answer.text()
    assert not house.venue.asked


HEADERS = [
    {"Cookie": "vg_console=" + "A" * 3000}, {"Cookie": 'vg_console="; x=1'}, {"Host": "a" * 300}, {"Host": ""},
    {"Origin": "null"}, {"X-CSRF-Token": "é" * 50}, {"Content-Encoding": "gzip"}, {"Transfer-Encoding": "gzip"},
    {"Content-Type": "application/json; charset=utf-16"}, {"If-None-Match": '"' * 2000}, {"Expect": "200-maybe"},
]  # fmt: skip


@pytest.mark.parametrize("headers", HEADERS, ids=range(len(HEADERS)))
async def test_a_header_that_means_no_good_is_refused_or_ignored(house, headers):
    for path in ("/", "/api/state", "/tablet"):
        answer = await house.client.get(path, headers=headers)
        assert answer.status in REFUSED | {200, 417}
    answer = await house.client.post("/api/ask", json={"id": "a" * 8, "target": "x", "verb": "open"}, headers=headers)
    assert answer.status in REFUSED | {417}
    assert not house.venue.asked
