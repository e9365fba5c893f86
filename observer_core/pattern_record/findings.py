"""From what detectors found to pattern records: severity, tags, and many at once as one."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from observer_core.pattern_record import config as settings
from observer_core.pattern_record import frequency
from observer_core.pattern_record.state import RecogniserState
from observer_core.pattern_record.tagging import Tagger
from observer_core.shared.ids import derive
from observer_core.shared.records import Direction, PatternRecord, Series, Severity, Snapshot, worst

DETECTORS: Mapping[str, str] = {
    "spike": "ewma_spike/1", "level_shift": "cusum/1", "variance_shift": "variance_shift/1",
    "feed_flat": "flat/1", "feed_stale": "stale/2", "feed_resumed": "stale/2",
    "venue_halt": "halt/1", "venue_resumed": "halt/1",
    "feed_unavailable": "availability/1", "feed_available": "availability/1",
}  # fmt: skip
"""The patterns that every series can have, each with its detector and the detector's version.

In the order of the records; those of the families follow.
"""

_LARGEST = 1.7e308
_APART = frozenset(("venue_halt", "venue_resumed"))
"""However many series they have, there is one record for each of their halts."""

Evidence = Mapping[str, float | int | str]


@dataclass(frozen=True, slots=True)
class Finding:
    """One pattern in one series. `score` is in [0, 1]; 0.5 is the alarm threshold.

    Findings of one pattern and direction with equal `together` share a record.
    """

    pattern: str
    direction: Direction
    series: Series
    score: float
    evidence: Evidence
    together: str | None = None


def number(value: Any) -> float:
    """A finite plain float: what is beyond the largest is the largest."""
    return min(max(float(value), -_LARGEST), _LARGEST)


class Reporter:
    """Makes records of the findings in one snapshot.

    One record a series (or for those that go `together`), by pattern, then direction, then falling score,
    then name; where a pattern has more than `group_over` series in one direction they share one record, whose
    evidence holds lists in the order of its series, and whose severity is the gravest of theirs.
    """

    __slots__ = ("_calibrated", "_detectors", "_frequency", "_group_over", "_order", "_severity", "_tagger")

    def __init__(
        self,
        config: settings.RecogniserConfig,
        families: Iterable[tuple[Mapping[str, str], Mapping[str, settings.Severity]]] = (),
    ) -> None:
        """`families`: the patterns of each, with their detectors and severities."""
        self._detectors = dict(DETECTORS)
        self._tagger, self._group_over = Tagger(config.tags), config.group_over
        self._frequency = config.frequency
        self._severity = {
            "spike": config.spike.severity, "level_shift": config.level_shift.severity,
            "variance_shift": config.variance_shift.severity, "feed_flat": config.flat.severity,
            "feed_stale": config.stale.severity, "feed_resumed": config.stale.severity,
            "venue_halt": config.halt.severity, "venue_resumed": config.halt.severity,
            "feed_unavailable": config.availability.severity,
            "feed_available": config.availability.severity,
        }  # fmt: skip
        for detectors, severities in families:
            self._detectors |= detectors
            self._severity |= severities
        self._calibrated = frozenset(filter(frequency.calibrated, self._detectors))
        self._order = {pattern: place for place, pattern in enumerate(self._detectors)}

    def records(
        self, findings: Iterable[Finding], ref: str, snapshot: Snapshot, state: RecogniserState
    ) -> list[PatternRecord]:
        """Of what a series has alarmed with, the state remembers how often."""
        groups: dict[tuple[str, Direction], list[Finding]] = {}
        for finding in findings:
            groups.setdefault((finding.pattern, finding.direction), []).append(finding)
        records = []
        for key in sorted(groups, key=lambda key: (self._order[key[0]], key[1])):
            found = sorted(groups[key], key=lambda finding: (-finding.score, finding.series))
            records += [self._record(group, ref, snapshot, state) for group in self._groups(found)]
        return records

    def _groups(self, found: list[Finding]) -> list[list[Finding]]:
        if len(found) > self._group_over and found[0].pattern not in _APART:
            return [found]
        groups: dict[object, list[Finding]] = {}
        for at, finding in enumerate(found):
            groups.setdefault(at if finding.together is None else finding.together, []).append(finding)
        return list(groups.values())

    def _record(
        self, found: list[Finding], ref: str, snapshot: Snapshot, state: RecogniserState
    ) -> PatternRecord:
        first = found[0]
        pattern, detector = first.pattern, self._detectors[first.pattern]
        series = tuple(finding.series for finding in found)
        judged = [self._judge(finding, state) for finding in found]
        evidence: Mapping[str, Any] = judged[0][1]
        if len(found) > 1:
            evidence = {name: [own[name] for _, own in judged] for name in evidence}
        parts = (part for one in series for part in one)
        return PatternRecord(
            id=derive("pattern", ref, detector, pattern, first.direction, *parts),
            pattern=pattern, series=series, score=first.score, severity=worst([own for own, _ in judged]),
            direction=first.direction, tags=self._tagger.tags(pattern, series), detector=detector,
            evidence=evidence, snapshot=ref, event_ns=snapshot.event_ns, time_ns=snapshot.ingest_ns,
            cadence_ns=round(state.cadence),
        )  # fmt: skip

    def _judge(self, finding: Finding, state: RecogniserState) -> tuple[Severity, Evidence]:
        """How grave a finding is, and its evidence with how common it is."""
        pattern, evidence, severity = finding.pattern, finding.evidence, self._by_score(finding)
        if pattern not in self._calibrated:
            return severity, evidence
        _, subject, field = finding.series
        now_ns, begun_ns = state.last_ingest or 0, state.begun_ns(subject, field)
        key = (pattern, finding.direction, subject, field)
        clusters = state.alarms.setdefault(key, frequency.Clusters(begun_ns))
        strength = frequency.strength(pattern, finding.score, evidence)
        # Counted in any case: who asks for it later is not told that a habit was never seen before.
        habit = clusters.add(strength, now_ns, frequency.length_ns(state.cadence))
        if not (self._frequency.enabled and self._severity[pattern].calibrated):
            return severity, evidence
        severity = frequency.milder(severity, habit.cap(now_ns - begun_ns, self._frequency))
        often = {"recurrences": habit.recurrences, "return_period_ns": habit.return_period_ns}
        return severity, {**evidence, **often}

    def _by_score(self, finding: Finding) -> Severity:
        cuts = self._severity[finding.pattern]
        return (
            "critical" if finding.score >= cuts.critical
            else "warning" if finding.score >= cuts.warning else "info"
        )  # fmt: skip
