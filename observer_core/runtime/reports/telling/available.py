"""First of all: was the Observer there, were its sources, and what did they cover?"""

from __future__ import annotations

from collections.abc import Iterator

from observer_core.runtime.reports.charts import Kind, Lane, Span, lanes
from observer_core.runtime.reports.document import (
    Block,
    Chart,
    Figure,
    Figures,
    Remark,
    Section,
    State,
    Table,
)
from observer_core.runtime.reports.facts import Facts
from observer_core.runtime.reports.feeds import Feed
from observer_core.runtime.reports.silences import Silence
from observer_core.runtime.reports.telling.parts import basis, cells, listed, listing, ticks, unsure
from observer_core.runtime.reports.words import NOTHING, Words

_LANES, _ROWS, _SOURCES = 40, 20, 100
GOOD, POOR = 0.999, 0.99


def availability(facts: Facts, words: Words) -> Section:
    blocks: list[Block] = [Figures(list(_figures(facts, words)))]
    for volume in facts.gone:
        text = words("remark.gone", journal=volume.journal, time=words.time(volume.gone_ns))
        blocks.append(Remark(text, warn=True))
    if not facts.live:
        blocks.append(Remark(words("remark.recorded")))
    if facts.feeds or facts.uptime:
        blocks.append(_chart(facts, words))
    blocks += _sources(facts, words)
    blocks += _outages(facts, words)
    blocks += _downs(facts, words)
    blocks += unsure(words, facts.silences.sure)
    blocks += _silent(facts, words)
    blocks += _subjects(facts, words)
    blocks += _flags(facts, words)
    records = [volume.refs for volume in facts.volumes if volume.journal.startswith(("clock.", "snapshots."))]
    blocks.append(
        basis(
            words,
            ["uptime", "available", "collections", "outage", "coverage", "late", "silent", "flags"],
            records[:12],
            [
                listing("snapshots", facts.domain, facts.period),
                listing("patterns", facts.domain, facts.period, "--kind 'feed_*'"),
            ],
        )
    )
    return Section("availability", words("section.availability"), blocks)


def worst(found: list[Feed]) -> Feed | None:
    """The source that was there for the least of its time."""
    known = [feed for feed in found if feed.available is not None]
    return min(known, key=lambda feed: (feed.available or 0.0, feed.source), default=None)


def judged(share: float | None) -> State:
    if share is None:
        return "none"
    return "ok" if share >= GOOD else "warn" if share >= POOR else "bad"


def headline(facts: Facts, words: Words) -> Iterator[Figure]:
    """What the summary has of it."""
    up, least = facts.uptime, worst(facts.feeds)
    if up is not None and up.share is not None:
        note = (
            words("figure.down", count=up.count, span=words.span(up.down_ns))
            if up.count
            else words("figure.no_down")
        )
        yield Figure(words("figure.uptime"), words.share(up.share), note, judged(up.share))
    if least is not None:
        key = "figure.least.note" if least.count else "figure.least.none"
        note = words(key, source=least.source, span=words.span(least.longest_ns))
        yield Figure(words("figure.least"), words.share(least.available), note, judged(least.available))


def _figures(facts: Facts, words: Words) -> Iterator[Figure]:
    yield from headline(facts, words)
    came = sum(min(feed.came, feed.expected) for feed in facts.feeds if feed.expected)
    expected = sum(feed.expected for feed in facts.feeds if feed.expected)
    if expected:
        note = words("figure.collections.note", came=f"{came:,}", expected=f"{expected:,}")
        yield Figure(words("figure.collections"), words.share(came / expected), note, judged(came / expected))
    whole = sum(feed.subjects * feed.with_subjects for feed in facts.feeds)
    if whole:
        share = sum(feed.named for feed in facts.feeds) / whole
        subjects = sum(feed.subjects for feed in facts.feeds)
        note = words("figure.coverage.note", subjects=f"{subjects:,}")
        yield Figure(words("figure.coverage"), words.share(share), note, judged(share))
    out = [feed for feed in facts.feeds if feed.count]
    longest = max((feed.longest_ns for feed in out), default=0)
    count = sum(feed.count for feed in out)
    yield Figure(
        words("figure.outages"), words.number(count),
        words("figure.outages.note", span=words.span(longest)) if count else "", "warn" if count else "ok",
    )  # fmt: skip
    stale, standing = facts.silences.count.total(), facts.silences.standing.total()
    yield Figure(
        words("figure.silent"), words.number(stale),
        words("figure.silent.note", count=standing) if stale else "", "warn" if standing else "none",
    )  # fmt: skip


def _chart(facts: Facts, words: Words) -> Chart:
    period, until = facts.period, facts.period.until_ns
    found: list[Lane] = []
    if facts.uptime is not None:
        spans = [Span(down.from_ns, down.to_ns, "failed") for down in facts.uptime.down]
        began = facts.uptime.watched_from_ns if facts.uptime.watched_ns else until
        share = words.share(facts.uptime.share)
        found.append(Lane(words("lane.observer"), spans, share, "there", began, until))
    for feed in facts.feeds[:_LANES]:
        spans = [Span(one.from_ns, one.to_ns, one.why) for one in feed.outages]
        began = feed.watched_from_ns if feed.watched_ns else until
        found.append(Lane(feed.source, spans, words.share(feed.available), "there", began, until))
    kinds: tuple[Kind, ...] = ("there", "failed", "silent")
    legend = [(kind, words(f"lane.{kind}")) for kind in kinds]
    return lanes(
        "there", words("chart.availability"), words("chart.availability.desc"), found, period.start_ns,
        period.end_ns, ticks(words, period), legend, cells(period),
    )  # fmt: skip


