"""Change points of chosen series of a source, if asked for (`change_points` in the configuration).

What is declared of a series, and at which observation, is what `observer detect --change-points`
declares of the same values (see `detectors.change_point`). The record has the time of that
observation; `onset_ns`, in its evidence, is that of the new segment's first: exact among the newest
64 observations, further back interpolated between two that are at most 1/63 of the way apart.

The first `most` series that match and have a value are watched, in the order of their appearance:
snapshot by snapshot; within one by field (those judged by their return first), then as its subjects
come. When the first has to be left out a record of its own says so, once. Subjects of another shard
are forgotten, and make room.

Cost: some array arithmetic for every series by itself, which is why there is a bound. State of a
series: at most 17 KB, and 104 KB more where it is periodic and `shape` is asked for.
"""

from __future__ import annotations

from array import array
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from math import isnan
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from observer_core.pattern_record.config import ChangePointPattern
from observer_core.pattern_record.detectors.change_point import Change, ChangeConfig, ChangePoints
from observer_core.pattern_record.detectors.segments import ShapeConfig
from observer_core.pattern_record.families import Seen
from observer_core.pattern_record.findings import Finding, number
from observer_core.shared.canonical import decode, encode
from observer_core.shared.errors import RecordError
from observer_core.shared.records import Direction

FULL = "change_points_full"
_FORMAT = 1
_WIDTH, _SIZES = 64, 16

Cells = NDArray[np.intp]


class Times:
    """When the observations of a series were: of the newest 64 all times, of older ones ever fewer.

    >>> times = Times()
    >>> for second in range(0, 3000, 3):
    ...     times.add(second)
    >>> times.at(0), times.at(1), times.at(100), times.at(999)
    (2997, 2994, 2697, 0)
    """

    __slots__ = ("known",)

    def __init__(self) -> None:
        self.known = [array("q") for _ in range(_SIZES)]
        """Of size k: the time of every 2^k-th observation, oldest first."""

    def add(self, time_ns: int) -> None:
        for known in self.known:
            known.append(time_ns)
            if len(known) <= _WIDTH:
                return
            time_ns = known[0]
            del known[:2]

    def at(self, back: int) -> int:
        """The time of the observation `back` ones before the newest, or of the oldest that is known."""
        after, begin = self.known[0][-1], 0
        for size, known in enumerate(self.known):
            step = 1 << size
            for place in range(len(known) - 1, -1, -1):
                begin += step
                before = known[place]
                if back < begin:
                    return before + (after - before) * (begin - 1 - back) // step
                after = before
        return after


@dataclass(slots=True, eq=False)
class Watch:
    """A series that is watched."""

    points: ChangePoints
    times: Times = field(default_factory=Times)


@dataclass(slots=True, eq=False)
class ChangePointState:
    """`watched`: by subject and field, in the order of appearance. `told`: that there are more.

    `version` counts the changes of `watched` in this process; it is no part of the state.
    """

    watched: dict[tuple[str, str], Watch] = field(default_factory=dict)
    told: bool = False
    version: int = 0


