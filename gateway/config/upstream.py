"""The `upstream` section: where events go up, where the directory comes from, how long what has gone up is kept."""

from __future__ import annotations

import re
from collections.abc import Mapping
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
_FILES = ("token_file", "ca_file")


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


class Upstream(Endpoint, frozen=True, kw_only=True):
    """What is above the venue. Without this section the venue lives alone."""

    keep_days: Annotated[
        float, Meta(ge=1, le=3650, description="Days for which events stay here after every sink has them.")
    ] = 30.0
    directory: Annotated[
        bool, Meta(description="Whether the directory comes from there; with false it is imported by hand.")
    ] = True
    sinks: Annotated[
        Mapping[str, Endpoint],
        Meta(description="Others that get every event too, each at its own pace, by name."),
    ] = msgspec.field(default_factory=dict)

    fleet: Annotated[
        Fleet | None,
        Meta(description="With it, even an empty one, the gateway has a certificate of its own and takes signed data."),
    ] = None

    @property
    def endpoint(self) -> Endpoint:
        """Upstream itself."""
        return Endpoint(url=self.url, token_file=self.token_file, ca_file=self.ca_file)

    @property
    def all_sinks(self) -> Mapping[str, Endpoint]:
        """Every sink by its name, upstream itself among them."""
        return {MAIN_SINK: self.endpoint, **self.sinks}


def read_upstream(section: tree.Entry | None, base: Path, problems: Problems) -> Upstream | None:
    """Return what is above; None when nothing is, or when something is wrong, here or before.

    Nothing of a wrong URL is repeated in a message, because people write passwords into URLs (I12).
    """
    if section is None or (isinstance(section.node, tree.Scalar) and section.node.value is None):
        return None
    values = read_struct(section.node, struct_type(Upstream), "upstream", problems, at=section.key_mark)
    _check_endpoint(section.node, values, "upstream", problems)
    sinks = values.get("sinks")
    if isinstance(sinks, dict) and isinstance(section.node, tree.Mapping):
        _check_sinks(section.node.entries["sinks"].node, sinks, problems)
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
        _check_endpoint(entries[name].node, values, path, problems)


def _check_endpoint(node: tree.Node, values: Mapping[str, object], path: str, problems: Problems) -> None:
    url = values.get("url")
    if not isinstance(url, str):
        return
    if fault := url_fault(url):
        problems.add(_place(node, "url"), f"{path}.url", fault)
    elif values.get("ca_file") and not url.startswith("https:"):
        message = "only https:// checks a certificate; change the URL or leave this out"
        problems.add(_place(node, "ca_file"), f"{path}.ca_file", message)


def url_fault(url: str) -> str:
    """Return what is wrong with the URL of an upstream, or nothing."""
    try:
        parts = urlsplit(url)
        host, port = parts.hostname, parts.port
    except ValueError:
        return f"host or port cannot be right; expected {URL_FORM}"
    if parts.username is not None or parts.password is not None or "@" in url:
        return "a login stands in the URL; write the token into a file of its own and add `token_file: FILE`"
    if not url.isprintable() or " " in url or parts.query or parts.fragment or not host or port == 0:
        return f"expected {URL_FORM}"
    if parts.scheme == "http":
        return "" if _is_here(host) else "http:// is read along by anybody on the way; write https://"
    return "" if parts.scheme == "https" else f"expected {URL_FORM}"


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
    sinks = values.get("sinks")
    if isinstance(sinks, dict):
        whole["sinks"] = {name: _with_paths(one, base) for name, one in sinks.items()}
    return whole
