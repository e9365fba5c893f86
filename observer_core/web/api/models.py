"""What the API speaks: every request and answer of /v1, as OpenAPI shows it.

Times called `time` are RFC 3339; those called `*_ns` are epoch nanoseconds, and `*_ms` epoch
milliseconds (a float, for charts). A `ref` cites a record: `journal@position`. A `record` is exactly
what is stored. A cursor is opaque; a page may be short or empty while `next` says that there is more.
"""

from __future__ import annotations

from typing import Annotated, Any, Generic, Literal, TypeVar

from pydantic import BaseModel, ConfigDict, Field

from observer_core.shared.records import Severity

T = TypeVar("T")
Text = Annotated[str, Field(min_length=1, max_length=256)]
Reason = Annotated[str, Field(min_length=1, max_length=2_000)]
Level = Literal["calm", "elevated", "critical", "unknown"]
GateState = Literal["open", "blocked", "unknown"]


class Model(BaseModel):
    """Unknown keys are refused in what is asked, and never answered."""

    model_config = ConfigDict(extra="forbid")


class ProblemDetails(BaseModel):
    """RFC 9457. `errors` lists what was wrong where several things were."""

    model_config = ConfigDict(extra="allow")
    type: str
    title: str
    status: int
    detail: str


class Page(Model, Generic[T]):
    """A page of a list, newest first; `next` is the cursor of the one after it."""

    items: list[T]
    next: str | None


# ---------------------------------------------------------------------- records


class RecordItem(Model):
    """A stored record with its place. `record` has the keys of its kind (`docs/api.md`)."""

    ref: str
    journal: str
    position: int
    time: str
    record: dict[str, Any]


class IncidentItem(Model):
    """An incident as its newest event left it."""

    id: str
    domain: str
    source: str
    venue: str
    state: Literal["open", "resolved"]
    severity: Severity
    opened_ns: int
    last_ns: int
    changed_ns: int
    score: float
    series: list[tuple[str, str, str]]
    series_count: int
    started: list[tuple[str, str, str]]
    standing: int
    patterns: dict[str, int]
    event: str


class RankedSeries(Model):
    """A series of an incident: when it moved first, in which pattern, and how strongly."""

    source: str
    subject: str
    field: str
    first_ns: int
    score: float
    pattern: str
    started: bool


class TimelineEntry(Model):
    """Something that happened to an incident. `text` says it in a line."""

    time: str
    time_ns: int
    kind: Literal["incident", "event", "decision", "delivery", "feedback"]
    ref: str
    severity: Severity | None
    text: str
    record: dict[str, Any]


class Incident(Model):
    """An incident with all that became of it; `right` is the newest feedback, if any."""

    incident: IncidentItem
    ranked: list[RankedSeries]
    timeline: list[TimelineEntry]
    truncated: bool
    patterns: list[str]
    right: bool | None
    feedback: dict[str, bool]


class Step(Model):
    """A record of a decision's chain with its bytes' place and chain hash, and what it follows from."""

    ref: str
    title: str
    facts: list[str]
    hash: str
    segment: str
    offset: int
    length: int
    record: dict[str, Any]
    policy: dict[str, Any]
    origin_rows: list[dict[str, Any]]
    rests: dict[str, Any]
    causes: list[Step]


class Curve(Model):
    """The series of the first pattern of the chain around its moment; null: not observed."""

    name: str
    label: str
    time_ms: list[float]
    value: list[float | None]
    marked_ms: float


class Verified(Model):
    """Whether the stored bytes of the chain's records hash to what their journals say.

    `checked` records were read again; `faults` says what is wrong, and where.
    """

    sound: bool
    checked: int
    faults: list[str]


class Became(Model):
    """What ended a block, who was told of a decision, and whom it was kept from: oldest first.

    `truncated`: there may be more.
    """

    entries: list[TimelineEntry]
    truncated: bool


