from __future__ import annotations

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from drivers.codecs.mqtt_relay import Alive, Confirmed, Declined, InputIs, Message, Nonsense, RelayIs
from drivers.codecs.shelly import ShellyGen1, ShellyGen2
from drivers.codecs.tasmota import Tasmota, pulse_time

GEN1 = ShellyGen1("shelly1-B929CC")
GEN2 = ShellyGen2("shellyplus1-a8032abe54dc")
BASE = "shellyplus1-a8032abe54dc"


def test_gen1_speaks_plain_words() -> None:
    command = Message("shellies/shelly1-B929CC/relay/0/command", b"on")
    assert GEN1.switch(1, closed=True, pulse_ms=700, number=1) == (command,)
    assert GEN1.read("shellies/shelly1-B929CC/relay/0", b"on") == (RelayIs(1, closed=True),)
    assert GEN1.read("shellies/shelly1-B929CC/input/1", b"0") == (InputIs(2, closed=False),)
    assert GEN1.read("shellies/shelly1-B929CC/online", b"false") == (Alive(online=False),)
    assert GEN1.ask() == (Message("shellies/shelly1-B929CC/command", b"update"),)
    for topic, payload in [("relay/0", b"overpower"), ("relay/x", b"on"), ("relay/0/power", b"1")]:
        assert isinstance(GEN1.read(f"shellies/shelly1-B929CC/{topic}", payload)[0], Nonsense)


def test_gen2_calls_switch_set_and_lets_the_device_end_the_pulse() -> None:
    (message,) = GEN2.switch(1, closed=True, pulse_ms=700, number=7)
    assert message.topic == f"{BASE}/rpc"
    assert msgspec.json.decode(message.payload) == {
        "id": 7,
        "src": f"{BASE}/venue-gateway",
        "method": "Switch.Set",
        "params": {"id": 0, "on": True, "toggle_after": 0.7},
    }


def test_gen2_answers_are_told_apart() -> None:
    # The frames are those of the maker's pages "RPC Protocol" and "Notifications".
    reply = f"{BASE}/venue-gateway/rpc"
    answer = b'{"id":7,"src":"shellyplus1-a8032abe54dc","dst":"x","result":{"was_on":false}}'
    assert GEN2.read(reply, answer) == (Confirmed(7),)
    refused = b'{"id":8,"src":"s","dst":"x","error":{"code":-103,"message":"Invalid argument"}}'
    assert GEN2.read(reply, refused) == (Declined(8, "Invalid argument"),)
    notified = (
        b'{"src":"shellypro4pm-f008d1d8b8b8","dst":"user_1","method":"NotifyStatus","params":{"ts":1631186545.04,'
        b'"switch:0":{"id":0,"output":true,"source":"button"},"input:1":{"id":1,"state":false}}}'
    )
    assert GEN2.read(f"{BASE}/events/rpc", notified) == (RelayIs(1, closed=True), InputIs(2, closed=False))
    status = b'{"id":0,"src":"s","dst":"x","result":{"switch:0":{"id":0,"output":false},"sys":{}}}'
    assert GEN2.read(reply, status) == (Alive(online=True), RelayIs(1, closed=False))


def test_tasmota_gets_the_timer_with_every_command() -> None:
    door = Tasmota("door", 2)
    assert door.switch(2, closed=True, pulse_ms=700, number=1) == (
        Message("cmnd/door/Backlog0", b"PulseTime2 7;Power2 ON"),
    )
    assert door.switch(1, closed=True, pulse_ms=None, number=1)[0].payload == b"PulseTime1 0;Power1 ON"
    assert door.read("stat/door/RESULT", b'{"POWER2":"ON"}') == (RelayIs(2, closed=True),)
    assert door.read("stat/door/RESULT", b'{"POWER":"OFF"}') == (RelayIs(1, closed=False),)
    assert door.read("stat/door/RESULT", b'{"PulseTime2":{"Set":7,"Remaining":0}}') == ()
    assert door.read("tele/door/LWT", b"Offline") == (Alive(online=False),)
    assert door.ask() == (Message("cmnd/door/POWER1", b""), Message("cmnd/door/POWER2", b""))


@pytest.mark.parametrize(("pulse_ms", "value"), [(None, 0), (100, 1), (700, 7), (650, 7), (11_100, 111), (12_000, 112)])
def test_pulse_time_is_in_tenths_and_then_in_seconds(pulse_ms: int | None, value: int) -> None:
    assert pulse_time(pulse_ms) == value


@given(st.text(max_size=40), st.binary(max_size=300))
def test_no_message_raises(rest: str, payload: bytes) -> None:
    for dialect, prefix in ((GEN1, "shellies/shelly1-B929CC/"), (GEN2, f"{BASE}/"), (Tasmota("door", 1), "stat/door/")):
        for topic in (rest, prefix + rest, *dialect.topics):
            dialect.read(topic, payload)


def test_depth_without_end_is_nonsense() -> None:
    for dialect in (GEN2, Tasmota("door", 1)):
        assert isinstance(dialect.read(dialect.topics[1], b"[" * 100_000)[0], Nonsense)
