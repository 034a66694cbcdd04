"""Long work gives way to everything else, from its first import on."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from gateway import gently

MODULE = """\
import os, sys
print(__name__, os.sched_getscheduler(0) == os.SCHED_IDLE, *sys.argv[1:])
raise SystemExit(7)
"""


def test_a_module_runs_as_by_itself_but_gives_way(tmp_path: Path) -> None:
    (tmp_path / "long_work.py").write_text(MODULE)
    command = [sys.executable, "-m", gently.__name__, "long_work", "--rows", "3"]
    paths = os.pathsep.join([str(tmp_path), str(Path(gently.__file__).parents[1])])
    ended = subprocess.run(
        command, env={**os.environ, "PYTHONPATH": paths}, check=False, capture_output=True, text=True, timeout=30
    )
    assert ended.stdout.split() == ["__main__", "True", "--rows", "3"]
    assert ended.returncode == 7


def test_where_that_is_forbidden_the_work_is_done_all_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    def forbidden(*_: object) -> None:
        raise PermissionError(1, "Operation not permitted")

    monkeypatch.setattr(os, "sched_setscheduler", forbidden)
    gently.be_gentle()
