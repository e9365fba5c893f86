"""What a listing shows of incidents: its columns, and an incident's cells."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from observer_core.cli.moments import second
from observer_core.runtime.reading import words

COLUMNS = (
    ("opened", 20), ("id", 12), ("severity", 8), ("state", 8), ("source", 14), ("last change", 20),
    ("what", 0),
)  # fmt: skip
_UNTOLD = ("venue", "started")


def as_told(incident: dict[str, Any]) -> dict[str, Any]:
    """What `--json` prints."""
    return {name: value for name, value in incident.items() if name not in _UNTOLD}


def cells(incident: dict[str, Any]) -> Sequence[str]:
    """A line of a listing."""
    return [
        second(incident["opened_ns"]), incident["id"][:12], incident["severity"], incident["state"],
        incident["source"], second(incident["changed_ns"]),
        words.incident(incident),
    ]  # fmt: skip
