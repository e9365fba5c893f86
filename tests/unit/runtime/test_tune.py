"""Proposed thresholds: what they promise is what the recogniser then does on the stored snapshots."""

from __future__ import annotations

import tomllib
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import pytest

from observer_core.pattern_record.config import AnomalyPattern, RecogniserConfig
from observer_core.pattern_record.recogniser import Recogniser
from observer_core.runtime.settings import Settings
from observer_core.runtime.study.tune import ENOUGH, TUNABLES, Tunable, Tuned, diff, tune
from observer_core.shared.clock import SECOND
from observer_core.shared.errors import InputError
from observer_core.shared.ids import shard_of
from observer_core.shared.records import Note, PatternRecord, Snapshot
from observer_core.storage.journal import Commit
from observer_core.storage.journals import Journals
from observer_core.storage.memory import MemoryStorage

STEP, DAY = 1200 * SECOND, 86_400 * SECOND
START = 1_700_000_000 * SECOND
SUBJECTS = ("a", "b", "c")
QUICK = {"limits": {"refractory": 6, "sustained": 60}, "baseline": {"warm_up": 20}, "group_over": 1000,
         "spike": {"threshold": 3.0}, "level_shift": {"threshold": 8.0}}  # fmt: skip


def noisy(days: float, seed: int = 1, subjects: Sequence[str] = SUBJECTS) -> Iterator[Snapshot]:
    """Every twenty minutes about 50 ± 1, with heavy tails."""
    draws = np.random.default_rng(seed).standard_t(3, size=(round(days * DAY / STEP), len(subjects)))
    for n, row in enumerate(draws):
        now = START + n * STEP
        yield Snapshot(
            source="host", event_ns=now, ingest_ns=now, subjects=tuple(subjects), fields={"load": 50.0 + row}
        )


def stored(snapshots: Iterator[Snapshot] | Sequence[Snapshot], name: str = "host") -> Journals:
    journals = Journals(MemoryStorage(), worker="test")
    keep(journals, snapshots, name)
    return journals


def keep(journals: Journals, snapshots: Iterator[Snapshot] | Sequence[Snapshot], name: str) -> None:
    journal = journals.open(f"snapshots.{name}", "live")
    journal.commit(
        journal.head(), Commit(records=[Note(kind="lifecycle", time_ns=START, body={}), *snapshots])
    )


def settings(**more: Any) -> Settings:
    return Settings(recognise={**QUICK, **more.pop("recognise", {})}, **more)


def run(config: RecogniserConfig, snapshots: Iterator[Snapshot]) -> list[PatternRecord]:
    from observer_core.shared.stage import Entry

    recogniser = Recogniser("host", config)
    state = recogniser.initial()
    return [
        record
        for position, snapshot in enumerate(snapshots, 1)
        for record in recogniser.transition(state, Entry("snapshots.host", position, snapshot))
    ]


@pytest.fixture(scope="module")
def tuned() -> Tuned:
    return tune(stored(noisy(16)), settings(), "host", 1.5)


def test_a_noisy_source_is_brought_near_what_was_wanted(tuned: Tuned) -> None:
    before, after = (
        sum(getattr(one, name) for one in tuned.proposals) for name in ("a_day_now", "a_day_then")
    )
    assert before > 2.0
    assert 0.75 < after <= 1.5
    assert all(one.a_day_then <= one.share for one in tuned.proposals)
    (spike,) = (one for one in tuned.proposals if one.tunable.pattern == "spike")
    assert spike.then > spike.now == 3.0


def test_on_other_days_of_the_same_source_the_rate_is_about_the_same(tuned: Tuned) -> None:
    records = run(tuned.proposed, noisy(16, seed=2))
    assert 0.5 < len(records) / 16 < 2.0
    assert len(run(tuned.config, noisy(16, seed=2))) / 16 > 2.0


def test_the_rates_are_those_of_the_recogniser(tuned: Tuned) -> None:
    first = round(16 * DAY / STEP) // 10
    counted_from = START + (first - 1) * STEP
    for config, name in ((tuned.config, "a_day_now"), (tuned.proposed, "a_day_then")):
        records = [r for r in run(config, noisy(16)) if r.time_ns >= counted_from]
        for one in tuned.proposals:
            count = sum(r.pattern == one.tunable.pattern for r in records)
            assert getattr(one, name) * tuned.days == pytest.approx(count)
    assert tuned.snapshots == round(16 * DAY / STEP) - first + 1


