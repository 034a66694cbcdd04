"""One user story a file, read from top to bottom."""
