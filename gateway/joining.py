"""`venue-gateway broker apply` and `client add`: the broker's files into force, and a tablet joins by a scan."""

from __future__ import annotations

import datetime as dt
import io
import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

import qrcode
from ruamel.yaml import YAML

from gateway.config.loading import ConfigurationError, load, loads
from gateway.config.schema import Configuration
from gateway.devices.registry import kinds
from gateway.mqtt.authority import HANDED_OVER, Certificates, due, ensure_certificates, hand_over, names_of, own_names
from gateway.mqtt.broker_files import BrokerFiles, Listener, write_broker_files
from gateway.store.owners import own_like_folder

OK, REFUSED = 0, 1
QR_VERSION = 1
SYSTEMD_RUNS = Path("/run/systemd/system")
RELOAD_TIMEOUT_S = 60
FIRST_LISTENERS = (("", 8883), ("", 8884))
"""TLS, and WebSockets inside TLS, of a venue whose broker was never told anything else."""


def apply_broker(
    configuration: Configuration,
    folder: Path,
    *,
    tls: tuple[str, int] | None = None,
    websockets: tuple[str, int] | None = None,
    names: Sequence[str] = (),
    user: str = "",
    pid: int | None = None,
) -> int:
    """Bring the broker's files into force and tell it; returns the exit status.

    Clients come by TLS at `tls` and by WebSockets inside TLS at `websockets`, each (host, port); the gateway by its
    Unix socket. `names` are those on the broker's certificate. What is not given stays as it is, so that a timer may
    renew certificates; at first it is this computer's names and every address, at ports 8883 and 8884.
    Grants and passwords are taken by SIGHUP, so that clients stay connected; other listeners and new certificates need
    a restart, because Mosquitto's WebSockets show what they read at their start. `pid` is the broker's process where
    systemd does not run it.
    """
    before = _text(folder / "mosquitto.conf")
    present = _listeners(folder / "mosquitto.conf") or FIRST_LISTENERS
    tls, websockets, user = tls or present[0], websockets or present[1], user or _user_of(folder)
    try:
        certificates, files = _write(configuration, folder, tls, websockets, names, user)
        page = _console_names(configuration, certificates.names)
        renewed = hand_over(folder, configuration.state_dir, page, dt.datetime.now(dt.UTC))
    except OSError as error:
        return _complain(f"{error.filename or folder}: {error.strerror}; run this as root")
    except (ValueError, TypeError) as error:
        return _complain(f"{folder}: its certificates cannot be used: {error}")
    print(f"{files.configuration}: TLS at {_place(tls)}, WebSockets at {_place(websockets)}, no anonymous access")
    print(f"{certificates.broker}: for {', '.join(certificates.names)}; authority {certificates.fingerprint}")
    console = configuration.state_dir / HANDED_OVER / "console.crt"
    print(f"{console}: for the console at {', '.join(page)}")
    told = certificates.names[0]
    if configuration.console is not None and told not in configuration.console.reached_by:
        print(f"The tablets' page reaches the broker at {told} only once that stands under `console: hosts:`.")
    status = _tell_gateway() if renewed and _shows(configuration, console) else OK
    if not (files.changed or certificates.changed):
        print("Nothing has changed; the broker is left alone.")
        return status
    restart = before != _text(files.configuration) or certificates.changed
    return _tell_broker(files.configuration, restart=restart, pid=pid) or status


def is_due(configuration: Configuration, folder: Path) -> bool:
    """Say whether `apply_broker` has a certificate to renew; what cannot be read is its to complain about."""
    try:
        return due(folder, configuration.state_dir, dt.datetime.now(dt.UTC))
    except (OSError, ValueError):
        return True


def _write(
    configuration: Configuration,
    folder: Path,
    tls: tuple[str, int],
    websockets: tuple[str, int],
    names: Sequence[str],
    user: str,
) -> tuple[Certificates, BrokerFiles]:
    folder.mkdir(mode=0o750, parents=True, exist_ok=True)
    broker = folder / "broker.crt"
    wanted = list(names) or (names_of(broker) if broker.exists() else own_names())
    page = _console_names(configuration, wanted)
    certificates = ensure_certificates(folder, configuration.venue.id, wanted, dt.datetime.now(dt.UTC), page)
    paths = (str(certificates.broker), str(certificates.broker_key))
    files = write_broker_files(
        configuration,
        folder,
        listener=Listener(tls[1], tls[0], *paths),
        further=[Listener(websockets[1], websockets[0], *paths, websockets=True)],
        user=user,
    )
    return certificates, files


