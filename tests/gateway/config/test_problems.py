"""Each kind of mistake: where it is said to be, what is said, and that nothing else is said."""

from __future__ import annotations

import pytest

HEAD = """\
venue: {id: hall, timezone: Europe/Berlin, currency: EUR}
broker: unix:///run/mqtt.sock
"""
# Its first line is line 3 of the file; what a case adds begins at line 12.
VENUE = """\
zones: {foyer: {}, hall: {within: foyer}}
devices:
  reader: {driver: tag-reader, port: /dev/a}
  scan: {driver: scanner, port: /dev/b}
  relay: {driver: relay, port: /dev/c}
  board: {driver: board, port: /dev/d}
  paper: {driver: receipts, connect: tcp://paper:9100}
  drawer: {driver: kick, printer: paper}
gates: {north: {from: foyer, to: hall, readers: [reader], lock: relay.1}}
"""
VERBS = "`print`, `print_raw`, `reprint`, `cancel`, `status`"
FORMS = "unix:///path/of/socket, mqtt://host:port or mqtts://host:port"
CONTACT = "a board's name, a dot and a channel from 1, such as `north-relay.1`"
NAME = "lower-case letters, digits and hyphens, at most 63, the first no hyphen"
SECRET = (
    "secrets do not stand in this file; the broker's password goes into a file of its own (mode 0600): "
    "`broker: {url: …, username: …, password_file: FILE}`"
)
HOST = "this cannot be a host name: between its dots stand 1 to 63 characters each; correct the spelling"
LOGIN = "a login stands in the URL; write `broker: {url: …, username: …, password_file: FILE}` instead"


def test_what_the_cases_start_from_is_right(problems):
    assert problems(HEAD) == []
    assert problems(HEAD + VENUE) == []


VENUE_CASES = {
    "unknown key": (
        "{id: a, timezone: UTC, currency: EUR, nmae: x}",
        "1:46: venue.nmae: unknown key; did you mean `name`?",
    ),
    "unlike any key": (
        "{id: a, timezone: UTC, currency: EUR, zzz: x}",
        "1:46: venue.zzz: unknown key; there is `id`, `timezone`, `currency`, `name`",
    ),
    "missing key": (
        "{id: a, timezone: UTC}",
        (
            "1:1: venue.currency: this key is missing; it takes the three capital letters of ISO 4217, such "
            "as EUR, CHF or GBP"
        ),
    ),
    "no mapping": ("hall", '1:8: venue: expected `key: value` lines, found "hall"'),
    "name": ("{id: My Hall, timezone: UTC, currency: EUR}", f'1:13: venue.id: expected {NAME}, found "My Hall"'),
    "number for text": (
        "{id: 2024, timezone: UTC, currency: EUR}",
        f'1:13: venue.id: expected {NAME}, found 2024; put it in quotes: "2024"',
    ),
    "nothing for text": ("{id: , timezone: UTC, currency: EUR}", f"1:9: venue.id: expected {NAME}, found nothing"),
    "list for text": ("{id: [a], timezone: UTC, currency: EUR}", f"1:13: venue.id: expected {NAME}, found a list"),
    "time zone": (
        "{id: a, timezone: Europe/Berln, currency: EUR}",
        (
            '1:26: venue.timezone: no time zone is called "Europe/Berln"; did you mean `Europe/Berlin`, '
            "`Europe/Dublin`, `Europe/Belfast`?"
        ),
    ),
    "city only": (
        "{id: a, timezone: berlin, currency: EUR}",
        '1:26: venue.timezone: no time zone is called "berlin"; did you mean `Europe/Berlin`?',
    ),
    "no such place": (
        "{id: a, timezone: Atlantis/Qqqqqq, currency: EUR}",
        '1:26: venue.timezone: no time zone is called "Atlantis/Qqqqqq"; write Area/City, such as `Europe/Berlin`',
    ),
    "path as time zone": (
        "{id: a, timezone: ../../etc/passwd, currency: EUR}",
        '1:26: venue.timezone: no time zone is called "../../etc/passwd"; write Area/City, such as `Europe/Berlin`',
    ),
    "currency": (
        "{id: a, timezone: UTC, currency: euro}",
        '1:41: venue.currency: expected the three capital letters of ISO 4217, such as EUR, CHF or GBP, found "euro"',
    ),
}


