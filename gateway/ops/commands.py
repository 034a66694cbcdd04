"""The operator's part of the command line: `venue-gateway doctor`, `backup`, `erase`, `reconcile`, `enroll`, ….

Each command is a function of its parsed arguments that returns the exit status: 0 when all is well, 1 when something
was refused or is bad (and it said what to do).
"""

from __future__ import annotations

import argparse
import getpass
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias

from gateway.asking import whole_number
from gateway.domain.wording import counted

if TYPE_CHECKING:
    from gateway.config.schema import Configuration

OK, REFUSED = 0, 1

# argparse has no public name for what add_subparsers() returns.
Commands: TypeAlias = "argparse._SubParsersAction[argparse.ArgumentParser]"  # noqa: SLF001
ConfigOption = Callable[[argparse.ArgumentParser], None]


def add_commands(commands: Commands, config_option: ConfigOption) -> None:
    """Add the operator's commands to those of the command line; `config_option` gives each its `--config`."""
    doctor = commands.add_parser("doctor", help="look at everything that has to be right, and say what to do")
    doctor.add_argument("--json", action="store_true", help="print what was found as JSON")
    doctor.set_defaults(run=_doctor)
    config_option(doctor)
    _add_backup(commands, config_option)
    diagnostics = commands.add_parser("diagnostics", help="make a bundle for support, without secrets and guests")
    diagnostics.add_argument("file", type=Path, help="such as hall.tar.gz")
    diagnostics.add_argument("--log", type=Path, metavar="FILE", help="a log, such as `journalctl -u … > FILE` writes")
    diagnostics.set_defaults(run=_diagnostics)
    config_option(diagnostics)
    erase = commands.add_parser("erase", help="take a guest out of every file here, while the gateway is stopped")
    who = erase.add_mutually_exclusive_group(required=True)
    who.add_argument("holder", nargs="?", metavar="HOLDER", help="the guest's name in the directory")
    who.add_argument("--unseen", action="store_true", help="everybody not seen for `retention.guests_days`")
    erase.add_argument("--reason", required=True, help="stays in the journal; a number of the case, and no name")
    erase.set_defaults(run=_erase)
    config_option(erase)
    _add_reconcile(commands, config_option)
    _add_scanners(commands, config_option)
    enroll = commands.add_parser("enroll", help="make this gateway known upstream, by a key of its own")
    enroll.add_argument("url", metavar="URL", help="of upstream, as in `upstream.url`")
    enroll.add_argument("--code", required=True, help="what upstream shows for this venue, good once; - reads it")
    enroll.add_argument("--ca-file", metavar="FILE", help="the authority of upstream's own certificate")
    enroll.add_argument("--replace", action="store_true", help="also where this gateway is enrolled already")
    enroll.set_defaults(run=_enroll)
    config_option(enroll)


def _add_reconcile(commands: Commands, config_option: ConfigOption) -> None:
    reconcile = commands.add_parser("reconcile", help="report what was decided while upstream was out of reach")
    reconcile.add_argument("--sink", default="main", help="which one; `main` is upstream itself")
    reconcile.add_argument(
        "--back", type=whole_number, default=0, metavar="N", help="the Nth outage before the last one"
    )
    reconcile.add_argument("--after-seq", type=whole_number, metavar="SEQ", help="a stretch of the journal instead")
    reconcile.add_argument("--through-seq", type=whole_number, metavar="SEQ")
    reconcile.add_argument("--json", metavar="FILE", help="write the report there; - for standard output")
    reconcile.add_argument("--print", dest="printer", default="", metavar="PRINTER", help="print a receipt too")
    reconcile.add_argument("--language", choices=("de", "en"), default="en", help="of the receipt")
    reconcile.set_defaults(run=_reconcile)
    config_option(reconcile)


