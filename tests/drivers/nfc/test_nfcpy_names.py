"""Names of USB readers that last: by their place, or by their serial number."""

from __future__ import annotations

import msgspec
import pytest

pytest.importorskip("nfc", reason="nfcpy is not installed: it comes with the extra `nfc`")

from drivers.nfc import nfcpy_process
from drivers.nfc.child import Stopped
from drivers.readers.nfcpy import NfcpyOptions


@pytest.fixture
def usb(tmp_path, monkeypatch):
    for place, values in {
        "1-1.4": ("072f", "2200", None, "1", "7"),
        "1-1.5": ("054c", "06c3", "0123456", "1", "12"),
        "usb1": ("1d6b", "0002", None, "1", "1"),
    }.items():
        (tmp_path / place).mkdir()
        for name, value in zip(("idVendor", "idProduct", "serial", "busnum", "devnum"), values, strict=True):
            if value is not None:
                (tmp_path / place / name).write_text(value + "\n")
    monkeypatch.setattr(nfcpy_process, "USB_DEVICES", tmp_path)


@pytest.mark.parametrize(
    ("connect", "path"),
    [
        ("usb", "usb"),
        ("usb:072f:2200", "usb:072f:2200"),
        ("usb:1-1.4", "usb:001:007"),
        ("usb:054C:06C3:0123456", "usb:001:012"),
        ("udp:127.0.0.1:54321", "udp:127.0.0.1:54321"),
    ],
)
def test_what_nfcpy_is_told(usb, connect, path):
    assert nfcpy_process._nfcpy_path(connect) == path


@pytest.mark.parametrize("connect", ["usb:1-1.6", "usb:054c:06c3:7654321", "usb:072f:2200:1"])
def test_a_reader_that_is_not_plugged_in(usb, connect):
    with pytest.raises(Stopped, match="is not plugged in"):
        nfcpy_process._nfcpy_path(connect)


@pytest.mark.parametrize(
    "connect", ["", "/dev/tty; rm -rf x", "/dev/$(id)", "tty:USB0:pn532", "usb:xyz", "/dev/a b", "/dev/a\nb", "udp:x"]
)
def test_names_that_could_reach_a_shell_or_mean_nothing_are_refused(connect):
    """nfcpy hands a port's name to a shell (stty)."""
    with pytest.raises(msgspec.ValidationError):
        msgspec.convert({"connect": connect}, NfcpyOptions)
