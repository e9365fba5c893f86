"""Decisions of a period: judgments, blocks with their lengths, how they ended, and what people did.

A block begins with its record and ends with its release, or with the block that took its place; what stood
when the period began is folded from the records before it. Lengths are of what lies in the period, unless
they are said to be whole.
"""

from __future__ import annotations

from array import array
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any, Final

from observer_core.decision_pipeline.blocking import BY_HAND, KILL, OPERATOR
from observer_core.decision_pipeline.scopes import DOMAIN
from observer_core.runtime.reading.lines import Line
from observer_core.runtime.reports.stretch import Stretches
from observer_core.shared.canonical import decode

SHOWN: Final = 25
_OVERRIDE: Final = "override"
_BEFORE: Final = (b'"verdict":"block"', b'"verdict":"release"', b'"policy":"risk"', b'"policy":"override"')
_OF_PEOPLE: Final = frozenset((OPERATOR, KILL, _OVERRIDE))


@dataclass(slots=True)
class Blocked:
    """One block. `to_ns` None: it stood when the period ended.

    `whole_ns`: from its begin up to its end, or the period's. `ended`: the code of its release, `replaced`,
    or None.
    """

    scope: str
    policy: str
    code: str
    text: str
    severity: str
    from_ns: int
    to_ns: int | None
    record: str
    ended: str | None = None
    ended_by: str = ""
    whole_ns: int = 0
    length_ns: int = 0


@dataclass(slots=True)
class Sum:
    """Of several blocks: how many began in the period, how many stood before, how long they lasted in it."""

    begun: int = 0
    stood: int = 0
    total_ns: int = 0
    longest_ns: int = 0
    newest_ns: int = 0
    newest: str = ""


@dataclass(frozen=True, slots=True)
class Act:
    """What a person did, or asked. `what`: the code of the decision, `text` as it was recorded."""

    time_ns: int
    what: str
    scope: str
    author: str
    text: str
    record: str


@dataclass(slots=True)
class Decided:
    """`verdicts` counts all decisions of the period; `judgments` by policy, `withheld` by policy and code.

    `blocked_ns`: time in which at least one block stood; `domain_ns`: one on the whole domain. `risk_ns`: how
    long the domain was at each level of risk.
    """

    verdicts: Counter[str] = field(default_factory=Counter)
    judgments: Counter[str] = field(default_factory=Counter)
    withheld: Counter[tuple[str, str]] = field(default_factory=Counter)
    released: Counter[str] = field(default_factory=Counter)
    by_policy: dict[str, Sum] = field(default_factory=dict)
    by_reason: dict[str, Sum] = field(default_factory=dict)
    scopes: dict[str, int] = field(default_factory=dict)
    shown: list[Blocked] = field(default_factory=list)
    spans: list[tuple[int, int]] = field(default_factory=list)
    blocks: int = 0
    standing: int = 0
    blocked_ns: int = 0
    domain_ns: int = 0
    risk_ns: Counter[str] = field(default_factory=Counter)
    acts: list[Act] = field(default_factory=list)
    act_count: int = 0
    times: array[int] = field(default_factory=lambda: array("q"))
    quarantined: int = 0
    sure: bool = True
    refs: str = ""


def decided(stretches: Stretches, domain: str) -> Decided:
    return _Fold(stretches, domain).run()


