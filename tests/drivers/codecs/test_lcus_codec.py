from __future__ import annotations

import pytest

from drivers.codecs.lcus import encode_switch


@pytest.mark.parametrize(
    ("channel", "closed", "command"),
    [
        (1, True, "A00101A2"),
        (1, False, "A00100A1"),
        (2, True, "A00201A3"),
        (8, False, "A00800A8"),
        (96, True, "A0600101"),
    ],
)
def test_lcus_golden_commands(channel, closed, command):
    assert encode_switch(channel, closed=closed).hex().upper() == command


@pytest.mark.parametrize("channel", [0, -1, 255])
def test_lcus_refuses_a_channel_that_cannot_be(channel):
    with pytest.raises(ValueError, match="1 to 254"):
        encode_switch(channel, closed=True)
