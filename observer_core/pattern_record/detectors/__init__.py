"""One detector a file: its paper, its formula, what it takes for an alarm."""
