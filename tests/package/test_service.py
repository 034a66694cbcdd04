"""The service under a real systemd, on a whole computer: installed, hung, killed, starved, upgraded and purged."""

from __future__ import annotations

import io
import json
import os
import re
import shutil
import subprocess
import tarfile
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.length import PROVING
from tests.package.computer import QEMU, computer, make_disk
from tests.package.door import BY_ID, CONFIG, DEVICES, READER, SHUT, UNIT, Door
from tests.package.test_scanner_keys import TOOLS, install
from tests.package.variants import never_ready, other_files, variant

ROOT = Path(__file__).resolve().parents[2]
EXPOSURE_MAX = 2.0
STARTS_MAX = 10
"""The unit's StartLimitBurst."""
KEYS = "/etc/venue-gateway/keys"
STATE = "/var/lib/venue-gateway"
PYTHON = "/opt/venue-gateway/bin/python"
pytestmark = [
    pytest.mark.skipif(not PROVING, reason="a computer is installed and started in minutes: VENUE_PROVE=1"),
    pytest.mark.skipif(
        os.geteuid() != 0 or QEMU is None or not all(map(shutil.which, (*TOOLS, "debugfs"))),
        reason="takes root, an emulator and debootstrap: apt-get install qemu-system-x86 debootstrap e2fsprogs",
    ),
    pytest.mark.timeout(1800),
]
# Every thread but the loop's is stopped, and reaped when the process dies.
FREEZE = """\
import ctypes, os, sys
seize, interrupt, all_kinds = 0x4206, 0x4207, 0x40000000
pid, libc = sys.argv[1], ctypes.CDLL(None, use_errno=True)
for task in os.listdir(f"/proc/{pid}/task"):
    if task != pid:
        assert libc.ptrace(seize, int(task), None, None) == 0, ctypes.get_errno()
        assert libc.ptrace(interrupt, int(task), None, None) == 0, ctypes.get_errno()
print("frozen", flush=True)
try:
    while True:
        os.waitpid(-1, all_kinds)
except ChildProcessError:
    pass
"""
# What a process of the service may open: run as root, which the computer itself stops at nothing.
OPENS = """\
import errno, os, re
text = open("/lib/systemd/system/venue-gateway.service").read()
characters = open("/proc/devices").read().partition("Block devices:")[0]
majors = {name: int(number) for number, name in re.findall(r"^ *(\\d+) (\\S+)$", characters, re.M)}
disk = os.stat("/dev/vda").st_rdev
nodes = {"disk": (0o060000, disk), "memory": (0o020000, os.makedev(1, 1)), "screen": (0o020000, os.makedev(29, 0))}
for name in re.findall(r"^DeviceAllow=char-(\\S+)", text, re.M):
    if name in majors:
        nodes[name] = (0o020000, os.makedev(majors[name], 200))
    else:
        print(name, "unknown")
os.mkdir("/srv/nodes")
for name, (kind, number) in nodes.items():
    os.mknod(f"/srv/nodes/{name}", 0o600 | kind, number)
open("/sys/fs/cgroup/system.slice/venue-gateway.service/cgroup.procs", "w").write(str(os.getpid()))
for name in nodes:
    try:
        os.close(os.open(f"/srv/nodes/{name}", os.O_RDWR | os.O_NONBLOCK))
    except OSError as error:
        print(name, errno.errorcode[error.errno])
    else:
        print(name, "opened")
"""
POST = """\
import json, ssl, sys, urllib.request
context = ssl.create_default_context(cafile="/var/above/authority.crt")
told = None if sys.argv[2] == "-" else sys.argv[2].encode()
request = urllib.request.Request("https://127.0.0.1:8444/control/" + sys.argv[1], told)
print(urllib.request.urlopen(request, timeout=60, context=context).read().decode())
"""


def put(disk: Path, source: Path, name: str) -> None:
    """Write a file into /srv of a disk that no computer has."""
    done = subprocess.run(
        ["debugfs", "-w", "-R", f"write {source} /srv/{name}", str(disk)], capture_output=True, text=True, check=True
    )
    assert "Allocated inode" in done.stderr + done.stdout, done.stderr


def packed_simulators(folder: Path) -> Path:
    with tarfile.open(folder / "simulators.tar", "w") as tar:
        for file in sorted((ROOT / "simulators").rglob("*.py")):
            tar.add(file, file.relative_to(ROOT))
        for name, text in (("post.py", POST), ("freeze.py", FREEZE), ("opens.py", OPENS)):
            entry = tarfile.TarInfo(name)
            entry.size = len(text.encode())
            tar.addfile(entry, io.BytesIO(text.encode()))
    return folder / "simulators.tar"


