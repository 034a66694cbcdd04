"""The section `console`: the local web page for operators and technicians. Without it there is none."""

from __future__ import annotations

import ipaddress
import re
from pathlib import Path
from typing import Annotated

import msgspec
from msgspec import Meta

from gateway.config.problems import Mark, Problems, quote
from gateway.config.reading import read_struct, struct_type
from gateway.config.tree import Entry, Mapping

HOST_RULE = "a host name or address as it stands in the browser's address line, such as gateway.local"
_HOST = re.compile(r"(?=.{1,253}\Z)[a-z0-9](?:[a-z0-9.-]*[a-z0-9])?\Z")
_LISTEN_FORM = "expected HOST:PORT with an IP address or `localhost`, such as `127.0.0.1:8080` or `[::1]:8080`"
PORT_MAX = 65_535
USERS_FILE = "console-users.json"


class ConsoleSettings(msgspec.Struct, frozen=True, kw_only=True):
    """The console: a web page with everything that goes on, for staff and technicians."""

    listen: Annotated[
        str,
        Meta(
            description="IP address and port of the page. Anything but this machine's own address needs a certificate.",
            extra={"expected": "text such as `127.0.0.1:8080`"},
        ),
    ] = "127.0.0.1:8080"
    hosts: Annotated[
        tuple[str, ...],
        Meta(max_length=16, description="Further names by which browsers reach it, such as gateway.local."),
    ] = ()
    certificate_file: Annotated[
        str | None, Meta(description="PEM file with the page's certificate chain. Relative: beside this YAML file.")
    ] = None
    private_key_file: Annotated[
        str | None,
        Meta(description="PEM file with the certificate's key (mode 0600). Relative: beside this YAML file."),
    ] = None
    idle_timeout_min: Annotated[
        float, Meta(ge=1, le=1440, description="Minutes without anybody at the screen after which a login ends.")
    ] = 30.0

    @property
    def address(self) -> tuple[str, int]:
        """Host and port to listen on."""
        host, _, port = self.listen.rpartition(":")
        return host.strip("[]"), int(port)

    @property
    def encrypted(self) -> bool:
        """True where the page is served by HTTPS."""
        return self.certificate_file is not None

    @property
    def reached_by(self) -> frozenset[str]:
        """Every host name and address of the page, as a certificate has them."""
        host, _ = self.address
        everywhere = host != "localhost" and ipaddress.ip_address(host).is_unspecified
        return frozenset({*([] if everywhere else [host]), *self.hosts})

    @property
    def names(self) -> frozenset[str]:
        """Every host that a request may be addressed to; any other comes from a page that tricks the browser."""
        host, _ = self.address
        own = {"localhost", "127.0.0.1", "[::1]"} if is_local(host) else set()
        return frozenset({f"[{host}]" if ":" in host else host, *own, *self.hosts})


def is_local(host: str) -> bool:
    """Return True for an address that only this machine reaches."""
    return host == "localhost" or ipaddress.ip_address(host).is_loopback


def read_console(section: Entry | None, base: Path, problems: Problems) -> ConsoleSettings | None:
    """Return the console's settings; None where there is none, or where something is wrong, here or before."""
    if section is None:
        return None
    values = read_struct(section.node, struct_type(ConsoleSettings), "console", problems, at=section.key_mark)
    listens = _check_listen(section, values, problems)
    _check_hosts(section, values, problems, listens)
    _check_certificate(section, values, problems, listens)
    if len(problems):
        return None
    files = {key: str(base / str(values[key])) for key in ("certificate_file", "private_key_file") if values.get(key)}
    return msgspec.convert(values | files, ConsoleSettings)


def _place(section: Entry, key: str) -> Mark:
    if isinstance(section.node, Mapping) and key in section.node.entries:
        return section.node.entries[key].node.mark
    return section.key_mark


def _check_listen(section: Entry, values: dict[str, object], problems: Problems) -> str | None:
    """Return the host that it listens on; None for an address that is wrong."""
    listen = values.get("listen", ConsoleSettings().listen)
    if not isinstance(listen, str):
        return None
    host, _, port = listen.rpartition(":")
    good_port = port.isascii() and port.isdigit() and len(port) <= 5 and 1 <= int(port) <= PORT_MAX
    if not good_port or not _is_address(host):
        problems.add(_place(section, "listen"), "console.listen", f"{_LISTEN_FORM}, found {quote(listen)}")
        return None
    return host.strip("[]")


def _is_address(host: str) -> bool:
    if host == "localhost":
        return True
    bare = host[1:-1] if host.startswith("[") and host.endswith("]") else host
    try:
        version = ipaddress.ip_address(bare).version
    except ValueError:
        return False
    return (version == 6) == (bare != host)


def _is_everywhere(host: str) -> bool:
    return host != "localhost" and ipaddress.ip_address(host).is_unspecified


def _check_hosts(section: Entry, values: dict[str, object], problems: Problems, listens: str | None) -> None:
    hosts = values.get("hosts", ())
    for place, host in enumerate(hosts if isinstance(hosts, list | tuple) else ()):
        if _HOST.match(str(host)) is None:
            message = f"expected {HOST_RULE}, in small letters and without port, found {quote(str(host))}"
            problems.add(_place(section, "hosts"), f"console.hosts[{place}]", message)
    if listens is not None and _is_everywhere(listens) and not hosts:
        message = "a page on every address needs the names it is reached by: add `hosts: [gateway.local, 192.168.1.5]`"
        problems.add(_place(section, "listen"), "console.hosts", message)


def _check_certificate(section: Entry, values: dict[str, object], problems: Problems, listens: str | None) -> None:
    pair = [key for key in ("certificate_file", "private_key_file") if values.get(key)]
    if len(pair) == 1:
        other = "private_key_file" if pair[0] == "certificate_file" else "certificate_file"
        problems.add(
            _place(section, pair[0]), f"console.{pair[0]}", f"a certificate and its key go together; add `{other}`"
        )
    if listens is not None and not pair and not is_local(listens):
        message = (
            "passwords would cross the network in clear; add `certificate_file` and `private_key_file`, "
            "or listen on 127.0.0.1 only"
        )
        problems.add(_place(section, "listen"), "console.listen", message)
