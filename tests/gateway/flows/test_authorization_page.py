"""The worked examples of docs/authorization.md, line by line."""

from __future__ import annotations

import asyncio
import json
import re
from pathlib import Path
from typing import Any

import msgspec
import pytest

from gateway.domain.allowances import Grant, Statement
from gateway.domain.answers import Answer
from gateway.domain.wallet import Opening, Policy
from gateway.flows.allowances import AllowanceFlow, Terms
from gateway.flows.purchase import PurchaseFlow
from tests.gateway.fakes import FakeDirectory, settle
from tests.gateway.flows.house import House, request

PAGE = (Path(__file__).parents[3] / "docs" / "authorization.md").read_text(encoding="utf-8")
EXAMPLES = re.findall(r"^```wallets(.*)\n((?:.*\n)+?)```$", PAGE, re.MULTILINE)


class Key:
    """A card's number is its guest's name, and so is the reference."""

    def ref(self, technology: str, value: str) -> str:
        return value


class Reader:
    online = True


class Venue:
    """What an example plays on: two tablets, a reader, and the guests Ada and Bob."""

    def __init__(self, options: str) -> None:
        authority, _, limits = options.strip().partition(" ")
        self.house = House()
        self.directory = FakeDirectory()
        for guest in ("ada", "bob"):
            self.directory.add(guest, guest)
            self.directory._credentials[guest] = self.directory._credentials.pop(f"ref:em4100:{guest}")
        self.flow = PurchaseFlow(self.house.recorder, self.directory, Key())
        with_allowances = authority == "allowances"
        margin_ms = 300_000 if with_allowances else None
        self.policy = policy = Policy(
            currency="EUR",
            upstream=authority in {"upstream", "allowances"},
            allowance_margin_ms=margin_ms,
            **json.loads(limits or "{}"),
        )
        self.flow.configure(policy, 30.0, {"bar-reader": Reader()})
        self.directory.wallets = {guest: Opening(0, "EUR") for guest in ("ada", "bob")} if with_allowances else {}
        self.allowances = AllowanceFlow(self.house.recorder)
        self.house.recorder.listeners.append(self.allowances.committed)
        self.allowances.configure(policy, Terms(5_000, 1_000) if with_allowances else None)
        self.allowances.connect(self)
        self.said: list[Statement] = []
        handlers = self.flow.handlers()
        grants = {client: {"wallet": frozenset(handlers)} for client in ("bar-tablet", "desk-tablet")}
        self.house.desk.configure({"wallet": handlers}, grants, 60_000)
        self.answers: list[tuple[str, Answer]] = []
        self.house.told = self.answers

    async def play(self, line: str) -> None:
        word, _, rest = line.partition(" ")
        match word:
            case "tap":
                reader, guest = rest.split()
                assert self.flow.tap(reader, "em4100", guest)
            case "wait":
                await asyncio.sleep(float(rest.removesuffix(" s")))
            case "contact":
                self.directory.as_of_ms += 1
                self.flow.upstream_spoke()
            case "directory":
                row = {"currency": "EUR", "counted_minor": 0} | json.loads(rest)
                holder = row.pop("holder")
                self.directory.wallets[holder] = Opening(**row)
            case "grant":
                self.take_grant(json.loads(rest))
            case "says":
                holder, _, expected = rest.partition(" ")
                self.check_statement(holder, json.loads(expected))
            case "=":
                self.check_balances(rest)
            case client:
                self.ask(client, *rest.split(" ", 2))
        await settle()

    online = True

    def send(self, statement: Statement) -> None:
        self.said.append(statement)

    def take_grant(self, message: dict[str, Any]) -> None:
        hours = float(message["until_ms"].removeprefix("+").removesuffix(" h"))
        own = self.house.state.ledger.allowance(message["holder"])
        until_ms = own.until_ms or self.house.recorder.now_ms() + round(hours * 3_600_000)
        known = {"book": self.house.state.ledger.book, "currency": "EUR"}
        self.allowances.received(msgspec.convert(message | known | {"until_ms": until_ms}, Grant))

    def check_statement(self, holder: str, expected: dict[str, Any]) -> None:
        newest = [one for one in self.said if one.holder == holder][-1]
        assert {name: getattr(newest, name) for name in expected} == expected

    def ask(self, client: str, verb: str, request_id: str, data: str) -> None:
        asked: dict[str, Any] = json.loads(data)
        if asked.get("credential") in {"ada", "bob"}:
            asked["credential"] = {"technology": "em4100", "value": asked["credential"]}
        answer = self.house.desk.handle(request("wallet", verb, asked, id=request_id, client=client))
        if answer is not None:
            self.answers.append((request_id, answer))

    def check_answer(self, line: str) -> None:
        request_id, status, rest = line.split(" ", 2)
        told, answer = self.answers.pop(0)
        assert (told, answer.status) == (request_id, status), answer
        assert rest == (json.dumps(answer.message) if rest.startswith('"') else answer.reason)

    def check_balances(self, text: str) -> None:
        expected = dict(each.split(" ") for each in text.split(", "))
        accounts = self.house.state.ledger.accounts
        assert {name: str(account.balance_minor) for name, account in accounts.items()} == expected


@pytest.mark.parametrize(("options", "lines"), EXAMPLES)
async def test_the_page_says_what_happens(options: str, lines: str) -> None:
    venue = Venue(options)
    for line in lines.splitlines():
        if line.startswith("  "):
            venue.check_answer(line.strip())
        else:
            assert venue.answers == [], f"the page does not tell of this answer, before: {line}"
            await venue.play(line)
    assert venue.answers == []


def test_the_page_has_examples_and_a_right_row() -> None:
    assert len(EXAMPLES) >= 5
    (row,) = re.findall(r"^```json\n(.*)\n```$", PAGE, re.MULTILINE)
    fields = {key: value for key, value in json.loads(row).items() if key not in {"type", "holder"}}
    assert msgspec.convert(fields, Opening).balance_minor == 2000