@pytest.fixture(scope="module")
def folder() -> Iterator[Path]:
    """A folder with `boot/` and a `disk.img`, whose computer was never started and has no configuration."""
    with tempfile.TemporaryDirectory(prefix="vg-service-") as name:
        one = Path(name)
        root = Path(os.environ.get("VENUE_TREE", one / "root"))
        if not root.exists():
            root.mkdir()
            install(root)
        package = Path(os.environ.get("VENUE_DEB") or next((ROOT / "dist").glob("venue-gateway_*_amd64.deb")))
        shutil.copytree(root / "boot", one / "boot")
        make_disk(root, one / "disk.img")
        subprocess.run(["debugfs", "-w", "-R", f"rm {CONFIG}", str(one / "disk.img")], capture_output=True, check=True)
        put(one / "disk.img", package, "gateway.deb")
        put(one / "disk.img", variant(package, "0.3.0", one, never_ready, other_files), "broken.deb")
        put(one / "disk.img", packed_simulators(one), "simulators.tar")
        yield one


@pytest.fixture(scope="module")
def door(folder: Path) -> Iterator[Door]:
    """A venue that a technician has brought up with the words of installation.md. Readers came after the start."""
    with computer(folder, folder / "disk.img", folder / "boot", "quiet") as machine:
        machine.until_ready()
        one = Door(machine, folder)
        try:
            machine.until("systemctl is-active -q multi-user.target", within_s=180)
            machine.run("tar -C /srv -xf /srv/simulators.tar")
            machine.run(
                f"venue-gateway init --id club --timezone Europe/Vienna --tablet bar; venue-gateway check {CONFIG}"
            )
            assert "no anonymous access" in machine.run("venue-gateway broker apply")
            machine.run(f"systemctl enable --now {UNIT}")
            is_plugged_in_later(one)
            yield one
        finally:
            one.close()


def is_plugged_in_later(door: Door) -> None:
    """No serial adapter was there when the service started: its kind is new to the kernel, and may be opened."""
    door.reader.plug()
    door.relay.plug()
    door.machine.until(f"test -e {BY_ID.format(READER)}")
    text = door.machine.run(f"cat {CONFIG}")
    head = text[: text.index("devices:")].rstrip("# \n")
    console = text[text.index("console:") :]
    door.write(CONFIG, f"{head}\n{DEVICES}{console}")
    door.write("/srv/guests.ndjson", door.guests())
    door.machine.run("venue-gateway directory import /srv/guests.ndjson")
    door.machine.run(f"systemctl reload {UNIT}")
    door.is_ready()
    door.lets_one_in()


@pytest.fixture(autouse=True)
def calm(door: Door) -> None:
    """Each test begins with a service that runs, and with no start of an earlier test counted."""
    door.machine.run(f"systemctl reset-failed {UNIT}; systemctl start {UNIT}")
    door.is_ready()


def test_it_serves_behind_the_whole_of_its_walls(door: Door) -> None:
    assert (door.shows("Type"), door.shows("NotifyAccess")) == ("notify", "main")
    level = re.search(r"exposure level for \S+: ([\d.]+)", door.machine.run(f"systemd-analyze security {UNIT}"))
    assert level
    assert float(level[1]) <= EXPOSURE_MAX
    pid = door.shows("MainPID")
    status = door.machine.run(f"cat /proc/{pid}/status")
    for line in ("CapEff:\t0000000000000000", "CapBnd:\t0000000000000000", "NoNewPrivs:\t1", "Seccomp:\t2"):
        assert line in status
    inside = f"nsenter --mount --target {pid} touch"
    for path in ("/usr/x", "/etc/venue-gateway/x", f"{KEYS}/x", "/boot/x", "/var/log/x", "/home/x"):
        assert re.search(
            r"Read-only file system|No such file|denied", door.machine.run(f"{inside} {path}", check=False)
        )
    door.machine.run(f"{inside} {STATE}/x && rm {STATE}/x")
    doctor = door.machine.run("venue-gateway doctor", check=False)
    assert "BAD" not in doctor
    assert "lets the gateway in" in doctor


def test_it_may_open_the_hardware_of_a_venue_and_nothing_else(door: Door) -> None:
    said = dict(line.split() for line in door.machine.run("python3 /srv/opens.py").splitlines())
    assert [said.pop(name) for name in ("disk", "memory", "screen")] == ["EPERM"] * 3
    # What is unknown here is a Raspberry Pi's, or comes with a parallel port.
    assert {name for name, tried in said.items() if tried == "unknown"} <= {"ttyAMA", "lp"}
    assert "EPERM" not in said.values()
    door.reader.unplug()
    door.machine.until(f"systemctl show -p StatusText {UNIT} | grep -q '1 of 3'")
    door.reader.plug()
    door.is_ready()
    door.lets_one_in()


