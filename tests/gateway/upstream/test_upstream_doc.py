"""docs/upstream.md tells the truth: the upstream that stands in it serves a venue."""

from __future__ import annotations

import json
import re
import sqlite3
from pathlib import Path

import pytest

from gateway.config.upstream import Endpoint
from gateway.upstream.contract import FINDINGS
from gateway.upstream.http import Client
from gateway.upstream.openapi import document, document_yaml
from gateway.upstream.sinks import SinkUnavailable
from simulators.upstream import Upstream
from tests.gateway.upstream.served import Served, fill, https, journalled, venue
from tests.gateway.upstream.test_directory import credential, rows
from tests.gateway.upstream.test_directory import venue as venue_with_directory
from tests.gateway.upstream.waiting import until

ROOT = Path(__file__).parents[3]
PAGE = (ROOT / "docs/upstream.md").read_text(encoding="utf-8")
LINES_MAX = 100


def program(folder: Path) -> Served:
    code = re.search(r'```python\n("""A small upstream.*?)```', PAGE, re.DOTALL)
    assert code is not None
    assert len(code[1].splitlines()) <= LINES_MAX
    folder.mkdir()
    (folder / "upstream.py").write_text(code[1])
    return Served(folder, program=(str(folder / "upstream.py"),))


def stored(folder: Path) -> list[bytes]:
    database = sqlite3.connect(folder / "events.db")
    events = [json.loads(event) for (event,) in database.execute("SELECT event FROM events ORDER BY seq")]
    database.close()
    return [json.dumps(event["data"], separators=(",", ":"), ensure_ascii=False).encode() for event in events]


async def test_i05_the_upstream_of_the_page_has_every_event_once_through_a_kill(tmp_path: Path):
    async with venue(tmp_path / "venue", 2000) as made, program(tmp_path / "up") as served:
        relay = made.begin(https(served.url))
        await until(lambda: relay.through_seq >= 500)
        await served.kill()
        await fill(made.journal, 200)
        await served.start()
        relay.try_now()
        await until(lambda: relay.through_seq == 2200)
        assert stored(tmp_path / "up") == journalled(tmp_path / "venue")


async def test_the_upstream_of_the_page_gives_a_directory_and_its_changes(tmp_path: Path):
    async with program(tmp_path / "up") as served:
        lines = "".join(json.dumps(row) + "\n" for row in rows(20))
        (served.folder / "directory.ndjson").write_text(lines)
        async with venue_with_directory(tmp_path / "venue", served.port) as here:
            await until(lambda: here.directory.cursor == 1)
            with (served.folder / "changes.ndjson").open("a") as changes:
                changes.write(json.dumps({"op": "put", "row": credential(3, state="blocked")}) + "\n")
            await until(lambda: here.state(3) == "blocked")
            assert (here.directory.cursor, here.state(4)) == (2, "active")


async def test_the_upstream_of_the_page_says_of_the_rest_that_it_has_none(tmp_path: Path):
    async with program(tmp_path / "up") as served:
        client = Client(Endpoint(url=served.url), "stadthalle")
        with pytest.raises(SinkUnavailable) as refused:
            await client.ask("GET", FINDINGS, query={"after": "0"})
        await client.close()
        assert refused.value.status == 404


def test_the_openapi_document_is_the_committed_one():
    assert (ROOT / "docs/upstream.openapi.yaml").read_text(encoding="utf-8") == document_yaml()


def test_every_reference_of_the_document_leads_somewhere_and_every_path_is_on_the_page():
    whole = document()
    wanted = set(re.findall(r"#/components/schemas/(\w+)", json.dumps(whole)))
    assert wanted <= whole["components"]["schemas"].keys()
    for path in whole["paths"]:
        assert f"…{path.removeprefix('/v1/venues/{venue}')}`" in PAGE


async def test_the_reference_serves_every_path_of_the_document(tmp_path: Path):
    (tmp_path / "up").mkdir()
    upstream = Upstream(tmp_path / "up")
    await upstream.start(0)
    assert upstream._runner is not None
    served = {resource.canonical for resource in upstream._runner.app.router.resources()}
    await upstream.stop()
    assert document()["paths"].keys() <= served
