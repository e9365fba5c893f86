"""What the market patterns remember: subjects as columns of arrays, and the few that are in doubt."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import asdict, astuple, dataclass
from typing import Any

import numpy as np

from observer_core.pattern_record.market import prices
from observer_core.pattern_record.market.config import Market
from observer_core.pattern_record.window import Floats
from observer_core.shared.canonical import decode, encode
from observer_core.shared.errors import RecordError

_FORMAT = 1

MEAN_SQUARE, COUNT = range(2)
"""Rows of quotes: of half of the relative spread, and observations."""
LEVEL, DEVIATION, VOLUMES, LIMIT = range(4)
"""Rows of volumes: of their eighth root; how many there were; the limit that fades."""
_QUOTE_ROWS, _VOLUME_ROWS = 2, 4


@dataclass(slots=True)
class Run:
    """Observations in a row, since when, and whether it was told as a pattern of `field`."""

    length: int
    since_ns: int
    field: str = ""


@dataclass(slots=True)
class Doubt:
    """An excess of a price that nothing confirmed yet (see `price_shock`)."""

    value: float
    before: float
    ratio: float
    limit: float
    horizon: int
    sum: float
    scale: float
    onset_ns: int
    time_ns: int
    clock: float
    interval: float
    field: str


class MarketState:
    """Mutable. Arrays have room for more subjects than there are; columns beyond them mean nothing.

    `now`: the time of the newest snapshot, in ns since the recogniser's origin. By column: `doubts`,
    `runs` of wide and of crossed quotes, `falls` (the field that a drawdown was told of).
    """

    def __init__(self, config: Market) -> None:
        self._config = config
        self.now = 0.0
        self.subjects: dict[str, int] = {}
        self.doubts: dict[int, Doubt] = {}
        self.runs: tuple[dict[int, Run], dict[int, Run]] = ({}, {})
        self.falls: dict[int, str] = {}
        self._names: list[str] = []
        self._allocate(0)

    def _allocate(self, capacity: int) -> None:
        size = len(self.subjects)
        old = (self.prices, self.volumes, self.quotes) if size else None
        self.prices: Floats = np.empty((prices.rows(self._config), capacity))
        self.volumes: Floats = np.zeros((_VOLUME_ROWS, capacity))
        self.quotes: Floats = np.zeros((_QUOTE_ROWS, capacity))
        prices.reset(self.prices, self._config)
        if old is not None:
            for new, known in zip((self.prices, self.volumes, self.quotes), old, strict=True):
                new[:, :size] = known[:, :size]

    def columns(self, subjects: Collection[str]) -> list[int]:
        """The columns of these subjects; those that are new get one, without a past."""
        known, size = self.subjects, len(self.subjects)
        total = size + sum(subject not in known for subject in subjects)
        if total > self.prices.shape[1]:
            self._allocate(max(total, min(2 * size, size + 65_536)))
        return [known.setdefault(subject, len(known)) for subject in subjects]

    def name(self, column: int) -> str:
        if len(self._names) != len(self.subjects):
            self._names = list(self.subjects)
        return self._names[column]

    def forget(self, subjects: Collection[str]) -> None:
        columns = [self.subjects[subject] for subject in subjects if subject in self.subjects]
        fresh = np.empty((len(self.prices), 1))
        prices.reset(fresh, self._config)
        self.prices[:, columns] = fresh
        self.volumes[:, columns] = self.quotes[:, columns] = 0.0
        for told in (self.doubts, *self.runs, self.falls):
            for column in columns:
                told.pop(column, None)

    def dump(self) -> bytes:
        size = len(self.subjects)
        header: dict[str, Any] = {
            "format": _FORMAT, "now": self.now, "subjects": list(self.subjects),
            "doubts": [[column, asdict(self.doubts[column])] for column in sorted(self.doubts)],
            "runs": [[[c, *astuple(runs[c])] for c in sorted(runs)] for runs in self.runs],
            "falls": [[column, self.falls[column]] for column in sorted(self.falls)],
            "rows": [len(part) for part in (self.prices, self.volumes, self.quotes)],
        }  # fmt: skip
        parts = (self.prices, self.volumes, self.quotes)
        return b"".join((encode(header), b"\n", *(part[:, :size].tobytes() for part in parts)))

    @staticmethod
    def load(blob: bytes, config: Market) -> MarketState:
        """The inverse of `dump`; `RecordError` otherwise. Horizons that are more or fewer begin anew."""
        head, _, body = blob.partition(b"\n")
        header = decode(head)
        state = MarketState(config)
        expected = [prices.rows(config), _VOLUME_ROWS, _QUOTE_ROWS]
        if not isinstance(header, dict) or header.get("format") != _FORMAT:
            raise RecordError(f"expected market patterns of format {_FORMAT}, found {head[:60]!r}")
        size, rows = len(header["subjects"]), header["rows"]
        if rows[1:] != expected[1:] or len(body) != 8 * size * sum(rows):
            raise RecordError(f"expected market patterns of {expected} rows, found {rows}: {len(body)} bytes")
        state.columns(header["subjects"])
        numbers, start = np.frombuffer(body, "<f8"), 0
        for part, stored in zip((state.prices, state.volumes, state.quotes), rows, strict=True):
            end = start + stored * size
            kept = stored if stored == len(part) else prices.SUMS
            part[:kept, :size] = numbers[start:end].reshape(stored, size)[:kept]
            start = end
        prices.derive(state.prices, config)
        state.now = header["now"]
        state.doubts = {column: Doubt(**fields) for column, fields in header["doubts"]}
        wide, crossed = ({column: Run(*run) for column, *run in runs} for runs in header["runs"])
        state.runs = (wide, crossed)
        state.falls = dict(header["falls"])
        return state
