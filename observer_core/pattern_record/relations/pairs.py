"""Correlations of a source's series: `correlation_break` and `correlation_restored`."""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from observer_core.pattern_record.detectors import correlation
from observer_core.pattern_record.detectors.correlation import Found
from observer_core.pattern_record.families import Seen
from observer_core.pattern_record.findings import Finding, number
from observer_core.pattern_record.plan import Plan
from observer_core.pattern_record.relations.settings import Correlation, Correlations
from observer_core.pattern_record.relations.watched import (
    Columns,
    Globs,
    Key,
    Watched,
    matches,
    observed,
    rule_of,
    together,
)
from observer_core.pattern_record.window import Floats
from observer_core.shared.records import Direction


@dataclass(slots=True)
class _View:
    """The pairs of which a plan has one side at least: cells (2, n), and which of them are `absent`."""

    cells: Columns
    absent: Any
    at: Any
    keys: list[Key]
    parameters: Floats
    mature: bool = False


class CorrelationBreaks:
    """Watches series whose changes go with those of another (see `detectors.correlation`).

    A `families.Family`. Said of the series that the rule is `of`. A row flagged `outlier_print` is
    no observation.
    """

    name = "correlations"
    detectors: ClassVar[Mapping[str, str]] = {
        "correlation_break": "correlation/1",
        "correlation_restored": "correlation/1",
    }

    def __init__(self, config: Correlations) -> None:
        self._rules = config.watch
        self._globs = [Globs(*rule.of) for rule in config.watch]
        self._parameters = np.array([_parameters(rule) for rule in config.watch]).T
        self.severities = dict.fromkeys(self.detectors, config.severity)

    def initial(self) -> Watched:
        return Watched(correlation.fresh())

    def observe(self, own: Watched, seen: Seen) -> list[Finding]:
        size, view = seen.plan.caches.get(self.name, (-1, None))
        if size != own.size:  # a pair that is new may have a side in an older plan
            view = self._view(own, seen.plan)
            seen.plan.caches[self.name] = own.size, view
        if view is None:
            return []
        x, good = observed(seen, view.cells)
        if view.absent is not None:
            good &= ~view.absent
        values = own.values[:, view.at]
        if not view.mature:
            view.mature = bool((values[correlation.COUNT] >= view.parameters[correlation.MATURE]).all())
        now = float(seen.snapshot.ingest_ns - (seen.state.origin_ns or 0))
        found = correlation.observe(
            values, view.parameters, x, good, seen.state.clock, now, mature=view.mature, busy=own.busy
        )
        if not isinstance(view.at, slice):
            own.values[:, view.at] = values
        if found is None:
            return []
        own.busy = correlation.busy(own.values[:, : own.size])
        return _findings(seen, view, found)

    def forget(self, own: Watched, subjects: Collection[str]) -> None:
        own.forget(subjects)

    def dump(self, own: Watched) -> bytes:
        return own.dump()

    def load(self, blob: bytes) -> Watched:
        """Without the pairs that no rule is of any more."""
        own = self.initial()
        own.load(blob, self._knows)
        own.busy = correlation.busy(own.values[:, : own.size])
        return own

    def _knows(self, key: Key) -> bool:
        rule = rule_of(self._globs, key[0], key[1])
        return rule is not None and self._rules[rule].against == key[2:]

    def _view(self, own: Watched, plan: Plan) -> _View | None:
        """Pairs are known by the series that they are of, from when that is first named."""
        for _, subject, field, rule in matches(self._globs, plan):
            against = self._rules[rule].against
            if (subject, field) != against:
                own.column((subject, field, *against))
        cells: dict[int, list[int | None]] = {}
        for block, field in enumerate(plan.fields):
            for subject, row in plan.row_of.items():
                for place in own.columns_of(subject, field):
                    side = 0 if own.keys[place][:2] == (subject, field) else 1
                    cells.setdefault(place, [None, None])[side] = block * len(plan.row_of) + row
        if not cells:
            return None
        places = sorted(cells)
        sides = [[cells[place][side] for place in places] for side in (0, 1)]
        absent = np.array([[cell is None for cell in side] for side in sides])
        rules = np.array([rule_of(self._globs, *own.keys[place][:2]) for place in places], np.intp)
        return _View(
            cells=np.array([[cell or 0 for cell in side] for side in sides], np.intp),
            absent=absent if absent.any() else None, at=together(np.array(places, np.intp)),
            keys=[own.keys[place] for place in places],
            parameters=np.ascontiguousarray(self._parameters[:, rules]),
        )  # fmt: skip


def _parameters(rule: Correlation) -> list[float]:
    worth, slow_worth, warm_up = 2 * rule.span - 1, 2 * rule.slow_span - 1, 2 * rule.span
    values = dict.fromkeys(range(correlation.PARAMETERS), 0.0)
    values |= {
        correlation.EVERY: rule.every, correlation.GAIN: 1.0 / rule.span,
        correlation.SLOW_GAIN: 1.0 / rule.slow_span, correlation.WORTH: worth,
        correlation.SLOW_WORTH: slow_worth, correlation.WARM_UP: warm_up,
        correlation.MATURE: max(slow_worth, warm_up + 1, 21), correlation.AT_LEAST: rule.at_least,
        correlation.DROP: rule.drop, correlation.SIGMAS: rule.sigmas,
        correlation.NOISE: rule.sigmas * math.sqrt(1.0 / worth + 1.0 / slow_worth),
        correlation.FLOOR: math.nan if rule.floor is None else rule.floor, correlation.HOLD: rule.hold,
        correlation.LEAVE: rule.leave, correlation.ACCEPT: rule.accept if rule.floor is None else math.inf,
    }  # fmt: skip
    return list(values.values())


def _findings(seen: Seen, view: _View, found: Found) -> list[Finding]:
    """What is to be told, pair by pair."""
    findings = []
    sampled = np.flatnonzero(found.at)
    origin = seen.state.origin_ns or 0
    for i in np.flatnonzero(found.begun | found.restored | found.accepted).tolist():
        subject, field, *against = view.keys[int(sampled[i])]
        onset = origin + round(found.onset[i])
        evidence: dict[str, Any] = {
            "value": number(found.now[i]), "expected": number(found.usual[i]),
            "lowest": number(found.lowest[i]), "samples": int(found.worth[i]),
            "expected_samples": int(found.slow_worth[i]), "onset_ns": onset, "against": " ".join(against),
        }  # fmt: skip
        series = (seen.source, subject, field)
        if found.begun[i]:
            score = float(found.score[i])
            findings.append(Finding("correlation_break", "down", series, score, evidence))
        else:
            evidence["lasted_ns"] = max(0, seen.snapshot.ingest_ns - onset)
            evidence["accepted"] = int(found.accepted[i])
            direction: Direction = "none" if found.accepted[i] else "up"
            findings.append(Finding("correlation_restored", direction, series, 0.0, evidence))
    return findings
