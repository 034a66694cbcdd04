"""A configuration from above, in the package: the unit lets the service write where it must, and nowhere else."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.bulletin import WAIT_S
from tests.package.tree import Tree, needs, proving

ETC = "etc/venue-gateway"
CONFIG = f"{ETC}/config/gateway.yaml"
UPSTREAM = """\
upstream:
  url: {url}
  ca_file: /etc/venue-gateway/config/upstream.pem
  directory: true
  fleet: {{orders: [configuration, lock_down]}}
"""
GUESTS = [{"type": "credential", "technology": "em4100", "value": "4A00A70000", "holder": "ada"}]
LOG = "/var/log/venue-gateway.service.log"
ASK = """\
import json, ssl, sys, time, urllib.request
url, ca_file, until_s, kind, what = sys.argv[1:6]
context = ssl.create_default_context(cafile=ca_file)
def call(path, told=None):
    data = None if told is None else json.dumps(told).encode()
    return urllib.request.urlopen(urllib.request.Request(url + path, data), timeout=10, context=context).read().decode()
if kind == "post":
    print(call("/control/" + what, json.loads(sys.argv[6])))
else:
    end = time.monotonic() + float(until_s)
    while time.monotonic() < end:
        facts = [json.loads(line) for line in call("/control/events").splitlines()]
        found = [one["data"] for one in facts if one["type"] in ("venue.order.ended", "venue.order.refused")]
        if found := [one for one in found if one["order_id"] == what]:
            print(json.dumps(found[0]))
            break
        time.sleep(0.05)
"""
pytestmark = [proving, needs, pytest.mark.timeout(900)]


class Above:
    """The reference upstream with TLS, in the tree's own network."""

    def __init__(self, tree: Tree, folder: Path) -> None:
        self._tree = tree
        self.folder = folder
        words = [sys.executable, "-m", "simulators.upstream", "--folder", str(folder), "--tls", "right"]
        self._process = subprocess.Popen([*tree.beside(), *words], stdout=subprocess.PIPE, text=True)
        assert self._process.stdout is not None
        self.url = json.loads(self._process.stdout.readline())["ready"]
        self.ca_file = folder / "authority.crt"

    def _ask(self, *words: str) -> str:
        command = [
            *self._tree.beside(),
            sys.executable,
            "-c",
            ASK,
            self.url,
            str(self.ca_file),
            str(6 * WAIT_S),
            *words,
        ]
        return subprocess.run(command, check=True, capture_output=True, text=True, timeout=90).stdout

    def invite(self) -> str:
        return str(json.loads(self._ask("post", "invite", json.dumps("club")))["code"])

    def tell(self, what: str, told: Any) -> None:
        """Tell upstream what it has for venues."""
        self._ask("post", what, json.dumps(told))

    def order(self, kind: str, **data: Any) -> dict[str, Any]:
        """Order something and return what became of it."""
        return self.outcome(self.give(kind, **data))

    def give(self, kind: str, **data: Any) -> str:
        """Order something; returns the order's id."""
        told = {"venue": "club", "kind": kind, "data": data}
        return str(json.loads(self._ask("post", "order", json.dumps(told)))["id"])

    def outcome(self, order: str) -> dict[str, Any]:
        """What became of an order."""
        told = self._ask("wait", order)
        assert told, f"nothing came of the order {order}"
        return dict(json.loads(told))

    def stop(self) -> None:
        self._process.terminate()
        self._process.communicate(timeout=10)


@pytest.fixture
def above(tree: Tree, tmp_path: Path) -> Iterator[Above]:
    (tmp_path / "up").mkdir()
    made = Above(tree, tmp_path / "up")
    yield made
    made.stop()


