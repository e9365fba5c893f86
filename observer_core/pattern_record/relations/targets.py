"""Relations of a source's series: `relation_break` and `relation_restored`."""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from observer_core.pattern_record.detectors import relation
from observer_core.pattern_record.detectors.relation import Found
from observer_core.pattern_record.families import Seen
from observer_core.pattern_record.findings import Finding, number
from observer_core.pattern_record.plan import Plan
from observer_core.pattern_record.relations.settings import Relation, Relations
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
    """The watched cells of a plan, their columns, and what their rules say."""

    cells: Columns
    columns: Columns
    at: Any
    parameters: Floats
    mature: bool = False


class RelationBreaks:
    """Watches what keeps near a target, stated or learnt (see `detectors.relation`). A `families.Family`.

    A row flagged `outlier_print` is no observation.
    """

    name = "relations"
    detectors: ClassVar[Mapping[str, str]] = {
        "relation_break": "relation/1",
        "relation_restored": "relation/1",
    }

    def __init__(self, config: Relations) -> None:
        self._globs = [Globs(rule.subject, rule.field) for rule in config.rules]
        self._parameters = np.array([_parameters(rule) for rule in config.rules]).T
        self.severities = dict.fromkeys(self.detectors, config.severity)

    def initial(self) -> Watched:
        return Watched(relation.fresh())

    def observe(self, own: Watched, seen: Seen) -> list[Finding]:
        if self.name not in seen.plan.caches:
            seen.plan.caches[self.name] = self._view(own, seen.plan)
        view: _View | None = seen.plan.caches[self.name]
        if view is None:
            return []
        x, good = observed(seen, view.cells)
        cells, at, parameters = view.cells, view.at, view.parameters
        present = int(np.count_nonzero(good))
        if not present:
            return []
        if present < len(x):
            kept = np.flatnonzero(good)
            x, cells, at, parameters = x[kept], cells[kept], view.columns[kept], parameters[:, kept]
        values = own.values[:, at]
        if not view.mature and present == len(view.cells):
            view.mature = bool((values[relation.COUNT] >= parameters[relation.MATURE]).all())
        now = float(seen.snapshot.ingest_ns - (seen.state.origin_ns or 0))
        found = relation.observe(values, parameters, x, now, mature=view.mature, busy=own.busy)
        if not isinstance(at, slice):
            own.values[:, at] = values
        if found is None:
            return []
        own.busy = relation.busy(own.values[:, : own.size])
        return _findings(seen, cells, values, parameters, x, found)

    def forget(self, own: Watched, subjects: Collection[str]) -> None:
        own.forget(subjects)

    def dump(self, own: Watched) -> bytes:
        return own.dump()

    def load(self, blob: bytes) -> Watched:
        """Without the series that no rule is of any more."""
        own = self.initial()
        own.load(blob, lambda key: rule_of(self._globs, *_name(key)) is not None)
        own.busy = relation.busy(own.values[:, : own.size])
        return own

    def _view(self, own: Watched, plan: Plan) -> _View | None:
        found = matches(self._globs, plan)
        if not found:
            return None
        columns = np.array([own.column((subject, field)) for _, subject, field, _ in found], np.intp)
        cells = np.array([cell for cell, *_ in found], np.intp)
        parameters = np.ascontiguousarray(self._parameters[:, [rule for *_, rule in found]])
        return _View(cells, columns, together(columns), parameters)


def _name(key: Key) -> tuple[str, str]:
    return key[0], key[1]


def _parameters(rule: Relation) -> list[float]:
    values = dict.fromkeys(range(relation.PARAMETERS), 0.0)
    values |= {
        relation.TARGET: math.nan if rule.target is None else rule.target, relation.SHARE: rule.share,
        relation.ABSOLUTE: rule.absolute, relation.SIGMAS: rule.scales, relation.GAIN: 1.0 / rule.span,
        relation.WARM_UP: rule.warm_up if rule.target is None or rule.scales else 0,
        relation.MATURE: max(rule.span, rule.warm_up + 1), relation.HOLD: rule.hold,
        relation.LASTING: rule.lasting, relation.LEAVE: rule.leave,
        relation.ACCEPT: math.inf if rule.target is not None else rule.accept,
    }  # fmt: skip
    return list(values.values())


def _findings(
    seen: Seen, cells: Columns, values: Floats, parameters: Floats, x: Floats, found: Found
) -> list[Finding]:
    """What is to be told, series by series."""
    findings = []
    for i in np.flatnonzero(found.begun | found.worse).tolist():
        distance, allowed = number(found.distance[i]), number(found.allowed[i])
        expected = number(found.expected[i])
        tolerance = parameters[relation.SHARE, i] * abs(expected) + parameters[relation.ABSOLUTE, i]
        evidence = {
            **_common(seen, found, x, values, i), "tolerance": number(tolerance),
            "scale": number(values[relation.SCALE, i]), "low": number(expected - allowed),
            "high": number(expected + allowed), "told": number(found.before[i]),
            "hold": int(parameters[relation.HOLD, i]),
        }  # fmt: skip
        direction: Direction = "up" if x[i] > expected else "down"
        score = distance / (distance + allowed)
        findings.append(Finding("relation_break", direction, seen.series(int(cells[i])), score, evidence))
    for i in np.flatnonzero(found.restored | found.accepted).tolist():
        evidence = {
            **_common(seen, found, x, values, i), "lasted_ns": max(0, round(found.lasted[i])),
            "accepted": int(found.accepted[i]), "target": number(values[relation.LEVEL, i]),
        }  # fmt: skip
        findings.append(Finding("relation_restored", "none", seen.series(int(cells[i])), 0.0, evidence))
    return findings


def _common(seen: Seen, found: Found, x: Floats, values: Floats, i: int) -> dict[str, float | int]:
    return {
        "value": number(x[i]), "expected": number(found.expected[i]), "allowed": number(found.allowed[i]),
        "onset_ns": (seen.state.origin_ns or 0) + round(values[relation.ONSET, i]),
    }  # fmt: skip
