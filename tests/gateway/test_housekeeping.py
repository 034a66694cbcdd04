from __future__ import annotations

import pytest

from gateway.housekeeping import EXIT_STORAGE, Housekeeping
from gateway.store.errors import StorageUnavailable


class LostRecorder:
    """A recorder over a disk that failed under something nobody waits for, such as a fold."""

    def __init__(self, error: StorageUnavailable) -> None:
        self.lost: StorageUnavailable | None = error

    def recover(self) -> None:
        raise self.lost


class BareGateway:
    def __init__(self, error: StorageUnavailable) -> None:
        self.recorder = LostRecorder(error)
        self.exit_statuses: list[int] = []

    def stop(self, exit_status: int = 0) -> None:
        self.exit_statuses.append(exit_status)


@pytest.mark.parametrize(("fatal", "statuses"), [(True, [EXIT_STORAGE]), (False, [])])
def test_a_sync_that_failed_while_nobody_waited_ends_the_daemon_too(fatal: bool, statuses: list[int]) -> None:
    gateway = BareGateway(StorageUnavailable("the disk failed to keep what was written", fatal=fatal))
    Housekeeping(gateway)._recover()
    assert gateway.exit_statuses == statuses
