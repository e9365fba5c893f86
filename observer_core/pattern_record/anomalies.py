"""The anomaly score of every series of a source, where it is asked for (`anomaly` in the configuration).

The score of a series is the one that `observer detect` gives for the same values.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar

import numpy as np

from observer_core.pattern_record.config import AnomalyPattern
from observer_core.pattern_record.detectors.anomaly import (
    CHANNELS,
    ROBUST_LEVEL,
    ROWS,
    AnomalyScore,
    contributions,
    reset,
)
from observer_core.pattern_record.families import Seen
from observer_core.pattern_record.findings import Finding, number
from observer_core.pattern_record.plan import Plan
from observer_core.pattern_record.state import RecogniserState
from observer_core.pattern_record.window import Floats
from observer_core.shared.canonical import decode, encode
from observer_core.shared.errors import RecordError

_DAY_NS = 86_400_000_000_000
_CADENCE_AFTER = 16
ALARM = 0.5


@dataclass(slots=True, eq=False)
class AnomalyState:
    """Columns are the recogniser's: `values` (ROWS, n) and `season` (slots, n), for `size` of them.

    `period` is the length of a day in observations, 0 until the cadence is known; 1: too short to
    have a season.
    """

    period: int = 0
    size: int = 0
    values: Floats = field(default_factory=lambda: np.empty((ROWS, 0)))
    season: Floats = field(default_factory=lambda: np.empty((0, 0)))
    last: AnomalyScore | None = None
    """Who observed last in place: no part of the state."""


class Anomalies:
    """Scores all series of a snapshot; what reaches 0.5 is a finding. A `families.Family`."""

    name = "anomaly"
    detectors: ClassVar[Mapping[str, str]] = {"anomaly": "anomaly/2"}

    def __init__(self, config: AnomalyPattern) -> None:
        self._config = config.detector()
        self.severities = {"anomaly": config.severity}

    def initial(self) -> AnomalyState:
        return AnomalyState()

    def observe(self, own: AnomalyState, seen: Seen) -> list[Finding]:
        state, plan = seen.state, seen.plan
        self._fit(own, state)
        if not own.period and state.intervals >= _CADENCE_AFTER and state.cadence > 0:
            self._learn_period(own, state.cadence)
        values = seen.values()
        at = seen.snapshot.ingest_ns % _DAY_NS * own.period // _DAY_NS if own.period > 1 else 0
        if plan.span is not None:
            scores = self._in_place(own, plan)
            score = scores.observe(values, at)
            if not scores.fired:
                return []
            block = scores.values
        else:
            block, season = own.values[:, plan.columns], own.season[:, plan.columns]
            score = AnomalyScore(block, season, self._config, _period(own)).observe(values, at)
            own.values[:, plan.columns], own.season[:, plan.columns] = block, season
            own.last = None
        found = np.flatnonzero(score >= ALARM).tolist()
        return [self._finding(seen, block[:, cell], float(score[cell]), values, cell) for cell in found]

    def forget(self, own: AnomalyState, subjects: Collection[str]) -> None:
        """Nothing: scores hold no alarm that stands."""

    def dump(self, own: AnomalyState) -> bytes:
        header = {"period": own.period, "size": own.size, "rows": [len(own.values), len(own.season)]}
        parts = [np.ascontiguousarray(part[:, : own.size]).tobytes() for part in (own.values, own.season)]
        return b"".join((encode(header), b"\n", *parts))

    def load(self, blob: bytes) -> AnomalyState:
        head, _, body = blob.partition(b"\n")
        header = decode(head)
        size, (rows, slots) = header["size"], header["rows"]
        if rows != ROWS or len(body) != 8 * (rows + slots) * size:
            found = f"{head[:60]!r} and {len(body)} bytes"
            raise RecordError(f"expected anomaly scores of {ROWS} rows, found {found}")
        cut = rows * size
        numbers = np.frombuffer(body, "<f8").astype(np.float64)
        values, season = numbers[:cut].reshape(rows, size), numbers[cut:].reshape(slots, size)
        return AnomalyState(header["period"], size, values, season)

    def _in_place(self, own: AnomalyState, plan: Plan) -> AnomalyScore:
        known: Any = plan.caches.get(self.name)
        if known is None or known[0] is not own.values or known[1] is not own.season:
            values, season = own.values[:, plan.span], own.season[:, plan.span]
            known = own.values, own.season, AnomalyScore(values, season, self._config, _period(own))
            plan.caches[self.name] = known
        scores: AnomalyScore = known[2]
        if own.last is not scores:
            scores.resume()
            own.last = scores
        return scores

    def _fit(self, own: AnomalyState, state: RecogniserState) -> None:
        """Room for series that are new, which begin without a past."""
        if own.size == state.size:
            return
        if own.values.shape[1] < state.size:
            values, season = np.empty((ROWS, state.capacity)), np.empty((len(own.season), state.capacity))
            reset(values, season, self._config)
            values[:, : own.size] = own.values[:, : own.size]
            season[:, : own.size] = own.season[:, : own.size]
            own.values, own.season = values, season
        own.size = state.size

    def _learn_period(self, own: AnomalyState, cadence: float) -> None:
        """How many observations a day has, from here on and for good."""
        own.period = max(1, round(_DAY_NS / cadence))
        own.season = AnomalyScore.fresh(own.values.shape[1], self._config, _period(own)).season

    def _finding(self, seen: Seen, column: Floats, score: float, values: Floats, cell: int) -> Finding:
        level, value = number(column[ROBUST_LEVEL]), number(values[cell])
        told = contributions(column, self._config)
        growth = {f"growth_{name}": number(grown) for name, grown in zip(CHANNELS, told, strict=True)}
        evidence = {"value": value, "expected": level, "score": number(score), **growth}
        return Finding("anomaly", "up" if value >= level else "down", seen.series(cell), score, evidence)


def _period(own: AnomalyState) -> int:
    return own.period if own.period > 1 else 0
