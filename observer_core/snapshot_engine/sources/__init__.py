"""Where observations come from, a kind a file."""
