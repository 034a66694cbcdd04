"""The YAML file → one frozen `Configuration`, or every problem in it at once."""

from __future__ import annotations

from collections.abc import Mapping as Kinds
from pathlib import Path
from typing import Any

import msgspec

from gateway.config import bus_checks, checks
from gateway.config.board_checks import BoardDrafts, check_boards, shares_passage
from gateway.config.boards import InputEntry, InterlockEntry, OutputEntry
from gateway.config.checks import Draft
from gateway.config.console import read_console
from gateway.config.devices import DeviceDraft, fingerprint, named_entries, read_devices
from gateway.config.drawers import check_drawer_relays
from gateway.config.entries import ClientEntry, GateEntry
from gateway.config.feedback import Feedback, read_feedback
from gateway.config.json_schema import json_schema
from gateway.config.operations import read_metrics, read_retention
from gateway.config.problems import ConfigurationError, Problem, Problems, UnreadableError
from gateway.config.reading import found, read_struct, refuse_unknown, struct_type
from gateway.config.schema import (
    RESERVED_NAMES,
    Authenticity,
    Client,
    Clock,
    Configuration,
    Device,
    DriverKind,
    Gate,
    Limits,
    Till,
    Zone,
)
from gateway.config.tills import check_tills
from gateway.config.tree import MAX_BYTES, START, Broken, Entry, Mapping, Node, decode, parse
from gateway.config.upstream import read_upstream
from gateway.config.venue import (
    URL_FORMS,
    read_authenticity,
    read_broker,
    read_clock,
    read_limits,
    read_state_dir,
    read_venue,
    read_wallet,
)
from gateway.config.wallet import Wallet

__all__ = ["ConfigurationError", "Problem", "json_schema", "load", "loads"]

SECTIONS = (
    "venue",
    "broker",
    "state_dir",
    "zones",
    "devices",
    "gates",
    "clients",
    "limits",
    "wallet",
    "feedback",
    "tills",
    "clock",
    "authenticity",
    "console",
    "upstream",
    "metrics",
    "retention",
)
BOARD_SECTIONS = ("interlocks", "inputs", "outputs")
_MISSING = {
    "venue": "this key is missing; add `venue: {id: …, timezone: …, currency: …}`",
    "broker": f"this key is missing; it takes {URL_FORMS}",
}


def load(path: Path | str, kinds: Kinds[str, DriverKind]) -> Configuration:
    """Read the file at `path`. `kinds` are the drivers there are, by the word after `driver:`.

    Raises ConfigurationError with all problems, in the order of the file; a file that cannot be opened is one too.
    """
    path = Path(path)
    try:
        with path.open("rb") as file:
            data = file.read(MAX_BYTES + 1)
    except (OSError, ValueError) as error:
        why = getattr(error, "strerror", None) or str(error)
        message = f"the file cannot be read: {why}; check the path and its rights"
        raise ConfigurationError([Problem(str(path), *START, "", message)]) from None
    return loads(data, path, kinds)


def loads(data: bytes, path: Path | str, kinds: Kinds[str, DriverKind]) -> Configuration:
    """Read `data` as `load` reads a file; `path` is its name in messages and the start of relative paths."""
    problems = Problems(str(path))
    try:
        root = parse(decode(data, problems), problems)
        configuration = _read(root, Path(path).absolute().parent, kinds, problems)
    except UnreadableError:
        configuration = None
    if configuration is None or len(problems):
        raise ConfigurationError(problems.sorted())
    return msgspec.structs.replace(configuration, warnings=problems.warnings())


