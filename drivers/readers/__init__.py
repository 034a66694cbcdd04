"""Readers of tags and cards."""