@pytest.mark.parametrize("case", VENUE_CASES)
def test_venue(problems, case):
    text, problem = VENUE_CASES[case]
    assert problems(f"venue: {text}\nbroker: unix:///run/mqtt.sock\n") == [problem]


BROKER_CASES = {
    "unknown scheme": ("http://localhost:1883", f"2:9: broker: expected {FORMS}"),
    "no scheme": ("localhost:1883", f"2:9: broker: expected {FORMS}"),
    "two slashes": (
        "unix://run/mqtt.sock",
        "2:9: broker: a socket's path follows three slashes: unix:///run/venue-gateway/mqtt.sock",
    ),
    "no path": ("unix:///", "2:9: broker: a socket's path follows three slashes: unix:///run/venue-gateway/mqtt.sock"),
    "path too long": (
        "unix:///" + "x" * 107,
        "2:9: broker: the socket's path is longer than 107 bytes, which Linux cannot open; use a shorter one",
    ),
    "no host": ("mqtt://:1883", f"2:9: broker: expected {FORMS}"),
    "port too high": (
        "mqtt://localhost:70000",
        f"2:9: broker: host or port cannot be right; expected {FORMS}, with a port from 1 to 65535",
    ),
    "host with an empty label": ("mqtt://broker..local", f"2:9: broker: {HOST}"),
    "host with a long label": (f"mqtts://{'x' * 64}.local:8883", f"2:9: broker: {HOST}"),
    "port 0": ("mqtt://localhost:0", "2:9: broker: the port must be from 1 to 65535"),
    "topic behind it": ("mqtt://localhost/venue", f"2:9: broker: expected {FORMS}"),
    "options behind it": ("mqtt://localhost?x=1", f"2:9: broker: expected {FORMS} and nothing more"),
    "login": ("mqtt://me:hunter2@localhost", f"2:9: broker: {LOGIN}"),
    "number": ("1883", f"2:9: broker: expected {FORMS}, found 1883"),
    "list": ("[mqtt://localhost]", f"2:9: broker: expected {FORMS}, found a list"),
    "no url": ("{username: me}", "2:1: broker.url: this key is missing; it takes text"),
    "login in the mapping's url": ("{url: 'mqtt://me@localhost'}", f"2:15: broker.url: {LOGIN}"),
    "unknown key": ("{url: 'mqtt://localhost', user: me}", "2:35: broker.user: unknown key; did you mean `username`?"),
    "password": ("{url: 'mqtt://localhost', username: me, password: hunter2}", f"2:49: broker.password: {SECRET}"),
    "password without user": (
        "{url: 'mqtt://localhost', password_file: pw}",
        "2:50: broker.password_file: a password needs its user: add `username: …`",
    ),
    "certificate without TLS": (
        "{url: 'mqtt://localhost', ca_file: ca.pem}",
        "2:44: broker.ca_file: only mqtts:// checks a certificate; change the URL or leave this out",
    ),
}


@pytest.mark.parametrize("case", BROKER_CASES)
def test_broker(problems, case):
    text, problem = BROKER_CASES[case]
    assert problems(f"venue: {{id: a, timezone: UTC, currency: EUR}}\nbroker: {text}\n") == [problem]


def test_the_gateways_own_user_is_no_clients(problems):
    text = """\
venue: {id: hall, timezone: Europe/Berlin, currency: EUR}
broker: {url: 'mqtt://localhost', username: bar-tablet, password_file: pw}
clients: {bar-tablet: {may: {gateway: [status]}}}
"""
    message = "a client is called `bar-tablet` too; give the gateway a user of its own, such as `venue-gateway`"
    assert problems(text) == [f"2:45: broker.username: {message}"]
    assert problems(text.replace("username: bar-tablet", "username: venue-gateway")) == []


def test_a_file_needs_a_venue_and_a_broker(problems):
    assert problems("zones: {}\n") == [
        "1:1: venue: this key is missing; add `venue: {id: …, timezone: …, currency: …}`",
        f"1:1: broker: this key is missing; it takes {FORMS}",
    ]


