"""What a source of observations is, and how one is asked without ever failing."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Protocol

from observer_core.shared.records import Snapshot

MAX_ERROR = 500


class Source(Protocol):
    """Something that can be looked at, again and again."""

    @property
    def name(self) -> str: ...

    @property
    def interval_ns(self) -> int:
        """How long to wait from one collection to the next."""

    def collect(self, now_ns: int) -> Snapshot:
        """What is seen at `now_ns`, without quality flags. May raise whatever goes wrong."""

    def close(self) -> None: ...


def collect_safely(
    source: Source, now_ns: int, normalise: Callable[[Snapshot], Snapshot] | None = None
) -> Snapshot:
    """One collection; never raises: a failure is a snapshot that says so.

    `ingest_ns` is `now_ns`. `normalise` is applied to what came; what it refuses (an
    infinity, a bad shape) makes the collection a failed one as well.
    """
    try:
        snapshot = source.collect(now_ns)
        if snapshot.source != source.name or snapshot.ingest_ns != now_ns:
            snapshot = replace(snapshot, source=source.name, ingest_ns=now_ns)
        return snapshot if normalise is None else normalise(snapshot)
    except Exception as error:
        failed = unavailable(source.name, now_ns, error)
        return failed if normalise is None else normalise(failed)


def unavailable(source: str, now_ns: int, error: Exception) -> Snapshot:
    """The snapshot of a collection that failed: absence is data."""
    return Snapshot(
        source=source, event_ns=now_ns, ingest_ns=now_ns, subjects=(), fields={},
        status="unavailable", error=_bounded(f"{type(error).__name__}: {error}"),
    )  # fmt: skip


def _bounded(text: str) -> str:
    """Valid UTF-8 of at most `MAX_ERROR` characters: an error may quote what it choked on."""
    text = text.encode("utf-8", "backslashreplace").decode("utf-8")
    return text if len(text) <= MAX_ERROR else text[: MAX_ERROR - 1] + "…"
