"""Policies: which events lead to which verdict, for what scope and how long. Typed; unknown keys refused."""

from __future__ import annotations

import tomllib
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import (
    BeforeValidator,
    ConfigDict,
    Field,
    PlainSerializer,
    PositiveInt,
    ValidationError,
    model_validator,
)

from observer_core.decision_pipeline.scopes import Level
from observer_core.decision_pipeline.signals import ABSENCES
from observer_core.shared.clock import format_duration, parse_duration
from observer_core.shared.config import Config, DurationNs, Name, explain
from observer_core.shared.errors import ConfigError, InputError
from observer_core.shared.records import Severity

CADENCES = 3
"""A span of a policy is at least this many cadences of the data that caused it."""

RESUMED = "resumed"
SCORE = "score"
RESERVED = ("operator", "override", "quarantine", "risk", "kill")
"""Names under which the pipeline itself decides."""
MOST_COUNTED = 1000

Text = Annotated[str, Field(min_length=1)]
Globs = Annotated[tuple[Text, ...], Field(min_length=1)]
Score = Annotated[float, Field(ge=0, le=1)]
Duration = Annotated[DurationNs, Field(gt=0)]
Finite = Annotated[float, Field(allow_inf_nan=False)]
_WIDTH: dict[Level, int] = {"subject": 0, "source": 1, "domain": 2}


class Bounds(Config):
    """What a number of the evidence must be: at least `min`, at most `max`; or it (a text too) `equals` this.

    A number that is not there is never within bounds.
    """

    min: Finite | None = None
    max: Finite | None = None
    equals: Finite | str | None = None

    @model_validator(mode="after")
    def _can_hold(self) -> Bounds:
        if self.min is None and self.max is None and self.equals is None:
            raise ValueError("expected min, max or equals")
        if self.equals is not None and (self.min is not None or self.max is not None):
            raise ValueError("equals stands alone; remove min and max")
        if self.min is not None and self.max is not None and self.min > self.max:
            raise ValueError(f"min ({self.min:g}) must not be above max ({self.max:g}): nothing would match")
        return self

    def hold(self, found: object) -> bool:
        if self.equals is not None:
            return type(found) is not bool and found == self.equals
        if type(found) not in (int, float):
            return False
        number: Any = found
        return (self.min is None or number >= self.min) and (self.max is None or number <= self.max)


class PolicyMatch(Config):
    """Which events a policy looks at; everything given must hold.

    Globs are shell patterns (`BTC/*`); `types` match in full or without
    `io.qts.observer.`; what says that something is over (feed.resumed, pattern.relation_restored,
    incident.resolved) matches where it is named in full, never by a glob. Of an event about several
    series one of them must pass `subjects`, `fields` and `evidence` together; what is about a whole source
    passes any subject and field. `tags`: one of the event's. An event without a score (an incident's
    end) counts as one of score 1.

    `evidence` bounds the numbers of the pattern, or of the incident (`series_count`, `standing`, `flaps`).
    """

    types: Globs
    sources: Globs = ("*",)
    subjects: Globs = ("*",)
    fields: Globs = ("*",)
    tags: Globs | None = None
    min_severity: Severity = "info"
    min_score: Score = 0.0
    evidence: dict[Text, Bounds] = Field(default_factory=dict)


class Until(Config):
    """What ends a block: `after` so long, when it has `resumed`, or a signal that matches (at most so long).

    `per`: whose matching signal it takes. `series`: of each source and subject that asked for the
    block; `subject`: of each such subject, at any source; `source`: of each such source; `domain`: any.
    """

    after: Duration | None = None
    resumed: bool = False
    match: PolicyMatch | None = None
    per: Literal["series", "subject", "source", "domain"] = "series"
    at_most: Duration | None = None

    @model_validator(mode="after")
    def _one_end(self) -> Until:
        if (self.after is not None) + self.resumed + (self.match is not None) != 1:
            raise ValueError('expected a duration (15m), "resumed", or { match = { … } }')
        if self.match is None and (self.at_most is not None or self.per != "series"):
            raise ValueError("at_most and per belong to a match")
        if self.match is not None:
            _refuse_absences(self.match, "until.match")
        return self

    @property
    def longest(self) -> int | None:
        return self.at_most if self.after is None else self.after


def _until(value: object) -> object:
    if value is None or isinstance(value, Until | Mapping):
        return value
    if value == RESUMED:
        return {"resumed": True}
    expected = 'a duration above zero (15m), "resumed", or { match = { … } }'
    try:
        span = parse_duration(value) if isinstance(value, str) else value
    except InputError as error:
        raise ValueError(f'{error}, "resumed", or {{ match = {{ … }} }}') from None
    if type(span) is not int or span <= 0:
        raise ValueError(f"expected {expected}")
    return {"after": span}


