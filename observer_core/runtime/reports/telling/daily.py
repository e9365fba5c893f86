"""The report of a day or a week: a summary, then availability first, then all else in order of weight."""

from __future__ import annotations

from observer_core.runtime.reports.document import Document, Figures, Remark, Section
from observer_core.runtime.reports.facts import Facts
from observer_core.runtime.reports.period import Period
from observer_core.runtime.reports.telling import activity, available, kept
from observer_core.runtime.reports.words import Words

_LABELS = ("contents", "footer", "basis", "records", "commands", "warn", "bad")


def document(facts: Facts, words: Words, made_ns: int | None = None) -> Document:
    """`made_ns`: when it was made, if it is to say so."""
    title = words(
        "title.report", kind=words(f"title.{facts.period.kind}"), domain=facts.domain, days=days(facts.period)
    )
    summary = Section(
        "summary",
        words("section.summary"),
        [
            Figures(
                [
                    *available.headline(facts, words),
                    *activity.headline(facts, words),
                    *kept.headline(facts, words),
                ]
            ),
            Remark(words("remark.how")),
        ],
    )
    sections = [
        summary,
        available.availability(facts, words),
        activity.incidents(facts, words),
        activity.decisions(facts, words),
        activity.withheld(facts, words),
        activity.gate(facts, words),
        activity.detectors(facts, words),
        kept.deliveries(facts, words),
        kept.growth(facts, words),
        kept.upkeep(facts, words),
        kept.changes(facts, words),
    ]
    return Document(
        words.lang,
        title,
        frame(facts.domain, facts.period, words, made_ns, live=facts.live),
        sections,
        labels(words),
    )


def frame(
    domain: str, period: Period, words: Words, made_ns: int | None, *, live: bool
) -> list[tuple[str, str]]:
    found = [
        (
            words("frame.domain"),
            words("frame.domain.live" if live else "frame.domain.recorded", domain=domain),
        ),
        (words("frame.period"), f"{words.time(period.start_ns)} – {words.time(period.end_ns)}"),
        (words("frame.zone"), period.zone),
    ]
    if not period.is_over:
        found.append((words("frame.until"), words("frame.until.text", time=words.time(period.until_ns))))
    if made_ns is not None:
        found.append((words("frame.made"), words.time(made_ns)))
    return found


def labels(words: Words) -> dict[str, str]:
    return {name: words(f"label.{name}") for name in _LABELS}


def days(period: Period) -> str:
    first, last = period.first_day, period.last_day
    return str(first) if first == last else f"{first} – {last}"
