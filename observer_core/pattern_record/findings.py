"""From what detectors found to pattern records: severity, tags, and many at once as one."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from observer_core.pattern_record import config as settings
from observer_core.pattern_record.tagging import Tagger
from observer_core.shared.ids import derive
from observer_core.shared.records import Direction, PatternRecord, Series, Severity, Snapshot

DETECTORS: Mapping[str, str] = {
    "spike": "ewma_spike/1", "level_shift": "cusum/1", "variance_shift": "variance_shift/1",
    "feed_flat": "flat/1", "feed_stale": "stale/1", "feed_resumed": "stale/1",
    "feed_unavailable": "availability/1", "feed_available": "availability/1",
}  # fmt: skip
"""The patterns that every series can have, each with its detector and the detector's version.

In the order of the records; those of the families follow.
"""

_LARGEST = 1.7e308


@dataclass(frozen=True, slots=True)
class Finding:
    """One pattern in one series. `score` is in [0, 1]; 0.5 is the alarm threshold."""

    pattern: str
    direction: Direction
    series: Series
    score: float
    evidence: Mapping[str, float | int]


def number(value: Any) -> float:
    """A finite plain float: what is beyond the largest is the largest."""
    return min(max(float(value), -_LARGEST), _LARGEST)


class Reporter:
    """Makes records of the findings in one snapshot.

    One record a series, by pattern, then direction, then falling score, then name; where a
    pattern has more than `group_over` series in one direction they share one record, whose
    evidence holds lists in the order of its series.
    """

    __slots__ = ("_detectors", "_group_over", "_order", "_severity", "_tagger")

    def __init__(
        self,
        config: settings.RecogniserConfig,
        families: Iterable[tuple[Mapping[str, str], Mapping[str, settings.Severity]]] = (),
    ) -> None:
        """`families`: the patterns of each, with their detectors and severities."""
        self._detectors = dict(DETECTORS)
        self._tagger, self._group_over = Tagger(config.tags), config.group_over
        self._severity = {
            "spike": config.spike.severity, "level_shift": config.level_shift.severity,
            "variance_shift": config.variance_shift.severity, "feed_flat": config.flat.severity,
            "feed_stale": config.stale.severity, "feed_resumed": config.stale.severity,
            "feed_unavailable": config.availability.severity,
            "feed_available": config.availability.severity,
        }  # fmt: skip
        for detectors, severities in families:
            self._detectors |= detectors
            self._severity |= severities
        self._order = {pattern: place for place, pattern in enumerate(self._detectors)}

    def records(
        self, findings: Iterable[Finding], ref: str, snapshot: Snapshot, cadence_ns: int
    ) -> list[PatternRecord]:
        groups: dict[tuple[str, Direction], list[Finding]] = {}
        for finding in findings:
            groups.setdefault((finding.pattern, finding.direction), []).append(finding)
        records = []
        for key in sorted(groups, key=lambda key: (self._order[key[0]], key[1])):
            found = sorted(groups[key], key=lambda finding: (-finding.score, finding.series))
            together = [found] if len(found) > self._group_over else [[one] for one in found]
            records += [self._record(group, ref, snapshot, cadence_ns) for group in together]
        return records

    def _record(self, found: list[Finding], ref: str, snapshot: Snapshot, cadence_ns: int) -> PatternRecord:
        first = found[0]
        pattern, detector = first.pattern, self._detectors[first.pattern]
        series = tuple(finding.series for finding in found)
        evidence: Mapping[str, Any] = first.evidence
        if len(found) > 1:
            evidence = {name: [finding.evidence[name] for finding in found] for name in first.evidence}
        parts = (part for one in series for part in one)
        return PatternRecord(
            id=derive("pattern", ref, detector, pattern, first.direction, *parts),
            pattern=pattern, series=series, score=first.score, severity=self.severity(pattern, first.score),
            direction=first.direction, tags=self._tagger.tags(pattern, series), detector=detector,
            evidence=evidence, snapshot=ref, event_ns=snapshot.event_ns, time_ns=snapshot.ingest_ns,
            cadence_ns=cadence_ns,
        )  # fmt: skip

    def severity(self, pattern: str, score: float) -> Severity:
        cuts = self._severity[pattern]
        return "critical" if score >= cuts.critical else "warning" if score >= cuts.warning else "info"
