"""How long records are kept, what must not go all the same, and how they go."""
