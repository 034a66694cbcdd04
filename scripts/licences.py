"""Writes docs/licences.md: every runtime dependency with its version, its licence and whether aarch64 gets a wheel.

`--check` says whether the committed page is still that of the lock and the installed packages; it needs no network.
`--write` writes the page, after asking pip's index for the aarch64 wheels of what is compiled.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path

from packaging.utils import canonicalize_name

ROOT = Path(__file__).resolve().parent.parent
PAGE = ROOT / "docs" / "licences.md"
PYTHONS = ("3.11", "3.13")
# 64-bit Raspberry Pi OS on Debian 12 has glibc 2.36, so every manylinux up to that one runs there.
PLATFORMS = ("manylinux2014_aarch64", "manylinux_2_17_aarch64", "manylinux_2_28_aarch64", "manylinux_2_36_aarch64")
PURE = "pure Python"
COMPILED = "wheel for " + " and ".join(PYTHONS)
BUILT = "compiled there, see below"

# The classifiers packages use, as SPDX names them. "BSD License" was read in each licence file: all have three clauses.
# pyscard's classifier says "v2 or later" and its LICENSE is the text of 2.1: there never was an LGPL 2 by that name.
SPDX = {
    "Apache Software License": "Apache-2.0",
    "BSD License": "BSD-3-Clause",
    "European Union Public Licence 1.1 (EUPL 1.1)": "EUPL-1.1",
    "GNU Lesser General Public License v2 or later (LGPLv2+)": "LGPL-2.1-or-later",
    "ISC License (ISCL)": "ISC",
    "MIT License": "MIT",
    "Python Software Foundation License": "PSF-2.0",
}
EXTRA_OF = {
    "evdev": "wedge",
    "libusb1": "nfc",
    "ndeflib": "nfc",
    "nfcpy": "nfc",
    "pydes": "nfc",
    "pyscard": "pcsc",
    "pyserial": "nfc",
}
"""Which extra of pyproject.toml brings each package that only `requirements-hardware.lock` has."""

INTRODUCTION = """\
# Licences of the dependencies

Venue Gateway is under the Apache License 2.0 (`LICENSE`). These are the packages it installs to run, in the versions
of `requirements.lock`, with the licence each declares. None of them is copied into this repository; what is, stands
at the end. `make licences` writes this page and a test fails when it is stale.

The column aarch64 says how the package gets onto a 64-bit Raspberry Pi with Python 3.11 (Debian 12) or 3.13
(Debian 13): pure Python runs anywhere; a wheel was found on the package index for both versions. So nothing of this
table is compiled on the Pi.

"""

EXTRAS = """
## With the extras

Some readers and scanners need a library more. `requirements-hardware.lock` has the versions of all three extras; the
gateway runs without any of them.

- `pip install 'venue-gateway[nfc]'`: NFC readers by nfcpy. **nfcpy is under the EUPL 1.1**, a copyleft licence: who
  passes on a changed nfcpy passes on its source under that licence, or a compatible one, too. The gateway does not
  contain or change it. pydes is published as source only; pip makes a pure Python wheel of it.
- `pip install 'venue-gateway[pcsc]'`: PC/SC readers by pyscard. **pyscard is under the LGPL**: it is imported and not
  changed, and can be replaced by another build of it.
- `pip install 'venue-gateway[wedge]'`: scanners that type and are not on USB, by evdev, under a BSD licence.

"""

BUILDING = """
pyscard has no wheels for aarch64 and evdev has none at all, so pip compiles both where they are installed: for a few
seconds on a Pi. That takes gcc, python3-dev and libc6-dev, and for pyscard also swig and libpcsclite-dev.
`make setup` installs these from Debian; without it:

```sh
sudo apt-get install gcc python3-dev libc6-dev swig libpcsclite-dev
```
"""

DEBIAN = """
## From Debian

Mosquitto (EPL-2.0 or EDL-1.0) and its clients run as processes of their own; libusb (LGPL-2.1 or later) is loaded by
pyusb, and libpcsclite (BSD-3-Clause) by pyscard. They come from the distribution's packages and stay under its care.

## Carried along