def test_its_keys_are_handed_over_and_lie_where_it_cannot_reach(door: Door) -> None:
    run = door.machine.run
    handed = f"/run/credentials/{UNIT}.service"
    assert f"CREDENTIALS_DIRECTORY={handed}" in run(f"tr '\\0' '\\n' </proc/{door.shows('MainPID')}/environ")
    run(f"cmp {handed}/credential.key {KEYS}/credential.key; test ! -e {STATE}/credential.key")
    run(f"! runuser -u {UNIT} -- cat {KEYS}/credential.key")
    run(
        "mkdir /var/above; systemd-run -q --unit above -p WorkingDirectory=/srv "
        f"{PYTHON} -m simulators.upstream --folder /var/above --tls right --port 8444"
    )
    door.machine.until("journalctl -q -u above -o cat | grep -q ready")
    run("install -m 0644 /var/above/authority.crt /etc/venue-gateway/upstream.pem")
    upstream = "{url: https://127.0.0.1:8444, ca_file: /etc/venue-gateway/upstream.pem, directory: false, fleet: {}}"
    door.write(CONFIG, f"{run(f'cat {CONFIG}')}upstream: {upstream}\n")
    code = json.loads(run("python3 /srv/post.py invite '\"club\"'"))["code"]
    # The words of operations.md, but that its editor is a file here.
    run(
        f"runuser -u {UNIT} -- venue-gateway enroll https://127.0.0.1:8444 --code {code} "
        "--ca-file /etc/venue-gateway/upstream.pem"
    )
    run(f"mv {STATE}/fleet/identity.key {KEYS}/; chown root:root {KEYS}/identity.key")
    run(f"mkdir -p /etc/systemd/system/{UNIT}.service.d")
    drop_in = f"[Service]\nLoadCredential=identity.key:{KEYS}/identity.key\n"
    door.write(f"/etc/systemd/system/{UNIT}.service.d/override.conf", drop_in)
    before = door.shows("InvocationID")
    run(f"systemctl daemon-reload; systemctl restart {UNIT}")
    door.another_run(before)
    assert "identity.key" in run(f"ls {handed}")
    assert "identity.key" not in run(f"ls {STATE}/fleet")
    # Upstream takes events of this venue by its certificate alone; whoever lacks the key has none.
    door.machine.until("python3 /srv/post.py events - | grep -q venue.entry.granted", within_s=120)


def test_a_loop_that_hangs_is_ended_and_started_anew(door: Door) -> None:
    before = door.shows("InvocationID")
    door.machine.run(f"kill -STOP {door.shows('MainPID')}")
    door.logged("Failed with result 'watchdog'", within_s=120)
    door.another_run(before)


def test_a_writer_that_hangs_is_ended_though_the_loop_goes_on(door: Door) -> None:
    before = door.shows("InvocationID")
    door.machine.run(f"systemd-run -q --unit freeze python3 /srv/freeze.py {door.shows('MainPID')}")
    door.machine.until("journalctl -q -u freeze -o cat | grep -q frozen")
    page = "import http.client, socket, ssl; context = ssl._create_unverified_context(); "
    page += "page = http.client.HTTPSConnection('127.0.0.1', 8443, context=context, timeout=20); "
    page += "page.request('GET', '/', headers={'Host': socket.gethostname() + ':8443'}); "
    page += "print(page.getresponse().status)"
    assert door.machine.run(f'python3 -c "{page}"').strip() == "200"
    door.logged("Failed with result 'watchdog'", within_s=120)
    door.another_run(before)


def test_a_daemon_that_is_killed_starts_anew_and_one_that_crashes_on_and_on_stops(door: Door) -> None:
    before = door.shows("InvocationID")
    door.machine.run(f"systemctl kill -s KILL --kill-who=main {UNIT}")
    door.another_run(before)
    door.machine.run(f"systemctl reset-failed {UNIT}")
    kills = door.machine.run(
        f"n=0; while [ $n -lt 20 ]; do state=$(systemctl is-active {UNIT}); [ $state != failed ] || break; "
        f"systemctl kill -s KILL --kill-who=main {UNIT} 2>/dev/null && n=$((n + 1)); sleep 0.5; done; echo $n"
    )
    assert int(kills) <= STARTS_MAX + 1
    assert door.shows("ActiveState") == "failed"
    door.logged("Start request repeated too quickly")
    door.machine.run(f"systemctl reset-failed {UNIT}; systemctl start {UNIT}")
    door.is_ready()
    door.lets_one_in()


def test_a_device_that_crashes_on_and_on_is_no_crash_of_the_service(door: Door) -> None:
    run, starts, pid = door.shows("InvocationID"), door.shows("NRestarts"), door.shows("MainPID")
    cgroup = f"/sys/fs/cgroup/system.slice/{UNIT}.service/cgroup.procs"
    door.machine.run(
        f"n=0; while [ $n -lt 5 ]; do child=$(grep -vx {pid} {cgroup} | head -n 1); "
        '[ -z "$child" ] || { kill -9 $child && n=$((n + 1)); }; sleep 0.2; done'
    )
    door.lets_one_in()
    assert (door.shows("InvocationID"), door.shows("NRestarts")) == (run, starts)


