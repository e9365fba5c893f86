"""What is written: frozen records, each with one spelling in bytes.

A record does not know its position; the journal does. `encode(epoch)` gives the
canonical bytes, `decode_record` the record back. `time_ns` is the moment, in the
time line of the record's domain, at which the record could be known.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar, Literal, Protocol

import numpy as np
from numpy.typing import NDArray

from observer_core.shared.canonical import Fragment, decode, encode, encode_columns
from observer_core.shared.clock import format_time, parse_time
from observer_core.shared.errors import RecordError

Json = dict[str, Any]
Column = NDArray[np.float64]
Series = tuple[str, str, str]
"""(source, subject, field), for example ("binance", "BTC/USDT", "price")."""
ALL = "*"
"""In the place of a subject: the whole snapshot, the whole source."""

Severity = Literal["info", "warning", "critical"]
SEVERITIES: tuple[Severity, ...] = ("info", "warning", "critical")
Direction = Literal["up", "down", "none"]
Status = Literal["ok", "partial", "unavailable"]
Verdict = Literal["judgment", "block", "release", "non_execution"]

QUALITY_FLAGS = (
    "stale", "gap", "out_of_order", "duplicate", "crossed_book", "non_positive",
    "outlier_print", "clock_skew", "partial_bar", "closed_session",
)  # fmt: skip


RECOVERIES: Mapping[str, str] = {
    "feed_stale": "feed_resumed", "feed_unavailable": "feed_available", "venue_halt": "venue_resumed",
    "relation_break": "relation_restored", "correlation_break": "correlation_restored",
    "spread_blowout": "spread_normal", "crossed_book": "book_uncrossed", "drawdown": "drawdown_over",
}  # fmt: skip
"""Conditions: patterns that hold from their record on until that of their recovery, series by series."""


class Record(Protocol):
    """Anything that a journal can hold."""

    @property
    def time_ns(self) -> int: ...

    def encode(self, epoch: int) -> bytes: ...


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Snapshot:
    """One source at one moment, in columns.

    `fields[name][i]` belongs to `subjects[i]`; NaN means "not observed" (null in the
    bytes). `quality` names only the subjects that have flags; under `*` stand flags of the
    whole snapshot. `decimals` holds, by field and subject, the numbers that came as decimals which
    their double is not exactly. A collection that failed is a snapshot too: `status` "unavailable",
    no subjects, and its `error`. `origin` says where the rows came from (a recording's file and row,
    a push key).
    """

    kind: ClassVar = "snapshot"
    source: str
    event_ns: int
    ingest_ns: int
    subjects: tuple[str, ...]
    fields: Mapping[str, Column]
    quality: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    decimals: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    status: Status = "ok"
    error: str | None = None
    origin: Mapping[str, Any] | None = None
    epoch: int = 0

    @property
    def time_ns(self) -> int:
        return self.ingest_ns

    def encode(self, epoch: int) -> bytes:
        count = len(self.subjects)
        for name, column in self.fields.items():
            if column.shape != (count,):
                raise RecordError(
                    f"snapshot of {self.source!r}: field {name!r} has shape {column.shape}, "
                    f"expected ({count},), one value a subject"
                )
        value: Json = {
            "epoch": epoch, "event_ns": self.event_ns, "ingest_ns": self.ingest_ns,
            "kind": self.kind, "source": self.source, "status": self.status,
            "subjects": _subjects_bytes(self.subjects),
        }  # fmt: skip
        if self.quality:
            value["quality"] = {subject: list(flags) for subject, flags in self.quality.items()}
        if self.decimals:
            value["decimals"] = {name: dict(texts) for name, texts in self.decimals.items()}
        if self.error is not None:
            value["error"] = self.error
        if self.origin is not None:
            value["origin"] = dict(self.origin)
        return encode_columns(value, dict(self.fields))

    @staticmethod
    def decode(value: Json, subjects: tuple[str, ...] | None = None) -> Snapshot:
        """From parsed JSON; `subjects` given saves reading them from `value`."""
        return Snapshot(
            source=value["source"], event_ns=value["event_ns"], ingest_ns=value["ingest_ns"],
            subjects=tuple(value["subjects"]) if subjects is None else subjects,
            fields={name: np.array(column, np.float64) for name, column in value["fields"].items()},
            quality={subject: tuple(flags) for subject, flags in value.get("quality", {}).items()},
            decimals=value.get("decimals", {}),
            status=value["status"], error=value.get("error"), origin=value.get("origin"),
            epoch=value["epoch"],
        )  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class PatternRecord:
    """Something was recognised in one or several series at one snapshot.

    `score` is in [0, 1] and 0.5 is the detector's alarm threshold. `evidence` holds the
    numbers that the detector decided by (value, expected, low, high, window, …); for
    several series its values are lists in the order of `series`. `snapshot` cites the
    entry it was seen in. `cadence_ns` is how often the source reports, as learnt.
    """

    kind: ClassVar = "pattern"
    id: str
    pattern: str
    series: tuple[Series, ...]
    score: float
    severity: Severity
    direction: Direction
    tags: tuple[str, ...]
    detector: str
    evidence: Mapping[str, Any]
    snapshot: str
    event_ns: int
    time_ns: int
    cadence_ns: int = 0
    epoch: int = 0

    @property
    def source(self) -> str:
        return self.series[0][0]

    def encode(self, epoch: int) -> bytes:
        return encode(_payload(self, epoch))

    @staticmethod
    def decode(value: Json) -> PatternRecord:
        del value["kind"]
        value["series"] = tuple((s[0], s[1], s[2]) for s in value["series"])
        value["tags"] = tuple(value["tags"])
        return PatternRecord(**value)


@dataclass(frozen=True, slots=True, kw_only=True)
class Event:
    """A CloudEvents 1.0 event (structured JSON, `application/cloudevents+json`).

    `sequence` counts the events of a domain. `causationid` cites the record that made
    it, `correlationid` names the incident it belongs to.
    """

    kind: ClassVar = "event"
    id: str
    source: str
    type: str
    subject: str
    time_ns: int
    data: Mapping[str, Any]
    partitionkey: str
    sequence: str
    causationid: str
    correlationid: str
    severitytext: Severity
    epoch: int = 0

    def cloudevent(self) -> Json:
        """The event as CloudEvents JSON."""
        return {
            "specversion": "1.0", "id": self.id, "source": self.source, "type": self.type,
            "subject": self.subject, "time": format_time(self.time_ns),
            "datacontenttype": "application/json", "data": dict(self.data),
            "partitionkey": self.partitionkey, "sequence": self.sequence,
            "causationid": self.causationid, "correlationid": self.correlationid,
            "severitytext": self.severitytext, "epoch": self.epoch,
        }  # fmt: skip

    def encode(self, epoch: int) -> bytes:
        return encode({**self.cloudevent(), "epoch": epoch})

    @staticmethod
    def decode(value: Json) -> Event:
        return Event(
            id=value["id"], source=value["source"], type=value["type"], subject=value["subject"],
            time_ns=parse_time(value["time"]), data=value["data"], partitionkey=value["partitionkey"],
            sequence=value["sequence"], causationid=value["causationid"],
            correlationid=value["correlationid"], severitytext=value["severitytext"], epoch=value["epoch"],
        )  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class Decision:
    """What was decided, by which policy, on what evidence, and why.

    `scope` is what it speaks of: `subject:BTC/USDT`, `source:binance`, or `*` for the
    whole domain. `until_ns` ends a block (None: until a release record). `reasons` are
    `{"code": …, numbers…}`. `evidence` is the sheet: age of the input, gaps, coverage.
    """

    kind: ClassVar = "decision"
    id: str
    verdict: Verdict
    scope: str
    policy: str
    policy_version: int
    reasons: tuple[Mapping[str, Any], ...]
    time_ns: int
    causation: tuple[str, ...]
    severity: Severity = "info"
    until_ns: int | None = None
    evidence: Mapping[str, Any] = field(default_factory=dict)
    epoch: int = 0

    def encode(self, epoch: int) -> bytes:
        return encode(_payload(self, epoch))

    @staticmethod
    def decode(value: Json) -> Decision:
        del value["kind"]
        value["reasons"] = tuple(value["reasons"])
        value["causation"] = tuple(value["causation"])
        return Decision(**value)


@dataclass(frozen=True, slots=True, kw_only=True)
class Route:
    """Where one event or decision (`ref`) goes, and what keeps it from whom.

    `to` are the subscriptions that are given it now, `grouped` those that are told of it later, with
    others. `stopped` names the rest of its stream's, by what stopped them: `filter:<name>`, `route:<path>`,
    `silence:<id>`, `inhibit:<name>`.
    """

    kind: ClassVar = "route"
    ref: str
    to: tuple[str, ...]
    grouped: tuple[str, ...]
    stopped: Mapping[str, tuple[str, ...]]
    time_ns: int
    epoch: int = 0

    def encode(self, epoch: int) -> bytes:
        return encode(_payload(self, epoch))

    @staticmethod
    def decode(value: Json) -> Route:
        del value["kind"]
        value["to"], value["grouped"] = tuple(value["to"]), tuple(value["grouped"])
        value["stopped"] = {by: tuple(names) for by, names in value["stopped"].items()}
        return Route(**value)


@dataclass(frozen=True, slots=True, kw_only=True)
class Notification:
    """Records that one subscription is told of together.

    `group`: what they agree in. `refs`: the first of them, `count`: how many there are.
    """

    kind: ClassVar = "notification"
    id: str
    subscription: str
    group: Mapping[str, str]
    refs: tuple[str, ...]
    count: int
    severity: Severity
    first_ns: int
    time_ns: int
    epoch: int = 0

    def encode(self, epoch: int) -> bytes:
        return encode(_payload(self, epoch))

    @staticmethod
    def decode(value: Json) -> Notification:
        del value["kind"]
        value["refs"] = tuple(value["refs"])
        return Notification(**value)


Outcome = Literal["delivered", "failed", "dropped", "already_delivered", "expired", "folded"]


@dataclass(frozen=True, slots=True, kw_only=True)
class DeliveryResult:
    """One attempt to hand one record to one subscriber. `code` is the sink's answer, if it gave one.

    `dropped`: never to be tried again by itself (a dead letter), `expired`: older than the subscriber
    wants to be told, `folded`: told by the events of the incident it belongs to.
    """

    kind: ClassVar = "delivery"
    subscription: str
    record: str
    ref: str
    attempt: int
    outcome: Outcome
    time_ns: int
    latency_ns: int
    code: int | None = None
    detail: str | None = None
    replay: bool = False
    epoch: int = 0

    def encode(self, epoch: int) -> bytes:
        return encode(_payload(self, epoch))

    @staticmethod
    def decode(value: Json) -> DeliveryResult:
        del value["kind"]
        return DeliveryResult(**value)


@dataclass(frozen=True, slots=True, kw_only=True)
class Evaluation:
    """What the gate answered a caller who wants to do `action` with `resource` (an instrument), and why.

    `context` is what the caller said of its intent; where that was too large only what the checks use
    of it, with the sha256 of the whole in `context_sha256`. `rests` names the journals that the answer
    was read from and how far they stood, `reference` the price that an intent was held against.
    """

    kind: ClassVar = "evaluation"
    verdict: Literal["allow", "non_execution"]
    caller: str
    caller_type: str
    action: str
    resource: str
    resource_type: str
    context: Mapping[str, Any]
    reasons: tuple[Mapping[str, Any], ...]
    rests: Mapping[str, int]
    risk: str | None
    as_of_ns: int | None
    valid_until_ns: int
    time_ns: int
    reference: Mapping[str, Any] | None = None
    context_sha256: str | None = None
    request_id: str | None = None
    epoch: int = 0

    def encode(self, epoch: int) -> bytes:
        return encode(_payload(self, epoch))

    @staticmethod
    def decode(value: Json) -> Evaluation:
        del value["kind"]
        value["reasons"] = tuple(value["reasons"])
        return Evaluation(**value)


@dataclass(frozen=True, slots=True, kw_only=True)
class Note:
    """A record of the journal's own life, or of an operator's.

    `kind` is one of: `epoch` (a configuration and version take effect), `quarantine` (an
    entry is set aside), `redrive`, `domain` (which time a domain keeps), `tick` (time has
    come this far), `command` (an operator asks), `dead_letter` (a message could not be worked, or
    what became of it), `feedback` (was a pattern right), `silence` and `subscription` (an operator asks,
    or what became of it), `recovery` (bytes were lost and the index was cut), `lifecycle` (start
    and stop), `not_recorded` (the gate denied while it could not write), `anchor` (where all journals
    stood), `maintenance` (what was packed, pruned or removed), `hold` (what must not be removed, or no
    longer must not). `body` is the kind's own content.
    """

    kind: str
    time_ns: int
    body: Mapping[str, Any]
    epoch: int = 0

    def encode(self, epoch: int) -> bytes:
        return encode({"kind": self.kind, "time_ns": self.time_ns, "body": dict(self.body), "epoch": epoch})

    @staticmethod
    def decode(value: Json) -> Note:
        return Note(**value)


NOTE_KINDS = (
    "epoch",
    "quarantine",
    "redrive",
    "domain",
    "tick",
    "command",
    "dead_letter",
    "feedback",
    "silence",
    "subscription",
    "incident",
    "recovery",
    "lifecycle",
    "not_recorded",
    "anchor",
    "backup",
    "restore",
    "maintenance",
    "hold",
)
AnyRecord = (
    Snapshot | PatternRecord | Event | Decision | Route | Notification | DeliveryResult | Evaluation | Note
)
_DECODERS: dict[str, Any] = {
    "snapshot": Snapshot.decode, "pattern": PatternRecord.decode, "decision": Decision.decode,
    "route": Route.decode, "notification": Notification.decode, "delivery": DeliveryResult.decode,
    "evaluation": Evaluation.decode,
    **dict.fromkeys(NOTE_KINDS, Note.decode),
}  # fmt: skip


def decode_record(data: bytes | memoryview) -> AnyRecord:
    """The record of stored bytes; `RecordError` when they are not one."""
    value = decode(data)
    try:
        decoder = Event.decode if "specversion" in value else _DECODERS[value["kind"]]
        record: AnyRecord = decoder(value)
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise RecordError(
            f"expected a record (snapshot, pattern, event, …), found {bytes(data[:80])!r}: {error!r}"
        ) from None
    return record


class SnapshotDecoder:
    """Decodes the snapshots of one source, and reads its subjects' names only when they change.

    Exact for every input: canonical bytes end in `"source":…,"status":…,"subjects":[…]}`,
    and an equal ending means equal subjects.
    """

    def __init__(self) -> None:
        self._tail = b""
        self._subjects: tuple[str, ...] = ()
        self._source = ""
        self._status: Status = "ok"

    def __call__(self, data: bytes) -> AnyRecord:
        if self._tail and data.endswith(self._tail):
            value = decode(data[: -len(self._tail)] + b"}")
            if value.get("kind") == "snapshot":
                value["source"], value["status"] = self._source, self._status
                return Snapshot.decode(value, self._subjects)
        record = decode_record(data)
        if isinstance(record, Snapshot) and len(record.subjects) > 8:
            start = data.rfind(b',"source":', 0, data.rfind(b',"subjects":'))
            if start > 0:
                self._tail, self._subjects = data[start:], record.subjects
                self._source, self._status = record.source, record.status
        return record


_MAX_CACHED_SUBJECTS = 64
_subject_fragments: dict[int, tuple[tuple[str, ...], Any]] = {}


def _subjects_bytes(subjects: tuple[str, ...]) -> Any:
    """The subjects as JSON, remembered by identity: a source sends the same tuple at every tick."""
    if len(subjects) < 8:
        return list(subjects)
    known = _subject_fragments.get(id(subjects))
    if known is not None and known[0] is subjects:
        return known[1]
    if len(_subject_fragments) >= _MAX_CACHED_SUBJECTS:
        _subject_fragments.clear()
    fragment = Fragment(encode(subjects))
    _subject_fragments[id(subjects)] = (subjects, fragment)
    return fragment


def _payload(record: Any, epoch: int) -> Json:
    value: Json = {"kind": record.kind}
    for name in record.__slots__:
        value[name] = getattr(record, name)
    value["epoch"] = epoch
    return value


def worst(severities: Sequence[Severity]) -> Severity:
    """The gravest of `severities`."""
    return SEVERITIES[max(SEVERITIES.index(s) for s in severities)]
