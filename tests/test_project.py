"""What the project promises about itself: its shape, its locks and what stands in its files."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from importlib import metadata
from pathlib import Path
from typing import Any

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).resolve().parent.parent
PACKAGES = ("gateway", "drivers", "simulators")
LOCKS = ("requirements.lock", "requirements-hardware.lock", "requirements-dev.lock", "requirements-peers.lock")
MAX_LINES = 400
# Split, so that this file does not hold what it looks for.
REGISTRY_HOSTS = ("pypi" + ".org", "python" + "hosted.org", "index-" + "url =", "deb.deb" + "ian.org")
MACHINE_PATH = re.compile(r"(?<![\w.~}-])/(?:work|root|home/[a-z]+)/")


def project() -> dict[str, Any]:
    return tomllib.loads((ROOT / "pyproject.toml").read_text())


def extras() -> list[str]:
    """What the extras add to the dependencies, all of them together."""
    return [line for lines in project()["project"]["optional-dependencies"].values() for line in lines]


def modules(*folders: str) -> list[Path]:
    return sorted(path for folder in folders for path in (ROOT / folder).rglob("*.py"))


def tracked_files() -> list[Path]:
    """What is or would be committed; without git, as in a source archive, what lies in the project's folders."""
    command = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    try:
        listing = subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True).stdout
    except (OSError, subprocess.CalledProcessError):
        folders = (*PACKAGES, "tests", "docs", "config", "scripts", "systemd", "benchmarks")
        return [path for folder in folders for path in (ROOT / folder).rglob("*") if path.is_file()]
    return [path for name in listing.split("\0") if name and (path := ROOT / name).is_file()]


def imported_by(path: Path) -> Iterator[str]:
    """The absolute names a file imports, wherever in the file: `a.b` for both `import a.b` and `from a import b`."""
    for node in ast.walk(ast.parse(path.read_text(), str(path))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def pins(lock: str) -> dict[str, str]:
    """Name → version of each locked package; fails if one has no hash."""
    entries = re.split(r"\n(?=\S)", (ROOT / lock).read_text().strip())
    assert all("--hash=sha256:" in entry for entry in entries)
    matches = (re.match(r"([\w.-]+)==(\S+)", entry) for entry in entries)
    return {canonicalize_name(match[1]): match[2] for match in matches if match}


def name_of(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


@pytest.mark.parametrize("path", modules(*PACKAGES), ids=name_of)
def test_every_file_can_be_read_in_one_sitting(path: Path) -> None:
    assert len(path.read_text().splitlines()) <= MAX_LINES


def test_no_file_names_a_registry_or_a_machine() -> None:
    found = []
    for path in tracked_files():
        text = path.read_bytes().decode("utf-8", errors="replace")
        words = [host for host in REGISTRY_HOSTS if host in text]
        words += MACHINE_PATH.findall(text)
        if words:
            found.append((name_of(path), words))
    assert found == []


def test_tests_use_neither_mocks_nor_sleeps_of_the_clock() -> None:
    found = []
    for path in modules("tests"):
        names = set(imported_by(path))
        mocks = {name for name in names if name.startswith("unittest.mock") or name.split(".")[0] == "mock"}
        sleeps = {"time.sleep"} & names
        calls = {
            "time.sleep"
            for node in ast.walk(ast.parse(path.read_text()))
            if isinstance(node, ast.Call) and ast.unparse(node.func) == "time.sleep"
        }
        if bad := mocks | sleeps | calls:
            found.append((name_of(path), sorted(bad)))
    assert found == []


def test_only_the_command_line_knows_the_simulators() -> None:
    found = [
        (name_of(path), name)
        for path in modules("gateway", "drivers")
        for name in imported_by(path)
        if name.split(".")[0] == "simulators" and name_of(path) != "gateway/cli.py"
    ]
    assert found == []


def test_no_package_imports_its_own_relatives_by_dots() -> None:
    """One way to name a module: the one the technician's stack trace and the linter of imports show."""
    found = [
        name_of(path)
        for path in modules(*PACKAGES)
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.ImportFrom) and node.level
    ]
    assert found == []


def test_what_is_imported_is_declared() -> None:
    stated = [*project()["project"]["dependencies"], *extras()]
    declared = {canonicalize_name(Requirement(line).name) for line in stated}
    owners = metadata.packages_distributions()
    undeclared = set()
    for path in modules(*PACKAGES):
        for name in imported_by(path):
            top = name.split(".")[0]
            if top in sys.stdlib_module_names or top in PACKAGES:
                continue
            if not declared & {canonicalize_name(owner) for owner in owners.get(top, [])}:
                undeclared.add((name_of(path), top))
    assert undeclared == set()


@pytest.mark.parametrize("lock", LOCKS)
def test_every_declared_dependency_is_locked_inside_its_range(lock: str) -> None:
    stated = list(project()["project"]["dependencies"])
    if lock == "requirements-hardware.lock":
        stated += extras()
    if lock == "requirements-dev.lock":
        stated += project()["dependency-groups"]["dev"]
    if lock == "requirements-peers.lock":
        stated = project()["dependency-groups"]["peers"]
    locked = pins(lock)
    for requirement in map(Requirement, stated):
        version = locked[canonicalize_name(requirement.name)]
        assert requirement.specifier.contains(version), f"{requirement} is locked at {version}: run 'make lock'"


def test_the_locks_agree() -> None:
    runtime = pins("requirements.lock").items()
    assert runtime <= pins("requirements-hardware.lock").items()
    assert runtime <= pins("requirements-dev.lock").items()


def test_the_page_of_licences_is_that_of_the_lock() -> None:
    command = [sys.executable, "scripts/licences.py", "--check"]
    outcome = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=50, check=False)
    assert outcome.returncode == 0, outcome.stderr


def test_setup_names_what_it_cannot_install(tmp_path: Path) -> None:
    (tmp_path / "scripts").mkdir()
    for name in ("scripts/setup", "pyproject.toml", "requirements-dev.lock"):
        (tmp_path / name).write_bytes((ROOT / name).read_bytes())
    command = ["bash", "scripts/setup"]
    env = {"PATH": "/usr/bin:/bin", "PYTHON": "no-such-python"}
    outcome = subprocess.run(command, cwd=tmp_path, env=env, capture_output=True, text=True, timeout=50, check=False)
    assert outcome.returncode == 1
    assert "no-such-python does not run or is older than 3.11" in outcome.stderr
    assert "make setup PYTHON=" in outcome.stderr
    assert not (tmp_path / ".venv").exists()


def test_scripts_are_valid_shell_and_can_be_started() -> None:
    for name in ("scripts/setup", "scripts/lock", "scripts/generated", "scripts/deb", ".ci/run"):
        path = ROOT / name
        assert path.stat().st_mode & 0o111, f"{name} is not executable"
        shell = path.read_text().splitlines()[0].removeprefix("#!")
        subprocess.run([shell, "-n", str(path)], check=True, timeout=20)
