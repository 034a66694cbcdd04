"""A whole Debian computer in QEMU, with a real kernel, a console and USB sockets: for what a folder cannot show.

Its disk is made from a tree that debootstrap filled. A small agent on a serial line runs commands in it as root; QMP
plugs keyboards in and out and presses their keys.
"""

from __future__ import annotations

import json
import select
import shutil
import socket
import subprocess
import threading
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tests.package import radio_scanner

QEMU = shutil.which("qemu-system-x86_64")
BOOT_S = 240.0
"""The processor is emulated, so that this runs where virtual machines cannot; a start takes most of a minute."""
KEY_S = 0.012
KEYS = "/run/tty1-keys"
"""Whatever the first console was given as keys since the computer's start, in the guest."""

AGENT = """\
import json, os, subprocess, termios, tty
line = os.open("/dev/ttyS1", os.O_RDWR | os.O_NOCTTY)
tty.setraw(line)
stream = os.fdopen(line, "rb", buffering=0)
os.write(line, b'{"ready": true}\\n')
while True:
    words = bytearray()
    while not words.endswith(b"\\n"):
        words += stream.read(1)
    done = subprocess.run(json.loads(words), shell=True, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                          stderr=subprocess.STDOUT)
    answer = json.dumps({"status": done.returncode, "output": done.stdout.decode(errors="replace")}).encode() + b"\\n"
    while answer:
        answer = answer[os.write(line, answer):]
"""
AGENT_UNIT = """\
[Unit]
DefaultDependencies=no
After=dev-ttyS1.device
[Service]
ExecStart=/usr/bin/python3 /usr/local/lib/agent.py
"""
# From the first moment of the computer there is somebody at the console who takes down each key.
LISTENER = f"""\
#!/bin/sh
[ "$1" = prereqs ] && exit 0
stty -F /dev/tty1 raw -echo
cat /dev/tty1 >{KEYS} &
"""
HOOK = """\
#!/bin/sh
[ "$1" = prereqs ] && exit 0
. /usr/share/initramfs-tools/hook-functions
copy_exec /bin/stty /bin/stty
copy_exec /bin/cat /bin/cat
"""


def furnish(root: Path) -> None:
    """Put agent and listener into a tree, and have it make its own initial ram disk anew."""
    files = {
        "usr/local/lib/agent.py": (AGENT, 0o644),
        "usr/local/bin/radio-scanner": (f"#!/usr/bin/python3\n{Path(radio_scanner.__file__).read_text()}", 0o755),
        "etc/systemd/system/agent.service": (AGENT_UNIT, 0o644),
        "etc/initramfs-tools/scripts/init-top/a-listener": (LISTENER, 0o755),
        "etc/initramfs-tools/hooks/listener": (HOOK, 0o755),
        "etc/fstab": ("/dev/vda / ext4 defaults 0 1\n", 0o644),
    }
    for name, (text, mode) in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
        path.chmod(mode)
    wants = root / "etc/systemd/system/sysinit.target.wants"
    wants.mkdir(exist_ok=True)
    for link, target in {
        wants / "agent.service": "/etc/systemd/system/agent.service",
        # The listener is the only one at the console: what a login would take must be seen to have come.
        root / "etc/systemd/system/getty@tty1.service": "/dev/null",
    }.items():
        link.unlink(missing_ok=True)
        link.symlink_to(target)


def make_disk(root: Path, disk: Path) -> None:
    """Make an ext4 disk of a tree."""
    disk.unlink(missing_ok=True)
    command = ["mke2fs", "-q", "-t", "ext4", "-d", str(root), str(disk), "2G"]
    subprocess.run(command, check=True, timeout=300, stdout=subprocess.DEVNULL)


