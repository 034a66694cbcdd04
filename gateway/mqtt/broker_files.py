"""Mosquitto's configuration, ACL and password file, made from the gateway's own configuration.

The gateway reaches the broker by a Unix socket that only its group may open, so it needs no password. Clients come by
TCP with a user name, and the ACL allows each exactly what the YAML grants it (I7): the broker enforces who asks, the
gateway enforces again what may be asked. Works with Mosquitto 2.0.11 (Debian 12) to 2.0.21 (Debian 13).
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import os
import secrets
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path

import msgspec

from drivers.api import BrokerUser
from gateway.config.schema import Client, Configuration
from gateway.mqtt.topics import Topics
from gateway.store.owners import make_folder, own_like_folder

PBKDF2_ITERATIONS = 101
"""Mosquitto's own default. The passwords are random, so that stretching adds nothing."""
SALT_BYTES = 12
PRIVATE = 0o600
GROUP_READABLE = 0o640
PACKET_BYTES_MIN = 1024 * 1024
_OTHER_SIDE = {"read": "write", "write": "read"}


class Listener(msgspec.Struct, frozen=True):
    """Where the broker listens for clients. `tls_*` are paths; without them the connection is plain.

    With `websockets` it speaks MQTT inside a WebSocket, which is how a browser reaches it.
    """

    port: int = 1883
    host: str = ""
    tls_certificate: str | None = None
    tls_key: str | None = None
    websockets: bool = False


class BrokerFiles(msgspec.Struct, frozen=True):
    """The written files. `changed` is True when the broker must be told (SIGHUP; for `configuration` a restart)."""

    configuration: Path
    acl: Path
    passwords: Path
    changed: bool


def write_broker_files(
    configuration: Configuration,
    directory: Path,
    *,
    listener: Listener | None = None,
    further: Sequence[Listener] = (),
    socket_path: str | None = None,
    user: str = "",
    new_password: Callable[[], str] = lambda: secrets.token_urlsafe(24),
) -> BrokerFiles:
    """Write `mosquitto.conf`, `mosquitto.acl` and `mosquitto.passwd` into `directory`; make new clients a password.

    Client passwords stand in `<state_dir>/clients/<name>.password` (0600), made once and kept; files of clients that
    are no longer configured are removed. `socket_path` is the broker's Unix socket, by default that of `broker.url`.
    Clients connect at `listener` and at each of the `further` ones, with the same users and grants. `user` is who
    Mosquitto becomes when started as root. Raises OSError.
    """
    directory.mkdir(parents=True, exist_ok=True)
    conf, acl, passwd = (directory / f"mosquitto.{suffix}" for suffix in ("conf", "acl", "passwd"))
    passwords = _client_passwords(configuration, new_password)
    path = socket_path or configuration.broker.socket_path
    texts = {
        conf: broker_configuration(configuration, acl, passwd, [listener or Listener(), *further], path, user),
        acl: broker_acl(configuration),
        passwd: _password_lines(passwords, _read(passwd)),
    }
    changed = [_replace(file, text, GROUP_READABLE) for file, text in texts.items()]
    return BrokerFiles(conf, acl, passwd, changed=any(changed))


def broker_configuration(
    configuration: Configuration,
    acl: Path,
    passwords: Path,
    listeners: Sequence[Listener],
    socket_path: str | None,
    user: str,
) -> str:
    """Return mosquitto.conf. Every bound is set, because the broker's own defaults are "no limit" (I9)."""
    request_bytes = configuration.limits.request_max_kb * 1024
    lines = [
        "# Written by venue-gateway from its configuration; changes are overwritten.",
        *([f"user {user}"] if user else []),
        "per_listener_settings true",
        "# Without it a QoS 1 round trip takes 44 ms: Nagle's algorithm waits for a delayed acknowledgement.",
        "set_tcp_nodelay true",
        "# The gateway publishes all that is retained at every connect, so the broker has nothing to keep on disk.",
        "persistence false",
        "# Twice what the gateway takes, so that it can answer `too_large` to what is only a little too large.",
        f"max_packet_size {max(PACKET_BYTES_MIN, 2 * request_bytes)}",
        "max_inflight_messages 200",
        "max_queued_messages 2000",
        "max_queued_bytes 8388608",
        "memory_limit 268435456",
        "max_keepalive 300",
        "queue_qos0_messages false",
        "connection_messages true",
        "log_dest stderr",
        "log_type error",
        "log_type warning",
        "log_type notice",
        "",
    ]
    if socket_path:
        lines += [
            "# The gateway's own listener: who may open the socket is the gateway. File permission is the guard.",
            f"listener 0 {socket_path}",
            "allow_anonymous true",
            "",
        ]
    for listener in listeners:
        lines += [*_client_listener(listener, acl, passwords), ""]
    return "\n".join(lines)


def _client_listener(listener: Listener, acl: Path, passwords: Path) -> Iterator[str]:
    yield f"listener {listener.port} {listener.host}".rstrip()
    if listener.websockets:
        yield "protocol websockets"
    yield "allow_anonymous false"
    yield f"password_file {passwords}"
    yield f"acl_file {acl}"
    yield "max_connections 500"
    yield "max_qos 1"
    if listener.tls_certificate and listener.tls_key:
        yield f"certfile {listener.tls_certificate}"
        yield f"keyfile {listener.tls_key}"
        yield "tls_version tlsv1.2"


