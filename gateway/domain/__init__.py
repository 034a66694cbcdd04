"""What is decided here and why: pure functions and frozen facts, with no I/O, clock or randomness."""
