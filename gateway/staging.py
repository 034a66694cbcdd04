"""A configuration on trial: staged beside the file in force, swapped in at once, and swapped back if it does no good.

For a file `gateway.yaml` there are `gateway.yaml.staged` (not in force), `gateway.yaml.before` (to go back to) and
`gateway.yaml.trial`, the mark that a trial is on. The mark is on disk before the swap and survives a crash: the next
start goes back by itself, before it serves. Where `gateway.yaml` is a link, they lie beside the file that it names.
A file that somebody changed during the trial is neither the one nor the other, and is left as it is.
"""

from __future__ import annotations

import hashlib
import os
import shutil
from pathlib import Path
from typing import Literal

import msgspec
import structlog

from gateway.store.database import sync_folder

log = structlog.get_logger(__name__)

Stage = Literal["trying", "kept", "rolled_back", "left"]


class Mark(msgspec.Struct, frozen=True):
    """Which order is on trial, how far it has come, and the SHA-256 of what was swapped in."""

    order_id: str
    stage: Stage
    sha256: str = ""


class Staging:
    """The files beside one configuration. Every method raises OSError where they cannot be written."""

    def __init__(self, config_path: Path) -> None:
        """Name the files; nothing is touched yet."""
        config_path = config_path.resolve()
        self._path = config_path
        self.staged = config_path.with_name(f"{config_path.name}.staged")
        self._before = config_path.with_name(f"{config_path.name}.before")
        self._mark = config_path.with_name(f"{config_path.name}.trial")

    def stage(self, text: str) -> None:
        """Write a configuration that is not in force."""
        self._write(self.staged, text.encode())

    def drop(self) -> None:
        """Remove what was staged."""
        self.staged.unlink(missing_ok=True)

    def swap_in(self, order_id: str) -> None:
        """Put the staged file in place of the one in force, which is kept."""
        shutil.copyfile(self._path, self._before)
        _sync(self._before)
        shutil.copystat(self._path, self.staged)
        self.mark(order_id, "trying", _digest(self.staged))
        self.staged.replace(self._path)
        sync_folder(self._path.parent)

    def swap_back(self, order_id: str) -> bool:
        """Put the file from before in place again; False where somebody changed it meanwhile, and it is left so."""
        mark = self.marked()
        ours = mark is None or not mark.sha256 or _digest(self._path) in {mark.sha256, _digest(self._before)}
        if ours:
            self._before.replace(self._path)
            sync_folder(self._path.parent)
        self.mark(order_id, "rolled_back" if ours else "left")
        return ours

    def mark(self, order_id: str, stage: Stage, sha256: str = "") -> None:
        """Write how far the trial has come."""
        self._write(self._mark, msgspec.json.encode(Mark(order_id, stage, sha256)))

    def marked(self) -> Mark | None:
        """Return how far a trial has come; None where none is on."""
        try:
            return msgspec.json.decode(self._mark.read_bytes(), type=Mark)
        except FileNotFoundError:
            return None
        except msgspec.MsgspecError:
            # It was written whole or not at all, so somebody else has been here; what was before is the safe one.
            return Mark("", "trying")

    def unmark(self) -> None:
        """The trial is over and told of."""
        self._mark.unlink(missing_ok=True)
        sync_folder(self._path.parent)

    def _write(self, file: Path, content: bytes) -> None:
        draft = file.with_name(f".{file.name}.new")
        descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o640)
        with os.fdopen(descriptor, "wb") as out:
            out.write(content)
            out.flush()
            os.fsync(out.fileno())
        draft.replace(file)
        sync_folder(file.parent)


def go_back(config_path: Path) -> bool:
    """Undo a trial that a crash cut short; returns whether there is another configuration now.

    To be called by who has the lock of the state folder: a trial of a daemon that runs is no trial cut short.
    """
    staging = Staging(config_path)
    mark = staging.marked()
    if mark is None or mark.stage != "trying":
        return False
    try:
        undone = staging.swap_back(mark.order_id)
    except OSError as error:
        log.error("configuration_not_rolled_back", why=str(error))
        return False
    if undone:
        log.error("configuration_rolled_back", why="the gateway stopped before the new one was known to be good")
    else:
        log.error("configuration_not_rolled_back", why="it was changed at the venue during the trial, and stays so")
    return undone


def _digest(file: Path) -> str:
    with file.open("rb") as content:
        return hashlib.file_digest(content, "sha256").hexdigest()


def _sync(file: Path) -> None:
    with file.open("rb") as opened:
        os.fsync(opened.fileno())
