"""Every form and every address of the console with input that nobody means well by.

The description is the page's own: each route with the shape of its body. Bodies have the fields of the shape with
anything in them; whatever comes, the answer is a short refusal in JSON that repeats nothing, and nothing is done.
"""

from __future__ import annotations

import json
from typing import Any

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from gateway.web.contract import AskData, LoginData, LookupData

SHAPES = {
    "/api/login": LoginData,
    "/api/ask": AskData,
    "/api/lookup": LookupData,
    "/api/logout": None,
    "/api/alive": None,
}
PRIVATE = ["/api/state", "/api/stream", "/api/session", "/api/configuration", "/api/receipts/x.png"]
REFUSED = {400, 401, 403, 404, 405, 413, 415, 421, 429, 503}
MARK = "q7Zx9mark"
quietly = settings(
    max_examples=120, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow]
)
nasty_text = st.one_of(
    st.text(max_size=40),
    st.sampled_from([
        MARK, "", "\0", "\r\nSet-Cookie: a=b", "../../etc/passwd", "<script>alert(1)</script>", "' OR 1=1 --",
        "%00", "𝕏" * 300,
        "\ud800", "null", "-1", "NaN", "a" * 5000, "{{7*7}}", "${jndi:ldap://x}", "__proto__", "\u202e",
    ]),
)  # fmt: skip
values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | nasty_text,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(nasty_text, inner, max_size=4),
    max_leaves=12,
)


def fields_of(shape: type[msgspec.Struct] | None) -> list[str]:
    return [] if shape is None else [field.name for field in msgspec.structs.fields(shape)]


def bodies(path: str) -> st.SearchStrategy[Any]:
    """Objects with the route's own fields, each with anything in it, some left out, some more; or anything."""
    known = dict.fromkeys(fields_of(SHAPES[path]), values)
    shaped = st.fixed_dictionaries({}, optional=known).flatmap(
        lambda body: st.dictionaries(nasty_text, values, max_size=2).map(lambda more: {**more, **body})
    )
    return shaped | values


def test_the_shapes_are_those_of_the_routes(house):
    routes = {route.resource.canonical for route in house.pages.application().router.routes() if route.method == "POST"}
    assert routes == set(SHAPES)


@pytest.mark.parametrize("path", SHAPES)
async def test_a_body_that_is_not_right_is_refused_shortly_and_repeats_nothing(house, path):
    await house.sign_in()

    @quietly
    @given(body=bodies(path))
    def generate(body: Any) -> None:
        found.append(json.dumps(body).encode("utf-8", "surrogatepass"))

    found: list[bytes] = []
    generate()
    for raw in found:
        before = len(house.venue.asked)
        headers = {"Content-Type": "application/json", "X-CSRF-Token": house.csrf}
        answer = await house.client.post(path, data=raw, headers=headers)
        text = await answer.text()
        assert answer.status in REFUSED | {200}, (raw, text)
        assert answer.content_type == "application/json"
        if answer.status != 200:
            assert MARK not in text
            assert len(text) < 500
            assert len(house.venue.asked) == before
        elif path == "/api/logout":
            await house.sign_in()


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
