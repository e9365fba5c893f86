"""Stored records and how things stand, read for the page, the API and the command line."""
