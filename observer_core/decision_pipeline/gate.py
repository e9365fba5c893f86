"""The gate: may this subject be acted on now? Fails closed; pure.

An answer is *allow* only when nothing blocks the subject and every input that the answer
rests on is known, there and fresh. Each reason names its code, its numbers and a
sentence. `on_unknown = "allow"` excuses only that the Observer does not know
(`unknown_subject`, `no_data`); it never excuses a block, staleness or a quarantine.
"""

from __future__ import annotations

from collections.abc import Container, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal

from observer_core.decision_pipeline.scopes import DOMAIN, source_scope, subject_scope
from observer_core.decision_pipeline.views import RISK_LEVELS, RiskLevel
from observer_core.shared.clock import format_duration, format_time
from observer_core.shared.records import ALL, Json, Status

Answer = Literal["allow", "deny"]
UNKNOWN_CODES = frozenset(("unknown_subject", "no_data"))


@dataclass(frozen=True, slots=True)
class GateRequest:
    """`now_ns` is the domain's time line: the clock (live), or the moment asked about."""

    subject: str
    now_ns: int
    domain: str
    on_unknown: Answer = "deny"


@dataclass(frozen=True, slots=True, kw_only=True)
class SourceState:
    """What is known of one source; `subjects` are those of its last snapshot that had any.

    `through_ns`: how far its patterns have been worked; `snapshot_ns`: its newest
    snapshot (None: never had one); both must be younger than `max_age_ns`, and a snapshot not further
    than that ahead of the clock, which was set back then. `closed`: the
    subjects whose market is, as of their newest rows; `*` stands for all of them.
    """

    name: str
    status: Status
    through_ns: int | None
    snapshot_ns: int | None
    max_age_ns: int
    subjects: Container[str]
    stale_subjects: Container[str] = frozenset()
    error: str | None = None
    closed: Container[str] = frozenset()


@dataclass(frozen=True, slots=True, kw_only=True)
class StageState:
    """A stage of the domain (publish, decide): how far it has worked, and how far back it may be."""

    name: str
    through_ns: int | None
    max_lag_ns: int


@dataclass(frozen=True, slots=True, kw_only=True)
class GateInputs:
    """`blocks` are those that stand, by scope; `risk` is the risk row, `quarantined` are closed scopes."""

    sources: Sequence[SourceState]
    stages: Sequence[StageState]
    blocks: Mapping[str, Sequence[Mapping[str, Any]]] = field(default_factory=dict)
    risk: Mapping[str, Any] = field(default_factory=dict)
    quarantined: frozenset[str] = frozenset()

    @staticmethod
    def of(
        views: Mapping[str, Any], sources: Sequence[SourceState], stages: Sequence[StageState]
    ) -> GateInputs:
        """From the decide stage's views, all of them or those of `views.keys_for`.

        `quarantined.*` views are the entries that the stage itself could not work.
        """
        closed = set(views.get("quarantine", {}).get("scopes", ()))
        for key, body in views.items():
            if key.startswith("quarantined."):
                closed.update(body.get("scopes") or (DOMAIN,))
        return GateInputs(
            sources=sources, stages=stages, risk=views.get("risk", {}),
            blocks={
                row["scope"]: row["blocks"]
                for key, view in views.items()
                if key.startswith("block.")
                for row in view["rows"]
            },
            quarantined=frozenset(closed),
        )  # fmt: skip


@dataclass(frozen=True, slots=True)
class GateAnswer:
    """`as_of_ns`: the oldest input it rests on (None: there is none).

    `valid_until_ns`: when the first of them would be too old; ask again before. It is
    never an end of a block: a block ends by a release record only. `risk` is None where the
    views could not be read.
    """

    subject: str
    domain: str
    decision: Answer
    reasons: tuple[Json, ...]
    as_of_ns: int | None
    valid_until_ns: int
    risk: RiskLevel | None

    def to_json(self) -> Json:
        return {
            "subject": self.subject, "domain": self.domain, "decision": self.decision,
            "reasons": list(self.reasons), "as_of_ns": self.as_of_ns, "valid_until_ns": self.valid_until_ns,
            "valid_until": format_time(self.valid_until_ns), "risk": self.risk,
        }  # fmt: skip


def denied(answer: GateAnswer, reasons: Sequence[Json]) -> GateAnswer:
    """The answer with further reasons to deny, if there are any; nothing excuses these."""
    if not reasons:
        return answer
    return replace(answer, decision="deny", reasons=(*answer.reasons, *reasons))