def test_a_reload_takes_what_is_right_and_says_which_line_is_wrong(door: Door) -> None:
    text = door.machine.run(f"cat {CONFIG}")
    door.write(CONFIG, text.replace("door-relay.1", "door-relay.9x"))
    door.machine.run(f"systemctl reload {UNIT}")
    line = text[: text.index("door-relay.1")].count("\n") + 1
    door.machine.until(f"systemctl show -p StatusText {UNIT} | grep -q 'runs on: .*gateway.yaml:{line}:'")
    door.lets_one_in()
    door.write(CONFIG, text)
    door.machine.run(f"systemctl reload {UNIT}")
    door.machine.until(f"! systemctl show -p StatusText {UNIT} | grep -q 'runs on'")
    door.lets_one_in()


def test_it_ends_in_order_and_its_log_is_the_journals(door: Door) -> None:
    run = door.shows("InvocationID")
    door.opens()
    door.machine.run(f"systemctl stop {UNIT}")
    # Whoever is inside the door's pulse when it ends leaves no open door behind.
    door.relay.until(SHUT)
    shown = [door.shows(name) for name in ("Result", "ExecMainCode", "ExecMainStatus", "SubState")]
    assert shown == ["success", "1", "0", "dead"]
    lines = door.machine.run(f"journalctl -q -o json _SYSTEMD_INVOCATION_ID={run}").splitlines()
    told = [json.loads(line) for line in lines]
    assert {one["SYSLOG_IDENTIFIER"] for one in told} == {UNIT}
    assert all("event" in json.loads(one["MESSAGE"]) for one in told)
    assert (door.shows("LogRateLimitIntervalUSec"), door.shows("LogRateLimitBurst")) == ("10s", "5000")
    assert "SystemMaxUse=256M" in door.machine.run("systemd-analyze cat-config systemd/journald.conf")
    door.machine.run(f"systemctl start {UNIT}")
    door.logged('"clean":true')


def test_a_broker_that_hangs_at_a_start_of_the_computer_keeps_nobody_out(door: Door) -> None:
    hang = "/etc/systemd/system/mosquitto.service.d/hang.conf"
    door.machine.run("mkdir -p /etc/systemd/system/mosquitto.service.d")
    door.write(hang, "[Service]\nExecStartPre=/bin/sleep infinity\n")
    door.machine.run("systemctl daemon-reload; systemctl --no-block reboot")
    door.machine.until_ready()
    # systemd gives the broker ninety seconds, and the gateway its turn.
    door.is_ready(within_s=220)
    door.lets_one_in()
    assert "waiting for the broker" in door.shows("StatusText")
    # The log of the evening before is still there.
    door.machine.run(f"journalctl -q -b -1 -u {UNIT} -o cat | grep -q entry.granted")
    door.machine.run(f"rm {hang}; systemctl daemon-reload; systemctl restart mosquitto")
    door.machine.until(f"systemctl show -p StatusText {UNIT} | grep -q 'broker connected'")


def test_a_version_that_is_never_ready_is_taken_back(door: Door) -> None:
    before = door.shows("InvocationID")
    version = door.machine.run("venue-gateway --version")
    door.machine.run("systemd-run -q --unit upgrade -p Type=oneshot --no-block dpkg -i /srv/broken.deb")
    for words in ("version 0.3.0 did not report ready", "runs again"):
        door.machine.until(f"journalctl -q -u upgrade -o cat | grep -q '{words}'", within_s=220)
    door.machine.until("systemctl is-failed -q upgrade")
    assert door.machine.run("venue-gateway --version") == version
    door.another_run(before)
    door.machine.run("venue-gateway journal verify")


def test_a_purge_leaves_the_data_and_the_next_installation_serves_it(door: Door) -> None:
    door.machine.run("dpkg --purge venue-gateway")
    assert door.machine.run(f"systemctl is-active {UNIT}", check=False).strip() == "inactive"
    door.machine.run(f"test -e {STATE}/journal.db && test -e {KEYS}/credential.key && test ! -e /opt/{UNIT}")
    door.machine.run("systemd-run -q --unit install -p Type=oneshot --no-block dpkg -i /srv/gateway.deb")
    door.machine.until("! systemctl show -p ActiveState --value install | grep -q activating", within_s=220)
    door.machine.run("! systemctl is-failed -q install")
    door.is_ready()
    # The broker, too, has left Debian's own files for the venue's.
    door.machine.until(f"systemctl show -p StatusText {UNIT} | grep -q 'broker connected'")
    door.lets_one_in()
    door.machine.run("venue-gateway journal verify")
