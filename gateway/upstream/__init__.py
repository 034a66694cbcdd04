"""What goes up and what comes down: events to every sink, the directory and allowances from upstream."""
