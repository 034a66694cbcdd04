"""Drawers on relays: what they hang on exists, and belongs to them alone."""

from __future__ import annotations

from typing import Annotated

import msgspec
import pytest
from msgspec import Meta

from gateway.config.drawers import carrier_of, contact_of
from gateway.config.loading import ConfigurationError, loads
from gateway.config.schema import Configuration, Contact, DriverKind

CHANNEL = r"^[a-z0-9-]+\.[1-9][0-9]*$"
# What a case adds begins at line 9.
VENUE = """\
venue: {id: hall, timezone: Europe/Berlin, currency: EUR}
broker: unix:///run/mqtt.sock
zones: {hall: {}}
gates: {north: {to: hall, lock: relay.1, passage: board.1}}
devices:
  relay: {driver: relay, port: /dev/c}
  board: {driver: board, port: /dev/d}
  paper: {driver: receipts, connect: tcp://paper:9100}
"""


class CoilOptions(msgspec.Struct, frozen=True, kw_only=True):
    relay: Annotated[str, Meta(pattern=CHANNEL, description="Relay it hangs on.")]
    contact: Annotated[str, Meta(pattern=CHANNEL, description="Its contact.")] | None = None
    open_is_active: Annotated[bool, Meta(description="Calibrated.")] = True


def load(text: str, kinds: dict[str, DriverKind]) -> Configuration:
    kinds = kinds | {"coil": DriverKind("drawer", CoilOptions, "A drawer on a relay.")}
    return loads((VENUE + text).encode(), "f", kinds)


def test_a_drawer_on_a_relay_names_its_board_and_its_contact(kinds: dict[str, DriverKind]) -> None:
    text = "  till: {driver: coil, relay: relay.2, contact: board.2, open_is_active: false}\n"
    configuration = load(text + "  plain: {driver: coil, relay: board.8}\n", kinds)
    till, plain = configuration.devices["till"], configuration.devices["plain"]
    assert (carrier_of(till), contact_of(till)) == ("relay", (Contact("board", 2), False))
    assert (carrier_of(plain), contact_of(plain)) == ("board", None)


def test_a_drawer_changes_with_the_boards_it_hangs_on(kinds: dict[str, DriverKind]) -> None:
    text = "  till: {driver: coil, relay: relay.2, contact: board.2}\n  plain: {driver: coil, relay: relay.3}\n"
    text = text.replace("relay.3", "board.3")
    before = load(text, kinds).devices
    after = loads_with(text, kinds, "port: /dev/c", "port: /dev/e").devices
    assert before["till"].digest != after["till"].digest
    assert before["plain"].digest == after["plain"].digest


def loads_with(text: str, kinds: dict[str, DriverKind], old: str, new: str) -> Configuration:
    kinds = kinds | {"coil": DriverKind("drawer", CoilOptions, "A drawer on a relay.")}
    return loads((VENUE + text).replace(old, new).encode(), "f", kinds)


@pytest.mark.parametrize(
    ("drawer", "says"),
    [
        ("relay: rely.1", 'till.relay: no relay board is called "rely"; did you mean `relay`?'),
        ("relay: paper.1", "till.relay: `paper` is a printer, not a relay board; there is `relay`, `board`"),
        ("relay: relay.3", "till.relay: `relay` has 2 relays; correct the channel, or `channels` of the board"),
        ("relay: relay.1", "till.relay: `relay.1` belongs to gate `north` already; each needs its own"),
        ("relay: relay.2, contact: relay.1", "till.contact: `relay` has no inputs; use a board with inputs"),
        ("relay: relay.2, contact: board.9", "till.contact: `board` has 8 inputs; correct the channel, or `inputs`"),
        (
            "relay: relay.2, contact: board.1",
            "till.contact: `board.1` belongs to gate `north` already; each needs its own",
        ),
    ],
)
def test_what_a_drawer_hangs_on_wrongly_is_said(kinds: dict[str, DriverKind], drawer: str, says: str) -> None:
    with pytest.raises(ConfigurationError) as refused:
        load(f"  till: {{driver: coil, {drawer}}}\n", kinds)
    [problem] = refused.value.problems
    assert str(problem).startswith("f:9:")
    assert says in str(problem)


def test_two_drawers_cannot_share_a_relay(kinds: dict[str, DriverKind]) -> None:
    text = "  till: {driver: coil, relay: relay.2}\n  other: {driver: coil, relay: relay.2}\n"
    with pytest.raises(ConfigurationError) as refused:
        load(text, kinds)
    [problem] = refused.value.problems
    assert "other.relay: `relay.2` belongs to `till` already" in str(problem)
