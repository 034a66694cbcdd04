"""A configuration on trial goes back at the next start, whenever the gateway ended, and never by half."""

from __future__ import annotations

from pathlib import Path

import pytest

from gateway.staging import Staging, go_back


@pytest.fixture
def file(tmp_path: Path) -> Path:
    made = tmp_path / "gateway.yaml"
    made.write_text("old")
    made.chmod(0o640)
    return made


def swapped(file: Path) -> Staging:
    staging = Staging(file)
    staging.stage("new")
    staging.swap_in("o-1")
    return staging


def test_what_is_staged_is_not_in_force(file: Path) -> None:
    staging = Staging(file)
    staging.stage("new")
    go_back(file)
    assert file.read_text() == "old"
    assert staging.marked() is None
    staging.drop()
    assert [one.name for one in file.parent.iterdir()] == ["gateway.yaml"]


def test_an_end_in_the_trial_goes_back_once(file: Path) -> None:
    staging = swapped(file)
    assert (file.read_text(), file.stat().st_mode & 0o777) == ("new", 0o640)
    go_back(file)
    assert file.read_text() == "old"
    mark = staging.marked()
    assert mark is not None
    assert (mark.order_id, mark.stage) == ("o-1", "rolled_back")
    # A technician mends the file before the gateway could tell of it: that is not undone.
    file.write_text("mended")
    go_back(file)
    assert file.read_text() == "mended"


def test_an_end_after_it_was_found_good_keeps_it(file: Path) -> None:
    staging = swapped(file)
    staging.mark("o-1", "kept")
    go_back(file)
    assert file.read_text() == "new"
    staging.unmark()
    assert staging.marked() is None


def test_an_end_between_mark_and_swap_changes_nothing(file: Path) -> None:
    staging = Staging(file)
    staging.stage("new")
    file.with_name("gateway.yaml.before").write_text("old")
    staging.mark("o-1", "trying")
    go_back(file)
    assert file.read_text() == "old"


def test_a_mark_that_cannot_be_read_goes_back_too(file: Path) -> None:
    swapped(file)
    file.with_name("gateway.yaml.trial").write_bytes(b"\0\0")
    go_back(file)
    assert file.read_text() == "old"


def test_a_way_back_that_is_gone_leaves_what_is_there(file: Path) -> None:
    swapped(file)
    file.with_name("gateway.yaml.before").unlink()
    go_back(file)
    assert file.read_text() == "new"


def test_what_a_technician_changed_during_the_trial_is_left(file: Path) -> None:
    staging = swapped(file)
    file.write_text("mended at the venue")
    assert not go_back(file)
    assert file.read_text() == "mended at the venue"
    mark = staging.marked()
    assert mark is not None
    assert (mark.order_id, mark.stage) == ("o-1", "left")


def test_behind_a_link_only_the_folder_of_the_file_is_written(file: Path, tmp_path: Path) -> None:
    folder = tmp_path / "config"
    folder.mkdir()
    file.rename(folder / "gateway.yaml")
    file.symlink_to("config/gateway.yaml")
    swapped(file)
    assert file.is_symlink()
    assert file.read_text() == "new"
    assert [one.name for one in tmp_path.iterdir() if one.is_file() and not one.is_symlink()] == []
    assert go_back(file)
    assert file.is_symlink()
    assert file.read_text() == "old"
