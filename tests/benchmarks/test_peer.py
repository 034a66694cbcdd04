"""The comparison with a peer can count what is lost, and says in words why there is no peer."""

import itertools
import subprocess
import sys
from pathlib import Path

import pytest

from benchmarks.floors import PEER_BASE
from benchmarks.peer import Peer, Receipt, Sizes, installed
from benchmarks.venue import listens, wait_for
from benchmarks.wire import BareClient, Question
from tests.ports import free_port

STAND_IN = Path(__file__).with_name("hasty_peer.py")
SMALL = Sizes(waiting=100, rate=100, rate64=80, alone=1, before_kill=60, settled_s=0.3, recovered_s=0.5)


@pytest.fixture
def broker(tmp_path):
    port = free_port()
    config = tmp_path / "mosquitto.conf"
    bounds = "max_inflight_messages 200\nmax_queued_messages 2000\nset_tcp_nodelay true\n"
    config.write_text(f"{bounds}listener {port} 127.0.0.1\nallow_anonymous true\n")
    with subprocess.Popen(["mosquitto", "-c", str(config)], stderr=subprocess.DEVNULL) as process:
        wait_for(lambda: listens(port), "the broker")
        yield port
        process.terminate()


async def receipt(folder: Path, port: int, manner: str) -> Receipt:
    numbers = itertools.count()

    def ask(base: str) -> Question:
        request = f"request-{next(numbers)}"
        return Question(
            request, f"{base}/clients/bench/requests/gate-01/authenticate", b'{"id":"%s"}' % request.encode()
        )

    client = await BareClient.tcp(port, "sender", "sender", "")
    try:
        peer = Peer([sys.executable, str(STAND_IN), manner], folder, port)
        return await peer.receive(client, ask, SMALL)
    finally:
        client.close()


async def test_a_peer_that_acknowledges_before_it_stores_is_seen_to_lose_messages(tmp_path, broker):
    found = await receipt(tmp_path / "peer", broker, "hasty")
    assert 0 < found.lost < found.sent
    assert found.rate > 0
    assert found.rate64 > 0
    assert found.p50_ms > 0


async def test_a_peer_that_stores_before_it_acknowledges_is_seen_to_lose_none(tmp_path, broker):
    found = await receipt(tmp_path / "peer", broker, "careful")
    assert found.sent > 0
    assert found.lost == 0


def test_a_peer_that_cannot_be_installed_is_left_out_with_the_reason_in_words(tmp_path, monkeypatch):
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    found = installed("no-such-gateway==1.0", tmp_path)
    assert found.command is None
    assert "no-such-gateway==1.0 could not be installed: " in found.reason
    assert "No matching distribution" in found.reason


def test_the_base_of_the_peer_is_no_base_of_the_gateway():
    assert PEER_BASE.startswith("venue/")
    assert PEER_BASE != "venue/bench"
