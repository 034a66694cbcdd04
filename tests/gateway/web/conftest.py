"""The console's pages over a venue that is made up, with a client that may send whatever it likes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from aiohttp.test_utils import TestClient, TestServer

from gateway.domain import events as e
from gateway.domain.answers import Answer, denied
from gateway.domain.reasons import Reason
from gateway.web import static_files
from gateway.web.live import Live
from gateway.web.pages import Pages
from gateway.web.users import Users

PASSWORD = "a good long password"
JOB = "01a20158-c3ea-7000-aec5-2b76bf0eff0b"


class FakeVenue:
    """Answers at once what `answer` says, or never when it is None."""

    def __init__(self) -> None:
        self.asked: list[Any] = []
        self.answer: Answer | None = denied(Reason.NOT_GRANTED)
        self.shown: dict[str, Any] = {"gateway": {"name": "fake"}, "devices": []}
        self.looked_up: list[Any] = []
        self.content = b'{"lines": [{"type": "text", "text": "hello"}]}'

    def now_ms(self) -> int:
        return 1_780_000_000_000

    def parts(self) -> dict[str, Callable[[], Any]]:
        return {name: (lambda name=name: self.shown[name]) for name in self.shown}

    def charts(self) -> dict[str, Any]:
        return {"every_s": 10, "series": {}}

    def handle(self, request: Any) -> Answer | None:
        self.asked.append(request)
        return self.answer

    def digest(self, data: bytes) -> str:
        return f"{len(data)}"

    def receipt(self, job: str) -> Any:
        if job != JOB:
            return None
        queued = e.PrintQueued(job=job, printer="p", client="c", content="document", size_bytes=1, digest="d")
        return queued, self.content

    def guest(self, shown: Any, holder: str | None, client: str) -> dict[str, Any]:
        self.looked_up.append((shown, holder, client))
        return {"holder": holder or "somebody", "fault": ""}

    async def configuration(self) -> dict[str, Any]:
        return {"file": "venue.yaml", "lines": [], "findings": []}


class House:
    """Everything a test needs of the console."""

    def __init__(self, venue: FakeVenue, live: Live, pages: Pages, users: Users, client: TestClient) -> None:
        self.venue, self.live, self.pages, self.users, self.client = venue, live, pages, users, client
        self.csrf = ""

    async def sign_in(self, name: str = "ada", password: str = PASSWORD) -> int:
        answer = await self.client.post("/api/login", json={"user": name, "password": password})
        if answer.status == 200:
            self.csrf = (await answer.json())["csrf"]
        return answer.status

    async def post(self, path: str, body: Any = None, **headers: str) -> Any:
        return await self.client.post(path, json=body, headers={"X-CSRF-Token": self.csrf, **headers})


class Clock:
    def __init__(self) -> None:
        self.now_s = 1000.0

    def __call__(self) -> float:
        return self.now_s


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture(scope="session")
def users_file(tmp_path_factory):
    file = tmp_path_factory.mktemp("users") / "users.json"
    with pytest.MonkeyPatch.context() as patch:
        # As cheap as scrypt can be: what it costs in earnest is another test's.
        patch.setattr("gateway.web.users._COST", 2)
        for name, role in (("ada", "technician"), ("bea", "staff"), ("vic", "viewer")):
            Users(file).put(name, role, PASSWORD)
    return file


@pytest.fixture
async def house(users_file, clock):
    venue, users = FakeVenue(), Users(users_file)
    live = Live(venue)
    pages = Pages(venue, users, live, static_files.load(), clock)
    pages.names = frozenset({"127.0.0.1", "gateway.local"})
    async with TestClient(TestServer(pages.application())) as client:
        yield House(venue, live, pages, users, client)
        live.close()
