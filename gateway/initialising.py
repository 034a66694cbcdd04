"""`venue-gateway init`: a few questions, a look around, and a YAML file that `check` accepts."""

from __future__ import annotations

import asyncio
import os
import re
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

import msgspec

from gateway.config.loading import ConfigurationError, loads
from gateway.config.schema import DEFAULT_STATE_DIR, NAME_PATTERN, NAME_RULE
from gateway.devices.discovered import as_yaml
from gateway.devices.discovery import Found, Roots, look_around, pcsc_readers
from gateway.devices.network import ask_addresses
from gateway.devices.registry import DRIVERS, kinds
from gateway.mqtt.authority import HANDED_OVER, own_names
from gateway.store.owners import own_like_folder

OK, REFUSED = 0, 1
PACKAGED_FILE = Path("/etc/venue-gateway/gateway.yaml")
MODE = 0o640
"""Only root and the gateway need to know what stands at a venue."""

HEAD = """\
# The whole venue. After a change: venue-gateway check {file}, then systemctl reload venue-gateway.
# Every key is explained in configuration.md; `venue-gateway drivers` lists what can stand after `driver:`.
venue: {venue}
broker: unix:///run/venue-gateway/mqtt.sock

# What was found here. Correct the names, and what is only likely; lines that begin with # are guesses.
"""
TAIL = """\

# zones:
#   hall: {capacity: 500}
# gates:
#   door: {to: hall, readers: [READER], lock: BOARD.1}
"""

CONSOLE = """
# The tablets' page and the console; `broker apply` makes the certificate. Browsers reach it by these hosts.
console:
  listen: "0.0.0.0:{port}"
  hosts: {hosts}
  certificate_file: {certificate}
  private_key_file: {key}
"""
CONSOLE_PORT = 8443


class Answers(msgspec.Struct, frozen=True):
    """What was given as flags; None is asked for."""

    venue: str | None = None
    name: str | None = None
    timezone: str | None = None
    currency: str | None = None
    tablets: tuple[str, ...] = ()
    addresses: tuple[str, ...] = ()
    discover: bool = True
    state_dir: str | None = None


def initialise(
    file: Path,
    given: Answers,
    *,
    force: bool = False,
    ask: Callable[[str], str] | None = None,
    look: Callable[[Sequence[str]], list[Found]] | None = None,
) -> int:
    """Write `file` from flags, questions and what is attached; returns the exit status.

    `ask` puts a question to a person; None where there is nobody, as in a script, and then every flag must be given.
    A file that is there is kept unless `force`, and then kept beside as `FILE.before`.
    """
    if file.exists() and not force:
        return _complain(f"{file} is there already; edit it, or start over with --force")
    try:
        known = _complete(given, ask)
    except (ValueError, EOFError) as error:
        return _complain(str(error) or "the questions were not answered; nothing was written")
    finds = (look or _look)(known.addresses) if known.discover else []
    text = _text(file, known, finds)
    try:
        warnings = _write(file, text)
    except ConfigurationError as error:
        for problem in error.problems:
            _complain(str(problem))
        return _complain("Nothing was written.")
    except OSError as error:
        return _complain(f"{error.filename or file}: {error.strerror}; run this as root, or name another file")
    print("\n".join([*warnings, f"{file} is written: {len(finds)} found. Look through it, then:"]))
    print("\n".join(_next_steps(file, known, text)))
    return OK


def _next_steps(file: Path, known: Answers, text: str) -> list[str]:
    """Return the commands that make a gateway of the file, one a line; the service is for the package's own file."""
    if file != PACKAGED_FILE:
        words = (f"check {file}", f"broker apply --config {file}", f"run --config {file}")
        return [f"  venue-gateway {step}" for step in words]
    steps = [f"venue-gateway check {file}", "venue-gateway broker apply"]
    if re.search(r"^  [a-z0-9-]+: \{driver: wedge", text, re.MULTILINE):
        steps.append("venue-gateway scanners apply")
    steps.append("systemctl enable --now venue-gateway")
    if known.tablets:
        steps.append("venue-gateway console user add NAME --role technician")
    return [f"  {step}" for step in steps]


def _complete(given: Answers, ask: Callable[[str], str] | None) -> Answers:
    """Return the answers with nothing left open. Raises ValueError with what is wrong or missing."""
    venue = _answer(given.venue, "--id", "Short name of the venue, such as stadthalle", ask, _name_fault)
    timezone = _answer(given.timezone, "--timezone", f"Time zone [{system_timezone()}]", ask, default=system_timezone())
    currency = _answer(given.currency, "--currency", "Currency [EUR]", ask, _currency_fault, default="EUR").upper()
    tablets = given.tablets
    if not tablets and ask is not None:
        tablets = tuple(ask("Names of the tablets, if any, such as bar-tablet door-tablet: ").split())
    for one in tablets:
        if fault := _name_fault(one):
            raise ValueError(f"--tablet {one}: {fault}")
    return msgspec.structs.replace(given, venue=venue, timezone=timezone, currency=currency, tablets=tablets)


