"""Which series of a source went silent, and which came back."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from observer_core.pattern_record.config import Stale
from observer_core.pattern_record.detectors import stale
from observer_core.pattern_record.detectors.stale import ARRIVALS, LAST, LONGEST
from observer_core.pattern_record.findings import Finding
from observer_core.pattern_record.observation import CLOSED
from observer_core.pattern_record.plan import Plan
from observer_core.pattern_record.state import RecogniserState
from observer_core.pattern_record.window import Flags, Floats
from observer_core.shared.records import Snapshot


def arrive(
    state: RecogniserState, source: str, config: Stale, plan: Plan, fresh: Flags | None
) -> list[Finding]:
    """Learns from the arrivals of a snapshot; a stale series that arrives has resumed.

    `fresh`: which cells of the plan arrived; None: all of them, and they lie side by side.
    """
    columns = plan.columns if fresh is None else plan.columns[fresh]
    if not len(columns):
        return []
    state.next_silence = min(state.next_silence, state.clock + state.floor_ns)
    if not state.silent_series:
        _learn(state, config, plan, columns, fresh)
        return []
    back = columns[state.stale[0, columns] != 0]
    patience = stale.allowed(state.times, back, state.floor_ns, config)
    silence = state.clock - state.times[LAST, back]
    _learn(state, config, plan, columns, fresh)
    state.times[LONGEST, back] = np.minimum(state.times[LONGEST, back], patience)
    state.stale[0, back] = 0
    state.silent_series -= len(back)
    state.find_stale_subjects()
    return [
        Finding("feed_resumed", "up", (source, *state.name(column)), 0.0, evidence)
        for column, evidence in _evidence(state, back, silence, patience)
    ]


def excuse(state: RecogniserState, plan: Plan, snapshot: Snapshot) -> None:
    """Rows of a market that is closed: their series are not silent, though nothing of them arrives."""
    closed = {subject for subject, flags in snapshot.quality.items() if CLOSED in flags}
    for subject in closed & plan.row_of.keys():
        columns = plan.columns[plan.row_of[subject] :: len(plan.row_of)]
        state.times[LAST, columns] = np.where(
            state.times[ARRIVALS, columns] > 0, state.clock, state.times[LAST, columns]
        )
    closed |= {subject for subject in state.closed_subjects if subject not in plan.row_of}
    if closed != set(state.closed_subjects):
        state.closed_subjects = tuple(sorted(closed))
        state.views_version += 1


def _learn(
    state: RecogniserState, config: Stale, plan: Plan, columns: NDArray[np.intp], fresh: Flags | None
) -> None:
    """In place where the cells lie side by side, with the few that did not arrive put back."""
    times = state.times
    if plan.span is None or 2 * len(columns) < plan.size:
        stale.arrive(times, columns, state.clock, config)
        return
    if not plan.familiar:
        plan.familiar = bool(times[ARRIVALS, plan.span].min() >= config.min_arrivals)
    if fresh is None:
        stale.arrive(times, plan.span, state.clock, config, familiar=plan.familiar)
        return
    absent = plan.columns[~fresh]
    kept = times[:, absent]
    stale.arrive(times, plan.span, state.clock, config, familiar=plan.familiar)
    times[:, absent] = kept


def notice(state: RecogniserState, source: str, config: Stale) -> list[Finding]:
    """The series whose silence exceeds what they are allowed, each once."""
    if state.clock <= state.next_silence and state.next_silence > 0.0:
        return []
    times = state.times[:, : state.size]
    flags = state.stale[0, : state.size]
    found, state.next_silence = stale.silent(times, flags, state.clock, state.floor_ns, config)
    if not len(found):
        return []
    silence = state.clock - times[LAST, found]
    patience = stale.allowed(times, found, state.floor_ns, config)
    state.stale[0, found] = 1
    state.silent_series += len(found)
    state.find_stale_subjects()
    return [
        Finding("feed_stale", "none", (source, *state.name(column)), _score(evidence), evidence)
        for column, evidence in _evidence(state, found, silence, patience)
    ]


def _score(evidence: dict[str, int]) -> float:
    return evidence["silence_ns"] / (evidence["silence_ns"] + evidence["allowed_ns"])


def _evidence(
    state: RecogniserState, columns: NDArray[np.intp], silence: Floats, patience: Floats
) -> list[tuple[int, dict[str, int]]]:
    longest = state.times[LONGEST, columns].tolist()
    return [
        (column, {"silence_ns": round(quiet), "allowed_ns": round(limit), "longest_ns": round(known)})
        for column, quiet, limit, known in zip(
            columns.tolist(), silence.tolist(), patience.tolist(), longest, strict=True
        )
    ]
