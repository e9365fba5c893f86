"""The time of a source as its series feel it, and how often the source reports.

Guarantee: observed time never goes back, advances by at most `floor` cadences a snapshot
once the cadence is known, and stands still across an outage of the source.
"""

from __future__ import annotations

from observer_core.pattern_record.state import RecogniserState

_KNOWN_AFTER = 8
_SLOWEST_GAIN = 16
_FLOOR_HOLDS = 16


def advance(state: RecogniserState, ingest_ns: int, floor: int) -> None:
    """A snapshot with rows came at `ingest_ns`: time, cadence (an EW mean) and snapshot number go on."""
    last = state.last_ingest
    step = 0 if last is None or not state.reachable else ingest_ns - last
    if step > 0:
        if state.intervals >= _KNOWN_AFTER:
            most = floor * max(1, round(state.cadence))
            if step > most:
                step, state.gap_tick = most, state.tick + 1
        state.intervals = min(state.intervals + 1, _SLOWEST_GAIN)
        state.cadence += (step - state.cadence) / state.intervals
        state.clock += step
    if state.origin_ns is None:
        state.origin_ns = ingest_ns
    state.last_ingest = ingest_ns if last is None else max(last, ingest_ns)
    state.reachable = True
    state.tick += 1
    if state.tick < _FLOOR_HOLDS or state.tick % _FLOOR_HOLDS == 0:
        state.floor_ns = floor * state.cadence
        state.next_silence = 0.0


def interrupt(state: RecogniserState, ingest_ns: int) -> None:
    """The source could not be read at `ingest_ns`: the interval around it counts for nothing."""
    state.last_ingest = ingest_ns if state.last_ingest is None else max(state.last_ingest, ingest_ns)
    state.reachable = False
