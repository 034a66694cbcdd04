import pytest

from drivers.api import DeviceOffline, Drawer, Printer, PrinterStatus
from drivers.drawers.drawer_kick import DrawerKick, DrawerKickOptions, DrawerState, drawer_state


class FakePrinter:
    def __init__(self, error: Exception | None = None) -> None:
        self.pins: list[int] = []
        self._error = error

    async def write(self, data: bytes) -> None:
        raise AssertionError("a drawer never prints")

    async def status(self) -> PrinterStatus | None:
        return None

    async def kick(self, pin: int) -> None:
        if self._error:
            raise self._error
        self.pins.append(pin)


async def test_opening_pulses_the_configured_pin_once() -> None:
    printer = FakePrinter()
    drawer = DrawerKick(DrawerKickOptions(printer="bar-printer", pin=5), printer)
    await drawer.open()
    assert printer.pins == [5]
    assert isinstance(drawer, Drawer)
    assert isinstance(printer, Printer)


async def test_a_printer_that_is_away_cannot_open_its_drawer() -> None:
    drawer = DrawerKick(DrawerKickOptions(printer="bar-printer"), FakePrinter(DeviceOffline("off")))
    with pytest.raises(DeviceOffline):
        await drawer.open()


@pytest.mark.parametrize(
    ("pin_high", "open_is_high", "expected"),
    [
        (True, True, "open"),
        (False, True, "closed"),
        (True, False, "closed"),
        (False, False, "open"),
        (None, True, "unknown"),
        (True, None, "unknown"),
    ],
)
def test_the_contact_is_read_by_its_calibration(
    pin_high: bool | None, open_is_high: bool | None, expected: DrawerState
) -> None:
    assert drawer_state(PrinterStatus(drawer_pin_high=pin_high), open_is_high) == expected
    options = DrawerKickOptions(printer="p", open_is_high=open_is_high)
    assert DrawerKick(options, FakePrinter()).state(PrinterStatus(drawer_pin_high=pin_high)) == expected


def test_no_status_is_unknown() -> None:
    assert drawer_state(None, open_is_high=True) == "unknown"
