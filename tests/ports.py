"""TCP ports for programs that must be told theirs before they start, or find it again after a restart.

A port that was free a moment ago may be somebody else's now. So these lie below the range from which Linux serves
whoever asks for any port, and a process claims a block of them against every other test run of this machine.
"""

from __future__ import annotations

import contextlib
import random
import socket
from collections.abc import Iterator

FIRST, END = 20_000, 32_000
"""Linux gives out 32768 and above by itself (`net.ipv4.ip_local_port_range`)."""
BLOCK = 100

_claims: list[socket.socket] = []


def free_port() -> int:
    """Return a port nobody listens on, which no other test is given while this process lives."""
    return next(_ports)


def _free_ports() -> Iterator[int]:
    while True:
        yield from (port for port in _claimed_block() if _is_free(port))


def _claimed_block() -> range:
    """Claim a block by a name in the kernel, which goes with this process however that ends."""
    starts = list(range(FIRST, END, BLOCK))
    random.SystemRandom().shuffle(starts)
    for start in starts:
        claim = socket.socket(socket.AF_UNIX)
        try:
            claim.bind(f"\0venue-gateway-test-ports-{start}")
        except OSError:
            claim.close()
        else:
            _claims.append(claim)
            return range(start, start + BLOCK)
    raise OSError(f"other test runs hold all ports from {FIRST} to {END}; wait for one to end")


def _is_free(port: int) -> bool:
    with contextlib.closing(socket.socket()) as probe:
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
        return True


_ports = _free_ports()
