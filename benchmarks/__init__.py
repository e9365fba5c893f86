"""Measurements that may be quoted: each prints the machine's limit beside it."""
