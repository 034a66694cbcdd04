"""The arm64 package on an emulated processor: its own Debian, its own wheels, the daemon that starts and stops.

Emulation of one process by qemu-user; nothing is registered with the kernel, so each program is started through it.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.length import PROVING
from tests.package.tree import ENVIRONMENT, MIRROR, SUITE

ROOT = Path(__file__).resolve().parents[2]
EMULATOR = shutil.which("qemu-aarch64-static")
SITE = "/opt/venue-gateway/lib/python3.11/site-packages"
pytestmark = [
    pytest.mark.skipif(not PROVING, reason="building and emulating take minutes: VENUE_PROVE=1"),
    pytest.mark.skipif(
        os.geteuid() != 0 or EMULATOR is None or shutil.which("debootstrap") is None,
        reason="takes root, debootstrap and an emulator: apt-get install debootstrap qemu-user-static",
    ),
    pytest.mark.timeout(900),
]
LIBRARIES = """\
import aiohttp, aiomqtt, aiosqlite, barcode, cryptography, escpos, gpiod, mqtt5, msgspec, nats, nfc, PIL, platform
import prometheus_client, qrcode, rich, ruamel.yaml, serialx, structlog, tzdata, usb, uvloop
from gateway import app, cli, console
from gateway.devices.registry import DRIVERS
assert platform.machine() == "aarch64"
print(len(DRIVERS))
"""
YAML = """\
venue: {id: club, timezone: Europe/Vienna, currency: EUR}
broker: unix:///tmp/nobody.sock
state_dir: /var/lib/venue-gateway
zones: {club: {}}
devices:
  bar-printer: {driver: escpos, connect: "tcp://127.0.0.1:9"}
"""
GUESTS = """\
{"type": "credential", "technology": "em4100", "value": "4A00A70000", "holder": "ada"}
{"type": "entitlement", "id": "ticket-1", "holder": "ada", "zones": ["club"]}
"""


class Foreign:
    """A tree of another architecture, with the package unpacked in it."""

    def __init__(self, root: Path) -> None:
        self.root = root

    def make(self) -> None:
        """Unpack Debian's packages and ours; no script of theirs is run."""
        command = ["debootstrap", "--arch=arm64", "--foreign", "--variant=minbase"]
        included = "--include=python3,libusb-1.0-0,libpcsclite1"
        subprocess.run(
            [*command, included, SUITE, str(self.root), *([MIRROR] if MIRROR else [])],
            check=True, stdout=subprocess.DEVNULL, timeout=600,
        )  # fmt: skip
        built = {**os.environ, "DEB_BUILDER": sys.executable}
        subprocess.run([str(ROOT / "scripts/deb"), "arm64"], cwd=ROOT, env=built, check=True, timeout=600)
        [ours] = (ROOT / "dist").glob("venue-gateway_*_arm64.deb")
        for package in [*sorted((self.root / "var/cache/apt/archives").glob("*.deb")), ours]:
            subprocess.run(["dpkg-deb", "-x", str(package), str(self.root)], check=True, timeout=60)
        assert EMULATOR is not None
        shutil.copy(EMULATOR, self.root / "usr/bin/qemu-aarch64-static")
        subprocess.run(["mount", "-t", "proc", "proc", str(self.root / "proc")], check=True)
        for name in ("null", "urandom"):
            (self.root / "dev" / name).touch()
            subprocess.run(["mount", "--bind", f"/dev/{name}", str(self.root / "dev" / name)], check=True)
        (self.root / "venue.yaml").write_text(YAML)
        (self.root / "guests.ndjson").write_text(GUESTS)

    def python(self, *words: str, before: tuple[str, ...] = ()) -> subprocess.CompletedProcess[str]:
        """Run the tree's own Python on the emulated processor."""
        emulated = ["/usr/bin/qemu-aarch64-static", "-E", f"PYTHONPATH={SITE}", "/usr/bin/python3.11", *words]
        return subprocess.run(
            [*before, "chroot", str(self.root), *emulated],
            env=ENVIRONMENT, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=200, check=False,
        )  # fmt: skip

    def gateway(self, *words: str, before: tuple[str, ...] = ()) -> subprocess.CompletedProcess[str]:
        """Run one command of the package."""
        return self.python("-m", "gateway", *words, "--config", "/venue.yaml", before=before)

    def remove(self) -> None:
        """Take the mounts and the folder away."""
        for name in ("dev/null", "dev/urandom", "proc"):
            subprocess.run(["umount", "-l", str(self.root / name)], check=False, stderr=subprocess.DEVNULL)
        if not os.path.ismount(self.root / "proc"):
            shutil.rmtree(self.root, ignore_errors=True)


@pytest.fixture(scope="module")
def foreign() -> Iterator[Foreign]:
    one = Foreign(Path(tempfile.mkdtemp(prefix="vg-arm64-")))
    try:
        one.make()
        yield one
    finally:
        one.remove()


def test_every_library_of_the_package_loads(foreign: Foreign) -> None:
    outcome = foreign.python("-c", LIBRARIES)
    assert (outcome.returncode, outcome.stderr) == (0, "")
    assert int(outcome.stdout) > 15


def test_it_imports_starts_stops_and_its_journal_is_whole(foreign: Foreign) -> None:
    imported = foreign.gateway("directory", "import", "/guests.ndjson")
    assert imported.returncode == 0, imported.stderr
    served = foreign.gateway("run", before=("timeout", "--signal=INT", "30"))
    for event in ("gateway_ready", "gateway_stopped", "gateway.stopped"):
        assert f'"event":"{event}"' in served.stderr + served.stdout
    verified = foreign.gateway("journal", "verify")
    assert verified.stdout.strip().endswith("every one fits the chain")