def _spell_until(value: Until | None) -> object:
    if value is None or value.match is None:
        return value and (RESUMED if value.resumed else format_duration(value.after or 0))
    return {
        "match": value.match.canonical(), "per": value.per,
        "at_most": None if value.at_most is None else format_duration(value.at_most),
    }  # fmt: skip


def _refuse_absences(match: PolicyMatch, where: str) -> None:
    found = [name for name in match.types if name.removeprefix("io.qts.observer.") in ABSENCES]
    if found:
        raise ValueError(f"{where}: {found[0]} says that data are missing, and that never releases anything")


class Escalate(Config):
    """What makes a decision graver, by a record of its own.

    `after`: the block has stood so long. `times`: the policy has acted so many times in a scope
    `within` so long. `severity` and a wider `scope` are those of the record; `until`: the block lasts so
    long from then on. With a scope or an `until` of its own a block is raised to another block.
    """

    after: Duration | None = None
    times: Annotated[int, Field(ge=2, le=MOST_COUNTED)] | None = None
    within: Duration | None = None
    severity: Severity = "critical"
    scope: Level | None = None
    until: Duration | None = None

    @model_validator(mode="after")
    def _one_cause(self) -> Escalate:
        if (self.after is None) == (self.times is None):
            raise ValueError('expected after = "30m", or times = 3 with within = "1h"')
        if (self.times is None) != (self.within is None):
            raise ValueError("times and within belong together")
        return self


Threshold = Annotated[dict[Text, Finite], Field(min_length=1, max_length=1)]


class Policy(Config):
    """One rule.

    `match` one event; with `count` so many of them `within` so long and one scope (`distinct`: only
    those that differ in it are counted); or `all` of several matches, each of which holds for `within`
    after its event, and for as long as a condition that began with it stands. `while`: only while a
    condition that began with such an event stands. `per` says what `all` and `while` must agree in:
    the subject, the source, or nothing but the domain.

    `until` ends a block: a duration (at least three cadences of the data), `"resumed"`: every
    condition that caused it has ended by its recovery event (feed.resumed, feed.available, redriven,
    incident.resolved), or a match. `enter` and `leave` bound the score or a number of the evidence: it
    acts beyond the one, and ends the block beyond the other. `cooldown`: how long after it acted, or after
    its block ended, it does not act on that scope again. An event that matches with a score below
    `min_score` is recorded as not acted on. `shadow`: record what would have been done, do nothing.

    A `release` ends the blocks of the named policies in its scope, never an operator's.
    """

    model_config = ConfigDict(serialize_by_alias=True, validate_by_name=True, validate_by_alias=True)

    name: Name
    version: PositiveInt
    owner: Text
    description: Text
    verdict: Literal["judgment", "block", "release", "non_execution"]
    match: PolicyMatch | None = None
    all: Annotated[tuple[PolicyMatch, ...], Field(min_length=2, max_length=8)] | None = None
    during: PolicyMatch | None = Field(default=None, alias="while")
    per: Level | None = None
    count: Annotated[int, Field(ge=2, le=MOST_COUNTED)] | None = None
    distinct: Literal["subject", "source", "field", "type"] | None = None
    within: Duration | None = None
    scope: Level = "subject"
    until: Annotated[Until | None, BeforeValidator(_until), PlainSerializer(_spell_until)] = None
    enter: Threshold | None = None
    leave: Threshold | None = None
    cooldown: Annotated[DurationNs, Field(ge=0)] = 0
    escalate: Escalate | None = None
    release: Annotated[tuple[Name, ...], Field(min_length=1)] | None = None
    min_score: Score = 0.0
    severity: Severity | None = None
    shadow: bool = False

    @property
    def id(self) -> str:
        """What tells its memory from that of another policy, or another version of it."""
        return f"{self.name} v{self.version}"

    @property
    def matches(self) -> tuple[PolicyMatch, ...]:
        """What may make it act."""
        return self.all if self.all is not None else () if self.match is None else (self.match,)

    @property
    def rising(self) -> bool:
        """Whether more is worse: it acts from `enter` up."""
        return bool(self.enter and self.leave and self.threshold(self.enter) > self.threshold(self.leave))

    @staticmethod
    def threshold(one: Mapping[str, float]) -> float:
        return next(iter(one.values()))

    @model_validator(mode="after")
    def _matches_fit(self) -> Policy:
        if (self.match is None) == (self.all is None):
            raise ValueError("expected match = { … }, or all = [ { … }, { … } ]")
        if (self.per is None) == (self.all is not None or self.during is not None):
            raise ValueError(
                'all and while need per = "subject", "source" or "domain": what their events must agree in; '
                "nothing else has one"
            )
        if (self.within is None) == (self.all is not None or self.count is not None):
            raise ValueError('count and all need within = "10m"; nothing else has one')
        if self.all is not None:
            given = [name for name in ("count", "enter", "leave", "min_score") if getattr(self, name)]
            if given:
                raise ValueError(f"{given[0]} belongs to a policy with one match, not to all")
        if self.distinct is not None and (self.count is None or self.distinct == self.scope):
            raise ValueError(
                "distinct belongs to a count, and must be narrower than scope; "
                f"there is only one {self.distinct} in a scope of its own"
            )
        return self

    @model_validator(mode="after")
    def _ends_fit_the_verdict(self) -> Policy:
        if (self.enter is None) != (self.leave is None):
            raise ValueError("enter and leave belong together")
        if self.enter is not None and self.leave is not None:
            if self.enter.keys() != self.leave.keys() or self.enter == self.leave:
                raise ValueError("enter and leave must bound the same number, at different values")
            if self.verdict != "block" or (self.until is not None and self.until.after is None):
                raise ValueError("leave ends a block; until may only be a duration (at most) beside it")
        elif self.verdict == "block" and self.until is None:
            raise ValueError(
                'a block needs until = a duration such as "15m", "resumed" or { match = { … } }; or leave'
            )
        if self.verdict != "block" and self.until is not None:
            raise ValueError(f"until belongs to a block; remove it from a {self.verdict} policy")
        held = self.until is None or self.until.after is None
        if self.verdict == "block" and held and self.cooldown:
            raise ValueError(
                'cooldown with until = "resumed", a match or leave could leave a standing condition '
                "unblocked; remove one of the two"
            )
        if (self.verdict == "release") == (self.release is None):
            raise ValueError('a release policy, and no other, needs release = ["policy", …]')
        for match in self.matches if self.verdict == "release" else ():
            _refuse_absences(match, "match" if self.all is None else "all")
        return self

    @model_validator(mode="after")
    def _escalation_fits(self) -> Policy:
        more = self.escalate
        if more is None:
            return self
        if self.verdict != "block" and (self.verdict != "judgment" or more.after is not None):
            raise ValueError("escalate.after belongs to a block, escalate.times to a block or a judgment")
        if more.scope is not None and _WIDTH[more.scope] <= _WIDTH[self.scope]:
            raise ValueError(f"escalate.scope must be wider than scope, which is {self.scope}")
        if more.until is not None:
            lasts = None if self.until is None else self.until.after
            if lasts is None or more.until <= lasts:
                raise ValueError("escalate.until must be longer than until, which must be a duration")
        return self


