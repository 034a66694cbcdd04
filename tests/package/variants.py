"""Later versions of a package, made of one that was built: a migration more, or a mistake more."""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from pathlib import Path

Change = Callable[[Path], object]


def variant(package: Path, version: str, folder: Path, change: Change, around: Change | None = None) -> Path:
    """Unpack a package, change it, and pack it as another version.

    `change` is given site-packages/gateway, and `around` the package's root.
    """
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
    if around is not None:
        around(root)
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


def migrations_more(gateway: Path, count: int) -> None:
    """A version with several migrations more."""
    for _ in range(count):
        one_migration_more(gateway)


def never_ready(gateway: Path) -> None:
    """A version that changes the journal's shape and then ends before it is ready, with other files all around."""
    migrations_more(gateway, 2)
    app = gateway / "app.py"
    text = app.read_text()
    assert text.count("        self.lifeline.ready()\n        watchdog") == 1
    app.write_text(text.replace("self.lifeline.ready()\n        watchdog", "raise SystemExit(3)\n        watchdog"))


def other_files(root: Path) -> None:
    """Change what a package has outside its own folder: each way a file can differ from that of the version before."""
    for changed in ("lib/udev/rules.d/70-venue-gateway.rules", "usr/lib/sysusers.d/venue-gateway.conf"):
        with (root / changed).open("a") as file:
            file.write("# another version\n")
    command = root / "usr/bin/venue-gateway"
    command.write_text("#!/bin/sh\necho a command of another version >&2\nexit 9\n")
    (root / "lib/systemd/system/venue-gateway.service.d").mkdir()
    (root / "lib/systemd/system/venue-gateway.service.d/new.conf").write_text("[Service]\nNice=-6\n")
    (root / DROPPED).unlink()


DROPPED = "lib/modprobe.d/venue-gateway.conf"
ADDED = "lib/systemd/system/venue-gateway.service.d/new.conf"
