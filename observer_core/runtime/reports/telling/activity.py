"""Incidents, decisions, what was not executed, the gate, and how often detectors were right."""

from __future__ import annotations

from collections.abc import Iterator

from observer_core.runtime.reports.charts import Bar, Lane, Span, bars, columns, lanes
from observer_core.runtime.reports.decided import Sum
from observer_core.runtime.reports.document import Block, Figure, Figures, Remark, Section, Table
from observer_core.runtime.reports.facts import Facts
from observer_core.runtime.reports.telling.available import few
from observer_core.runtime.reports.telling.parts import (
    asking,
    basis,
    bins,
    cells,
    counted,
    labels,
    listed,
    listing,
    ticks,
    unsure,
)
from observer_core.runtime.reports.words import NOTHING, Words

_ROWS = 20
_SEVERITIES = ("critical", "warning", "info")


def incidents(facts: Facts, words: Words) -> Section:
    found = facts.incidents
    blocks: list[Block] = [
        Figures(
            [
                Figure(
                    words("figure.opened"),
                    words.number(found.opened.total()),
                    _severities(found.opened, words),
                ),
                Figure(
                    words("figure.resolved"),
                    words.number(found.resolved.total()),
                    _severities(found.resolved, words),
                ),
                Figure(
                    words("figure.open"),
                    words.number(found.open.total()),
                    _severities(found.open, words),
                    "bad" if found.open["critical"] else "warn" if found.open else "ok",
                ),
                Figure(words("figure.lasted"), words.span(found.longest_ns) if found.count else NOTHING),
            ]
        )
    ]
    blocks += unsure(words, found.sure)
    if found.started:
        stretches = bins(facts.period)
        blocks.append(
            columns(
                "incidents-chart",
                words("chart.incidents"),
                words("chart.incidents.desc"),
                counted(found.started, stretches),
                labels(words, facts.period, stretches),
            )
        )
    rows = [
        [
            words(f"severity.{one.severity}"),
            words.short(one.opened_ns),
            words("still") if one.resolved_ns is None else words.short(one.resolved_ns),
            words.span(one.lasted_ns),
            one.venue,
            f"{one.first[1]} {one.first[2]}",
            few([f"{name} ×{count}" for name, count in one.patterns.items()], words),
            words.number(one.series),
            words("feedback.counts", right=one.right, wrong=one.wrong) if one.right or one.wrong else NOTHING,
            one.record,
        ]
        for one in found.shown
    ]
    names = (
        "severity",
        "opened",
        "resolved",
        "length",
        "venue",
        "lead",
        "patterns",
        "series",
        "feedback",
        "record",
    )
    head = [words(f"column.{name}") for name in names]
    table = Table(words("table.incidents"), head, rows, frozenset((3, 7)), frozenset((4, 9)))
    blocks += listed(words, table, _ROWS, found.count) or [Remark(words("remark.no_incidents"))]
    blocks.append(
        basis(
            words,
            ["incident", "lead", "lasted", "feedback"],
            [found.refs],
            [
                listing("incidents", facts.domain, facts.period),
                listing("events", facts.domain, facts.period, "--type 'incident.*'"),
            ],
        )
    )
    return Section("incidents", words("section.incidents"), blocks)


