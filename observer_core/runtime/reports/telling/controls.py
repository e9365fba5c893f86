"""The report on pre-trade controls: control, policy, tests, alert latency, retention."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from observer_core.decision_pipeline.blocking import KILL, OPERATOR
from observer_core.decision_pipeline.policy import Policy
from observer_core.decision_pipeline.presets import QUARANTINE
from observer_core.logs.redaction import without_paths
from observer_core.runtime.audit.ledger_config import BlobPlace, FilePlace, WebhookPlace
from observer_core.runtime.reports.control import Control, ControlFacts, counts
from observer_core.runtime.reports.document import Block, Document, Figure, Figures, Remark, Section, Table
from observer_core.runtime.reports.telling.daily import days, frame, labels
from observer_core.runtime.reports.telling.kept import latencies
from observer_core.runtime.reports.telling.parts import asking, basis, listing
from observer_core.runtime.reports.words import NOTHING, Words
from observer_core.shared.clock import format_duration

_DECIDED_AS: Mapping[str, str] = {
    "kill": KILL,
    "operator": OPERATOR,
    "two_person": OPERATOR,
    "override": "override",
    "quarantine": QUARANTINE.name,
}
"""Under which policy the decisions of a control stand that is none."""


def document(facts: ControlFacts, words: Words, made_ns: int | None = None) -> Document:
    title = words("title.report", kind=words("title.control"), domain=facts.domain, days=days(facts.period))
    sections = [
        _controls(facts, words),
        _policies(facts, words),
        _tests(facts, words),
        _latency(facts, words),
        _retention(facts, words),
    ]
    about = frame(facts.domain, facts.period, words, made_ns, live=facts.live)
    return Document(words.lang, title, about, sections, labels(words))


def _controls(facts: ControlFacts, words: Words) -> Section:
    state = counts(facts.controls)
    fired = [one for one in facts.controls if one.acted.count]
    passing = sum(1 for one in facts.policies if _passes(facts, one))
    beyond = facts.told.whole.beyond() if facts.live else 0
    figures = [
        Figure(
            words("figure.controls"),
            words.number(state["on"]),
            words("figure.controls.note", off=state["off"]) if state["off"] else "",
        ),
        Figure(
            words("figure.fired"),
            words.number(len(fired)),
            words("figure.fired.note", count=f"{sum(one.acted.count for one in fired):,}"),
        ),
        Figure(
            words("figure.tested"),
            words.number(passing),
            words("figure.tested.note", count=len(facts.policies)),
            "ok" if passing == len(facts.policies) else "warn",
        ),
    ]
    if len(facts.told.whole):
        figures.append(
            Figure(
                words("figure.beyond"),
                words.of(beyond, len(facts.told.whole)),
                state="bad" if beyond else "ok",
            )
        )
    rows = [
        [
            _name(one, words),
            _does(one, words),
            words(f"state.{one.state}") + (f": {one.setting}" if one.setting else ""),
            _tests_of(facts, one, words),
            words.number(one.acted.count),
            words("never") if one.acted.last_ns is None else words.time(one.acted.last_ns),
            one.acted.record,
        ]
        for one in facts.controls
    ]
    names = ("control", "does", "state", "tests", "count_period", "last", "record")
    head = [words(f"column.{name}") for name in names]
    return Section(
        "controls",
        words("section.controls"),
        [
            Remark(words("remark.control")),
            Figures(figures),
            Table(words("table.controls"), head, rows, frozenset((4,)), frozenset((6,))),
            basis(
                words,
                ["control", "last"],
                (),
                [
                    listing("decisions", facts.domain, facts.period),
                    asking("evaluations", facts.period, facts.domain),
                    "observer explain RECORD",
                ],
            ),
        ],
    )


def _policies(facts: ControlFacts, words: Words) -> Section:
    rows = [
        [
            f"{one.name} v{one.version}",
            one.owner,
            one.description,
            _text(one),
            _tested(facts, one.name, words),
        ]
        for one in facts.policies
    ]
    head = [words(f"column.{name}") for name in ("policy", "owner", "does", "text", "tests")]
    return Section(
        "policies",
        words("section.policies"),
        [
            Table(words("table.in_force"), head, rows, frozenset(), frozenset((0,))),
            basis(words, ["text"], (), ["observer config show", "observer policy lint FILE"]),
        ],
    )


def _tests(facts: ControlFacts, words: Words) -> Section:
    blocks: list[Block] = []
    failed = [one for one in facts.outcomes if one.failures]
    if not facts.outcomes:
        blocks.append(Remark(words("remark.no_cases"), warn=True))
    elif failed:
        blocks.append(Remark(words("remark.cases_failed", count=len(failed)), warn=True))
    rows = []
    for one in facts.outcomes:
        why = "; ".join(problem for failure in one.failures for problem in failure.problems)
        result = words("result.fail", why=why) if one.failures else words("result.pass")
        rows.append([one.case.name, result, ", ".join(sorted(one.acted)) or NOTHING])
    if rows:
        head = [words(f"column.{name}") for name in ("case", "result", "acted_by")]
        blocks.append(Table(words("table.cases"), head, rows))
    blocks.append(basis(words, ["case"], (), ["observer policy test POLICIES CASES"]))
    return Section("tests", words("section.tests"), blocks)


def _latency(facts: ControlFacts, words: Words) -> Section:
    blocks = latencies(facts.told, words, live=facts.live)
    records = [one.refs for one in facts.told.subscribers][:12]
    blocks.append(
        basis(words, ["latency", "sink"], records, [asking("deliveries", facts.period, facts.domain)])
    )
    return Section("latency", words("section.latency"), blocks)


def _retention(facts: ControlFacts, words: Words) -> Section:
    settings = facts.settings
    blocks: list[Block] = [Remark(words("remark.evidence"))]
    if not settings.retention.rule:
        blocks.append(Remark(words("remark.keep_forever")))
    newest = words.time(facts.anchors.newest_ns)
    if settings.ledger.every is not None:
        text = words(
            "remark.anchored",
            every=format_duration(settings.ledger.every),
            where=_outside(facts, words),
            time=newest,
        )
        blocks.append(Remark(text))
    else:
        known = facts.anchors.newest_ns is not None
        text = words("remark.anchored_hand", time=newest) if known else words("remark.no_anchors")
        blocks.append(Remark(text, warn=not known))
    backup, done = settings.backup, facts.backups
    if backup.every is not None and backup.to is not None:
        where = getattr(backup.to, "container", None) or without_paths(
            getattr(backup.to, "path", backup.to.kind)
        )
        text = words(
            "remark.backup_on",
            every=format_duration(backup.every),
            where=where,
            count=done.count,
            time=words.time(done.last_ns),
        )
        blocks.append(Remark(text))
    else:
        blocks.append(Remark(words("remark.backup_hand", count=done.count), warn=True))
    rows = [
        [
            words.named("journal", one.kind),
            words.number(one.journals),
            words("keep.forever") if one.keep_ns is None else words.span(one.keep_ns),
            one.rule if settings.retention.rule else NOTHING,
            words.time(one.oldest_ns),
            words.time(one.removed_ns),
        ]
        for one in facts.kept
    ]
    head = [words(f"column.{name}") for name in ("journals", "count", "keep", "setting", "oldest", "removed")]
    blocks.append(Table(words("table.kept"), head, rows, frozenset((1,))))
    commands = [
        "observer replay --verify",
        "observer verify",
        "observer ledger verify",
        "observer explain DECISION",
    ]
    blocks.append(basis(words, ["kept", "anchor"], (), commands))
    return Section("retention", words("section.retention"), blocks)


# ---------------------------------------------------------------------- parts


def _name(one: Control, words: Words) -> str:
    return (
        words(f"control.{one.key}")
        if one.policy is None
        else words("control.policy", name=f"{one.key} v{one.policy.version}")
    )


def _does(one: Control, words: Words) -> str:
    return words(f"control.{one.key}.does") if one.policy is None else one.policy.description


def _passes(facts: ControlFacts, policy: Policy) -> bool:
    count, failing = facts.tests_of(policy.name)
    return bool(count) and not failing


def _tests_of(facts: ControlFacts, control: Control, words: Words) -> str:
    """Of what no case can make act there are none."""
    name = _DECIDED_AS.get(control.key) if control.policy is None else control.key
    return NOTHING if name is None else _tested(facts, name, words)


def _tested(facts: ControlFacts, policy: str, words: Words) -> str:
    count, failing = facts.tests_of(policy)
    if failing:
        return words("tests.failing", failing=failing, count=count)
    return words("tests.passing", count=count) if count else words("tests.none")


def _text(policy: Policy) -> str:
    """What it says beside name, version, owner and description: the keys that are given."""
    given: dict[str, Any] = policy.model_dump(mode="json", by_alias=True, exclude_defaults=True)
    told = ("name", "version", "owner", "description")
    left = {key: value for key, value in given.items() if key not in told}
    return ", ".join(f"{key} = {_spelled(value)}" for key, value in left.items())


def _spelled(value: Any) -> str:
    if isinstance(value, Mapping):
        return "{ " + ", ".join(f"{key} = {_spelled(item)}" for key, item in value.items()) + " }"
    if isinstance(value, list | tuple):
        return "[" + ", ".join(_spelled(item) for item in value) + "]"
    if isinstance(value, bool):
        return str(value).lower()
    return f'"{value}"' if isinstance(value, str) else str(value)


def _outside(facts: ControlFacts, words: Words) -> str:
    """Where anchors go, in words."""
    match facts.settings.ledger.to:
        case FilePlace() as place:
            return without_paths(place.path)
        case BlobPlace() as place:
            return place.container
        case WebhookPlace() as place:
            return place.url.env
    return words("where.none")
