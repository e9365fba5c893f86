"""The command line, `observer …`: every command is one question or one act, in a module of its group."""

from observer_core.cli.app import main

__all__ = ["main"]
