"""What an operator does, for the command line and the port alike: refused beforehand, or a record."""
