"""Interlocks, inputs and outputs: what is right, and how each mistake is told."""

from __future__ import annotations

import pytest

from gateway.config.boards import Contact
from gateway.config.loading import ConfigurationError, loads
from gateway.devices.registry import kinds as real_kinds

HEAD = """\
venue: {id: hall, timezone: Europe/Berlin, currency: EUR}
broker: unix:///run/mqtt.sock
zones: {hall: {}, vip: {within: hall}}
devices:
  board: {driver: board, port: /dev/d}
  paper: {driver: receipts, connect: tcp://paper:9100}
gates:
  outer: {to: hall, lock: board.1, passage: board.1}
  inner: {from: hall, to: vip, lock: board.2, passage: board.2}
  plain: {to: vip, lock: board.3}
"""

CASES = {
    "interlocks: {trap: {gates: [outer]}}": "interlocks.trap.gates: expected 2 to 16 entries in this list, found 1",
    "interlocks: {trap: {gates: [outer, iner]}}": (
        'interlocks.trap.gates: no gate is called "iner"; did you mean `inner`?'
    ),
    "interlocks: {trap: {gates: [outer, outer]}}": (
        "interlocks.trap.gates: gate `outer` stands there twice; name each gate once"
    ),
    "interlocks: {trap: {gates: [outer, plain]}}": (
        "interlocks.trap.gates: gate `plain` has no `passage`; an interlock has to move each gate and to see that it "
        "is shut"
    ),
    "inputs: {fire: {contact: board.9, means: emergency}}": (
        "inputs.fire.contact: `board` has inputs 1 to 8; correct the channel, or `inputs` of the board"
    ),
    "inputs: {fire: {contact: board.1, means: emergency}}": (
        "inputs.fire.contact: `board.1` tells of passages at gate `outer` already; each needs its own"
    ),
    "inputs: {fire: {contact: board.5, means: emergency, zones: [hal]}}": (
        'inputs.fire.zones: no zone is called "hal"; did you mean `hall`?'
    ),
    "inputs: {held: {contact: board.5, means: door_held}}": (
        "inputs.held.means: door_held needs `gate`, the gate that stands open"
    ),
    "inputs: {box: {contact: board.5, means: tamper, gate: outer}}": (
        "inputs.box.gate: `gate` goes with door_held only, not with tamper"
    ),
    "inputs: {box: {contact: board.5, means: tamper, zones: [hall]}}": (
        "inputs.box.zones: `zones` goes with emergency only, not with tamper"
    ),
    "outputs: {lamp: {relay: board.1, on: [forced]}}": (
        "outputs.lamp.relay: `board.1` opens gate `outer` already; each needs its own"
    ),
    "outputs: {lamp: {relay: board.4, on: [granted]}}": (
        "outputs.lamp.on: granted is over at once, so it needs `pulse_ms`, such as `pulse_ms: 1500`"
    ),
    "outputs: {lamp: {relay: paper.1, on: [forced]}}": (
        "outputs.lamp.relay: `paper` is a printer, not a relay board; there is `board`"
    ),
}


@pytest.mark.parametrize(("text", "said"), CASES.items(), ids=list(CASES))
def test_each_mistake_is_told_where_it_stands(problems, text: str, said: str) -> None:
    (found,) = problems(f"{HEAD}{text}\n")
    assert found.startswith("11:")
    assert said.split(";", maxsplit=1)[0] in found


def test_what_is_right_becomes_contacts(read) -> None:
    text = """\
interlocks: {trap: {gates: [outer, inner]}}
inputs: {fire: {contact: board.7, means: emergency, zones: [hall]}}
outputs: {siren: {relay: board.4, on: [forced, emergency]}}
"""
    boards = read(HEAD + text).boards
    assert boards.neighbours("outer") == ("inner",)
    assert boards.neighbours("plain") == ()
    assert boards.inputs["fire"].contact == Contact("board", 7)
    assert boards.outputs["siren"].relay == Contact("board", 4)


def test_two_directions_of_a_turnstile_may_share_a_contact(problems) -> None:
    text = HEAD.replace("passage: board.2", "passage: board.1")
    assert len(problems(text)) == 1
    assert problems(f"{text}interlocks: {{turnstile: {{gates: [outer, inner]}}}}\n") == []


def test_every_board_knows_its_own_relays_and_inputs() -> None:
    text = """\
venue: {id: hall, timezone: Europe/Berlin, currency: EUR}
broker: unix:///run/mqtt.sock
zones: {hall: {}}
devices:
  pi: {driver: gpio, relay_lines: [17], input_lines: [27]}
  usb: {driver: hid-relay, serial: BITFT, channels: 2}
  door: {driver: shelly, topic: shellyplus1-a8032abe54dc}
gates:
  a: {to: hall, lock: pi.1, passage: pi.1}
  b: {to: hall, lock: usb.2}
  c: {to: hall, lock: door.1}
"""
    assert loads(text.encode(), "/etc/venue.yaml", real_kinds()).warnings == ()
    for wrong, said in (
        ("lock: pi.2", "`pi` has relay 1; correct the channel, or `relay_lines` of the board"),
        ("lock: usb.3", "`usb` has relays 1 to 2"),
    ):
        right = {"lock: pi.2": "lock: pi.1", "lock: usb.3": "lock: usb.2"}[wrong]
        with pytest.raises(ConfigurationError) as caught:
            loads(text.replace(right, wrong).encode(), "/etc/venue.yaml", real_kinds())
        assert said in str(caught.value.problems[0])


def test_a_device_at_the_broker_shares_no_name_with_a_client() -> None:
    text = """\
venue: {id: hall, timezone: Europe/Berlin, currency: EUR}
broker: unix:///run/mqtt.sock
devices: {door: {driver: tasmota, topic: door}}
clients: {door: {may: {gateway: [status]}}}
"""
    with pytest.raises(ConfigurationError) as caught:
        loads(text.encode(), "/etc/venue.yaml", real_kinds())
    assert "both log in to the broker" in str(caught.value.problems[0])


def test_two_drawers_with_a_contact_at_one_printer_are_warned_of() -> None:
    text = """\
venue: {id: hall, timezone: Europe/Berlin, currency: EUR}
broker: unix:///run/mqtt.sock
devices:
  paper: {driver: escpos, connect: 'tcp://paper:9100'}
  one: {driver: drawer-kick, printer: paper, pin: 2, open_is_high: true}
  two: {driver: drawer-kick, printer: paper, pin: 5, open_is_high: true}
"""
    (warning,) = loads(text.encode(), "/etc/venue.yaml", real_kinds()).warnings
    assert "one contact for both drawers" in warning
    assert loads(text.replace(", pin: 5, open_is_high: true", ", pin: 5").encode(), "/x", real_kinds()).warnings == ()