def test_nothing_is_written() -> None:
    journals = stored(noisy(2))
    before = {name: journals.open(name).head() for name in journals.names()}
    tune(journals, settings(), "host", 1.0)
    assert {name: journals.open(name).head() for name in journals.names()} == before


def test_a_rate_that_is_shared_by_fewer_leaves_each_more(tuned: Tuned) -> None:
    alone = tune(stored(noisy(16)), settings(), "host", 1.5, patterns=["spike"])
    (spike,) = alone.proposals
    assert (spike.share, spike.tunable.pattern) == (1.5, "spike")
    assert spike.then < next(one.then for one in tuned.proposals if one.tunable.pattern == "spike")
    assert alone.proposed.level_shift == alone.config.level_shift


def test_a_feed_is_never_made_to_alarm_sooner() -> None:
    def gaps() -> Iterator[Snapshot]:
        rng = np.random.default_rng(3)
        for snapshot in noisy(10):
            heard = rng.random(3) < 0.4
            yield Snapshot(
                source="host", event_ns=snapshot.event_ns, ingest_ns=snapshot.ingest_ns, subjects=SUBJECTS,
                fields={"load": np.where(heard, 7.0, np.nan)},
            )  # fmt: skip

    found = tune(stored(gaps()), settings(), "host", 500.0, patterns=["feed_stale", "feed_flat"])
    assert [(one.now, one.then) for one in found.proposals] == [(30.0, 30.0), (3.0, 3.0)]
    assert diff(found, settings()) == []


def bursts(days: float) -> Iterator[Snapshot]:
    for n, snapshot in enumerate(noisy(days)):
        wild = 1e9 if n % 50 == 49 else 0.0
        yield Snapshot(
            source="host", event_ns=snapshot.event_ns, ingest_ns=snapshot.ingest_ns, subjects=SUBJECTS,
            fields={"load": snapshot.fields["load"] + wild},
        )  # fmt: skip


def test_a_rate_that_no_threshold_reaches_is_refused_with_the_nearest() -> None:
    with pytest.raises(
        InputError, match=r"0\.1 alarms a day cannot be reached.*spike \d+\.\d+ with spike\.th"
    ):
        tune(stored(bursts(4)), settings(), "host", 0.1, patterns=["spike"])


def test_a_pattern_that_cannot_be_reached_is_left_alone_beside_one_that_can() -> None:
    found = tune(stored(bursts(4)), settings(), "host", 1.0, patterns=["spike", "level_shift"])
    spike, shift = found.proposals
    assert spike.nearest is not None
    assert spike.then == spike.now
    assert shift.nearest is None
    assert 4.0 < shift.then < 8.0
    assert shift.a_day_then <= 0.5


@pytest.mark.parametrize(
    ("source", "patterns", "message"),
    [
        ("hots", [], "there is no source 'hots'; known are feed, host"),
        ("feed", [], "source 'feed' has no history: no snapshot of it is stored yet"),
        ("host", ["spikes"], "no threshold of 'spikes' can be tuned here; there are: spike, level_shift"),
        ("host", ["anomaly"], "no threshold of 'anomaly' can be tuned here"),
    ],
)
def test_what_there_is_no_answer_for_is_said(source: str, patterns: list[str], message: str) -> None:
    configured = settings(source=({"name": "feed", "kind": "push"},))
    with pytest.raises(InputError, match=message):
        tune(stored(noisy(0.1)), configured, source, 1.0, patterns=patterns)


def test_one_snapshot_is_no_history() -> None:
    with pytest.raises(InputError, match="no history to measure: 1 snapshots"):
        tune(stored(list(noisy(0.1))[:1]), settings(), "host", 1.0)


def test_since_leaves_out_what_came_before_but_learns_from_it() -> None:
    since = START + 16 * DAY
    found = tune(stored(noisy(24)), settings(), "host", 6.0, patterns=["spike"], since_ns=since)
    assert found.days == pytest.approx(8.0, abs=0.02)
    (spike,) = found.proposals
    learnt = [s for n, s in enumerate(noisy(24)) if n >= round(16 * DAY / STEP) - 1000]
    records = [r for r in run(found.config, iter(learnt)) if r.time_ns >= since]
    assert spike.a_day_now * found.days == pytest.approx(sum(r.pattern == "spike" for r in records))


