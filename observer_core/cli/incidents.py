"""Incidents, folded from the events that opened, updated and resolved them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from fnmatch import fnmatchcase
from typing import Any

from observer_core.cli.kinds import KINDS, Filter, rank
from observer_core.cli.moments import second
from observer_core.cli.stored import Range, newest
from observer_core.shared.records import AnyRecord, Event

COLUMNS = (
    ("opened", 20), ("id", 12), ("severity", 8), ("state", 8), ("source", 14), ("last change", 20),
    ("what", 0),
)  # fmt: skip
_KEPT = (
    "id",
    "state",
    "severity",
    "opened_ns",
    "last_ns",
    "score",
    "series",
    "series_count",
    "standing",
    "patterns",
)


def folded(ranges: Sequence[Range], wanted: Filter, *, only_open: bool = False) -> Iterator[dict[str, Any]]:
    """Each incident once, the one that changed last first: its newest event says all of it."""
    everything = Filter(source=wanted.source, what="incident.*")
    known: set[tuple[str, str]] = set()
    for stored in newest(ranges, KINDS["events"].match(everything)):
        record = stored.record
        assert isinstance(record, Event)
        key = stored.journal, record.data["id"]
        if key in known:
            continue
        known.add(key)
        if _passes(record, wanted) and not (only_open and record.data["state"] != "open"):
            value = {name: record.data[name] for name in _KEPT}
            domain = stored.journal.partition(".")[2]
            yield {
                **value, "domain": domain, "source": record.source.rpartition("/")[2],
                "changed_ns": record.time_ns, "event": stored.ref,
            }  # fmt: skip


def cells(incident: dict[str, Any]) -> Sequence[str]:
    """A line of a listing."""
    patterns = ", ".join(f"{count}× {name}" for name, count in incident["patterns"].items())
    return [
        second(incident["opened_ns"]), incident["id"][:12], incident["severity"], incident["state"],
        incident["source"], second(incident["changed_ns"]),
        f"{patterns} on {incident['series_count']} series, score {incident['score']:.2f}",
    ]  # fmt: skip


def _passes(record: AnyRecord, wanted: Filter) -> bool:
    assert isinstance(record, Event)
    data = record.data
    return (
        rank(data["severity"]) >= rank(wanted.severity)
        and (wanted.subject is None or any(fnmatchcase(s[1], wanted.subject) for s in data["series"]))
        and (wanted.what is None or any(fnmatchcase(name, wanted.what) for name in data["patterns"]))
    )
