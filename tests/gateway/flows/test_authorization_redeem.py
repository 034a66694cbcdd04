"""The worked examples of redeeming in docs/authorization.md, line by line."""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from gateway.domain.answers import Answer
from gateway.flows.lookup import Lookup
from gateway.flows.redeem import RedeemFlow
from gateway.store.credentials import CredentialKey
from gateway.store.directory import Directory
from gateway.store.importing import import_directory
from tests.gateway.fakes import settle
from tests.gateway.flows.house import House, request

PAGE = (Path(__file__).parents[3] / "docs" / "authorization.md").read_text(encoding="utf-8")
EXAMPLES = re.findall(r"^```redeem (.+)\n((?:.*\n)+?)```$", PAGE, re.MULTILINE)
(ROWS,) = re.findall(r"^```jsonl vouchers\n((?:.*\n)+?)```$", PAGE, re.MULTILINE)
BERLIN = ZoneInfo("Europe/Berlin")
KEY = CredentialKey(bytes(32))


class Reader:
    online = True


class Bar:
    """What an example plays on: two tablets and a reader, over the directory of the page."""

    def __init__(self, directory: Directory) -> None:
        self.house = House()
        self.flow = RedeemFlow(self.house.recorder, Lookup(directory, KEY))
        self.flow.configure(BERLIN, 30.0, {"bar-reader": Reader()})
        handlers = self.flow.handlers()
        grants = {client: {"entitlements": frozenset(handlers)} for client in ("bar-tablet", "desk-tablet")}
        self.house.desk.configure({"entitlements": handlers}, grants, 60_000)
        self.answers: list[tuple[str, Answer]] = []
        self.house.told = self.answers

    async def play(self, line: str) -> None:
        word, _, rest = line.partition(" ")
        match word:
            case "at":
                moment = datetime.fromisoformat(rest).replace(tzinfo=BERLIN)
                self.house.clock.offset_ms += round(moment.timestamp() * 1000) - self.house.clock()
            case "tap":
                reader, value = rest.split()
                assert self.flow.tap(reader, "em4100", value)
            case "wait":
                await asyncio.sleep(float(rest.removesuffix(" s")))
            case "=":
                expected = dict(each.split(" ") for each in rest.split(", "))
                assert {name: str(self.house.state.uses.get(name, 0)) for name in expected} == expected
            case client:
                self.ask(client, *rest.split(" ", 2))
        await settle()

    def ask(self, client: str, verb: str, request_id: str, data: str) -> None:
        asked: dict[str, Any] = json.loads(data)
        if "credential" in asked:
            asked["credential"] = {"technology": "em4100", "value": asked["credential"]}
        answer = self.house.desk.handle(request("entitlements", verb, asked, id=request_id, client=client))
        if answer is not None:
            self.answers.append((request_id, answer))

    def check_answer(self, line: str) -> None:
        request_id, status, rest = line.split(" ", 2)
        told, answer = self.answers.pop(0)
        assert (told, answer.status) == (request_id, status), answer
        assert rest == (json.dumps(answer.message) if rest.startswith('"') else answer.reason)


@pytest.fixture(scope="module")
def directory(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Directory]:
    folder = tmp_path_factory.mktemp("directory")
    source = folder / "directory.ndjson"
    source.write_text(ROWS)
    import_directory(source, folder, KEY, known_zones=(), progress=lambda *_: None, timezone=BERLIN)
    opened = Directory.open(folder)
    yield opened
    opened.close()


@pytest.mark.parametrize(("title", "lines"), EXAMPLES)
async def test_the_page_says_what_happens(title: str, lines: str, directory: Directory) -> None:
    bar = Bar(directory)
    for line in lines.splitlines():
        if line.startswith("  "):
            bar.check_answer(line.strip())
        else:
            assert bar.answers == [], f"the page does not tell of this answer, before: {line}"
            await bar.play(line)
    assert bar.answers == []


def test_the_page_has_examples() -> None:
    assert len(EXAMPLES) >= 4
