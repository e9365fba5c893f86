"""Observations of market and system state at a moment, in one schema, with their faults flagged."""