class Lineage(Model):
    """Decision → events → patterns → snapshot rows."""

    step: Step
    policy_text: str | None
    curve: Curve | None
    verified: Verified
    became: Became


# ---------------------------------------------------------------------- series


class SeriesItem(Model):
    """A series. `candles`: its source has open, high, low and close of it."""

    source: str
    subject: str
    field: str
    unit: str | None
    candles: bool


class SourceSeries(Model):
    """The series of one source: every subject has these fields, or some of them."""

    source: str
    domain: str
    subjects: list[str]
    fields: list[str]
    candles: bool
    first_ns: int | None
    last_ns: int | None


class SeriesList(Model):
    """The series of all sources."""

    items: list[SourceSeries]


class Points(Model):
    """A series, reduced to at most so many points.

    `time_ms` is when it happened by the source's clock, ascending. A line has `value`
    (LTTB: of each bucket the point that keeps the shape), candles have `open`, `high`, `low`,
    `close` and, where the source has it, `volume`. null stands where a gap is to be drawn.
    `rows`: how many observations it was reduced from. `complete`: false while older rows are being
    read in; ask again.
    """

    source: str
    subject: str
    field: str
    unit: str | None
    form: Literal["line", "candles"]
    rows: int
    bucket_ms: float | None
    time_ms: list[float]
    value: list[float | None] | None = None
    open: list[float | None] | None = None
    high: list[float | None] | None = None
    low: list[float | None] | None = None
    close: list[float | None] | None = None
    volume: list[float | None] | None = None
    first_ms: float | None
    last_ms: float | None
    complete: bool


class Marker(Model):
    """A pattern of a series, for a chart."""

    ref: str
    time_ms: float
    pattern: str
    severity: Severity
    direction: Literal["up", "down", "none"]
    score: float
    evidence: dict[str, Any]


class Markers(Model):
    """The patterns of a series in a span, oldest first; `truncated`: there are more."""

    items: list[Marker]
    truncated: bool


# ---------------------------------------------------------------------- how things stand


class SourceStatus(Model):
    """A source's feed. `age_ns` is that of its newest data in its domain's time."""

    source: str
    kind: str | None
    status: Literal["ok", "stale", "unavailable", "unknown"]
    error: str | None
    position: int
    newest_ns: int | None
    age_ns: int | None
    max_age_ns: int
    subjects: int
    stale_subjects: int


class StageStatus(Model):
    """A stage: how far in time it has worked, and how many records wait for it."""

    stage: str
    journal: str
    position: int
    epoch: int
    through_ns: int | None
    lag_ns: int | None
    max_lag_ns: int
    behind: int


class DomainStatus(Model):
    """A domain. `positions` are its journals' heads: what moved is read again.

    `gate`: how many subjects are open, blocked, unknown.
    """

    domain: str
    mode: Literal["live", "recorded"]
    now_ns: int
    risk: Level
    killed: list[str]
    gate: dict[GateState, int]
    incidents: int
    blocks: int
    requests: int
    silences: int
    quarantined: int
    positions: dict[str, int]
    sources: list[SourceStatus]
    stages: list[StageStatus]


class Status(Model):
    """Where everything stands: what a page asks for all the time.

    `version`: of the Observer. `refresh_ms`: how often asking is worth while here. `safe_mode`: it acts on
    nothing, and the gate denies everything.
    """

    version: str
    time: str
    now_ns: int
    runtime: Literal["standalone", "functions"]
    refresh_ms: int
    health: Literal["pass", "warn", "fail"]
    safe_mode: bool
    domains: list[DomainStatus]


class GateReason(BaseModel):
    """Why: `code` for programs, `text` for people, and the numbers of the code."""

    model_config = ConfigDict(extra="allow")
    code: str
    text: str


class BoardRow(Model):
    """The gate of one subject. `until_ns`: when the last of its blocks ends (null: not by time).

    `reasons` indexes the board's reasons.
    """

    subject: str
    state: GateState
    risk: Level
    sources: list[str]
    since_ns: int | None
    until_ns: int | None
    reasons: list[int]


