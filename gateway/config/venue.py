"""The sections about the venue itself: who it is, its broker, its limits and its folder."""

from __future__ import annotations

import difflib
import os.path
from pathlib import Path
from urllib.parse import urlsplit
from zoneinfo import ZoneInfo, available_timezones

import msgspec

from gateway.config.problems import Mark, Problems, listed, quote
from gateway.config.reading import found, read_struct, struct_type
from gateway.config.schema import DEFAULT_STATE_DIR, Authenticity, Broker, Clock, Limits, Venue
from gateway.config.tree import Broken, Entry, Mapping, Scalar
from gateway.config.wallet import Allowances, Wallet

URL_FORMS = "unix:///path/of/socket, mqtt://host:port or mqtts://host:port"
SOCKET_PATH_BYTES = 107
"""What Linux has room for in sun_path (unix(7)), its closing zero aside."""


def read_venue(section: Entry | None, problems: Problems) -> Venue | None:
    """Return the venue; None when something is wrong, here or before."""
    if section is None:
        return None
    values = read_struct(section.node, struct_type(Venue), "venue", problems, at=section.key_mark)
    timezone = values.get("timezone")
    if isinstance(timezone, str) and not _is_timezone(timezone):
        message = f"no time zone is called {quote(timezone)}; {_near_timezones(timezone)}"
        problems.add(_place(section, "timezone"), "venue.timezone", message)
    return None if len(problems) else msgspec.convert(values, Venue)


def _place(section: Entry, key: str) -> Mark:
    if isinstance(section.node, Mapping) and key in section.node.entries:
        return section.node.entries[key].node.mark
    return section.node.mark


def _is_timezone(name: str) -> bool:
    try:
        ZoneInfo(name)
    except (KeyError, ValueError, OSError):
        return False
    return True


def _near_timezones(name: str) -> str:
    """Return the zones the writer may have meant: by the whole name, or by the city alone."""
    by_word: dict[str, str] = {}
    for zone in sorted(available_timezones()):
        by_word.setdefault(zone.rsplit("/", 1)[-1].lower(), zone)
        by_word[zone.lower()] = zone
    word = name[:60].replace(" ", "_").lower()
    near = [by_word[word]] if word in by_word else []
    for part in (word, word.rsplit("/", 1)[-1]):
        near = near or [by_word[each] for each in difflib.get_close_matches(part, by_word, n=3, cutoff=0.7)]
    return f"did you mean {listed(dict.fromkeys(near))}?" if near else "write Area/City, such as `Europe/Berlin`"


def read_broker(section: Entry | None, base: Path, problems: Problems) -> Broker | None:
    """Return the broker, from its URL alone or from a mapping; None when something is wrong, here or before.

    Nothing of a wrong URL is repeated in a message, because people write passwords into URLs (I12).
    """
    if section is None:
        return None
    node = section.node
    if isinstance(node, Scalar) and isinstance(node.value, str):
        values: dict[str, object] = {"url": node.value}
        _check_url(node.value, node.mark, "broker", problems)
    elif isinstance(node, Mapping):
        values = read_struct(node, struct_type(Broker), "broker", problems, at=section.key_mark)
        if isinstance(url := values.get("url"), str):
            _check_url(url, _place(section, "url"), "broker.url", problems)
            _check_login(section, url, values, problems)
    else:
        values = {}
        if not isinstance(node, Broken):
            problems.add(node.mark, "broker", f"expected {URL_FORMS}, found {found(node)}")
    if len(problems):
        return None
    files = {key: str(base / str(values[key])) for key in ("password_file", "ca_file") if values.get(key)}
    return msgspec.convert(values | files, Broker)


def _check_url(url: str, mark: Mark, path: str, problems: Problems) -> None:
    message = _url_fault(url)
    if message:
        problems.add(mark, path, message)


def _url_fault(url: str) -> str:
    """Return what is wrong with a broker's URL, or nothing."""
    try:
        parts = urlsplit(url)
        host, port = parts.hostname, parts.port
    except ValueError:
        return f"host or port cannot be right; expected {URL_FORMS}, with a port from 1 to 65535"
    if parts.username is not None or parts.password is not None or "@" in url:
        return "a login stands in the URL; write `broker: {url: …, username: …, password_file: FILE}` instead"
    if not url.isprintable() or " " in url or parts.query or parts.fragment:
        return f"expected {URL_FORMS} and nothing more"
    if parts.scheme == "unix":
        return _socket_fault(parts.netloc, parts.path)
    if parts.scheme not in {"mqtt", "mqtts"} or not host or parts.path not in {"", "/"}:
        return f"expected {URL_FORMS}"
    if not _can_be_host(host):
        return "this cannot be a host name: between its dots stand 1 to 63 characters each; correct the spelling"
    return "the port must be from 1 to 65535" if port == 0 else ""


