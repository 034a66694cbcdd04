"""Device protocols without I/O: bytes in, frozen events out; commands in, bytes out."""
