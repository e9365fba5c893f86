"""Market-wide moves: what several venues show within a short time is one move of the market."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import NamedTuple

from observer_core.shared.records import Series

DETECTOR = "market_shock/1"


class Move(NamedTuple):
    """A series that moved: when first, when last, how strongly at most, and its place in its record."""

    series: Series
    venue: str
    first_ns: int
    last_ns: int
    score: float
    place: int
    direction: str

    def again(self, later: Move) -> Move:
        """Both as one."""
        place = later.place if later.score > self.score else self.place
        same = self.direction == later.direction
        return self._replace(
            first_ns=min(self.first_ns, later.first_ns), last_ns=max(self.last_ns, later.last_ns),
            score=max(self.score, later.score), place=place, direction=self.direction if same else "none",
        )  # fmt: skip

    @property
    def rank(self) -> tuple[int, float, int, Series]:
        return self.first_ns, -self.score, self.place, self.series


def shock(moves: Iterable[Move], since_ns: int, subjects: int, venues: int) -> Sequence[Move]:
    """The moves since then, first movers first, if so many subjects of so many venues moved; else none."""
    recent = [move for move in moves if move.last_ns >= since_ns]
    if len({move.venue for move in recent}) < venues:
        return ()
    if len({(move.venue, move.series[1]) for move in recent}) < subjects:
        return ()
    return sorted(recent, key=lambda move: move.rank)
