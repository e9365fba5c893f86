"""Deliveries, the store's growth and cost, what looked after it, and changes of configuration."""

from __future__ import annotations

from collections.abc import Iterator

from observer_core.runtime.reports.charts import Bar, bars, columns
from observer_core.runtime.reports.document import Block, Figure, Figures, Remark, Section, Table
from observer_core.runtime.reports.facts import Facts
from observer_core.runtime.reports.period import DAY_NS
from observer_core.runtime.reports.telling.parts import asking, basis, listed
from observer_core.runtime.reports.told import BOUNDS_MS, LIMIT_NS, Spread, Told
from observer_core.runtime.reports.words import NOTHING, Words

_YEAR_DAYS = 365.25
_OUTCOMES = ("delivered", "already_delivered", "folded", "failed", "dropped", "expired")


def deliveries(facts: Facts, words: Words) -> Section:
    found = facts.told
    dropped = sum(one.outcomes["dropped"] for one in found.subscribers)
    failed = sum(one.outcomes["failed"] for one in found.subscribers)
    blocks: list[Block] = [
        Figures(
            [
                Figure(
                    words("figure.delivered"),
                    words.number(sum(one.outcomes["delivered"] for one in found.subscribers)),
                ),
                Figure(words("figure.failed"), words.number(failed), state="warn" if failed else "ok"),
                Figure(words("figure.dropped"), words.number(dropped), state="bad" if dropped else "ok"),
                Figure(
                    words("figure.letters"),
                    words.number(found.buried),
                    words("figure.letters.note", count=found.letters["buried"]),
                    "warn" if found.buried else "ok",
                ),
            ]
        )
    ]
    if not found.subscribers:
        blocks.append(Remark(words("remark.no_subscribers")))
    blocks += latencies(found, words, live=facts.live)
    rows = []
    for one in found.subscribers:
        p50, p95, _, most = one.sink.quantiles()
        outcomes = ", ".join(
            f"{words(f'outcome.{name}')} {one.outcomes[name]:,}" for name in _OUTCOMES if one.outcomes[name]
        )
        rows.append(
            [
                one.name,
                words.number(one.attempts),
                outcomes or NOTHING,
                " / ".join(map(words.latency, (p50, p95, most))) if len(one.sink) else NOTHING,
                one.refs,
            ]
        )
    head = [words(f"column.{name}") for name in ("subscription", "attempts", "outcomes", "sink", "records")]
    blocks += listed(
        words, Table(words("table.subscribers"), head, rows, frozenset((1, 3)), frozenset((0, 4))), 50
    )
    blocks.append(
        basis(
            words,
            ["latency", "sink", "failed", "letter"],
            [one.refs for one in found.subscribers][:12],
            [asking("deliveries", facts.period, facts.domain), "observer dlq ls --all"],
        )
    )
    return Section("deliveries", words("section.deliveries"), blocks)


