"""Pre-trade controls: what is in force, when each last acted and how often, its tests, and the evidence.

A control acts by decisions of its policy or code, or by answers of the gate with its code.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from observer_core.decision_pipeline.blocking import KILL, OPERATOR
from observer_core.decision_pipeline.config import DecisionConfig
from observer_core.decision_pipeline.gate import UNKNOWN_CODES
from observer_core.decision_pipeline.intents import CHECKS
from observer_core.decision_pipeline.policy import Policy
from observer_core.decision_pipeline.presets import QUARANTINE
from observer_core.retention.config import term_of
from observer_core.runtime.gate.journal import journal_name
from observer_core.runtime.reading.lines import Line
from observer_core.runtime.reports.facts import Ground
from observer_core.runtime.reports.period import Period
from observer_core.runtime.reports.stretch import Stretches
from observer_core.runtime.reports.told import Told, told
from observer_core.runtime.reports.upkeep import Anchors, anchors
from observer_core.runtime.settings import Settings
from observer_core.runtime.study.policy_cases import Outcome, load_cases, run
from observer_core.shared.canonical import decode
from observer_core.shared.clock import format_duration
from observer_core.shared.records import Json
from observer_core.storage.recovery import OPERATIONS

_GATE_CODES: Final[Mapping[str, tuple[str, ...]]] = {
    "fresh": ("source_stale", "subject_stale", "source_unavailable", "stage_lag"),
    "session": ("session_closed",), "unknown": tuple(sorted(UNKNOWN_CODES)),
    "price_collar": ("price_collar",), "max_quantity": ("max_quantity",), "max_notional": ("max_notional",),
    "max_messages": ("max_messages",), "no_duplicate_within": ("duplicate",), "not_recorded": (),
}  # fmt: skip
_TWO: Final = ("needs_confirmation", "confirmed", "not_confirmed", "same_person")


@dataclass(slots=True)
class Acted:
    """How often in the period, and the newest record of it at all (None: not among those searched)."""

    count: int = 0
    last_ns: int | None = None
    record: str = ""

    def at(self, time_ns: int, record: str, *, counts: bool) -> None:
        self.count += counts
        self.last_ns, self.record = time_ns, record


@dataclass(slots=True)
class Control:
    """`key`: what it is called in the texts, or a policy's name with `policy` set.

    `setting`: as configured; "" where it has no setting of its own. `state`: on, off or shadow.
    """

    key: str
    policy: Policy | None
    state: str
    setting: str
    acted: Acted


@dataclass(frozen=True, slots=True)
class KeptFor:
    """Journals of one kind. `keep_ns` None: forever. `removed_ns`: up to then records were removed."""

    kind: str
    journals: int
    keep_ns: int | None
    rule: str
    oldest_ns: int | None
    removed_ns: int | None


@dataclass(slots=True)
class ControlFacts:
    domain: str
    live: bool
    period: Period
    controls: list[Control]
    policies: tuple[Policy, ...]
    outcomes: list[Outcome]
    told: Told
    kept: list[KeptFor]
    anchors: Anchors
    backups: Acted
    settings: Settings = field(repr=False)

    def tests_of(self, policy: str) -> tuple[int, int]:
        """Cases in which it decides something, and how many of them are not as expected."""
        found = [one for one in self.outcomes if policy in one.acted]
        return len(found), sum(bool(one.failures) for one in found)

    def to_json(self) -> Json:
        from observer_core.runtime.reports.facts import plain

        return {
            "domain": self.domain, "live": self.live, "period": plain(self.period),
            "controls": [
                {"control": one.key, "policy": None if one.policy is None else one.policy.canonical(),
                 "state": one.state, "setting": one.setting, **plain(one.acted)}
                for one in self.controls
            ],
            "cases": [
                {"case": one.case.name, "ok": not one.failures, "acted": sorted(one.acted)}
                for one in self.outcomes
            ],
            "latency": plain(self.told), "kept": plain(self.kept), "anchors": plain(self.anchors),
            "backups": plain(self.backups),
        }  # fmt: skip


def control(ground: Ground, domain: str, period: Period) -> ControlFacts:
    settings, stretches = ground.settings, Stretches(ground.journals, period, ground.pace)
    config, live = settings.decisions(), ground.gate.is_live(domain)
    ground.tell("decisions")
    by_policy, by_code = _decisions(stretches, domain)
    ground.tell("answers of the gate")
    answers = _answers(stretches, domain)
    ground.tell("deliveries")
    deliveries = told(stretches, domain, live=live)
    ground.tell("tests")
    outcomes = [
        run(config, case)
        for file in settings.reports.cases
        for case in load_cases(settings.paths.root / file)
    ]
    return ControlFacts(
        domain=domain, live=live, period=period,
        controls=list(_controls(settings, config, domain, by_policy, by_code, answers)),
        policies=config.policies, outcomes=outcomes, told=deliveries, kept=list(_kept(ground, domain)),
        anchors=anchors(stretches), backups=_backups(stretches), settings=settings,
    )  # fmt: skip


# ---------------------------------------------------------------------- what has acted


def _decisions(stretches: Stretches, domain: str) -> tuple[dict[str, Acted], dict[str, Acted]]:
    """By policy (blocks and judgments, and what it withheld by itself), and by the first reason's code."""
    name = f"decisions.{domain}"
    by_policy: dict[str, Acted] = {}
    by_code: dict[str, Acted] = {}

    def take(line: Line, *, counts: bool) -> None:
        value = decode(line.raw)
        if value.get("kind") != "decision":
            return
        code = str(value["reasons"][0].get("code", "?")) if value["reasons"] else "?"
        policy, verdict = value["policy"], value["verdict"]
        by_code.setdefault(f"{policy} {code}", Acted()).at(line.time_ns, line.ref, counts=counts)
        if verdict in ("block", "judgment") or code in ("shadow", "released"):
            who = str(value["reasons"][0].get("by", policy)) if code == "released" else policy
            by_policy.setdefault(who, Acted()).at(line.time_ns, line.ref, counts=counts)

    for line in stretches.earlier(name, lambda raw: b'"kind":"decision"' in raw):
        take(line, counts=False)
    for line in stretches.lines(name):
        take(line, counts=True)
    return by_policy, by_code


