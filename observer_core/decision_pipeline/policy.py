"""Policies: which events lead to which verdict, for what scope and how long. Typed; unknown keys refused."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Callable, Iterable
from fnmatch import translate
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field, PlainSerializer, PositiveInt, ValidationError, model_validator

from observer_core.decision_pipeline.scopes import Level
from observer_core.decision_pipeline.signals import ENDINGS, Signal
from observer_core.shared.clock import format_duration, parse_duration
from observer_core.shared.config import Config, DurationNs, Name, explain
from observer_core.shared.errors import ConfigError, InputError
from observer_core.shared.records import SEVERITIES, Severity

CADENCES = 3
"""A span of a policy is at least this many cadences of the data that caused it."""

RESUMED = "resumed"
RESERVED = ("operator", "override", "quarantine", "risk")
"""Names under which the pipeline itself decides."""

Globs = Annotated[tuple[Annotated[str, Field(min_length=1)], ...], Field(min_length=1)]
Text = Annotated[str, Field(min_length=1)]
Score = Annotated[float, Field(ge=0, le=1)]


def _until(value: object) -> object:
    if value is None or value == RESUMED:
        return value
    try:
        span = parse_duration(value) if isinstance(value, str) else value
    except InputError as error:
        raise ValueError(f'{error}, or "resumed"') from None
    if type(span) is not int or span <= 0:
        raise ValueError('expected a duration above zero (15m) or "resumed"')
    return span


def _spell_until(value: object) -> object:
    return format_duration(value) if isinstance(value, int) else value


Until = Annotated[int | str | None, BeforeValidator(_until), PlainSerializer(_spell_until)]


class PolicyMatch(Config):
    """Which events a policy looks at; everything given must hold.

    Globs are shell patterns (`BTC/*`); `types` match in full or without
    `io.qts.observer.`; what says that something is over (feed.resumed, pattern.relation_restored,
    incident.resolved) matches where it is named in full, never by a glob. `subjects` and
    `fields` match when one of the event's series does. An event without a score (an
    incident's end) counts as one of score 1.
    """

    types: Globs
    sources: Globs = ("*",)
    subjects: Globs = ("*",)
    fields: Globs = ("*",)
    min_severity: Severity = "info"
    min_score: Score = 0.0


class Policy(Config):
    """One rule.

    `until` ends a block: a duration (at least three cadences of the data), or
    `"resumed"`: held until every condition that caused it has ended by its recovery
    event (feed.resumed, feed.available, redriven, incident.resolved). `cooldown`: how
    long after it acted, or after its block ended, it does not act on that scope again.
    An event that matches with a score below `min_score` is recorded as not acted on.
    `shadow`: record what would have been done, do nothing.
    """

    name: Name
    version: PositiveInt
    owner: Text
    description: Text
    match: PolicyMatch
    verdict: Literal["judgment", "block", "non_execution"]
    scope: Level = "subject"
    until: Until = None
    cooldown: Annotated[DurationNs, Field(ge=0)] = 0
    min_score: Score = 0.0
    severity: Severity | None = None
    shadow: bool = False

    @model_validator(mode="after")
    def _ends_fit_the_verdict(self) -> Policy:
        if self.verdict == "block" and self.until is None:
            raise ValueError('a block needs until = a duration such as "15m", or "resumed"')
        if self.verdict != "block" and self.until is not None:
            raise ValueError(f"until belongs to a block; remove it from a {self.verdict} policy")
        if self.until == RESUMED and self.cooldown:
            raise ValueError(
                'cooldown with until = "resumed" could leave a standing condition unblocked; '
                "remove one of the two"
            )
        return self


def load_policies(path: str | Path) -> tuple[Policy, ...]:
    """The `[[policy]]` tables of a TOML file; `ConfigError` names file, policy and key."""
    try:
        document = tomllib.loads(Path(path).read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path}: cannot be read as TOML with [[policy]] tables: {error}") from None
    except tomllib.TOMLDecodeError as error:
        raise ConfigError(f"{path}: not TOML: {error}") from None
    for key in document:
        if key != "policy":
            raise ConfigError(f"{path}: {key}: unknown key; only [[policy]] tables are expected here")
    tables = document.get("policy", [])
    if not isinstance(tables, list):
        raise ConfigError(f"{path}: policy: found one table; write [[policy]], with two brackets")
    policies = tuple(_policy(table, number, path) for number, table in enumerate(tables, 1))
    try:
        refuse_clashes(policies)
    except ValueError as error:
        raise ConfigError(f"{path}: {error}") from None
    return policies


def _policy(table: Any, number: int, path: str | Path) -> Policy:
    name = table.get("name", f"number {number}") if isinstance(table, dict) else f"number {number}"
    try:
        return Policy.model_validate(table)
    except ValidationError as error:
        raise explain(error, f"{path}: policy {name!r}") from None


def refuse_clashes(policies: Iterable[Policy]) -> None:
    """`ValueError` when two policies share a name, or one takes a name of the pipeline's own."""
    seen: set[str] = set()
    for policy in policies:
        if policy.name in RESERVED:
            raise ValueError(f"policy {policy.name!r}: the name is the pipeline's own; choose another one")
        if policy.name in seen:
            raise ValueError(f"policy {policy.name!r}: the name is given twice; names must differ")
        seen.add(policy.name)


_RANK = {severity: rank for rank, severity in enumerate(SEVERITIES)}
_Test = Callable[[str], Any]


class Matcher:
    """A policy's `match`, compiled once."""

    __slots__ = ("_fields", "_named", "_rank", "_score", "_sources", "_subjects", "_types")

    def __init__(self, match: PolicyMatch) -> None:
        self._named = frozenset(match.types)
        self._types, self._sources = _compile(match.types), _compile(match.sources)
        self._subjects, self._fields = _compile(match.subjects), _compile(match.fields)
        self._rank, self._score = _RANK[match.min_severity], match.min_score

    def takes_type(self, full: str, short: str) -> bool:
        if short in ENDINGS:
            return not self._named.isdisjoint((full, short))
        return self._types is None or bool(self._types(full) or self._types(short))

    def takes(self, signal: Signal) -> bool:
        """Everything but the type. A signal about a whole source concerns each subject and field in it."""
        if _RANK[signal.severity] < self._rank or signal.score < self._score:
            return False
        if self._sources and not self._sources(signal.source):
            return False
        if not signal.series:
            return True
        if self._subjects and not any(self._subjects(subject) for _, subject, _ in signal.series):
            return False
        return not self._fields or any(self._fields(name) for _, _, name in signal.series)


def _compile(globs: tuple[str, ...]) -> _Test | None:
    return None if "*" in globs else re.compile("|".join(map(translate, globs))).match


def span(configured_ns: int, cadence_ns: int) -> int:
    """A policy's span on data of this cadence, so that it means something for daily data too."""
    return max(configured_ns, CADENCES * cadence_ns)
