"""One bare Debian and the packages for it: both take minutes, so every test has the same ones."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.package.tree import Tree
from tests.package.variants import migrations_more, never_ready, one_migration_more, other_files, variant

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="package")
def packages() -> Iterator[dict[str, Path]]:
    """0.1.0 as it is built, 0.3.0 that never becomes ready, and others with one migration more each."""
    with tempfile.TemporaryDirectory(prefix="vg-deb-") as name:
        folder = Path(name)
        if not (given := os.environ.get("VENUE_DEB")):
            env = {**os.environ, "DEB_BUILDER": sys.executable}
            subprocess.run([str(ROOT / "scripts/deb"), "amd64"], cwd=ROOT, env=env, check=True, timeout=900)
            [built] = (ROOT / "dist").glob("venue-gateway_*_amd64.deb")
        else:
            built = Path(given)
        yield {
            "first": built,
            "second": variant(built, "0.2.0", folder, one_migration_more),
            "broken": variant(built, "0.3.0", folder, never_ready, other_files),
            "fourth": variant(built, "0.4.0", folder, lambda gateway: migrations_more(gateway, 2)),
            "fifth": variant(built, "0.5.0", folder, lambda gateway: migrations_more(gateway, 3)),
        }


@pytest.fixture(scope="package")
def tree() -> Iterator[Tree]:
    one = Tree(Path(tempfile.mkdtemp(prefix="vg-tree-")))
    try:
        one.make()
        yield one
    finally:
        one.remove()
