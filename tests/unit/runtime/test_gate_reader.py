"""The gate over stored journals: what it answers now, why it denies, and what it answered then."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from observer_core.decision_pipeline.gate import GateAnswer
from observer_core.decision_pipeline.pipeline import DecisionPipeline
from observer_core.pattern_record.recogniser import Recogniser
from observer_core.runtime import operate
from observer_core.runtime.gate.reader import Gate
from observer_core.runtime.observer import Observer
from observer_core.shared.clock import SECOND, ManualClock
from observer_core.shared.errors import InputError
from observer_core.shared.stage import Entry
from observer_core.storage.memory import MemoryStorage
from observer_core.storage.ports import Op
from tests.support.market import (
    MINUTE,
    MINUTES,
    SILENT_FROM,
    SILENT_TO,
    START_NS,
    Live,
    observer,
    recording,
    take,
)

FAST = {"spike": {"threshold": 5.0}, "baseline": {"warm_up": 10}, "stale": {"min_arrivals": 5}}
SOURCES = [{"name": "one", "kind": "push", "max_age": "5s"}, {"name": "two", "kind": "push", "max_age": "5s"}]


def gate_of(it: Observer) -> Gate:
    return Gate(it.journals, it.settings, it.clock)


def codes(answer: GateAnswer) -> set[str]:
    return {reason["code"] for reason in answer.reasons}


class Desk(Live):
    """A live domain with its gate."""

    def __init__(self, folder: Path, **settings: Any) -> None:
        super().__init__(folder, **{"recognise": FAST, "source": SOURCES, **settings})
        self.gate = gate_of(self.observer)

    def run(self, seconds: int, *subjects: str, source: str = "one", values: float = 10) -> None:
        for second in range(seconds):
            self.second()
            self.collect(source, dict.fromkeys(subjects or ("a", "b"), values + second % 3))

    def ask(self, **body: Any) -> None:
        operate.command(
            self.observer.journals, self.clock, "live", **{"author": "kim", "reason": "drill", **body}
        )
        self.second()


@pytest.fixture
def desk(tmp_path: Path) -> Desk:
    it = Desk(tmp_path)
    it.run(20)
    it.second()
    return it


def poison(monkeypatch: pytest.MonkeyPatch, stage: type, journal: str, position: int) -> None:
    """That entry cannot be worked on by the stage."""
    work = stage.transition

    def transition(self: Any, state: Any, entry: Entry) -> Any:
        if (entry.journal, entry.position) == (journal, position):
            raise ValueError("poison")
        return work(self, state, entry)

    monkeypatch.setattr(stage, "transition", transition)


# ---------------------------------------------------------------------- now


def test_it_allows_what_is_observed_fresh_and_not_blocked(desk: Desk) -> None:
    answer = desk.gate.check("a")
    assert (answer.decision, answer.reasons, answer.domain) == ("allow", (), "live")
    assert answer.as_of_ns == desk.clock.now_ns() - SECOND
    assert desk.clock.now_ns() < answer.valid_until_ns <= desk.clock.now_ns() + 5 * SECOND


def test_it_denies_what_nobody_observes_unless_the_caller_wants_otherwise(desk: Desk) -> None:
    answer = desk.gate.check("nix")
    assert (answer.decision, codes(answer)) == ("deny", {"unknown_subject"})
    assert desk.gate.check("nix", on_unknown="allow").decision == "allow"


def test_it_denies_before_there_is_anything(tmp_path: Path) -> None:
    answer = gate_of(observer(tmp_path, source=SOURCES)).check("a")
    assert (answer.decision, answer.domain) == ("deny", "live")
    assert {"no_data", "stage_lag"} <= codes(answer)
    assert gate_of(observer(tmp_path)).check("a", on_unknown="allow").decision == "deny"


def test_it_denies_a_source_that_does_not_answer(desk: Desk) -> None:
    desk.second()
    desk.collect("one", None, error="ConnectionError: refused")
    desk.second()
    answer = desk.gate.check("a")
    assert codes(answer) == {"source_unavailable", "blocked"}
    assert "ConnectionError: refused" in str(answer.reasons)
    desk.run(3)
    assert desk.gate.check("a").decision == "allow"


def test_it_denies_old_data_although_the_stages_work(desk: Desk) -> None:
    for _ in range(4):
        desk.second()
    assert desk.gate.check("a").decision == "allow"
    desk.second()
    answer = desk.gate.check("a")
    assert codes(answer) == {"source_stale", "stage_lag"}
    assert {r["stage"] for r in answer.reasons if r["code"] == "stage_lag"} == {"recognise one"}


def test_it_denies_when_the_stages_stand_still_although_data_come(desk: Desk) -> None:
    for _ in range(31):
        desk.clock.advance(SECOND)
        desk.collect("one", {"a": 10.0, "b": 10.0})
    answer = desk.gate.check("a")
    assert "stage_lag" in codes(answer)
    assert {r["stage"] for r in answer.reasons if r["code"] == "stage_lag"} >= {"publish", "decide"}
    assert "source_stale" not in codes(answer)


def test_it_denies_a_subject_that_fell_silent(desk: Desk) -> None:
    desk.run(15, "a")
    answer = desk.gate.check("b")
    assert {"subject_stale", "blocked"} <= codes(answer)
    assert desk.gate.check("a").decision == "allow"


def test_one_silent_field_of_several_is_no_silent_subject(desk: Desk) -> None:
    desk.observer.close()
    for second in range(40):
        desk.second()
        desk.collect("one", {"a": 10.0 + second % 3}, field="y" if second % 2 else "x")
        if second > 20:
            desk.collect("one", {"a": 10.0 + second % 3}, field="x")
    for _ in range(20):
        desk.second()
        desk.collect("one", {"a": 10.0}, field="x")
    now = desk.gate.check("a")
    then = desk.gate.check("a", at_ns=desk.clock.now_ns())
    assert "subject_stale" not in codes(now) | codes(then)
    assert "blocked" in codes(now), "its field y did fall silent"


@pytest.mark.parametrize("scope", ["*", "subject:a", "source:one"])
def test_it_denies_what_an_operator_blocked_until_it_is_released(desk: Desk, scope: str) -> None:
    desk.ask(command="block", scope=scope)
    desk.run(1)
    answer = desk.gate.check("a")
    assert codes(answer) == {"blocked"}
    (reason,) = answer.reasons
    assert (reason["scope"], reason["policy"], reason["until_ns"]) == (scope, "operator", None)
    assert (desk.gate.check("b").decision == "allow") == (scope == "subject:a")
    desk.run(10)
    assert desk.gate.check("a").decision == "deny"
    desk.ask(command="release", scope=scope)
    desk.run(1)
    assert desk.gate.check("a").decision == "allow"


def test_a_block_with_an_end_stands_until_a_record_releases_it(desk: Desk) -> None:
    desk.ask(command="block", scope="*", until_ns=desk.clock.now_ns() + 3 * SECOND)
    desk.clock.advance(4 * SECOND)
    assert "blocked" in codes(desk.gate.check("a")), "the clock alone releases nothing"
    desk.run(1)
    assert desk.gate.check("a").decision == "allow"


def test_it_denies_what_was_set_aside_unread(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    poison(
        monkeypatch,
        Recogniser,
        "snapshots.one",
        desk.observer.journals.open("snapshots.one").head().position + 1,
    )
    desk.run(3)
    assert {"quarantined", "blocked"} <= codes(desk.gate.check("a"))


def test_it_denies_everything_when_the_decide_stage_set_something_aside(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    poison(monkeypatch, DecisionPipeline, "commands.live", 1)
    desk.ask(command="block", scope="subject:nix")
    desk.run(1)
    assert codes(desk.gate.check("a")) == {"quarantined"}


def test_it_denies_without_the_views_that_would_say_what_is_blocked(desk: Desk) -> None:
    tables = desk.observer.storage.tables
    for row in tables.query("decisions.live", "v.", "v.~"):
        tables.commit("decisions.live", [Op("delete", row.key)])
    answer = desk.gate.check("a")
    assert codes(answer) == {"stage_lag"}
    assert [reason["stage"] for reason in answer.reasons] == ["decide"]


def test_it_denies_a_subject_whose_feed_views_are_gone(desk: Desk) -> None:
    tables = desk.observer.storage.tables
    tables.commit("patterns.one", [Op("delete", "v.feed")])
    assert codes(desk.gate.check("a")) == {"source_unavailable"}
    tables.commit("patterns.one", [Op("delete", "v.subjects")])
    assert codes(desk.gate.check("a", domain="live")) == {"unknown_subject"}


def test_a_subject_of_two_sources_is_denied_if_either_denies(desk: Desk) -> None:
    for second in range(4):
        desk.second()
        desk.collect("one", {"a": 10.0})
        desk.collect("two", {"a": 10.0} if second < 3 else None, error="down")
    desk.second()
    answer = desk.gate.check("a")
    assert {r.get("source") for r in answer.reasons if r["code"] == "source_unavailable"} == {"two"}
    assert answer.decision == "deny"
    desk.second()
    desk.collect("one", {"b": 10.0})
    assert desk.gate.check("b").decision == "allow", "only the source that observes it counts"


def test_a_domain_that_does_not_exist_is_told(desk: Desk) -> None:
    with pytest.raises(InputError, match="there is no domain 'nix'; known are live"):
        desk.gate.check("a", domain="nix")


def test_a_source_that_is_not_configured_may_be_five_intervals_old(tmp_path: Path) -> None:
    it = Desk(tmp_path, source=[])
    assert it.gate.max_age_ns("one") == 180 * SECOND
    for _ in range(11):  # an epoch note and 11 snapshots, 10 s apart
        it.clock.advance(9 * SECOND)
        it.run(1)
    assert it.gate.max_age_ns("one") == 5 * (100 * SECOND) // 11
    assert it.gate.max_age_ns("one", 3) == 5 * (10 * SECOND) // 2
    it.clock.advance(45 * SECOND)
    it.observer.domain("live").tick()
    it.observer.domain("live").work(refresh=True)
    assert it.gate.check("a").decision == "allow"
    it.clock.advance(2 * SECOND)
    assert "source_stale" in codes(it.gate.check("a"))


def test_a_quiet_source_that_is_not_configured_stays_open(tmp_path: Path) -> None:
    """Its stage says how far it has come as often as the least age that the gate may ask for needs it."""
    it = Desk(tmp_path, source=[])
    it.run(10)
    for _ in range(40):
        it.run(1)
        it.second()
        assert it.gate.check("a").reasons == ()


# ---------------------------------------------------------------------- a recording


@pytest.fixture
def recorded(tmp_path: Path) -> Observer:
    it = observer(tmp_path, clock=ManualClock(2_000_000_000 * SECOND))
    take(it, recording(tmp_path / "desk.csv", range(100)))
    return it


def test_the_present_of_a_recording_is_where_it_ends(recorded: Observer) -> None:
    gate = gate_of(recorded)
    assert gate.now_ns("desk") == START_NS + 100 * MINUTE
    assert gate.find_domain("A/USD") == "desk"
    assert gate.check("A/USD").decision == "allow"
    assert {"blocked", "subject_stale"} <= codes(gate.check("B/USD"))


def test_between_two_bars_of_a_recording_no_stage_lags(recorded: Observer) -> None:
    at = START_NS + 50 * MINUTE
    for later in (0, 1, 45 * SECOND):
        answer = gate_of(recorded).check("A/USD", at_ns=at + later)
        assert (answer.decision, answer.reasons) == ("allow", ())


def test_beyond_the_end_of_a_recording_everything_is_old(recorded: Observer) -> None:
    answer = gate_of(recorded).check("A/USD", at_ns=START_NS + 200 * MINUTE)
    assert codes(answer) == {"source_stale", "stage_lag"}


def test_before_a_recording_there_is_nothing(recorded: Observer) -> None:
    answer = gate_of(recorded).check("A/USD", at_ns=START_NS, on_unknown="allow")
    assert answer.decision == "deny"
    assert codes(answer) == {"no_data", "stage_lag"}


# ---------------------------------------------------------------------- then


def plain(answer: GateAnswer) -> dict[str, Any]:
    found = answer.to_json()
    found["reasons"] = sorted(found["reasons"], key=str)
    return found


@pytest.mark.parametrize("sources", [SOURCES, []], ids=["configured", "not configured"])
def test_asked_about_a_moment_it_answers_what_it_answered_then(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, sources: list[Any]
) -> None:
    it = Desk(tmp_path, source=sources, max_lag="3s")  # so that every second is committed
    told: dict[tuple[str, int], dict[str, Any]] = {}
    for second in range(120):
        it.second()
        values = {"a": 10.0 + second % 3, "b": 20.0 + second % 5}
        if second == 60:
            values["a"] = 90.0
        if second > 30:
            values["new"] = 1.0 + second % 2
        if 40 <= second < 60:
            del values["b"]
        if second == 108:
            position = it.observer.journals.open("snapshots.one").head().position + 1
            poison(monkeypatch, Recogniser, "snapshots.one", position)
        if not 80 <= second < 90 and second not in (0, 1):
            it.collect("one", values)
        if second % 3 == 0 and second > 10:
            it.collect("two", None if 50 <= second < 56 else {"a": 5.0 + second % 2}, error="down")
        if second == 70:
            it.ask(command="block", scope="subject:b", until_ns=it.clock.now_ns() + 5 * SECOND)
        if second == 90:
            it.ask(command="override", scope="*", until_ns=it.clock.now_ns() + 8 * SECOND)
        it.second()
        for subject in ("a", "b", "new", "nix") if second > 1 and second % 3 == 0 else ():
            told[subject, it.clock.now_ns()] = plain(it.gate.check(subject, domain="live"))
    decided = {answer["decision"] for answer in told.values()}
    assert decided == {"allow", "deny"}
    reasons = {reason["code"] for answer in told.values() for reason in answer["reasons"]}
    assert reasons >= {
        "unknown_subject", "blocked", "source_stale", "subject_stale", "source_unavailable",
        "quarantined",
    }  # fmt: skip
    later = Gate(it.observer.journals, it.observer.settings, ManualClock(it.clock.now_ns() + 900 * SECOND))
    for (subject, moment), answer in told.items():
        then = plain(later.check(subject, domain="live", at_ns=moment))
        if any(reason["code"] == "quarantined" for reason in answer["reasons"]):
            # Time that passes without a record or an input leaves no row behind.
            for key in ("as_of_ns", "valid_until_ns", "valid_until"):
                then.pop(key), answer.pop(key)
        assert then == answer, (subject, (moment - START_NS) / SECOND)


def test_what_the_decide_stage_had_set_aside_closed_the_gate_then_and_not_after_the_redrive(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = desk.clock.now_ns() - 1
    with monkeypatch.context() as patch:
        poison(patch, DecisionPipeline, "commands.live", 1)
        desk.ask(command="block", scope="subject:nix")
        desk.run(1)
    closed = desk.clock.now_ns()
    assert desk.gate.check("a").decision == "deny"
    desk.run(12)  # the redrive is dated by how far the stage has said it has worked
    operate.redrive(
        desk.observer.journals, "decisions.live", "commands.live", 1, author="kim", reason="mended"
    )
    desk.run(5)
    assert desk.gate.check("a").decision == "allow"
    assert codes(desk.gate.check("a", at_ns=closed)) == {"quarantined"}
    for moment in (before, desk.clock.now_ns()):
        assert desk.gate.check("a", at_ns=moment).reasons == ()


@pytest.mark.parametrize("batch", [1, 7, 1000])
def test_what_a_recording_answers_then_does_not_depend_on_how_it_was_ingested(
    tmp_path: Path, batch: int
) -> None:
    """Bar by bar the present is asked; afterwards the same moments, of data taken in any batches."""
    source = {
        "name": "desk", "kind": "recording", "domain": "desk", "paths": ["x.csv"],
        "mapping": {"time": "ts", "subject": "name", "bar": "1m"},
    }  # fmt: skip
    grown = observer(tmp_path, source=[source])
    whole = observer(tmp_path, MemoryStorage(), source=[source])
    take(whole, recording(tmp_path / "desk.csv"), batch=batch)
    for minute in range(10, MINUTES + 1, 10):
        take(grown, recording(tmp_path / "desk.csv", range(minute)))
        at = START_NS + minute * MINUTE
        for subject in ("A/USD", "B/USD", "nix"):
            now = gate_of(grown).check(subject, domain="desk")
            assert gate_of(grown).now_ns("desk") == at
            then = gate_of(whole).check(subject, domain="desk", at_ns=at)
            assert _told(then) == _told(now), (minute, subject)
            if subject == "B/USD":
                assert (now.decision == "deny") == (SILENT_FROM < minute <= SILENT_TO), minute


def _told(answer: GateAnswer) -> dict[str, Any]:
    found = plain(answer)
    for reason in found["reasons"]:
        reason.pop("decision", None)  # names positions of events, which depend on where files ended
    return found
