"""The command line of a technician's evening: `init`, `broker apply` and `client add`, and what their words may be."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from gateway.cli import Commands

REFUSED = 1
PORT_MAX = 65535
DEFAULT_CONFIG = Path("/etc/venue-gateway/gateway.yaml")
BROKER_FOLDER = Path("/etc/venue-gateway/broker")


def address(text: str) -> tuple[str, int]:
    """Return host and port of `HOST:PORT`; the host may be empty, for every address. Raises ArgumentTypeError."""
    host, _, port = text.rpartition(":")
    if not (port.isascii() and port.isdigit() and len(port) <= 5 and 1 <= int(port) <= PORT_MAX):
        raise argparse.ArgumentTypeError(f"expected HOST:PORT such as 0.0.0.0:8883, not {text!r}")
    return host, int(port)


def grant(text: str) -> tuple[str, list[str]]:
    """Return target and verbs of `TARGET=verb,verb`. Raises ArgumentTypeError."""
    target, _, verbs = text.partition("=")
    if not target or not verbs:
        raise argparse.ArgumentTypeError(f"expected TARGET=VERB,VERB such as bar-printer=print,status, not {text!r}")
    return target, verbs.split(",")


def add_commands(commands: Commands) -> None:
    """Add `client` and `init`."""
    add_client(commands)
    add_init(commands)


def add_init(commands: Commands) -> None:
    """Add `init`."""
    init = commands.add_parser("init", help="ask a few questions, look around, and write a configuration")
    init.add_argument("file", type=Path, nargs="?", default=DEFAULT_CONFIG, help=f"default {DEFAULT_CONFIG}")
    init.add_argument("--id", help="short name of the venue; part of every MQTT topic")
    init.add_argument("--name", help="its name for people")
    init.add_argument("--timezone", help="such as Europe/Berlin; default this computer's")
    init.add_argument("--currency", help="such as EUR, which is the default")
    init.add_argument("--tablet", action="append", default=[], metavar="NAME", help="a tablet that may join; repeat")
    init.add_argument(
        "--address",
        action="append",
        default=[],
        metavar="HOST[:PORT]",
        help="printer or board in the network; repeat",
    )
    init.add_argument("--state-dir", metavar="FOLDER", help="where the gateway keeps what it knows")
    init.add_argument("--no-discover", action="store_true", help="do not look for devices")
    init.add_argument("--force", action="store_true", help="start over; the file that is there is kept beside")
    init.set_defaults(run=_init)


def add_broker_apply(verbs: Commands, default_config: Path = DEFAULT_CONFIG) -> None:
    """Add `broker apply` to the verbs of `broker`."""
    apply = verbs.add_parser("apply", help="bring them into force: certificates, TLS, WebSockets")
    _folder(apply)
    apply.add_argument("--tls", type=address, metavar="HOST:PORT", help="default: as before, at first :8883")
    apply.add_argument("--websockets", type=address, metavar="HOST:PORT", help="default: as before, at first :8884")
    apply.add_argument("--name", action="append", default=[], help="host name or address tablets use; repeat")
    apply.add_argument("--user", default="", help="the system user Mosquitto runs as; default: as before, or its own")
    apply.add_argument("--only-if-due", action="store_true", help="do nothing unless a certificate is to be renewed")
    apply.add_argument("--pid", type=int, help="the broker's process, where systemd does not run it")
    apply.add_argument("--config", type=Path, default=default_config, metavar="FILE")
    apply.set_defaults(run=_apply)


def add_client(commands: Commands) -> None:
    """Add `client add`."""
    client = commands.add_parser("client", help="let a tablet in")
    verbs = client.add_subparsers(metavar="VERB", required=True)
    add = verbs.add_parser("add", help="make a tablet's password and show the QR code it scans")
    add.add_argument("name", metavar="TABLET", help="its user name at the broker")
    add.add_argument(
        "--may", type=grant, action="append", default=[], metavar="TARGET=VERB,VERB", help="what it may ask; repeat"
    )
    add.add_argument("--png", type=Path, metavar="FILE", help="write the QR code there too")
    add.add_argument("--new-password", action="store_true", help="lock out whoever has the present one")
    _folder(add)
    add.add_argument("--config", type=Path, default=DEFAULT_CONFIG, metavar="FILE")
    add.set_defaults(run=_client_add)


def _folder(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--folder", type=Path, default=BROKER_FOLDER, help=f"of the broker's files; {BROKER_FOLDER}")


def _init(options: argparse.Namespace) -> int:
    from gateway.initialising import Answers, initialise  # noqa: PLC0415

    given = Answers(
        options.id,
        options.name,
        options.timezone,
        options.currency,
        tuple(options.tablet),
        tuple(options.address),
        not options.no_discover,
        options.state_dir,
    )
    return initialise(options.file, given, force=options.force, ask=input if sys.stdin.isatty() else None)


def _apply(options: argparse.Namespace) -> int:
    from gateway.config.loading import ConfigurationError, load  # noqa: PLC0415
    from gateway.devices.registry import kinds  # noqa: PLC0415
    from gateway.joining import apply_broker, is_due  # noqa: PLC0415

    try:
        configuration = load(options.config, kinds())
    except ConfigurationError as error:
        for problem in error.problems:
            print(problem, file=sys.stderr)
        print("The broker's files stay as they were.", file=sys.stderr)
        return REFUSED
    if options.only_if_due and not is_due(configuration, options.folder):
        print("No certificate is due; everything stays as it is.")
        return 0
    return apply_broker(
        configuration,
        options.folder,
        tls=options.tls,
        websockets=options.websockets,
        names=options.name,
        user=options.user,
        pid=options.pid,
    )


def _client_add(options: argparse.Namespace) -> int:
    from gateway.joining import add_client as join  # noqa: PLC0415

    return join(
        options.config,
        options.name,
        dict(options.may),
        options.folder,
        png=options.png,
        again=options.new_password,
    )
