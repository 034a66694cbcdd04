"""docs/authorization.md, word for word: its directory is imported, its examples are lived through, its code is run."""

from __future__ import annotations

import json
import re
from datetime import datetime
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from ruamel.yaml import YAML

from gateway.config.schema import Gate, Zone
from gateway.domain import events as e
from gateway.domain.access import ZoneMap
from gateway.domain.reasons import Reason
from gateway.flows.entry import EntryFlow
from gateway.flows.gate import GateFlow
from gateway.flows.zones import OrdersFlow
from gateway.store.credentials import CredentialKey
from gateway.store.directory import Directory
from gateway.store.importing import import_directory
from tests.gateway.fakes import START_MS, settle
from tests.gateway.flows.house import House

TEXT = (Path(__file__).parents[3] / "docs/authorization.md").read_text(encoding="utf-8")
BERLIN = ZoneInfo("Europe/Berlin")
BLOCKS = re.findall(r"^```(\w+) ([^\n]+)\n(.*?)^```$", TEXT, re.MULTILINE | re.DOTALL)
EXAMPLES = {title: body for kind, title, body in BLOCKS if kind == "example"}


def block(kind: str) -> str:
    [body] = [body for one, _, body in BLOCKS if one == kind]
    return body


def shop() -> dict[str, Any]:
    """Run the shop's code of the page."""
    names: dict[str, Any] = {}
    exec(compile(block("python"), "docs/authorization.md", "exec"), names)
    return names


class Page:
    """The venue of the page."""

    def __init__(self, folder: Path) -> None:
        venue = YAML(typ="safe", pure=True).load(block("yaml"))
        self.sold = shop()
        zones = {name: Zone(**fields) for name, fields in venue["zones"].items()}
        key = CredentialKey.load_or_create(folder)
        source = folder / "rows.ndjson"
        source.write_text(block("ndjson") + json.dumps(self.sold["issuer_key"]), encoding="utf-8")
        import_directory(source, folder, key, known_zones=zones, progress=lambda *_: None, timezone=BERLIN)
        self.directory = Directory.open(folder)
        self.house = House()
        within = {name: zone.within for name, zone in zones.items()}
        self.house.state.set_zones(ZoneMap(within, {name: zone.capacity for name, zone in zones.items()}))
        self.flow = EntryFlow(self.house.recorder, self.directory, key, self.house.spawn)
        gates = {name: self._gate(name, fields) for name, fields in venue["gates"].items()}
        self.flow.configure(gates, BERLIN, "club")
        self.orders = OrdersFlow(self.house.recorder, self.flow.lookup, gates, self.house.spawn)
        resets = {name: zone.reset_time for name, zone in zones.items()}
        self.orders.configure({name: at for name, at in resets.items() if at is not None}, BERLIN)

    def _gate(self, name: str, fields: dict[str, Any]) -> GateFlow:
        given = {{"from": "from_zone", "to": "to_zone"}.get(key, key): value for key, value in fields.items()}
        return GateFlow(Gate(name=name, **given), self.house.recorder, None)

    async def live(self, when: str, gate: str, code: str) -> str:
        """Return what becomes of a credential at a gate at a time of the venue's clock."""
        at = datetime.strptime(when.removesuffix(" again"), "%Y-%m-%d %H:%M").replace(tzinfo=BERLIN)
        at = at.replace(fold=1) if when.endswith("again") else at
        self.house.clock.offset_ms = int(at.timestamp() * 1000) - START_MS
        self.orders.reset_due()
        technology = "em4100" if code.startswith("0000") else "barcode"
        ticket = self.sold["ticket"]
        flipped = ticket[:20] + chr(ord(ticket[20]) ^ 1) + ticket[21:]
        value = {"TICKET": ticket, "TICKET!": flipped}.get(code, code)
        self.flow.tap(gate, technology, value, "reader")
        await settle()
        decision = [one for one in self.house.events if isinstance(one, e.EntryGranted | e.EntryDenied)][-1]
        return " ".join(("granted", *decision.flags)) if isinstance(decision, e.EntryGranted) else decision.reason


@pytest.mark.parametrize("title", EXAMPLES)
async def test_the_examples_come_out_as_written(title: str, tmp_path: Path) -> None:
    page = Page(tmp_path)
    for line in EXAMPLES[title].splitlines():
        when, gate, code, *expected = re.split(r"  +", line)
        assert await page.live(when, gate, code) == " ".join(expected), line
    page.directory.close()


def test_there_are_enough_examples() -> None:
    assert len(EXAMPLES) >= 9
    assert sum(len(body.splitlines()) for body in EXAMPLES.values()) >= 50


def test_the_page_explains_every_word_of_a_decision() -> None:
    source = (Path(__file__).parents[3] / "gateway/domain/reasons.py").read_text(encoding="utf-8")
    words = re.findall(r'= "(\w+)"', source.split("# Entry decisions.")[1].split("# What is wrong")[0])
    missing = [word for word in words if f"`{word}`" not in TEXT and word != Reason.STORAGE_UNAVAILABLE]
    assert not missing
