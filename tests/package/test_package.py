"""The Debian package: installed, run, upgraded, broken, rolled back and purged in a tree of its own."""

from __future__ import annotations

import shutil
import sqlite3
import subprocess
from contextlib import closing
from pathlib import Path

import pytest

from tests.package.tree import Tree, needs, proving
from tests.package.variants import ADDED, DROPPED, never_ready

ROOT = Path(__file__).resolve().parent.parent.parent
STATE = "var/lib/venue-gateway"
KEY = "etc/venue-gateway/keys/credential.key"
LOG = "/var/log/venue-gateway.service.log"
SCRIPTS = ("preinst", "postinst", "prerm", "postrm", "venue-gateway")


@pytest.mark.parametrize("name", SCRIPTS)
def test_each_script_of_the_package_is_plain_shell(name: str) -> None:
    path = ROOT / "packaging" / name
    assert path.stat().st_mode & 0o111
    subprocess.run(["sh", "-n", str(path)], check=True, timeout=20)


def test_the_package_needs_no_network_to_install() -> None:
    texts = [(ROOT / "packaging" / name).read_text() for name in SCRIPTS]
    assert not [
        word for text in texts for word in ("pip ", "curl", "wget", "apt-get", "http:", "https:") if word in text
    ]


def test_purge_deletes_data_only_after_a_yes() -> None:
    text = (ROOT / "packaging/postrm").read_text()
    assert text.index('if [ "$answer" = true ]') < text.index("rm -rf /var/lib/venue-gateway")
    assert "Default: false" in (ROOT / "packaging/templates").read_text()


def test_a_version_that_is_never_ready_can_be_made_of_this_code(tmp_path: Path) -> None:
    shutil.copytree(ROOT / "gateway/store/migrations", tmp_path / "store/migrations")
    shutil.copy(ROOT / "gateway/app.py", tmp_path)
    never_ready(tmp_path)
    assert "raise SystemExit(3)" in (tmp_path / "app.py").read_text()
    assert len(list((tmp_path / "store/migrations").glob("*_more.sql"))) == 2


def journal(tree: Tree) -> tuple[int, list[int]]:
    """The shape of the journal, and the sequence on its disk."""
    file = tree.root / "var/lib/venue-gateway/journal.db"
    with closing(sqlite3.connect(f"file:{file}?mode=ro", uri=True)) as database:
        ((shape,),) = database.execute("PRAGMA user_version").fetchall()
        return shape, [seq for (seq,) in database.execute("SELECT seq FROM journal ORDER BY seq").fetchall()]


def files_around(tree: Tree) -> dict[str, bytes]:
    """What the package has outside its own folder, with the content."""
    listed = tree.run("dpkg", "-L", "venue-gateway").split()
    found = [tree.root / one.lstrip("/") for one in [*listed, ADDED, DROPPED] if not one.startswith("/opt")]
    return {str(one): one.read_bytes() for one in found if one.is_file()}


def is_active(tree: Tree) -> bool:
    return tree.outcome("systemctl", "is-active", "venue-gateway").returncode == 0


def version(tree: Tree) -> str:
    return tree.run("venue-gateway", "--version").split()[-1]


@proving
@needs
@pytest.mark.timeout(1800)
def test_a_packages_whole_life(tree: Tree, packages: dict[str, Path]) -> None:
    is_installed(tree, packages["first"])
    serves_a_venue(tree)
    shape, rows = journal(tree)
    is_upgraded(tree, packages["second"], shape, rows)
    goes_back_by_itself(tree, packages["broken"])
    refuses_a_downgrade(tree, packages["first"])
    outcome = tree.install(packages["fourth"])
    assert outcome.returncode == 0, outcome.stdout
    assert version(tree) == "0.4.0"
    assert is_active(tree)
    # The failed version is forgotten: the next purge leaves nothing of it.
    assert not (tree.root / "var/lib/venue-gateway/.package/strays").exists()
    is_taken_out_and_put_in_newer(tree, packages["fifth"])
    leaves_the_data_unless_asked(tree, packages)


def is_installed(tree: Tree, package: Path) -> None:
    outcome = tree.install(package)
    assert outcome.returncode == 0, outcome.stdout
    assert "Next: venue-gateway init" in outcome.stdout
    key = tree.root / KEY
    assert len(key.read_bytes()) == 32
    assert key.stat().st_mode & 0o777 == 0o600


def serves_a_venue(tree: Tree) -> None:
    tree.run("venue-gateway", "init", "--id", "club", "--timezone", "Europe/Vienna", "--tablet", "bar")
    tree.run("venue-gateway", "check", "/etc/venue-gateway/gateway.yaml")
    assert "no anonymous access" in tree.run("venue-gateway", "broker", "apply", "--name", "127.0.0.1")
    tree.run("systemctl", "start", "mosquitto")
    tree.run("systemctl", "start", "venue-gateway")
    assert is_active(tree)
    assert "password " in tree.run("venue-gateway", "client", "add", "bar")
    # The key was handed over and none lies beside the data; nobody else may enter the broker's folder.
    assert not (tree.root / "var/lib/venue-gateway/credential.key").exists()
    assert (tree.root / "run/venue-gateway").stat().st_mode & 0o007 == 0
    assert (tree.root / "run/venue-gateway/mqtt.sock").stat().st_mode & 0o007 == 0
    look = f"for i in $(seq 100); do grep -q mqtt.connected {LOG} && exit; sleep 0.1; done; cat {LOG}; exit 1"
    tree.run("sh", "-c", look)
    is_backed_up_and_restored(tree)


