"""What a source of observations is, and how one is asked without ever failing."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Protocol

from observer_core.shared.records import Snapshot

MAX_ERROR = 500


@dataclass(frozen=True, slots=True)
class History:
    """Moments gone by, in order of time: bars, trades. What is recorded of them already is left out."""

    snapshots: tuple[Snapshot, ...]


Collected = Snapshot | History
"""What one collection gives: the moment, or moments gone by."""


@dataclass(frozen=True, slots=True)
class Collection:
    """What was collected for a source at `now_ns`, and what is recorded beside it (in `origin`)."""

    source: str
    now_ns: int
    collected: Collected
    origin: Mapping[str, Any]

    @property
    def failed(self) -> bool:
        return isinstance(self.collected, Snapshot) and self.collected.status == "unavailable"


class Source(Protocol):
    """Something that can be looked at, again and again."""

    @property
    def name(self) -> str: ...

    @property
    def interval_ns(self) -> int:
        """How long to wait from one collection to the next."""

    def collect(self, now_ns: int) -> Collected:
        """What is seen at `now_ns`. Flags that only the source can know are there; the others come later.

        May raise whatever goes wrong.
        """

    def close(self) -> None: ...


def collect_safely(source: Source, now_ns: int) -> Collected:
    """One collection; never raises: a failure is a snapshot that says so. `ingest_ns` is `now_ns`."""
    try:
        collected = source.collect(now_ns)
        if isinstance(collected, History):
            return History(tuple(_of(source, now_ns, snapshot) for snapshot in collected.snapshots))
        return _of(source, now_ns, collected)
    except Exception as error:
        return unavailable(source.name, now_ns, error)


def _of(source: Source, now_ns: int, snapshot: Snapshot) -> Snapshot:
    if snapshot.source == source.name and snapshot.ingest_ns == now_ns:
        return snapshot
    return replace(snapshot, source=source.name, ingest_ns=now_ns)


def unavailable(source: str, now_ns: int, error: Exception | str) -> Snapshot:
    """The snapshot of a collection that failed: absence is data."""
    text = error if isinstance(error, str) else f"{type(error).__name__}: {error}"
    return Snapshot(
        source=source, event_ns=now_ns, ingest_ns=now_ns, subjects=(), fields={},
        status="unavailable", error=_bounded(text),
    )  # fmt: skip


def _bounded(text: str) -> str:
    """Valid UTF-8 of at most `MAX_ERROR` characters: an error may quote what it choked on."""
    text = text.encode("utf-8", "backslashreplace").decode("utf-8")
    return text if len(text) <= MAX_ERROR else text[: MAX_ERROR - 1] + "…"
