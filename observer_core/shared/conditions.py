"""What a pattern is called as an event, and which of them ends which condition."""

from __future__ import annotations

from collections.abc import Mapping

from observer_core.shared.records import RECOVERIES

_FEEDS: Mapping[str, str] = {
    "feed_stale": "feed.stale", "feed_resumed": "feed.resumed", "feed_flat": "feed.flat",
    "feed_unavailable": "feed.unavailable", "feed_available": "feed.available",
    "venue_halt": "feed.halted", "venue_resumed": "feed.reopened",
}  # fmt: skip
_PATTERNS = {kind: pattern for pattern, kind in _FEEDS.items()}
CONDITION_OF: Mapping[str, str] = {recovery: condition for condition, recovery in RECOVERIES.items()}
"""The condition that each recovery ends."""


def event_kind(pattern: str) -> str:
    """The type, without its prefix, of the event that a pattern becomes.

    >>> event_kind("venue_halt"), event_kind("price_shock")
    ('feed.halted', 'pattern.price_shock')
    """
    return _FEEDS.get(pattern, f"pattern.{pattern}")


def pattern_of(kind: str) -> str:
    """The pattern of an event's type without its prefix; the type itself where it is of none."""
    return _PATTERNS.get(kind) or kind.removeprefix("pattern.")
