"""Cases of policies: steps in a table, each with what must be decided there and what is blocked after it.

Time is that of the case and begins at 0. Each step comes `at` its time, in order; what is due by then
has happened. A step gives an `event`, or a `command` of an operator, or nothing but time.
"""

from __future__ import annotations

import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

from pydantic import BeforeValidator, Field, ValidationError, model_validator

from observer_core.decision_pipeline.commands import COMMANDS
from observer_core.decision_pipeline.config import DecisionConfig
from observer_core.decision_pipeline.pipeline import DecisionPipeline
from observer_core.decision_pipeline.signals import TYPE_PREFIX
from observer_core.shared.clock import SECOND, format_duration, parse_duration
from observer_core.shared.config import Config, DurationNs, explain
from observer_core.shared.errors import ConfigError
from observer_core.shared.records import Decision, Event, Json, Note, Series, Severity, Verdict
from observer_core.shared.stage import Entry

START_NS = 1_700_000_000 * SECOND
_OWN = frozenset(("risk", "override"))
Text = Annotated[str, Field(min_length=1)]
Offset = Annotated[DurationNs, Field(ge=0)]


def _for(value: object) -> object:
    return -1 if value == "open" else parse_duration(value) if isinstance(value, str) else value


class Expected(Config):
    """A decision as far as it matters. `for`: how long a block lasts (`"open"`: it has no end of its own)."""

    verdict: Verdict
    policy: Text | None = None
    scope: Text | None = None
    code: Text | None = None
    severity: Severity | None = None
    lasts: Annotated[int, BeforeValidator(_for)] | None = Field(default=None, alias="for")

    def fits(self, found: Decision) -> bool:
        for_ns = -1 if found.until_ns is None else found.until_ns - found.time_ns
        return (
            self.verdict == found.verdict
            and self.policy in (None, found.policy)
            and self.scope in (None, found.scope)
            and self.code in (None, found.reasons[0]["code"])
            and self.severity in (None, found.severity)
            and self.lasts in (None, for_ns)
        )

    def __str__(self) -> str:
        parts = [self.verdict, self.policy or "any policy", self.scope or "any scope"]
        parts += [] if self.code is None else [f"({self.code})"]
        parts += [] if self.lasts is None else [_lasts(self.lasts)]
        return " ".join(parts)


class Step(Config):
    """`expect`: exactly these decisions of policies and operators, in any order. Not given: whatever it is.

    `blocked`: the scopes that are blocked after it. An event has one series of `source`, `subject` and
    `field`, or several in `series`, with lists in its `evidence`. `condition` is its incident.
    """

    at: Offset
    event: Text | None = None
    source: Text = "source"
    subject: str = "SUBJECT"
    field: Text = "price"
    series: tuple[Series, ...] | None = None
    severity: Severity = "critical"
    score: Annotated[float, Field(ge=0, le=1)] = 0.9
    evidence: dict[str, Any] = Field(default_factory=dict)
    tags: tuple[str, ...] = ()
    incident: str = ""
    cadence: Offset = 0
    command: Text | None = None
    scope: Text = "*"
    policy: Text | None = None
    lasts: Offset | None = Field(default=None, alias="for")
    expect: tuple[Expected, ...] | None = None
    blocked: tuple[str, ...] | None = None

    @model_validator(mode="after")
    def _one_input(self) -> Step:
        if self.event is not None and self.command is not None:
            raise ValueError("give an event or a command, one a step")
        if self.command is not None and self.command not in COMMANDS:
            raise ValueError(f"command: expected one of {', '.join(COMMANDS)}, found {self.command!r}")
        return self


class Case(Config):
    """One sequence, from nothing."""

    name: Text
    steps: Annotated[tuple[Step, ...], Field(min_length=1)]

    @model_validator(mode="after")
    def _in_order(self) -> Case:
        for earlier, later in zip(self.steps, self.steps[1:], strict=False):
            if later.at < earlier.at:
                raise ValueError(
                    f"steps must be in order of time; at = {format_duration(later.at)!r} "
                    f"stands behind {format_duration(earlier.at)!r}"
                )
        return self


class _File(Config):
    case: Annotated[tuple[Case, ...], Field(min_length=1)]


