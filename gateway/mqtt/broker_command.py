"""`venue-gateway broker write`: Mosquitto's files, generated from the configuration."""

from __future__ import annotations

import sys
from pathlib import Path

from gateway.config.schema import Configuration
from gateway.mqtt.broker_files import Listener, write_broker_files

OK, REFUSED = 0, 1
PORT_MAX = 65535


def write(configuration: Configuration, folder: Path, listen: str, user: str) -> int:
    """Write the files into `folder` and tell their names; returns the exit status, 1 when something is wrong."""
    host, _, port = listen.rpartition(":")
    if not (port.isascii() and port.isdigit() and len(port) <= 5 and 1 <= int(port) <= PORT_MAX):
        return _complain(
            f"--listen takes HOST:PORT such as 0.0.0.0:1883, with a port from 1 to {PORT_MAX}, not {listen!r}"
        )
    try:
        files = write_broker_files(
            configuration,
            folder,
            listener=Listener(port=int(port), host=host),
            socket_path=configuration.broker.socket_path,
            user=user,
        )
    except PermissionError:
        # The command line says the same to all of these.
        raise
    except OSError as error:
        return _complain(f"{error.filename or folder}: {error.strerror}")
    print(f"{files.configuration}\n{files.acl}\n{files.passwords}")
    print(f"Each client's password is in {configuration.state_dir / 'clients'}.")
    return OK


def _complain(text: str) -> int:
    print(text, file=sys.stderr)
    return REFUSED
