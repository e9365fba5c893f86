"""What the Observer says of itself while it works: instruments, traces, and where they go."""