@dataclass(frozen=True, slots=True)
class Failure:
    """Step `number` of a case was not as expected."""

    number: int
    at_ns: int
    problems: Sequence[str]


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of a case; `acted` names the policies that decided anything in it."""

    case: Case
    failures: Sequence[Failure]
    acted: frozenset[str]


def load_cases(path: Path) -> tuple[Case, ...]:
    """The `[[case]]` tables of a TOML file; `ConfigError` names file, case and key."""
    try:
        document = tomllib.loads(path.read_text("utf-8"))
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path}: cannot be read as TOML with [[case]] tables: {error}") from None
    except tomllib.TOMLDecodeError as error:
        raise ConfigError(f"{path}: not TOML: {error}") from None
    try:
        return _File.model_validate(document).case
    except ValidationError as error:
        raise explain(error, str(path)) from None


def run(config: DecisionConfig, case: Case) -> Outcome:
    """All steps of a case, whether or not one fails."""
    stage = DecisionPipeline("case", config)
    state, failures, acted = stage.initial(), list[Failure](), set[str]()
    for number, step in enumerate(case.steps, 1):
        now_ns = START_NS + step.at
        # What is due by time alone, then what comes now: both are of this step.
        found = list(
            stage.transition(state, Entry("clock.case", number, Note(kind="tick", time_ns=now_ns, body={})))
        )
        entry = _entry(step, number, now_ns)
        found += stage.transition(state, entry) if entry is not None else ()
        acted.update(decision.policy for decision in found)
        problems = [*_decided(step, found), *_blocked(step, stage.views(state))]
        if problems:
            failures.append(Failure(number, step.at, problems))
    return Outcome(case, failures, frozenset(acted))


def _entry(step: Step, number: int, now_ns: int) -> Entry | None:
    if step.command is not None:
        until_ns = None if step.lasts is None else now_ns + step.lasts
        body: Json = {
            "command": step.command, "scope": step.scope, "policy": step.policy, "until_ns": until_ns,
            "author": "case", "reason": f"step {number} of the case",
        }  # fmt: skip
        return Entry("commands.case", number, Note(kind="command", time_ns=now_ns, body=body))
    return (
        None if step.event is None else Entry("events.case", number, _event(step, step.event, number, now_ns))
    )


def _event(step: Step, kind: str, number: int, now_ns: int) -> Event:
    short = kind.removeprefix(TYPE_PREFIX)
    series = step.series or ((step.source, step.subject or "*", step.field),)
    subjects = {subject for _, subject, _ in series} - {"*"}
    subject = subjects.pop() if len(subjects) == 1 else step.source
    own = step.evidence if short.startswith("incident.") else {"evidence": step.evidence}
    data: Json = {
        "series": [list(one) for one in series], "score": step.score, "severity": step.severity,
        "tags": list(step.tags), "cadence_ns": step.cadence, "event_ns": now_ns, "id": step.incident, **own,
    }  # fmt: skip
    return Event(
        id=str(number), source=f"/qts/observer/case/{step.source}", type=TYPE_PREFIX + short, subject=subject,
        time_ns=now_ns, data=data, partitionkey=f"{step.source}/{subject}", sequence=f"{number:020d}",
        causationid=f"case@{number}", correlationid=step.incident, severitytext=step.severity,
    )  # fmt: skip


def _decided(step: Step, found: Sequence[Decision]) -> list[str]:
    if step.expect is None:
        return []
    named = {expected.policy for expected in step.expect}
    left = [decision for decision in found if decision.policy not in _OWN or decision.policy in named]
    missing = []
    for expected in sorted(step.expect, key=_loose):
        fitting = next((decision for decision in left if expected.fits(decision)), None)
        if fitting is None:
            missing.append(f"expected {expected}")
        else:
            left.remove(fitting)
    return [*missing, *(f"not expected: {shown(decision)}" for decision in left)]


def _loose(expected: Expected) -> int:
    """What says most is looked for first."""
    return [expected.policy, expected.scope, expected.code, expected.severity, expected.lasts].count(None)


def _blocked(step: Step, views: Mapping[str, Any]) -> list[str]:
    if step.blocked is None:
        return []
    rows = [row for key, view in views.items() if key.startswith("block.") for row in view["rows"]]
    found = {row["scope"]: ", ".join(entry["policy"] for entry in row["blocks"]) for row in rows}
    missing = sorted(set(step.blocked) - found.keys())
    more = sorted(found.keys() - set(step.blocked))
    return [
        *(f"expected {scope} to be blocked, it is open" for scope in missing),
        *(f"expected {scope} to be open, it is blocked by {found[scope]}" for scope in more),
    ]


def shown(decision: Decision) -> str:
    """A decision as a case would expect it, and why it was made."""
    lasts = f" {_lasts(decision.until_ns - decision.time_ns)}" if decision.until_ns else ""
    reason = decision.reasons[0]
    return (
        f"{decision.verdict} {decision.policy} {decision.scope} ({reason['code']}){lasts}: {reason['text']}"
    )


def _lasts(for_ns: int) -> str:
    return "without an end of its own" if for_ns < 0 else f"for {format_duration(for_ns)}"
