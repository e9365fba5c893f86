"""Epochs: which configuration and which code a journal's records were made with.

A new configuration or version takes effect only by a committed `epoch` record that holds
the configuration in full. Every record names its epoch.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from observer_core.shared.canonical import encode
from observer_core.shared.config import identity
from observer_core.shared.records import Note
from observer_core.storage.journal import Journal
from observer_core.storage.ports import Op
from observer_core.storage.rows import Head


@dataclass(frozen=True, slots=True)
class Build:
    """The code that runs: package version and sha256 of its lock file. Part of every epoch."""

    version: str
    lock: str


@dataclass(frozen=True)
class Epoch:
    """What a writer would run: its stage, that stage's version and configuration, its build."""

    stage: str
    version: str
    config: Mapping[str, Any]
    build: Build

    @cached_property
    def identity(self) -> str:
        """Differs whenever the same input might give other records."""
        return identity(
            {"stage": self.stage, "version": self.version, "config": dict(self.config),
             "code": self.build.version, "lock": self.build.lock}
        )  # fmt: skip

    def number(self, journal: Journal, head: Head) -> int | None:
        """The journal's epoch if it is this one; None when a new one must be opened."""
        row = journal.epoch_row(head.epoch) if head.epoch else None
        return head.epoch if row is not None and row["identity"] == self.identity else None

    def opening(self, head: Head, time_ns: int) -> tuple[Note, Op]:
        """The record that opens this epoch as the next one of a journal at `head`, and its row."""
        number = head.epoch + 1
        body = {
            "epoch": number, "stage": self.stage, "version": self.version, "config": dict(self.config),
            "identity": self.identity, "code": self.build.version, "lock": self.build.lock,
        }  # fmt: skip
        row = {"identity": self.identity, "version": self.build.version, "position": head.position + 1}
        note = Note(kind="epoch", time_ns=max(head.time_ns, time_ns), body=body)
        return note, Op("insert", f"e.{number:06d}", encode(row))
