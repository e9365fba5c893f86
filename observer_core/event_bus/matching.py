"""Which records are meant: by type, source, subject, field, tag, severity or verdict.

A record that is not meant was refused by exactly one of the filters, and `refusal` says by which one
and for what value.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from fnmatch import translate
from typing import Annotated, Any, NamedTuple

from pydantic import Field

from observer_core.event_bus.publisher import TYPE_PREFIX
from observer_core.shared.config import Config
from observer_core.shared.records import ALL, SEVERITIES, Decision, Event, Severity, Verdict

_WHOLE_SOURCE = frozenset((f"{TYPE_PREFIX}feed.unavailable", f"{TYPE_PREFIX}feed.available"))
_RANK = {severity: rank for rank, severity in enumerate(SEVERITIES)}

Globs = Annotated[tuple[Annotated[str, Field(min_length=1)], ...], Field(min_length=1)]
"""Shell patterns (`BTC/*`, `[ab]?`); a value passes when one of them matches it, case counts."""


class RecordMatch(Config):
    """All filters that are given must pass.

    `types` match in full (`io.qts.observer.feed.*`) or without the prefix (`feed.*`); a
    decision's type is `decision.<verdict>`. `subjects`, `fields` and `tags` match when one of an
    event's series or tags does. What is about a whole source or domain (a source that does not
    answer, a quarantine, a block of `*`) concerns each subject in it, so it passes the
    filters that are narrower than itself.
    """

    types: Globs = ("*",)
    sources: Globs = ("*",)
    subjects: Globs = ("*",)
    fields: Globs = ("*",)
    tags: Globs | None = None
    min_severity: Severity = "info"
    severities: Annotated[tuple[Severity, ...], Field(min_length=1)] | None = None
    verdicts: Annotated[tuple[Verdict, ...], Field(min_length=1)] | None = None


@dataclass(frozen=True, slots=True)
class Facts:
    """What a record can be matched by. None: it concerns all of them."""

    type: str
    short: str
    severity: Severity
    source: str | None
    subject: str
    subjects: tuple[str, ...] | None
    fields: tuple[str, ...] | None
    tags: tuple[str, ...]
    verdict: Verdict | None
    incident: str = ""


def facts_of(record: Event | Decision) -> Facts:
    if isinstance(record, Event):
        series = () if record.type in _WHOLE_SOURCE else record.data.get("series", ())
        if any(item[1] == ALL for item in series):
            series = ()  # all subjects of a venue
        return Facts(
            record.type, record.type.removeprefix(TYPE_PREFIX), record.severitytext,
            record.source.rpartition("/")[2], record.subject,
            tuple(item[1] for item in series) if series else None,
            tuple(sorted({item[2] for item in series})) if series else None,
            tuple(record.data.get("tags", ())), None, record.correlationid,
        )  # fmt: skip
    level, _, name = record.scope.partition(":")
    source = None if level == "*" else name if level == "source" else record.evidence.get("source")
    short = f"decision.{record.verdict}"
    return Facts(
        TYPE_PREFIX + short, short, record.severity, source, record.scope,
        (name,) if level == "subject" else None, None, (), record.verdict,
        record.evidence.get("incident", ""),
    )  # fmt: skip


class Refusal(NamedTuple):
    """Which filter a record did not pass, and with what."""

    by: str
    found: str


_Test = Callable[[str], Any]


class Matcher:
    """A `RecordMatch`, its globs compiled once."""

    __slots__ = ("_fields", "_rank", "_severities", "_sources", "_subjects", "_tags", "_types", "_verdicts")

    def __init__(self, match: RecordMatch) -> None:
        self._types, self._sources = _compile(match.types), _compile(match.sources)
        self._subjects, self._fields = _compile(match.subjects), _compile(match.fields)
        self._tags = None if match.tags is None else _compile(match.tags) or (lambda tag: True)
        self._rank = _RANK[match.min_severity]
        self._severities = None if match.severities is None else frozenset(match.severities)
        self._verdicts = None if match.verdicts is None else frozenset(match.verdicts)

    def takes(self, facts: Facts) -> bool:
        return self.refusal(facts) is None

    def refusal(self, facts: Facts) -> Refusal | None:
        """None where all filters pass. Never raises."""
        if _RANK[facts.severity] < self._rank:
            return Refusal("min_severity", facts.severity)
        if self._severities is not None and facts.severity not in self._severities:
            return Refusal("severities", facts.severity)
        if self._verdicts is not None and facts.verdict not in self._verdicts:
            return Refusal("verdicts", facts.verdict or "none")
        if self._types and not (self._types(facts.type) or self._types(facts.short)):
            return Refusal("types", facts.type)
        if self._sources and facts.source is not None and not self._sources(facts.source):
            return Refusal("sources", facts.source)
        if self._tags and not any(map(self._tags, facts.tags)):
            return Refusal("tags", ", ".join(facts.tags) or "none")
        if self._subjects and facts.subjects is not None and not any(map(self._subjects, facts.subjects)):
            return Refusal("subjects", facts.subject)
        if self._fields and facts.fields is not None and not any(map(self._fields, facts.fields)):
            return Refusal("fields", ", ".join(facts.fields))
        return None


def _compile(globs: tuple[str, ...]) -> _Test | None:
    """One test for all globs; None when they let everything pass."""
    return None if "*" in globs else re.compile("|".join(map(translate, globs))).match
