"""What a right file becomes."""

from __future__ import annotations

from datetime import time
from pathlib import Path

import pytest

from gateway.config.loading import ConfigurationError, load
from gateway.config.schema import Broker, Contact, Limits, Zone
from gateway.domain.access import GateRule

VENUE = """\
venue: {id: hall, timezone: Europe/Berlin, currency: EUR, name: Große Halle}
broker: unix:///run/mqtt.sock
state_dir: state
zones: {foyer: {}, hall: {within: foyer, capacity: 1800}, yard: }
devices:
  reader: {driver: tag-reader, port: /dev/a}
  board: {driver: board, port: /dev/d, idle_closed: [1]}
  paper: {driver: receipts, connect: "tcp://paper:9100"}
  drawer: {driver: kick, printer: paper}
gates:
  north: {from: foyer, to: hall, readers: [reader], lock: board.2, passage: board.1, passage_timeout_s: 6}
  exit: {from: hall}
clients:
  tab: {may: {paper: [print, status], drawer: [open], north: [authenticate], gateway: [replay]}}
  idle:
"""


def changed(before: str, after: str) -> str:
    assert before in VENUE
    return VENUE.replace(before, after)


def test_a_whole_venue(read):
    found = read(VENUE)
    assert (found.venue.id, found.venue.name, str(found.venue.zone_info)) == ("hall", "Große Halle", "Europe/Berlin")
    assert found.zones == {"foyer": Zone(), "hall": Zone("foyer", 1800), "yard": Zone()}
    assert found.devices["board"].options.idle_closed == (1,)
    north = found.gates["north"]
    assert (north.lock, north.passage, north.readers) == (Contact("board", 2), Contact("board", 1), ("reader",))
    assert str(north.lock) == "board.2"
    assert north.rule == GateRule("north", "foyer", "hall", "hard")
    assert found.gates["exit"].to_zone is None
    assert found.clients["tab"].may["paper"] == frozenset({"print", "status"})
    assert found.clients["idle"].may == {}
    assert found.warnings == ()


def test_anti_passback_and_reset_times(read):
    text = VENUE.replace("hall: {within: foyer,", 'hall: {within: foyer, reset_at: "05:30",')
    text = text.replace("exit: {from: hall}", "exit: {from: hall, anti_passback: soft, anti_passback_reset_s: 1.5}")
    found = read(text)
    assert found.zones["hall"].reset_time == time(5, 30)
    assert found.zones["foyer"].reset_time is None
    assert found.gates["exit"].rule == GateRule("exit", "hall", None, "soft", 1500)
    assert read(text.replace('"05:30"', "05:30")).zones["hall"].reset_time == time(5, 30)


@pytest.mark.parametrize("wrong", ['"5:30"', '"24:00"', "530", '"05:30:00"'])
def test_a_reset_time_is_a_time_of_day(read, wrong):
    with pytest.raises(ConfigurationError, match="a time of day in quotes, such as `05:00`"):
        read(VENUE.replace("hall: {within: foyer,", f"hall: {{within: foyer, reset_at: {wrong},"))


def test_the_zones_as_the_entry_decision_takes_them(read):
    zones = read(VENUE).zone_map
    assert zones.path("hall") == ("hall", "foyer")
    assert zones.capacity["hall"] == 1800


def test_defaults(read):
    found = read(VENUE)
    gate = found.gates["exit"]
    assert (gate.pulse_ms, gate.passage_timeout_s, gate.held_open_s) == (700, 8.0, 20.0)
    assert (gate.on_power_loss, gate.anti_passback, gate.lock, gate.readers) == ("secure", "hard", None, ())
    assert found.limits == Limits()
    assert read("\n".join(VENUE.splitlines()[:2])).state_dir == Path("/var/lib/venue-gateway")


def test_whole_numbers_do_for_seconds(read):
    seconds = read(VENUE).gates["north"].passage_timeout_s
    assert (type(seconds), seconds) == (float, 6.0)


def test_sections_may_be_empty(read):
    found = read("\n".join(VENUE.splitlines()[:2]) + "\nzones:\ndevices:\ngates:\nclients:\nlimits:\n")
    assert (found.devices, found.gates, found.clients) == ({}, {}, {})


