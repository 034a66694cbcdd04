"""Later versions of a package, made of one that was built: a migration more, or a mistake more."""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from pathlib import Path

Change = Callable[[Path], object]


def variant(package: Path, version: str, folder: Path, change: Change) -> Path:
    """Unpack a package, change its gateway, and pack it as another version; `change` is given site-packages/gateway."""
    root = folder / f"root-{version}"
    subprocess.run(["dpkg-deb", "-R", str(package), str(root)], check=True)
    old = package.name.split("_")[1]
    for file in (root / "DEBIAN").iterdir():
        if file.name != "md5sums":
            file.write_text(
                file.read_text().replace(f"Version: {old}", f"Version: {version}").replace(f"'{old}'", f"'{version}'")
            )
    [gateway] = root.glob("opt/venue-gateway/lib/python*/site-packages/gateway")
    for compiled in gateway.rglob("__pycache__/*"):
        compiled.unlink()
    init = gateway / "__init__.py"
    init.write_text(init.read_text().replace(f'"{old}"', f'"{version}"'))
    change(gateway)
    made = folder / f"venue-gateway_{version}_amd64.deb"
    subprocess.run(
        ["dpkg-deb", "--root-owner-group", "-Zgzip", "-z1", "-b", str(root), str(made)], check=True, stdout=-3
    )
    return made


def one_migration_more(gateway: Path) -> None:
    """A version whose journal has another shape."""
    folder = gateway / "store/migrations"
    number = len(list(folder.glob("*.sql"))) + 1
    (folder / f"{number:04}_more.sql").write_text(f"CREATE TABLE more_{number} (value TEXT) STRICT;\n")


def never_ready(gateway: Path) -> None:
    """A version that changes the journal's shape and then ends before it is ready."""
    one_migration_more(gateway)
    one_migration_more(gateway)
    app = gateway / "app.py"
    text = app.read_text()
    assert text.count("self.lifeline.ready()\n        self.spawn") == 1
    app.write_text(text.replace("self.lifeline.ready()\n        self.spawn", "raise SystemExit(3)\n        self.spawn"))
