"""The patterns of a series in a span, for a chart: the newest of them, oldest first.

They are read from the journal of patterns between the moments at which the span's rows were learnt, the
newest first. Bounded in records and bytes looked at; a record that does not name the series is not decoded.
"""

from __future__ import annotations

from typing import Final

import orjson

from observer_core.runtime.reading.lines import Budget, backwards
from observer_core.runtime.reading.series import Series
from observer_core.shared.records import ALL, Json, PatternRecord
from observer_core.storage.journals import Journals

MOST: Final = 500
_LOOKED: Final = 100_000
_SCANNED: Final = 96 << 20


def markers(
    journals: Journals, series: Series, source: str, subject: str, field: str,
    since_ns: int, until_ns: int, *, everything: bool = False, limit: int = MOST,
) -> Json:  # fmt: skip
    """`models.Markers`. `everything`: those of the subject's other fields and of the whole source too."""
    source = series.recorded_source(source, subject)
    first_ns, last_ns = series.learnt_between(source, since_ns, until_ns)
    journal = journals.open(f"patterns.{source}")
    first, last = journal.position_at(first_ns - 1) + 1, journal.position_at(last_ns)
    exact = orjson.dumps([source, subject, field])
    some = [orjson.dumps([source, name])[:-1] + b"," for name in (subject, ALL)]
    budget, cut = Budget(_LOOKED, _SCANNED), False
    found: list[Json] = []
    for line in backwards(journal, first, last):
        if len(found) >= limit or budget.spent:
            cut = True
            break
        budget.take(1, len(line.raw))
        if exact not in line.raw and not (everything and any(part in line.raw for part in some)):
            continue
        record = line.record
        if not isinstance(record, PatternRecord) or not since_ns <= record.event_ns <= until_ns:
            continue
        if any(_is_meant(named, source, subject, field, everything) for named in record.series):
            found.append(
                {
                    "ref": line.ref, "time_ms": record.event_ns / 1_000_000, "pattern": record.pattern,
                    "severity": record.severity, "direction": record.direction, "score": record.score,
                    "evidence": record.evidence,
                }
            )  # fmt: skip
    found.sort(key=lambda item: item["time_ms"])
    return {"items": found, "truncated": cut}


def _is_meant(named: tuple[str, str, str], source: str, subject: str, field: str, everything: bool) -> bool:
    if named == (source, subject, field):
        return True
    return everything and named[0] == source and named[1] in (subject, ALL)