@pytest.fixture
def printer(tree: Tree, tmp_path: Path) -> Iterator[str]:
    """Where a receipt printer is, in the tree's own network."""
    places = ["--control", str(tmp_path / "printer.sock"), "--receipts", str(tmp_path / "receipts")]
    words = [sys.executable, "-m", "simulators.escpos_printer", "--tcp", "127.0.0.1:0", *places]
    with subprocess.Popen([*tree.beside(), *words], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        ready = json.loads(process.stdout.readline())
        yield f"{ready['host']}:{ready['port']}"
        process.terminate()


def installed(tree: Tree, package: Path, above: Above, printer: str) -> str:
    """Set a venue up as the manual says, with its file where upstream may order one. Returns its YAML."""
    assert tree.install(package).returncode == 0
    tree.run("venue-gateway", "init", "--id", "club", "--timezone", "Europe/Vienna", "--tablet", "bar")
    tree.run("venue-gateway", "broker", "apply", "--name", "127.0.0.1")
    for command in manual_of_orders():
        tree.run("sh", "-ec", command)
    (tree.root / ETC / "config/upstream.pem").write_bytes(above.ca_file.read_bytes())
    text = (tree.root / CONFIG).read_text() + UPSTREAM.format(url=above.url)
    assert "# devices:\n" in text
    text = text.replace("# devices:\n", f"devices:\n  bar-printer: {{driver: escpos, connect: 'tcp://{printer}'}}\n")
    (tree.root / CONFIG).write_text(text)
    tree.run("systemctl", "start", "mosquitto")
    tree.run("systemctl", "start", "venue-gateway")
    tree.run(
        "setpriv", "--reuid=venue-gateway", "--regid=venue-gateway", "--clear-groups",
        "venue-gateway", "enroll", above.url, "--code", above.invite(),
        "--ca-file", "/etc/venue-gateway/config/upstream.pem",
    )  # fmt: skip
    tree.run("systemctl", "reload-or-restart", "venue-gateway")
    return text


def manual_of_orders() -> list[str]:
    """The commands of operations.md by which a technician lets upstream order a configuration."""
    page = (Path(__file__).resolve().parents[2] / "docs/operations.md").read_text()
    [block] = [block for block in page.split("```")[1::2] if "ln -s config/gateway.yaml" in block]
    lines = block.strip().splitlines()
    return ["cd /etc/venue-gateway && " + line if line.startswith("ln ") else line for line in lines]


def test_a_signed_configuration_is_kept_or_rolled_back_by_the_hardened_service(
    tree: Tree, packages: dict[str, Path], above: Above, printer: str
) -> None:
    text = installed(tree, packages["first"], above, printer)
    is_told_of_guests(tree, above)
    better = text.replace("Europe/Vienna", "Europe/Berlin")
    done = above.order("configuration", yaml=better, healthy_within_s=30)
    assert done.get("outcome") == "done", done
    assert (tree.root / CONFIG).read_text() == better
    assert (tree.root / f"{CONFIG}.before").read_text() == text
    # A printer that is not there any more is a configuration that does no good.
    back = above.order("configuration", yaml=better.replace(printer, "127.0.0.1:9"), healthy_within_s=5)
    assert back.get("outcome") == "rolled_back", back
    assert "offline since: bar-printer" in back["message"]
    assert (tree.root / CONFIG).read_text() == better
    assert (tree.root / ETC / "gateway.yaml").is_symlink()
    is_rolled_back_after_a_crash(tree, above, better, better.replace(printer, "127.0.0.1:9"))
    writes_nowhere_else(tree)
    tree.purge_with_data()


def is_told_of_guests(tree: Tree, above: Above) -> None:
    """The service starts an import of its own, which the unit must let it do."""
    above.tell("directory", GUESTS)
    look = "for i in $(seq 300); do venue-gateway journal export | grep -q directory.loaded && exit; sleep 0.1; done"
    tree.run("sh", "-c", f"{look}; cat {LOG}; exit 1")


def is_rolled_back_after_a_crash(tree: Tree, above: Above, good: str, bad: str) -> None:
    order = above.give("configuration", yaml=bad, healthy_within_s=600)
    look = f"for i in $(seq 300); do [ -e /{CONFIG}.trial ] && exit; sleep 0.1; done; exit 1"
    tree.run("sh", "-c", look)
    tree.run("sh", "-c", "kill -9 $(cat /run/stand-in/venue-gateway.service.pid)")
    tree.run("systemctl", "start", "venue-gateway")
    assert above.outcome(order)["outcome"] == "rolled_back"
    assert (tree.root / CONFIG).read_text() == good


def writes_nowhere_else(tree: Tree) -> None:
    """Keys, the authority and the program are not the service's to write: neither by owner nor by mount."""
    pid = (tree.root / "run/stand-in/venue-gateway.service.pid").read_text().strip()
    for path, may in {
        "/var/lib/venue-gateway": True, "/etc/venue-gateway/config": True, "/etc/venue-gateway": False,
        "/etc/venue-gateway/keys": False, "/etc/venue-gateway/broker": False, "/opt/venue-gateway": False,
        "/etc": False, "/run": False, "/var/log": False,
    }.items():  # fmt: skip
        inside = ["nsenter", f"--mount=/proc/{pid}/ns/mnt", f"--root=/proc/{pid}/root"]
        tried = subprocess.run([*inside, "sh", "-c", f"touch {path}/probe && rm {path}/probe"], check=False, timeout=20)
        assert (tried.returncode == 0) is may, path
