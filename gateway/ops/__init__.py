"""What an operator does beside the running daemon: look after its health, back it up, report on it, erase a guest."""
