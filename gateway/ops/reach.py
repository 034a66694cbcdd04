"""Doctor's checks of what is attached: the broker and the devices. Nothing is moved, printed or written."""

from __future__ import annotations

import asyncio
import os
import secrets
from collections.abc import Mapping
from pathlib import Path
from urllib.parse import urlsplit

import mqtt5

from gateway.config.schema import Broker, Configuration, Device
from gateway.devices.plugs import port_path
from gateway.mqtt.topics import Topics
from gateway.mqtt5.bounds import Limits
from gateway.mqtt5.connection import Connection, Incoming
from gateway.mqtt5.endpoint import BrokerUnavailable, login, open_connection
from gateway.ops.findings import Finding, bad, ok, warning

BROKER_S, CONNECT_S = 5.0, 2.0


class _Onlooker:
    """Owns a connection on which nothing is asked for."""

    def took(self, message: Incoming) -> None:
        """Leave a message alone."""

    def refused(self, topic: str, why: str) -> None:
        """Hear of no publication, since there is none."""

    def drained(self) -> None:
        """Hear of room that nobody waits for."""


async def check_broker(configuration: Configuration) -> Finding:
    """Log in to the broker as the gateway does, under a name of its own, and leave again."""
    url = configuration.broker.url
    try:
        await _visit(configuration.broker, Topics(configuration.venue.id).base)
    except (BrokerUnavailable, TimeoutError) as error:
        why = str(error) or "it takes the connection but does not speak MQTT"
        return bad(
            "broker", f"{url}: {why}", "see `systemctl status mosquitto`; `venue-gateway broker apply` makes its files"
        )
    return ok("broker", f"{url} lets the gateway in")


async def _visit(broker: Broker, base: str) -> None:
    username, password = login(broker)
    packet = mqtt5.ConnectPacket(
        client_id=f"venue-gateway-doctor-{secrets.token_hex(8)}",
        username=username,
        password=password,
        clean_start=True,
        keep_alive=30,
    )
    filters = (f"{base}/gateway/state",)
    connection = await open_connection(broker, lambda: Connection(_Onlooker(), broker, packet, filters, Limits()))
    try:
        async with asyncio.timeout(BROKER_S):
            await connection.establish()
    finally:
        connection.say_goodbye()


async def check_devices(devices: Mapping[str, Device], *, held: bool) -> list[Finding]:
    """Look whether each device's port is there and may be opened; with `held` a running gateway has them open."""
    found = [one for one in await asyncio.gather(*map(_look, devices.values())) if one is not None]
    if not found:
        said = f"{len(devices)} configured, each port is there" if devices else "none are configured"
        return [ok("devices", said + (" (held by the running gateway)" if held and devices else ""))]
    return found


async def _look(device: Device) -> Finding | None:
    """Return what is wrong with a device, None when nothing is or when only the daemon could tell."""
    if (path := port_path(device.options)) is not None:
        return _look_at_port(device.name, path)
    return await _knock(device.name, str(getattr(device.options, "connect", "") or ""))


def _look_at_port(name: str, path: Path) -> Finding | None:
    if not path.exists():
        return bad(
            "devices", f"{name}: {path} is not there", "plug it in; `venue-gateway discover` shows what there is"
        )
    if not os.access(path, os.R_OK | os.W_OK):
        return bad("devices", f"{name}: {path} may not be opened", "run doctor as the gateway's user; see its groups")
    return None


async def _knock(name: str, address: str) -> Finding | None:
    parts = urlsplit(address)
    if parts.scheme != "tcp" or not parts.hostname or not parts.port:
        return None
    try:
        async with asyncio.timeout(CONNECT_S):
            _, writer = await asyncio.open_connection(parts.hostname, parts.port)
    except ConnectionRefusedError:
        # A network printer takes one connection at a time, and the gateway has it.
        return warning("devices", f"{name}: {address} refuses", "switch it off and on, unless the gateway is printing")
    except (OSError, TimeoutError, UnicodeError):
        return bad("devices", f"{name}: nothing answers at {address}", "check its power, its cable and the address")
    writer.close()
    return None
