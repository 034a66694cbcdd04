"""python-escpos, fenced: what it does on import is undone here, and only its byte builder and its profiles are used.

Importing it calls `logging.basicConfig()`, which would double every log line, leaves a temporary directory behind, and
parses its profile database as YAML, 0.3 s and more on a Pi: so it is imported once, when first needed, and better in a
thread. The database itself is read without that import, so that a configuration can be checked at once.

Never used: its transports and status queries, which block; `paper_status()`, which says "adequate" when nothing
answers; `cashdraw()`, whose pulse is too long for some drawers; `barcode()`, which prints to stdout; and its text
encoding, which sends Chinese signs as GB18030 whatever the printer is.
"""

from __future__ import annotations

import functools
import importlib.resources
import logging
import shutil
import threading
from types import ModuleType
from typing import Any

import msgspec

_import_lock = threading.Lock()


@functools.cache
def database() -> dict[str, Any]:
    """The profile database (escpos-printer-db): `profiles` and `encodings` by name. Takes a millisecond."""
    raw = (importlib.resources.files("escpos") / "capabilities.json").read_bytes()
    return msgspec.json.decode(raw, type=dict[str, Any])


def load() -> ModuleType:
    """The package's `escpos.printer` module; the first call takes half a second. Safe from any thread."""
    with _import_lock:
        return _load()


@functools.cache
def _load() -> ModuleType:
    root = logging.getLogger()
    handlers, level = list(root.handlers), root.level
    from escpos import capabilities, printer  # noqa: PLC0415 - see above: only when needed.

    for handler in [each for each in root.handlers if each not in handlers]:
        root.removeHandler(handler)
    root.setLevel(level)
    # Made by the library itself with mkdtemp() unless told otherwise; it holds a pickle that is not read again.
    shutil.rmtree(capabilities.pickle_dir, ignore_errors=True)
    module: ModuleType = printer
    return module


def new_builder(data: dict[str, Any], width_dots: int) -> Any:  # noqa: ANN401 - the library carries no types.
    """An empty `Dummy` printer for profile `data`, which collects bytes and talks to nobody.

    The width goes into its profile, because with an unknown one the library writes to stdout for every picture.
    """
    module = load()
    from escpos.capabilities import Profile  # noqa: PLC0415 - loaded by now.

    profile = Profile(features=data["features"])
    profile.profile_data = {**data, "media": {"width": {"pixels": width_dots}}}
    return module.Dummy(profile=profile)
