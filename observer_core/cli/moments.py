"""Times as a person gives and reads them on the command line."""

from __future__ import annotations

from observer_core.shared.clock import SECOND, format_duration, format_time, moment

__all__ = ["moment", "second", "span", "when"]


def span(ns: int) -> str:
    """A duration for people, to the second (to the millisecond below one)."""
    step = SECOND if ns >= SECOND else 1_000_000
    return format_duration(max(0, ns) // step * step)


def when(ns: int | None) -> str:
    """RFC 3339, `-` for never."""
    return format_time(ns) if ns else "-"


def second(ns: int) -> str:
    """RFC 3339 to the second, for columns."""
    return format_time(ns // SECOND * SECOND)
