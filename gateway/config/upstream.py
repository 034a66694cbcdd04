"""The `upstream` section: where events go up, where the directory comes from, how long what has gone up is kept."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from ipaddress import ip_address
from pathlib import Path
from typing import Annotated
from urllib.parse import urlsplit

import msgspec
from msgspec import Meta

from gateway.config import tree
from gateway.config.fleet import Fleet
from gateway.config.problems import Mark, Problems, quote
from gateway.config.reading import read_struct, struct_type

URL_FORM = "https://host, with a port and a path where there are; http:// only to this machine itself"
URL_PATTERN = r"^https?://[^\s?#@]+$"
MAIN_SINK = "main"
"""The sink that is upstream itself."""
SINK_PATTERN = "^[a-z0-9][a-z0-9-]{0,30}$"
SINKS_MAX = 8
_FILES = ("token_file", "ca_file", "certificate_file", "key_file", "password_file", "credentials_file")
KEEP_AFTER_ACK_S = 600.0
"""Five times as long as a NATS server puts off its fsync."""

_HTTPS, _MQTT, _NATS = "https", "mqtt", "nats"
_KINDS = {"https": _HTTPS, "http": _HTTPS, "mqtts": _MQTT, "mqtt": _MQTT, "tls": _NATS, "nats": _NATS}
_READ_ALONG = {"http": "https", "mqtt": "mqtts", "nats": "tls"}
"""Schemes without encryption, and what to write instead."""
_LOGIN = ("ca_file", "certificate_file", "key_file", "username", "password_file")
_KEYS = {
    _HTTPS: {"url", "token_file", "ca_file"},
    _MQTT: {"url", *_LOGIN, "topic", "keep_after_ack_s"},
    _NATS: {"url", *_LOGIN, "credentials_file", "subject", "keep_after_ack_s"},
}
HTTPS_SCHEMES = frozenset({"http", "https"})
SINK_URL_FORM = "https://host, mqtts://host or tls://host (NATS), with a port where it is not the usual one"
SINK_URL_PATTERN = r"^(https?|mqtts?|tls|nats)://[^\s?#@]+$"


class Endpoint(msgspec.Struct, frozen=True, kw_only=True):
    """One upstream and how to log in to it. What is secret stands in a file of its own, never here."""

    url: Annotated[
        str,
        Meta(description="https://host, with a port and a path where there are; http:// only to this machine itself."),
    ]
    token_file: Annotated[
        str | None,
        Meta(description="File with nothing but the bearer token (mode 0600). Relative paths start at this YAML file."),
    ] = None
    ca_file: Annotated[
        str | None,
        Meta(description="PEM file of the authority that signed upstream's certificate; without it the system's own."),
    ] = None


class SinkEntry(Endpoint, frozen=True, kw_only=True):
    """Another that gets every event: by HTTPS, at an MQTT 5 broker, or in a JetStream of NATS."""

    url: Annotated[
        str,
        Meta(
            description="https://host, mqtts://host (MQTT 5) or tls://host (NATS; several servers of a cluster with "
            "commas), with a port where it is not the usual one; http://, mqtt:// and nats:// only to this machine."
        ),
    ]
    certificate_file: Annotated[
        str | None, Meta(description="PEM file of this venue's own certificate, where the other side wants one.")
    ] = None
    key_file: Annotated[str | None, Meta(description="PEM file of its private key (mode 0600).")] = None
    username: Annotated[str | None, Meta(description="User at the MQTT broker or NATS server.")] = None
    password_file: Annotated[
        str | None, Meta(description="File with nothing but that user's password (mode 0600).")
    ] = None
    credentials_file: Annotated[
        str | None, Meta(description="NATS: the .creds file of this venue's user (mode 0600).")
    ] = None
    topic: Annotated[
        str, Meta(description="MQTT: where events are published; {venue} stands for venue.id.", max_length=200)
    ] = "venues/{venue}/events"
    subject: Annotated[
        str, Meta(description="NATS: where events are published; {venue} stands for venue.id.", max_length=200)
    ] = "venues.{venue}.events"
    keep_after_ack_s: Annotated[
        float,
        Meta(
            ge=0,
            le=2_592_000,
            description="MQTT and NATS: for so long events stay here after they were acknowledged, however full the "
            "disk is, because those servers acknowledge before all is on their own disks.",
        ),
    ] = KEEP_AFTER_ACK_S

    @property
    def kind(self) -> str:
        """What speaks there: `https`, `mqtt` or `nats`."""
        return _KINDS[urlsplit(self.url).scheme]

    @property
    def servers(self) -> list[str]:
        """Every server of the URL, as a URL of its own."""
        scheme, _, hosts = self.url.partition("://")
        return [f"{scheme}://{host}" for host in hosts.split(",")]


class ChangeStream(SinkEntry, frozen=True, kw_only=True):
    """A JetStream that brings the changes of the directory, in the place of the long poll."""

    subject: Annotated[
        str, Meta(description="Where upstream publishes them; {venue} stands for venue.id.", max_length=200)
    ] = "venues.{venue}.directory"
    durable: Annotated[
        str,
        Meta(
            description="Name of the durable consumer; {venue} stands for venue.id.",
            pattern=r"^[A-Za-z0-9_{}-]{1,64}$",
        ),
    ] = "venue-{venue}"


class Upstream(Endpoint, frozen=True, kw_only=True):
    """What is above the venue. Without this section the venue lives alone."""

    keep_days: Annotated[
        float, Meta(ge=1, le=3650, description="Days for which events stay here after every sink has them.")
    ] = 30.0
    directory: Annotated[
        bool, Meta(description="Whether the directory comes from there; with false it is imported by hand.")
    ] = True
    events: Annotated[
        bool, Meta(description="Whether events go there too; with false they go to the `sinks` alone.")
    ] = True
    directory_stream: Annotated[
        ChangeStream | None,
        Meta(description="A JetStream that brings the directory's changes; left out, they are asked for at `url`."),
    ] = None
    sinks: Annotated[
        Mapping[str, SinkEntry],
        Meta(description="Others that get every event too, each at its own pace, by name."),
    ] = msgspec.field(default_factory=dict)

    fleet: Annotated[
        Fleet | None,
        Meta(description="With it, even an empty one, the gateway has a certificate of its own and takes signed data."),
    ] = None

    @property
    def entry(self) -> SinkEntry:
        """Upstream itself, as an entry like those of the others."""
        return SinkEntry(url=self.url, token_file=self.token_file, ca_file=self.ca_file, keep_after_ack_s=0)

    @property
    def all_sinks(self) -> Mapping[str, SinkEntry]:
        """Every sink by its name, upstream itself among them."""
        return {MAIN_SINK: self.entry, **self.sinks} if self.events else self.sinks


def read_upstream(section: tree.Entry | None, base: Path, problems: Problems) -> Upstream | None:
    """Return what is above; None when nothing is, or when something is wrong, here or before.

    Nothing of a wrong URL is repeated in a message, because people write passwords into URLs (I12).
    """
    if section is None or (isinstance(section.node, tree.Scalar) and section.node.value is None):
        return None
    values = read_struct(section.node, struct_type(Upstream), "upstream", problems, at=section.key_mark)
    _check_endpoint(section.node, values, "upstream", HTTPS_SCHEMES, URL_FORM, problems)
    entries = section.node.entries if isinstance(section.node, tree.Mapping) else {}
    sinks, stream = values.get("sinks"), values.get("directory_stream")
    if isinstance(sinks, dict):
        _check_sinks(entries["sinks"].node, sinks, problems)
    if values.get("events") is False and not sinks:
        problems.add(entries["events"].key_mark, "upstream.events", "events go nowhere; add `sinks`, or leave this out")
    if isinstance(stream, dict):
        _check_stream(entries["directory_stream"], stream, values.get("directory") is False, problems)
    if len(problems):
        return None
    return msgspec.convert(_with_paths(values, base), Upstream)


def _check_sinks(node: tree.Node, sinks: dict[str, dict[str, object]], problems: Problems) -> None:
    entries = node.entries if isinstance(node, tree.Mapping) else {}
    if len(sinks) > SINKS_MAX:
        problems.add(node.mark, "upstream.sinks", f"expected at most {SINKS_MAX} sinks, found {len(sinks)}")
    for name, values in sinks.items():
        mark, path = entries[name].key_mark, f"upstream.sinks.{name}"
        if name == MAIN_SINK:
            problems.add(mark, path, f"`{MAIN_SINK}` is upstream itself; give this one another name")
        elif re.search(SINK_PATTERN, name) is None or name.endswith("\n"):
            message = f"a sink's name is lower-case letters, digits and hyphens, at most 31; found {quote(name)}"
            problems.add(mark, path, message)
        _check_sink(entries[name].node, values, path, set(_KINDS), problems)


def _check_stream(entry: tree.Entry, values: dict[str, object], is_unused: bool, problems: Problems) -> None:
    path = "upstream.directory_stream"
    if is_unused:
        problems.add(entry.key_mark, path, "with `directory: false` nothing asks for changes; leave one of them out")
    _check_sink(entry.node, values, path, {"tls", "nats"}, problems)


def _check_sink(
    node: tree.Node, values: dict[str, object], path: str, schemes: Collection[str], problems: Problems
) -> None:
    form = SINK_URL_FORM if len(schemes) > len({"tls", "nats"}) else "tls://host, with a port where it is not 4222"
    _check_endpoint(node, values, path, schemes, form, problems)
    kind = _KINDS.get(str(values.get("url")).partition(":")[0])
    if kind is None or not isinstance(node, tree.Mapping):
        return
    strange = [key for key in node.entries if key in values and key not in _KEYS[kind] | {"durable"}]
    for key in strange:
        meant = " or ".join(sorted(other for other, keys in _KEYS.items() if key in keys))
        message = f"this is for {meant}, and the URL is one of {kind}; leave it out, or change the URL"
        problems.add(node.entries[key].key_mark, f"{path}.{key}", message)
    for key, wild, shown in (("topic", "+#", "a topic"), ("subject", "*>", "a subject")):
        name = str(values.get(key, ""))
        if any(sign in name for sign in wild) or " " in name or not name.isprintable() or (key in values and not name):
            problems.add(_place(node, key), f"{path}.{key}", f"expected {shown} without wildcards and spaces")
    for one, other in (("password_file", "username"), ("key_file", "certificate_file"), ("username", "password_file")):
        if values.get(one) and not values.get(other):
            problems.add(_place(node, one), f"{path}.{one}", f"this needs `{other}` too")


def _check_endpoint(
    node: tree.Node, values: Mapping[str, object], path: str, schemes: Collection[str], form: str, problems: Problems
) -> None:
    url = values.get("url")
    if not isinstance(url, str):
        return
    if fault := url_fault(url, schemes, form):
        problems.add(_place(node, "url"), f"{path}.url", fault)
    elif values.get("ca_file") and url.partition(":")[0] in _READ_ALONG:
        secure = _READ_ALONG[url.partition(":")[0]]
        message = f"only {secure}:// checks a certificate; change the URL or leave this out"
        problems.add(_place(node, "ca_file"), f"{path}.ca_file", message)


def url_fault(url: str, schemes: Collection[str] = HTTPS_SCHEMES, form: str = URL_FORM) -> str:
    """Return what is wrong with a URL, or nothing. That of NATS may name several servers."""
    scheme, _, hosts = url.partition("://")
    if _KINDS.get(scheme) == _NATS and "," in hosts:
        faults = [url_fault(f"{scheme}://{host}", schemes, form) for host in hosts.split(",")]
        return next(filter(None, faults), "")
    try:
        parts = urlsplit(url)
        host, port = parts.hostname, parts.port
    except ValueError:
        return f"host or port cannot be right; expected {form}"
    if parts.username is not None or parts.password is not None or "@" in url:
        file = "token_file" if _KINDS.get(scheme, _HTTPS) == _HTTPS else "password_file"
        what = "token" if file == "token_file" else "password"
        return f"a login stands in the URL; write the {what} into a file of its own and add `{file}: FILE`"
    if not url.isprintable() or " " in url or parts.query or parts.fragment or not host or port == 0:
        return f"expected {form}"
    if parts.scheme not in schemes or (_KINDS[parts.scheme] != _HTTPS and parts.path not in {"", "/"}):
        return f"expected {form}"
    if (secure := _READ_ALONG.get(parts.scheme)) and not _is_here(host):
        return f"{parts.scheme}:// is read along by anybody on the way; write {secure}://"
    return ""


def _is_here(host: str) -> bool:
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _place(node: tree.Node, key: str) -> Mark:
    return node.entries[key].node.mark if isinstance(node, tree.Mapping) and key in node.entries else node.mark


def _with_paths(values: Mapping[str, object], base: Path) -> dict[str, object]:
    """Return the values with the paths of files made whole."""
    whole = dict(values) | {key: str(base / str(values[key])) for key in _FILES if values.get(key)}
    sinks, stream = values.get("sinks"), values.get("directory_stream")
    if isinstance(stream, dict):
        whole["directory_stream"] = _with_paths(stream, base)
    if isinstance(sinks, dict):
        whole["sinks"] = {name: _with_paths(one, base) for name, one in sinks.items()}
    return whole
