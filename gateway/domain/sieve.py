"""A set that can only say "surely not" or "perhaps", in two megabytes: a Bloom filter."""

from __future__ import annotations

BITS = 1 << 24
"""With a million keys one in seventy answers "perhaps" is wrong, and costs one look-up on the disk."""
_MASK = BITS - 1


class Sieve:
    """Spares a look-up on the disk for a key that was never stored, which is what almost every new request has."""

    def __init__(self) -> None:
        """Begin empty."""
        self._bits = bytearray(BITS // 8)

    def add(self, key: str) -> None:
        """Note a key."""
        for bit in _bits_of(key):
            self._bits[bit >> 3] |= 1 << (bit & 7)

    def may_hold(self, key: str) -> bool:
        """Return False when `key` was surely never added."""
        one, other = _bits_of(key)
        return bool(self._bits[one >> 3] >> (one & 7) & self._bits[other >> 3] >> (other & 7) & 1)


def _bits_of(key: str) -> tuple[int, int]:
    """Two places of the 64-bit hash, which Python salts anew for each process: nobody can aim at collisions."""
    value = hash(key)
    return value & _MASK, value >> 24 & _MASK
