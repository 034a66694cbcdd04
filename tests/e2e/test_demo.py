"""The demonstration tells its story to the end, and leaves nothing behind, however it ends."""

from __future__ import annotations

import os
import pty
import re
import select
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
CHAPTERS = 10
READ_TIMEOUT_S = 20
DEMO = [sys.executable, "-m", "gateway", "demo"]


class Place:
    """A folder for temporary files that no other process knows: what is in it, or knows it, is the demo's."""

    def __init__(self, temporary: Path, working: Path) -> None:
        self.temporary = temporary
        self.working = working

    @property
    def environment(self) -> dict[str, str]:
        return {**os.environ, "TMPDIR": str(self.temporary), "PYTHONPATH": str(ROOT), "TERM": "xterm"}

    def processes(self) -> list[str]:
        """The command lines of all processes that were started with this place's environment."""
        mark = f"TMPDIR={self.temporary}\0".encode()
        found = []
        for process in Path("/proc").glob("[0-9]*"):
            try:
                if mark in (process / "environ").read_bytes() + b"\0":
                    found.append((process / "cmdline").read_bytes().replace(b"\0", b" ").decode())
            except OSError:
                continue
        return found

    def left_behind(self) -> list[str]:
        files = [str(path) for folder in (self.temporary, self.working) for path in folder.iterdir()]
        return files + self.processes()


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Place]:
    # Short, because the broker's socket lies below it.
    temporary = Path(tempfile.mkdtemp(prefix="vgt-", dir="/tmp"))
    yield Place(temporary, tmp_path)
    shutil.rmtree(temporary)


@pytest.mark.timeout(150)
def test_every_step_of_the_story_comes_out_as_told_and_nothing_is_left(place: Place) -> None:
    demo = subprocess.run(
        [*DEMO, "--exit"],
        cwd=place.working,
        env=place.environment,
        capture_output=True,
        text=True,
        timeout=140,
        check=False,
    )
    told = demo.stdout
    assert demo.returncode == 0, told + demo.stderr
    assert [int(number) for number in re.findall(r"^(\d+)  ", told, re.MULTILINE)] == list(range(1, CHAPTERS + 1))
    assert "✗" not in told
    assert told.count("✓") >= 3 * CHAPTERS
    assert len(re.findall(r"receipt-\d+\.png", told)) == 2
    assert "\x1b" not in told, "no colours where nobody sees them"
    assert demo.stderr == ""
    assert place.left_behind() == []


@pytest.mark.timeout(60)
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupted_story_leaves_nothing(place: Place, number: signal.Signals) -> None:
    with subprocess.Popen(DEMO, cwd=place.working, env=place.environment, stdout=subprocess.PIPE, text=True) as demo:
        assert demo.stdout is not None
        assert any("✓" in line for line in demo.stdout), "the story began"
        demo.send_signal(number)
        demo.stdout.read()
        assert demo.wait(30) == 130
    assert place.left_behind() == []


@pytest.mark.timeout(60)
def test_the_live_view_takes_keys_and_ends_with_ctrl_c(place: Place) -> None:
    # `setsid -c` makes the terminal the controlling one, without which Ctrl-C is a letter like any other.
    command = ["setsid", "-c", sys.executable, "-m", "simulators.demo", "--live"]
    terminal, its_end = pty.openpty()
    environment = place.environment | {"COLUMNS": "120", "LINES": "40"}
    demo = subprocess.Popen(command, cwd=place.working, env=environment, stdin=its_end, stdout=its_end, stderr=its_end)
    os.close(its_end)
    try:
        _read_until(terminal, "kill -9")
        os.write(terminal, b"p")
        _read_until(terminal, "Queued.")
        os.write(terminal, b"r")
        _read_until(terminal, "demo-receipts")
        os.write(terminal, b"\x03")
        _read_until_end(terminal)
        assert demo.wait(30) == 0
    finally:
        demo.kill()
        demo.wait()
        os.close(terminal)
    assert [path.name for path in (place.working / "demo-receipts" / "bar-printer").glob("*.png")] != []
    shutil.rmtree(place.working / "demo-receipts")
    assert place.left_behind() == []


def _read_until(terminal: int, word: str) -> None:
    """Read what a person would see until `word` is in it."""
    seen = ""
    while word not in seen:
        ready, _, _ = select.select([terminal], [], [], READ_TIMEOUT_S)
        assert ready, f"{word!r} was not shown within {READ_TIMEOUT_S} s; the end of what was: {seen[-2000:]}"
        seen += os.read(terminal, 65536).decode(errors="replace")


def _read_until_end(terminal: int) -> None:
    try:
        while select.select([terminal], [], [], READ_TIMEOUT_S)[0] and os.read(terminal, 65536):
            pass
    except OSError:
        # A terminal whose other end is closed reads as an I/O error.
        return