def _answers(stretches: Stretches, domain: str) -> dict[str, Acted]:
    """Denials of the gate, by the code of each reason."""
    name, found = journal_name(domain), dict[str, Acted]()

    def take(line: Line, *, counts: bool) -> None:
        value: dict[str, Any] = decode(line.raw)
        codes: Iterable[str] = ()
        if value.get("kind") == "evaluation" and value["verdict"] != "allow":
            codes = {str(reason["code"]) for reason in value["reasons"]}
        elif value.get("kind") == "not_recorded":
            codes = ("not_recorded",)
        for code in codes:
            found.setdefault(code, Acted()).at(line.time_ns, line.ref, counts=counts)

    denied = (b'"verdict":"non_execution"', b'"kind":"not_recorded"')
    for line in stretches.earlier(name, lambda raw: any(mark in raw for mark in denied)):
        take(line, counts=False)
    for line in stretches.lines(name):
        take(line, counts=True)
    return found


def _backups(stretches: Stretches) -> Acted:
    """Backups that were made."""
    found = Acted()

    def made(raw: bytes) -> bool:
        return b'"kind":"backup"' in raw and b'"act":"made"' in raw

    for line in stretches.earlier(OPERATIONS, made):
        found.at(line.time_ns, line.ref, counts=False)
    for line in stretches.lines(OPERATIONS):
        if made(line.raw):
            found.at(line.time_ns, line.ref, counts=True)
    return found


def _joined(found: Iterable[Acted | None]) -> Acted:
    """Of several codes together; the newest record counts."""
    known = [one for one in found if one is not None]
    newest = max(known, key=lambda one: one.last_ns or 0, default=Acted())
    return Acted(sum(one.count for one in known), newest.last_ns, newest.record)


# ---------------------------------------------------------------------- which controls there are