def test_relative_paths_start_at_the_file(read):
    broker = 'broker: {url: "mqtts://b", username: gw, password_file: secrets/mqtt, ca_file: /etc/ca.pem}'
    found = read(changed("broker: unix:///run/mqtt.sock", broker))
    assert found.state_dir == Path("/etc/venue/state")
    assert found.broker.password_file == "/etc/venue/secrets/mqtt"
    assert found.broker.ca_file == "/etc/ca.pem"


@pytest.mark.parametrize(
    ("url", "parts"),
    [
        ("unix:///run/mqtt.sock", ("/run/mqtt.sock", "", False)),
        ("mqtt://localhost", (None, "localhost", False, 1883)),
        ("mqtt://10.0.0.2:1884/", (None, "10.0.0.2", False, 1884)),
        ("mqtts://broker.local", (None, "broker.local", True, 8883)),
        ("mqtt://[fd00::1]:1883", (None, "fd00::1", False, 1883)),
    ],
)
def test_forms_of_a_broker(read, url, parts):
    for text in (f'"{url}"', f'{{url: "{url}"}}'):
        broker = read(changed("unix:///run/mqtt.sock", text)).broker
        assert (broker.socket_path, broker.host, broker.tls, broker.port)[: len(parts)] == parts


def test_a_configuration_cannot_be_changed(read):
    with pytest.raises(AttributeError):
        read(VENUE).gates["north"].pulse_ms = 1


def test_digests_tell_which_devices_changed(read):
    before = read(VENUE)
    after = read(changed("port: /dev/a", "port: /dev/b"))
    same = [name for name in before.devices if before.devices[name].digest == after.devices[name].digest]
    assert same == ["board", "paper", "drawer"]
    assert before.digest != after.digest


def test_digests_are_about_meaning_and_not_about_writing(read):
    before = read(VENUE)
    after = read(
        "# a comment\n"
        + changed("{driver: tag-reader, port: /dev/a}", "{port: /dev/a, gone_after_ms: 300, driver: tag-reader}")
    )
    assert before.devices["reader"].digest == after.devices["reader"].digest
    assert before.digest == after.digest


def test_another_driver_with_the_same_options_is_another_device(read):
    after = read(changed("driver: tag-reader", "driver: scanner"))
    assert after.devices["reader"].digest != read(VENUE).devices["reader"].digest


def test_a_drawer_changes_with_the_printer_it_hangs_on(read):
    before, after = read(VENUE), read(changed("tcp://paper:9100", "tcp://paper:9101"))
    changed_devices = {name for name in before.devices if before.devices[name].digest != after.devices[name].digest}
    assert changed_devices == {"paper", "drawer"}


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("capacity: 1800", "capacity: 1801"),
        ("passage_timeout_s: 6", "passage_timeout_s: 7"),
        ("[print, status]", "[print]"),
        ("name: Große Halle", "name: Halle"),
        ("state_dir: state", "state_dir: elsewhere"),
        ("unix:///run/mqtt.sock", "unix:///run/other.sock"),
    ],
)
def test_the_digest_of_the_whole_changes_with_every_meaning(read, before, after):
    assert read(VENUE).digest != read(changed(before, after)).digest


def test_the_order_of_verbs_means_nothing(read):
    assert read(VENUE).digest == read(changed("[print, status]", "[status, print]")).digest


def test_warnings_stop_nothing_and_name_their_place(read):
    text = changed("port: /dev/a", "port: /dev/ttyUSB0").replace("readers: [reader], ", "")
    text += "wallet: {offline: {consecutive_max: 3}}\n"
    assert read(text).warnings == (
        (
            "/etc/venue/venue.yaml:6:3: devices.reader: no gate lists this reader, so nothing happens when it reads; "
            "add it to a gate's `readers` (warning)"
        ),
        (
            "/etc/venue/venue.yaml:6:38: devices.reader.port: /dev/ttyUSB0 can be another device after a restart; "
            "its name under /dev/serial/by-id/ lasts (warning)"
        ),
        (
            "/etc/venue/venue.yaml:16:19: wallet.offline: a venue that keeps its wallets itself is never offline; "
            "these limits do nothing (warning)"
        ),
    )