def broker_acl(configuration: Configuration) -> str:
    """Return the ACL file: for each client what the YAML grants it and nothing else; nothing for anybody unnamed."""
    topics = Topics(configuration.venue.id)
    blocks = ["# Written by venue-gateway from its configuration; changes are overwritten."]
    for name, client in sorted(configuration.clients.items()):
        blocks.append("\n".join([f"user {name}", *_grants(topics, client)]))
    devices = _broker_devices(configuration)
    for name, rights in sorted(devices.items()):
        # A relay that speaks MQTT itself: its own topics and nothing of the venue's.
        blocks.append("\n".join([f"user {name}", *(f"topic {access} {topic}" for access, topic in rights)]))
    if configuration.broker.username and configuration.broker.username not in configuration.clients:
        turned = [(_OTHER_SIDE[access], topic) for rights in devices.values() for access, topic in rights]
        lines = [f"topic {access} {topic}" for access, topic in dict.fromkeys(turned)]
        blocks.append("\n".join([f"user {configuration.broker.username}", f"topic readwrite {topics.base}/#", *lines]))
    return "\n\n".join(blocks) + "\n"


def _broker_devices(configuration: Configuration) -> dict[str, tuple[tuple[str, str], ...]]:
    """Return what each device that logs in to the broker may there, by its name."""
    devices = configuration.devices.items()
    return {name: one.options.broker_rights for name, one in devices if isinstance(one.options, BrokerUser)}


def _grants(topics: Topics, client: Client) -> Iterator[str]:
    yield f"topic read {topics.client_prefix(client.name)}#"
    yield f"topic read {topics.base}/gateway/+"
    yield f"topic read {topics.every_device_state}"
    for target, verbs in sorted(client.may.items()):
        if target != "gateway":
            yield f"topic read {topics.device_events(target)}"
        elif "replay" in verbs:
            # Who may ask for a replay of the journal may as well hear it live; nobody else hears of guests.
            yield f"topic read {topics.events}"
        for verb in sorted(verbs):
            yield f"topic write {topics.request(client.name, target, verb)}"


def _client_passwords(configuration: Configuration, new_password: Callable[[], str]) -> Mapping[str, str]:
    folder = configuration.state_dir / "clients"
    make_folder(folder, 0o700)
    passwords = {}
    users = {*configuration.clients, *_broker_devices(configuration)}
    for name in sorted(users):
        file = folder / f"{name}.password"
        password = _read(file).strip()
        if not password:
            password = new_password()
            _replace(file, password + "\n", PRIVATE)
        passwords[name] = password
    for file in folder.glob("*.password"):
        if file.stem not in users:
            file.unlink()
    return _with_gateway(configuration, passwords)


def _with_gateway(configuration: Configuration, passwords: dict[str, str]) -> Mapping[str, str]:
    """A gateway that comes by TCP is a user like the others; its password file is the technician's."""
    broker = configuration.broker
    if broker.username and broker.password_file and (password := _read(Path(broker.password_file)).strip("\r\n")):
        passwords[broker.username] = password
    return passwords


def _password_lines(passwords: Mapping[str, str], before: str) -> str:
    """Keep the lines that still fit: a new salt for the same password would make the broker reload for nothing."""
    known = dict(line.split(":", 1) for line in before.splitlines() if ":" in line)
    lines = []
    for name, password in passwords.items():
        kept = known.get(name, "")
        lines.append(f"{name}:{kept if password_matches(kept, password) else hash_password(password)}\n")
    return "".join(lines)


def hash_password(password: str, salt: bytes | None = None) -> str:
    """Return Mosquitto 2's `$7$` form: PBKDF2 with SHA-512 (mosquitto_passwd, `src/password_mosq.c`)."""
    salt = salt if salt is not None else secrets.token_bytes(SALT_BYTES)
    digest = hashlib.pbkdf2_hmac("sha512", password.encode(), salt, PBKDF2_ITERATIONS)
    return f"$7${PBKDF2_ITERATIONS}${base64.b64encode(salt).decode()}${base64.b64encode(digest).decode()}"


def password_matches(hashed: str, password: str) -> bool:
    """Return True when `hashed`, in the form of `hash_password`, is of this password."""
    parts = hashed.split("$")
    if len(parts) != 5 or parts[1:3] != ["7", str(PBKDF2_ITERATIONS)]:
        return False
    try:
        salt = base64.b64decode(parts[3], validate=True)
    except ValueError:
        return False
    return hmac.compare_digest(hash_password(password, salt), hashed)


def _read(file: Path) -> str:
    try:
        return file.read_text("utf-8")
    except FileNotFoundError:
        return ""


def _replace(file: Path, text: str, mode: int) -> bool:
    """Write by rename, so that a broker that reads meanwhile sees the old file or the new one. False if unchanged."""
    if file.exists() and _read(file) == text:
        return False
    new = file.with_name(f".{file.name}.new")
    new.unlink(missing_ok=True)
    descriptor = os.open(new, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode)
    with os.fdopen(descriptor, "w", encoding="utf-8") as stream:
        stream.write(text)
        stream.flush()
        own_like_folder(stream.fileno(), file.parent)
        os.fsync(stream.fileno())
    new.replace(file)
    return True