class ChangePointFamily:
    """Watches the series that the configuration names. A `families.Family`."""

    name = "change_points"
    detectors: ClassVar[Mapping[str, str]] = {"change_point": "change_point/2", FULL: "change_point/2"}

    def __init__(self, config: ChangePointPattern) -> None:
        self._config = config
        self._detector = ChangeConfig(shape=ShapeConfig() if config.shape else None)
        self.severities = {"change_point": config.severity, FULL: config.severity}

    def initial(self) -> ChangePointState:
        return ChangePointState()

    def observe(self, own: ChangePointState, seen: Seen) -> list[Finding]:
        watched, others = self._cells(own, seen)
        found: list[Finding] = []
        for cell, watch in watched:
            if seen.fresh is None or seen.fresh[cell]:
                found += _observe(watch, seen, cell)
        if len(others):
            new = others[~np.isnan(seen.values()[others])]
            room = max(0, self._config.most - len(own.watched))
            for cell in new[:room].tolist():
                watch = Watch(ChangePoints(self._detector))
                own.watched[seen.series(cell)[1:]] = watch
                found += _observe(watch, seen, cell)
            if len(new) > room:
                left_out = {"most": self._config.most, "left_out": len(new) - room}
                found.append(Finding(FULL, "none", seen.series(int(new[room])), 0.0, left_out))
                own.told = True
            own.version += bool(len(new))
        return found

    def forget(self, own: ChangePointState, subjects: Collection[str]) -> None:
        kept = {series: watch for series, watch in own.watched.items() if series[0] not in subjects}
        own.told = own.told and len(kept) == len(own.watched)
        own.watched, own.version = kept, own.version + 1

    def dump(self, own: ChangePointState) -> bytes:
        header: list[Any] = []
        body: list[bytes] = []
        for series, watch in own.watched.items():
            blob = watch.points.dump()
            header.append([*series, len(blob), list(map(len, watch.times.known))])
            body += (blob, *(np.array(known, "<i8").tobytes() for known in watch.times.known))
        head = {"format": _FORMAT, "told": own.told, "watched": header}
        return b"".join((encode(head), b"\n", *body))

    def load(self, blob: bytes) -> ChangePointState:
        """Series that the configuration no longer asks for are left out."""
        head, _, body = blob.partition(b"\n")
        header = decode(head)
        if not isinstance(header, dict) or header.get("format") != _FORMAT:
            raise RecordError(f"expected change points of format {_FORMAT}, found {head[:60]!r}")
        own, offset = ChangePointState(told=header["told"]), 0
        expected = sum(length + 8 * sum(lengths) for _, _, length, lengths in header["watched"])
        if len(body) != expected:
            raise RecordError(f"change points: expected {expected} bytes, found {len(body)}")
        for subject, name, length, lengths in header["watched"]:
            watch = Watch(ChangePoints.load(body[offset : offset + length], self._detector))
            offset += length
            for known, count in zip(watch.times.known, lengths, strict=True):
                known.extend(np.frombuffer(body, "<i8", count, offset).tolist())
                offset += 8 * count
            if self._asked(subject, name) and len(own.watched) < self._config.most:
                own.watched[subject, name] = watch
        own.told = own.told and len(own.watched) == self._config.most
        return own

    def _cells(self, own: ChangePointState, seen: Seen) -> tuple[list[tuple[int, Watch]], Cells]:
        """The cells of series that are watched, and those of others that could be or must be told of."""
        caches, key = seen.plan.caches, (own, own.version)
        known = caches.get(self.name)
        if known is None or known[0] != key:
            watched, others = [], []
            open_to_others = len(own.watched) < self._config.most or not own.told
            for cell, series in self._matching(seen).items():
                watch = own.watched.get(series)
                if watch is not None:
                    watched.append((cell, watch))
                elif open_to_others:
                    others.append(cell)
            known = caches[self.name] = (key, watched, np.array(others, np.intp))
        return known[1], known[2]

    def _matching(self, seen: Seen) -> Mapping[int, tuple[str, str]]:
        plan = seen.plan
        rows = [(row, subject) for subject, row in plan.row_of.items() if self._asked(subject, None)]
        return {
            place * len(plan.row_of) + row: (subject, name)
            for place, name in enumerate(plan.fields)
            if self._asked(None, name)
            for row, subject in rows
        }

    def _asked(self, subject: str | None, name: str | None) -> bool:
        return all(
            own is None or any(fnmatchcase(own, glob) for glob in globs)
            for own, globs in ((subject, self._config.subjects), (name, self._config.fields))
        )


def _observe(watch: Watch, seen: Seen, cell: int) -> list[Finding]:
    value = float(seen.x[cell])
    if isnan(value):
        return []
    watch.times.add(seen.snapshot.ingest_ns)
    changes = watch.points.observe(value)
    return [_finding(change, watch.times, seen, cell, value) for change in changes]


def _finding(change: Change, times: Times, seen: Seen, cell: int, value: float) -> Finding:
    steps = change.declared - change.onset
    before, after = number(change.before), number(change.after)
    direction: Direction = "none"
    if change.kind != "shape" and before != after:
        direction = "up" if after > before else "down"
    evidence = {
        "kind": change.kind, "value": number(value), "before": before, "after": after,
        "statistic": change.statistic, "limit": change.limit, "onset_ns": times.at(steps), "steps": steps,
    }  # fmt: skip
    score = change.statistic / (change.statistic + change.limit)
    return Finding("change_point", direction, seen.series(cell), score, evidence)
