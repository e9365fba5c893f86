"""Subscriptions: who gets which records, from where on, and into what sink.

A record that does not reach a subscriber was stopped by exactly one of the
subscriber's filters, and `matches` says which one and on what value.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from fnmatch import translate
from typing import Annotated, Any, Literal

from pydantic import (
    BeforeValidator,
    Field,
    NonNegativeInt,
    PlainSerializer,
    SecretStr,
    StringConstraints,
    model_validator,
)

from observer_core.event_bus.publisher import TYPE_PREFIX
from observer_core.shared.clock import SECOND, format_time, parse_time
from observer_core.shared.config import Config, DurationNs, Name
from observer_core.shared.errors import InputError
from observer_core.shared.records import SEVERITIES, Decision, Event, Severity, Verdict

_WHOLE_SOURCE = frozenset((f"{TYPE_PREFIX}feed.unavailable", f"{TYPE_PREFIX}feed.available"))

Globs = Annotated[tuple[Annotated[str, Field(min_length=1)], ...], Field(min_length=1)]
"""Shell patterns (`BTC/*`, `[ab]?`); a value passes when one of them matches it, case counts."""


def _time(value: object) -> object:
    try:
        return parse_time(value) if isinstance(value, str) else value
    except InputError as error:
        raise ValueError(str(error)) from None


class Position(Config):
    """The record at this position of the stream is the first one given (1 is the stream's first)."""

    position: Annotated[int, Field(ge=1)]


class Time(Config):
    """The first record at or after this moment is the first one given."""

    time: Annotated[NonNegativeInt, BeforeValidator(_time), PlainSerializer(format_time, return_type=str)]


class LogSink(Config):
    kind: Literal["log"]


class FileSink(Config):
    """Appends one JSON record a line to `path`."""

    kind: Literal["file"]
    path: Annotated[str, Field(min_length=1)]


class QueueSink(Config):
    """Puts each record as a message on `queue` (a Storage Queue's rules for its name)."""

    kind: Literal["queue"]
    queue: Annotated[str, StringConstraints(pattern=r"^[a-z0-9](?:-?[a-z0-9]){2,62}$")]


class WebhookSink(Config):
    """Posts each record to `url`; `secret` signs the body (HMAC-SHA-256) and is never printed."""

    kind: Literal["webhook"]
    url: Annotated[str, StringConstraints(pattern=r"^https?://[^\s/]+\S*$")]
    timeout: Annotated[DurationNs, Field(gt=0)] = 10 * SECOND
    secret: SecretStr | None = None
    allow_private: bool = False
    """Whether `url` may resolve to a loopback or private address."""


Sink = Annotated[LogSink | FileSink | QueueSink | WebhookSink, Field(discriminator="kind")]


class SubscriptionConfig(Config):
    """One subscriber's stream. All filters that are given must pass.

    `types` match in full (`io.qts.observer.feed.*`) or without the prefix (`feed.*`); a
    decision's type is `decision.<verdict>`. `subjects` and `fields` match when one of an
    event's series does. What is about a whole source or domain (a source that does not
    answer, a quarantine, a block of `*`) concerns each subject in it, so it passes the
    filters that are narrower than itself.
    """

    name: Name
    domains: Annotated[tuple[Name, ...], Field(min_length=1)] = ("live",)
    """Recordings page nobody unless their domain is named here."""
    stream: Literal["events", "decisions"] = "events"
    types: Globs = ("*",)
    sources: Globs = ("*",)
    subjects: Globs = ("*",)
    fields: Globs = ("*",)
    min_severity: Severity = "info"
    verdicts: Annotated[tuple[Verdict, ...], Field(min_length=1)] | None = None
    start: Literal["beginning", "now"] | Position | Time = "now"
    sink: Sink

    @model_validator(mode="after")
    def _filters_fit_the_stream(self) -> SubscriptionConfig:
        if self.stream == "events" and self.verdicts is not None:
            raise ValueError('verdicts filters decisions; remove it or set stream = "decisions"')
        if self.stream == "decisions" and "*" not in self.fields:
            raise ValueError('fields filters events; remove it or set stream = "events"')
        return self


@dataclass(frozen=True, slots=True)
class Match:
    """Whether a record reaches the subscriber; if not, which filter stopped it, on what value."""

    ok: bool
    stopped_by: str = ""
    found: str = ""

    def __bool__(self) -> bool:
        return self.ok


PASSED = Match(True)
_RANK = {severity: rank for rank, severity in enumerate(SEVERITIES)}
_Test = Callable[[str], Any]


class Subscription:
    """A subscription ready to match: its globs are compiled once."""

    __slots__ = ("_fields", "_rank", "_sources", "_subjects", "_types", "_verdicts", "config")

    def __init__(self, config: SubscriptionConfig) -> None:
        self.config = config
        self._types, self._sources = _compile(config.types), _compile(config.sources)
        self._subjects, self._fields = _compile(config.subjects), _compile(config.fields)
        self._rank = _RANK[config.min_severity]
        self._verdicts = None if config.verdicts is None else frozenset(config.verdicts)

    def matches(self, record: Event | Decision) -> Match:
        """Never raises: what cannot be matched is stopped, with the reason."""
        if isinstance(record, Event):
            return self._event(record)
        return self._decision(record)

    def _event(self, event: Event) -> Match:
        if self.config.stream != "events":
            return Match(False, "stream", "events")
        if _RANK[event.severitytext] < self._rank:
            return Match(False, "min_severity", event.severitytext)
        if self._types and not _is_type(self._types, event.type):
            return Match(False, "types", event.type)
        source = event.source.rpartition("/")[2]
        if self._sources and not self._sources(source):
            return Match(False, "sources", source)
        series = event.data.get("series")
        if not series or event.type in _WHOLE_SOURCE:
            return PASSED
        if self._subjects and not any(self._subjects(subject) for _, subject, _ in series):
            return Match(False, "subjects", event.subject)
        if self._fields and not any(self._fields(name) for _, _, name in series):
            return Match(False, "fields", ", ".join(sorted({name for _, _, name in series})))
        return PASSED

    def _decision(self, decision: Decision) -> Match:
        if self.config.stream != "decisions":
            return Match(False, "stream", "decisions")
        if _RANK[decision.severity] < self._rank:
            return Match(False, "min_severity", decision.severity)
        if self._verdicts is not None and decision.verdict not in self._verdicts:
            return Match(False, "verdicts", decision.verdict)
        if self._types and not _is_type(self._types, f"{TYPE_PREFIX}decision.{decision.verdict}"):
            return Match(False, "types", f"{TYPE_PREFIX}decision.{decision.verdict}")
        level, _, name = decision.scope.partition(":")
        source = name if level == "source" else decision.evidence.get("source")
        if self._sources and level != "*" and source is not None and not self._sources(source):
            return Match(False, "sources", source)
        if self._subjects and level == "subject" and not self._subjects(name):
            return Match(False, "subjects", name)
        return PASSED


def _compile(globs: tuple[str, ...]) -> _Test | None:
    """One test for all globs; None when they let everything pass."""
    return None if "*" in globs else re.compile("|".join(map(translate, globs))).match


def _is_type(test: _Test, full: str) -> bool:
    return bool(test(full) or test(full.removeprefix(TYPE_PREFIX)))
