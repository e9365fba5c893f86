"""Times in which no tick of the live clock was recorded, as the operations journal tells of them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final, Literal

from observer_core.shared.clock import format_duration, format_time
from observer_core.shared.records import Note
from observer_core.storage.journals import Journals
from observer_core.storage.recovery import OPERATIONS

KIND: Final = "lifecycle"
Ended = Literal["first", "clean", "unclean", "stalled", "full"]
"""How the time before a gap ended: there was none; with a stop that is recorded; without one; the process
lived on, but its clock stood still (it hung, or the machine slept); it took nothing in: the disk was full.
"""
_HOW: Final = {
    "first": "the first start", "clean": "it had been stopped", "unclean": "it had not been stopped",
    "stalled": "its clock stood still", "full": "too little space was left on the disk",
}  # fmt: skip
BACK: Final = 5_000
"""So many of the newest records of the operations journal are looked through for the last stop."""


@dataclass(frozen=True, slots=True)
class Gap:
    """A time in which no tick was recorded."""

    from_ns: int
    to_ns: int
    ended: Ended

    @property
    def duration_ns(self) -> int:
        return self.to_ns - self.from_ns

    def to_json(self) -> dict[str, Any]:
        return {
            "from_ns": self.from_ns, "to_ns": self.to_ns, "duration_ns": self.duration_ns,
            "ended": self.ended,
        }  # fmt: skip

    def __str__(self) -> str:
        span = format_duration(self.duration_ns // 1_000_000 * 1_000_000)
        since = format_time(self.from_ns // 1_000_000 * 1_000_000)
        return f"nothing was observed for {span} from {since} on ({_HOW[self.ended]})"


class Gaps:
    """The newest gap that is recorded; reads only what is new."""

    def __init__(self, journals: Journals) -> None:
        self._journals = journals
        self._read = 0
        self._newest: Gap | None = None

    def newest(self) -> Gap | None:
        journal = self._journals.open(OPERATIONS)
        last = journal.head().position
        if last < self._read:  # it was cut
            self._read, self._newest = 0, None
        if last > self._read:
            for entry in journal.scan(max(self._read, last - BACK) + 1, last):
                self._newest = gap_of(entry.record) or self._newest
            self._read = last
        return self._newest


def gap_of(record: object) -> Gap | None:
    """The gap that a record of the operations journal tells of."""
    if not isinstance(record, Note) or record.kind != KIND or "from_ns" not in record.body:
        return None
    return Gap(record.body["from_ns"], record.body["to_ns"], record.body["ended"])
