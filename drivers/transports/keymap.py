"""Which key the kernel makes of each button of an input device, and the numbers that mean a key to the gateway alone.

Facts: the kernel's console knows the keys below 256 and those of a braille keyboard, and passes over all others
(drivers/tty/vt/keyboard.c); so do its own key combinations. Any number up to 0x2ff can be given to a button by
EVIOCSKEYCODE, and stays until the device goes (include/uapi/linux/input.h). `udev` does that at once when the device
comes: its builtin `keyboard`, by scan codes. Where two buttons have the same one it reaches the first; this module, run
as a program, reaches all.
"""

from __future__ import annotations

import errno
import fcntl
import struct
import sys
from pathlib import Path

import msgspec

BASE = 0x250
"""A button that was key 28 is 0x250 + 28: this way every key stays one of its own."""
LAST = 111
"""Scanners type with no key above. Up to 0x2bf no number is a joystick's or a braille keyboard's."""
NO_KEY = 0x2FF
"""What no scanner types with, such as volume and power: to the gateway they are all the same."""
BUTTONS_MAX = 4096

_CONSOLE_KEYS = 0x100
_UNKNOWN = 240
"""KEY_UNKNOWN, which is what the kernel calls a button that it has no key for."""
_BRAILLE_KEYS = range(0x1F1, 0x1FB)
_ENTRY = struct.Struct("=BBHI32s")
"""struct input_keymap_entry: flags, bytes of the scan code, index, key, scan code."""
_EVIOCGKEYCODE_V2, _EVIOCSKEYCODE_V2 = 0x80284504, 0x40284504
_BY_INDEX = 1


class Button(msgspec.Struct, frozen=True):
    """A button of an input device: the device's number for it, and the key that the kernel makes of it (0: none)."""

    scan_code: int
    key: int


def is_heard(key: int) -> bool:
    """Return True for a key that a console of this computer, or the kernel itself, could act on."""
    return (0 < key < _CONSOLE_KEYS and key != _UNKNOWN) or key in _BRAILLE_KEYS


def muted(key: int) -> int:
    """Return the number under which a key reaches the gateway alone; of one that nobody hears that number itself."""
    if not is_heard(key):
        return key
    return BASE + key if key <= LAST else NO_KEY


def key_of(code: int) -> int:
    """Return the key that a muted number stands for; 0 for every other number."""
    return code - BASE if BASE < code <= BASE + LAST else 0


def read_keymap(fd: int) -> list[Button]:
    """Return every button of an open input device, in the kernel's order; none where its driver has no such table.

    Raises OSError when the device is gone, or is no input device.
    """
    buttons: list[Button] = []
    for index in range(BUTTONS_MAX):
        entry = bytearray(_ENTRY.pack(_BY_INDEX, 0, index, 0, b""))
        try:
            fcntl.ioctl(fd, _EVIOCGKEYCODE_V2, entry)
        except OSError as error:
            # EINVAL: there are no more.
            if error.errno == errno.EINVAL:
                break
            raise
        _, length, _, key, scan_code = _ENTRY.unpack(entry)
        buttons.append(Button(int.from_bytes(scan_code[:length], sys.byteorder), key))
    return buttons


def mute(fd: int) -> None:
    """Mute every button of an open input device, also those of which it has two by the same scan code.

    Raises OSError when the device is gone, or does not have its keys changed.
    """
    for index, button in enumerate(read_keymap(fd)):
        if is_heard(button.key):
            fcntl.ioctl(fd, _EVIOCSKEYCODE_V2, _ENTRY.pack(_BY_INDEX, 0, index, muted(button.key), b""))


if __name__ == "__main__":
    # As a program of a udev rule; its argument is the input device.
    with Path(sys.argv[1]).open("rb", buffering=0) as device:
        mute(device.fileno())
