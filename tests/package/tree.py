"""A Debian in a folder: made once by debootstrap, with a stand-in for the service manager."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.length import PROVING

HERE = Path(__file__).resolve().parent
INCLUDED = "python3,mosquitto,libusb-1.0-0,libpcsclite1,systemd,udev,procps,debconf,sqlite3"
SUITE = os.environ.get("VENUE_SUITE", "bookworm")
ENVIRONMENT = {"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "LC_ALL": "C.UTF-8", "DEBIAN_FRONTEND": "noninteractive"}
MIRROR = os.environ.get("VENUE_MIRROR", "")

proving = pytest.mark.skipif(not PROVING, reason="the whole life of a package takes minutes: VENUE_PROVE=1")
needs = pytest.mark.skipif(
    os.geteuid() != 0 or shutil.which("debootstrap") is None,
    reason="a tree is made by root with debootstrap: apt-get install debootstrap",
)


class Tree:
    """A bare Debian in `root`. Commands run inside it, without any network but its own loopback."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self._network: subprocess.Popen[bytes] | None = None

    def make(self) -> None:
        """Fill the folder from the Debian mirror of this machine's debootstrap."""
        # Made by mkdtemp it would be closed to every user in it.
        self.root.chmod(0o755)
        # As a mount of its own it can be made read-only for a service, and nothing of that is seen outside.
        subprocess.run(["mount", "--bind", str(self.root), str(self.root)], check=True)
        subprocess.run(["mount", "--make-private", str(self.root)], check=True)
        self._network = subprocess.Popen(
            ["unshare", "--net", "sh", "-c", "ip link set lo up && echo && exec sleep infinity"],
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
        )  # fmt: skip
        assert self._network.stdout is not None
        assert self._network.stdout.readline(), "no network namespace of its own"
        command = ["debootstrap", "--variant=minbase", f"--include={INCLUDED}", SUITE, str(self.root)]
        subprocess.run([*command, *([MIRROR] if MIRROR else [])], check=True, stdout=subprocess.DEVNULL, timeout=900)
        real = self.root / "usr/bin/systemctl"
        real.unlink(missing_ok=True)
        shutil.copy(HERE / "systemctl.py", real)
        real.chmod(0o755)
        (self.root / "run/systemd/system").mkdir(parents=True, exist_ok=True)
        subprocess.run(["mount", "-t", "proc", "proc", str(self.root / "proc")], check=True)
        for name in ("null", "urandom"):
            (self.root / "dev" / name).touch()
            subprocess.run(["mount", "--bind", f"/dev/{name}", str(self.root / "dev" / name)], check=True)

    def run(self, *words: str, check: bool = True) -> str:
        """Run a command in the tree; returns both outputs."""
        outcome = self.outcome(*words)
        assert not check or outcome.returncode == 0, outcome.stdout
        return outcome.stdout

    def outcome(self, *words: str) -> subprocess.CompletedProcess[str]:
        """Run a command in the tree, whatever comes of it."""
        return subprocess.run(
            [*self.beside(), "chroot", str(self.root), *words],
            env=ENVIRONMENT, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
            timeout=300, check=False,
        )  # fmt: skip

    def beside(self) -> list[str]:
        """The words before a command that is to be in the tree's network, which is its loopback and nothing else."""
        assert self._network is not None
        return ["nsenter", f"--net=/proc/{self._network.pid}/ns/net"]

    def install(self, package: Path) -> subprocess.CompletedProcess[str]:
        """Install a package as `dpkg -i` does."""
        shutil.copy(package, self.root / "tmp" / package.name)
        return self.outcome("dpkg", "-i", f"/tmp/{package.name}")

    def purge_with_data(self) -> None:
        """Purge the package and say yes to the question whether the data goes too."""
        answer = "venue-gateway venue-gateway/purge-data boolean true"
        self.run("sh", "-c", f"echo '{answer}' | debconf-set-selections")
        self.run("dpkg", "--purge", "venue-gateway")

    def remove(self) -> None:
        """Stop what runs in it and delete it."""
        if self._network is not None:
            for unit in ("venue-gateway", "mosquitto"):
                self.outcome("systemctl", "stop", unit)
            self._network.kill()
            self._network.communicate()
        for name in ("dev/null", "dev/urandom", "proc", ""):
            subprocess.run(["umount", "-l", str(self.root / name)], check=False, stderr=subprocess.DEVNULL)
        if not os.path.ismount(self.root) and not os.path.ismount(self.root / "proc"):
            shutil.rmtree(self.root, ignore_errors=True)
