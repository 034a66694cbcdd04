import pytest
from hypothesis import given
from hypothesis import strategies as st

from drivers.codecs import escpos


def test_golden_bytes() -> None:
    assert bytes.fromhex("1B40") == escpos.INIT
    assert escpos.drawer_pulse(2) == bytes.fromhex("1B700019FA")
    assert escpos.drawer_pulse(5) == bytes.fromhex("1B700119FA")
    assert escpos.real_time_drawer_pulse(2) == bytes.fromhex("1014010001")
    assert escpos.real_time_drawer_pulse(5, 8) == bytes.fromhex("1014010108")
    assert [escpos.status_request(n).hex() for n in (1, 2, 3, 4)] == ["100401", "100402", "100403", "100404"]
    assert bytes.fromhex("1D610F") == escpos.ENABLE_ASB


@pytest.mark.parametrize("pin", [0, 1, 3, 25])
def test_there_are_only_pins_2_and_5(pin: int) -> None:
    with pytest.raises(ValueError, match="pins 2 and 5"):
        escpos.drawer_pulse(pin)
    with pytest.raises(ValueError, match="pins 2 and 5"):
        escpos.real_time_drawer_pulse(pin)


def test_numbers_out_of_range_are_refused() -> None:
    with pytest.raises(ValueError, match="only 1, 2, 3 and 4"):
        escpos.status_request(5)
    with pytest.raises(ValueError, match="1 to 8"):
        escpos.real_time_drawer_pulse(2, 9)


@given(st.lists(st.sampled_from([0x10, 0x14, 0x04, 0x05, 0x01, 0x00]), max_size=60).map(bytes))
def test_a_picture_loses_its_real_time_commands_and_at_most_gains_dots(picture: bytes) -> None:
    safe = escpos.without_real_time(picture)
    assert not escpos.holds_real_time(safe)
    assert len(safe) == len(picture)
    assert all(new in (old, old | 1) for old, new in zip(picture, safe, strict=True))


def test_a_harmless_picture_is_left_alone() -> None:
    assert escpos.without_real_time(bytes.fromhex("10001115FF")) == bytes.fromhex("10001115FF")
