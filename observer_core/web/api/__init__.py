"""The API under /v1: one file a kind of resource, models.py says what they look like."""