TOP_CASES = {
    "unknown section": ("device: {}\n", "3:1: device: unknown key; did you mean `devices`?"),
    "token": ("token: hunter2\n", f"3:1: token: {SECRET}"),
    "api key": ("api-key: hunter2\n", f"3:1: api-key: {SECRET}"),
    "upstream secret": ("upstream_secret: hunter2\n", f"3:1: upstream_secret: {SECRET}"),
    "state_dir at home": (
        "state_dir: ~/state\n",
        (
            "3:12: state_dir: expected a plain path without `~`, such as `/var/lib/venue-gateway`; the "
            "daemon has no home folder"
        ),
    ),
    "state_dir a number": (
        "state_dir: 7\n",
        "3:12: state_dir: expected the path of a folder, such as `/var/lib/venue-gateway`, found 7",
    ),
    "limit out of range": (
        "limits: {print_queue_jobs: 0}\n",
        "3:28: limits.print_queue_jobs: expected a whole number from 1 to 1000, found 0",
    ),
    "limit not whole": (
        "limits: {print_queue_jobs: 1.5}\n",
        "3:28: limits.print_queue_jobs: expected a whole number from 1 to 1000, found 1.5",
    ),
    "limit in quotes": (
        'limits: {print_queue_jobs: "50"}\n',
        '3:28: limits.print_queue_jobs: expected a whole number from 1 to 1000, found "50"; write it without quotes',
    ),
    "not a number": (
        "limits: {print_hold_s: .nan}\n",
        '3:24: limits.print_hold_s: expected a number from 1 to 86400, found ".nan"',
    ),
    "true is no number": (
        "limits: {print_hold_s: true}\n",
        "3:24: limits.print_hold_s: expected a number from 1 to 86400, found true",
    ),
    "sections are no lists": (
        "zones: [foyer]\n",
        "3:8: zones: expected entries of the form `name: {…}`, found a list",
    ),
}


@pytest.mark.parametrize("case", TOP_CASES)
def test_sections(problems, case):
    text, problem = TOP_CASES[case]
    assert problems(HEAD + text) == [problem]


ZONE_CASES = {
    "unknown zone": (
        "{hall: {within: foyr}, foyer: {}}",
        '3:24: zones.hall.within: no zone is called "foyr"; did you mean `foyer`?',
    ),
    "circle": (
        "{a: {within: c}, b: {within: a}, c: {within: b}}",
        "3:21: zones.a.within: a → c → b → a is a circle; leave `within` out of the outermost zone",
    ),
    "itself": ("{a: {within: a}}", "3:21: zones.a.within: a → a is a circle; leave `within` out of the outermost zone"),
    "capacity": ("{a: {capacity: 0}}", "3:23: zones.a.capacity: expected a whole number from 1 to 1000000, found 0"),
    "name": ("{Hall: {}}", f'3:9: zones.Hall: "Hall" cannot be a name; write {NAME}'),
}


@pytest.mark.parametrize("case", ZONE_CASES)
def test_zones(problems, case):
    text, problem = ZONE_CASES[case]
    assert problems(f"{HEAD}zones: {text}\n") == [problem]


def test_a_zone_that_leads_into_a_circle_is_not_blamed_for_it(problems):
    text = HEAD + "zones:\n  x: {within: a}\n  a: {within: b}\n  b: {within: a}\n"
    (problem,) = problems(text)
    assert "a → b → a is a circle" in problem


