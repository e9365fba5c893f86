"""Judgment: the risk state of each subject, each source and the domain, with its arithmetic in the record.

An event adds weight(severity) × score points to the bucket of its subject (of its source, when it
names no single subject); one point leaks every `leak`, in the domain's time. A level rises at
`elevated` and `critical` and falls at the lower `elevated_leave` and `critical_leave`
(hysteresis). What a bucket holds at any moment follows from the last addition, so it does not
matter how often it is looked at.

* subject: the level of its bucket.
* source: the worse of its own bucket and of the total of its own bucket and those of the subjects it
  has reported of.
* domain (`*`): the worst level of any subject or source, or that of the total of all buckets where
  this is worse: one very bad subject shows, and so do many that are each a little bad.

Each change of one of these levels is a decision of policy `risk`.
"""

from __future__ import annotations

from collections.abc import Iterable

from observer_core.decision_pipeline.buckets import Bucket, Total, listing
from observer_core.decision_pipeline.levels import JudgmentConfig, Levels, below, leave, plain, risen
from observer_core.decision_pipeline.ruling import rule
from observer_core.decision_pipeline.scopes import DOMAIN, source_scope
from observer_core.decision_pipeline.signals import Signal
from observer_core.decision_pipeline.views import RISK_LEVELS, RiskLevel
from observer_core.shared.records import Decision, Json, Severity
from observer_core.shared.timers import Timers

LEAK_CADENCES = 5
"""A point takes at least this many cadences of the data to leak."""
_LISTED = 8
"""A record names so many scopes; it always counts them all."""

_SEVERITY: dict[RiskLevel, Severity] = {"calm": "info", "elevated": "warning", "critical": "critical"}

__all__ = ["JudgmentConfig", "Risks"]