def _can_be_host(host: str) -> bool:
    """Return whether the name look-up will take `host`: it encodes it like this first, and raises where it cannot."""
    try:
        host.encode("idna")
    except UnicodeError:
        return False
    return True


def _socket_fault(netloc: str, path: str) -> str:
    if netloc or len(path) < 2:
        return "a socket's path follows three slashes: unix:///run/venue-gateway/mqtt.sock"
    if len(path.encode()) > SOCKET_PATH_BYTES:
        return f"the socket's path is longer than {SOCKET_PATH_BYTES} bytes, which Linux cannot open; use a shorter one"
    return ""


def _check_login(section: Entry, url: str, values: dict[str, object], problems: Problems) -> None:
    if values.get("password_file") and not values.get("username"):
        message = "a password needs its user: add `username: …`"
        problems.add(_place(section, "password_file"), "broker.password_file", message)
    if values.get("ca_file") and not url.startswith("mqtts:"):
        message = "only mqtts:// checks a certificate; change the URL or leave this out"
        problems.add(_place(section, "ca_file"), "broker.ca_file", message)


def read_limits(section: Entry | None, problems: Problems) -> Limits | None:
    """Return the limits, the defaults where none are given; None when something is wrong, here or before."""
    if section is None:
        return Limits()
    values = read_struct(section.node, struct_type(Limits), "limits", problems, at=section.key_mark)
    return None if len(problems) else msgspec.convert(values, Limits)


def read_wallet(section: Entry | None, problems: Problems) -> Wallet | None:
    """Return the wallets' rules, the defaults where none are given; None when something is wrong, here or before."""
    if section is None:
        return Wallet()
    values = read_struct(section.node, struct_type(Wallet), "wallet", problems, at=section.key_mark)
    if values.get("offline") and values.get("authority", "venue") == "venue":
        message = "a venue that keeps its wallets itself is never offline; these limits do nothing"
        problems.warn(_place(section, "offline"), "wallet.offline", message)
    _check_allowances(section, values, problems)
    return None if len(problems) else msgspec.convert(values, Wallet)


def _check_allowances(section: Entry, values: dict[str, object], problems: Problems) -> None:
    given = values.get("allowances")
    if not isinstance(given, dict):
        return
    if values.get("authority", "venue") == "venue":
        message = "a venue that keeps its wallets itself needs none; add `authority: upstream`, or leave this out"
        problems.add(_place(section, "allowances"), "wallet.allowances", message)
    low_minor, ask_minor = (
        given.get("low_minor", Allowances().low_minor),
        given.get("ask_minor", Allowances().ask_minor),
    )
    if low_minor > ask_minor:
        message = f"more than `ask_minor` ({ask_minor}) would be asked for without end; write at most that"
        problems.add(_place(section, "allowances"), "wallet.allowances.low_minor", message)


def read_clock(section: Entry | None, problems: Problems) -> Clock | None:
    """Return when the time is believed, the defaults where nothing is said; None when something is wrong."""
    if section is None:
        return Clock()
    values = read_struct(section.node, struct_type(Clock), "clock", problems, at=section.key_mark)
    return None if len(problems) else msgspec.convert(values, Clock)


def read_authenticity(section: Entry | None, problems: Problems) -> Authenticity | None:
    """Return what must prove itself, nothing where nobody says; None when something is wrong, here or before."""
    if section is None:
        return Authenticity()
    values = read_struct(section.node, struct_type(Authenticity), "authenticity", problems, at=section.key_mark)
    return None if len(problems) else msgspec.convert(values, Authenticity)


def read_state_dir(section: Entry | None, base: Path, problems: Problems) -> Path:
    """Return the folder for what the gateway remembers; relative paths start at the file's own folder."""
    if section is None:
        return Path(DEFAULT_STATE_DIR)
    node = section.node
    if not isinstance(node, Scalar) or not isinstance(node.value, str) or not node.value.strip():
        if not isinstance(node, Broken):
            message = f"expected the path of a folder, such as `{DEFAULT_STATE_DIR}`, found {found(node)}"
            problems.add(node.mark, "state_dir", message)
        return Path(DEFAULT_STATE_DIR)
    if node.value.startswith("~") or not node.value.isprintable():
        message = f"expected a plain path without `~`, such as `{DEFAULT_STATE_DIR}`; the daemon has no home folder"
        problems.add(node.mark, "state_dir", message)
    return Path(os.path.normpath(base / node.value))