def latencies(found: Told, words: Words, *, live: bool) -> list[Block]:
    """The alert latency against its limit: a histogram, and quantiles."""
    if not live:
        return [Remark(words("remark.latency_recorded"))]
    if not len(found.whole):
        return [Remark(words("remark.no_latency"))]
    names = [words("bin.upto", bound=words.bound(bound)) for bound in BOUNDS_MS]
    names.append(words("bin.beyond", bound=words.bound(BOUNDS_MS[-1])))
    place = BOUNDS_MS.index(LIMIT_NS // 1_000_000) + 1
    beyond = found.whole.beyond()
    desc = words(
        "chart.latency.desc",
        count=f"{len(found.whole):,}",
        beyond=f"{beyond:,}",
        share=words.share(beyond / len(found.whole)),
    )
    rows = [
        _spread(words(f"latency.{name}"), spread, words)
        for name, spread in (
            ("whole", found.whole),
            ("before", found.before),
            ("blocks", found.blocks),
            ("critical", found.critical),
        )
        if len(spread)
    ]
    head = [words(f"column.{name}") for name in ("of", "n", "p50", "p95", "p99", "max", "beyond", "slowest")]
    parts = []
    if found.grouped:
        parts.append(words("remark.grouped", count=f"{found.grouped:,}"))
    if found.left_out:
        parts.append(words("remark.left_out", count=f"{found.left_out:,}"))
    return [
        columns(
            "latency",
            words("chart.latency"),
            desc,
            [float(count) for count in found.whole.bins()],
            names,
            limit=(place, words("limit.five")),
        ),
        Table(words("table.latency"), head, rows, frozenset(range(1, 7)), frozenset((7,)), " ".join(parts)),
    ]


def _spread(name: str, spread: Spread, words: Words) -> list[str]:
    beyond = spread.beyond()
    return [
        name,
        words.number(len(spread)),
        *map(words.latency, spread.quantiles()),
        f"{beyond:,} ({words.share(beyond / len(spread))})",
        spread.slowest,
    ]


def growth(facts: Facts, words: Words) -> Section:
    began_ns = min((feed.watched_from_ns for feed in facts.feeds), default=facts.period.start_ns)
    days = max((facts.period.until_ns - began_ns) / DAY_NS, 1e-9)
    kinds: dict[str, list[int]] = {}
    for volume in facts.volumes:
        row = kinds.setdefault(volume.journal.partition(".")[0], [0, 0, 0, 0])
        row[0] += 1
        row[1] += volume.records
        row[2] += volume.size
        row[3] += volume.total
    ordered = sorted(kinds.items(), key=lambda item: (-item[1][2], item[0]))
    size, records = sum(row[2] for _, row in ordered), sum(row[1] for _, row in ordered)
    a_day = size / days
    blocks: list[Block] = [
        Figures(
            [
                Figure(
                    words("figure.written"),
                    words.size(size),
                    words("figure.written.note", count=f"{records:,}"),
                ),
                Figure(words("figure.a_day"), words.size(a_day)),
                Figure(words("figure.a_year"), words.size(a_day * _YEAR_DAYS), words("figure.a_year.note")),
                Figure(words("figure.commits"), words.number(facts.commits)),
                Figure(
                    words("figure.cost"),
                    f"{facts.money:.4f} {facts.prices.currency}" if facts.on_account else NOTHING,
                    words("figure.cost.note", region=facts.prices.region, dated=facts.prices.dated)
                    if facts.on_account
                    else words("figure.cost.none"),
                ),
            ]
        )
    ]
    shown = [(name, row) for name, row in ordered if row[2]]
    if shown:
        blocks.append(
            bars(
                "growth-chart",
                words("chart.growth"),
                words("chart.growth.desc"),
                [Bar(words.named("journal", name), row[2], words.size(row[2])) for name, row in shown],
            )
        )
    rows = [
        [
            words.named("journal", name),
            name,
            words.number(row[0]),
            words.number(row[1]),
            words.size(row[2]),
            words.size(row[2] / row[1]) if row[1] else NOTHING,
            words.number(row[3]),
        ]
        for name, row in ordered
    ]
    names = ("journals", "name", "count", "records", "size", "mean", "total_records")
    head = [words(f"column.{name}") for name in names]
    blocks += listed(
        words, Table(words("table.growth"), head, rows, frozenset(range(2, 7)), frozenset((1,))), 40
    )
    commands = ["observer digest", "observer report cost"]
    blocks.append(basis(words, ["written", "commits", "cost"], (), commands))
    return Section("growth", words("section.growth"), blocks)


def upkeep(facts: Facts, words: Words) -> Section:
    found, kept = facts.anchors, facts.upkeep
    blocks: list[Block] = [
        Figures(
            [
                Figure(
                    words("figure.anchors"),
                    words.number(found.count),
                    words("figure.anchors.note", time=words.time(found.newest_ns)) if found.newest_ns else "",
                ),
                Figure(words("figure.anchor_gap"), words.span(found.gap_ns) if found.newest_ns else NOTHING),
                Figure(
                    words("figure.packed"),
                    words.number(kept.packed),
                    words(
                        "figure.packed.note",
                        before=words.size(kept.packed_from),
                        after=words.size(kept.packed_to),
                    )
                    if kept.packed
                    else "",
                ),
                Figure(words("figure.cuts"), words.number(kept.cuts), state="bad" if kept.cuts else "ok"),
            ]
        )
    ]
    if found.newest_ns is None:
        blocks.append(Remark(words("remark.no_anchors"), warn=True))
    missing = [
        words(f"note.{kind}") for kind in ("maintenance", "backup", "retention") if not kept.counts[kind]
    ]
    if missing:
        blocks.append(Remark(words("remark.no_notes", kinds=", ".join(missing))))
    rows = [[words.named("note", kind), words.number(count)] for kind, count in sorted(kept.counts.items())]
    head = [words("column.kind"), words("column.count")]
    blocks += listed(words, Table(words("table.notes"), head, rows, frozenset((1,))), 20)
    rows = [
        [
            words.short(one.time_ns),
            words.named("note", one.kind),
            ", ".join(f"{name}={value}" for name, value in one.plain.items()),
            one.record,
        ]
        for one in reversed(kept.notes)
    ]
    head = [words(f"column.{name}") for name in ("time", "kind", "recorded", "record")]
    blocks += listed(
        words, Table(words("table.upkeep"), head, rows, frozenset(), frozenset((3,))), 40, kept.counts.total()
    )
    records = [
        volume.refs for volume in facts.volumes if volume.journal in ("operations.local", "ledger.live")
    ]
    commands = ["observer ledger verify", "observer verify", "observer fsck"]
    blocks.append(basis(words, ["anchor", "note", "cut"], records, commands))
    return Section("upkeep", words("section.upkeep"), blocks)


def changes(facts: Facts, words: Words) -> Section:
    rows = [
        [
            words.short(one.time_ns),
            one.journal,
            str(one.epoch),
            one.stage,
            f"{one.version} / {one.code}",
            words("change.first") if one.keys is None else ", ".join(one.keys) or words("change.code"),
            one.record,
        ]
        for one in facts.changes
    ]
    names = ("time", "journal", "epoch", "stage", "version", "changed", "record")
    head = [words(f"column.{name}") for name in names]
    table = Table(words("table.changes"), head, rows, frozenset((2,)), frozenset((1, 6)))
    blocks = listed(words, table, 60) or [Remark(words("remark.no_changes"))]
    blocks.append(basis(words, ["epoch", "changed"], (), ["observer config show", "observer digest"]))
    return Section("changes", words("section.changes"), blocks)


def headline(facts: Facts, words: Words) -> Iterator[Figure]:
    """What the summary has of it."""
    found = facts.told
    if facts.live and len(found.whole):
        _, p95, _, most = found.whole.quantiles()
        beyond = found.whole.beyond()
        yield Figure(
            words("figure.latency"),
            words.latency(p95),
            words("figure.latency.note", most=words.latency(most), count=f"{beyond:,}"),
            "bad" if beyond else "ok",
        )
    dropped = sum(one.outcomes["dropped"] for one in found.subscribers)
    if found.subscribers:
        yield Figure(words("figure.dropped"), words.number(dropped), state="bad" if dropped else "ok")
    if facts.changes:
        yield Figure(words("figure.changes"), words.number(len(facts.changes)))
