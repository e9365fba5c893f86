"""Recordings: the bytes of a file, its rows as columns, and the rows of all files in time order."""
