#!/usr/bin/python3
"""What of `systemctl` the package's scripts use, for a tree in which no systemd is process 1.

It reads the real units and drop-ins, becomes their user with their groups and without their capabilities, makes the
file system as read-only as they ask, filters system calls with the kernel's own seccomp by systemd's own lists, hands
credentials over, and waits for READY=1 on a real notify socket. Address families and devices are not filtered here.
"""

import contextlib
import ctypes
import errno
import grp
import os
import pwd
import shlex
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path

RUN = Path("/run/stand-in")
READY_S = float(os.environ.get("STAND_IN_READY_S", "25"))


def settings(unit: str) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for file in [Path("/lib/systemd/system", unit), *sorted(Path(f"/lib/systemd/system/{unit}.d").glob("*.conf"))]:
        for line in file.read_text().splitlines():
            name, separator, value = line.partition("=")
            if not separator or line.startswith("#"):
                continue
            # A list that is set to nothing is empty, which for capabilities says: none.
            found[name] = [*found.get(name, []), value] if value else []
    return found


def pid_of(unit: str) -> int:
    file = RUN / f"{unit}.pid"
    try:
        pid = int(file.read_text())
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except (OSError, ValueError):
        return 0
    return 0 if state == "Z" else pid


def stop(unit: str) -> int:
    if pid := pid_of(unit):
        os.kill(pid, signal.SIGTERM)
        end = time.monotonic() + 40
        while pid_of(unit) and time.monotonic() < end:
            threading.Event().wait(0.05)
        if pid_of(unit):
            os.kill(pid, signal.SIGKILL)
    (RUN / f"{unit}.pid").unlink(missing_ok=True)
    return 0


def credentials(unit: str, wanted: dict[str, list[str]], owner: int) -> dict[str, str]:
    folder = RUN / f"credentials-{unit}"
    for credential in wanted.get("LoadCredential", []):
        name, _, source = credential.partition(":")
        folder.mkdir(exist_ok=True)
        shutil.copy(source, folder / name)
        for one in (folder, folder / name):
            os.chown(one, owner, -1)
    return {"CREDENTIALS_DIRECTORY": str(folder)} if folder.exists() else {}


def listen(unit: str) -> socket.socket:
    path = RUN / f"{unit}.notify"
    path.unlink(missing_ok=True)
    told = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    told.bind(str(path))
    path.chmod(0o666)
    told.settimeout(0.2)
    return told


def sandbox(wanted: dict[str, list[str]]) -> list[str]:
    """Return the words before a program that may write little: `ProtectSystem=`, and what is let out of it."""
    protected = wanted.get("ProtectSystem", ["no"])[-1]
    script = []
    if protected == "strict":
        writable = [f"/var/lib/{name}" for line in wanted.get("StateDirectory", []) for name in line.split()]
        listed = [one for line in wanted.get("ReadWritePaths", []) for one in line.split()]
        needed = [one.removeprefix("-") for one in listed if not one.startswith("-") or Path(one[1:]).exists()]
        writable += needed
        script = [f"mount --bind {path} {path}" for path in writable]
        script.append("mount -o remount,bind,ro /")
    elif protected == "full":
        script = [f"mount --bind {path} {path}; mount -o remount,bind,ro {path}" for path in ("/usr", "/etc")]
    if wanted.get("PrivateTmp", ["no"])[-1] == "yes":
        script += [f"mount -t tmpfs -o mode=1777 tmpfs {path}" for path in ("/tmp", "/var/tmp")]
    return ["unshare", "--mount", "sh", "-euc", "; ".join([*script, 'exec "$@"']), "sh"] if script else []


def rights(wanted: dict[str, list[str]], user: pwd.struct_passwd) -> list[str]:
    """Return the words before a program that has a user, its groups, and few capabilities or none."""
    words = []
    if user.pw_uid:
        groups = [str(one.gr_gid) for one in grp.getgrall() if user.pw_name in one.gr_mem]
        words += [f"--reuid={user.pw_uid}", f"--regid={user.pw_gid}", f"--groups={','.join(groups) or user.pw_gid}"]
        words.append("--inh-caps=-all")
    if "CapabilityBoundingSet" in wanted:
        kept = [one.lower().removeprefix("cap_") for line in wanted["CapabilityBoundingSet"] for one in line.split()]
        words.append(f"--bounding-set={','.join(['-all', *(f'+{one}' for one in kept)])}")
    if wanted.get("NoNewPrivileges", ["no"])[-1] == "yes":
        words.append("--no-new-privs")
    return ["setpriv", *words] if words else []


