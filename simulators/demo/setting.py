"""Where the story takes place: the venue's YAML file, its simulated devices, its guests and their tickets."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import msgspec

from simulators.venue import Description, SimulatedDevice

VENUE = "demo"
BASE = f"venue/{VENUE}"
PASSAGE_TIMEOUT_S = 2
PULSE_MS = 700
VOUCHER = "drink"

DEVICES: Description = {
    "north-reader": {"simulator": "rdm6300"},
    "north-board": {"simulator": "modbus_board"},  # its relay 1 is the lock, its input 1 the passage contact
    "south-scanner": {"simulator": "scanner"},
    "south-relay": {"simulator": "lcus"},
    "bar-printer": {"simulator": "escpos_printer", "tcp": "127.0.0.1:0"},
    "office-printer": {"simulator": "escpos_printer"},
    "bar-reader": {"simulator": "rdm6300"},  # at no gate: it waits for guests who pay or redeem
}


@dataclass(frozen=True)
class Guest:
    """Someone with a wristband (ten hex digits, EM4100) and the same ticket as a QR code. `uses` None: any number."""

    name: str
    card: str
    code: str
    uses: int | None = 1

    @property
    def holder(self) -> str:
        """The name in the directory."""
        return self.name.lower()


def _guest(number: int, name: str, uses: int | None = 1) -> Guest:
    return Guest(name, f"{0x4A00A70000 + number * 257:010X}", f"VG-{number:04d}-{name.upper()}", uses)


ADA, BEN, CLEO, DORA, EMIL = (
    _guest(number, name) for number, name in enumerate(("Ada", "Ben", "Cleo", "Dora", "Emil"))
)
COACH_PARTY = tuple(_guest(100 + number, f"Coach-{number:02d}") for number in range(1, 31))
MEMBERS = tuple(_guest(200 + number, f"Member-{number:02d}", None) for number in range(1, 41))
EVERYONE = (ADA, BEN, CLEO, DORA, EMIL, *COACH_PARTY, *MEMBERS)
STRANGER = "4AFFFFFFFF"
"""A wristband that is in no directory."""


def configuration(folder: Path, devices: Mapping[str, SimulatedDevice]) -> str:
    """Return the venue's YAML file: everything a technician would write, with the simulators' ports in it."""
    bar, office = devices["bar-printer"], devices["office-printer"]
    return f"""\
# The venue of `venue-gateway demo`.
venue: {{id: {VENUE}, name: Stadthalle Demo, timezone: Europe/Berlin, currency: EUR}}
broker: unix://{folder}/mqtt.sock
state_dir: state

zones:
  hall: {{capacity: 500}}

devices:
  north-reader: {{driver: rdm6300, port: {devices["north-reader"].link}}}
  north-board: {{driver: modbus-relay, port: {devices["north-board"].link}, relays: 8, inputs: 8}}
  south-scanner: {{driver: serial-scanner, port: {devices["south-scanner"].link}}}
  south-relay: {{driver: lcus, port: {devices["south-relay"].link}, channels: 2}}
  bar-printer: {{driver: escpos, connect: "tcp://{bar.host}:{bar.port}", profile: TM-T20II}}
  bar-drawer: {{driver: drawer-kick, printer: bar-printer, pin: 2, open_is_high: true}}
  bar-reader: {{driver: rdm6300, port: {devices["bar-reader"].link}}}
  office-printer: {{driver: escpos, connect: "serial://{office.link}?baud=19200", profile: TM-T20II}}

gates:
  north:
    to: hall
    readers: [north-reader]
    lock: north-board.1
    passage: north-board.1
    pulse_ms: {PULSE_MS}
    passage_timeout_s: {PASSAGE_TIMEOUT_S}
  south: {{to: hall, readers: [south-scanner], lock: south-relay.1, pulse_ms: {PULSE_MS}}}
  east-in: {{to: hall}}
  east-out: {{from: hall}}

clients:
  east-turnstile: {{may: {{east-in: [authenticate], east-out: [authenticate]}}}}
  bar-tablet:
    may:
      bar-printer: [print, reprint, cancel, status]
      bar-drawer: [open, status]
      wallet: [charge, refund, balance, cancel]
      entitlements: [redeem, undo, cancel, why]
  office-tablet: {{may: {{office-printer: [print, status], wallet: [top_up, balance]}}}}
  control-room: {{may: {{gateway: [replay, status], north: [status], south: [status]}}}}
"""


def directory() -> bytes:
    """Return the directory of guests and tickets as NDJSON, valid from yesterday to tomorrow."""
    return b"".join(msgspec.json.encode(row) + b"\n" for row in _rows(datetime.now(UTC)))


def _rows(now: datetime) -> Iterator[dict[str, object]]:
    day = timedelta(days=1)
    for guest in EVERYONE:
        for technology, value in (("em4100", guest.card), ("barcode", guest.code)):
            yield {
                "type": "credential",
                "technology": technology,
                "value": value,
                "holder": guest.holder,
                "state": "active",
            }
        ticket: dict[str, object] = {
            "type": "entitlement",
            "id": f"ticket-{guest.holder}",
            "holder": guest.holder,
            "zones": ["hall"],
            "valid_from": _moment(now - day),
            "valid_until": _moment(now + day),
        }
        if guest is BEN:
            yield {
                "type": "entitlement",
                "id": f"drink-{guest.holder}",
                "holder": guest.holder,
                "item": VOUCHER,
                "uses": 1,
            }
        yield ticket | ({"uses": guest.uses} if guest.uses is not None else {"reentry": True})


def _moment(moment: datetime) -> str:
    return moment.strftime("%Y-%m-%dT%H:%M:%SZ")
