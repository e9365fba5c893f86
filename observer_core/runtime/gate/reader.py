"""The gate over stored journals: gathers what `decision_pipeline.gate.evaluate` decides by."""

from __future__ import annotations

from collections.abc import Container, Iterator, Mapping
from itertools import chain
from math import isnan
from typing import Any

from observer_core.decision_pipeline.gate import (
    Answer,
    GateAnswer,
    GateInputs,
    GateRequest,
    SourceState,
    StageState,
    evaluate,
)
from observer_core.decision_pipeline.history import fold
from observer_core.runtime.gate.guarded import in_safe_mode
from observer_core.runtime.safe_mode import is_safe, stood
from observer_core.runtime.settings import LEAST_MAX_AGE, Settings
from observer_core.shared.clock import SECOND, Clock
from observer_core.shared.errors import InputError
from observer_core.shared.records import ALL, Decision, Note, PatternRecord, Snapshot, Status
from observer_core.shared.stage import Entry
from observer_core.storage.journal import Journal
from observer_core.storage.journals import Journals
from observer_core.storage.rows import Head

_ROWS_BACK = 1000
_FEED_ENDS = {
    "feed_stale": (0, True), "feed_resumed": (0, False), "venue_halt": (1, True), "venue_resumed": (1, False),
}  # fmt: skip
"""Which of two silences a pattern begins or ends: a series' own, and that of its channel."""