def expanded(word: str) -> set[str]:
    """Return the system calls of a set of systemd's, such as @system-service; a plain name is itself."""
    if not word.startswith("@"):
        return {word}
    listed = subprocess.run(
        ["systemd-analyze", "--no-pager", "syscall-filter", word], check=True, capture_output=True, text=True
    )
    names = [line.strip() for line in listed.stdout.splitlines()[1:]]
    return {call for name in names if name and not name.startswith("#") for call in expanded(name)}


def system_calls(wanted: dict[str, list[str]]) -> set[str]:
    """Return what `SystemCallFilter=` lets through: its lines in their order, the first of which allows."""
    allowed = expanded("@default") if "SystemCallFilter" in wanted else set()
    for line in wanted.get("SystemCallFilter", []):
        named = {call for word in line.removeprefix("~").split() for call in expanded(word)}
        allowed = allowed - named if line.startswith("~") else allowed | named
    return allowed


def confine(calls: list[str], program: list[str]) -> None:
    """Become a program for which every other system call fails with EPERM."""
    seccomp = ctypes.CDLL("libseccomp.so.2", use_errno=True)
    seccomp.seccomp_init.restype = ctypes.c_void_p
    context = ctypes.c_void_p(seccomp.seccomp_init(ctypes.c_uint32(0x00050000 | errno.EPERM)))
    for call in calls:
        number = seccomp.seccomp_syscall_resolve_name(call.encode())
        # What this processor has not is a negative number.
        if number >= 0:
            assert seccomp.seccomp_rule_add(context, ctypes.c_uint32(0x7FFF0000), number, 0) == 0, call
    assert seccomp.seccomp_load(context) == 0
    os.execv(program[0], program)


def launch(unit: str, wanted: dict[str, list[str]]) -> "subprocess.Popen[bytes]":
    environment = {"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "NOTIFY_SOCKET": str(RUN / f"{unit}.notify")}
    for line in wanted.get("Environment", []):
        environment.update(one.split("=", 1) for one in shlex.split(line))
    user = pwd.getpwnam(wanted["User"][-1]) if "User" in wanted else pwd.getpwuid(0)
    environment |= credentials(unit, wanted, user.pw_uid)
    calls = system_calls(wanted)
    confined = [sys.executable, __file__, "confine", ",".join(sorted(calls))] if calls else []
    program = [*sandbox(wanted), *rights(wanted, user), *confined, *shlex.split(wanted["ExecStart"][-1])]
    with (Path("/var/log") / f"{unit}.log").open("ab") as log:
        return subprocess.Popen(
            program, env=environment, umask=int(wanted.get("UMask", ["0022"])[-1], 8),
            cwd=wanted.get("WorkingDirectory", ["/"])[-1], start_new_session=True,
            stdin=subprocess.DEVNULL, stdout=log, stderr=log,
        )  # fmt: skip


def start(unit: str) -> int:
    wanted = settings(unit)
    if pid_of(unit) or any(not Path(one).exists() for one in wanted.get("ConditionPathExists", [])):
        return 0
    RUN.mkdir(exist_ok=True)
    with listen(unit) as told:
        process = launch(unit, wanted)
        (RUN / f"{unit}.pid").write_text(str(process.pid))
        kind = wanted.get("Type", ["simple"])[-1]
        if kind == "oneshot":
            return process.wait()
        if kind != "notify" or is_ready(told, process):
            return 0
    sys.stderr.write(f"Job for {unit} failed.\n")
    stop(unit)
    return 1


def is_ready(told: socket.socket, process: "subprocess.Popen[bytes]") -> bool:
    end = time.monotonic() + READY_S
    while process.poll() is None and time.monotonic() < end:
        with contextlib.suppress(TimeoutError):
            if b"READY=1" in told.recv(4096):
                return True
    return False


def main(words: list[str]) -> int:
    if words[:1] == ["confine"]:
        confine(words[1].split(","), words[2:])
    options = {word for word in words if word.startswith("-")}
    verb, *units = [word for word in words if not word.startswith("-")]
    units = [unit if "." in unit else f"{unit}.service" for unit in units]
    status = 0
    for unit in units:
        known = Path("/lib/systemd/system", unit).exists()
        if verb == "is-active":
            status |= 0 if pid_of(unit) else 3
        elif not known or unit.startswith("systemd-"):
            continue
        elif verb in {"start", "restart"} or (verb in {"try-restart", "try-reload-or-restart"} and pid_of(unit)):
            if verb != "start":
                stop(unit)
            status |= start(unit)
        elif verb == "reload-or-restart":
            if pid_of(unit):
                os.kill(pid_of(unit), signal.SIGHUP)
            else:
                status |= start(unit)
        elif verb == "stop" or (verb == "disable" and "--now" in options):
            stop(unit)
    return status


sys.exit(main(sys.argv[1:]))