class Risks:
    """The buckets of a domain by scope, the totals of its sources and its own, and what they come to."""

    def __init__(self, config: JudgmentConfig, timers: Timers) -> None:
        self._config, self._timers = config, timers
        self._weights = config.weights.model_dump()
        self._buckets: dict[str, Bucket] = {}
        self._totals: dict[str, Total] = {}
        self._tense: dict[RiskLevel, int] = dict.fromkeys(RISK_LEVELS, 0)
        """How many subjects and sources are at each level."""
        self.levels: dict[str, RiskLevel] = {}
        """Of every scope that is not calm, the domain's included."""
        self.version = 0

    def add(self, signal: Signal) -> list[Decision]:
        """The signal's points; a decision for each level that they change."""
        weight = self._weights[signal.severity]
        if not signal.risky or weight * signal.score <= 0:
            return []
        scope, now_ns = signal.own_scope, signal.time_ns
        bucket = self._buckets.get(scope)
        fresh = bucket is None
        if bucket is None:
            bucket = self._buckets[scope] = Bucket()
        self._leave_totals(bucket)
        bucket.pour(
            ref=signal.ref, kind=signal.kind, severity=signal.severity, weight=weight, score=signal.score,
            source=signal.source, now_ns=now_ns, capacity=self._config.capacity,
            leak_ns=max(self._config.leak, LEAK_CADENCES * signal.cadence_ns),
        )  # fmt: skip
        self._join_totals(bucket)
        level = risen(bucket.level, bucket.points(now_ns), self._config)
        changed = [scope] if level != bucket.level else []
        bucket.level = level
        # What is added moves a fall to later: a timer that is armed fires too early, and looks again.
        if fresh or changed:
            self._timers.arm(self._falls_ns(bucket, now_ns), "risk", scope)
        for group in _groups(bucket):
            total = self._totals[group]
            total.cause = signal.ref
            level = risen(total.level, total.points(now_ns), self._limits(group))
            if level != total.level:
                total.level = level
                self._wait(group, total, now_ns)
                changed.append(group)
        if not changed:
            return []
        return self._judged(dict.fromkeys((*changed, DOMAIN)), now_ns, signal.ref, signal.evidence)

    def fall(self, scope: str, due_ns: int) -> list[Decision]:
        """The bucket has leaked down to where its level is left; an empty one is forgotten."""
        bucket = self._buckets[scope]
        falls_ns = self._falls_ns(bucket, due_ns)
        if falls_ns > due_ns:  # something was added since it was armed
            self._timers.arm(falls_ns, "risk", scope)
            return []
        if bucket.level == "calm":
            self._leave_totals(bucket)
            del self._buckets[scope]
            return []
        bucket.level = below(bucket.level)
        self._timers.arm(self._falls_ns(bucket, due_ns), "risk", scope)
        return self._judged((scope, DOMAIN), due_ns, bucket.cause, {})

    def fall_total(self, group: str, due_ns: int) -> list[Decision]:
        """The total may have leaked down to where its level is left."""
        total = self._totals[group]
        if total.points(due_ns) <= leave(self._limits(group), total.level):
            total.level = below(total.level)
        cause = total.cause
        self._wait(group, total, due_ns)
        return self._judged(dict.fromkeys((group, DOMAIN)), due_ns, cause, {})

    def dump(self) -> Json:
        return {
            "buckets": {scope: bucket.dump() for scope, bucket in self._buckets.items()},
            "totals": {group: [total.level, total.cause] for group, total in self._totals.items()},
            "version": self.version,
        }

    def load(self, value: Json) -> None:
        self._buckets = {scope: Bucket.load(plain) for scope, plain in value["buckets"].items()}
        for scope, bucket in self._buckets.items():
            if not bucket.sources and scope.startswith("source:"):  # version 1 kept none
                bucket.sources.add(scope.partition(":")[2])
            self._join_totals(bucket)
        for group, (level, cause) in value.get("totals", {}).items():
            total = self._totals.setdefault(group, Total())
            total.level, total.cause = level, cause
        for scope in dict.fromkeys((*self._buckets, *self._totals)):
            if scope != DOMAIN:
                self._note(scope, self._level(scope))
        self._note(DOMAIN, self._level(DOMAIN))
        self.version = value["version"]

    # ------------------------------------------------------------------ levels

    def _level(self, scope: str) -> RiskLevel:
        """What the parts of a scope come to."""
        found: list[RiskLevel] = []
        if scope in self._buckets:
            found.append(self._buckets[scope].level)
        if scope in self._totals:
            found.append(self._totals[scope].level)
        if scope == DOMAIN:
            found += [level for level, count in self._tense.items() if count]
        return max(found, key=RISK_LEVELS.index, default="calm")

    def _note(self, scope: str, level: RiskLevel) -> RiskLevel:
        """The scope is at this level from now on; gives the one before."""
        was = self.levels.pop(scope, "calm")
        if level != "calm":
            self.levels[scope] = level
        if scope != DOMAIN and was != level:
            for changed, by in ((was, -1), (level, 1)):
                if changed != "calm":
                    self._tense[changed] += by
        return was

    def _judged(self, scopes: Iterable[str], time_ns: int, cause: str, evidence: Json) -> list[Decision]:
        """A decision for each of the scopes whose level is another one now; the domain stands last."""
        decisions = []
        for scope in scopes:
            level = self._level(scope)
            was = self._note(scope, level)
            if was != level:
                self.version += 1
                text = self._text(scope, was, level, time_ns)
                arithmetic = self._arithmetic(scope, time_ns)
                reason = {"code": "risk", "text": text, "level": level, "from": was, **arithmetic}
                decisions.append(
                    rule(
                        "judgment", scope, policy="risk", reason=reason, time_ns=time_ns, causation=(cause,),
                        severity=_SEVERITY[level], evidence=evidence, also=(was, level),
                    )
                )  # fmt: skip
        return decisions

    # ------------------------------------------------------------------ arithmetic

    def _arithmetic(self, scope: str, now_ns: int) -> Json:
        parts: Json = {}
        if bucket := self._buckets.get(scope):
            parts["own"] = {
                **bucket.arithmetic(now_ns, self._config.capacity), "limits": plain(self._config),
            }  # fmt: skip
        if total := self._totals.get(scope):
            members = (item for item in self._buckets.items() if scope in _groups(item[1]))
            parts["total"] = {
                "level": total.level, "points": total.points(now_ns), "limits": plain(self._limits(scope)),
                **listing(members, now_ns, _LISTED),
            }  # fmt: skip
        if scope == DOMAIN:
            parts["worst"] = self._worst(now_ns)
        return parts

    def _worst(self, now_ns: int) -> Json:
        """The subjects and sources at the worst level."""
        level = max((lv for lv, count in self._tense.items() if count), key=RISK_LEVELS.index, default="calm")
        at = sorted(scope for scope, lv in self.levels.items() if lv == level and scope != DOMAIN)
        return {"level": level, "count": len(at), "scopes": at[:_LISTED]}

    def _text(self, scope: str, was: RiskLevel, level: RiskLevel, now_ns: int) -> str:
        said = []
        if bucket := self._buckets.get(scope):
            said.append(f"at {bucket.points(now_ns):.2f} points")
        if total := self._totals.get(scope):
            said.append(f"in total {total.points(now_ns):.2f} points of {total.members}")
        if scope == DOMAIN and (worst := self._worst(now_ns))["count"]:
            more = f" and {worst['count'] - 1} more" if worst["count"] > 1 else ""
            said.append(f"worst {worst['scopes'][0]}{more} ({worst['level']})")
        return f"risk of {scope} went from {was} to {level} {', '.join(said)}".rstrip()

    # ------------------------------------------------------------------ totals

    def _limits(self, group: str) -> Levels:
        return self._config.domain if group == DOMAIN else self._config.source

    def _leave_totals(self, bucket: Bucket) -> None:
        for group in _groups(bucket):
            total = self._totals[group]
            total.take(bucket)
            if not total.members and total.level == "calm":
                del self._totals[group]

    def _join_totals(self, bucket: Bucket) -> None:
        for group in _groups(bucket):
            self._totals.setdefault(group, Total()).put(bucket)

    def _falls_ns(self, bucket: Bucket, now_ns: int) -> int:
        return max(now_ns, bucket.reaches_ns(leave(self._config, bucket.level)))

    def _wait(self, group: str, total: Total, now_ns: int) -> None:
        """Until it may leave its level; a calm one need not, and without members it is forgotten."""
        if total.level != "calm":
            due_ns = total.reaches_ns(leave(self._limits(group), total.level), now_ns)
            self._timers.arm(due_ns, "total", group)
        else:
            self._timers.disarm("total", group)
            if not total.members:
                del self._totals[group]


def _groups(bucket: Bucket) -> list[str]:
    """The totals that a bucket is in; in one that is empty there is none."""
    if not bucket.sources:
        return [DOMAIN] if bucket.inputs or bucket.carried else []
    if len(bucket.sources) == 1:
        return [source_scope(next(iter(bucket.sources))), DOMAIN]
    return [*map(source_scope, sorted(bucket.sources)), DOMAIN]