def test_a_contact_that_nobody_watches_is_warned_of(read):
    (warning,) = read(changed("lock: board.2, ", "")).warnings
    assert "11:62: gates.north.passage: without a `lock` this gate opens elsewhere" in warning


def test_files_that_cannot_be_read(tmp_path, kinds):
    with pytest.raises(ConfigurationError) as caught:
        load(tmp_path / "none.yaml", kinds)
    message = (
        f"{tmp_path}/none.yaml:1:1: the file cannot be read: No such file or directory; check the path and its rights"
    )
    assert str(caught.value) == message
    with pytest.raises(ConfigurationError, match="Is a directory"):
        load(tmp_path, kinds)
    with pytest.raises(ConfigurationError, match="cannot be read"):
        load("a\0b", kinds)


def test_a_file_is_read_from_disk(tmp_path, kinds):
    path = tmp_path / "venue.yaml"
    path.write_text(VENUE, encoding="utf-8")
    assert load(path, kinds).state_dir == tmp_path / "state"
    assert load(str(path), kinds).broker == Broker("unix:///run/mqtt.sock")


def test_a_reader_at_no_gate_is_a_till_where_clients_may_ask_for_money(read):
    text = changed("readers: [reader], ", "").replace("gateway: [replay]", "wallet: [charge]")
    assert read(text).warnings == ()


def test_the_wallets_are_the_venues_own_until_the_file_says_otherwise(read):
    policy = read(changed("gateway: [replay]", "wallet: [charge]")).wallet_policy
    assert (policy.upstream, policy.transaction_max_minor, policy.hold_timeout_ms) == (False, None, 900_000)


def test_the_risk_of_wallets_kept_upstream(read):
    limits = "{transaction_max_minor: 5000, wallet_total_max_minor: 9000, venue_total_max_minor: 500000, "
    limits += "consecutive_max: 5, directory_age_max_h: 1.5}"
    text = changed("x", "x") + f"wallet: {{authority: upstream, balance_max_minor: 15000, offline: {limits}}}\n"
    policy = read(text).wallet_policy
    assert policy.upstream
    assert (policy.balance_max_minor, policy.transaction_max_minor) == (15000, 5000)
    assert policy.wallet_total_max_minor == 9000
    assert (policy.venue_total_max_minor, policy.consecutive_max, policy.directory_age_max_ms) == (500000, 5, 5_400_000)


def test_a_venue_that_spends_what_upstream_grants_stops_a_margin_before_the_end(read):
    text = changed("x", "x") + "wallet: {authority: upstream, allowances: {ask_minor: 3000, expiry_margin_s: 90}}\n"
    configuration = read(text)
    assert configuration.wallet_policy.allowance_margin_ms == 90_000
    assert (configuration.wallet.allowances.ask_minor, configuration.wallet.allowances.low_minor) == (3000, 1000)
    plain = read(changed("x", "x") + "wallet: {authority: upstream, allowances: {}}\n")
    assert plain.wallet_policy.allowance_margin_ms == 300_000
    assert read(changed("x", "x") + "wallet: {authority: upstream}\n").wallet_policy.allowance_margin_ms is None


@pytest.mark.parametrize(
    ("wallet", "message"),
    [
        (
            "{allowances: {}}",
            (
                "16:22: wallet.allowances: a venue that keeps its wallets itself needs none; add `authority: "
                "upstream`, or leave this out"
            ),
        ),
        (
            "{authority: upstream, allowances: {low_minor: 6000}}",
            (
                "16:43: wallet.allowances.low_minor: more than `ask_minor` (5000) would be asked for without end; "
                "write at most that"
            ),
        ),
        (
            "{authority: upstream, allowances: {ask_minor: 10.5}}",
            "16:55: wallet.allowances.ask_minor: expected a whole number from 1 to 1000000000000000, found 10.5",
        ),
    ],
)
def test_allowances_that_contradict_themselves_are_refused_with_their_line(read, wallet, message):
    with pytest.raises(ConfigurationError) as caught:
        read(changed("x", "x") + f"wallet: {wallet}\n")
    assert [str(problem) for problem in caught.value.problems] == [f"/etc/venue/venue.yaml:{message}"]