def _console_names(configuration: Configuration, broker: Sequence[str]) -> list[str]:
    """Return how browsers reach the console: as clients reach the broker, and as its own section says."""
    console = configuration.console
    return list(dict.fromkeys([*broker, *(sorted(console.reached_by) if console is not None else ())]))


def _shows(configuration: Configuration, certificate: Path) -> bool:
    console = configuration.console
    return console is not None and console.certificate_file == str(certificate)


def _tell_gateway() -> int:
    if not SYSTEMD_RUNS.exists():
        print("The console's certificate is new: send the gateway SIGHUP.")
        return OK
    return _systemctl("try-reload-or-restart", "venue-gateway.service")


def _tell_broker(conf: Path, *, restart: bool, pid: int | None) -> int:
    if pid is not None:
        if restart:
            print("Listeners and certificates are taken at the broker's start only. Restart it:")
            print(f"  kill {pid}; mosquitto -c {conf}")
        else:
            os.kill(pid, signal.SIGHUP)
            print("The broker has read its files again; nobody was disconnected.")
        return OK
    if not SYSTEMD_RUNS.exists():
        what = f"start it anew: mosquitto -c {conf}" if restart else "send it SIGHUP, or start it"
        print(f"No systemd runs here to tell the broker: {what}")
        return OK
    if restart:
        print("The broker restarts with its listeners and certificates; clients connect again by themselves.")
    return _systemctl("restart" if restart else "reload-or-restart", "mosquitto.service")


def _systemctl(verb: str, unit: str) -> int:
    """Run one command of the service manager; its own words follow where it fails."""
    command = [shutil.which("systemctl") or "/usr/bin/systemctl", verb, unit]
    try:
        outcome = subprocess.run(command, timeout=RELOAD_TIMEOUT_S, capture_output=True, text=True, check=False)  # noqa: S603 - fixed words
    except (OSError, subprocess.TimeoutExpired) as error:
        return _complain(f"{' '.join(command)}: {error}")
    if outcome.returncode:
        return _complain(f"{' '.join(command)}: {outcome.stderr.strip()}; look at: journalctl -u {unit}")
    print(f"{unit}: {verb} done")
    return OK


def add_client(
    config: Path, name: str, grants: Mapping[str, list[str]], folder: Path, *, png: Path | None, again: bool
) -> int:
    """Add a client to the YAML unless it is there, bring it into force, and show what its tablet scans.

    `grants` is target → verbs; `again` makes a new password, so that a lost tablet is locked out. Returns the exit
    status.
    """
    if (listeners := _listeners(folder / "mosquitto.conf")) is None:
        return _complain(f"no TLS in {folder / 'mosquitto.conf'}: run `venue-gateway broker apply` first")
    try:
        configuration = _with_client(config, name, grants)
    except ConfigurationError as error:
        for problem in error.problems:
            _complain(str(problem))
        return _complain(f"{config} stays as it was.")
    except OSError as error:
        return _complain(f"{error.filename or config}: {error.strerror}; run this as root")
    if configuration is None:
        return _complain(f"{name} is new: say what it may ask, as in --may bar-printer=print,status")
    if again:
        (configuration.state_dir / "clients" / f"{name}.password").unlink(missing_ok=True)
    status = apply_broker(configuration, folder)
    return status or _show(configuration, folder, name, listeners, png)