def _answer(
    given: str | None,
    flag: str,
    question: str,
    ask: Callable[[str], str] | None,
    fault_of: Callable[[str], str] = lambda _: "",
    default: str = "",
) -> str:
    """Return what was given, or ask until it is right. Raises ValueError for a wrong flag, or with nobody to ask."""
    if given is not None or ask is None:
        answer = given if given is not None else default
        if not answer:
            raise ValueError(f"{flag} is missing, and there is nobody to ask: {question}")
        if fault := fault_of(answer):
            raise ValueError(f"{flag} {answer}: {fault}")
        return answer
    while True:
        answer = ask(f"{question}: ").strip() or default
        if answer and not (fault := fault_of(answer)):
            return answer
        print(f"  {fault if answer else 'an answer is needed here'}", file=sys.stderr)


def _name_fault(text: str) -> str:
    return "" if re.fullmatch(NAME_PATTERN, text) else f"a name has {NAME_RULE}"


def _currency_fault(text: str) -> str:
    return "" if re.fullmatch("[A-Za-z]{3}", text) else "expected the three letters of ISO 4217, such as EUR"


def system_timezone(link: Path = Path("/etc/localtime")) -> str:
    """Return this computer's time zone by the name of its file, or UTC."""
    _, _, name = os.path.realpath(link).partition("zoneinfo/")
    return name or "UTC"


def _look(addresses: Sequence[str]) -> list[Found]:
    return [*look_around(Roots()), *pcsc_readers(), *asyncio.run(ask_addresses(list(addresses)))]


def _text(file: Path, known: Answers, finds: Sequence[Found]) -> str:
    venue = {"id": known.venue, "timezone": known.timezone, "currency": known.currency}
    if known.name:
        venue["name"] = known.name
    # JSON is YAML; a name with a colon or a quote in it stays what it is.
    flow = "{" + ", ".join(f"{key}: {msgspec.json.encode(value).decode()}" for key, value in venue.items()) + "}"
    head = HEAD.replace("{file}", str(file)).replace("{venue}", flow)
    devices = as_yaml(finds).partition("\nbroker: ")[2].partition("\n")[2]
    state = f"\nstate_dir: {msgspec.json.encode(known.state_dir).decode()}\n" if known.state_dir else ""
    return head + devices + state + TAIL + _clients(known.tablets, devices) + _console(known)


def _console(known: Answers) -> str:
    """Return the page for tablets, where there are any: no browser gives one without encryption its camera."""
    if not known.tablets:
        return ""
    tls = f"{known.state_dir or DEFAULT_STATE_DIR}/{HANDED_OVER}"
    marks = {"port": CONSOLE_PORT, "hosts": own_names()}
    marks |= {"certificate": f"{tls}/console.crt", "key": f"{tls}/console.key"}
    return CONSOLE.format_map({name: msgspec.json.encode(value).decode() for name, value in marks.items()})


def _clients(tablets: Sequence[str], devices: str) -> str:
    """Return the clients: each tablet may use every printer and drawer that is certain or likely, and nothing else."""
    if not tablets:
        return ""
    named = re.findall(r"^  ([a-z0-9-]+): \{driver: ([a-z0-9-]+)", devices, re.MULTILINE)
    verbs = {"printer": "[print, reprint, status]", "drawer": "[open, status]"}
    kinds_of = {name: DRIVERS[driver].kind for name, driver in named}
    may = [f"{name}: {verbs[kind]}" for name, kind in kinds_of.items() if kind in verbs]
    grants = ", ".join(may or ["gateway: [status]"])
    return "\nclients:\n" + "".join(f"  {name}: {{may: {{{grants}}}}}\n" for name in dict.fromkeys(tablets))


def _write(file: Path, text: str) -> list[str]:
    """Write by rename once `check` accepts it; returns its warnings. Raises ConfigurationError and OSError."""
    configuration = loads(text.encode(), file, kinds())
    file.parent.mkdir(parents=True, exist_ok=True)
    draft = file.with_name(f".{file.name}.new")
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, MODE)
    try:
        with os.fdopen(descriptor, "w", encoding="utf-8") as stream:
            stream.write(text)
            own_like_folder(descriptor, file.parent)
            stream.flush()
            os.fsync(descriptor)
        if file.exists():
            file.replace(file.with_name(f"{file.name}.before"))
        draft.replace(file)
    finally:
        draft.unlink(missing_ok=True)
    return [str(warning) for warning in configuration.warnings]


def _complain(text: str) -> int:
    print(text, file=sys.stderr)
    return REFUSED
