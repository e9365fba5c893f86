"""How domains stand, as it is asked all the time: right at every moment, and cheap."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from observer_core.pattern_record.recogniser import Recogniser
from observer_core.runtime import operate
from observer_core.runtime.acts.ground import Unknown
from observer_core.runtime.gate.desk import GateDesk
from observer_core.runtime.gate.reader import Gate
from observer_core.runtime.reading.board import Gates, state_of
from observer_core.runtime.reading.status import DomainState, States, domain_named
from observer_core.shared.clock import SECOND
from observer_core.shared.records import Snapshot
from observer_core.shared.stage import Entry
from observer_core.storage.counting import CountingStorage
from observer_core.storage.local import LocalStorage
from observer_core.storage.memory import MemoryStorage
from observer_core.storage.ports import Storage
from tests.support.market import MINUTE, Live, recording, take

SOURCES = [
    {"name": "one", "kind": "push", "max_age": "5s"}, {"name": "two", "kind": "push", "max_age": "5s"},
]  # fmt: skip


class Watched(Live):
    """A live domain, and who asks how it stands."""

    def __init__(self, folder: Path, storage: Storage, **settings: Any) -> None:
        super().__init__(folder, storage, **{"source": SOURCES, "gate": {"views_age": "0s"}, **settings})
        it = self.observer
        self.gate = Gate(it.journals, it.settings, self.clock)
        self.desk = GateDesk(it, self.gate)
        self.states = States(it.journals, it.settings, self.gate, self.desk.views)
        self.gates = Gates()

    def fresh(self, **values: float) -> None:
        for source in ("one", "two"):
            self.collect(source, values or {"a": 100.0, "b": 10.0}, field="last")
        self.second()
        self.worked()

    def worked(self) -> None:
        self.observer.domain("live").work(refresh=True, flush=True)

    def command(self, command: str, scope: str, until_s: int | None = None) -> None:
        until_ns = None if until_s is None else self.clock.now_ns() + until_s * SECOND
        operate.command(
            self.observer.journals, self.clock, "live", command=command, scope=scope, author="anna",
            reason="an exercise", until_ns=until_ns,
        )  # fmt: skip

    def state(self, domain: str = "live") -> DomainState:
        return next(state for state in self.states.read() if state.view.name == domain)


@pytest.fixture
def live(tmp_path: Path) -> Iterator[Watched]:
    made = Watched(tmp_path, LocalStorage(tmp_path / "data"))
    made.fresh()
    yield made
    made.observer.close()


@pytest.mark.parametrize("seed", range(6))
def test_whatever_happens_counts_and_rows_are_what_the_gate_answers(tmp_path: Path, seed: int) -> None:
    chance, live = random.Random(seed), Watched(tmp_path, MemoryStorage())
    live.fresh(a=1.0, b=2.0, c=3.0)
    steps = (
        lambda: live.command("block", f"subject:{chance.choice('abcx')}", chance.choice([None, 3])),
        lambda: live.command("kill", chance.choice(["*", "source:one"])),
        lambda: live.command("unkill", chance.choice(["*", "source:one"])),
        lambda: live.command("release", f"subject:{chance.choice('abcx')}"),
        lambda: live.command("override", "subject:a", 2),
        lambda: live.collect(chance.choice(["one", "two"]), {"a": 1.0, "d": 4.0}, field="last"),
        lambda: live.collect("two", None, error="refused"),
        lambda: live.clock.advance(chance.choice([1, SECOND, 3 * SECOND, 40 * SECOND])),
        live.second, live.worked, live.worked,
    )  # fmt: skip
    for _ in range(60):
        chance.choice(steps)()
        view, subjects = live.state().view, [*"abcd"]
        now_ns = live.clock.now_ns()
        board = live.gates.board(view, "live", now_ns)
        rows = {row["subject"]: row for row in board["rows"]}
        subjects = sorted({*live.gate.subjects("live"), *rows})
        expected = Counter[str]()
        for subject in subjects:
            answer = live.gate.check(subject, domain="live")
            expected[state_of(answer)] += 1
            assert [board["reasons"][place] for place in rows[subject]["reasons"]] == list(answer.reasons)
        counts = live.gates.counts(view, now_ns)
        assert Counter({state: count for state, count in counts.items() if count}) == expected
        assert board["counts"] == counts


def test_a_subject_closes_by_age_alone_without_anything_moving(live: Watched) -> None:
    def counted() -> dict[str, int]:
        found: dict[str, int] = live.state().to_json(live.gates)["gate"]
        return found

    assert counted() == {"blocked": 0, "unknown": 0, "open": 2}
    live.clock.advance(4 * SECOND)
    assert counted()["open"] == 2
    live.clock.advance(SECOND + 1)
    assert counted() == {"blocked": 0, "unknown": 2, "open": 0}


def test_what_stands_is_counted_and_named(live: Watched) -> None:
    live.command("kill", "*")
    live.command("block", "subject:a", 60)
    live.command("override", "subject:b", 60)
    silence = {"match": {"subjects": ["X*"]}, "start_ns": live.clock.now_ns(), "author": "anna",
               "end_ns": live.clock.now_ns() + MINUTE, "reason": "an exercise"}  # fmt: skip
    operate.ask(live.observer.journals, "live", "silence", silence, live.clock.now_ns())
    live.second()
    live.worked()
    state = live.state()
    shown = state.to_json(live.gates)
    assert shown["killed"] == ["*"]
    assert (shown["blocks"], shown["silences"], shown["requests"], shown["incidents"]) == (2, 1, 0, 0)
    assert shown["gate"] == {"blocked": 2, "unknown": 0, "open": 0}
    assert (shown["risk"], shown["mode"], shown["now_ns"]) == ("calm", "live", live.clock.now_ns())
    assert [entry["scope"] for entry in state.overrides] == ["subject:b"]
    assert "route" in [stage["stage"] for stage in shown["stages"]]


def test_positions_are_those_of_the_heads(live: Watched) -> None:
    positions = live.state().positions
    names = [f"{kind}.live" for kind in ("events", "decisions", "commands", "routes")]
    names += [f"{kind}.{name}" for kind in ("snapshots", "patterns") for name in ("one", "two")]
    assert positions == {name: live.observer.journals.open(name).head().position for name in positions}
    assert set(positions) == set(names)


def test_a_stage_that_has_not_come_on_is_behind(live: Watched) -> None:
    live.clock.advance(SECOND)
    live.observer.writer("one", "live", "live", live.clock.now_ns())
    stages = {stage["stage"]: stage for stage in live.state().stages}
    assert {stage["behind"] for stage in stages.values()} == {0}
    live.command("block", "subject:a")
    behind = {stage["stage"]: stage["behind"] for stage in live.state().stages}
    assert behind == {"recognise one": 0, "recognise two": 0, "publish": 0, "decide": 1}
    assert stages["recognise one"]["max_lag_ns"] == 5 * SECOND
    assert stages["decide"]["max_lag_ns"] == live.observer.settings.max_lag
    live.worked()
    assert {stage["behind"] for stage in live.state().stages} == {0}


def test_a_source_is_ok_stale_unavailable_or_unknown(tmp_path: Path) -> None:
    live = Watched(tmp_path, MemoryStorage(), source=[*SOURCES, {"name": "three", "kind": "push"}])
    live.fresh()
    live.collect("two", None, error="refused")
    live.worked()
    live.clock.advance(3 * SECOND)

    def shown() -> dict[str, Any]:
        (state,) = live.states.read(configured=True)
        return {source["source"]: source for source in state.sources}

    found = shown()
    assert {name: source["status"] for name, source in found.items()} == {
        "one": "ok", "two": "unavailable", "three": "unknown",
    }  # fmt: skip
    assert found["two"]["error"] == "refused"
    assert (found["three"]["position"], found["three"]["newest_ns"], found["three"]["age_ns"]) == (
        0,
        None,
        None,
    )
    assert (found["one"]["subjects"], found["one"]["kind"], found["one"]["age_ns"]) == (2, "push", 4 * SECOND)
    live.clock.advance(2 * SECOND)
    assert shown()["one"]["status"] == "stale"
    assert [source["source"] for source in live.states.read()[0].sources] == ["one", "two"]


def test_a_recorded_domain_keeps_its_own_time_and_one_without_data_is_unknown(tmp_path: Path) -> None:
    live = Watched(tmp_path, MemoryStorage())
    take(live.observer, recording(tmp_path / "desk.csv"))
    live.clock.advance(3600 * SECOND)
    first, desk = live.states.read(configured=True)
    assert (first.view.name, desk.view.name) == ("live", "desk")
    nothing = first.to_json(live.gates)
    assert (nothing["risk"], nothing["positions"], nothing["stages"]) == ("unknown", {}, [])
    assert {source["status"] for source in nothing["sources"]} == {"unknown"}
    shown = desk.to_json(live.gates)
    assert (shown["mode"], shown["now_ns"]) == ("recorded", live.gate.now_ns("desk"))
    assert shown["sources"][0]["age_ns"] == 0
    assert sum(shown["gate"].values()) == 3


def test_what_is_set_aside_is_counted(live: Watched, monkeypatch: pytest.MonkeyPatch) -> None:
    work = Recogniser.transition

    def poisoned(self: Recogniser, state: Any, entry: Entry) -> Any:
        record = entry.record
        if isinstance(record, Snapshot) and record.source == "one" and "z" in record.subjects:
            raise ValueError("poison")
        return work(self, state, entry)

    monkeypatch.setattr(Recogniser, "transition", poisoned)
    live.collect("one", {"a": 1.0, "z": 1.0})
    for _ in range(6):
        live.second()
    state = live.state()
    assert state.quarantined == [f"snapshots.one@{state.positions['snapshots.one']}"]
    shown = state.to_json(live.gates)
    assert shown["quarantined"] == 1
    assert shown["gate"]["open"] == 0


def test_asking_again_reads_heads_alone_until_something_moves(tmp_path: Path) -> None:
    storage = CountingStorage(MemoryStorage())
    live = Watched(tmp_path, storage)
    live.fresh()
    live.states.read()

    def asked() -> Counter[str]:
        before = storage.operations.counts()
        live.states.read()
        return Counter(storage.operations.counts() - before)

    journals = len(live.state().positions)
    assert asked() == {"table.query": 1, "table.read": journals}
    live.command("block", "subject:a")
    assert asked()["table.query"] == 1  # nothing that is shown has been made of it yet
    live.worked()
    assert asked()["table.query"] > 1
    assert asked() == {"table.query": 1, "table.read": journals}


def test_the_desk_and_whoever_asks_how_it_stands_read_one_picture(live: Watched) -> None:
    view = live.desk.views.current().domains["live"]
    assert live.state().view is view


def test_a_domain_is_named_or_the_first_there_is(live: Watched, tmp_path: Path) -> None:
    take(live.observer, recording(tmp_path / "desk.csv"))
    picture, settings = live.desk.views.current(), live.observer.settings
    assert domain_named(picture, settings, None) == "live"
    assert domain_named(picture, settings, "desk") == "desk"
    with pytest.raises(Unknown, match="there is no domain 'x'; known are live, desk"):
        domain_named(picture, settings, "x")
