"""Two test runs beside each other are never given the same port."""

from __future__ import annotations

import socket
import subprocess
import sys
from pathlib import Path

from tests import ports

ROOT = Path(__file__).resolve().parent.parent
EPHEMERAL = Path("/proc/sys/net/ipv4/ip_local_port_range")
ASK = "import sys; from tests import ports; ports.FIRST, ports.END = map(int, sys.argv[1:]); print(ports.free_port())"


def test_each_is_another_and_none_that_an_outgoing_connection_could_take() -> None:
    given = [ports.free_port() for _ in range(ports.BLOCK + 1)]
    assert len(set(given)) == len(given)
    assert max(given) < int(EPHEMERAL.read_text().split()[0])


def test_one_that_somebody_listens_on_is_passed_over() -> None:
    port = ports.free_port()
    assert ports._is_free(port)
    with socket.create_server(("127.0.0.1", port)):
        assert not ports._is_free(port)


def test_what_this_process_has_claimed_no_other_is_given() -> None:
    block = ports._claimed_block()
    other = subprocess.run(
        [sys.executable, "-c", ASK, str(block.start), str(block.stop)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert other.returncode == 1, other.stdout
    assert "other test runs hold all ports" in other.stderr