def _with_client(config: Path, name: str, grants: Mapping[str, list[str]]) -> Configuration | None:
    """Return the configuration with this client in it; None when it is new and nothing is granted."""
    configuration = load(config, kinds())
    known = configuration.clients.get(name)
    wanted = {target: frozenset(verbs) for target, verbs in grants.items()}
    if known is not None and (not grants or dict(known.may) == wanted):
        return configuration
    if not grants:
        return None
    # A link to where upstream may order a file stays one.
    config = config.resolve()
    yaml = YAML()
    yaml.preserve_quotes = True
    yaml.width = 120
    tree = yaml.load(config)
    if tree.get("clients") is None:
        tree["clients"] = {}
    tree["clients"][name] = {"may": {target: list(verbs) for target, verbs in grants.items()}}
    text = io.StringIO()
    yaml.dump(tree, text)
    fresh = loads(text.getvalue().encode(), config, kinds())
    draft = config.with_name(f".{config.name}.new")
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o640)
    with os.fdopen(descriptor, "w", encoding="utf-8") as stream:
        stream.write(text.getvalue())
        own_like_folder(descriptor, config.parent)
        stream.flush()
        os.fsync(descriptor)
    draft.replace(config)
    if SYSTEMD_RUNS.exists():
        _systemctl("try-reload-or-restart", "venue-gateway.service")
    return fresh


def _listeners(conf: Path) -> tuple[tuple[str, int], tuple[str, int]] | None:
    """Return where `broker apply` let the broker listen: TLS, and WebSockets."""
    found: dict[bool, tuple[str, int]] = {}
    place: tuple[str, int] | None = None
    websockets = False
    for words in (line.split() for line in _text(conf).splitlines()):
        if words[:1] == ["listener"]:
            place = (words[2] if len(words) > 2 else "", int(words[1]))
            websockets = False
        elif words == ["protocol", "websockets"]:
            websockets = True
        elif words[:1] == ["certfile"] and place is not None:
            found[websockets] = place
    return (found[False], found[True]) if len(found) == 2 else None


def _user_of(folder: Path) -> str:
    """Return whom the broker becomes, so that a tablet that joins does not change it."""
    lines = (line.split() for line in _text(folder / "mosquitto.conf").splitlines())
    return next((words[1] for words in lines if words[:1] == ["user"]), "")


def _show(
    configuration: Configuration,
    folder: Path,
    name: str,
    listeners: tuple[tuple[str, int], tuple[str, int]],
    png: Path | None,
) -> int:
    password = _text(configuration.state_dir / "clients" / f"{name}.password").strip()
    certificates = Certificates(folder / "ca.crt", folder / "broker.crt", folder / "broker.key", changed=False)
    text = invitation(configuration.venue.id, certificates, listeners, name, password)
    code = qrcode.QRCode(error_correction=qrcode.constants.ERROR_CORRECT_L, border=2)
    code.add_data(text)
    print(f"\n{name}: scan this with the tablet. It holds the password, so show it to nobody else.\n")
    code.print_ascii(out=sys.stdout, invert=True)
    print(f"address  {certificates.names[0]}:{listeners[0][1]} (TLS), wss port {listeners[1][1]}")
    print(f"CA       sha256 {certificates.fingerprint}  ({certificates.authority})")
    print(f"user     {name}\npassword {password}")
    return OK if png is None else _save(code, png)


def invitation(
    venue: str,
    certificates: Certificates,
    listeners: tuple[tuple[str, int], tuple[str, int]],
    user: str,
    password: str,
) -> str:
    """Return what the QR code holds: one JSON object with version, venue, addresses, fingerprint, user and password."""
    host = certificates.names[0]
    bracketed = f"[{host}]" if ":" in host else host
    return json.dumps(
        {
            "v": QR_VERSION,
            "venue": venue,
            "mqtts": f"{bracketed}:{listeners[0][1]}",
            "wss": f"{bracketed}:{listeners[1][1]}",
            "ca_sha256": certificates.fingerprint,
            "user": user,
            "password": password,
        },
        separators=(",", ":"),
    )


def _save(code: qrcode.QRCode, png: Path) -> int:
    try:
        descriptor = os.open(png, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except OSError as error:
        return _complain(f"{png}: {error.strerror}")
    with os.fdopen(descriptor, "wb") as stream:
        code.make_image().save(stream)
    print(f"{png}: the same as a picture; delete it once it was scanned")
    return OK


def _place(address: tuple[str, int]) -> str:
    return f"{address[0] or '*'}:{address[1]}"


def _text(file: Path) -> str:
    try:
        return file.read_text("utf-8")
    except FileNotFoundError:
        return ""


def _complain(text: str) -> int:
    print(text, file=sys.stderr)
    return REFUSED
