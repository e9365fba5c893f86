"""Series that stopped reporting, and venues that stopped as a whole: from the record that said so to the
one that said that it is over."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Final

from observer_core.runtime.reading.lines import Line
from observer_core.runtime.reports.stretch import Stretches
from observer_core.shared.canonical import decode
from observer_core.shared.records import Series

SHOWN: Final = 20
_ENDS: Final = {
    "feed_stale": ("stale", True), "feed_resumed": ("stale", False),
    "venue_halt": ("halt", True), "venue_resumed": ("halt", False),
}  # fmt: skip
_MARKS: Final = (b'"pattern":"feed_', b'"pattern":"venue_')


@dataclass(frozen=True, slots=True)
class Silence:
    """One series. `to_ns` None: it was silent still when the period ended. `record`: what told of it."""

    what: str
    series: Series
    from_ns: int
    to_ns: int | None
    length_ns: int
    record: str


@dataclass(slots=True)
class Silences:
    """`count`, `total_ns` and `longest_ns` by what it was; `shown`: the longest. `standing`: at the end.

    Lengths are of what lies in the period. `sure`: all that had begun before it was looked for.
    """

    count: Counter[str] = field(default_factory=Counter)
    total_ns: Counter[str] = field(default_factory=Counter)
    longest_ns: dict[str, int] = field(default_factory=dict)
    standing: Counter[str] = field(default_factory=Counter)
    shown: list[Silence] = field(default_factory=list)
    patterns: Counter[tuple[str, str]] = field(default_factory=Counter)
    sure: bool = True


def silences(stretches: Stretches, domain: str) -> Silences:
    """Of all sources of the domain; the patterns of the period are counted by kind and severity too."""
    found = Silences()
    for name in stretches.journals.names("patterns", domain):
        begun: dict[tuple[str, Series], tuple[int, str]] = {}
        found.sure &= stretches.reaches(name)
        for line in stretches.earlier(name, _maybe):
            for _ in _apply(line, begun):
                pass
        for line in stretches.lines(name):
            if b'"kind":"pattern"' not in line.raw:
                continue
            value = decode(line.raw)
            found.patterns[value["pattern"], value["severity"]] += 1
            for what, series, since_ns, record in _apply(line, begun, value):
                _add(found, stretches, Silence(what, series, since_ns, line.time_ns, 0, record))
        for (what, series), (since_ns, record) in begun.items():
            found.standing[what] += 1
            _add(found, stretches, Silence(what, series, since_ns, None, 0, record))
        found.shown = _longest(found.shown)
    return found


def _maybe(raw: bytes) -> bool:
    return any(mark in raw for mark in _MARKS)


def _apply(
    line: Line, begun: dict[tuple[str, Series], tuple[int, str]], value: dict[str, object] | None = None
) -> Iterator[tuple[str, Series, int, str]]:
    """Those that are over with this record."""
    record = decode(line.raw) if value is None else value
    ends = _ENDS.get(str(record.get("pattern")))
    if ends is None:
        return
    what, begins = ends
    series: list[list[str]] = record["series"]  # type: ignore[assignment]
    for source, subject, name in series:
        key = what, (source, subject, name)
        if begins:
            begun.setdefault(key, (line.time_ns, line.ref))
        elif key in begun:
            since_ns, ref = begun.pop(key)
            yield what, key[1], since_ns, ref


def _add(found: Silences, stretches: Stretches, one: Silence) -> None:
    period = stretches.period
    length_ns = period.clip(one.from_ns, period.until_ns if one.to_ns is None else one.to_ns)
    found.count[one.what] += 1
    found.total_ns[one.what] += length_ns
    found.longest_ns[one.what] = max(found.longest_ns.get(one.what, 0), length_ns)
    found.shown.append(Silence(one.what, one.series, one.from_ns, one.to_ns, length_ns, one.record))
    if len(found.shown) > 50 * SHOWN:
        found.shown = _longest(found.shown)


def _longest(found: list[Silence]) -> list[Silence]:
    return sorted(found, key=lambda one: (-one.length_ns, one.from_ns, one.series))[:SHOWN]
