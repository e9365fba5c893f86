"""Change points of chosen series of a source, if asked for (`change_points` in the configuration).

What is declared of a series, and at which observation, is what `observer detect --change-points`
declares of the same values (see `detectors.change_point`). The record has the time of that
observation; `onset_ns`, in its evidence, is that of the new segment's first: exact among the newest
64 observations, further back interpolated between two that are at most 1/63 of the way apart.

The first `most` series that match and have a value are watched, in the order of their appearance:
snapshot by snapshot; within one by field (those judged by their return first), then as its subjects
come. When the first has to be left out a record of its own says so, once. Subjects of another shard
are forgotten, and make room.

Series that have had all their observations at the same times are watched together (`Watch`): one that
misses a snapshot goes on by itself, and joins those of the same times when the state is loaded. That
is a matter of cost, never of what is found. What is serialised is each series' own.

Cost: see `detectors.change_point`; it is why there is a bound. State of a series: at most 17 KB, and
104 KB more where it is periodic and `shape` is asked for.
"""

from __future__ import annotations

from array import array
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from operator import itemgetter
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from observer_core.pattern_record.config import ChangePointPattern
from observer_core.pattern_record.detectors.change_point import Change, ChangeConfig, Lane, March
from observer_core.pattern_record.detectors.segments import ShapeConfig
from observer_core.pattern_record.families import Seen
from observer_core.pattern_record.findings import Finding, number
from observer_core.pattern_record.window import Flags
from observer_core.shared.canonical import decode, encode
from observer_core.shared.errors import RecordError
from observer_core.shared.records import Direction

FULL = "change_points_full"
_FORMAT = 1
_WIDTH, _SIZES = 64, 16

Cells = NDArray[np.intp]
Name = tuple[str, str]
"""Subject and field."""


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

    @staticmethod
    def load(lengths: list[int], body: bytes) -> Times:
        found, offset = Times(), 0
        for known, count in zip(found.known, lengths, strict=True):
            known.extend(np.frombuffer(body, "<i8", count, offset).tolist())
            offset += 8 * count
        return found


@dataclass(slots=True, eq=False)
class Watch:
    """Series that have been observed at the same times, by columns: so that one look serves them all."""

    march: March
    series: list[Name]
    times: Times = field(default_factory=Times)

    def leave(self, columns: list[int]) -> Watch:
        """Takes series out, which go on by themselves."""
        gone = Watch(self.march.leave(columns), [self.series[column] for column in columns])
        for own, known in zip(gone.times.known, self.times.known, strict=True):
            own.extend(known)
        self.series = [name for name in self.series if name not in set(gone.series)]
        return gone


@dataclass(slots=True, eq=False)
class ChangePointState:
    """`watched`: where each series is, by subject and field, in the order of appearance.

    `told`: that there are more. `version` counts the changes of `watched` in this process; it is no part
    of the state.
    """

    watched: dict[Name, Watch] = field(default_factory=dict)
    told: bool = False
    version: int = 0

    def enter(self, watch: Watch) -> None:
        self.watched |= dict.fromkeys(watch.series, watch)
        self.version += 1


Watched = tuple[Watch, Cells | None, Cells]
"""With its columns that a plan has cells of (None: all), and these cells."""


