"""A keyboard in umockdev's test bed, and the driver's process in front of it. Run by Debian's own Python, which has gi.

Arguments: a file of key events in evemu's form, the keys of its buttons (28,30 say; none for a device without such a
table), then the command to run. Every time the device is grabbed or given back
that is a line on standard error.
"""

import struct
import subprocess
import sys
import threading

import gi

gi.require_version("UMockdev", "1.0")
from gi.repository import GLib, UMockdev  # noqa: E402

EVIOCGVERSION, EVIOCGID, EVIOCGEFFECTS, EVIOCGRAB = 0x80044501, 0x80084502, 0x80044584, 0x40044590
EVIOCGKEYCODE_V2, EVIOCSKEYCODE_V2 = 0x80284504, 0x40284504
EINVAL, ENOTTY = 22, 25
KEYMAP_ENTRY = struct.Struct("=BBHI32s")
NAME = b"Umock Scanner\0"
KEY_BITS = bytes([0xFF] * 96)
BUTTONS = []


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
    if request == EVIOCGKEYCODE_V2:
        tell_button(client)
        return True
    if request == EVIOCSKEYCODE_V2:
        set_button(client)
        return True
    data = reply(request)
    if data is None:
        client.complete(-1, ENOTTY)
        return True
    if data:
        client.get_arg().resolve(0, len(data)).update(0, data)
    client.complete(len(data) if request not in (EVIOCGVERSION, EVIOCGID, EVIOCGEFFECTS) else 0, 0)
    return True


def tell_button(client):
    """Answer which key the button of an index is."""
    argument = client.get_arg().resolve(0, KEYMAP_ENTRY.size)
    flags, _, index, _, _ = KEYMAP_ENTRY.unpack(bytes(argument.retrieve()))
    if flags != 1 or index >= len(BUTTONS):
        client.complete(-1, EINVAL)
        return
    scan_code = (0x70000 + index).to_bytes(4, sys.byteorder)
    argument.update(0, KEYMAP_ENTRY.pack(flags, len(scan_code), index, BUTTONS[index], scan_code))
    client.complete(0, 0)


def set_button(client):
    """Give the button of an index another key; what all of them are then is a line on standard error."""
    _, _, index, key, _ = KEYMAP_ENTRY.unpack(bytes(client.get_arg().resolve(0, KEYMAP_ENTRY.size).retrieve()))
    BUTTONS[index] = key
    sys.stderr.write(f"{BUTTONS}\n")
    sys.stderr.flush()
    client.complete(0, 0)


def main():
    events, buttons, *command = sys.argv[1:]
    BUTTONS.extend(int(key) for key in buttons.split(",") if key)
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