def _add_scanners(commands: Commands, config_option: ConfigOption) -> None:
    scanners = commands.add_parser("scanners", help="keep what scanners type from this computer's console")
    verbs = scanners.add_subparsers(metavar="VERB", required=True)
    take = verbs.add_parser("apply", help="take the configured scanners that type from the kernel's keyboards")
    take.set_defaults(run=_scanners_apply)
    config_option(take)
    release = verbs.add_parser("release", help="make them keyboards again")
    release.set_defaults(run=_scanners_release)


def _add_backup(commands: Commands, config_option: ConfigOption) -> None:
    backup = commands.add_parser("backup", help="copy the journal to a file, while the gateway runs")
    backup.add_argument("file", type=Path, help="best on another disk")
    backup.add_argument("--keys", type=Path, metavar="FILE", help="write keys and passwords to a file of their own too")
    backup.set_defaults(run=_backup)
    restore = commands.add_parser("restore", help="put such a copy in place, while the gateway is stopped")
    restore.add_argument("file", type=Path)
    restore.add_argument("--keys", type=Path, metavar="FILE", help="put keys and passwords back too")
    restore.add_argument("--replace", action="store_true", help="also where a journal is there; the old file is kept")
    restore.set_defaults(run=_restore)
    for parser in (backup, restore):
        config_option(parser)


def _doctor(options: argparse.Namespace) -> int:
    from gateway.ops.doctor import examine, report  # noqa: PLC0415

    configuration = _load(options.config)
    if configuration is None:
        return REFUSED
    examination = examine(configuration)
    for line in report(examination, as_json=options.json):
        print(line)
    return REFUSED if examination.result == "bad" else OK


def _backup(options: argparse.Namespace) -> int:
    from gateway.ops import backup  # noqa: PLC0415
    from gateway.store.errors import StorageUnavailable  # noqa: PLC0415

    configuration = _load(options.config)
    if configuration is None:
        return REFUSED
    try:
        # The keys first: what is refused there leaves no backup without them behind.
        names = backup.backup_keys(configuration, options.keys) if options.keys else []
        manifest = backup.backup(configuration, options.file, _now_ms())
    except (backup.BackupRefused, StorageUnavailable) as error:
        return _complain(f"{error}. No backup was made.")
    print(f"{options.file}: {counted(manifest.rows, 'row')}, read back and checked against the chain.")
    if names:
        print(f"{options.keys}: {counted(len(names), 'secret')}; keep it away from the other file.")
    return OK


def _restore(options: argparse.Namespace) -> int:
    from gateway.ops import backup  # noqa: PLC0415
    from gateway.store.errors import StorageUnavailable  # noqa: PLC0415

    configuration = _load(options.config)
    if configuration is None:
        return REFUSED
    try:
        if options.keys:
            # What is refused there leaves no journal in place without them.
            backup.read_keys(options.keys)
        manifest, kept = backup.restore(configuration, options.file, _now_ms(), replace=options.replace)
        if options.keys:
            backup.restore_keys(configuration, options.keys)
    except (backup.BackupRefused, StorageUnavailable) as error:
        return _complain(str(error))
    print(f"{counted(manifest.rows, 'row')} in place.{f' The journal before is kept as {kept}.' if kept else ''}")
    print("Import the directory again before the gateway starts; erase again whoever was erased since that backup.")
    return OK


def _diagnostics(options: argparse.Namespace) -> int:
    from gateway.ops.diagnostics import diagnostics  # noqa: PLC0415

    try:
        names = diagnostics(options.config, options.file, options.log)
    except PermissionError:
        raise
    except OSError as error:
        return _complain(f"{error.filename or options.file}: {error.strerror}")
    print(f"{options.file}: {', '.join(names)}. Look into it before you send it.")
    return OK