DEVICE_CASES = {
    "unknown driver": (
        "{driver: tag-raeder, port: /dev/x}",
        '4:15: devices.new.driver: no driver is called "tag-raeder"; did you mean `tag-reader`?',
    ),
    "unlike any driver": (
        "{driver: 42, port: /dev/x}",
        (
            "4:15: devices.new.driver: no driver is called 42; there is `board`, `kick`, `receipts`, "
            "`relay`, `scanner`, `tag-reader`"
        ),
    ),
    "no driver": (
        "{port: /dev/x}",
        (
            "4:1: devices.new.driver: this key is missing; "
            "there is `board`, `kick`, `receipts`, `relay`, `scanner`, `tag-reader`"
        ),
    ),
    "nothing": (
        "",
        (
            "4:1: devices.new.driver: this key is missing; "
            "there is `board`, `kick`, `receipts`, `relay`, `scanner`, `tag-reader`"
        ),
    ),
    "no mapping": ("tag-reader", '4:6: devices.new: expected `{driver: …, port: …}`, found "tag-reader"'),
    "missing option": (
        "{driver: tag-reader}",
        "4:1: devices.new.port: this key is missing; it takes text such as `/dev/serial/by-id/X`",
    ),
    "unknown option": (
        "{driver: relay, port: /dev/x, chanels: 2}",
        "4:36: devices.new.chanels: unknown key; did you mean `channels`?",
    ),
    "wrong form": (
        "{driver: tag-reader, port: COM3}",
        '4:33: devices.new.port: expected text such as `/dev/serial/by-id/X`, found "COM3"',
    ),
    "out of range": (
        "{driver: tag-reader, port: /dev/x, gone_after_ms: 5}",
        "4:56: devices.new.gone_after_ms: expected a whole number from 100 to 10000, found 5",
    ),
    "yes is no boolean": (
        "{driver: tag-reader, port: /dev/x, beep: yes}",
        '4:47: devices.new.beep: expected `true` or `false`, found "yes"',
    ),
    "list of the wrong": (
        "{driver: board, port: /dev/x, idle_closed: [1, one]}",
        '4:53: devices.new.idle_closed[1]: expected a whole number, found "one"',
    ),
    "what only the driver knows": (
        "{driver: board, port: /dev/x, idle_closed: [9]}",
        "4:49: devices.new.idle_closed: only inputs 1 to 8 can be closed when idle",
    ),
    "what the driver says of a key": (
        "{driver: receipts, connect: paper}",
        "4:34: devices.new.connect: 'paper' is no address",
    ),
    "secret": ("{driver: tag-reader, port: /dev/x, password: hunter2}", f"4:41: devices.new.password: {SECRET}"),
}


@pytest.mark.parametrize("case", DEVICE_CASES)
def test_devices(problems, case):
    text, problem = DEVICE_CASES[case]
    assert problems(f"{HEAD}devices: {{\nnew: {text}\n}}\n") == [problem]


NEXT_TO = {
    "one port twice": (
        "  x: {driver: scanner, port: /dev/a}\n",
        "11:30: devices.x.port: `reader` is on this port already; each device needs its own",
    ),
    "one address twice, in other letters": (
        "  x: {driver: receipts, connect: 'tcp://PAPER:9100'}\n",
        "11:34: devices.x.connect: `paper` is on this connect already; each device needs its own",
    ),
    "one port as serial URL": (
        "  x: {driver: receipts, connect: 'serial:///dev/c?baud=9600'}\n",
        "11:34: devices.x.connect: `relay` is on this connect already; each device needs its own",
    ),
    "two drawers on a pin": (
        "  x: {driver: kick, printer: paper}\n",
        "11:3: devices.x.pin: `drawer` is on this pin already; each device needs its own",
    ),
    "drawer on no printer": (
        "  x: {driver: kick, printer: papr}\n",
        '11:30: devices.x.printer: no printer is called "papr"; did you mean `paper`?',
    ),
    "drawer on a relay": (
        "  x: {driver: kick, printer: relay}\n",
        "11:30: devices.x.printer: `relay` is a relay board, not a printer; there is `paper`",
    ),
    "name of a section of its own": (
        "  gateway: {driver: relay, port: /dev/x}\n",
        (
            "11:3: devices.gateway: the name `gateway` is reserved for the gateway's own use; choose "
            "another, such as `gateway-1`"
        ),
    ),
    "name twice": (
        "  reader: {driver: relay, port: /dev/x}\n",
        "11:3: devices.reader: this key stands in line 5 already; keep one of them",
    ),
    "name of a gate": (
        "  north: {driver: relay, port: /dev/x}\n",
        "12:9: gates.north: the name stands in line 11 under `devices:` already; every device and gate needs its own",
    ),
    "name too long": (
        f"  {'x' * 64}: {{driver: relay, port: /dev/x}}\n",
        f'11:3: devices.{"x" * 60}…: "{"x" * 60}…" cannot be a name; write {NAME}',
    ),
}