class ChangePointFamily:
    """Watches the series that the configuration names. A `families.Family`."""

    name = "change_points"
    detectors: ClassVar[Mapping[str, str]] = {"change_point": "change_point/3", FULL: "change_point/3"}

    def __init__(self, config: ChangePointPattern) -> None:
        self._config = config
        self._detector = ChangeConfig(shape=ShapeConfig() if config.shape else None)
        self.severities = {"change_point": config.severity, FULL: config.severity}

    def initial(self) -> ChangePointState:
        return ChangePointState()

    def observe(self, own: ChangePointState, seen: Seen) -> list[Finding]:
        watched, others = self._cells(own, seen)
        found: list[tuple[int, Finding]] = []
        for watch, columns, cells in watched:
            if seen.fresh is None and columns is None:
                _observe(watch, seen, cells, found)
                continue
            here = _arrived(seen, cells)
            if columns is not None or not here.all():
                columns = np.arange(len(cells)) if columns is None else columns
                cells = cells[here]
                absent = set(range(len(watch.series))) - set(columns[here].tolist())
                if not len(cells):
                    continue
                if absent:
                    own.enter(watch.leave(sorted(absent)))
            _observe(watch, seen, cells, found)
        if not found and not len(others):
            return []
        found.sort(key=itemgetter(0))
        findings = [finding for _, finding in found]
        if len(others):
            new = others[_arrived(seen, others)]
            room = max(0, self._config.most - len(own.watched))
            if len(own_cells := new[:room]):
                lanes = [Lane(self._detector.shape) for _ in own_cells]
                names = [seen.series(cell)[1:] for cell in own_cells.tolist()]
                watch = Watch(March(self._detector, lanes), names)
                own.enter(watch)
                _observe(watch, seen, own_cells, [])
            if len(new) > room:
                left_out = {"most": self._config.most, "left_out": len(new) - room}
                findings.append(Finding(FULL, "none", seen.series(int(new[room])), 0.0, left_out))
                own.told, own.version = True, own.version + 1
        return findings

    def forget(self, own: ChangePointState, subjects: Collection[str]) -> None:
        before = len(own.watched)
        for watch in dict.fromkeys(own.watched.values()):
            gone = [column for column, (subject, _) in enumerate(watch.series) if subject in subjects]
            if gone:
                watch.leave(gone)
        own.watched = {series: watch for series, watch in own.watched.items() if series[0] not in subjects}
        own.told, own.version = own.told and len(own.watched) == before, own.version + 1

    def dump(self, own: ChangePointState) -> bytes:
        blobs: dict[Name, bytes] = {}
        for watch in dict.fromkeys(own.watched.values()):
            blobs.update(zip(watch.series, watch.march.dump(), strict=True))
        header: list[Any] = []
        body: list[bytes] = []
        for series, watch in own.watched.items():
            header.append([*series, len(blobs[series]), list(map(len, watch.times.known))])
            body += (blobs[series], *(np.array(known, "<i8").tobytes() for known in watch.times.known))
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
        together: dict[bytes, list[Name]] = {}
        times_of: dict[bytes, Times] = {}
        marches: dict[Name, March] = {}
        for subject, name, length, lengths in header["watched"]:
            march = March.load(body[offset : offset + length], self._detector)
            times = offset + length
            offset = times + 8 * sum(lengths)
            if self._asked(subject, name) and len(marches) < self._config.most:
                marches[subject, name] = march
                key = encode([march.points, lengths]) + body[times:offset]
                if key not in together:
                    times_of[key] = Times.load(lengths, body[times:offset])
                together.setdefault(key, []).append((subject, name))
        for key, names in together.items():
            watch = Watch(March.joined([marches[name] for name in names]), names)
            watch.times = times_of[key]
            own.enter(watch)
        own.watched = {name: own.watched[name] for name in marches}
        own.told = own.told and len(own.watched) == self._config.most
        return own

    def _cells(self, own: ChangePointState, seen: Seen) -> tuple[list[Watched], Cells]:
        """The cells of series that are watched, and those of others that could be or must be told of."""
        caches, key = seen.plan.caches, (own, own.version)
        known = caches.get(self.name)
        if known is None or known[0] != key:
            matching = self._matching(seen) if known is None else known[3]
            open_to_others = len(own.watched) < self._config.most or not own.told
            others = [cell for series, cell in matching.items() if series not in own.watched]
            watched = []
            for watch in dict.fromkeys(own.watched.values()):
                cells = [matching.get(series, -1) for series in watch.series]
                here = [column for column, cell in enumerate(cells) if cell >= 0]
                columns = np.array(here, np.intp) if len(here) < len(cells) else None
                if here:
                    watched.append((watch, columns, np.array([cells[column] for column in here], np.intp)))
            others = others if open_to_others else []
            known = caches[self.name] = (key, watched, np.array(others, np.intp), matching)
        return known[1], known[2]

    def _matching(self, seen: Seen) -> Mapping[Name, int]:
        plan = seen.plan
        rows = [(row, subject) for subject, row in plan.row_of.items() if self._asked(subject, None)]
        return {
            (subject, name): place * len(plan.row_of) + row
            for place, name in enumerate(plan.fields)
            if self._asked(None, name)
            for row, subject in rows
        }

    def _asked(self, subject: str | None, name: str | None) -> bool:
        return all(
            own is None or any(fnmatchcase(own, glob) for glob in globs)
            for own, globs in ((subject, self._config.subjects), (name, self._config.fields))
        )


def _arrived(seen: Seen, cells: Cells) -> Flags:
    """Which cells are observations."""
    here: Flags = ~np.isnan(seen.x[cells])
    return here if seen.fresh is None else here & seen.fresh[cells]


def _observe(watch: Watch, seen: Seen, cells: Cells, found: list[tuple[int, Finding]]) -> None:
    watch.times.add(seen.snapshot.ingest_ns)
    for column, change in watch.march.observe(seen.x[cells]):
        cell = int(cells[column])
        found.append((cell, _finding(change, watch.times, seen, cell, float(seen.x[cell]))))


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