class Board(Model):
    """The gate of every subject of a domain, those that need a look first.

    `reasons` holds each reason once. `scopes` names what is closed by scope.
    """

    domain: str
    now_ns: int
    counts: dict[GateState, int]
    scopes: list[str]
    reasons: list[GateReason]
    rows: list[BoardRow]


class Block(Model):
    """A block, standing or ended. `until_ns`: when it is to end; `released_ns`: when it did."""

    scope: str
    policy: str
    reason: str
    severity: Severity
    since_ns: int
    until_ns: int | None
    released_ns: int | None
    released_by: str | None
    decision: str
    lifted: bool


class BlockPage(Page[Block]):
    """Blocks, newest first. `reaches_ns`: those that ended before may be missing (null: none is)."""

    reaches_ns: int | None


class Override(Model):
    """Blocks of policies that are lifted for a while."""

    scope: str
    author: str
    principal: str | None
    reason: str
    since_ns: int
    until_ns: int
    decision: str


class ConfirmationRequest(Model):
    """A command that waits for a second person."""

    request: str
    command: str
    scope: str
    author: str
    principal: str | None
    reason: str
    since_ns: int
    expires_ns: int
    until_ns: int | None


class Silence(Model):
    """Nobody is told of what matches, for a while."""

    id: str
    domain: str
    match: dict[str, Any]
    author: str
    reason: str
    start_ns: int
    end_ns: int


class Subscription(Model):
    """Who is told, and how far he is. `sink` never shows a secret."""

    name: str
    domain: str
    stream: str
    sink: dict[str, Any]
    configured: bool
    state: Literal["waiting", "active", "paused"]
    position: int | None
    lag: int | None
    attempt: int


class Policy(Model):
    """A policy in force, as settings and as TOML."""

    name: str
    version: int
    text: str
    settings: dict[str, Any]


class Policies(Model):
    """The policies in force in a domain: those of its newest epoch."""

    domain: str
    epoch: int
    version: str | None
    items: list[Policy]


class DeadLetter(Model):
    """What the Functions app, or a delivery, gave up on."""

    id: str
    buried_ns: int
    queue: str
    state: Literal["buried", "redriven", "dropped"]
    dequeue_count: int
    text: str


class Quarantined(Model):
    """A record that a stage set aside; what it concerns is closed."""

    journal: str
    ref: str
    scopes: list[str]
    error: str | None
    time_ns: int | None


class JournalSize(Model):
    """How much a journal holds. `last_day`: records of its newest 24 hours."""

    journal: str
    domain: str
    records: int
    last_day: int
    newest_ns: int | None


class Storage(Model):
    """How much is stored. `folders` (bytes) and `free` are null on a storage account.

    `bytes_a_day`: growth as written in the last 24 hours. `operations`: of this process, by kind.
    """

    where: str
    folders: dict[str, int] | None
    free: int | None
    bytes_a_day: float | None
    operations: dict[str, int] | None
    cost: dict[str, Any] | None
    journals: list[JournalSize]


class LogLine(Model):
    """A line of a log file: `event` and the rest of its keys."""

    time: str | None
    level: str | None
    event: str
    fields: dict[str, Any]


class Log(Model):
    """The end of a log file, newest last."""

    file: str
    lines: list[LogLine]


class Anchor(Model):
    """Where all journals stood, and the digest over them."""

    ref: str
    time_ns: int
    digest: str
    journals: int


class Ledger(Model):
    """The heads of all journals, and the anchors over them."""

    heads: dict[str, dict[str, Any]]
    anchors: list[Anchor]
    outside: str | None
    every_ns: int | None
    chain: dict[str, Any] | None


class Who(Model):
    """Who asks, as it was proved: `principal` is null where nobody asks for proof (loopback)."""

    principal: str | None
    name: str | None
    scopes: list[Literal["read", "push", "operate", "admin"]]
    proof: Literal["loopback", "token", "function_key", "easy_auth"]
    two_person: list[str]
    confirm_within_ns: int


