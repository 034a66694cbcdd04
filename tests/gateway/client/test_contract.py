"""What the Python client sends and takes is what docs/asyncapi.yaml says, and it knows nothing else of the gateway."""

from __future__ import annotations

import ast
import asyncio
import json
from pathlib import Path
from typing import Any

import msgspec
import pytest
from jsonschema import Draft202012Validator
from ruamel.yaml import YAML

import gateway.client
from gateway.client import Answer, VenueClient, messages
from gateway.client.connection import Pending

ROOT = Path(__file__).parents[3]
DOCUMENT = YAML(typ="safe").load((ROOT / "docs/asyncapi.yaml").read_text())
SCHEMAS = DOCUMENT["components"]["schemas"]
GUEST = {"technology": "em4100", "value": "100086F444"}
DONE: dict[str, dict[str, Any]] = {
    "charge": {"transfer": "bar/1", "action": "charge", "amount_minor": 1, "currency": "EUR"},
    "balance": {
        "transfer": "bar/2", "currency": "EUR", "holder": "ada",
        "balance_minor": 3, "held_minor": 1, "available_minor": 2,
    },
    "print": {"job": "j", "confirmed": True},
    "open": {"opening": "o", "confirmed": False},
    "authenticate": {"decision": "granted", "entry": "e", "gate": "vip", "zone": "hall"},
}  # fmt: skip
DONE |= dict.fromkeys(("top_up", "refund"), DONE["charge"])


class Recorded:
    """Stands for the connection: keeps what is sent and answers it as the gateway would."""

    def __init__(self) -> None:
        self.sent: list[tuple[str, str, dict[str, Any]]] = []

    def begin(self, request_id: str, target: str, verb: str, payload: bytes) -> Pending:
        self.sent.append((target, verb, json.loads(payload)))
        return Pending(request_id, f"venue/hall/clients/bar/requests/{target}/{verb}", payload)

    async def send(self, pending: Pending) -> None:
        verb = pending.topic.rpartition("/")[2]
        pending.answer(Answer(id=pending.id, status="done", data=DONE[verb]))

    def forget(self, pending: Pending) -> None:
        pass


async def _everything(client: VenueClient) -> None:
    await client.charge(450, reader="bar-reader", tip_minor=50, deposit_minor=100)
    await client.charge(450, credential=GUEST)
    await client.top_up(2000, by="cash", reader="desk")
    await client.refund("bar/1", 450)
    await client.refund("bar/1")
    await client.balance(credential="0f3a5c7e9b1d2f4a6c8e0b2d4f6a8c1e")
    await client.print("bar-printer", [{"type": "text", "text": "Danke!"}, {"type": "cut"}], title="Beleg")
    await client.open_drawer("bar-drawer", "sale")
    await client.authenticate("vip", **GUEST)


async def test_every_request_is_one_of_the_contract() -> None:
    client = VenueClient("hall", "bar", "secret", "localhost", tls_context=None)
    client.connection = recorded = Recorded()  # type: ignore[assignment]
    await _everything(client)
    for _, verb, message in recorded.sent:
        name = "Request" + "".join(part.capitalize() for part in verb.split("_"))
        schema = {"$ref": f"#/components/schemas/{name}", "components": {"schemas": SCHEMAS}}
        problems = list(Draft202012Validator(schema).iter_errors(message))
        assert not problems, (verb, message, problems)
    assert {verb for _, verb, message in recorded.sent if "expires_at" in message} == {"open", "authenticate"}
    assert len({message["id"] for _, _, message in recorded.sent}) == len(recorded.sent)


@pytest.mark.parametrize(
    ("ours", "schema"),
    [(messages.Answer, "Response"), (messages.GatewayState, "GatewayState"), (messages.Told, "Told")],
)
def test_every_field_is_one_of_the_contract(ours: type[msgspec.Struct], schema: str) -> None:
    properties, required = SCHEMAS[schema]["properties"], set(SCHEMAS[schema].get("required", []))
    fields = msgspec.structs.fields(ours)
    assert {field.name for field in fields} <= properties.keys()
    assert {field.name for field in fields if field.required} <= required
    statuses = {"Response": "status", "GatewayState": "state"}.get(schema)
    if statuses:
        [kind] = [field.type for field in fields if field.name == statuses]
        assert set(kind.__args__) == set(properties[statuses]["enum"])


ANSWERS = {
    "charge": (messages.Armed, messages.Transfer),
    "top_up": (messages.Armed, messages.Transfer),
    "refund": (None, messages.Transfer),
    "balance": (messages.Armed, messages.Balance),
    "print": (None, messages.Printed),
    "open": (None, messages.Opened),
    "authenticate": (None, messages.Admission),
    "replay": (None, messages.ReplayPage),
}


@pytest.mark.parametrize("verb", ANSWERS)
def test_every_answer_is_typed_as_the_contract_has_it(verb: str) -> None:
    told = DOCUMENT["operations"][f"receive_{verb}"]["x-answer-data"]
    for status, ours in zip(("accepted", "done"), ANSWERS[verb], strict=True):
        if ours is None:
            continue
        schema = SCHEMAS[told[status]["$ref"].rpartition("/")[2]]
        fields = msgspec.structs.fields(ours)
        assert {field.name for field in fields} <= schema["properties"].keys()
        assert {field.name for field in fields if field.required} <= set(schema["required"])


def test_it_can_be_copied_out_of_here() -> None:
    """Its files import the standard library, aiomqtt, msgspec and each other."""
    found = set()
    for file in Path(gateway.client.__file__).parent.glob("*.py"):
        for node in ast.walk(ast.parse(file.read_text())):
            if isinstance(node, ast.Import):
                found |= {alias.name for alias in node.names}
            elif isinstance(node, ast.ImportFrom):
                found.add(node.module or "")
    foreign = {
        name for name in found if name.startswith(("gateway", "drivers")) and not name.startswith("gateway.client")
    }
    assert not foreign
    assert {"aiomqtt", "msgspec"} <= found


async def test_i12_no_error_and_no_text_of_it_tells_the_password() -> None:
    told = {
        "v": 1, "venue": "hall", "mqtts": "127.0.0.1:1", "ca_sha256": "0" * 64, "user": "bar", "password": "hush-hush"
    }  # fmt: skip
    invitation = gateway.client.Invitation.parse(json.dumps(told))
    assert "hush" not in repr(invitation)
    with pytest.raises(gateway.client.NotConnected) as refused:
        await VenueClient.join(invitation)
    assert "hush" not in str(refused.value)
    for wrong in ('{"password": "hush-hush"', json.dumps({**told, "v": 2}), json.dumps({"password": "hush-hush"})):
        with pytest.raises(gateway.client.WrongInvitation) as error:
            gateway.client.Invitation.parse(wrong)
        assert "hush" not in str(error.value)


async def test_a_request_without_an_answer_says_that_it_may_be_asked_again() -> None:
    class Silent(Recorded):
        async def send(self, pending: Pending) -> None:
            await asyncio.sleep(0)

    client = VenueClient("hall", "bar", "secret", "localhost", tls_context=None)
    client.connection = Silent()  # type: ignore[assignment]
    with pytest.raises(gateway.client.NoAnswer) as nothing:
        await client.ask("bar-drawer", "open", {"reason": "sale"}, timeout_s=0.01, request_id="r-1")
    assert nothing.value.request_id == "r-1"
