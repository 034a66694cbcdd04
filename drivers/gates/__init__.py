"""Relay boards that unlock gates, and the contacts that see people pass."""
