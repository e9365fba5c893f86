"""What is to be found in a plain file: an anomaly score a row, change points, and the recogniser's patterns.

Online, as everything here: what is said of a row follows from that row and those before it.
"""

from __future__ import annotations

import csv
import io
import math
import statistics
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Final

import numpy as np

from observer_core.pattern_record.config import RecogniserConfig
from observer_core.pattern_record.detectors.anomaly import CHANNELS, Anomaly, AnomalyScore, contributions
from observer_core.pattern_record.detectors.change_point import Change, ChangePoints
from observer_core.pattern_record.recogniser import Recogniser
from observer_core.pattern_record.window import Floats
from observer_core.shared.clock import SECOND, format_time
from observer_core.shared.records import PatternRecord, Snapshot
from observer_core.shared.stage import Entry
from observer_core.snapshot_engine.sources.recording import RecordingConfig, plan

ALARM: Final = 0.5
_DAY_NS: Final = 86_400 * SECOND
_CADENCE_AFTER: Final = 16
"""Intervals from which the length of a day in rows is learnt; until then there is no season."""
_LEADING: Final = 3


@dataclass(frozen=True, slots=True)
class Alarm:
    """A score of 0.5 or more: in which row (from 0) of which column, and what said so most."""

    row: int
    time_ns: int
    column: str
    value: float
    score: float
    channels: tuple[str, ...]


@dataclass(slots=True)
class Detected:
    """`values` and `scores` by column, a number a row of the file, in its order; NaN: no value."""

    columns: tuple[str, ...]
    times_ns: list[int]
    values: dict[str, Floats]
    scores: dict[str, Floats]
    alarms: list[Alarm] = field(default_factory=list)
    changes: dict[str, list[Change]] = field(default_factory=dict)
    patterns: list[PatternRecord] = field(default_factory=list)
    notes: tuple[str, ...] = ()

    def csv(self) -> str:
        """`timestamp,value,anomaly_score` a row; of several columns, each one's and the largest score."""
        out = io.StringIO()
        writer = csv.writer(out, lineterminator="\n")
        one = len(self.columns) == 1
        named = [] if one else [name for c in self.columns for name in (c, f"{c}_anomaly_score")]
        writer.writerow(["timestamp", *(["value"] if one else named), "anomaly_score"])
        for row, moment in enumerate(self.times_ns):
            scores = [float(self.scores[column][row]) for column in self.columns]
            values = [_cell(self.values[column][row]) for column in self.columns]
            pairs = values if one else [cell for pair in zip(values, map(repr, scores)) for cell in pair]
            writer.writerow([format_time(moment), *pairs, repr(max(scores))])
        return out.getvalue()


def detect(
    path: Path,
    mapping: RecordingConfig,
    *,
    change_points: bool = False,
    config: RecogniserConfig | None = None,
) -> Detected:
    """`RecordingError` names file, line and column of what cannot be read; no two rows are merged."""
    load = plan([str(path)], "file", mapping)
    snapshots = list(load.snapshots())
    columns = tuple(sorted({name for snapshot in snapshots for name in snapshot.fields}))
    found = Detected(
        columns, [0] * load.rows, values={column: np.full(load.rows, math.nan) for column in columns},
        scores={column: np.zeros(load.rows) for column in columns}, notes=load.notes,
    )  # fmt: skip
    changes = {column: ChangePoints() for column in columns} if change_points else {}
    rows_of = {column: list[int]() for column in columns}
    for row, snapshot, x, score, growth in _scored(snapshots, columns):
        found.times_ns[row] = snapshot.event_ns
        for place, column in enumerate(columns):
            value = float(x[place])
            found.values[column][row], found.scores[column][row] = value, score[place]
            if score[place] >= ALARM:
                said = _leading(growth[:, place])
                found.alarms.append(Alarm(row, snapshot.event_ns, column, value, float(score[place]), said))
            if column in changes and not math.isnan(value):
                rows_of[column].append(row)
                found.changes.setdefault(column, []).extend(
                    replace(c, onset=rows_of[column][c.onset], declared=row)
                    for c in changes[column].observe(value)
                )
    found.patterns = _recognised(snapshots, config or RecogniserConfig())
    return found


def _scored(
    snapshots: Sequence[Snapshot], columns: Sequence[str]
) -> Iterator[tuple[int, Snapshot, Floats, Floats, Floats]]:
    """Row number, snapshot, values, scores and growth of the channels, one row after the other."""
    scores = AnomalyScore.fresh(len(columns), Anomaly())
    intervals: list[int] = []
    for number, snapshot in enumerate(snapshots):
        if number:
            intervals.append(snapshot.event_ns - snapshots[number - 1].event_ns)
        if number == _CADENCE_AFTER:
            scores = _with_season(scores, statistics.median(intervals))
        x = np.array([_value(snapshot, column) for column in columns])
        at = snapshot.event_ns % _DAY_NS * scores.period // _DAY_NS if scores.period else 0
        assert snapshot.origin is not None
        (row,) = snapshot.origin["rows"]
        yield row, snapshot, x, scores.observe(x, at), contributions(scores.values, scores.config)


def _with_season(scores: AnomalyScore, cadence_ns: float) -> AnomalyScore:
    """The same series from here on, with a day as their season; none where a day has too few rows."""
    period = round(_DAY_NS / cadence_ns) if cadence_ns > 0 else 0
    if period < 2:
        return scores
    fresh = AnomalyScore.fresh(scores.values.shape[1], scores.config, period)
    return AnomalyScore(scores.values, fresh.season, scores.config, period)


def _value(snapshot: Snapshot, column: str) -> float:
    values = snapshot.fields.get(column)
    return math.nan if values is None else float(values[0])


def _leading(growth: Floats) -> tuple[str, ...]:
    """The channels that grew most, largest first."""
    order = sorted(range(len(CHANNELS)), key=lambda place: (-float(growth[place]), place))
    return tuple(CHANNELS[place] for place in order[:_LEADING] if growth[place] > 0)


def _recognised(snapshots: Sequence[Snapshot], config: RecogniserConfig) -> list[PatternRecord]:
    recogniser = Recogniser("file", config)
    state = recogniser.initial()
    return [
        record
        for position, snapshot in enumerate(snapshots, start=1)
        for record in recogniser.transition(state, Entry("snapshots.file", position, snapshot))
    ]


def _cell(value: float) -> str:
    return "" if math.isnan(value) else repr(float(value))