# ---------------------------------------------------------------------- health, the gate, pushes


class HealthCheck(Model):
    """One entry of a check: a component, how it is, and what was measured; for anybody, how it is alone."""

    component: Annotated[str | None, Field(alias="componentId")] = None
    status: Literal["pass", "warn", "fail"]
    value: Annotated[Any, Field(alias="observedValue")] = None
    unit: Annotated[str | None, Field(alias="observedUnit")] = None
    time: str | None = None
    output: str | None = None


class HealthReport(Model):
    """draft-inadarei-api-health-check: the worst of its checks, and all of them by name."""

    status: Literal["pass", "warn", "fail"]
    version: str | None = None
    releaseId: str | None = None  # noqa: N815 - the draft's name
    description: str | None = None
    time: str | None = None
    checks: dict[str, list[HealthCheck]]


class GateAnswered(Model):
    """May a subject be acted on. Good until `valid_until`; `id` is the record of the answer.

    `as_of_ns`: the oldest input that it rests on. `id` is absent where a moment was asked for, and null
    where the answer could not be recorded: then it is a denial.
    """

    subject: str
    domain: str
    decision: Literal["allow", "deny"]
    reasons: list[GateReason]
    as_of_ns: int | None
    valid_until_ns: int
    valid_until: str
    risk: Literal["calm", "elevated", "critical"] | None
    id: str | None = None


class AuthZenEntity(BaseModel):
    """AuthZEN's subject (who asks) or resource (an instrument)."""

    model_config = ConfigDict(extra="allow")
    type: Text
    id: Text
    properties: dict[str, Any] | None = None


class AuthZenAction(BaseModel):
    """What is to be done: `order`, …"""

    model_config = ConfigDict(extra="allow")
    name: Text
    properties: dict[str, Any] | None = None


class AuthZenParts(BaseModel):
    """Some of a question, or defaults for several. `context` is recorded: no secret belongs there."""

    model_config = ConfigDict(extra="allow")
    subject: AuthZenEntity | None = None
    action: AuthZenAction | None = None
    resource: AuthZenEntity | None = None
    context: dict[str, Any] | None = None


class EvaluationRequest(AuthZenParts):
    """May `subject` do `action` with `resource`? `resource.properties.domain` names a domain."""

    subject: AuthZenEntity
    action: AuthZenAction
    resource: AuthZenEntity


class EvaluationOptions(BaseModel):
    """When the rest is not evaluated any more."""

    model_config = ConfigDict(extra="allow")
    evaluations_semantic: Literal["execute_all", "deny_on_first_deny", "permit_on_first_permit"] = (
        "execute_all"
    )


class EvaluationsRequest(BaseModel):
    """Several questions; what one leaves out is the request's own. Without `evaluations`: a single one.

    An item that is no question, with what it takes over, is a denial in its place.
    """

    model_config = ConfigDict(extra="allow")
    subject: AuthZenEntity | Any = None
    action: AuthZenAction | Any = None
    resource: AuthZenEntity | Any = None
    context: dict[str, Any] | Any = None

    evaluations: Annotated[list[AuthZenParts | Any], Field(max_length=100)] | None = None
    options: EvaluationOptions | None = None


class EvaluationAnswer(Model):
    """AuthZEN's decision. `context` has `id`, `reasons`, `domain`, `evaluated_at`, `as_of`, `valid_until`,
    `risk`, where receipts are given `permit`, or `error` where it was no question.
    """

    decision: bool
    context: dict[str, Any]


class EvaluationsAnswer(Model):
    """One decision a question, in their order; fewer where the options say so."""

    evaluations: list[EvaluationAnswer]


class ScopeBlocked(BaseModel):
    """A block that stands; the numbers of its policy come with it."""

    model_config = ConfigDict(extra="allow")
    scope: str
    policy: str
    reason: str
    time: str | None
    until: str | None


