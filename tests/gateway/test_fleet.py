"""Orders that cannot be carried out are said so, with what to do."""

from __future__ import annotations

import errno
import os
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import msgspec
import pytest

from gateway import fleet
from gateway.domain.orders import Kind, Order


def order(kind: Kind, data: bytes) -> Order:
    return Order(
        id="o-1",
        venue="hall",
        kind=kind,
        version=1,
        issued_at_ms=1,
        expires_at_ms=2,
        by="ann",
        reason="x",
        data=msgspec.Raw(data),
    )


async def test_a_folder_that_the_service_sees_read_only_is_told_with_the_page_to_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    gateway: Any = SimpleNamespace(
        config_path=tmp_path / "gateway.yaml", configuration=SimpleNamespace(state_dir=tmp_path / "state")
    )
    carrier = fleet.Fleet(gateway)

    def read_only(path: Path, *_: int) -> int:
        raise OSError(errno.EROFS, "Read-only file system", str(path))

    monkeypatch.setattr(os, "open", read_only)
    with pytest.raises(fleet.OrderFailed, match=r"may not be written; see docs/operations\.md"):
        await carrier._configuration(order("configuration", b'{"yaml": "venue: x"}'))


async def test_a_bundle_that_hangs_is_given_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    slow = tmp_path / "slow"
    slow.write_text("#!/bin/sh\nexec sleep 60\n")
    slow.chmod(0o755)
    monkeypatch.setattr(sys, "executable", str(slow))
    monkeypatch.setattr(fleet, "DIAGNOSTICS_WITHIN_S", 0.05)
    said = await fleet._bundle(tmp_path / "b.tar.gz", tmp_path / "gateway.yaml")
    assert "was not made within 0.05 s" in said


class TroubledGateway:
    """A gateway whose reload runs into something, once."""

    def __init__(self, folder: Path) -> None:
        self.config_path = folder / "gateway.yaml"
        self.config_path.write_text("venue: before\n")
        self.configuration: Any = SimpleNamespace(
            state_dir=folder / "state", upstream=None, needs_restart=lambda _: "", devices={}
        )
        self.supervisor = SimpleNamespace(slots={})
        self.reloads: list[str] = []

    def files(self) -> list[str]:
        return sorted(file.name for file in self.config_path.parent.iterdir())

    def read(self, _: Path) -> Any:
        return SimpleNamespace(upstream=None, digest="new")

    async def reloaded(self) -> None:
        self.reloads.append(self.config_path.read_text())
        if len(self.reloads) == 1:
            raise KeyError("nobody thought of this")


async def test_a_trial_that_runs_into_something_goes_back(tmp_path: Path) -> None:
    gateway = TroubledGateway(tmp_path)
    carrier = fleet.Fleet(gateway)  # type: ignore[arg-type]
    with pytest.raises(fleet.RolledBack, match="the one before is in force: 'nobody thought of this'"):
        await carrier._configuration(order("configuration", b'{"yaml": "venue: new"}'))
    assert gateway.reloads == ["venue: new", "venue: before\n"]
    assert gateway.files() == ["gateway.yaml"]