def decisions(facts: Facts, words: Words) -> Section:
    found, period = facts.decided, facts.period
    length_ns = max(1, period.length_ns)
    blocks: list[Block] = [
        Figures(
            [
                Figure(
                    words("figure.blocks"),
                    words.number(sum(one.begun for one in found.by_policy.values())),
                    words("figure.blocks.note", count=found.standing),
                    "warn" if found.standing else "none",
                ),
                Figure(
                    words("figure.blocked"),
                    words.span(found.blocked_ns),
                    words("figure.blocked.note", share=words.share(found.blocked_ns / length_ns, 1)),
                ),
                Figure(
                    words("figure.whole"),
                    words.span(found.domain_ns) if found.domain_ns else NOTHING,
                    state="bad" if found.domain_ns else "none",
                ),
                Figure(words("figure.judgments"), words.number(found.judgments.total())),
                Figure(words("figure.released"), words.number(found.released.total())),
                Figure(words("figure.acts"), words.number(found.act_count)),
            ]
        )
    ]
    blocks += unsure(words, found.sure)
    if found.quarantined:
        blocks.append(Remark(words("remark.quarantined", count=found.quarantined), warn=True))
    if found.times:
        stretches = bins(period)
        blocks.append(
            columns(
                "decisions-chart",
                words("chart.decisions"),
                words("chart.decisions.desc"),
                counted(found.times, stretches),
                labels(words, period, stretches),
            )
        )
    if found.spans:
        lane = Lane(
            words("lane.blocked"),
            [Span(start, end, "blocked") for start, end in found.spans[:2_000]],
            words.share(found.blocked_ns / length_ns, 1),
            None,
        )
        blocks += [
            lanes(
                "blocked",
                words("chart.blocked"),
                words("chart.blocked.desc"),
                [lane],
                period.start_ns,
                period.end_ns,
                ticks(words, period),
                [("blocked", words("lane.blocked"))],
                cells(period),
            ),
            bars(
                "policies-chart",
                words("chart.policies"),
                words("chart.policies.desc"),
                [
                    Bar(_policy(name, words), one.total_ns, words.span(one.total_ns))
                    for name, one in _ordered(found.by_policy)
                ][:15],
            ),
        ]
    blocks += _sums(words("table.policies"), words("column.policy"), found.by_policy, words, policy=True)
    blocks += _sums(words("table.reasons"), words("column.reason"), found.by_reason, words)
    blocks += _longest(facts, words)
    blocks += _scopes(facts, words)
    blocks += _counts(facts, words)
    blocks += acts(facts, words)
    blocks += _risk(facts, words)
    if not found.verdicts:
        blocks.append(Remark(words("remark.no_decisions")))
    blocks.append(
        basis(
            words,
            ["block", "blocked", "longest", "released", "act", "risk"],
            [found.refs],
            [listing("decisions", facts.domain, period), "observer explain DECISION"],
        )
    )
    return Section("decisions", words("section.decisions"), blocks)


def withheld(facts: Facts, words: Words) -> Section:
    found, asked = facts.decided, facts.asked
    total = found.withheld.total()
    blocks: list[Block] = [
        Figures(
            [
                Figure(words("figure.matched"), words.number(asked.matched)),
                Figure(words("figure.acted"), words.of(asked.acted, asked.matched)),
                Figure(words("figure.withheld"), words.number(total)),
            ]
        )
    ]
    rows = [
        [_policy(policy, words), words.named("code", code), code, words.of(count, total)]
        for (policy, code), count in found.withheld.most_common()
    ]
    head = [words(f"column.{name}") for name in ("policy", "reason", "code", "count")]
    table = Table(words("table.withheld"), head, rows, frozenset((3,)), frozenset((2,)))
    blocks += listed(words, table, 30) or [Remark(words("remark.no_withheld"))]
    blocks.append(
        basis(
            words,
            ["matched", "withheld"],
            [found.refs],
            [listing("decisions", facts.domain, facts.period, "--verdict non_execution")],
        )
    )
    return Section("non-execution", words("section.withheld"), blocks)