def _read(root: Node, base: Path, kinds: Kinds[str, DriverKind], problems: Problems) -> Configuration | None:
    if not isinstance(root, Mapping):
        if not isinstance(root, Broken):
            problems.add(root.mark, "", f"expected `venue:`, `broker:`, `devices:` and so on, found {found(root)}")
        return None
    refuse_unknown(root, (*SECTIONS, *BOARD_SECTIONS), "", problems)
    for key, message in _MISSING.items():
        if key not in root.entries:
            problems.add(START, key, message)
    section = root.entries.get
    venue = read_venue(section("venue"), problems)
    broker = read_broker(section("broker"), base, problems)
    state_dir = read_state_dir(section("state_dir"), base, problems)
    limits = read_limits(section("limits"), problems)
    wallet = read_wallet(section("wallet"), problems)
    upstream = read_upstream(section("upstream"), base, problems)
    clock = read_clock(section("clock"), problems)
    authenticity = read_authenticity(section("authenticity"), problems)
    metrics = read_metrics(section("metrics"), problems)
    retention = read_retention(section("retention"), problems)
    devices = read_devices(section("devices"), kinds, problems)
    zones = _drafts(section("zones"), "zones", Zone, problems)
    gates = _drafts(section("gates"), "gates", GateEntry, problems, reserved=RESERVED_NAMES)
    clients = _drafts(section("clients"), "clients", ClientEntry, problems, reserved=("gateway",))
    tills = _drafts(section("tills"), "tills", Till, problems, reserved=RESERVED_NAMES)
    boards = BoardDrafts(
        _drafts(section("interlocks"), "interlocks", InterlockEntry, problems),
        _drafts(section("inputs"), "inputs", InputEntry, problems),
        _drafts(section("outputs"), "outputs", OutputEntry, problems),
    )
    _check(devices, zones, gates, clients, boards, problems)
    readers = [name for name, device in devices.items() if device.kind in {"reader", "scanner", None}]
    console = read_console(section("console"), base, problems)
    feedback = read_feedback(section("feedback"), (*readers, *clients), problems)
    check_tills(tills, devices, gates, clients, problems)
    checks.check_clients(clients, devices, gates, problems, tills)
    checks.check_broker_user(section("broker"), clients, problems)
    checks.check_broker_devices(clients, devices, problems)
    if len(problems) or venue is None or broker is None:
        return None
    configuration = Configuration(
        venue=venue,
        broker=broker,
        state_dir=state_dir,
        zones={name: msgspec.convert(draft.values, Zone) for name, draft in zones.items()},
        devices={name: draft.device(devices) for name, draft in devices.items()},
        gates={name: _gate(draft) for name, draft in gates.items()},
        clients={name: _client(draft) for name, draft in clients.items()},
        limits=limits or Limits(),
        wallet=wallet or Wallet(),
        authenticity=authenticity or Authenticity(),
        boards=boards.boards(),
        feedback=feedback or Feedback(),
        console=console,
        upstream=upstream,
        metrics=metrics,
        retention=retention,
        tills={name: msgspec.convert(draft.values, Till) for name, draft in tills.items()},
        clock=clock or Clock(),
    )
    return msgspec.structs.replace(configuration, digest=_digest(configuration))


def _drafts(
    section: Entry | None, path: str, kind: type[msgspec.Struct], problems: Problems, reserved: tuple[str, ...] = ()
) -> dict[str, Draft]:
    """Return the entries of a section as far as they are right, by name."""
    fields = struct_type(kind)
    drafts = {}
    for name, entry in named_entries(section, path, problems, reserved):
        values = read_struct(entry.node, fields, f"{path}.{name}", problems, at=entry.key_mark)
        drafts[name] = Draft(name, entry.key_mark, entry.node, values)
    return drafts


def _check(
    devices: dict[str, DeviceDraft],
    zones: dict[str, Draft],
    gates: dict[str, Draft],
    clients: dict[str, Draft],
    boards: BoardDrafts,
    problems: Problems,
) -> None:
    def may_share(first: str, second: str) -> bool:
        return shares_passage(first, second, boards.interlocks)

    checks.check_ports(devices, problems)
    checks.check_drawers(devices, problems)
    bus_checks.check_buses(devices, problems)
    bus_checks.check_inputs(devices, problems)
    checks.check_names(devices, gates, problems)
    checks.check_zones(zones, problems)
    checks.check_gates(gates, zones, devices, clients, problems, may_share)
    check_boards(boards, gates, zones, devices, problems)
    check_drawer_relays(devices, gates, problems)


def _gate(draft: Draft) -> Gate:
    """Return the gate; the driver's contact names become board and channel."""
    entry = msgspec.convert(draft.values, GateEntry)
    shared: dict[str, Any] = {name: getattr(entry, name) for name in GateEntry.__struct_fields__}
    for key in ("lock", "passage"):
        shared[key] = checks.parse_contact(shared[key]) if shared[key] else None
    return Gate(name=draft.name, **shared)


def _client(draft: Draft) -> Client:
    may = msgspec.convert(draft.values, ClientEntry).may or {}
    return Client(draft.name, {target: frozenset(verbs) for target, verbs in may.items()})


def _digest(configuration: Configuration) -> str:
    devices: dict[str, Device] = dict(configuration.devices)
    parts = {name: getattr(configuration, name) for name in (*SECTIONS, "boards")}
    return fingerprint(parts | {"devices": {name: device.digest for name, device in devices.items()}})
