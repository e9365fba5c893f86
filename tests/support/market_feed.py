"""A made-up market, and a recogniser that watches it."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence

import numpy as np

from observer_core.pattern_record.config import RecogniserConfig
from observer_core.pattern_record.recogniser import Recogniser
from observer_core.shared.records import PatternRecord, Snapshot
from observer_core.shared.stage import Entry

MINUTE = 60_000_000_000
START = 1_522_886_400_000_000_000
PATTERNS = frozenset((
    "price_shock", "bad_tick", "drawdown", "drawdown_over", "volatility_regime", "volume_surge",
    "spread_blowout", "spread_normal", "crossed_book", "book_uncrossed",
))  # fmt: skip


def noise(seed: int) -> Iterator[float]:
    """About normal numbers of a linear congruential generator: mean 0, deviation 1."""
    while True:
        total = 0.0
        for _ in range(12):
            seed = (seed * 6364136223846793005 + 1442695040888963407) % 2**64
            total += (seed >> 11) / 2**53
        yield total - 6.0


def walk(length: int, *, seed: int = 1, step_bp: float = 3.0, start: float = 100.0) -> list[float]:
    """A price that moves by about `step_bp` from one observation to the next."""
    steps, price, prices = noise(seed), start, []
    for _ in range(length):
        price *= 1.0 + step_bp * 1e-4 * next(steps)
        prices.append(price)
    return prices


class Market:
    """A recogniser, what it was given and what it has said of markets."""

    def __init__(self, config: RecogniserConfig | None = None, *, every: int = MINUTE) -> None:
        self.recogniser = Recogniser("venue", config or RecogniserConfig())
        self.state = self.recogniser.initial()
        self.records: list[PatternRecord] = []
        self.every, self.now, self.position = every, START, 0

    def give(
        self, fields: Mapping[str, Sequence[float | None] | float], subjects: Sequence[str] = ("A",), *,
        after: int | None = None, quality: Mapping[str, tuple[str, ...]] | None = None,
    ) -> list[PatternRecord]:  # fmt: skip
        """One snapshot, `after` nanoseconds; what it made known."""
        self.now += self.every if after is None else after
        columns = {
            name: np.array(
                [math.nan if v is None else v for v in np.atleast_1d(np.array(values, object))], float
            )
            for name, values in fields.items()
        }
        self.position += 1
        snapshot = Snapshot(
            source="venue", event_ns=self.now, ingest_ns=self.now, subjects=tuple(subjects), fields=columns,
            quality=quality or {},
        )  # fmt: skip
        found = self.recogniser.transition(self.state, Entry("snapshots.venue", self.position, snapshot))
        told = [record for record in found if record.pattern in PATTERNS]
        self.records += told
        return told

    def prices(
        self, prices: Sequence[float], *, field: str = "close", subject: str = "A"
    ) -> list[PatternRecord]:
        return [record for price in prices for record in self.give({field: price}, (subject,))]

    def said(self) -> list[tuple[str, str, str]]:
        """Pattern, direction and subject of each record, in their order."""
        return [(r.pattern, r.direction, r.series[0][1]) for r in self.records]