def gate(facts: Facts, words: Words) -> Section:
    asked = facts.asked
    if not asked.evaluated and not asked.not_recorded:
        remark = Remark(words("remark.nobody_asked"))
        return Section("gate", words("section.gate"), [remark, basis(words, ["asked"])])
    blocks: list[Block] = [
        Figures(
            [
                Figure(words("figure.asked"), words.number(asked.evaluated)),
                Figure(words("figure.allowed"), words.of(asked.allowed, asked.evaluated)),
                Figure(words("figure.denied"), words.of(asked.denied, asked.evaluated)),
                Figure(words("figure.not_observed"), words.of(asked.not_observed, asked.evaluated)),
                Figure(
                    words("figure.not_recorded"),
                    words.number(asked.not_recorded),
                    state="bad" if asked.not_recorded else "ok",
                ),
            ]
        )
    ]
    reasons = asked.denials.most_common()
    if reasons:
        blocks.append(
            bars(
                "denials-chart",
                words("chart.denials"),
                words("chart.denials.desc"),
                [
                    Bar(words.named("code", code), count, words.of(count, asked.denied))
                    for code, count in reasons[:12]
                ],
            )
        )
    rows = [[words.named("code", code), code, words.of(count, asked.denied)] for code, count in reasons]
    head = [words(f"column.{name}") for name in ("reason", "code", "count")]
    blocks += listed(words, Table(words("table.denials"), head, rows, frozenset((2,)), frozenset((1,))), 30)
    rows = [
        [name, words.number(sum(counts)), words.number(counts[0]), words.of(counts[1], sum(counts))]
        for name, counts in sorted(asked.callers.items(), key=lambda item: (-sum(item[1]), item[0]))
    ]
    head = [words(f"column.{name}") for name in ("caller", "asked", "allowed", "denied")]
    blocks += listed(
        words, Table(words("table.callers"), head, rows, frozenset((1, 2, 3)), frozenset((0,))), 30
    )
    records = [volume.refs for volume in facts.volumes if volume.journal == f"gate.{facts.domain}"]
    commands = [asking("evaluations", facts.period, facts.domain), "observer explain ANSWER"]
    blocks.append(basis(words, ["asked", "not_observed", "not_recorded"], records, commands))
    return Section("gate", words("section.gate"), blocks)


def detectors(facts: Facts, words: Words) -> Section:
    patterns = facts.silences.patterns
    kinds: dict[str, dict[str, int]] = {}
    for (pattern, severity), count in patterns.items():
        kinds.setdefault(pattern, {})[severity] = count
    ordered = sorted(kinds.items(), key=lambda item: (-sum(item[1].values()), item[0]))
    rows = [
        [name, words.number(sum(counts.values())), *(words.number(counts.get(one, 0)) for one in _SEVERITIES)]
        for name, counts in ordered
    ]
    head = [
        words("column.pattern"),
        words("column.count"),
        *(words(f"severity.{one}") for one in _SEVERITIES),
    ]
    table = Table(words("table.patterns"), head, rows, frozenset((1, 2, 3, 4)), frozenset((0,)))
    blocks = listed(words, table, 40) or [Remark(words("remark.no_patterns"))]
    rows = []
    for one in facts.precision:
        low, high = one.interval
        rows.append(
            [
                one.detector,
                one.pattern,
                words.number(one.found),
                words.number(one.judged),
                words.number(one.right),
                words.number(one.wrong),
                words.share(one.right / one.judged, 0),
                f"{words.share(low, 0)} – {words.share(high, 0)}",
            ]
        )
    names = ("detector", "pattern", "found", "judged", "right", "wrong", "precision", "interval")
    head = [words(f"column.{name}") for name in names]
    table = Table(words("table.precision"), head, rows, frozenset(range(2, 8)), frozenset((0, 1)))
    blocks += listed(words, table, 60) or [Remark(words("remark.no_feedback"))]
    records = [
        volume.refs for volume in facts.volumes if volume.journal.startswith(("patterns.", "feedback."))
    ]
    blocks.append(
        basis(
            words,
            ["pattern", "precision", "interval"],
            records[:12],
            [
                listing("patterns", facts.domain, facts.period),
                f"observer report detectors --domain {facts.domain}",
            ],
        )
    )
    return Section("detectors", words("section.detectors"), blocks)


def acts(facts: Facts, words: Words) -> list[Block]:
    """What people did, with author and reason, the newest first."""
    rows = [
        [words.short(act.time_ns), words.named("code", act.what), act.scope, act.author, act.text, act.record]
        for act in reversed(facts.decided.acts)
    ]
    head = [words(f"column.{name}") for name in ("time", "what", "scope", "author", "recorded", "record")]
    table = Table(words("table.acts"), head, rows, frozenset(), frozenset((2, 5)))
    return listed(words, table, 50, facts.decided.act_count)


# ---------------------------------------------------------------------- parts of decisions


def _ordered(sums: dict[str, Sum]) -> list[tuple[str, Sum]]:
    return sorted(sums.items(), key=lambda item: (-item[1].total_ns, -item[1].begun, item[0]))


