"""A USB HID relay board under umockdev: runs a command for which the board is plugged in.

Run by the system's Python, which has GObject introspection, with libumockdev-preload.so.0 preloaded:
`usb_relay_host.py STATE_FILE COMMAND…`. The board's relays are written to STATE_FILE as they change, and as long as a
file STATE_FILE.gone is there, the board is not: every transfer fails as for a device that was pulled out.
"""

import errno
import importlib
import json
import os
import struct
import sys
from pathlib import Path

import gi

gi.require_version("UMockdev", "1.0")
GLib, UMockdev = (importlib.import_module(f"gi.repository.{name}") for name in ("GLib", "UMockdev"))

SERIAL, PRODUCT = b"BITFT", "USBRelay2"
SUBMITURB, DISCARDURB, REAPURB, REAPURBNDELAY = 0x8038550A, 0x550B, 0x4008550C, 0x4008550D
GETDRIVER, CAPABILITIES, IOCTL = 0x41045508, 0x8004551A, 0xC0105512
URB_BYTES = 56
DEVICE = bytes.fromhex("12 01 0110 00 00 00 08 c016 df05 0001 01 02 00 01")
CONFIGURATION = bytes.fromhex(
    "09 02 2200 01 01 00 80 3209 04 00 00 01 03 00 00 00 09 21 0101 00 01 22 1600 07 05 81 03 0800 14"
)

DESCRIPTION = f"""P: /devices/usb1/1-1
N: bus/usb/001/004
E: DEVNAME=/dev/bus/usb/001/004
E: DEVTYPE=usb_device
E: SUBSYSTEM=usb
E: BUSNUM=001
E: DEVNUM=004
A: busnum=1\\n
A: devnum=4\\n
A: devpath=1\\n
A: speed=1.5\\n
A: bConfigurationValue=1\\n
A: idVendor=16c0\\n
A: idProduct=05df\\n
A: product={PRODUCT}\\n
"""


class Board:
    """The relays, and the transfers that libusb has submitted and not fetched yet."""

    def __init__(self, state: Path) -> None:
        self.state = state
        self.gone = state.with_name(f"{state.name}.gone")
        self.closed = [False] * 8
        self.driver = True
        self.done: list[UMockdev.IoctlData] = []
        self.tell()

    def tell(self) -> None:
        self.state.write_text(json.dumps(self.closed))

    def control(self, setup: bytes, data: bytes) -> bytes | None:
        """Return what a control transfer answers, or None for a stall."""
        kind, request, value, _index, length = struct.unpack("<BBHHH", setup)
        if (kind, request) == (0x21, 0x09):
            self.closed[data[1] - 1] = data[0] == 0xFF
            self.tell()
            return b""
        if (kind, request, value & 0xFF) == (0xA1, 0x01, 1):
            return (SERIAL + bytes([0, 0, sum(one << at for at, one in enumerate(self.closed))]))[:length]
        if (kind, request) == (0x80, 0x00):
            return b"\0\0"
        if (kind, request, value >> 8) == (0x80, 0x06, 3):
            text = "\u0409" if value & 0xFF == 0 else PRODUCT
            body = text.encode("utf-16-le")
            return (bytes([len(body) + 2, 3]) + body)[:length]
        return None

    def handle(self, _handler: UMockdev.IoctlBase, client: UMockdev.IoctlClient) -> bool:
        request = client.get_request() & 0xFFFFFFFF
        try:
            result, code = (-1, errno.ENODEV) if self.gone.exists() else self.ioctl(request, client)
        except (ValueError, RuntimeError, GLib.Error) as error:
            sys.stderr.write(f"{error!r} at {request:#x}\n")
            result, code = -1, errno.EIO
        client.complete(result, code)
        return True

    def ioctl(self, request: int, client: UMockdev.IoctlClient) -> tuple[int, int]:
        argument = client.get_arg()
        if request == SUBMITURB:
            return self.submit(argument.resolve(0, URB_BYTES))
        if request in (REAPURB, REAPURBNDELAY):
            return self.reap(argument.resolve(0, 8))
        if request == DISCARDURB:
            return -1, errno.EINVAL
        if request == GETDRIVER:
            if not self.driver:
                return -1, errno.ENODATA
            data = argument.resolve(0, 260)
            data.update(4, b"usbhid\0")
            return 0, 0
        if request == CAPABILITIES:
            argument.resolve(0, 4).update(0, struct.pack("<I", 0))
            return 0, 0
        if request == IOCTL:
            self.driver = False
            return 0, 0
        return 0, 0

    def submit(self, urb: UMockdev.IoctlData) -> tuple[int, int]:
        raw = bytes(urb.retrieve())
        length = struct.unpack_from("<i", raw, 24)[0]
        buffer = urb.resolve(16, length)
        content = bytes(buffer.retrieve())
        answer = self.control(content[:8], content[8:])
        if answer is None:
            urb.update(4, struct.pack("<i", -errno.EPIPE))
        else:
            if answer:
                buffer.update(8, answer)
            count = len(answer) if content[0] & 0x80 else length - 8
            urb.update(4, struct.pack("<i", 0))
            urb.update(28, struct.pack("<i", count))
        self.done.append(urb)
        return 0, 0

    def reap(self, pointer: UMockdev.IoctlData) -> tuple[int, int]:
        if not self.done:
            return -1, errno.EAGAIN
        pointer.set_ptr(0, self.done.pop(0))
        return 0, 0


def main() -> int:
    board = Board(Path(sys.argv[1]))
    testbed = UMockdev.Testbed.new()
    testbed.add_from_string(DESCRIPTION + f"H: descriptors={(DEVICE + CONFIGURATION).hex().upper()}\n\n")
    handler = UMockdev.IoctlBase()
    handler.connect("handle-ioctl", board.handle)
    testbed.attach_ioctl("/dev/bus/usb/001/004", handler)
    loop = GLib.MainLoop()
    status = []

    def ended(_pid, code, *_):
        status.append(os.waitstatus_to_exitcode(code))
        loop.quit()

    pid, *_ = GLib.spawn_async(sys.argv[2:], flags=GLib.SpawnFlags.DO_NOT_REAP_CHILD | GLib.SpawnFlags.SEARCH_PATH)
    GLib.child_watch_add(GLib.PRIORITY_DEFAULT, pid, ended)
    loop.run()
    return status[0]


sys.exit(main())