class _Fold:
    def __init__(self, stretches: Stretches, domain: str) -> None:
        self._stretches, self._name = stretches, f"decisions.{domain}"
        self._standing: dict[tuple[str, str], Blocked] = {}
        self._found = Decided(sure=stretches.reaches(self._name))
        self._level, self._level_ns = "calm", stretches.period.start_ns

    def run(self) -> Decided:
        found, period = self._found, self._stretches.period
        for line in self._stretches.earlier(self._name, _stands):
            value = decode(line.raw)
            if value.get("kind") == "decision":
                for _ in self._block(line, value):
                    pass
                self._risk(value, period.start_ns)
        spans: list[tuple[int, int]] = []
        whole: list[tuple[int, int]] = []
        for line in self._stretches.lines(self._name):
            value = decode(line.raw)
            if value.get("kind") != "decision":
                found.quarantined += value.get("kind") == "quarantine"
                continue
            self._count(line, value)
            for one in self._block(line, value):
                self._add(one, spans, whole)
            self._risk(value, line.time_ns)
        for one in self._standing.values():
            found.standing += 1
            self._add(one, spans, whole)
        found.risk_ns[self._level] += period.until_ns - self._level_ns
        found.spans = union(spans)
        found.blocked_ns = sum(end - start for start, end in found.spans)
        found.domain_ns = sum(end - start for start, end in union(whole))
        found.shown = _longest(found.shown)
        found.scopes = dict(sorted(found.scopes.items(), key=lambda item: (-item[1], item[0]))[:SHOWN])
        found.refs = self._stretches.volume(self._name).refs
        return found

    # ------------------------------------------------------------------ one record

    def _count(self, line: Line, value: dict[str, Any]) -> None:
        found, policy, verdict = self._found, value["policy"], value["verdict"]
        reason = value["reasons"][0] if value["reasons"] else {}
        code = str(reason.get("code", "?"))
        found.verdicts[verdict] += 1
        if policy != "risk" and verdict != "non_execution":
            found.times.append(line.time_ns)
        if verdict == "judgment" and policy not in (*_OF_PEOPLE, "risk"):
            found.judgments[policy] += 1
        elif verdict == "non_execution":
            found.withheld[policy, code] += 1
        elif verdict == "release" and policy != _OVERRIDE:
            found.released[code] += 1
        author = reason.get("author")
        if author is not None and (policy in _OF_PEOPLE or code in ("command", "unkill")):
            if code == _OVERRIDE and policy != _OVERRIDE:
                return  # what an override has lifted
            found.act_count += 1
            found.acts.append(
                Act(line.time_ns, code if policy != KILL or verdict != "block" else KILL, value["scope"],
                    str(author), str(reason.get("text", "")), line.ref)
            )  # fmt: skip
            if len(found.acts) > 4 * SHOWN:
                del found.acts[: -2 * SHOWN]

    def _block(self, line: Line, value: dict[str, Any]) -> Iterator[Blocked]:
        """Those that end with this record."""
        verdict, policy, scope = value["verdict"], value["policy"], value["scope"]
        if verdict not in ("block", "release") or policy == _OVERRIDE:
            return
        reason = value["reasons"][0] if value["reasons"] else {}
        ended = self._standing.pop((scope, policy), None)
        if ended is not None:
            ended.to_ns, ended.ended_by = line.time_ns, line.ref
            ended.ended = "replaced" if verdict == "block" else str(reason.get("code", "?"))
            yield ended
        if verdict == "block":
            self._standing[scope, policy] = Blocked(
                scope, policy, str(reason.get("code", "?")), str(reason.get("text", "")), value["severity"],
                line.time_ns, None, line.ref,
            )  # fmt: skip

    def _add(self, one: Blocked, spans: list[tuple[int, int]], whole: list[tuple[int, int]]) -> None:
        found, period = self._found, self._stretches.period
        end_ns = period.until_ns if one.to_ns is None else one.to_ns
        one.whole_ns, one.length_ns = end_ns - one.from_ns, period.clip(one.from_ns, end_ns)
        found.blocks += 1
        for sums, key in ((found.by_policy, one.policy), (found.by_reason, one.code)):
            total = sums.setdefault(key, Sum())
            if one.from_ns >= period.start_ns:
                total.begun += 1
            else:
                total.stood += 1
            total.total_ns += one.length_ns
            total.longest_ns = max(total.longest_ns, one.whole_ns)
            if one.from_ns >= total.newest_ns:
                total.newest_ns, total.newest = one.from_ns, one.record
        found.scopes[one.scope] = found.scopes.get(one.scope, 0) + one.length_ns
        found.shown.append(one)
        if len(found.shown) > 50 * SHOWN:
            found.shown = _longest(found.shown)
        span = max(one.from_ns, period.start_ns), min(end_ns, period.until_ns)
        if one.scope == DOMAIN:
            whole.append(span)
        spans.append(span)
        if len(spans) > 10_000:
            spans[:] = union(spans)

    def _risk(self, value: dict[str, Any], time_ns: int) -> None:
        if value["policy"] == "risk" and value["scope"] == DOMAIN and value["verdict"] == "judgment":
            self._found.risk_ns[self._level] += max(0, time_ns - self._level_ns)
            self._level = str(value["reasons"][0]["level"])
            self._level_ns = max(self._level_ns, time_ns)


def union(spans: Iterable[tuple[int, int]]) -> list[tuple[int, int]]:
    """The same moments in as few spans as possible, in order."""
    found: list[tuple[int, int]] = []
    for start, end in sorted(spans):
        if found and start <= found[-1][1]:
            found[-1] = found[-1][0], max(found[-1][1], end)
        elif end > start:
            found.append((start, end))
    return found


def by_hand(policy: str) -> bool:
    """Whether a person set it."""
    return policy in BY_HAND


def _stands(raw: bytes) -> bool:
    return any(mark in raw for mark in _BEFORE)


def _longest(found: list[Blocked]) -> list[Blocked]:
    return sorted(found, key=lambda one: (-one.length_ns, one.from_ns, one.scope, one.policy))[:SHOWN]
