"""A configuration on trial: staged beside the file in force, swapped in at once, and swapped back if it does no good.

For a file `gateway.yaml` there are `gateway.yaml.staged` (not in force), `gateway.yaml.before` (to go back to) and
`gateway.yaml.trial`, the mark that a trial is on. The mark is on disk before the swap and survives a crash: the next
start goes back by itself, before it reads anything.
"""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from typing import Literal

import msgspec
import structlog

from gateway.store.database import sync_folder

log = structlog.get_logger(__name__)

Stage = Literal["trying", "kept", "rolled_back"]


class Mark(msgspec.Struct, frozen=True):
    """Which order is on trial, and how far it has come."""

    order_id: str
    stage: Stage


class Staging:
    """The files beside one configuration. Every method raises OSError where they cannot be written."""

    def __init__(self, config_path: Path) -> None:
        """Name the files; nothing is touched yet."""
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
        self.mark(order_id, "trying")
        self.staged.replace(self._path)
        sync_folder(self._path.parent)

    def swap_back(self, order_id: str) -> None:
        """Put the file from before in place again."""
        self._before.replace(self._path)
        sync_folder(self._path.parent)
        self.mark(order_id, "rolled_back")

    def mark(self, order_id: str, stage: Stage) -> None:
        """Write how far the trial has come."""
        self._write(self._mark, msgspec.json.encode(Mark(order_id, stage)))

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


def go_back(config_path: Path) -> None:
    """Undo a trial that a crash cut short; to be called before a configuration is read."""
    staging = Staging(config_path)
    mark = staging.marked()
    if mark is None or mark.stage != "trying":
        return
    try:
        staging.swap_back(mark.order_id)
        log.error("configuration_rolled_back", why="the gateway stopped before the new one was known to be good")
    except OSError as error:
        log.error("configuration_not_rolled_back", why=str(error))


def _sync(file: Path) -> None:
    with file.open("rb") as opened:
        os.fsync(opened.fileno())
