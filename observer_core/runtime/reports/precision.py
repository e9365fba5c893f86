"""How often detectors were right, by what people had said up to the end of the period."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from typing import Final

from observer_core.runtime.reports.stretch import Stretches
from observer_core.runtime.study.feedback import KIND, Precision
from observer_core.shared.errors import NotFound
from observer_core.shared.ids import parse_ref
from observer_core.shared.records import PatternRecord

MOST: Final = 20_000
"""So many patterns that were judged are looked up, the newest."""


def words(stretches: Stretches, domain: str) -> dict[str, bool]:
    """The newest word on each pattern, by its ref: of those said before the end of the period."""
    from observer_core.shared.canonical import decode

    name, found = f"{KIND}.{domain}", dict[str, bool]()
    lines = [stretches.earlier(name, lambda raw: b'"kind":"feedback"' in raw), stretches.lines(name)]
    for line in (one for part in lines for one in part):
        value = decode(line.raw)
        if value.get("kind") == KIND:
            for pattern in value["body"]["patterns"]:
                found.pop(pattern, None)  # the newest word stands last
                found[pattern] = bool(value["body"]["right"])
    return dict(list(found.items())[-MOST:])


def precision(
    stretches: Stretches, said: Mapping[str, bool], found: Mapping[tuple[str, str], int]
) -> list[Precision]:
    """Of every detector and pattern that was judged, with how many patterns of it the period had.

    `found`: of the period's patterns how many, by pattern and severity.
    """
    counts: dict[tuple[str, str], list[int]] = {}
    of_period: Counter[str] = Counter()
    for (pattern, _), count in found.items():
        of_period[pattern] += count
    by_journal: dict[str, list[int]] = {}
    for ref in said:
        journal, position = parse_ref(ref)
        by_journal.setdefault(journal, []).append(position)
    for journal, positions in sorted(by_journal.items()):
        source = stretches.journals.open(journal)
        for position in sorted(positions):
            try:
                record = source.entry(position).record
            except NotFound:  # removed by retention
                continue
            if isinstance(record, PatternRecord):
                row = counts.setdefault((record.detector, record.pattern), [0, 0])
                row[0 if said[f"{journal}@{position}"] else 1] += 1
    return [
        Precision(detector, pattern, of_period[pattern], right, wrong)
        for (detector, pattern), (right, wrong) in sorted(counts.items())
    ]