class Standing(Model):
    """What is blocked now, and the cursor to go on from."""

    domain: str
    after: int
    blocks: list[ScopeBlocked]


class Change(Model):
    """A block, or its end."""

    position: int
    verdict: Literal["block", "release"]
    scope: str
    policy: str
    reason: str
    time: str
    until: str | None


class Changed(Model):
    """What has changed, and the next cursor. `reset`: the cursor was none of this journal; begin anew."""

    domain: str
    after: int
    changes: list[Change]
    reset: bool


class PushColumns(BaseModel):
    """Values of several subjects at a moment (RFC 3339 or epoch; left out: now), a column a field."""

    model_config = ConfigDict(extra="forbid")
    event_time: str | int | None = None
    time: str | int | None = None
    subjects: Annotated[list[Text], Field(min_length=1, max_length=10_000)]
    fields: Annotated[dict[Text, list[float | str | None]], Field(min_length=1, max_length=256)]


class PushRow(BaseModel):
    """Values of one subject: a number (or a decimal text) a field, beside the others or in `values`."""

    model_config = ConfigDict(extra="allow")
    event_time: str | int | None = None
    time: str | int | None = None
    subject: Text
    values: dict[Text, float | str | None] | None = None


class Pushed(Model):
    """Where a push stands. `duplicate`: it stood there before, under the same Idempotency-Key.

    `kept`: a large one that is committed soon.
    """

    source: str
    snapshots: int
    position: int | None = None
    duplicate: bool | None = None
    kept: bool | None = None


class RejectedRow(Model):
    """A row that was not taken, counted from 1."""

    row: int
    detail: str


class PushProblem(ProblemDetails):
    """What of a push was not taken; where others were (207), also where those stand."""

    rejected: list[RejectedRow] = []


# ---------------------------------------------------------------------- what can be asked


class Act(Model):
    """What every act has. `author` is who says so; left out, it is the name of who is logged in."""

    author: Text | None = None
    reason: Reason


class CommandAct(Act):
    """Something about the gate. `for`: how long (`30m`), for block and override.

    `scope`: `*`, `source:NAME` or `subject:NAME`. `request`: what is confirmed. Without `domain` it
    is the one that observes the scope.
    """

    command: Literal["block", "release", "override", "rearm", "kill", "unkill", "confirm"]
    scope: Annotated[str, Field(min_length=1, max_length=300)] = "*"
    domain: Text | None = None
    duration: Annotated[str | None, Field(alias="for", max_length=32)] = None
    policy: Text | None = None
    request: Annotated[str | None, Field(max_length=300)] = None


class SilenceAct(Act):
    """A silence: at least one filter, or `everything`."""

    domain: Text
    types: list[Text] = []
    sources: list[Text] = []
    subjects: list[Text] = []
    tags: list[Text] = []
    everything: bool = False
    duration: Annotated[str, Field(alias="for", max_length=32)]


class FeedbackAct(Model):
    """Was a pattern, or what follows from it, right?"""

    ref: Annotated[str, Field(min_length=3, max_length=300)]
    right: bool
    author: Text | None = None
    note: Annotated[str | None, Field(max_length=2_000)] = None


class SubscriptionAct(Act):
    """What is asked of a subscription."""

    action: Literal["pause", "resume", "remove"]
    domain: Text


class QuarantineAct(Act):
    """Which entry is given to its stage again."""

    journal: Text
    ref: Annotated[str, Field(min_length=3, max_length=300)]


class Asked(Model):
    """The record that asks. What becomes of it: GET `outcome`."""

    ref: str
    outcome: str | None
    text: str
    needs_confirmation: bool = False


class Outcome(Model):
    """What became of what was asked: `waiting` until its stage has worked it.

    `refused`: nothing was done, `text` says why. `needs_confirmation`: a second person must confirm.
    """

    ref: str
    state: Literal["waiting", "done", "refused", "needs_confirmation"]
    decisions: list[RecordItem]
    text: str