def test_the_shards_of_a_source_are_counted_together() -> None:
    names = [f"s{n}" for n in range(6)]
    item = {"name": "host", "kind": "http", "url": "http://localhost/x", "shards": 2,
            "rows": "[]", "subject": "a", "fields": {"load": "b"}}  # fmt: skip
    configured = settings(source=(item,))
    journals, whole = Journals(MemoryStorage(), worker="test"), {}
    for part, name in enumerate(configured.parts_of("host")):
        own = [subject for subject in names if shard_of(subject, 2) == part]
        whole[name] = [
            Snapshot(
                source=name, event_ns=s.event_ns, ingest_ns=s.ingest_ns, subjects=tuple(own), fields=s.fields
            )
            for s in noisy(4, seed=part, subjects=own)
        ]
        keep(journals, whole[name], name)
    found = tune(journals, configured, "host", 5.0, patterns=["spike"])
    each = [tune(journals, configured, name, 5.0, patterns=["spike"]) for name in whole]
    assert found.snapshots == sum(one.snapshots for one in each)
    assert found.proposals[0].a_day_now == pytest.approx(sum(one.proposals[0].a_day_now for one in each))


RICH = {
    **QUICK,
    "transforms": {"load": "value", "odd name": "return"},
    "tags": [{"match": {"subject": 'a"*'}, "add": ["größe", "x"]}],
    "anomaly": {"threshold": 0.1},
    "frequency": {"warning": "3d"},
}


@pytest.mark.parametrize("own", [True, False])
def test_the_lines_of_the_diff_are_the_whole_of_the_proposed_configuration(own: bool) -> None:
    item = {"name": "host", "kind": "push", **({"recognise": RICH} if own else {})}
    configured = settings(source=(item,), recognise={} if own else RICH)
    found = tune(stored(noisy(4)), configured, "host", 4.0)
    lines = diff(found, configured)
    assert lines[:2] == ["--- host (in force)", "+++ host (proposed)"]
    assert ' [source.recognise]  # under the [[source]] "host"' in lines
    for sign, config in (("-", found.config), ("+", found.proposed)):
        text = "\n".join(line[1:] for line in lines[3:] if line[0] in (" ", sign))
        assert RecogniserConfig.model_validate(tomllib.loads(text)["source"]["recognise"]) == config
    changed = {one.tunable.path for one in found.proposals if one.now != one.then}
    assert {line[1:].partition(" =")[0] for line in lines[3:] if line[0] == "+"} == changed
    assert changed


def test_what_was_only_ingested_belongs_to_the_table_for_all_sources() -> None:
    found = tune(stored(noisy(4)), settings(), "host", 4.0)
    assert " [recognise]  # of every source without its own" in diff(found, settings())


def test_how_many_alarms_the_history_should_hold_is_told() -> None:
    journals = stored(noisy(4))
    few, many = (tune(journals, settings(), "host", rate, patterns=["spike"]) for rate in (1.0, 10.0))
    assert few.expected < ENOUGH < many.expected == pytest.approx(10.0 * many.days)


ASKED = RecogniserConfig(anomaly=AnomalyPattern())


@pytest.mark.parametrize(
    "one", [one for one in TUNABLES if one.of(ASKED) is not None], ids=lambda one: one.path
)
@pytest.mark.parametrize("factor", [1e-6, 0.5, 0.9, 1.0, 2.0, 8.0, 1e9])
def test_every_rung_is_a_threshold_that_can_be_set(one: Tunable, factor: float) -> None:
    now = one.set_in(ASKED)
    value = one.scaled(ASKED, factor)
    data = ASKED.model_dump()
    table, key = data, one.path.partition(".*")[0].split(".")
    for name in key[:-1]:
        table = table[name]
    if "*" not in one.path:
        table[key[-1]] = value
    RecogniserConfig.model_validate(data)
    assert value <= now if factor < 1.0 else value >= now
    if one.only_raised:
        assert value >= now
    assert isinstance(value, type(now))