@pytest.mark.parametrize("case", NEXT_TO)
def test_devices_next_to_each_other(problems, case):
    text, problem = NEXT_TO[case]
    before, gates = VENUE.split("gates:")
    assert problems(f"{HEAD}{before}{text}gates:{gates}") == [problem]


GATE_CASES = {
    "unknown reader": (
        "{to: foyer, readers: [scam]}",
        '12:26: gates.x.readers[0]: no reader is called "scam"; did you mean `scan`?',
    ),
    "reader that is none": (
        "{to: foyer, readers: [scan, paper]}",
        "12:32: gates.x.readers[1]: `paper` is a printer, not a reader or scanner; there is `reader`, `scan`",
    ),
    "reader of another gate": (
        "{to: foyer, readers: [reader]}",
        (
            "12:26: gates.x.readers[0]: `reader` is at gate `north` already; a tap opens one gate, so each "
            "reader belongs to one"
        ),
    ),
    "reader twice": (
        "{to: foyer, readers: [scan, scan]}",
        "12:32: gates.x.readers[1]: `scan` is here already; a tap opens one gate, so each reader belongs to one",
    ),
    "readers no list": (
        "{to: foyer, readers: scan}",
        '12:25: gates.x.readers: expected a list, found "scan"; write it as a list: [scan]',
    ),
    "lock without channel": ("{to: foyer, lock: relay}", f'12:22: gates.x.lock: expected {CONTACT}, found "relay"'),
    "channel 0": ("{to: foyer, lock: relay.0}", f'12:22: gates.x.lock: expected {CONTACT}, found "relay.0"'),
    "unknown board": (
        "{to: foyer, lock: rely.2}",
        '12:22: gates.x.lock: no relay board is called "rely"; did you mean `relay`?',
    ),
    "lock on a printer": (
        "{to: foyer, lock: paper.1}",
        "12:22: gates.x.lock: `paper` is a printer, not a relay board; there is `relay`, `board`",
    ),
    "channel beyond": (
        "{to: foyer, lock: relay.3}",
        "12:22: gates.x.lock: `relay` has relays 1 to 2; correct the channel, or `channels` of the board",
    ),
    "relay beyond": (
        "{to: foyer, lock: board.9}",
        "12:22: gates.x.lock: `board` has relays 1 to 8; correct the channel, or `relays` of the board",
    ),
    "input beyond": (
        "{to: foyer, lock: board.1, passage: board.9}",
        "12:40: gates.x.passage: `board` has inputs 1 to 8; correct the channel, or `inputs` of the board",
    ),
    "no inputs": (
        "{to: foyer, lock: board.1, passage: relay.1}",
        "12:40: gates.x.passage: `relay` has no inputs; use a board with inputs, or leave `passage` out",
    ),
    "lock of another gate": (
        "{to: foyer, lock: relay.1}",
        "12:22: gates.x.lock: `relay.1` opens gate `north` already; each gate needs its own",
    ),
    "unknown zone": ("{from: foyer, to: hal}", '12:22: gates.x.to: no zone is called "hal"; did you mean `hall`?'),
    "outside": (
        "{from: outside, to: hall}",
        '12:11: gates.x.from: no zone is called "outside"; leave `from` out to mean outside',
    ),
    "from and to the same": (
        "{from: hall, to: hall}",
        "12:21: gates.x.to: the gate leads from `hall` to `hall`; name the other zone",
    ),
    "from nowhere to nowhere": (
        "{}",
        "12:1: gates.x: the gate leads from outside to outside; give it `from`, `to` or both",
    ),
    "pulse": (
        "{to: foyer, pulse_ms: 10}",
        "12:26: gates.x.pulse_ms: expected a whole number from 50 to 30000, found 10",
    ),
    "timeout": (
        "{to: foyer, passage_timeout_s: 0.5}",
        "12:35: gates.x.passage_timeout_s: expected a number from 1 to 120, found 0.5",
    ),
    "choice": (
        "{to: foyer, on_power_loss: sfae}",
        '12:31: gates.x.on_power_loss: expected one of `safe`, `secure`, found "sfae"; did you mean `safe`?',
    ),
    "unknown key": ("{to: foyer, reader: [scan]}", "12:16: gates.x.reader: unknown key; did you mean `readers`?"),
    "old pulse": ("{to: foyer, pulse: 700}", "12:16: gates.x.pulse: unknown key; did you mean `pulse_ms`?"),
}