One file of somebody else's is in this repository, as it was published: `gateway/web/static/tablet/mqtt.esm.js` is the
browser build of **MQTT.js 5.16.0** (npm package `mqtt`, `dist/mqtt.esm.js`, MIT; it holds ieee754 under BSD-3-Clause
and safe-buffer and regenerator-runtime under MIT). Its licence lies beside it as `mqtt.LICENSE.txt`, and a test
compares its SHA-256. Only the tablet's page loads it. A newer one: `npm pack mqtt`, copy both files, change the
digest in `tests/gateway/web/test_tablet.py` and the version here.
"""


@dataclass(frozen=True)
class Package:
    """One locked package as the page shows it."""

    name: str
    version: str
    licence: str
    pure: bool


def locked(path: Path) -> dict[str, str]:
    """The names and versions of a lock file, without what belongs to other systems than Linux."""
    lines = [line for line in path.read_text().splitlines() if "==" in line and "win32" not in line]
    pins = (line.split(";")[0].rstrip(" \\").split("==") for line in lines)
    return {canonicalize_name(name): version.strip() for name, version in pins}


def licence_of(name: str) -> str:
    """The licence a package declares: its SPDX expression, else its classifiers, else the first line of its text."""
    told = metadata.metadata(name)
    if expression := told["License-Expression"]:
        return str(expression)
    prefix = "License :: OSI Approved :: "
    classifiers = [line.removeprefix(prefix) for line in told.get_all("Classifier") or [] if line.startswith(prefix)]
    if classifiers and classifiers != ["License :: OSI Approved"]:
        return " or ".join(SPDX.get(line, line) for line in classifiers if line in SPDX or len(classifiers) == 1)
    text = str(told["License"] or "")
    return text.splitlines()[0].strip() if text else "not declared"


def described(name: str, version: str) -> Package:
    """Looks the locked package up among the installed ones."""
    compiled = any(file.suffix == ".so" for file in metadata.files(name) or [])
    return Package(name, version, licence_of(name), pure=not compiled)


def check_wheels(packages: list[Package]) -> None:
    """Asks pip's index for an aarch64 wheel of every compiled package and fails in pip's words if one has none."""
    pins = [f"{package.name}=={package.version}" for package in packages if not package.pure]
    platforms = [f"--platform={platform}" for platform in PLATFORMS]
    for python in PYTHONS:
        with tempfile.TemporaryDirectory() as folder:
            options = ["-qq", "--no-deps", "--only-binary=:all:", f"--python-version={python}", f"--dest={folder}"]
            subprocess.run([sys.executable, "-m", "pip", "download", *options, *platforms, *pins], check=True)


def table(packages: list[Package]) -> str:
    """The packages as a Markdown table."""
    rows = [
        f"| {package.name} | {package.version} | {package.licence} | {PURE if package.pure else COMPILED} |"
        for package in packages
    ]
    return "\n".join(["| package | version | licence | aarch64 |", "| --- | --- | --- | --- |", *rows]) + "\n"


def extras_table(packages: list[Package]) -> str:
    """The packages of the extras, which are sorted by extra. KeyError for one that `EXTRA_OF` does not know."""
    rows = [
        f"| {EXTRA_OF[package.name]} | {package.name} | {package.version} | {package.licence} "
        f"| {PURE if package.pure else BUILT} |"
        for package in sorted(packages, key=lambda package: (EXTRA_OF[package.name], package.name))
    ]
    head = ["| extra | package | version | licence | aarch64 |", "| --- | --- | --- | --- | --- |"]
    return "\n".join([*head, *rows]) + "\n"


def all_packages() -> tuple[list[Package], list[Package]]:
    """What the gateway needs, and what the extras add to it."""
    runtime = locked(ROOT / "requirements.lock")
    hardware = locked(ROOT / "requirements-hardware.lock")
    needed = [described(*pin) for pin in sorted(runtime.items())]
    return needed, [described(*pin) for pin in sorted(hardware.items()) if pin[0] not in runtime]


def main() -> int:
    """Returns the exit status: 0 if the page is right or was written, 1 if it is stale."""
    parser = argparse.ArgumentParser(description=__doc__)
    mode = parser.add_mutually_exclusive_group(required=True)
    mode.add_argument("--check", action="store_true")
    mode.add_argument("--write", action="store_true")
    wanted = parser.parse_args()
    runtime, extra = all_packages()
    page = INTRODUCTION + table(runtime) + EXTRAS + extras_table(extra) + BUILDING + DEBIAN
    if wanted.write:
        check_wheels(runtime)
        PAGE.write_text(page)
    elif not PAGE.exists() or PAGE.read_text() != page:
        print("docs/licences.md is stale: run 'make licences' and commit it", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
