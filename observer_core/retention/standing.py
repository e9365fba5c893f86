"""What still holds where a journal is cut: the records that whoever folds it from there on must know.

Of decisions: the blocks, overrides, requests and levels of risk that stand, and what is quarantined. Of
patterns: the conditions that are not over. Of snapshots: the newest that has a value of each series. The
same folds as the readers' own, which get these records first and then all that are kept.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final, Protocol

import numpy as np

from observer_core.decision_pipeline.history import Standing as DecisionsFold
from observer_core.shared.records import (
    RECOVERIES,
    AnyRecord,
    Decision,
    Note,
    PatternRecord,
    Series,
    Snapshot,
    SnapshotDecoder,
    decode_record,
)

_LISTED: Final = ""
"""In the place of a field: the subject itself, with values or without."""


class Standing(Protocol):
    """Takes a journal's lines in order, those that stood where it was cut before first."""

    def apply(self, position: int, line: bytes) -> None: ...

    def positions(self) -> set[int]:
        """Of the lines so far, those that count still."""


def standing_of(journal: str) -> Standing:
    """The fold of a journal."""
    kinds: dict[str, type[Standing]] = {
        "decisions": OfDecisions, "patterns": OfPatterns, "snapshots": OfSnapshots,
    }  # fmt: skip
    return kinds.get(journal.partition(".")[0], Nothing)()


class Nothing:
    def apply(self, position: int, line: bytes) -> None:
        pass

    def positions(self) -> set[int]:
        return set()


class OfDecisions:
    def __init__(self) -> None:
        self._fold = DecisionsFold()
        self._by_id: dict[str, int] = {}
        self._levels: dict[str, int] = {}
        self._quarantined: dict[str, int] = {}

    def apply(self, position: int, line: bytes) -> None:
        record = decode_record(line)
        if isinstance(record, Decision):
            self._decided(position, record)
        elif isinstance(record, Note) and record.kind in ("quarantine", "redrive"):
            place = f"{record.body['input']}@{record.body['position']}"
            if record.kind == "quarantine":
                self._quarantined[place] = position
            elif not record.body["count"]:
                self._quarantined.pop(place, None)

    def _decided(self, position: int, decision: Decision) -> None:
        self._fold.apply(decision)
        self._by_id[decision.id] = position
        if decision.policy == "risk" and decision.verdict == "judgment":
            self._levels[decision.scope] = position
        if len(self._by_id) > 100 + 4 * len(self._entries()):
            self._by_id = {identity: self._by_id[identity] for identity in self._entries()}

    def _entries(self) -> set[str]:
        fold = self._fold
        entries: Iterator[dict[str, Any]] = (
            entry
            for rows in (*fold.blocks.values(), fold.overrides, fold.requests)
            for entry in rows.values()
        )
        return {str(entry["decision"]) for entry in entries}

    def positions(self) -> set[int]:
        tense = {self._levels[scope] for scope, level in self._fold.levels.items() if level != "calm"}
        return tense | set(self._quarantined.values()) | {self._by_id[one] for one in self._entries()}


class OfPatterns:
    def __init__(self) -> None:
        self._open: dict[tuple[str, Series], int] = {}
        self._over: dict[tuple[str, Series], int] = {}
        self._series: dict[int, list[tuple[str, Series]]] = {}
        """Of those that stand: also the series whose condition is over, which must not begin anew."""
        self._begins = {end: begin for begin, end in RECOVERIES.items()}

    def apply(self, position: int, line: bytes) -> None:
        record = decode_record(line)
        if not isinstance(record, PatternRecord):
            return
        begin = self._begins.get(record.pattern)
        if begin is not None:
            for series in record.series:
                self._open.pop((begin, series), None)
                self._over[begin, series] = position
        elif record.pattern in RECOVERIES:
            conditions = self._series[position] = [(record.pattern, series) for series in record.series]
            self._open.update((condition, position) for condition in conditions)

    def positions(self) -> set[int]:
        standing = set(self._open.values())
        self._series = {at: conditions for at, conditions in self._series.items() if at in standing}
        ended = {
            self._over[condition]
            for conditions in self._series.values()
            for condition in conditions
            if condition not in self._open
        }
        return standing | ended


class OfSnapshots:
    def __init__(self) -> None:
        self._decode = SnapshotDecoder()
        self._newest: dict[tuple[str, str], int] = {}
        self._whole: tuple[tuple[str, ...], tuple[str, ...], int] | None = None
        """The last that had all its values: its subjects and fields stand for these at its position."""

    def apply(self, position: int, line: bytes) -> None:
        record: AnyRecord = self._decode(line)
        if not isinstance(record, Snapshot) or not record.subjects:
            return
        fields = tuple(record.fields)
        whole = not any(np.isnan(column).any() for column in record.fields.values())
        if whole:
            if self._whole is not None and self._whole[:2] != (record.subjects, fields):
                self._settle()
            self._whole = record.subjects, fields, position
            return
        self._settle()
        self._newest.update(((subject, _LISTED), position) for subject in record.subjects)
        for name, column in record.fields.items():
            for place in np.flatnonzero(~np.isnan(column)):
                self._newest[record.subjects[place], name] = position

    def _settle(self) -> None:
        if self._whole is not None:
            subjects, fields, position = self._whole
            self._newest.update(
                ((subject, name), position) for subject in subjects for name in (*fields, _LISTED)
            )
            self._whole = None

    def positions(self) -> set[int]:
        self._settle()
        return set(self._newest.values())