@pytest.mark.parametrize("case", GATE_CASES)
def test_gates(problems, case):
    text, problem = GATE_CASES[case]
    gates = VENUE.replace("lock: relay.1}}\n", f"lock: relay.1}},\nx: {text}}}\n")
    assert problems(HEAD + gates) == [problem]


def test_two_gates_cannot_watch_one_contact(problems):
    gates = (
        "gates:\n  a: {to: hall, lock: board.1, passage: board.1}\n  b: {to: hall, lock: board.2, passage: board.1}\n"
    )
    assert problems(HEAD + VENUE.split("gates:", maxsplit=1)[0] + gates) == [
        (
            "13:41: gates.b.passage: `board.1` tells of passages at gate `a` already; each gate needs its own, "
            "or an interlock with it"
        )
    ]


CLIENT_CASES = {
    "verb of another kind": (
        "{paper: [open]}",
        f'12:31: clients.tab.may.paper[0]: "open" is nothing to ask of a printer; a printer knows {VERBS}',
    ),
    "verb misspelt": (
        "{paper: [print, reprnt]}",
        (
            '12:38: clients.tab.may.paper[1]: "reprnt" is nothing to ask of a printer; '
            f"did you mean `reprint`? a printer knows {VERBS}"
        ),
    ),
    "verb of a drawer": (
        "{drawer: [print]}",
        '12:32: clients.tab.may.drawer[0]: "print" is nothing to ask of a drawer; a drawer knows `open`, `status`',
    ),
    "verb of a gate": (
        "{north: [open]}",
        (
            '12:31: clients.tab.may.north[0]: "open" is nothing to ask of a gate; a gate knows '
            "`authenticate`, `override`, `why`, `status`"
        ),
    ),
    "verb of the gateway": (
        "{gateway: [print]}",
        (
            '12:33: clients.tab.may.gateway[0]: "print" is nothing to ask of the gateway; the gateway knows '
            "`replay`, `status`, `lock_down`, `emergency_release`, `restore`, `block`, `unblock`, `vouch_clock`"
        ),
    ),
    "verb of the wallet": (
        "{wallet: [pay]}",
        (
            '12:32: clients.tab.may.wallet[0]: "pay" is nothing to ask of the wallet; '
            "the wallet knows `charge`, `top_up`, `refund`, `tip`, `deposit`, `hold`, `capture`, `transfer`, "
            "`close_out`, `balance`, `cancel`, `sell`"
        ),
    ),
    "unknown target": (
        "{papr: [print]}",
        '12:23: clients.tab.may.papr: no printer, drawer or gate is called "papr"; did you mean `paper`?',
    ),
    "target that answers nobody": (
        "{relay: [open]}",
        "12:23: clients.tab.may.relay: `relay` is a relay board; clients ask gates, printers, drawers and the gateway",
    ),
    "verbs no list": (
        "{paper: print}",
        '12:30: clients.tab.may.paper: expected a list, found "print"; write it as a list: [print]',
    ),
    "may no mapping": ("[print]", "12:22: clients.tab.may: expected `key: value` lines, found a list"),
}


@pytest.mark.parametrize("case", CLIENT_CASES)
def test_clients(problems, case):
    text, problem = CLIENT_CASES[case]
    assert problems(f"{HEAD}{VENUE}clients: {{tab: {{may: {text}}}}}\n") == [problem]


def test_a_client_cannot_be_called_as_the_gateway_itself(problems):
    assert problems(f"{HEAD}clients: {{gateway: {{}}}}\n") == [
        (
            "3:11: clients.gateway: the name `gateway` is reserved for the gateway's own use; choose "
            "another, such as `gateway-1`"
        )
    ]
