"""A keyboard in umockdev's test bed, and the driver's process in front of it. Run by Debian's own Python, which has gi.

Arguments: a file of key events in evemu's form, then the command to run. Every time the device is grabbed or given back
that is a line on standard error.
"""

import subprocess
import sys
import threading

import gi

gi.require_version("UMockdev", "1.0")
from gi.repository import GLib, UMockdev  # noqa: E402

EVIOCGVERSION, EVIOCGID, EVIOCGEFFECTS, EVIOCGRAB = 0x80044501, 0x80084502, 0x80044584, 0x40044590
NAME = b"Umock Scanner\0"
KEY_BITS = bytes([0xFF] * 32)


def reply(request):
    """What the kernel answers to an ioctl of evdev; None for one that such a device does not know."""
    if request == EVIOCGVERSION:
        return (0x010001).to_bytes(4, "little")
    if request == EVIOCGID:
        return bytes.fromhex("0300 0c2e 0762 0111")
    if request == EVIOCGEFFECTS:
        return bytes(4)
    kind, number, size = request >> 8 & 0xFF, request & 0xFF, request >> 16 & 0x3FFF
    if kind != ord("E"):
        return None
    if number == 0x06:
        return NAME[:size]
    if number in (0x07, 0x08):
        return b"\0"
    if number == 0x20:
        return (1 << 0 | 1 << 1).to_bytes(size, "little")
    if number == 0x21:
        return KEY_BITS[:size]
    return bytes(size) if 0x20 <= number < 0x40 else None


def handle(_base, client):
    """Answer one ioctl of the driver's process."""
    request = client.get_request() & 0xFFFFFFFF
    if request == EVIOCGRAB:
        sys.stderr.write("grabbed\n")
        sys.stderr.flush()
        client.complete(0, 0)
        return True
    data = reply(request)
    if data is None:
        client.complete(-1, 25)
        return True
    if data:
        client.get_arg().resolve(0, len(data)).update(0, data)
    client.complete(len(data) if request not in (EVIOCGVERSION, EVIOCGID, EVIOCGEFFECTS) else 0, 0)
    return True


def main():
    events, *command = sys.argv[1:]
    testbed = UMockdev.Testbed.new()
    testbed.add_from_string(
        "P: /devices/usb/input7/event7\nN: input/event7\nE: DEVNAME=/dev/input/event7\nE: SUBSYSTEM=input\n"
    )
    base = UMockdev.IoctlBase()
    base.connect("handle-ioctl", handle)
    testbed.attach_ioctl("/dev/input/event7", base)
    testbed.load_evemu_events("/dev/input/event7", events)
    loop = GLib.MainLoop()
    threading.Thread(target=loop.run, daemon=True).start()
    sys.exit(subprocess.run(command, check=False).returncode)


main()
