"""A scanner on Bluetooth, as its computer's kernel sees one: made by /dev/uhid, as bluetoothd makes those of today.

Runs in the guest by itself and takes one command after another at a socket: `connect`, `disconnect`, `scan CODE`, and
`hurry N`, which is connecting and pressing the key x N times from the first moment on. Run with a command it hands that
to the one that runs.
"""

import contextlib
import os
import socket
import struct
import sys
import threading
from pathlib import Path

ADDRESS = "00:1a:7d:da:71:13"
PORT = f"/dev/venue/keyboard-{ADDRESS}"
SOCKET = "/run/radio-scanner"
BLUETOOTH, VENDOR, PRODUCT = 0x05, 0x0C2E, 0x0E91
DESTROY, CREATE, INPUT = 1, 11, 12
"""UHID_DESTROY, UHID_CREATE2 and UHID_INPUT2 of include/uapi/linux/uhid.h."""
KEY_S = 0.012
HURRY_S = 0.001
# Report 1: eight modifiers and six keys out of all that there are; report 2: the keys of a remote control.
DESCRIPTOR = bytes.fromhex(
    "05010906a1018501050719e029e71500250175019508810275089501810395067508150026ff00050719002aff008100c0"
    "050c0901a1018502150026ff0319002aff03751095018100c0"
)
USAGES = {
    **{letter: 0x04 + at for at, letter in enumerate("abcdefghijklmnopqrstuvwxyz")},
    **{digit: 0x1E + at for at, digit in enumerate("1234567890")},
    "\n": 0x28,
}


class Scanner:
    """The scanner's end of /dev/uhid."""

    def __init__(self):
        self._kernel = None
        self._pace = threading.Event()

    def connect(self):
        """Appear as one that has just come into reach."""
        self._kernel = os.open("/dev/uhid", os.O_RDWR | os.O_NONBLOCK)
        name, place, unique = b"Radio Scanner", b"00:1a:7d:00:00:01", ADDRESS.encode()
        numbers = (len(DESCRIPTOR), BLUETOOTH, VENDOR, PRODUCT, 1, 0)
        self._tell(struct.pack("=I128s64s64sHHIIII4096s", CREATE, name, place, unique, *numbers, DESCRIPTOR))

    def disconnect(self):
        """Go out of reach."""
        self._tell(struct.pack("=I", DESTROY))
        os.close(self._kernel)

    def scan(self, code):
        """Type a code as scanners do."""
        for character in f"{code}\n":
            self._press(USAGES[character], KEY_S)

    def hurry(self, count):
        """Come into reach and press the key x at once."""
        self.connect()
        for _ in range(int(count)):
            self._press(USAGES["x"], HURRY_S)

    def _press(self, usage, pause_s):
        for key in (usage, 0):
            # Until the kernel has made an input device it says that there is none, and nobody hears the key.
            with contextlib.suppress(OSError):
                report = bytes([1, 0, 0, key, 0, 0, 0, 0, 0])
                self._tell(struct.pack("=IH", INPUT, len(report)) + report)
            # The pace of a scanner; nothing is waited for.
            self._pace.wait(pause_s)

    def _tell(self, event):
        with contextlib.suppress(BlockingIOError):
            while os.read(self._kernel, 4380):
                pass
        os.write(self._kernel, event)


def serve():
    """Do what is asked for, one at a time, until killed."""
    scanner = Scanner()
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(SOCKET)
        listener.listen()
        while True:
            link, _ = listener.accept()
            with link:
                verb, *words = link.recv(1000).decode().split()
                getattr(scanner, verb)(*words)
                link.sendall(b"done")


def ask(words):
    """Have the one that runs do something, and wait until it has."""
    with socket.socket(socket.AF_UNIX) as link:
        link.connect(SOCKET)
        link.sendall(" ".join(words).encode())
        if link.recv(10) != b"done":
            raise SystemExit("it failed: journalctl -u radio-scanner")


if __name__ == "__main__":
    if len(sys.argv) > 1:
        ask(sys.argv[1:])
    else:
        Path(SOCKET).unlink(missing_ok=True)
        serve()
