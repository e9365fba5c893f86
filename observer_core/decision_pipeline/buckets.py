"""Buckets that leak, and their totals: the arithmetic of risk, so kept that it can be added up by hand.

A bucket is known by the moment at which it will be empty: points(t) = max(0, empty − t) / leak,
with both in whole nanoseconds. A total sums whole nanoseconds for each leak, so it is exact in
whatever order buckets come and go: total(t) = Σ over leaks of (Σ empty − n·t) / leak.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass, field, fields
from typing import Any, NamedTuple

from observer_core.decision_pipeline.views import RiskLevel
from observer_core.shared.records import Json

INPUTS = 8
"""A bucket remembers so many inputs, the newest; the points of those before are carried."""


class Input(NamedTuple):
    """One signal: `left` was there when it came; `after` = min(left + weight × score, capacity)."""

    ref: str
    type: str
    severity: str
    weight: float
    score: float
    at_ns: int
    left: float
    after: float
    leak_ns: int


class Carried(NamedTuple):
    """What so many signals came to that are remembered no longer: `points` at `at_ns`, leaking so fast."""

    signals: int
    points: float
    at_ns: int
    leak_ns: int


@dataclass(slots=True, kw_only=True)
class Bucket:
    """`sources`: whose signals are in it. `cause`: the newest of them."""

    level: RiskLevel = "calm"
    empty_ns: int = 0
    leak_ns: int = 1
    cause: str = ""
    sources: set[str] = field(default_factory=set)
    inputs: list[Input] = field(default_factory=list)
    carried: Carried | None = None

    def points(self, now_ns: int) -> float:
        return max(0, self.empty_ns - now_ns) / self.leak_ns

    def reaches_ns(self, points: float) -> int:
        """When it will have leaked down to `points`."""
        return self.empty_ns - math.floor(points * self.leak_ns)

    def pour(
        self, *, ref: str, kind: str, severity: str, weight: float, score: float, source: str, now_ns: int,
        leak_ns: int, capacity: float,
    ) -> None:  # fmt: skip
        """A signal's points. A point leaks as slowly as the slowest data among what is in it ask for."""
        left = self.points(now_ns)
        if not left:
            self.inputs, self.carried, self.leak_ns = [], None, leak_ns
            self.sources.clear()
        self.leak_ns = max(self.leak_ns, leak_ns)
        after = min(left + weight * score, capacity)
        self.empty_ns = now_ns + math.ceil(after * self.leak_ns)
        self.sources.add(source)
        self.cause = ref
        self.inputs.append(Input(ref, kind, severity, weight, score, now_ns, left, after, self.leak_ns))
        if len(self.inputs) > INPUTS:
            gone, count = self.inputs.pop(0), self.carried.signals if self.carried else 0
            self.carried = Carried(count + 1, gone.after, gone.at_ns, gone.leak_ns)

    def arithmetic(self, now_ns: int, capacity: float) -> Json:
        """All that it takes to come to its points by hand."""
        value: Json = {
            "level": self.level, "points": self.points(now_ns), "capacity": capacity,
            "inputs": [
                {**item._asdict(), "add": item.weight * item.score} for item in self.inputs
            ],
        }  # fmt: skip
        if self.carried is not None:
            value["carried"] = self.carried._asdict()
        return value

    def dump(self) -> Json:
        plain = {item.name: getattr(self, item.name) for item in fields(self)}
        return {
            **plain, "sources": sorted(self.sources), "inputs": [list(item) for item in self.inputs],
            "carried": self.carried and list(self.carried),
        }  # fmt: skip

    @staticmethod
    def load(plain: Json) -> Bucket:
        if "points" in plain:  # version 1 kept points, and no inputs
            leak_ns = plain["leak_ns"] or 1
            at_ns, points = plain["at_ns"], plain["points"]
            return Bucket(
                level=plain["level"], empty_ns=at_ns + math.ceil(points * leak_ns), leak_ns=leak_ns,
                cause=plain["cause"], carried=Carried(1, points, at_ns, leak_ns),
            )  # fmt: skip
        carried: Any = plain["carried"]
        return Bucket(**{
            **plain, "sources": set(plain["sources"]), "inputs": [Input(*item) for item in plain["inputs"]],
            "carried": carried and Carried(*carried),
        })  # fmt: skip


class Total:
    """The points of buckets together. They are members until they are empty."""

    __slots__ = ("_parts", "cause", "level")

    def __init__(self) -> None:
        self.level: RiskLevel = "calm"
        self.cause = ""
        self._parts: dict[int, tuple[int, int]] = {}
        """By leak: how many buckets leak so, and the sum of the moments at which they are empty."""

    @property
    def members(self) -> int:
        return sum(count for count, _ in self._parts.values())

    def put(self, bucket: Bucket) -> None:
        self._change(bucket, 1)

    def take(self, bucket: Bucket) -> None:
        self._change(bucket, -1)

    def points(self, now_ns: int) -> float:
        return math.fsum([(empty - count * now_ns) / leak for leak, (count, empty) in self._parts.items()])

    def reaches_ns(self, points: float, now_ns: int) -> int:
        """When it will have leaked down to `points` at the earliest: as if no bucket were empty before."""
        pace = math.fsum([count / leak for leak, (count, _) in self._parts.items()])
        above = self.points(now_ns) - points
        return now_ns + max(1, math.ceil(above / pace)) if above > 0 and pace else now_ns

    def _change(self, bucket: Bucket, by: int) -> None:
        count, empty = self._parts.get(bucket.leak_ns, (0, 0))
        if count + by:
            self._parts[bucket.leak_ns] = count + by, empty + by * bucket.empty_ns
        else:
            del self._parts[bucket.leak_ns]


def listing(buckets: Iterable[tuple[str, Bucket]], now_ns: int, most: int) -> Json:
    """The members of a total: the largest, and what the others come to."""
    found = sorted(((-bucket.points(now_ns), scope) for scope, bucket in buckets))
    named = [{"scope": scope, "points": -points} for points, scope in found[:most]]
    value: Json = {"scopes": len(found), "largest": named}
    if len(found) > most:
        rest = math.fsum(-points for points, _ in found[most:])
        value["others"] = {"scopes": len(found) - most, "points": rest}
    return value
