"""A file full of mistakes is corrected in one round, not in twelve."""

from __future__ import annotations

import pytest

from gateway.config.loading import ConfigurationError

TWELVE = """\
venue: {id: hall, timezone: Europe/Berlni, currency: eur}
broker: mqtt://gateway:hunter2@localhost
zones:
  foyer: {}
  hall: {within: foier, capacity: many}
devices:
  reader: {driver: tag-reader, prot: /dev/a}
  relay: {driver: relay, port: /dev/c, channels: 99}
  relay: {driver: relay, port: /dev/d}
gates:
  north: {from: foyer, to: hall, readers: [raeder], lock: relay.1}
clients:
  tab: {may: {relay: [open], north: [open]}}
"""
PLACES = [
    "1:29: venue.timezone",
    "1:54: venue.currency",
    "2:9: broker",
    "5:18: zones.hall.within",
    "5:35: zones.hall.capacity",
    "7:3: devices.reader.port",
    "7:32: devices.reader.prot",
    "8:50: devices.relay.channels",
    "9:3: devices.relay",
    "11:44: gates.north.readers[0]",
    "13:15: clients.tab.may.relay",
    "13:38: clients.tab.may.north[0]",
]


def test_twelve_mistakes_are_all_reported_in_the_order_of_the_file(problems):
    found = problems(TWELVE)
    assert [": ".join(problem.split(": ")[:2]) for problem in found] == PLACES


def test_each_line_of_the_error_names_file_line_column_and_path(read):
    with pytest.raises(ConfigurationError) as caught:
        read(TWELVE)
    lines = str(caught.value).splitlines()
    assert len(lines) == 12
    assert lines[6] == "/etc/venue/venue.yaml:7:32: devices.reader.prot: unknown key; did you mean `port`?"


def test_i12_no_secret_that_stands_in_the_file_is_repeated(problems):
    text = """\
venue: {id: a, timezone: UTC, currency: EUR, password: hunter2}
broker: {url: "mqtt://me:hunter2@localhost", token: hunter2}
devices:
  a: {driver: receipts, connect: "http://me:hunter2@printer"}
  b: {driver: tag-reader, port: "tcp://me:hunter2@box"}
  secret: hunter2
clients: {tab: {password: hunter2}}
api_key: hunter2
"""
    found = problems(text)
    assert len(found) == 8
    assert "hunter2" not in "\n".join(found)


def test_i12_a_line_that_is_no_yaml_is_not_repeated(problems):
    (problem,) = problems("broker: {password: hunter2\nvenue: x\n")
    assert "hunter2" not in problem


def test_mistakes_inside_a_broken_device_and_about_it_are_both_found(problems):
    text = TWELVE.replace("prot: /dev/a", "port: /dev/a, beep: 7").replace(
        "port: /dev/c, channels: 99", "port: /dev/a, channels: 99"
    )
    places = [": ".join(problem.split(": ")[:2]) for problem in problems(text)]
    assert "7:52: devices.reader.beep" in places
    assert "8:32: devices.relay.port" in places
    assert "8:50: devices.relay.channels" in places


def test_two_complaints_of_one_driver_are_both_found(problems):
    text = """\
venue: {id: a, timezone: UTC, currency: EUR}
broker: unix:///run/x
devices:
  a: {driver: receipts, connect: "tcp://x", profile: nonsense, paper: 80}
"""
    assert problems(text) == [
        "4:54: devices.a.profile: no such model; use default",
        "4:64: devices.a.paper: unknown key; there is `driver`, `connect`, `profile`",
    ]


def test_nobody_reads_more_than_two_hundred(problems):
    found = problems("\n".join(f"x{number}: 1" for number in range(5_000)))
    assert len(found) == 201
    assert found[-1].endswith("too many problems; correct those above first")
