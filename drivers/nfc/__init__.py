"""Reading and proving contactless cards: what runs in a process of its own beside the daemon, and how they speak."""