def load_policies(path: str | Path) -> tuple[Policy, ...]:
    """The `[[policy]]` tables of a TOML file; `ConfigError` names file, policy and key."""
    policies = tuple(read_policy(table, number, path) for number, table in enumerate(policy_tables(path), 1))
    try:
        refuse_clashes(policies)
    except ValueError as error:
        raise ConfigError(f"{path}: {error}") from None
    return policies


def policy_tables(path: str | Path) -> list[Any]:
    """The `[[policy]]` tables of a TOML file as they stand there."""
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
    return tables


def read_policy(table: Any, number: int, path: str | Path) -> Policy:
    """One of them; `ConfigError` names file, policy and key."""
    name = table.get("name", f"number {number}") if isinstance(table, dict) else f"number {number}"
    try:
        return Policy.model_validate(table)
    except ValidationError as error:
        raise explain(error, f"{path}: policy {name!r}") from None


def refuse_clashes(policies: Iterable[Policy]) -> None:
    """`ValueError` when two share a name, take one of the pipeline's own, or release what does not block."""
    policies = tuple(policies)
    seen: dict[str, Policy] = {}
    for policy in policies:
        if policy.name in RESERVED:
            raise ValueError(f"policy {policy.name!r}: the name is the pipeline's own; choose another one")
        if policy.name in seen:
            raise ValueError(f"policy {policy.name!r}: the name is given twice; names must differ")
        seen[policy.name] = policy
    for policy in policies:
        for name in policy.release or ():
            if name not in seen or seen[name].verdict != "block":
                blocking = sorted(other.name for other in policies if other.verdict == "block")
                raise ValueError(
                    f"policy {policy.name!r}: release: {name!r} is no policy here that blocks; "
                    f"there are: {', '.join(blocking) or 'none'}"
                )


def span(configured_ns: int, cadence_ns: int) -> int:
    """A policy's span on data of this cadence, so that it means something for daily data too."""
    return max(configured_ns, CADENCES * cadence_ns)
