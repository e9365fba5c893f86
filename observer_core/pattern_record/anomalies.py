"""The anomaly score of every series of a source, where it is asked for (`anomaly` in the configuration).

The score of a series is the one that `observer detect` gives for the same values. Its state stands
beside that of the other detectors: `state.anomaly` (ROWS, n), and `state.season` (slots, n) once
the source's cadence is known, which is when a day has a length in observations.
"""

from __future__ import annotations

import numpy as np

from observer_core.pattern_record.config import AnomalyPattern
from observer_core.pattern_record.detectors.anomaly import CHANNELS, GROWTH, LEVEL, AnomalyScore, reset
from observer_core.pattern_record.findings import Finding, number
from observer_core.pattern_record.plan import Plan
from observer_core.pattern_record.state import RecogniserState
from observer_core.pattern_record.window import Flags, Floats

_DAY_NS = 86_400_000_000_000
_CADENCE_AFTER = 16
ALARM = 0.5


class Anomalies:
    """Scores all series of a snapshot; what reaches 0.5 is a finding."""

    def __init__(self, source: str, config: AnomalyPattern) -> None:
        self._source, self._config = source, config.detector()

    def observe(
        self, state: RecogniserState, plan: Plan, x: Floats, fresh: Flags | None, ingest_ns: int
    ) -> list[Finding]:
        """`x` are the plan's cells; only those that are `fresh` (None: all) are observations."""
        self._fit(state)
        if not state.period and state.intervals >= _CADENCE_AFTER and state.cadence > 0:
            self._learn_period(state)
        values = x if fresh is None else np.where(fresh, x, np.nan)
        at = ingest_ns % _DAY_NS * state.period // _DAY_NS if state.period > 1 else 0
        if plan.span is not None:
            scores = self._in_place(state, plan)
            score = scores.observe(values, at)
            block = scores.values
        else:
            block, season = state.anomaly[:, plan.columns], state.season[:, plan.columns]
            score = AnomalyScore(block, season, self._config, _period(state)).observe(values, at)
            state.anomaly[:, plan.columns], state.season[:, plan.columns] = block, season
        found = np.flatnonzero(score >= ALARM).tolist()
        return [
            self._finding(state, plan, block[:, cell], float(score[cell]), values, cell) for cell in found
        ]

    def _in_place(self, state: RecogniserState, plan: Plan) -> AnomalyScore:
        key = (state.allocations, state.anomaly.shape, state.season.shape)
        if plan.scores is None or plan.scores[0] != key:
            values, season = state.anomaly[:, plan.span], state.season[:, plan.span]
            plan.scores = key, AnomalyScore(values, season, self._config, _period(state))
        scores: AnomalyScore = plan.scores[1]
        return scores

    def _fit(self, state: RecogniserState) -> None:
        """Room for series that are new, which begin without a past."""
        known, size = state.anomaly.shape[1], state.capacity
        if known >= state.size:
            return
        values, season = np.empty((len(state.anomaly) or _ROWS, size)), np.empty((len(state.season), size))
        reset(values, season, self._config)
        if known:
            values[:, :known], season[:, :known] = state.anomaly, state.season
        state.anomaly, state.season = values, season

    def _learn_period(self, state: RecogniserState) -> None:
        """How many observations a day has, from here on and for good; 1: too few to have a season."""
        state.period = max(1, round(_DAY_NS / state.cadence))
        fresh = AnomalyScore.fresh(state.anomaly.shape[1], self._config, _period(state))
        state.season = fresh.season

    def _finding(
        self, state: RecogniserState, plan: Plan, column: Floats, score: float, values: Floats, cell: int
    ) -> Finding:
        level, value = number(column[LEVEL][1]), number(values[cell])
        series = (self._source, *state.name(int(plan.columns[cell])))
        growth = {
            f"growth_{name}": number(grown) for name, grown in zip(CHANNELS, column[GROWTH], strict=True)
        }
        evidence = {"value": value, "expected": level, "score": number(score), **growth}
        return Finding("anomaly", "up" if value >= level else "down", series, score, evidence)


def _period(state: RecogniserState) -> int:
    return state.period if state.period > 1 else 0


_ROWS = AnomalyScore.fresh(1, AnomalyPattern().detector()).values.shape[0]
