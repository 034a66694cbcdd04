"""Which drivers there are, and keeping each device running without harm to the others."""