def is_backed_up_and_restored(tree: Tree) -> None:
    """With the key where the package keeps it."""
    secret = (tree.root / KEY).read_bytes()
    assert "credential.key" not in tree.outcome("venue-gateway", "doctor").stdout
    tree.run("venue-gateway", "backup", "/var/tmp/a.backup", "--keys", "/var/tmp/a.keys")
    tree.run("systemctl", "stop", "venue-gateway")
    (tree.root / KEY).write_bytes(bytes(32))
    tree.run("venue-gateway", "restore", "/var/tmp/a.backup", "--keys", "/var/tmp/a.keys", "--replace")
    assert (tree.root / KEY).read_bytes() == secret
    assert not (tree.root / "var/lib/venue-gateway/credential.key").exists()
    tree.run("systemctl", "start", "venue-gateway")
    assert is_active(tree)


def is_upgraded(tree: Tree, package: Path, shape: int, rows: list[int]) -> None:
    outcome = tree.install(package)
    assert outcome.returncode == 0, outcome.stdout
    assert is_active(tree)
    assert version(tree) == "0.2.0"
    upgraded, more = journal(tree)
    assert upgraded == shape + 1
    assert more[: len(rows)] == rows
    assert (tree.root / "var/backups/venue-gateway/before-0.2.0/journal.db").exists()
    assert not (tree.root / "opt/venue-gateway.previous").exists()


def goes_back_by_itself(tree: Tree, package: Path) -> None:
    secret, (shape, rows), around = (tree.root / KEY).read_bytes(), journal(tree), files_around(tree)
    outcome = tree.install(package)
    assert outcome.returncode != 0
    assert files_around(tree) == around
    assert (tree.root / DROPPED).exists()
    assert not (tree.root / ADDED).exists()
    assert "version 0.3.0 did not report ready" in outcome.stdout
    assert "version 0.2.0 runs again" in outcome.stdout, outcome.stdout
    assert is_active(tree)
    assert version(tree) == "0.2.0"
    restored, kept = journal(tree)
    assert restored == shape
    assert kept[: len(rows)] == rows
    tree.run("venue-gateway", "journal", "verify")
    assert (tree.root / KEY).read_bytes() == secret
    # Tried again without a change, it stays as it is.
    assert tree.outcome("dpkg", "--configure", "-a").returncode != 0
    assert is_active(tree)


def refuses_a_downgrade(tree: Tree, package: Path) -> None:
    outcome = tree.install(package)
    assert outcome.returncode != 0
    assert "cannot read what a newer version wrote" in outcome.stdout
    assert is_active(tree)
    assert version(tree) == "0.2.0"


def is_taken_out_and_put_in_newer(tree: Tree, package: Path) -> None:
    """A newer version that does not come as an upgrade finds data to migrate all the same."""
    shape, rows = journal(tree)
    tree.run("dpkg", "--remove", "venue-gateway")
    outcome = tree.install(package)
    assert outcome.returncode == 0, outcome.stdout
    assert is_active(tree)
    assert journal(tree)[0] == shape + 1
    for kept in ("var/backups/venue-gateway/before-0.5.0/journal.db", f"{STATE}/journal.db.before-schema-{shape + 1}"):
        with closing(sqlite3.connect(f"file:{tree.root / kept}?mode=ro", uri=True)) as database:
            assert database.execute("PRAGMA user_version").fetchall() == [(shape,)]
            assert [seq for (seq,) in database.execute("SELECT seq FROM journal ORDER BY seq")][: len(rows)] == rows


def leaves_the_data_unless_asked(tree: Tree, packages: dict[str, Path]) -> None:
    secret = (tree.root / KEY).read_bytes()
    tree.run("dpkg", "--purge", "venue-gateway")
    assert not (tree.root / "opt/venue-gateway").exists()
    assert (tree.root / "var/lib/venue-gateway/journal.db").exists()
    assert (tree.root / KEY).read_bytes() == secret
    # An older version is kept from what a newer one left behind.
    outcome = tree.install(packages["second"])
    assert outcome.returncode != 0
    assert "cannot read what a newer version wrote" in outcome.stdout
    outcome = tree.install(packages["fifth"])
    assert outcome.returncode == 0, outcome.stdout
    tree.purge_with_data()
    for folder in ("var/lib/venue-gateway", "etc/venue-gateway", "var/backups/venue-gateway"):
        assert not (tree.root / folder).exists()
