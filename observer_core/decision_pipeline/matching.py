"""A policy's `match`, compiled once: whether an event is meant, and which of its series."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from fnmatch import translate
from typing import Any

from observer_core.decision_pipeline.policy import SCORE, PolicyMatch
from observer_core.decision_pipeline.signals import ABSENCES, ENDINGS, Signal
from observer_core.shared.records import ALL, SEVERITIES

_RANK = {severity: rank for rank, severity in enumerate(SEVERITIES)}
_Test = Callable[[str], Any]
Matched = Sequence[int]
"""The places of the series that are meant; none of them when the event is about a whole source."""


class Matcher:
    """`releasing`: it ends something, so it never takes an event that says that data are missing."""

    __slots__ = (
        "_bounds", "_fields", "_named", "_rank", "_releasing", "_score", "_sources", "_subjects", "_tags",
        "_types",
    )  # fmt: skip

    def __init__(self, match: PolicyMatch, *, releasing: bool = False) -> None:
        self._named = frozenset(match.types)
        self._types, self._sources = _compile(match.types), _compile(match.sources)
        self._subjects, self._fields = _compile(match.subjects), _compile(match.fields)
        self._tags = None if match.tags is None else _compile(match.tags) or (lambda tag: True)
        self._rank, self._score = _RANK[match.min_severity], match.min_score
        self._bounds, self._releasing = tuple(match.evidence.items()), releasing

    def takes_type(self, full: str, short: str) -> bool:
        if short in ENDINGS:
            return not self._named.isdisjoint((full, short))
        if self._releasing and short in ABSENCES:
            return False
        return self._types is None or bool(self._types(full) or self._types(short))

    def takes(self, signal: Signal) -> Matched | None:
        """Everything but the type; None: it is not meant."""
        if _RANK[signal.severity] < self._rank or signal.score < self._score:
            return None
        if self._sources and not self._sources(signal.source):
            return None
        if self._tags and not any(map(self._tags, signal.tags)):
            return None
        places = range(len(signal.series))
        if not places:
            return places if self._within(signal, None) else None
        if not (self._subjects or self._fields or self._bounds):
            return places
        return [place for place in places if self._takes_series(signal, place)] or None

    def _takes_series(self, signal: Signal, place: int) -> bool:
        _, subject, name = signal.series[place]
        if self._subjects and subject != ALL and not self._subjects(subject):
            return False
        if self._fields and name != ALL and not self._fields(name):
            return False
        return self._within(signal, place)

    def _within(self, signal: Signal, place: int | None) -> bool:
        return all(bounds.hold(measured(signal, name, place)) for name, bounds in self._bounds)


def measured(signal: Signal, name: str, place: int | None) -> object:
    """What the evidence says of the series at `place` (None: of all) under `name`; None: nothing."""
    if name == SCORE and name not in signal.measured:
        return signal.score
    value = signal.measured.get(name)
    if not isinstance(value, list | tuple):
        return value
    return value[place] if place is not None and len(value) == len(signal.series) else None


def _compile(globs: tuple[str, ...]) -> _Test | None:
    return None if "*" in globs else re.compile("|".join(map(translate, globs))).match
