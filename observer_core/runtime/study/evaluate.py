"""Stored alarms against labelled windows: precision, recall, delay, and the scores of NAB's profiles.

NAB's rules: Lavin and Ahmad, "Evaluating real-time anomaly detection algorithms: the Numenta
Anomaly Benchmark" (2015), with time in the place of rows and without its probation.
"""

from __future__ import annotations

import csv
import math
import statistics
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Final, NamedTuple

from observer_core.shared.clock import SECOND, parse_time
from observer_core.shared.errors import InputError
from observer_core.shared.records import PatternRecord, Series
from observer_core.storage.journals import Journals

_DAY_NS: Final = 86_400 * SECOND
_COLUMNS: Final = ("from", "to", "source", "subject", "field")
PROFILES: Final[Mapping[str, tuple[float, float, float]]] = {
    "standard": (1.0, 0.11, 1.0), "low FP": (1.0, 0.22, 1.0), "low FN": (1.0, 0.11, 2.0),
}  # fmt: skip
"""What a hit, a false alarm and a miss weigh."""


class Label(NamedTuple):
    """A window in which something was wrong; None stands for any source, subject, field."""

    begin_ns: int
    end_ns: int
    source: str | None = None
    subject: str | None = None
    field: str | None = None

    @property
    def scope(self) -> tuple[str | None, ...]:
        return self[2:]

    def is_of(self, series: Sequence[Series]) -> bool:
        return any(all(want in (None, got) for want, got in zip(self.scope, one)) for one in series)


class Alarm(NamedTuple):
    """A pattern that was recognised at `time_ns`."""

    time_ns: int
    series: tuple[Series, ...]


@dataclass(frozen=True, slots=True)
class Evaluation:
    """`delays_ns`: of each window that was found, from its beginning to its first alarm."""

    alarms: int
    hits: int
    windows: int
    delays_ns: tuple[int, ...]
    days: float
    nab: Mapping[str, float]

    @property
    def precision(self) -> float | None:
        return self.hits / self.alarms if self.alarms else None

    @property
    def recall(self) -> float:
        return len(self.delays_ns) / self.windows

    @property
    def delay_ns(self) -> int | None:
        """The median delay."""
        return round(statistics.median(self.delays_ns)) if self.delays_ns else None

    @property
    def alarms_a_day(self) -> float | None:
        return self.alarms / self.days if self.days else None


def read_labels(path: Path, zone: str | None = None) -> list[Label]:
    """Windows of a CSV file with the columns from and to, and source, subject, field where they matter."""
    try:
        with path.open(encoding="utf-8", newline="") as file:
            rows = csv.DictReader(file)
            unknown = set(rows.fieldnames or ()) - set(_COLUMNS)
            if unknown or not {"from", "to"} <= set(rows.fieldnames or ()):
                found = ", ".join(rows.fieldnames or ()) or "nothing"
                raise InputError(
                    f"{path}: expected a header with from and to, and source, subject, field where they "
                    f"matter; found {found}"
                )
            labels = [_label(path, line, row, zone) for line, row in enumerate(rows, start=2)]
    except OSError as error:
        raise InputError(f"{path}: cannot be read: {error.strerror}") from None
    except UnicodeDecodeError as error:
        raise InputError(f"{path}: expected UTF-8 text: {error}") from None
    if not labels:
        raise InputError(f"{path}: holds no window; expected at least one row")
    return labels


def _label(path: Path, line: int, row: Mapping[str, str | None], zone: str | None) -> Label:
    try:
        begin, end = (parse_time(row[key] or "", zone) for key in ("from", "to"))
    except InputError as error:
        raise InputError(f"{path}, line {line}: {error}") from None
    if end < begin:
        raise InputError(f"{path}, line {line}: the window ends before it begins")
    return Label(begin, end, *(row.get(key) or None for key in _COLUMNS[2:]))


def stored_alarms(journals: Journals, domain: str, kinds: Sequence[str]) -> tuple[list[Alarm], float]:
    """The patterns of the domain whose kind matches one of the globs, in order; and over how many days."""
    alarms: list[Alarm] = []
    for name in journals.names("patterns", domain):
        for entry in journals.open(name).scan():
            record = entry.record
            if isinstance(record, PatternRecord) and any(fnmatchcase(record.pattern, kind) for kind in kinds):
                alarms.append(Alarm(record.time_ns, record.series))
    spans = [
        (next(journal.rows()).first_ns, journal.head().time_ns)
        for name in journals.names("snapshots", domain)
        if (journal := journals.open(name)).head().position
    ]
    days = (max(last for _, last in spans) - min(first for first, _ in spans)) / _DAY_NS if spans else 0.0
    return sorted(alarms), days


def evaluate(alarms: Sequence[Alarm], labels: Sequence[Label], days: float) -> Evaluation:
    """An alarm is a hit in any window of its series; a window is found by the first alarm in it."""
    hits, delays = 0, []
    for alarm in alarms:
        hits += any(it.is_of(alarm.series) and it.begin_ns <= alarm.time_ns <= it.end_ns for it in labels)
    for label in labels:
        inside = (
            alarm.time_ns
            for alarm in alarms
            if label.begin_ns <= alarm.time_ns <= label.end_ns and label.is_of(alarm.series)
        )
        first = next(inside, None)
        if first is not None:
            delays.append(first - label.begin_ns)
    return Evaluation(len(alarms), hits, len(labels), tuple(delays), days, _nab(alarms, labels))


def _nab(alarms: Sequence[Alarm], labels: Sequence[Label]) -> dict[str, float]:
    scopes = dict.fromkeys(label.scope for label in labels)
    found: dict[str, float] = {}
    for profile, (hit, false, miss) in PROFILES.items():
        raw = 0.0
        for scope in scopes:
            windows = sorted(label for label in labels if label.scope == scope)
            times = [alarm.time_ns for alarm in alarms if windows[0].is_of(alarm.series)]
            raw += sum(_window(it, times, hit, miss) for it in windows)
            raw += false * sum(_outside(moment, windows) for moment in times)
        perfect, null = hit * len(labels), -miss * len(labels)
        found[profile] = 100 * (raw - null) / (perfect - null)
    return found


def _window(label: Label, times: Iterable[int], hit: float, miss: float) -> float:
    first = next((moment for moment in times if label.begin_ns <= moment <= label.end_ns), None)
    if first is None:
        return -miss
    return hit * _sigmoid(-(label.end_ns - first) / max(1, label.end_ns - label.begin_ns)) / _sigmoid(-1.0)


def _outside(moment: int, windows: Sequence[Label]) -> float:
    """What a false alarm weighs: little just after a window, 1 far from any; inside of one nothing."""
    if any(label.begin_ns <= moment <= label.end_ns for label in windows):
        return 0.0
    before = [label for label in windows if label.end_ns < moment]
    if not before:
        return -1.0
    away = (moment - before[-1].end_ns) / max(1, before[-1].end_ns - before[-1].begin_ns)
    return -1.0 if away > 3 else _sigmoid(away)


def _sigmoid(place: float) -> float:
    return 2.0 / (1.0 + math.exp(5.0 * place)) - 1.0