def _sources(facts: Facts, words: Words) -> list[Block]:
    rows = [
        [
            feed.source, words.named("kind", feed.kind), words.share(feed.available),
            f"{feed.came:,} / {feed.expected:,}" if feed.expected is not None else f"{feed.came:,}",
            words.share(feed.share), words.number(feed.failed), words.number(feed.count),
            words.span(feed.longest_ns) if feed.count else NOTHING, words.number(feed.subjects),
            words.share(feed.coverage),
            NOTHING if feed.late_ns is None else " / ".join(map(words.latency, feed.late_ns)),
        ]
        for feed in facts.feeds
    ]  # fmt: skip
    names = (
        "source", "kind", "available", "collections", "share", "failed", "outages", "longest", "subjects",
        "coverage", "late",
    )  # fmt: skip
    head = [words(f"column.{name}") for name in names]
    table = Table(words("table.sources"), head, rows, frozenset(range(2, 11)), frozenset((0,)))
    found = listed(words, table, _SOURCES)
    return found or [Remark(words("remark.no_sources"), warn=True)]


def _outages(facts: Facts, words: Words) -> list[Block]:
    every = [(feed, one) for feed in facts.feeds for one in feed.outages]
    every.sort(key=lambda item: (-item[1].length_ns, item[1].from_ns, item[0].source))
    rows = [
        [
            feed.source, words.short(one.from_ns), words.short(one.to_ns), words.span(one.length_ns),
            words.named("why", one.why) + (f": {one.error}" if one.error else ""), one.record,
        ]
        for feed, one in every
    ]  # fmt: skip
    names = ("source", "from", "to", "length", "why", "record")
    head = [words(f"column.{name}") for name in names]
    table = Table(words("table.outages"), head, rows, frozenset((3,)), frozenset((0, 5)))
    return listed(words, table, _ROWS, sum(feed.count for feed in facts.feeds))


def _downs(facts: Facts, words: Words) -> list[Block]:
    if facts.uptime is None:
        return []
    downs = sorted(facts.uptime.down, key=lambda down: (-down.length_ns, down.from_ns))
    rows = [
        [words.short(down.from_ns), words.short(down.to_ns), words.span(down.length_ns),
         words(f"how.{down.how}"), down.record]
        for down in downs
    ]  # fmt: skip
    head = [words(f"column.{name}") for name in ("from", "to", "length", "how", "record")]
    table = Table(words("table.down"), head, rows, frozenset((2,)), frozenset((4,)))
    return listed(words, table, _ROWS, facts.uptime.count)


def _silent(facts: Facts, words: Words) -> list[Block]:
    """Series that fell silent together are one row."""
    groups: dict[tuple[object, ...], list[Silence]] = {}
    for one in facts.silences.shown:
        groups.setdefault((one.what, one.series[0], one.from_ns, one.to_ns), []).append(one)
    rows = []
    for found in groups.values():
        subjects = list(dict.fromkeys(one.series[1] for one in found))
        fields = list(dict.fromkeys(one.series[2] for one in found))
        one = found[0]
        rows.append([
            words(f"silence.{one.what}"), one.series[0], few(subjects, words), few(fields, words),
            words.short(one.from_ns), words("still") if one.to_ns is None else words.short(one.to_ns),
            words.span(one.length_ns), one.record,
        ])  # fmt: skip
    names = ("what", "source", "subject", "field", "from", "to", "length", "record")
    head = [words(f"column.{name}") for name in names]
    note = words("table.silent.note", count=f"{facts.silences.count.total():,}")
    table = Table(words("table.silent"), head, rows, frozenset((6,)), frozenset((1, 7)), note)
    return [table] if rows else []


def _subjects(facts: Facts, words: Words) -> list[Block]:
    rows = [
        [feed.source, subject, words.share(share)] for feed in facts.feeds for subject, share in feed.worst
    ]
    rows.sort(key=lambda row: (float(row[2].split()[0]), row[0], row[1]))
    head = [words(f"column.{name}") for name in ("source", "subject", "coverage")]
    table = Table(words("table.subjects"), head, rows, frozenset((2,)), frozenset((0,)))
    return listed(words, table, 10)


def _flags(facts: Facts, words: Words) -> list[Block]:
    rows = [
        [feed.source, flag, words.of(count, feed.came)]
        for feed in facts.feeds
        for flag, count in feed.flags.items()
    ]
    head = [words(f"column.{name}") for name in ("source", "flag", "snapshots")]
    return listed(words, Table(words("table.flags"), head, rows, frozenset((2,)), frozenset((0, 1))), 30)


def few(names: list[str], words: Words) -> str:
    """The first of them, and how many more."""
    shown = ", ".join(names[:3])
    return shown if len(names) <= 3 else words("few.more", names=shown, count=len(names) - 3)
