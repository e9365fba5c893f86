"""How often a series has alarms like this one, and what severity that leaves them.

Guarantee: a severity is never raised, and lowered only where the series' own past says, with 95 %
confidence, that alarms of its pattern and direction, as strong as it, are common. The first of its
strength is never lowered, nor is any in a series as young as what it would have to be rarer than.

    clusters        alarms within max(1 day, 5 cadences) of the first of them are one, by its strongest
    recurrences     n earlier clusters, among the last 32, with 0.8 of its strength or more
    history         time since the series began, or since the cluster before the last 32
    return period   max(history / (1 + n), time since the last of the n)
    at most         max(history / least(n), time since the last of the n)
    least(n)        n · (1 − 1/9n − 1.645/(3·√n))³: as few as n may be by chance where as many are usual

`critical` takes a return period that may be `critical` (30 days) or more, `warning` one that may be
`warning` (7 days) or more; what is commoner is `info`. About once a day is `info` after 7 to 10 days.

Strength: statistic over threshold is told by the score; where the evidence has the `limit` that the
score was made with, the statistic itself, since limits learn (see `limits`). A level shift or a
variance shift alarms as soon as it can, so all are equally strong. The scale over 50 observations,
in which most statistics are measured, varies by 8 %: what differs by 20 % may be equal.

Time is that of the domain, by the calendar: "once a week" in a market that is open for six hours
a day is once in five sessions. Where nobody looked, a history is too long and alarms seem
rarer than they are, which lowers nothing.

Limits: what grows commoner is lowered some alarms late (a new daily habit of a series of 100 days: to
`warning` after 8 days, to `info` after 26), and a storm of many days may end as a habit. One
that lasts a day counts once.

Cost: nothing where nothing alarms; 512 bytes at most for each pattern and direction that a series
ever alarmed with, and its name.

Source: clusters and return levels are those of extreme value statistics (Coles, "An Introduction to
Statistical Modeling of Extreme Values", 2001, ch. 3 and 5), with clusters of bounded length, as a
series that alarms all day long would otherwise have but one, and so seem quiet. `least` is the
Wilson-Hilferty approximation of the exact Poisson limit (Garwood, Biometrika 28, 1936).

>>> seen, day = Clusters(0), 86_400_000_000_000
>>> habits = [seen.add(strength, at * day, day) for at, strength in ((50, 9.0), (51, 9.0), (60, 8.0))]
>>> [(habit.recurrences, habit.return_period_ns // day) for habit in habits]
[(0, 50), (1, 25), (2, 20)]
"""

from __future__ import annotations

import math
import struct
from array import array
from collections.abc import Collection, Mapping
from typing import Any, NamedTuple

from observer_core.pattern_record.config import Frequency
from observer_core.shared.canonical import decode, encode
from observer_core.shared.errors import RecordError
from observer_core.shared.records import RECOVERIES, SEVERITIES, Severity

KEPT = 32
_DAY_NS = 86_400_000_000_000
_CADENCES = 5
_ONE_SIDED_95 = 1.645
_AS_STRONG = 0.8
_ALIKE = frozenset(("level_shift", "variance_shift"))
_FACTS = frozenset((*RECOVERIES, *RECOVERIES.values(), "bad_tick"))

Key = tuple[str, str, str, str]
"""Pattern, direction, subject and field."""


class Habit(NamedTuple):
    """What the past says of an alarm. `at_most_ns`: no rarer than that, None where nothing is known."""

    recurrences: int
    return_period_ns: int
    at_most_ns: int | None

    def cap(self, age_ns: int, config: Frequency) -> Severity:
        """The gravest that the alarm can be, in a series of this age."""
        known = self.at_most_ns
        if known is None:
            return "critical"
        if known < config.warning <= age_ns:
            return "info"
        return "warning" if known < config.critical <= age_ns else "critical"


class Clusters:
    """The last clusters of one key: when each began, and how strong it was at most.

    `since_ns`: what came before is not known any more.
    """

    __slots__ = ("since_ns", "starts", "strengths")

    def __init__(self, since_ns: int) -> None:
        self.since_ns = since_ns
        self.starts, self.strengths = array("q"), array("d")

    def add(self, strength: float, now_ns: int, length_ns: int) -> Habit:
        """One more alarm, and what those before its own cluster say of it."""
        starts, strengths = self.starts, self.strengths
        goes_on = bool(starts) and now_ns - starts[-1] < length_ns
        earlier = len(starts) - goes_on
        as_strong = [at for at in range(earlier) if strengths[at] >= strength * _AS_STRONG]
        found = self._habit(len(as_strong), now_ns, starts[as_strong[-1]] if as_strong else now_ns)
        if goes_on:
            strengths[-1] = max(strengths[-1], strength)
        else:
            starts.append(now_ns)
            strengths.append(strength)
            if len(starts) > KEPT:
                self.since_ns = starts.pop(0)
                strengths.pop(0)
        return found

    def dump(self) -> bytes:
        count = len(self.starts)
        return struct.pack(f"<{count}q{count}d", *self.starts, *self.strengths)

    def _habit(self, n: int, now_ns: int, last_ns: int) -> Habit:
        history, waited = max(0, now_ns - self.since_ns), max(0, now_ns - last_ns)
        known = max(round(history / _least(n)), waited) if n else None
        return Habit(n, max(history // (1 + n), waited), known)


Memory = dict[Key, Clusters]


def _least(n: int) -> float:
    root = 1.0 - 1.0 / (9.0 * n) - _ONE_SIDED_95 / (3.0 * math.sqrt(n))
    return n * root * root * root


def calibrated(pattern: str) -> bool:
    """Whether how often it comes says how grave it is; not of what holds until it ends, and of feeds."""
    return pattern not in _FACTS and not pattern.startswith(("feed_", "venue_"))


def strength(pattern: str, score: float, evidence: Mapping[str, Any]) -> float:
    """What is compared among alarms of one pattern, direction and series."""
    if pattern in _ALIKE:
        return 1.0
    odds: float = score / max(1.0 - score, 1e-16)
    return min(odds * float(evidence.get("limit", 1.0)), 1e300)


def length_ns(cadence: float) -> int:
    """How long a cluster lasts at most."""
    return max(_DAY_NS, _CADENCES * round(cadence))


def milder(one: Severity, other: Severity) -> Severity:
    return min(one, other, key=SEVERITIES.index)


def forget(memory: Memory, subjects: Collection[str]) -> None:
    for key in [key for key in memory if key[2] in subjects]:
        del memory[key]


def dump(memory: Memory) -> bytes:
    """Equal memories, equal bytes."""
    keys = sorted(memory)
    header = [[*key, memory[key].since_ns, len(memory[key].starts)] for key in keys]
    return b"".join((encode(header), b"\n", *(memory[key].dump() for key in keys)))


def load(blob: bytes) -> Memory:
    head, _, body = blob.partition(b"\n")
    memory: Memory = {}
    header: list[tuple[str, str, str, str, int, int]] = decode(head)
    if len(body) != 16 * sum(row[-1] for row in header):
        raise RecordError(f"alarms of {len(header)} series and patterns: {len(body)} bytes do not fit them")
    offset = 0
    for pattern, direction, subject, field, since_ns, count in header:
        clusters = memory[pattern, direction, subject, field] = Clusters(since_ns)
        numbers = struct.unpack_from(f"<{count}q{count}d", body, offset)
        clusters.starts.extend(numbers[:count])
        clusters.strengths.extend(numbers[count:])
        offset += 16 * count
    return memory
