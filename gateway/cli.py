"""The command line: `venue-gateway run`, `check`, `directory import`, `journal verify` and the rest.

Each command is a function of its parsed arguments that returns the exit status: 0, or 1 when something was refused.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Callable
from functools import partial
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias, cast

from gateway import __version__, installing
from gateway.asking import Parser, no_room, not_permitted, whole_number
from gateway.ops.commands import add_commands as add_ops_commands
from gateway.web.user_parsers import add_parsers

if TYPE_CHECKING:
    from collections.abc import Sized

    from gateway.config.schema import Configuration

OK, REFUSED = 0, 1
DEFAULT_CONFIG = Path("/etc/venue-gateway/gateway.yaml")


def main(arguments: list[str] | None = None) -> int:
    """Run one command and return its exit status."""
    options = _parser().read(arguments)
    try:
        status: int = options.run(options)
    except KeyboardInterrupt:
        return 130
    except PermissionError as error:
        return not_permitted(error)
    except BrokenPipeError:
        # The reader of our output has seen enough, as `head` does.
        sys.stderr.close()
        return OK
    except OSError as error:
        return no_room(error)
    return status


def _parser() -> Parser:
    parser = Parser(
        prog="venue-gateway",
        description="Owns every reader, gate, receipt printer and cash drawer of one venue.",
    )
    parser.add_argument("--version", action="version", version=f"venue-gateway {__version__}")
    commands = cast("Commands", parser.add_subparsers(title="commands", metavar="COMMAND", required=True))

    run = commands.add_parser("run", help="serve the venue until told to stop (SIGHUP reloads the configuration)")
    _config_option(run)
    run.add_argument("--log-level", default="info", choices=["debug", "info", "warning", "error"])
    run.set_defaults(run=_run)

    check = commands.add_parser("check", help="say everything that is wrong with a configuration, without starting")
    check.add_argument("file", type=Path, nargs="?", help="the same as --config FILE")
    _config_option(check)
    check.set_defaults(run=_check)

    for name, prints, what in (
        ("schema", _schema, "print the JSON Schema of the configuration, for editors"),
        ("asyncapi", _document("gateway.mqtt.asyncapi"), "print the AsyncAPI document of the MQTT contract"),
        ("openapi", _document("gateway.upstream.openapi"), "print the OpenAPI document of the contract with upstream"),
        ("upstream-asyncapi", _document("gateway.upstream.asyncapi"), "print it for MQTT and JetStream"),
        ("console-openapi", _document("gateway.web.openapi"), "print the OpenAPI document of the console"),
        ("drivers", _drivers, "list the driver types, one a line"),
    ):
        commands.add_parser(name, help=what).set_defaults(run=prints)
    _add_discover(commands)
    _add_test(commands)
    _add_drawer(commands)
    _add_directory(commands)
    _add_journal(commands)
    _add_broker(commands)
    installing.add_commands(commands)
    _add_tickets(commands)
    add_ops_commands(commands, _config_option)
    list(map(_config_option, add_parsers(commands, _load_or_complain)))
    _add_clock(commands)

    demo = commands.add_parser("demo", help="a simulated venue with a story, then a live view until Ctrl-C")
    demo.add_argument("--exit", action="store_true", help="end after the story; status 0 only if all came out as told")
    demo.add_argument("--live", action="store_true", help="skip the story and begin with the live view")
    demo.add_argument("--receipts", type=Path, metavar="DIR", help="keep the receipts there; else they go in the end")
    demo.set_defaults(run=_demo)
    return parser


# argparse has no public name for what add_subparsers() returns.
Commands: TypeAlias = "argparse._SubParsersAction[argparse.ArgumentParser]"  # noqa: SLF001


def _config_option(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--config", type=Path, default=DEFAULT_CONFIG, metavar="FILE", help=f"default {DEFAULT_CONFIG}")


def _add_discover(commands: Commands) -> None:
    discover = commands.add_parser("discover", help="find what is attached and print a configuration for it")
    network = "a printer or board on the network; repeat"
    discover.add_argument("--address", action="append", default=[], metavar="HOST[:PORT]", help=network)
    discover.add_argument("--no-pcsc", action="store_true", help="do not ask pcscd for its readers")
    discover.set_defaults(run=_discover)


def _add_test(commands: Commands) -> None:
    test = commands.add_parser("test", help="try one device: beep and read, pulse, print a test page, status")
    test.add_argument("device", metavar="DEVICE", help="its name in the configuration")
    test.add_argument("--yes", action="store_true", help="allow what moves metal: a relay, a drawer")
    test.add_argument("--channel", type=int, default=1, help="which relay of a board; default 1")
    test.add_argument("--pulse-ms", type=int, default=500, help="how long a relay is closed; default 500")
    test.add_argument("--wait-s", type=float, default=10.0, help="how long a reader waits for a card; default 10")
    _config_option(test)
    test.set_defaults(run=_test)


def _add_drawer(commands: Commands) -> None:
    drawer = commands.add_parser("drawer", help="set a cash drawer up")
    verbs = drawer.add_subparsers(metavar="VERB", required=True)
    calibrate = verbs.add_parser("calibrate", help="find out what its contact says when it is open, and print the YAML")
    calibrate.add_argument("drawer", help="its name under devices:")
    _config_option(calibrate)
    calibrate.set_defaults(run=_drawer_calibrate)


def _add_directory(commands: Commands) -> None:
    directory = commands.add_parser("directory", help="the credentials and entitlements that decisions are made from")
    verbs = directory.add_subparsers(metavar="VERB", required=True)
    bring = verbs.add_parser("import", help="take a whole directory from NDJSON, all or nothing; taps go on meanwhile")
    bring.add_argument("file", type=Path)
    bring.add_argument("--empty", action="store_true", help="take a file without a credential too: nobody can come in")
    bring.add_argument("--cursor", type=whole_number, default=0, help="how many of upstream's changes are in it")
    bring.set_defaults(run=_directory_import)
    fold = verbs.add_parser("fold", help="write upstream's changes into the file; the gateway does so by itself")
    fold.set_defaults(run=_directory_fold)
    check = verbs.add_parser("check", help="say what is wrong with such a file, line by line, and change nothing")
    check.add_argument("file", type=Path)
    check.add_argument("--empty", action="store_true", help="a file without a credential is meant")
    check.set_defaults(run=_directory_check)
    for verb in (bring, fold, check):
        _config_option(verb)


def _add_journal(commands: Commands) -> None:
    journal = commands.add_parser("journal", help="what happened here: verify its chain, read it, export it")
    verbs = journal.add_subparsers(metavar="VERB", required=True)
    verify = verbs.add_parser("verify", help="check every row against the hash chain")
    verify.set_defaults(run=_journal_verify)
    tail = verbs.add_parser("tail", help="print the newest entries")
    tail.add_argument("-n", "--lines", type=whole_number, default=20)
    tail.add_argument("-f", "--follow", action="store_true", help="go on as entries come in")
    tail.set_defaults(run=_journal_tail)
    export = verbs.add_parser("export", help="print every entry as NDJSON")
    export.add_argument("--after-seq", type=whole_number, default=0)
    export.set_defaults(run=_journal_export)
    for verb in (verify, tail, export):
        _config_option(verb)


def _add_broker(commands: Commands) -> None:
    broker = commands.add_parser("broker", help="Mosquitto's files, generated from the configuration")
    verbs = broker.add_subparsers(metavar="VERB", required=True)
    installing.add_broker_apply(verbs)
    write = verbs.add_parser("write", help="write mosquitto.conf, acl and passwords into a folder")
    write.add_argument("folder", type=Path)
    write.add_argument("--user", default="", help="the system user Mosquitto runs as; its own default if left out")
    write.add_argument("--listen", default="127.0.0.1:1883", metavar="HOST:PORT", help="where tablets connect")
    _config_option(write)
    write.set_defaults(run=_broker_write)


def _add_tickets(commands: Commands) -> None:
    tickets = commands.add_parser("tickets", help="keys for signed tickets, and the tickets: see docs/authorization.md")
    verbs = tickets.add_subparsers(metavar="VERB", required=True)
    keygen = verbs.add_parser("keygen", help="make a key, and print the row by which directories know it")
    keygen.add_argument("file", type=Path, help="where the secret key goes; keep it where tickets are sold")
    keygen.add_argument("--id", required=True, help="the key's own name, such as 2026-a; it stands in each ticket")
    keygen.add_argument("--issuer", required=True, help="who sells the tickets, such as tickets-online")
    keygen.set_defaults(run=_tickets_keygen)
    sign = verbs.add_parser("sign", help="print the code of a ticket for each line of claims")
    sign.add_argument("file", type=Path, help="the file that keygen made")
    sign.add_argument("claims", type=Path, help="NDJSON, one ticket a line; - for standard input")
    sign.set_defaults(run=_tickets_sign)


def _add_clock(commands: Commands) -> None:
    clock = commands.add_parser("clock", help="who vouches for the time")
    verbs = clock.add_subparsers(metavar="VERB", required=True)
    vouch = verbs.add_parser("vouch", help="say that this machine's clock is right, where neither NTP nor upstream can")
    vouch.add_argument("--reason", default="venue-gateway clock vouch", help="how you know; it stands in the journal")
    _config_option(vouch)
    vouch.set_defaults(run=_clock_vouch)


def _complain(text: str) -> int:
    print(text, file=sys.stderr)
    return REFUSED


def _run(options: argparse.Namespace) -> int:
    # Imported here so that `check` and `--help` stay quick on a Pi.
    from gateway import app, logs  # noqa: PLC0415

    writer = logs.configure(options.log_level)
    try:
        return app.run(options.config)
    finally:
        writer.close()


def _check(options: argparse.Namespace) -> int:
    from gateway.config.loading import ConfigurationError, load  # noqa: PLC0415
    from gateway.devices.registry import kinds  # noqa: PLC0415

    file = options.file or options.config
    try:
        configuration = load(file, kinds())
    except ConfigurationError as error:
        for problem in error.problems:
            print(problem)
        return _complain(f"{_count(error.problems, 'problem')} in {file}")
    for warning in configuration.warnings:
        print(warning)
    print(
        f"{file} is right: {_count(configuration.devices, 'device')}, {_count(configuration.gates, 'gate')}, "
        f"{_count(configuration.clients, 'client')}."
    )
    return OK


def _count(things: Sized, noun: str) -> str:
    return f"{len(things)} {noun}" if len(things) == 1 else f"{len(things)} {noun}s"


def _schema(_: argparse.Namespace) -> int:
    from gateway.config.json_schema import json_schema  # noqa: PLC0415
    from gateway.devices.registry import kinds  # noqa: PLC0415

    print(json.dumps(json_schema(kinds()), indent=2, ensure_ascii=False))
    return OK


def _document(module: str) -> Callable[[argparse.Namespace], int]:
    """Return what prints the document that a module makes."""

    def prints(_: argparse.Namespace) -> int:
        print(import_module(module).document_yaml(), end="")
        return OK

    return prints


def _drivers(_: argparse.Namespace) -> int:
    from gateway.devices.registry import DRIVERS  # noqa: PLC0415

    for name, entry in sorted(DRIVERS.items(), key=lambda item: (item[1].kind, item[0])):
        print(f"{name:<16} {entry.kind:<8} {entry.summary}")
    return OK


def _discover(options: argparse.Namespace) -> int:
    import asyncio  # noqa: PLC0415

    from gateway.devices.discovered import as_yaml  # noqa: PLC0415
    from gateway.devices.discovery import Roots, look_around, pcsc_readers  # noqa: PLC0415
    from gateway.devices.network import ask_addresses  # noqa: PLC0415

    finds = look_around(Roots())
    finds += [] if options.no_pcsc else pcsc_readers()
    finds += asyncio.run(ask_addresses(options.address))
    print(as_yaml(finds), end="")
    return OK


def _test(options: argparse.Namespace) -> int:
    from gateway.trials import try_device  # noqa: PLC0415

    configuration = _load_or_complain(options.config)
    if configuration is None:
        return REFUSED
    return try_device(configuration, options.device, vars(options))


def _drawer_calibrate(options: argparse.Namespace) -> int:
    from gateway.calibrating import calibrate  # noqa: PLC0415

    configuration = _load_or_complain(options.config)
    return calibrate(options.drawer, configuration) if configuration else REFUSED


def _directory_import(options: argparse.Namespace) -> int:
    from gateway.importing import import_with_progress  # noqa: PLC0415

    configuration = _load_or_complain(options.config)
    wanted = {"allow_empty": options.empty, "cursor": options.cursor}
    return import_with_progress(options.file, configuration, **wanted) if configuration else REFUSED


def _directory_fold(options: argparse.Namespace) -> int:
    from gateway.importing import fold  # noqa: PLC0415

    configuration = _load_or_complain(options.config)
    return fold(configuration) if configuration is not None else REFUSED


def _directory_check(options: argparse.Namespace) -> int:
    from gateway.importing import check_with_progress  # noqa: PLC0415

    configuration = _load_or_complain(options.config)
    return check_with_progress(options.file, configuration, allow_empty=options.empty) if configuration else REFUSED


def _journal_verify(options: argparse.Namespace) -> int:
    from gateway.store import audit  # noqa: PLC0415

    path = _journal_path(options.config)
    return audit.verify_command(path, print) if path else REFUSED


def _journal_tail(options: argparse.Namespace) -> int:
    from gateway.store import audit  # noqa: PLC0415

    path = _journal_path(options.config)
    return (
        audit.tail_command(path, partial(print, flush=True), options.lines, follow=options.follow) if path else REFUSED
    )


def _journal_export(options: argparse.Namespace) -> int:
    from gateway.store import audit  # noqa: PLC0415

    path = _journal_path(options.config)
    return audit.export_command(path, print, options.after_seq) if path else REFUSED


def _journal_path(config: Path) -> Path | None:
    configuration = _load_or_complain(config)
    return configuration.state_dir / "journal.db" if configuration else None


def _load_or_complain(config: Path) -> Configuration | None:
    """Return the configuration of a file, or None after saying what is wrong with it."""
    from gateway.config.loading import ConfigurationError, load  # noqa: PLC0415
    from gateway.devices.registry import kinds  # noqa: PLC0415

    try:
        return load(config, kinds())
    except ConfigurationError as error:
        for problem in error.problems:
            _complain(str(problem))
        return None


def _clock_vouch(options: argparse.Namespace) -> int:
    from gateway.system_clock import vouch  # noqa: PLC0415

    configuration = _load_or_complain(options.config)
    return vouch(configuration, options.reason) if configuration else REFUSED


def _demo(options: argparse.Namespace) -> int:
    """Become the demonstration, which knows the gateway only from outside.

    A child would be killed a moment after Ctrl-C, and what it had started would be left behind.
    """
    flags = [f"--{name}" for name in ("exit", "live") if getattr(options, name)]
    receipts = ["--receipts", str(options.receipts)] if options.receipts else []
    os.execv(sys.executable, [sys.executable, "-m", "simulators.demo", *flags, *receipts])  # noqa: S606 - our own module


def _tickets_keygen(options: argparse.Namespace) -> int:
    from gateway import ticketing  # noqa: PLC0415

    return ticketing.keygen(options.file, options.id, options.issuer)


def _tickets_sign(options: argparse.Namespace) -> int:
    from gateway import ticketing  # noqa: PLC0415

    if str(options.claims) == "-":
        return ticketing.sign(options.file, sys.stdin)
    try:
        with options.claims.open(encoding="utf-8") as lines:
            return ticketing.sign(options.file, lines)
    except (OSError, UnicodeDecodeError) as error:
        return _complain(f"{options.claims}: {error}")


def _broker_write(options: argparse.Namespace) -> int:
    from gateway.mqtt.broker_command import write  # noqa: PLC0415

    configuration = _load_or_complain(options.config)
    return write(configuration, options.folder, options.listen, options.user) if configuration else REFUSED
