"""Derived sources and sources in shards, end to end: recorded, recognised, decided on, and computed again."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest

from observer_core.decision_pipeline.gate import GateAnswer
from observer_core.runtime.audit.replay import computed, replay
from observer_core.runtime.gate.reader import Gate
from observer_core.runtime.metrics import Metrics
from observer_core.runtime.observer import Observer
from observer_core.runtime.telemetry import instruments as its
from observer_core.shared.clock import SECOND, ManualClock
from observer_core.shared.ids import shard_of
from observer_core.shared.records import Decision, Event, PatternRecord, Snapshot
from observer_core.snapshot_engine.shards import split
from observer_core.snapshot_engine.source import Collection, unavailable
from observer_core.storage.journals import Journals
from observer_core.storage.memory import MemoryStorage
from observer_core.storage.verify import verify
from tests.support.instances import BUILD, START_NS, Instances
from tests.support.market import observer

FAST = {"spike": {"threshold": 5.0}, "baseline": {"warm_up": 10}, "stale": {"min_arrivals": 5}}
SEOUL, WORLD = {"name": "seoul", "kind": "push"}, {"name": "world", "kind": "push"}
KRW, USDT, RATE = ["seoul", "BTC/KRW", "last"], ["world", "BTC/USDT", "last"], ["seoul", "USDT/KRW", "last"]
PREMIUM = {
    "name": "premium", "kind": "derived", "tolerance": "3s",
    "series": [
        {"subject": "BTC", "kind": "premium", "of": KRW, "against": USDT, "rate": RATE},
        {"subject": "USDT/KRW", "kind": "implied_rate", "of": KRW, "against": USDT},
    ],
}  # fmt: skip
TWICE = {
    "name": "twice", "kind": "derived", "tolerance": "3s",
    "series": [{
        "subject": "BTC-gap", "kind": "difference", "of": ["premium", "USDT/KRW", "implied_rate"],
        "against": RATE,
    }],
}  # fmt: skip
SOURCES = (SEOUL, WORLD, PREMIUM, TWICE)
SECONDS, JUMP = 48, 40


def row(second: int) -> tuple[dict[str, float], dict[str, float]]:
    """What Seoul and what the world asks for a bitcoin; Seoul leaves the world behind for a moment."""
    dollars = 60_000.0 + 10 * (second * 7 % 11 - 5)
    won = dollars * 1300 * (1.01 + 0.0001 * (second * 5 % 7 - 3))
    if second == JUMP:
        won *= 1.05
    return {"BTC/KRW": won, "USDT/KRW": 1300.0 + second * 3 % 5 / 10}, {"BTC/USDT": dollars}


def snapshot(source: str, now_ns: int, rows: Mapping[str, float], field: str = "last") -> Snapshot:
    return Snapshot(
        source=source, event_ns=now_ns, ingest_ns=now_ns, subjects=tuple(rows),
        fields={field: np.array(list(rows.values()), np.float64)},
    )  # fmt: skip


class World:
    """One Observer, its live domain, and what two venues say, half a second after one another."""

    recognise: ClassVar[Mapping[str, Any]] = FAST

    def __init__(self, folder: Path, storage: MemoryStorage, sources: Sequence[Any] = SOURCES) -> None:
        self.clock = ManualClock(START_NS)
        self.observer = observer(
            folder, storage, clock=self.clock, build=BUILD, source=sources, recognise=self.recognise,
            max_lag="3s",
        )  # fmt: skip
        self.gate = Gate(self.observer.journals, self.observer.settings, self.clock)

    def collect(self, source: str, rows: Mapping[str, float] | None) -> None:
        now = self.clock.now_ns()
        found = unavailable(source, now, "503") if rows is None else snapshot(source, now, rows)
        self.observer.writer(source, "live", "live", now).write([found])
        self.observer.domain("live").work(source)

    def tick(self, ns: int = SECOND // 2) -> None:
        self.clock.advance(ns)
        domain = self.observer.domain("live")
        domain.tick()
        domain.refresh()
        domain.work(refresh=True)

    def run(self, seconds: Iterable[int]) -> None:
        for second in seconds:
            here, there = row(second)
            self.collect("seoul", here)
            self.tick()
            self.collect("world", there)
            self.tick()


def records(journals: Journals, name: str, kind: type = Snapshot) -> list[Any]:
    return [entry.record for entry in journals.open(name).scan() if isinstance(entry.record, kind)]


def series(found: Iterable[Snapshot], subject: str, field: str) -> Iterator[tuple[int, float]]:
    for it in found:
        if subject in it.subjects and field in it.fields:
            yield it.ingest_ns, float(it.fields[field][it.subjects.index(subject)])


def assert_clean(journals: Journals) -> None:
    """All bytes are those that were committed, and all that was computed is computed again."""
    for name in journals.names():
        assert verify(journals.open(name)).fault is None, name
    for name in computed(journals):
        found = replay(journals, name, BUILD.version)
        assert found.problem is None, found
        assert found.equal, name


def codes(answer: GateAnswer) -> set[str]:
    return {reason["code"] for reason in answer.reasons}


@pytest.fixture
def storage() -> MemoryStorage:
    return MemoryStorage()


@pytest.fixture(scope="module")
def told(tmp_path_factory: pytest.TempPathFactory) -> World:
    """All of it, for those who only read."""
    it = World(tmp_path_factory.mktemp("told"), MemoryStorage())
    it.run(range(SECONDS))
    return it


@pytest.fixture
def world(tmp_path: Path, storage: MemoryStorage) -> World:
    """The beginning, for those who go on."""
    it = World(tmp_path, storage)
    it.run(range(20))
    return it


# ---------------------------------------------------------------------- derived


def expected(seconds: Iterable[int]) -> Iterator[tuple[int, float, float]]:
    """(half seconds, premium, implied rate) after each of the snapshots, once both venues are known."""
    for second in seconds:
        here, there = row(second)
        _, before = row(second - 1)
        for half, dollars in ((0, before["BTC/USDT"]), (1, there["BTC/USDT"])):
            if second or half:
                won, rate = here["BTC/KRW"], here["USDT/KRW"]
                yield 2 * second + half, won / (dollars * rate) - 1, won / dollars


def test_every_snapshot_of_an_input_gives_one_with_the_numbers_of_that_moment(told: World) -> None:
    found = records(told.observer.journals, "snapshots.premium")
    assert len(found) == 2 * SECONDS - 1
    premium, rate = series(found, "BTC", "premium"), series(found, "USDT/KRW", "implied_rate")
    for (half, a, b), (time, one), (_, two) in zip(expected(range(SECONDS)), premium, rate, strict=True):
        assert (time - START_NS, one, two) == (half * SECOND // 2, a, b)
    assert all(it.quality == {} and it.status == "ok" for it in found)


def test_it_says_where_its_inputs_stood(told: World) -> None:
    journals = told.observer.journals
    for it in records(journals, "snapshots.premium")[::20]:
        for name, position in it.origin["inputs"].items():
            entry = journals.open(name).entry(position).record
            assert isinstance(entry, Snapshot)
            assert it.ingest_ns - SECOND <= entry.ingest_ns <= it.ingest_ns
        assert set(it.origin["inputs"]) == {"snapshots.seoul", "snapshots.world"}


def test_what_is_derived_from_a_derived_one_follows_at_once(told: World) -> None:
    journals = told.observer.journals
    rate = dict(series(records(journals, "snapshots.premium"), "USDT/KRW", "implied_rate"))
    asked = dict(series(records(journals, "snapshots.seoul"), "USDT/KRW", "last"))
    gaps = dict(series(records(journals, "snapshots.twice"), "BTC-gap", "difference"))
    assert max(gaps) == max(rate)
    for second in range(2, SECONDS):
        moment = START_NS + second * SECOND + SECOND // 2
        assert gaps[moment] == rate[moment] - asked[moment - SECOND // 2]


def test_a_jump_of_the_premium_is_recognised_and_decided_on_as_of_any_source(told: World) -> None:
    journals = told.observer.journals
    found = [it for it in records(journals, "patterns.premium", PatternRecord) if it.pattern == "spike"]
    assert {it.series[0] for it in found} >= {
        ("premium", "BTC", "premium"), ("premium", "USDT/KRW", "implied_rate"),
    }  # fmt: skip
    assert {it.time_ns for it in found} == {START_NS + JUMP * SECOND}
    assert any(it.pattern == "spike" for it in records(journals, "patterns.twice", PatternRecord))
    scopes = {it.scope for it in records(journals, "decisions.live", Decision)}
    assert {scope for scope in scopes if "BTC" in scope or "premium" in scope}


def test_the_gate_answers_for_what_is_derived(world: World) -> None:
    world.run(range(20, 40))
    for subject in ("BTC", "BTC-gap"):
        answer = world.gate.check(subject)
        assert not codes(answer) & {"unknown_subject", "source_stale", "stage_lag", "subject_stale"}, answer
    world.clock.advance(300 * SECOND)
    assert "source_stale" in codes(world.gate.check("BTC"))


def test_when_an_input_does_not_answer_what_is_derived_does_not_either(world: World) -> None:
    world.collect("world", None)
    world.tick()
    newest = records(world.observer.journals, "snapshots.premium")[-1]
    assert (newest.status, newest.error) == ("unavailable", "input unavailable: world")
    assert "source_unavailable" in codes(world.gate.check("BTC"))
    assert "source_unavailable" in codes(world.gate.check("BTC-gap"))
    world.run(range(21, 24))
    assert records(world.observer.journals, "snapshots.premium")[-1].status == "ok"
    assert "source_unavailable" not in codes(world.gate.check("BTC"))


def test_an_input_that_stands_still_makes_it_stale(world: World) -> None:
    for second in range(20, 30):
        world.collect("seoul", row(second)[0])
        world.tick(SECOND)
    found = records(world.observer.journals, "snapshots.premium")[-10:]
    stale = [it.quality.get("BTC", ()) == ("stale",) for it in found]
    assert stale == [False] * 3 + [True] * 7


def test_all_of_it_verifies_and_is_computed_again(told: World) -> None:
    assert [name for name in computed(told.observer.journals) if name.startswith("snapshots.")] == [
        "snapshots.premium", "snapshots.twice",
    ]  # fmt: skip
    assert_clean(told.observer.journals)


def test_a_replay_reads_all_of_its_inputs_and_computes_all_but_the_epoch(told: World) -> None:
    journals = told.observer.journals
    found = replay(journals, "snapshots.premium", BUILD.version)
    assert found.entries == sum(
        journals.open(f"snapshots.{name}").head().position for name in ("seoul", "world")
    )
    assert found.records == 2 * SECONDS
    assert (found.external, found.stored) == (1, journals.open("snapshots.premium").head().hash)


@pytest.mark.parametrize("cut", [1, 37, JUMP, JUMP + 1])
def test_a_restart_changes_nothing(tmp_path: Path, storage: MemoryStorage, told: World, cut: int) -> None:
    other = MemoryStorage()
    first = World(tmp_path, other)
    first.run(range(cut))
    clock = first.clock
    first.observer.close()
    second = World(tmp_path, other)
    second.clock.set(clock.now_ns())
    second.run(range(cut, SECONDS))
    for name in ("snapshots.premium", "snapshots.twice", "patterns.premium", "patterns.twice"):
        lines = [
            [entry.record.encode(1) for entry in it.observer.journals.open(name).scan()]
            for it in (told, second)
        ]
        assert lines[0] == lines[1], name
    assert_clean(second.observer.journals)


def test_a_series_more_opens_an_epoch_and_the_others_go_on(
    tmp_path: Path, storage: MemoryStorage, world: World
) -> None:
    world.observer.close()
    more = {"subject": "BTC", "kind": "return", "of": USDT, "over": "10s"}
    again = World(tmp_path, storage, (SEOUL, WORLD, {**PREMIUM, "series": [*PREMIUM["series"], more]}, TWICE))
    again.clock.set(START_NS + 20 * SECOND)
    again.run(range(20, 50))
    found = records(again.observer.journals, "snapshots.premium")
    assert {it.epoch for it in found} == {1, 2}
    assert len(list(series(found, "BTC", "premium"))) == 39 + 60
    values = [value for _, value in series(found, "BTC", "return")]
    assert any(not math.isnan(value) for value in values)
    assert_clean(again.observer.journals)


APART = range(70, 90)
PAIRS = {
    "name": "pairs", "kind": "derived", "series": [
        {"subject": "seoul:BTC", "field": "last", "kind": "value", "of": KRW},
        {"subject": "world:BTC", "field": "last", "kind": "value", "of": USDT},
    ],
    "recognise": {"correlations": {"watch": [{
        "of": ["seoul:*", "last"], "against": ["world:BTC", "last"], "span": 10, "slow_span": 60, "sigmas": 3,
    }]}},
}  # fmt: skip


def test_relations_and_correlations_of_two_sources_break_and_are_restored(
    tmp_path: Path, storage: MemoryStorage
) -> None:
    """For 20 seconds Seoul asks 3 % more, and goes its own way; the premium is watched unasked."""
    it = World(tmp_path, storage, (SEOUL, WORLD, PREMIUM, PAIRS))
    for second in range(150):
        here, there = row(second if second != JUMP else second + 1)
        if second in APART:
            here["BTC/KRW"] = 60_000 * 1300 * (1.04 + 0.001 * (second * second % 13 - 6))
        it.collect("seoul", here)
        it.tick()
        it.collect("world", there)
        it.tick()
    journals = it.observer.journals
    begun, over = START_NS + APART.start * SECOND, START_NS + APART.stop * SECOND
    for source, subject, name, pattern in (
        ("premium", "BTC", "premium", "relation"), ("premium", "USDT/KRW", "implied_rate", "relation"),
        ("pairs", "seoul:BTC", "last", "correlation"),
    ):  # fmt: skip
        found = [
            record
            for record in records(journals, f"patterns.{source}", PatternRecord)
            if record.pattern.startswith(pattern) and record.series == ((source, subject, name),)
        ]
        assert [record.pattern for record in found] == [f"{pattern}_break", f"{pattern}_restored"]
        assert begun < found[0].time_ns < over < found[1].time_ns
        assert found[1].evidence["onset_ns"] == found[0].evidence["onset_ns"] >= begun
    types = [event.type for event in records(journals, "events.live", Event)]
    assert types.count("io.qts.observer.pattern.relation_restored") == 2
    assert_clean(journals)


# ---------------------------------------------------------------------- derived, by hints


@pytest.fixture
def instances(tmp_path: Path) -> Instances:
    clock = ManualClock(START_NS)
    return Instances(
        tmp_path, MemoryStorage(clock), 2, clock=clock, source=SOURCES, recognise=FAST, max_lag="3s"
    )  # fmt: skip


def push(instances: Instances, source: str, rows: Mapping[str, float], *, by: int) -> None:
    now = instances.clock.now_ns()
    instances.handlers[by].observer.writer(source, "live", "live", now).write([snapshot(source, now, rows)])
    instances.handlers[by].pushed(source)


def run(instances: Instances, seconds: Iterable[int], *, lost: Iterable[int] = ()) -> None:
    """Instances take turns; in seconds that are `lost` no hint arrives."""
    gone = set(lost)
    for second in seconds:
        for half, source in enumerate(("seoul", "world")):
            push(instances, source, row(second)[half], by=(second + half) % 2)
            if second in gone:
                instances.lose()
            else:
                instances.drain(by=(second // 3 + half) % 2)
            instances.clock.advance(SECOND // 2)
        if second % 10 == 9:
            instances.handlers[second % 2].clock()
            if second in gone:
                instances.lose()
            instances.drain(by=second % 2)


def reader(instances: Instances) -> Journals:
    return Journals(instances.storage, worker="reader")


DERIVED = (
    ("premium", "BTC", "premium"), ("premium", "USDT/KRW", "implied_rate"),
    ("twice", "BTC-gap", "difference"),
)  # fmt: skip


def assert_same_numbers(instances: Instances, world: World) -> None:
    for name, subject, field in DERIVED:
        one, two = (
            dict(series(records(journals, f"snapshots.{name}"), subject, field))
            for journals in (reader(instances), world.observer.journals)
        )
        assert one == two, name


def test_two_instances_derive_what_one_process_does(instances: Instances, told: World) -> None:
    run(instances, range(SECONDS))
    assert_same_numbers(instances, told)
    spikes = [
        {(it.series, it.time_ns) for it in records(journals, "patterns.premium", PatternRecord)}
        for journals in (reader(instances), told.observer.journals)
    ]
    assert spikes[0] == spikes[1] != set()
    assert_clean(reader(instances))


def test_hints_that_are_lost_lose_nothing_that_is_derived(instances: Instances, told: World) -> None:
    run(instances, range(SECONDS), lost=[*range(12, 24), *range(36, 48)])
    behind = len(records(reader(instances), "snapshots.premium"))
    assert behind < 2 * SECONDS - 1
    instances.clock.advance(60 * SECOND)
    for by in (0, 1, 0):
        instances.handlers[by].sweep()
        instances.drain(by=by)
    assert len(records(reader(instances), "snapshots.premium")) == 2 * SECONDS - 1
    assert_same_numbers(instances, told)
    assert_clean(reader(instances))


def test_without_any_hint_a_sweep_finds_all_of_it(instances: Instances, told: World) -> None:
    run(instances, range(SECONDS), lost=range(SECONDS))
    instances.clock.advance(60 * SECOND)
    for _ in range(4):  # what follows from what the one before found
        instances.handlers[1].sweep()
        instances.drain(by=1)
    for name in ("premium", "twice"):
        worker = instances.handlers[1].observer.domain("live").deriver(name)
        assert worker is not None
        for journal in worker.spec.inputs():
            done = worker.journal.checkpoint(journal)["position"]
            assert done == reader(instances).open(journal).head().position, (name, journal)
    assert_same_numbers(instances, told)
    assert_clean(reader(instances))


def test_a_snapshot_of_an_input_is_told_to_all_that_follow_from_it(instances: Instances) -> None:
    run(instances, range(3))
    push(instances, "seoul", row(3)[0], by=0)
    found = []
    while (message := instances.receive("recognise")) is not None:
        found.append(message.body)
    assert sorted(found) == [b'{"source":"premium"}', b'{"source":"seoul"}', b'{"source":"twice"}']


# ---------------------------------------------------------------------- shards

SUBJECTS = tuple(f"S{number}/USD" for number in range(16))


def web(shards: int, **more: Any) -> dict[str, Any]:
    return {
        "name": "web", "kind": "http", "url": "https://api.example.com/t", "subject": "s", "interval": "1s",
        "fields": {"last": "l"}, "shards": shards, **more,
    }  # fmt: skip


class Sharded(World):
    """A source in shards, collected each second as the runtimes do it."""

    recognise: ClassVar = {"stale": {"min_arrivals": 5}}

    def __init__(
        self, folder: Path, storage: MemoryStorage, shards: int, *others: Any, since: int = START_NS
    ) -> None:
        super().__init__(folder, storage, (web(shards), *others))
        self.clock.set(since)
        self.shards = shards

    def second(self, *, absent: Iterable[str] = (), down: Iterable[int] = (), fails: bool = False) -> None:
        now = self.clock.now_ns()
        turn = (now - START_NS) // SECOND
        gone = set(absent)
        whole = snapshot("web", now, {
            subject: 100 + place + 0.1 * ((turn * (3 + place)) % 7)
            for place, subject in enumerate(SUBJECTS) if subject not in gone
        })  # fmt: skip
        collected = unavailable("web", now, "503") if fails else whole
        for number, part in enumerate(split(Collection("web", now, collected, {"due_ns": now}), self.shards)):
            if number in set(down):
                part = Collection(part.source, now, unavailable(part.source, now, "503"), part.origin)
            self.observer.writer(part.source, "live", "live", now).record(part)
            self.observer.domain("live").work(part.source)
        self.tick(SECOND)

    def seconds(self, count: int, **options: Any) -> None:
        for _ in range(count):
            self.second(**options)

    def again(self, folder: Path, shards: int, *others: Any) -> Sharded:
        """The same storage, configured with other shards."""
        self.observer.journals.sync()
        return Sharded(folder, self.storage, shards, *others, since=self.clock.now_ns())

    @property
    def storage(self) -> MemoryStorage:
        assert isinstance(self.observer.storage, MemoryStorage)
        return self.observer.storage

    def answers(self) -> dict[str, tuple[str, tuple[Any, ...]]]:
        found = {subject: self.gate.check(subject) for subject in SUBJECTS}
        return {subject: (it.decision, it.reasons) for subject, it in found.items()}

    def sources_of(self, subject: str) -> list[str]:
        """Whose patterns say that they observe it."""
        journals = self.observer.journals
        return [
            name.partition(".")[2]
            for name in journals.names("patterns")
            if subject in journals.open(name).views().get("subjects", {}).get("subjects", ())
        ]


ALL_ALLOWED: dict[str, tuple[str, tuple[Any, ...]]] = dict.fromkeys(SUBJECTS, ("allow", ()))


@pytest.fixture
def three(tmp_path: Path, storage: MemoryStorage) -> Sharded:
    it = Sharded(tmp_path, storage, 3)
    it.seconds(20)
    return it


def test_each_part_records_its_own_subjects_and_none_is_missing(three: Sharded) -> None:
    journals = three.observer.journals
    assert journals.names("snapshots") == ["snapshots.web-0", "snapshots.web-1", "snapshots.web-2"]
    for number in range(3):
        own = tuple(subject for subject in SUBJECTS if shard_of(subject, 3) == number)
        found = records(journals, f"snapshots.web-{number}")
        assert len(found) == 20
        assert {it.subjects for it in found} == {own}
        assert {it.source for it in found} == {f"web-{number}"}


def test_the_gate_knows_every_subject_of_every_part(three: Sharded) -> None:
    assert three.answers() == ALL_ALLOWED
    assert three.gate.check("S99/USD").decision == "deny"
    assert all(three.sources_of(subject) == [f"web-{shard_of(subject, 3)}"] for subject in SUBJECTS)


def test_a_part_that_fails_shuts_its_own_subjects_alone(three: Sharded) -> None:
    three.second(down=[1])
    for subject, (decision, reasons) in three.answers().items():
        assert (decision == "deny") == (shard_of(subject, 3) == 1)
        assert {it["source"] for it in reasons if it["code"] == "source_unavailable"} <= {"web-1"}


def test_a_failure_is_one_of_every_part(three: Sharded) -> None:
    three.second(fails=True)
    assert {decision for decision, _ in three.answers().values()} == {"deny"}
    three.seconds(5)
    assert three.answers() == ALL_ALLOWED


@pytest.mark.parametrize("counts", [(4, 2), (2, 3), (1, 3)])
def test_with_other_shards_no_subject_becomes_stale_or_unknown(
    tmp_path: Path, three: Sharded, counts: tuple[int, ...]
) -> None:
    it = three
    for count in counts:
        it = it.again(tmp_path, count)
        for turn in range(20):
            it.second()
            assert it.answers() == ALL_ALLOWED, (count, turn)
        names = ("web",) if count == 1 else tuple(f"web-{number}" for number in range(count))
        for subject in SUBJECTS:
            here = set(it.sources_of(subject)) & set(names)
            assert here == {names[shard_of(subject, count)]}, (count, subject)
    found = [
        (record.pattern, record.series, record.evidence)
        for name in it.observer.journals.names("patterns")
        for record in records(it.observer.journals, name, PatternRecord)
    ]
    assert found == []
    assert_clean(it.observer.journals)


def test_parts_of_before_make_no_lag_and_have_no_age(tmp_path: Path, three: Sharded) -> None:
    it = three.again(tmp_path, 2)
    it.seconds(60)
    metrics = Metrics(it.observer)
    assert set(metrics.values(its.SOURCE_AGE)) == {("web-0",), ("web-1",)}
    assert metrics.values(its.STAGE_LAG)["live", "recognise"] <= 2
    assert metrics.values(its.POSITION)["snapshots.web-2",] > 20  # what is stored is stored


@pytest.mark.parametrize("count", [2, 4])
def test_with_other_shards_only_the_part_that_has_a_subject_now_answers_for_it(
    tmp_path: Path, three: Sharded, count: int
) -> None:
    it = three.again(tmp_path, count)
    it.seconds(10)
    for number in range(count):
        it.second(down=[number])
        for subject, (decision, reasons) in it.answers().items():
            assert (decision == "deny") == (shard_of(subject, count) == number), subject
            assert {reason.get("source", f"web-{number}") for reason in reasons} <= {f"web-{number}"}
        it.seconds(3)
        assert it.answers() == ALL_ALLOWED


@pytest.mark.xfail(reason="parts of before are no sources any more, and subjects that left are forgotten")
def test_asked_about_a_moment_before_the_change_the_gate_answers_what_it_answered_then(
    tmp_path: Path, three: Sharded
) -> None:
    it, told = three, []
    for count in (2, 4, 1):
        it.seconds(5, down=[1] if count == 2 else [])
        told.append((it.clock.now_ns(), {subject: it.gate.check(subject).decision for subject in SUBJECTS}))
        it.clock.advance(SECOND // 2)
        it = it.again(tmp_path, count)
        it.seconds(12)
    assert {"allow", "deny"} == set(told[0][1].values())
    for moment, answers in told:
        assert answers == {subject: it.gate.check(subject, at_ns=moment).decision for subject in SUBJECTS}


@pytest.mark.xfail(reason="the part that it left never says that it has resumed, so the block stays")
def test_a_subject_that_was_blocked_for_its_silence_when_it_moved_is_released_when_it_is_back(
    tmp_path: Path, three: Sharded
) -> None:
    moved = next(subject for subject in SUBJECTS if shard_of(subject, 3) != shard_of(subject, 4))
    three.seconds(20, absent=[moved])
    assert "blocked" in codes(three.gate.check(moved))
    it = three.again(tmp_path, 4)
    it.seconds(20)
    assert it.answers() == ALL_ALLOWED


def test_a_subject_that_has_moved_and_falls_silent_is_noticed_where_it_is_now(
    tmp_path: Path, three: Sharded
) -> None:
    moved = next(subject for subject in SUBJECTS if shard_of(subject, 3) != shard_of(subject, 4))
    it = three.again(tmp_path, 4)
    it.seconds(30)
    it.seconds(20, absent=[moved])
    reasons = it.answers()[moved][1]
    assert {reason["source"] for reason in reasons if reason["code"] == "subject_stale"} == {"web-3"}
    it.seconds(5)
    assert it.answers() == ALL_ALLOWED


def test_a_derived_source_follows_its_subject_into_another_part(
    tmp_path: Path, storage: MemoryStorage
) -> None:
    moved = next(subject for subject in SUBJECTS if shard_of(subject, 3) != shard_of(subject, 4))
    stays = next(subject for subject in SUBJECTS if shard_of(subject, 3) == shard_of(subject, 4))
    ratio = {
        "name": "ratio", "kind": "derived",
        "series": [{"subject": "R", "kind": "ratio", "of": ["web", moved, "last"],
                    "against": ["web", stays, "last"]}],
    }  # fmt: skip
    it = Sharded(tmp_path, storage, 3, ratio)
    for count in (3, 4, 3, 1, 2):
        it = it.again(tmp_path, count, ratio) if count != it.shards else it
        before = len(records(it.observer.journals, "snapshots.ratio"))
        it.seconds(12)
        found = records(it.observer.journals, "snapshots.ratio")[before:]
        assert found, count
        parts = it.observer.settings.parts_of("web")
        whole = {
            time: value
            for name in parts
            for time, value in series(records(it.observer.journals, f"snapshots.{name}"), moved, "last")
        }
        below = {
            time: value
            for name in parts
            for time, value in series(records(it.observer.journals, f"snapshots.{name}"), stays, "last")
        }
        newest = found[-1]
        assert newest.ingest_ns == max(whole)
        assert newest.quality == {}
        assert list(series([newest], "R", "ratio")) == [
            (newest.ingest_ns, whole[newest.ingest_ns] / below[newest.ingest_ns])
        ]
        assert it.gate.check("R").decision == "allow", count
    assert_clean(it.observer.journals)


def test_another_source_may_have_a_name_like_a_part_of_before(tmp_path: Path, storage: MemoryStorage) -> None:
    it = Sharded(tmp_path, storage, 2, {"name": "web-7", "kind": "push"})
    it.collect("web-7", {"own": 1.0})
    it.seconds(3)
    it.collect("web-7", {"own": 1.1})
    it.tick()
    assert it.gate.check("own").decision == "allow"


def test_a_source_that_is_in_shards_for_the_first_time(tmp_path: Path, storage: MemoryStorage) -> None:
    whole = Sharded(tmp_path, storage, 1)
    whole.seconds(30)
    assert whole.observer.journals.names("snapshots") == ["snapshots.web"]
    it = whole.again(tmp_path, 3)
    for _ in range(30):
        it.second()
        assert it.answers() == ALL_ALLOWED
    assert_clean(it.observer.journals)


def test_an_observer_on_the_same_storage_is_another_object(three: Sharded, tmp_path: Path) -> None:
    """Else the tests above would not restart anything."""
    other = three.again(tmp_path, 3)
    assert isinstance(other.observer, Observer)
    assert other.observer is not three.observer
    assert other.storage is three.storage
