"""Measurements that the README and the notes may quote. Each prints its peer and the machine's limit beside it."""
