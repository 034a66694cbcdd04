"""Simulated contactless cards, with ciphers of their own: they share no code with what they test."""