def evaluate(request: GateRequest, inputs: GateInputs) -> GateAnswer:
    """One answer. A subject that several sources know is denied if any one of them denies."""
    now_ns = request.now_ns
    known = [source for source in inputs.sources if request.subject in source.subjects]
    scopes = (DOMAIN, subject_scope(request.subject), *(source_scope(source.name) for source in known))
    reasons = [
        *_blocked(inputs.blocks, scopes),
        *_quarantined(inputs.quarantined, scopes),
        *_unknown(request, inputs.sources, known),
        *(reason for source in known for reason in _source(source, request)),
        *(
            reason
            for stage in inputs.stages
            for reason in _lagging(stage.name, stage.through_ns, stage.max_lag_ns, now_ns)
        ),
    ]
    if not inputs.stages:
        reasons.append(_reason("stage_lag", "nothing is known of the stages that decide", stage=None))
    excused = UNKNOWN_CODES if request.on_unknown == "allow" else frozenset()
    forbidden = any(reason["code"] not in excused for reason in reasons)
    ages = [
        (moment, limit)
        for source in known
        for moment, limit in ((source.snapshot_ns, source.max_age_ns), (source.through_ns, source.max_age_ns))
    ] + [(stage.through_ns, stage.max_lag_ns) for stage in inputs.stages]
    moments = [(min(moment, now_ns), limit) for moment, limit in ages if moment is not None]
    return GateAnswer(
        subject=request.subject, domain=request.domain, decision="deny" if forbidden else "allow",
        reasons=tuple(reasons), as_of_ns=min((moment for moment, _ in moments), default=None),
        valid_until_ns=max(now_ns, min((moment + limit for moment, limit in moments), default=now_ns)),
        risk=_risk(inputs.risk, request.subject, known),
    )  # fmt: skip


def _blocked(blocks: Mapping[str, Sequence[Mapping[str, Any]]], scopes: Sequence[str]) -> Iterator[Json]:
    for scope in scopes:
        for entry in blocks.get(scope, ()):
            until_ns = entry["until_ns"]
            until = "until it is released" if until_ns is None else f"until {format_time(until_ns)}"
            text = (
                f"{scope} is blocked by {entry['policy']} "
                f"since {format_time(entry['since_ns'])} {until}: {entry['reason']}"
            )
            numbers = {
                name: entry[name] for name in ("policy", "version", "since_ns", "until_ns", "decision")
            }
            yield _reason("blocked", text, scope=scope, **numbers)


def _quarantined(quarantined: Container[str], scopes: Sequence[str]) -> Iterator[Json]:
    for scope in scopes:
        if scope in quarantined:
            text = f"a record that concerns {scope} is set aside unread; redrive or release it"
            yield _reason("quarantined", text, scope=scope)


def _unknown(
    request: GateRequest, sources: Sequence[SourceState], known: Sequence[SourceState]
) -> Iterator[Json]:
    if known:
        return
    if any(source.snapshot_ns is not None for source in sources):
        text = f"no source of domain {request.domain} observes {request.subject!r}"
        yield _reason("unknown_subject", text, sources=len(sources))
    else:
        text = f"no source of domain {request.domain} has given data yet"
        yield _reason("no_data", text, sources=len(sources))


def _source(source: SourceState, request: GateRequest) -> Iterator[Json]:
    name, limit_ns = source.name, source.max_age_ns
    if source.status == "unavailable":
        text = f"source {name} does not answer: {source.error or 'no error was given'}"
        yield _reason("source_unavailable", text, source=name, error=source.error)
    if ALL in source.closed or request.subject in source.closed:
        text = f"the market of {request.subject} is closed, as {name} knows it"
        yield _reason("session_closed", text, source=name)
    if source.snapshot_ns is None:
        yield _reason("no_data", f"source {name} has given no data yet", source=name)
        return
    age_ns = request.now_ns - source.snapshot_ns
    if age_ns > limit_ns:
        text = f"the newest data of {name} is {_span(age_ns)} old; the limit is {_span(limit_ns)}"
        yield _reason("source_stale", text, source=name, age_ns=age_ns, limit_ns=limit_ns)
    elif age_ns < -limit_ns:
        text = f"the newest data of {name} are {_span(-age_ns)} ahead of the clock: nobody knows their age"
        yield _reason("source_stale", text, source=name, age_ns=age_ns, limit_ns=limit_ns)
    if request.subject in source.stale_subjects:
        text = f"{request.subject} has stopped reporting in {name}, which is {_span(age_ns)} old itself"
        yield _reason("subject_stale", text, source=name, subject=request.subject, age_ns=age_ns)
    yield from _lagging(f"recognise {name}", source.through_ns, limit_ns, request.now_ns)


def _lagging(stage: str, through_ns: int | None, limit_ns: int, now_ns: int) -> Iterator[Json]:
    if through_ns is None:
        text = f"stage {stage} has not worked anything yet"
        yield _reason("stage_lag", text, stage=stage, lag_ns=None, limit_ns=limit_ns)
    elif now_ns - through_ns > limit_ns:
        lag_ns = now_ns - through_ns
        text = f"stage {stage} is {_span(lag_ns)} behind; the limit is {_span(limit_ns)}"
        yield _reason("stage_lag", text, stage=stage, lag_ns=lag_ns, limit_ns=limit_ns)


def _risk(row: Mapping[str, Any], subject: str, known: Sequence[SourceState]) -> RiskLevel:
    sources = row.get("sources", {})
    levels: list[RiskLevel] = [row.get("subjects", {}).get(subject, "calm")]
    levels += [sources.get(source.name, "calm") for source in known]
    return max(levels, key=RISK_LEVELS.index)


def _reason(code: str, text: str, **numbers: Any) -> Json:
    return {"code": code, "text": text, **numbers}


def _span(ns: int) -> str:
    return format_duration(max(ns, 0))