class Gate:
    """Answers "may I act on X now?" from what is committed, and "what was the answer then?"."""

    def __init__(self, journals: Journals, settings: Settings, clock: Clock) -> None:
        self._journals = journals
        self._settings = settings
        self._clock = clock
        self._shards: dict[str, bool] = {}
        """Of sources that are not configured: whether they were written as a shard."""

    def check(
        self,
        subject: str,
        *,
        domain: str | None = None,
        at_ns: int | None = None,
        on_unknown: Answer = "deny",
    ) -> GateAnswer:
        """The answer for `subject`; without `domain`, of the one domain that observes it (live first)."""
        name = domain or self.find_domain(subject)
        known = sorted({*self.domains(), *(item.domain for item in self._settings.source)})
        if domain is not None and domain not in known:
            raise InputError(f"there is no domain {domain!r}; known are {', '.join(known) or 'none yet'}")
        now = at_ns if at_ns is not None else self.now_ns(name)
        request = GateRequest(subject, now, name, on_unknown)
        answer = evaluate(request, self._inputs(name, subject, at_ns))
        return in_safe_mode(answer) if self._was_safe(name, at_ns) else answer

    def _was_safe(self, domain: str, at_ns: int | None) -> bool:
        """The time of a recording says nothing of when it was read."""
        if at_ns is None:
            return is_safe(self._journals, self._settings)
        return self.is_live(domain) and stood(self._journals, at_ns)

    def find_domain(self, subject: str) -> str:
        """Where `subject` is observed; `live` when nowhere."""
        found = [d for d in self.domains() if subject in self.subjects(d)]
        return found[0] if found else (self.domains() or ["live"])[0]

    def domains(self) -> list[str]:
        """Domains that have sources, `live` first."""
        found = {self._journals.domain_of(name) or "" for name in self._journals.names("snapshots")}
        return sorted(found, key=lambda name: (name != "live", name))

    def subjects(self, domain: str) -> list[str]:
        found: set[str] = set()
        for name in self._journals.names("patterns", domain):
            found.update(self._journals.open(name).views().get("subjects", {}).get("subjects", ()))
        return sorted(found)

    def now_ns(self, domain: str) -> int:
        """The domain's present: the clock (live), or as far as the recordings have been read."""
        if self.is_live(domain):
            return self._clock.now_ns()
        heads = [self._journals.open(name).head() for name in self._journals.names("snapshots", domain)]
        return max((head.time_ns for head in heads), default=0)

    def max_age_ns(self, source: str, position: int | None = None) -> int:
        """How old the source's data may be: as configured, else five times its mean interval.

        With `position`: the mean of its snapshots up to there.
        """
        configured = self._settings.max_age_ns(source)
        if configured is not None:
            return configured
        journal = self._journals.open(f"snapshots.{source}")
        head = journal.head()
        last, last_ns = head.position, head.time_ns
        if position is not None and position < last:
            last, last_ns = position, journal.entry(position).time_ns if position else 0
        if last < 2:
            return 180 * SECOND
        first_ns = journal.base().began_ns or next(journal.rows()).first_ns
        return max(LEAST_MAX_AGE, 5 * (last_ns - first_ns) // (last - 1))

    def is_live(self, domain: str) -> bool:
        """Whether the domain keeps the clock's time."""
        journal = self._journals.open(f"clock.{domain}")
        if not journal.head().position:
            return domain == "live"
        note: Any = journal.entry(1).record
        return bool(note.body["mode"] == "live")

    def _inputs(self, domain: str, subject: str, at_ns: int | None) -> GateInputs:
        every = [n.partition(".")[2] for n in self._journals.names("snapshots", domain)]
        names = [name for name in every if not self.is_retired(name)]
        decisions = self._journals.open(f"decisions.{domain}")
        if at_ns is not None:
            _check_kept(decisions, at_ns)
        if at_ns is None:
            head, views = decisions.consistent_views()
            sources = [self._source(name) for name in names]
            stages = self.stages(self._journals.open(f"events.{domain}").head(), head, views)
        else:
            views = {**fold(_decisions(decisions), at_ns).views(), **_quarantined(decisions, at_ns)}
            sources = [
                source
                for name in names
                if (source := self._source_at(name, domain, subject, at_ns)).snapshot_ns is not None
            ]
            stages = [
                self._stage(
                    "publish", self._through_at(self._journals.open(f"events.{domain}"), domain, at_ns)
                ),
                self._stage("decide", self._through_at(decisions, domain, at_ns)),
            ]
        return GateInputs.of(views, sources, stages)

    def is_retired(self, source: str) -> bool:
        """Whether a source is a part of one that is configured with other parts now."""
        base = self._settings.retired_from(source)
        if base is None or base == source:
            return base is not None
        journal = self._journals.open(f"snapshots.{source}")
        head = journal.head()
        if source not in self._shards and head.epoch:
            note: Any = journal.entry(journal.epoch_row(head.epoch)["position"]).record
            self._shards[source] = "shard" in note.body["config"]
        return self._shards.get(source, False)

    def stages(self, events: Head, decisions: Head, views: Mapping[str, Any]) -> list[StageState]:
        """The stages of a domain, by the heads of their journals and the views of decisions."""
        return [
            self._stage("publish", events.through_ns),
            # Without its views the decide stage cannot say that nothing is blocked.
            self._stage("decide", decisions.through_ns if "risk" in views else 0),
        ]

    def _stage(self, name: str, through_ns: int) -> StageState:
        return StageState(name=name, through_ns=through_ns or None, max_lag_ns=self._settings.max_lag)

    def _source(self, name: str) -> SourceState:
        snapshots = self._journals.open(f"snapshots.{name}").head()
        return self.source(name, snapshots, *self._journals.open(f"patterns.{name}").consistent_views())

    def source(self, name: str, snapshots: Head, patterns: Head, views: Mapping[str, Any]) -> SourceState:
        """A source, by the heads of its journals and the views of its patterns."""
        feed = views.get("feed", {})
        closed = frozenset(feed.get("closed", ()))
        status: Status = "unavailable" if feed.get("status") != "ok" and ALL not in closed else "ok"
        return SourceState(
            name=name, status=status, error=feed.get("error"),
            through_ns=patterns.through_ns or None,
            snapshot_ns=snapshots.time_ns if snapshots.position else None,
            max_age_ns=self.max_age_ns(name),
            subjects=frozenset(views.get("subjects", {}).get("subjects", ())),
            stale_subjects=frozenset(feed.get("stale", ())), closed=closed,
        )  # fmt: skip

    def _source_at(self, name: str, domain: str, subject: str, at_ns: int) -> SourceState:
        snapshots = self._journals.open(f"snapshots.{name}")
        patterns = self._journals.open(f"patterns.{name}")
        for journal in (snapshots, patterns):
            _check_kept(journal, at_ns)
        position = snapshots.position_at(at_ns)
        newest = snapshots.entry(position).record if position else None
        closed = _closed(subject, snapshots, position)
        down = isinstance(newest, Snapshot) and newest.status == "unavailable" and ALL not in closed
        ignored = self._settings.recogniser(name).ignore_fields
        ever = subject in patterns.views().get("subjects", {}).get("subjects", ())
        fields = _fields_of(subject, snapshots, position if ever else 0, ignored)
        first, stale = next(fields, None), _stale_fields(subject, patterns, at_ns)
        silent = first in stale and all(field in stale for field in fields)
        return SourceState(
            name=name, status="unavailable" if down else "ok",
            error=newest.error if isinstance(newest, Snapshot) else None,
            through_ns=self._through_at(patterns, domain, at_ns) or None,
            snapshot_ns=newest.time_ns if newest is not None else None,
            max_age_ns=self.max_age_ns(name, position),
            subjects=frozenset((subject,) if first is not None else ()),
            stale_subjects=frozenset((subject,) if silent else ()),
            closed=closed,
        )  # fmt: skip

    def _through_at(self, journal: Journal, domain: str, at_ns: int) -> int:
        """How far the journal had been worked by then.

        Live, a commit is made at the time it works up to. In a recording the stages follow
        in no time of its own, however many snapshots were committed at once.
        """
        if not self.is_live(domain):
            first = next(journal.rows(), None)
            began_ns = journal.base().began_ns or (first.first_ns if first else at_ns + 1)
            return min(journal.head().through_ns, at_ns) if began_ns <= at_ns else 0
        _check_kept(journal, at_ns)
        base = journal.base()
        through = base.through_ns if base.through_ns <= at_ns else 0
        for row in journal.rows():
            if row.through_ns > at_ns:
                break
            through = row.through_ns
        return through


def _check_kept(journal: Journal, at_ns: int) -> None:
    """`Pruned` when what the journal said then was removed by retention."""
    base = journal.base()
    if base.position and base.began_ns <= at_ns < max(base.time_ns, base.through_ns):
        raise journal.missing(base.position)


def _all(journal: Journal) -> Iterator[Entry]:
    """Its records, as far as they are kept, behind those that stood where it begins."""
    yield from journal.standing()
    yield from journal.scan()


def _decisions(journal: Journal) -> Iterator[Decision]:
    for entry in _all(journal):
        if isinstance(entry.record, Decision):
            yield entry.record


def _quarantined(decisions: Journal, at_ns: int) -> dict[str, Any]:
    """The `quarantined.*` views of then: what the decide stage itself had set aside."""
    views: dict[str, Any] = {}
    for entry in _all(decisions):
        record = entry.record
        if record.time_ns > at_ns:
            break
        if isinstance(record, Note) and record.kind in ("quarantine", "redrive"):
            key = f"quarantined.{record.body['input']}@{record.body['position']}"
            if record.kind == "quarantine":
                views[key] = record.body
            elif not record.body["count"]:
                views.pop(key, None)
    return views


def _fields_of(subject: str, snapshots: Journal, position: int, ignored: Container[str]) -> Iterator[str]:
    """The fields observed of `subject` up to `position`, snapshot by snapshot: rarely more than one."""
    if not position:
        return
    for entry in chain(snapshots.standing(), snapshots.scan(1, position)):
        record = entry.record
        if isinstance(record, Snapshot) and subject in record.subjects:
            place = record.subjects.index(subject)
            for name, column in record.fields.items():
                if name not in ignored and not isnan(column[place]):
                    yield name


def _closed(subject: str, snapshots: Journal, position: int) -> frozenset[str]:
    """Whether the market was closed up to `position`, by the newest snapshot or the subject's newest row."""
    oldest, base = max(0, position - _ROWS_BACK), snapshots.base()
    removed = [place for place in base.standing if oldest < place <= position]
    for place in [*range(position, max(oldest, base.position), -1), *reversed(removed)]:
        record = snapshots.entry(place).record
        if isinstance(record, Snapshot):
            if place == position and "closed_session" in record.quality.get(ALL, ()):
                return frozenset((ALL,))
            if subject in record.subjects:
                found = "closed_session" in record.quality.get(subject, ())
                return frozenset((subject,) if found else ())
    return frozenset()


def _stale_fields(subject: str, patterns: Journal, at_ns: int) -> set[str]:
    """The fields of `subject` that were silent then."""
    silent: tuple[set[str], set[str]] = (set(), set())
    for entry in _all(patterns):
        record = entry.record
        if record.time_ns > at_ns:
            break
        if isinstance(record, PatternRecord) and record.pattern in _FEED_ENDS:
            which, begins = _FEED_ENDS[record.pattern]
            fields = {field for _, name, field in record.series if name == subject}
            if begins:
                silent[which].update(fields)
            else:
                silent[which].difference_update(fields)
    return silent[0] | silent[1]
