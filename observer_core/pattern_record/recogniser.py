"""The recogniser: every series of a source, every detector, one pass of array arithmetic a snapshot."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from observer_core.pattern_record import observed_time, silence
from observer_core.pattern_record.anomalies import Anomalies
from observer_core.pattern_record.change_points import ChangePointFamily
from observer_core.pattern_record.config import RecogniserConfig
from observer_core.pattern_record.families import Family, Seen
from observer_core.pattern_record.findings import Finding, Reporter
from observer_core.pattern_record.market.family import MarketPatterns
from observer_core.pattern_record.observation import CLOSED, Observation
from observer_core.pattern_record.plan import plan_of
from observer_core.pattern_record.relations.pairs import CorrelationBreaks
from observer_core.pattern_record.relations.targets import RelationBreaks
from observer_core.pattern_record.state import RecogniserState
from observer_core.shared.errors import RecordError, StateFormat
from observer_core.shared.ids import shard_of
from observer_core.shared.records import ALL, PatternRecord, Snapshot
from observer_core.shared.stage import Entry


class Recogniser:
    """Finds patterns in the snapshots of `source`: a `shared.stage.Stage[RecogniserState]`.

    Records depend on the snapshots and their order alone; what comes later never changes
    them. Scores and evidence are finite for every input. Entries that are not snapshots of
    the source have no effect. The state is changed in place.
    """

    name = "recognise"
    version = "3"

    def __init__(self, source: str, config: RecogniserConfig, shard: tuple[int, int] | None = None) -> None:
        """`shard`: which part of how many the source is; subjects of another part are forgotten."""
        self._source, self._config, self._shard = source, config, shard
        self._observation, self._families = Observation(source, config), _families(config)
        self._reporter = Reporter(config, [(f.detectors, f.severities) for f in self._families])

    def config(self) -> Mapping[str, Any]:
        shard = {} if self._shard is None else {"shard": list(self._shard)}
        return {"source": self._source, **shard, **self._config.canonical()}

    def initial(self) -> RecogniserState:
        state = RecogniserState()
        state.families = {family.name: family.initial() for family in self._families}
        return state

    def transition(self, state: RecogniserState, entry: Entry) -> Sequence[PatternRecord]:
        snapshot = entry.record
        if not isinstance(snapshot, Snapshot) or snapshot.source != self._source:
            return []
        closed = CLOSED in snapshot.quality.get(ALL, ())
        if closed != state.closed:
            state.closed = closed
            state.views_version += 1
        if closed:  # nothing is to be expected of a closed market, and nothing to be learnt
            observed_time.interrupt(state, snapshot.ingest_ns)
            return []
        findings = self._availability(state, snapshot)
        if snapshot.status == "unavailable":
            observed_time.interrupt(state, snapshot.ingest_ns)
        else:
            observed_time.advance(state, snapshot.ingest_ns, self._config.stale.floor)
            if snapshot.subjects and snapshot.fields:
                with np.errstate(all="ignore"):
                    findings += self._observe(state, snapshot)
            findings += silence.notice(state, self._source, self._config)
        if not findings:
            return []
        return self._reporter.records(findings, entry.ref, snapshot, state)

    def advance(self, state: RecogniserState, through_ns: int) -> Sequence[PatternRecord]:
        """Nothing: the recogniser's only time is that of its snapshots."""
        return []

    def views(self, state: RecogniserState) -> Mapping[str, Any]:
        """`subjects`: all ever seen. `feed`: does the source answer, whose market is closed, who is silent.

        `closed` is `*` alone when the whole source is; `stale` are subjects that are silent altogether,
        `channels` those that are in one channel, where there are any.
        """
        silent = {name: list(found) for name, found in state.stale_channels.items()}
        channels = {"channels": silent} if silent else {}
        return {
            "subjects": {"subjects": sorted(state.subjects.keys() - self._foreign(state))},
            "feed": {
                "status": state.status, "since_ns": state.since_ns, "error": state.error,
                "closed": [ALL] if state.closed else list(state.closed_subjects),
                "stale": list(state.stale_subjects), **channels,
            },
        }  # fmt: skip

    def views_version(self, state: RecogniserState) -> int:
        return state.views_version

    def dump(self, state: RecogniserState) -> bytes:
        return state.dump({f.name: f.dump(state.families[f.name]) for f in self._families})

    def load(self, blob: bytes) -> RecogniserState:
        """Families that the configuration no longer asks for are left out; new ones begin without a past.

        `StateFormat` for what another version wrote.
        """
        try:
            state, parts = RecogniserState.load(blob)
            for family in self._families:
                known = parts.get(family.name)
                state.families[family.name] = family.initial() if known is None else family.load(known)
        except RecordError as error:
            raise StateFormat(str(error)) from error
        foreign = self._foreign(state)
        state.closed_subjects = tuple(name for name in state.closed_subjects if name not in foreign)
        if left := foreign & state.heard():  # once: a state must not depend on how often it was read
            state.forget(left)
            for family in self._families:
                family.forget(state.families[family.name], left)
        silence.settle(state, self._config)
        return state

    def _foreign(self, state: RecogniserState) -> set[str]:
        """Subjects that a configuration with other shards had brought here."""
        if self._shard is None:
            return set()
        part, count = self._shard
        return {subject for subject in state.subjects if shard_of(subject, count) != part}

    def _observe(self, state: RecogniserState, snapshot: Snapshot) -> list[Finding]:
        plan = plan_of(state, self._config, snapshot)
        if not plan.size:
            return []
        if snapshot.quality or state.closed_subjects:
            silence.excuse(state, self._config, plan, snapshot)
        found, x, fresh = self._observation.observe(state, plan, snapshot)
        if self._families:
            seen = Seen(self._source, snapshot, plan, state, x, fresh)
            for family in self._families:
                found += family.observe(state.families[family.name], seen)
        return found + silence.arrive(state, self._source, self._config, plan, fresh)

    def _availability(self, state: RecogniserState, snapshot: Snapshot) -> list[Finding]:
        before, status = state.status, "unavailable" if snapshot.status == "unavailable" else "ok"
        if status == before and snapshot.error == state.error:
            return []
        state.views_version += 1
        state.error = snapshot.error
        if status == before:
            return []
        since, state.status, state.since_ns = state.since_ns, status, snapshot.ingest_ns
        series = (self._source, "*", "*")
        if status == "unavailable":
            return [Finding("feed_unavailable", "none", series, 1.0, {"since_ns": snapshot.ingest_ns})]
        if before == "unavailable":
            evidence = {"since_ns": since, "outage_ns": max(0, snapshot.ingest_ns - since)}
            return [Finding("feed_available", "none", series, 0.0, evidence)]
        return []


def _families(config: RecogniserConfig) -> list[Family]:
    """What the configuration asks for beyond the detectors that every series has."""
    families: list[Family] = []
    if config.anomaly is not None:
        families.append(Anomalies(config.anomaly))
    if config.market.prices:
        families.append(MarketPatterns(config.market))
    if config.change_points is not None:
        families.append(ChangePointFamily(config.change_points))
    if config.relations.rules:
        families.append(RelationBreaks(config.relations))
    if config.correlations.watch:
        families.append(CorrelationBreaks(config.correlations))
    return families