def _erase(options: argparse.Namespace) -> int:
    from gateway.ops import erasing  # noqa: PLC0415
    from gateway.store.errors import StorageUnavailable  # noqa: PLC0415

    configuration = _load(options.config)
    if configuration is None:
        return REFUSED
    try:
        if options.unseen:
            done = erasing.erase_unseen(configuration, options.reason, _now_ms())
        else:
            done = erasing.erase(configuration, options.holder, options.reason, _now_ms())
    except (erasing.EraseRefused, StorageUnavailable) as error:
        return _complain(f"{error}. Nothing was erased.")
    gone = f"{counted(done.rows, 'journal row')} and {counted(done.others, 'other')}"
    print(f"{counted(done.guests, 'guest')} erased: {gone} rewritten or gone.")
    for copy in done.copies:
        print(f"{copy} may still hold them: delete it once it is not needed.")
    print("Older backups still hold them, and so does upstream until it erases them too: see docs/security.md.")
    return OK


def _reconcile(options: argparse.Namespace) -> int:
    from gateway.ops import reconciling  # noqa: PLC0415
    from gateway.store.errors import StorageUnavailable  # noqa: PLC0415

    configuration = _load(options.config)
    if configuration is None:
        return REFUSED
    wanted = reconciling.Wanted(
        sink=options.sink, back=max(0, options.back), after_seq=options.after_seq, through_seq=options.through_seq
    )
    try:
        report = reconciling.make_report(configuration, wanted)
        if options.json == "-":
            print(reconciling.as_json(report).decode())
        else:
            for line in reconciling.as_text(report, configuration):
                print(line)
        if options.json not in {None, "-"}:
            reconciling.write(Path(options.json), report)
    except (reconciling.ReconcileRefused, StorageUnavailable) as error:
        return _complain(str(error))
    except OSError as error:
        return _complain(f"{error.filename or options.json}: {error.strerror}")
    asked = reconciling.Asked(by=getpass.getuser(), printer=options.printer, language=options.language)
    return OK if reconciling.tell(configuration, report, asked, _say) else REFUSED


def _scanners_apply(options: argparse.Namespace) -> int:
    from gateway.ops import scanners  # noqa: PLC0415

    configuration = _load(options.config)
    if configuration is None:
        return REFUSED
    found = scanners.scanners_of(configuration)
    if not found.kinds and not found.ports:
        print("No scanner is configured as `driver: wedge`, so none is taken from the kernel's keyboards.")
    return scanners.apply(found)


def _scanners_release(_: argparse.Namespace) -> int:
    from gateway.ops import scanners  # noqa: PLC0415

    return scanners.apply(scanners.Scanners())


def _enroll(options: argparse.Namespace) -> int:
    from gateway.ops import enrolling  # noqa: PLC0415

    configuration = _load(options.config)
    if configuration is None:
        return REFUSED
    # What stands on a command line can be read by whoever is on this machine.
    code = sys.stdin.readline().strip() if options.code == "-" else options.code
    wanted = enrolling.Wanted(url=options.url, code=code, ca_file=options.ca_file, replace=options.replace)
    try:
        done = enrolling.enroll(configuration, wanted)
    except enrolling.EnrolRefused as error:
        return _complain(f"{error}. Nothing is enrolled anew.")
    print(f"Known upstream as {configuration.venue.id}: {done.folder}, until {done.until:%Y-%m-%d} and renewed before.")
    print(f"Upstream's keys, pinned: {', '.join(one.id for one in done.keys)}.")
    if configuration.upstream is None or configuration.upstream.fleet is None:
        print("Add `fleet: {}` to `upstream:` in the YAML, then reload the service.")
    elif done.key_is_apart:
        print("Restart the service: it is handed its key at the start only.")
    else:
        print("Reload the service.")
    return OK


def _now_ms() -> int:
    return time.time_ns() // 1_000_000


def _say(text: str) -> None:
    # Standard output belongs to the report.
    print(text, file=sys.stderr)


def _complain(text: str) -> int:
    print(text, file=sys.stderr)
    return REFUSED


def _load(config: Path) -> Configuration | None:
    """Return the configuration of a file, or None after saying what is wrong with it."""
    from gateway.config.loading import ConfigurationError, load  # noqa: PLC0415
    from gateway.devices.registry import kinds  # noqa: PLC0415

    try:
        return load(config, kinds())
    except ConfigurationError as error:
        for problem in error.problems:
            print(problem, file=sys.stderr)
        return None
