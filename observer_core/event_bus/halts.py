"""Venue halts over sources: a venue that is recorded in several parts stops as one.

Each part's recogniser tells that a channel of its feed has stopped (`venue_halt`: trades, or quotes) and
that it goes on (`venue_resumed`). The channel of a venue is halted while it is in more than half of the
venue's parts: one dead shard of three, or dead trades beside living quotes, leave the rest open. A venue
in one part says so itself. A part too small for a halt of its own (three subjects) counts as open.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from typing import Any, Literal, NamedTuple

from observer_core.shared.records import ALL, Json, PatternRecord, Series

DETECTOR = "venue_halt_over_sources/1"


class Halt(NamedTuple):
    """What became of a channel of a venue."""

    what: Literal["halted", "reopened"]
    venue: str
    channel: str
    parts: tuple[str, ...]
    of: int

    @property
    def series(self) -> Series:
        return self.venue, ALL, self.channel or ALL

    @property
    def evidence(self) -> Json:
        return {
            "channel": self.channel, "halted": len(self.parts), "of": self.of, "sources": list(self.parts)
        }  # fmt: skip


class Halts:
    """Which parts of which venues are halted, channel by channel, and which venues that makes."""

    __slots__ = ("_sizes", "_venues", "halted", "parts")

    def __init__(self, venues: Mapping[str, str]) -> None:
        """`venues`: the venue of every source that is a part of one."""
        self._venues, self._sizes = venues, Counter(venues.values())
        self.parts: dict[tuple[str, str], set[str]] = {}
        self.halted: set[tuple[str, str]] = set()

    def take(self, pattern: PatternRecord) -> Halt | None:
        """The venue that this closes or opens again."""
        venue = self._venues.get(pattern.source, "")
        if self._sizes[venue] < 2 or pattern.pattern not in ("venue_halt", "venue_resumed"):
            return None
        key = venue, _channel(pattern)
        parts = self.parts.setdefault(key, set())
        if pattern.pattern == "venue_halt":
            parts.add(pattern.source)
        else:
            parts.discard(pattern.source)
        # A part may have been another venue's, or have gone, since it halted.
        known = tuple(sorted(source for source in parts if self._venues.get(source) == venue))
        closed = 2 * len(known) > self._sizes[venue]
        if closed == (key in self.halted):
            return None
        self.halted ^= {key}
        return Halt("halted" if closed else "reopened", *key, known, self._sizes[venue])

    def dump(self) -> Json:
        return {
            "parts": [[*key, sorted(parts)] for key, parts in sorted(self.parts.items()) if parts],
            "halted": sorted(self.halted),
        }

    def load(self, value: Json) -> None:
        self.parts = {(venue, channel): set(parts) for venue, channel, parts in value["parts"]}
        self.halted = {(venue, channel) for venue, channel in value["halted"]}


def _channel(pattern: PatternRecord) -> str:
    """The channel that a record is of: all its series are of one."""
    channel: Any = pattern.evidence.get("channel", "")
    return str(channel[0] if isinstance(channel, list) and channel else channel or "")
