"""A process that behaves as the first line it is told says; run as a module by the tests of the fence."""

from __future__ import annotations

import os
import signal
import sys
import threading


def main() -> None:
    how = sys.stdin.readline().strip()
    write = sys.stdout.buffer.write
    if how == "crash":
        os.kill(os.getpid(), signal.SIGSEGV)
    if how == "exit":
        sys.exit(7)
    if how == "endless":
        while True:
            write(b"x" * 4096)
    if how == "flood":
        while True:
            write(b"{}\n")
            sys.stdout.buffer.flush()
    write(f"{os.getpid()}\n".encode())
    sys.stdout.buffer.flush()
    if how == "echo":
        for line in sys.stdin:
            write(line.encode())
            sys.stdout.buffer.flush()
    if how == "hang":
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        threading.Event().wait()


if __name__ == "__main__":
    main()
