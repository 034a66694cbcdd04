"""Whatever the outside sends: nothing but an answer or a refusal comes of it, soon, and nothing grows without end."""
