"""The sections about running a venue for years: `metrics` for whoever watches, `retention` for what is forgotten."""

from __future__ import annotations

import ipaddress
from typing import Annotated

import msgspec
from msgspec import Meta

from gateway.config.problems import Mark, Problems, quote
from gateway.config.reading import read_struct, struct_type
from gateway.config.tree import Entry, Mapping

PORT_MAX = 65_535
_LISTEN_FORM = "expected HOST:PORT of this machine itself, such as `127.0.0.1:9464` or `[::1]:9464`"


class Metrics(msgspec.Struct, frozen=True, kw_only=True):
    """Figures for Prometheus, at `/metrics`. Without this section there are none."""

    listen: Annotated[
        str,
        Meta(
            description="Address and port of this machine itself: whoever can ask needs no login. For a Prometheus "
            "elsewhere put its own agent, or a proxy with a login, in front.",
            extra={"expected": "text such as `127.0.0.1:9464`"},
        ),
    ] = "127.0.0.1:9464"

    @property
    def address(self) -> tuple[str, int]:
        """Host and port to listen on."""
        host, _, port = self.listen.rpartition(":")
        return host.strip("[]"), int(port)


_Days = Annotated[float, Meta(ge=1, le=36_500)]


class Retention(msgspec.Struct, frozen=True, kw_only=True):
    """How long what is about people stays, kind by kind, in days."""

    answers_days: Annotated[
        float,
        Meta(ge=1, le=365, description="Answers to requests; a request id repeated after that is taken for a new one."),
    ] = 7.0
    receipts_days: Annotated[
        _Days, Meta(description="What was printed, for a reprint; the fact that it was printed stays.")
    ] = 30.0
    guests_days: Annotated[
        _Days | None,
        Meta(
            description="Guests who were not seen for so long are erased by `venue-gateway erase --unseen`: their rows "
            "stay under a made-up name. Left out: nobody is, until it is asked for by name."
        ),
    ] = None


def read_metrics(section: Entry | None, problems: Problems) -> Metrics | None:
    """Return where figures are served; None where they are not, or where something is wrong, here or before."""
    if section is None:
        return None
    values = read_struct(section.node, struct_type(Metrics), "metrics", problems, at=section.key_mark)
    listen = values.get("listen")
    if isinstance(listen, str) and not _is_own(listen):
        problems.add(_place(section, "listen"), "metrics.listen", f"{_LISTEN_FORM}, found {quote(listen)}")
    return None if len(problems) else msgspec.convert(values, Metrics)


def read_retention(section: Entry | None, problems: Problems) -> Retention:
    """Return how long things are kept, the defaults where nothing is said or something is wrong."""
    if section is None:
        return Retention()
    values = read_struct(section.node, struct_type(Retention), "retention", problems, at=section.key_mark)
    return Retention() if len(problems) else msgspec.convert(values, Retention)


def _is_own(listen: str) -> bool:
    """Return True for an address that only this machine reaches, with a port."""
    host, _, port = listen.rpartition(":")
    if not (port.isascii() and port.isdigit() and len(port) <= 5 and 1 <= int(port) <= PORT_MAX):
        return False
    bare = host[1:-1] if host.startswith("[") and host.endswith("]") else host
    try:
        address = ipaddress.ip_address(bare)
    except ValueError:
        return host == "localhost"
    return address.is_loopback and (address.version == 6) == (bare != host)


def _place(section: Entry, key: str) -> Mark:
    if isinstance(section.node, Mapping) and key in section.node.entries:
        return section.node.entries[key].node.mark
    return section.key_mark
