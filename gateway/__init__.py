"""Venue Gateway: every reader, gate, printer and drawer of one venue, decided and recorded on the spot."""

__version__ = "0.1.0"
