"""One snapshot's values, through the detectors, into the state.

Three ways lead to the same numbers, bit for bit, because every operation is elementwise:
in place where all cells of a snapshot have values and their series lie side by side; in
place with the few that are missing put back; or gathered, where few are there.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from observer_core.pattern_record.alarms import alarms
from observer_core.pattern_record.config import RecogniserConfig
from observer_core.pattern_record.detectors import stale, variance_shift
from observer_core.pattern_record.detectors.cusum import Cusum
from observer_core.pattern_record.detectors.ewma_spike import EwmaSpike
from observer_core.pattern_record.findings import Finding
from observer_core.pattern_record.limits import LimitRule
from observer_core.pattern_record.plan import Plan
from observer_core.pattern_record.state import RecogniserState
from observer_core.pattern_record.window import (
    FLAT,
    FLOAT_ROWS,
    LIMIT,
    PREVIOUS,
    Bytes,
    Flags,
    Floats,
    Ints,
    Window,
    constant,
)
from observer_core.shared.records import ALL, Snapshot

CLOSED = "closed_session"
NOT_NEW = frozenset(("duplicate", "out_of_order", "stale", "partial_bar", CLOSED))
"""Rows with such a flag are no news: neither a value nor an arrival."""
NO_VALUE = frozenset(("non_positive",))
"""Rows with such a flag arrive, but their values are not believed."""
_TOLD = NOT_NEW | NO_VALUE
LARGEST = 1e300
"""Values beyond this are no measurements: arithmetic on them would not stay finite."""

_LARGEST = constant(LARGEST)

Columns = NDArray[np.intp]


class Observation:
    """The arithmetic of all detectors over the series of one source."""

    __slots__ = ("_cusum", "_limits", "_source", "_spike", "_warm_up")

    def __init__(self, source: str, config: RecogniserConfig) -> None:
        self._source, self._warm_up = source, config.baseline.warm_up
        self._limits = LimitRule(config)
        self._spike, self._cusum = EwmaSpike(config.baseline), Cusum(config.level_shift)

    def observe(
        self, state: RecogniserState, plan: Plan, snapshot: Snapshot
    ) -> tuple[list[Finding], Floats, Flags | None]:
        """What was found, the cells, and which of them arrived (None: all, and they lie side by side)."""
        w = plan.window if plan.span is not None else Window(np.empty((FLOAT_ROWS, plan.size)))
        now = float(snapshot.ingest_ns - (state.origin_ns or 0))
        if state.tick >= state.next_release:
            state.next_release = self._limits.lower(*_limit_arrays(state), state.tick)
        if plan.span is None:
            _judge(plan, snapshot, state.values[PREVIOUS, plan.columns], w)
        else:
            _judge(plan, snapshot, w.previous, w)
            if np.count_nonzero(w.valid) == plan.size and _all_count(snapshot.quality):
                return self._all(state, plan, w, now), w.x, None
        fresh = _use(plan, snapshot, w)
        unjudged = np.flatnonzero(fresh & ~w.valid & np.isfinite(w.x))
        state.values[PREVIOUS, plan.columns[unjudged]] = w.x[unjudged]
        present = int(np.count_nonzero(w.valid))
        if present and plan.span is not None and 2 * present > plan.size:
            found = self._all_but(state, plan, w, now)
        elif present:
            found = self._only(state, plan, w, now)
        else:
            found = []
        return found, w.x, fresh

    def _all(self, state: RecogniserState, plan: Plan, w: Window, now: float) -> list[Finding]:
        fired = self._single(w, now, plan.covered) if plan.size == 1 else self._several(w, now, plan.covered)
        if not fired:
            return []
        found, rows, at = self._alarms(state, plan, w, None)
        self._mute(state, rows, plan.columns[at])
        return found

    def _several(self, w: Window, now: float, covered: Flags | None) -> bool:
        self._step(w, now, covered)
        return bool(np.count_nonzero(w.fire))

    def _single(self, w: Window, now: float, covered: Flags | None) -> bool:
        """One series, worked twice over: to change a single number in place costs NumPy three calls."""
        if w.twin is None:
            w.twin = Window.fresh(2)
        twin = w.twin
        twin.values[:], twin.x[:], twin.u[:], twin.mature = w.values, w.x, w.u, w.mature
        self._step(twin, now, covered)
        w.values[:], w.mature = twin.values[:, :1], twin.mature
        if not np.count_nonzero(twin.fire):
            return False
        w.fire[:], w.residual[:], w.distance[:] = twin.fire[:, :1], twin.residual[:1], twin.distance[:1]
        return True

    def _all_but(self, state: RecogniserState, plan: Plan, w: Window, now: float) -> list[Finding]:
        missing = np.flatnonzero(~w.valid)
        values = w.values[:, missing]
        self._step(w, now, plan.covered)
        w.values[:, missing] = values
        w.fire[:, missing] = False
        if not np.count_nonzero(w.fire):
            return []
        found, rows, at = self._alarms(state, plan, w, None)
        self._mute(state, rows, plan.columns[at])
        return found

    def _only(self, state: RecogniserState, plan: Plan, w: Window, now: float) -> list[Finding]:
        cells = np.flatnonzero(w.valid)
        columns = plan.columns[cells]
        part = Window(state.values[:, columns])
        part.x[:], part.u[:] = w.x[cells], w.u[cells]
        self._step(part, now, None if plan.covered is None else plan.covered[cells])
        found, rows, at = self._alarms(state, plan, part, cells)
        state.values[:, columns] = part.values
        self._mute(state, rows, columns[at])
        return found

    def _step(self, w: Window, now: float, covered: Flags | None) -> None:
        w.mature = w.mature or bool(w.count.min() >= self._spike.maturity)
        self._spike.begin(w)
        if not w.mature:
            begun = w.count == self._warm_up
            w.limits[:, begun] = self._limits.thresholds
            if covered is not None:
                w.limits[:FLAT, begun & covered] = np.inf
        stale.observe_run(w)
        self._spike.observe(w)
        self._cusum.observe(w, now)
        variance_shift.observe(w, now)
        np.greater(w.statistics, w.limits, out=w.fire)

    def _alarms(
        self, state: RecogniserState, plan: Plan, w: Window, cells: Columns | None
    ) -> tuple[list[Finding], Columns, Columns]:
        def cell(i: int) -> int:
            return i if cells is None else int(cells[i])

        return alarms(
            w, self._cusum, state.origin_ns or 0,
            lambda i: (self._source, *state.name(int(plan.columns[cell(i)]))),
            lambda i: cell(i) < plan.returns,
        )  # fmt: skip

    def _mute(self, state: RecogniserState, rows: Columns, columns: Columns) -> None:
        if len(rows):
            heard = self._limits.alarmed(*_limit_arrays(state), rows, columns, state.tick)
            state.next_release = min(state.next_release, heard)


def _limit_arrays(state: RecogniserState) -> tuple[Floats, Bytes, Ints]:
    n = state.size
    return state.values[LIMIT:, :n], state.raised[:, :n], state.release[:, :n]


def _all_count(quality: Mapping[str, tuple[str, ...]]) -> bool:
    """Whether no flag makes a row count for less."""
    return not quality or all(_TOLD.isdisjoint(flags) for flags in quality.values())


def _judge(plan: Plan, snapshot: Snapshot, previous: NDArray[np.float64], w: Window) -> None:
    """What is observed (`x`), what is judged (`u`), and whether it can be (`valid`)."""
    plan.fill(snapshot, w.x)
    returns = plan.returns
    if returns:
        growth = w.u[:returns]
        np.abs(previous[:returns], out=growth)
        np.divide(w.x[:returns], growth, out=growth)
    if returns < plan.size:
        w.u[returns:] = w.x[returns:]
    np.less(np.abs(w.u, out=w.work), _LARGEST, out=w.valid)


def _use(plan: Plan, snapshot: Snapshot, w: Window) -> Flags:
    """Applies the quality flags to `valid`; which cells are news at all."""
    fresh = np.isfinite(w.x)
    subjects = len(plan.row_of)
    not_new: list[int] = []
    no_value: list[int] = []
    for subject, flags in snapshot.quality.items():
        row = plan.row_of.get(subject)
        if row is None and subject != ALL:
            continue
        rows = range(subjects) if row is None else (row,)
        if not NOT_NEW.isdisjoint(flags):
            not_new.extend(rows)
        elif not NO_VALUE.isdisjoint(flags):
            no_value.extend(rows)
    if not_new:
        fresh.reshape(-1, subjects)[:, not_new] = False
    if no_value:
        w.x.reshape(-1, subjects)[:, no_value] = np.nan
        w.valid.reshape(-1, subjects)[:, no_value] = False
    w.valid &= fresh
    return fresh
