"""What of a configuration is fixed while the daemon runs."""

from __future__ import annotations

from gateway.config.schema import Configuration


def needs_restart(old: Configuration, new: Configuration) -> str:
    """Return what of a configuration is fixed while the daemon runs and differs, or an empty text."""
    changed = [name for name in ("broker", "state_dir") if getattr(old, name) != getattr(new, name)]
    return ", ".join([*(["venue.id"] if old.venue.id != new.venue.id else []), *changed])
