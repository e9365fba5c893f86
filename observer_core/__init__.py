"""QTS Observer: an independent, auditable watcher beside a quant trading system."""

__version__ = "0.1.0"
