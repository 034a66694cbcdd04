"""What is kept on disk: the journal of what happened here, and the directory of who may do what."""