class Computer:
    """One that runs. `wedge` is a USB keyboard that is plugged in and out; the person's own hangs on PS/2."""

    def __init__(self, process: subprocess.Popen[bytes], agent: socket.socket, qmp: socket.socket) -> None:
        self._process = process
        self._pace = threading.Event()
        self._agent, self._qmp = agent, qmp
        self._agent_lines = _lines(self._agent)
        self._qmp_lines = _lines(self._qmp)
        next(self._qmp_lines)
        self.qmp("qmp_capabilities")

    keys_file = KEYS
    keeps_codes = True

    def is_ready(self) -> bool:
        """Return True once the agent has said that it is there."""
        return bool(select.select([self._agent], [], [], 0)[0])

    def until_ready(self) -> None:
        """Wait for the agent, which is there early in a start."""
        assert next(self._agent_lines) == {"ready": True}

    def run(self, command: str, *, check: bool = True) -> str:
        """Run a shell's command as root, and return what it said."""
        self._agent.sendall(json.dumps(command).encode() + b"\n")
        answer = next(self._agent_lines)
        assert not check or answer["status"] == 0, f"{command}: {answer}"
        return str(answer["output"])

    def until(self, command: str, *, within_s: float = 60) -> str:
        """Run a command in the guest until it succeeds: many things change there that tell nobody."""
        end = f"$(($(date +%s) + {round(within_s)}))"
        loop = f"end={end}; until ( {command} ); do [ $(date +%s) -lt $end ] || exit 1; sleep 0.2; done"
        return self.run(loop)

    def qmp(self, execute: str, **arguments: Any) -> Any:
        """Ask the machine itself."""
        self._qmp.sendall(json.dumps({"execute": execute, "arguments": arguments}).encode())
        while True:
            answer = next(self._qmp_lines)
            assert "error" not in answer, answer
            if "return" in answer:
                return answer["return"]

    def plug(self, *, serial: str = "S1") -> None:
        """Plug the scanner in."""
        self.qmp("device_add", driver="usb-kbd", id="wedge", bus="usb.0", display="screen", serial=serial)

    def unplug(self) -> None:
        """Pull the scanner out."""
        self.qmp("device_del", id="wedge")

    def scan(self, text: str) -> None:
        """Type at the scanner: small letters and digits, then Enter."""
        self._press([*text, "ret"], device="screen")

    def type(self, text: str) -> None:
        """Type at the person's own keyboard."""
        self._press([*text, "ret"])

    def _press(self, keys: list[str], **where: str) -> None:
        for key in keys:
            for down in (True, False):
                event = {"type": "key", "data": {"down": down, "key": {"type": "qcode", "data": key}}}
                self.qmp("input-send-event", events=[event], **where)
                # The pace of a scanner, nothing is waited for: its own store has room for a handful of keys.
                self._pace.wait(KEY_S)

    def close(self) -> None:
        """Hang both lines up."""
        for lines, link in ((self._agent_lines, self._agent), (self._qmp_lines, self._qmp)):
            lines.close()
            link.close()

    def typed(self) -> str:
        """What the console was given so far."""
        return self.run(f"cat {KEYS}").replace("\r", "\n")

    def stop(self) -> None:
        """Write everything to the disk, and pull the plug."""
        self.run("sync")
        self._process.kill()


@contextmanager
def computer(folder: Path, disk: Path, boot: Path, arguments: str, *, plugged: bool = False) -> Iterator[Computer]:
    """Start a computer; `arguments` go to its kernel, which lies in `boot`. `plugged`: the scanner is in already."""
    assert QEMU is not None
    kernel, initrd = max(boot.glob("vmlinuz-*")), max(boot.glob("initrd.img-*"))
    command = [
        QEMU, "-machine", "pc", "-accel", "tcg", "-cpu", "max", "-m", "768", "-nodefaults", "-no-user-config",
        "-display", "none", "-device", "VGA,id=screen", "-device", "qemu-xhci,id=usb",
        "-drive", f"file={disk},if=virtio,format=raw", "-kernel", str(kernel), "-initrd", str(initrd),
        "-append", f"root=/dev/vda rw console=ttyS0 {arguments}", "-serial", f"file:{folder / 'serial.log'}",
        "-serial", f"unix:{folder / 'agent'},server=off", "-qmp", f"unix:{folder / 'qmp'},server=off",
        *(("-device", "usb-kbd,id=wedge,bus=usb.0,display=screen,serial=S1") if plugged else ()),
    ]  # fmt: skip
    with (
        _listening(folder / "agent") as agent,
        _listening(folder / "qmp") as qmp,
        (folder / "qemu.log").open("wb") as log,
        subprocess.Popen(command, stdout=log, stderr=log) as process,
    ):
        machine = None
        try:
            machine = Computer(process, _caller(agent), _caller(qmp))
            yield machine
        finally:
            process.kill()
            if machine is not None:
                machine.close()


def _listening(path: Path) -> socket.socket:
    path.unlink(missing_ok=True)
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(str(path))
    listener.listen(1)
    # QEMU calls before it starts its processor; without a call its log says why.
    listener.settimeout(20)
    return listener


def _caller(listener: socket.socket) -> socket.socket:
    link, _ = listener.accept()
    link.settimeout(BOOT_S)
    return link


def _lines(link: socket.socket) -> Generator[Any, None, None]:
    with link.makefile("rb") as stream:
        for line in stream:
            yield json.loads(line)
