"""Faults below the gateway: a disk that is recorded, cut off, full, broken or slow, and a clock that jumps."""