def _sums(title: str, name: str, sums: dict[str, Sum], words: Words, *, policy: bool = False) -> list[Block]:
    rows = [
        [
            _policy(key, words) if policy else words.named("code", key),
            words.number(one.begun),
            words.number(one.stood),
            words.span(one.total_ns),
            words.span(one.longest_ns),
            one.newest,
        ]
        for key, one in _ordered(sums)
    ]
    head = [name, *(words(f"column.{one}") for one in ("begun", "stood", "total", "longest", "newest"))]
    return listed(words, Table(title, head, rows, frozenset((1, 2, 3, 4)), frozenset((5,))), 40)


def _longest(facts: Facts, words: Words) -> list[Block]:
    rows = [
        [
            one.scope,
            _policy(one.policy, words),
            words(f"severity.{one.severity}"),
            words.short(one.from_ns),
            words("still") if one.to_ns is None else words.short(one.to_ns),
            words.span(one.whole_ns),
            NOTHING if one.ended is None else words.named("code", one.ended),
            one.text,
            one.record,
        ]
        for one in facts.decided.shown
    ]
    names = ("scope", "policy", "severity", "from", "to", "length", "ended", "recorded", "record")
    head = [words(f"column.{name}") for name in names]
    table = Table(words("table.blocks"), head, rows, frozenset((5,)), frozenset((0, 8)))
    return listed(words, table, _ROWS, facts.decided.blocks)


def _scopes(facts: Facts, words: Words) -> list[Block]:
    length_ns = max(1, facts.period.length_ns)
    rows = [
        [scope, words.span(total_ns), words.share(min(1.0, total_ns / length_ns), 1)]
        for scope, total_ns in facts.decided.scopes.items()
    ]
    head = [words(f"column.{name}") for name in ("scope", "total", "of_period")]
    return listed(words, Table(words("table.scopes"), head, rows, frozenset((1, 2)), frozenset((0,))), 15)


def _counts(facts: Facts, words: Words) -> list[Block]:
    found: list[Block] = []
    for title, name, counts in (
        ("table.released", "column.reason", facts.decided.released),
        ("table.judgments", "column.policy", facts.decided.judgments),
    ):
        rows = [
            [words.named("code" if name == "column.reason" else "policy", key), words.number(count)]
            for key, count in counts.most_common()
        ]
        head = [words(name), words("column.count")]
        found += listed(words, Table(words(title), head, rows, frozenset((1,))), 30)
    return found


def _risk(facts: Facts, words: Words) -> list[Block]:
    length_ns = max(1, facts.period.length_ns)
    rows = [
        [words.named("risk", level), words.span(ns), words.share(ns / length_ns, 1)]
        for level in ("critical", "elevated", "calm")
        if (ns := facts.decided.risk_ns[level])
    ]
    head = [words(f"column.{name}") for name in ("level", "total", "of_period")]
    return listed(words, Table(words("table.risk"), head, rows, frozenset((1, 2))), 3)


def _policy(name: str, words: Words) -> str:
    return words.named("policy", name)


def _severities(counts: dict[str, int], words: Words) -> str:
    parts = [f"{words(f'severity.{one}')} {counts[one]:,}" for one in _SEVERITIES if counts.get(one)]
    return ", ".join(parts)


def headline(facts: Facts, words: Words) -> Iterator[Figure]:
    """What the summary has of it."""
    happened, found, asked = facts.incidents, facts.decided, facts.asked
    yield Figure(
        words("figure.opened"),
        words.number(happened.opened.total()),
        words("figure.opened.note", count=happened.open.total()),
        "bad" if happened.open["critical"] else "warn" if happened.open else "ok",
    )
    begun = sum(one.begun for one in found.by_policy.values())
    yield Figure(
        words("figure.blocks"),
        words.number(begun),
        words("figure.blocks.short", span=words.span(found.blocked_ns), count=found.standing),
        "warn" if found.standing else "none",
    )
    killed = [act for act in found.acts if act.what == "kill"]
    yield Figure(
        words("figure.acts"),
        words.number(found.act_count),
        words("figure.acts.note", count=len(killed)) if killed else "",
        "bad" if killed else "none",
    )
    if asked.evaluated:
        yield Figure(
            words("figure.denied"),
            words.of(asked.denied, asked.evaluated),
            words("figure.denied.note", count=f"{asked.evaluated:,}"),
        )
