from __future__ import annotations

from gateway.mqtt.patience import CLIENTS_MAX, Patience


def test_i09_so_many_wrong_requests_a_second_are_answered_and_no_more() -> None:
    now_s = 0.0
    patience = Patience(lambda: now_s, answered_per_s=3)
    assert [patience.is_left("bar") for _ in range(5)] == [True, True, True, False, False]
    assert patience.is_left("kiosk"), "each client has its own share"
    now_s = 0.9
    assert not patience.is_left("bar")
    now_s = 1.0
    assert patience.is_left("bar")


def test_i09_only_so_many_clients_are_remembered() -> None:
    patience = Patience(lambda: 0.0, answered_per_s=1)
    for number in range(CLIENTS_MAX + 50):
        assert patience.is_left(f"client-{number}")
    assert len(patience._counted) == CLIENTS_MAX