def _controls(
    settings: Settings, config: DecisionConfig, domain: str, by_policy: Mapping[str, Acted],
    by_code: Mapping[str, Acted], answers: Mapping[str, Acted],
) -> Iterator[Control]:  # fmt: skip
    two = config.control
    yield Control("kill", None, "on", "", _joined([by_policy.get(KILL)]))
    operators = [by_code.get(f"{OPERATOR} command")]
    yield Control("operator", None, "on", "", _joined(operators))
    asked = _joined(by_code.get(f"{OPERATOR} {code}") for code in _TWO)
    names = ", ".join(two.two_person)
    setting = f"{names} ({format_duration(two.confirm_within)})" if names else ""
    yield Control("two_person", None, "on" if names else "off", setting, asked)
    yield Control("override", None, "on", "", _joined([by_code.get("override override")]))
    for policy in config.policies:
        state = "shadow" if policy.shadow else "on"
        yield Control(policy.name, policy, state, "", _joined([by_policy.get(policy.name)]))
    yield Control("quarantine", None, "on", "", _joined([by_policy.get(QUARANTINE.name)]))
    limits = _limits(settings)
    for key, codes in _GATE_CODES.items():
        acted = _joined(answers.get(code) for code in (codes or (key,)))
        if key in CHECKS:
            yield Control(key, None, "on" if limits[key] else "off", "; ".join(limits[key]), acted)
        elif key == "session":
            open_at = [
                item.name for item in settings.source if item.domain == domain and item.normalise.session
            ]
            yield Control(key, None, "on" if open_at else "off", ", ".join(open_at), acted)
        elif key == "fresh":
            yield Control(key, None, "on", _ages(settings, domain), acted)
        elif key == "unknown":
            allowed = [item.name for item in settings.caller if item.on_unknown == "allow"]
            yield Control(key, None, "on", ", ".join(f"{name}: allow" for name in allowed), acted)
        else:
            yield Control(key, None, "on", "", acted)


def _ages(settings: Settings, domain: str) -> str:
    """How old what may be: the stages, and each source."""
    found = [f"stages {format_duration(settings.max_lag)}"]
    found += [
        f"{item.name} {format_duration(settings.max_age_ns(settings.parts_of(item.name)[0]) or 0)}"
        for item in settings.source
        if item.domain == domain
    ]
    return ", ".join(found)


def _limits(settings: Settings) -> dict[str, list[str]]:
    """Which rules have which check, and at what."""
    found: dict[str, list[str]] = {name: [] for name in CHECKS}
    rules = [(item.name, item) for item in settings.intent]
    rules += [(f"caller {item.name}", item.limits) for item in settings.caller]  # type: ignore[misc]
    for name, limits in rules:
        for check in limits.checks:
            value = getattr(limits, check)
            if check == "no_duplicate_within":
                value = format_duration(value)
            elif check == "price_collar":
                value = f"{value:g} %"
            elif check == "max_messages":
                value = f"{value:,} / {format_duration(limits.messages_within)}"
            else:
                value = f"{value:g}"
            found[check].append(f"{name}: {value}")
    return found


# ---------------------------------------------------------------------- evidence


def _kept(ground: Ground, domain: str) -> Iterator[KeptFor]:
    """How long the journals of each kind are kept; of several the shortest."""
    journals, retention = ground.journals, ground.settings.retention
    names = [*journals.names(domain=domain), OPERATIONS, "ledger.live", "deadletters.live"]
    kinds: dict[str, list[str]] = {}
    for name in dict.fromkeys(names):
        if journals.domain_of(name) is not None:
            kinds.setdefault(name.partition(".")[0], []).append(name)
    for kind, found in sorted(kinds.items()):
        terms = [term_of(retention, name, journals.domain_of(name) or "") for name in found]
        ending = [term for term in terms if term.keep_ns is not None]
        shortest = min(ending, key=lambda term: term.keep_ns or 0, default=terms[0])
        bases = [journals.open(name).base() for name in found]
        removed = [base.time_ns for base in bases if base.position]
        oldest = [first for name in found if (first := _first_ns(ground, name)) is not None]
        yield KeptFor(
            kind, len(found), shortest.keep_ns, shortest.rule, min(oldest, default=None),
            max(removed, default=None),
        )  # fmt: skip


def _first_ns(ground: Ground, name: str) -> int | None:
    journal = ground.journals.open(name)
    first = journal.base().position + 1
    return journal.entry(first).time_ns if journal.head().position >= first else None


def counts(controls: Iterable[Control]) -> Counter[str]:
    """How many are on, off, and watching."""
    return Counter(one.state for one in controls)
