"""Where the gate is asked: what is recorded of it, what cannot be, and what it is read from."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from concurrent.futures import Future
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from observer_core.runtime.audit.replay import replay
from observer_core.runtime.gate import desk as gate_desk
from observer_core.runtime.gate.desk import Answered, GateDesk, Question
from observer_core.runtime.gate.reader import Gate
from observer_core.runtime.gate.report import asked_nearest, non_execution
from observer_core.runtime.observer import Observer
from observer_core.runtime.settings import load
from observer_core.shared.clock import SECOND
from observer_core.shared.errors import ConfigError, Conflict, InputError, StorageUnavailable
from observer_core.shared.records import Evaluation, Note, Snapshot, decode_record
from observer_core.storage.epochs import Build
from observer_core.storage.local import LocalStorage
from observer_core.storage.verify import verify
from tests.support.market import BUILD, Live, eventually, recording, take

SOURCES = [{"name": "one", "kind": "push", "max_age": "5s"}, {"name": "two", "kind": "push", "max_age": "5s"}]
ORDER = {"side": "buy", "quantity": 1, "price": 100.0}


class Desk(Live):
    """A live domain, and a desk in front of its gate."""

    def __init__(self, folder: Path, **settings: Any) -> None:
        super().__init__(
            folder, settings.pop("storage", None) or LocalStorage(folder / "data"),
            **{"source": SOURCES, **settings},
        )  # fmt: skip
        self.desk = self.another()
        self.fresh()

    def another(self, build: Build = BUILD, **settings: Any) -> GateDesk:
        """A desk as another worker on the same storage has it."""
        observer = self.observer
        if settings or build != BUILD:
            values = {"source": SOURCES, "gate": {"views_age": "0s"}, **settings}
            observer = Observer(
                load(root=observer.settings.root, **values), observer.storage, clock=self.clock, build=build
            )
        return GateDesk(observer, Gate(observer.journals, observer.settings, self.clock))

    def fresh(self, **values: float) -> None:
        self.collect("one", values or {"a": 100.0, "b": 10.0}, field="last")
        self.second()
        self.worked()

    def worked(self) -> None:
        """All stages have committed how far they have come."""
        self.observer.domain("live").work(refresh=True, flush=True)

    def ask(self, resource: str = "a", desk: GateDesk | None = None, **changes: Any) -> Answered:
        question = Question(**{"caller": "alpha", "action": "order", "resource": resource, **changes})
        return (desk or self.desk).ask(question).result(20)

    def records(self, domain: str = "live") -> list[Any]:
        return [entry.record for entry in self.observer.journals.open(f"gate.{domain}").scan()]


@pytest.fixture
def desk(tmp_path: Path) -> Iterator[Desk]:
    made = Desk(tmp_path)
    yield made
    made.desk.stop()


def codes(answered: Answered) -> list[str]:
    return [reason["code"] for reason in answered.answer.reasons]


# ---------------------------------------------------------------------- what is recorded


def test_allows_and_denials_are_recorded_before_they_are_told(desk: Desk) -> None:
    allowed = desk.ask(context={"note": "x"}, request_id="r-1")
    denied = desk.ask("nobody")
    assert (allowed.allowed, denied.allowed) == (True, False)
    assert codes(denied) == ["unknown_subject"]
    opened, first, second = desk.records()
    assert (opened.kind, opened.body["stage"], opened.body["config"]["caller"]) == ("epoch", "gate", [])
    assert [allowed.ref, denied.ref] == ["gate.live@2", "gate.live@3"]
    assert (first.verdict, first.caller, first.action, first.resource) == ("allow", "alpha", "order", "a")
    assert (first.context, first.request_id, first.reasons) == ({"note": "x"}, "r-1", ())
    assert first.valid_until_ns == allowed.answer.valid_until_ns
    heads = {name: desk.observer.journals.open(name).head().position for name in first.rests}
    assert first.rests == heads
    assert set(heads) == {"decisions.live", "events.live", "patterns.one", "snapshots.one"}
    assert (second.verdict, second.reasons[0]["code"]) == ("non_execution", "unknown_subject")
    assert set(second.rests) == {"decisions.live", "events.live"}
    assert decode_record(first.encode(1)) == first
    assert verify(desk.observer.journals.open("gate.live")).fault is None


def test_many_questions_are_one_commit_in_their_order(desk: Desk) -> None:
    desk.ask()
    gate = desk.observer.journals.open("gate.live")
    before = gate.head().seq
    started, go_on = threading.Event(), threading.Event()
    current = desk.desk._views.current

    def slow() -> Any:
        started.set()
        assert go_on.wait(20)
        return current()

    desk.desk._views.current = slow  # type: ignore[method-assign]
    futures: list[Future[Answered]] = [desk.desk.ask(Question(caller="c", action="x", resource="a"))]
    assert started.wait(20)
    names = [f"c{number}" for number in range(50)]
    futures += [desk.desk.ask(Question(caller=name, action="x", resource="a")) for name in names]
    go_on.set()
    refs = [future.result(20).ref for future in futures]
    assert gate.head().seq == before + 2
    assert refs == [f"gate.live@{position}" for position in range(3, 54)]
    assert [record.caller for record in desk.records()[3:]] == names


def test_a_large_context_is_recorded_as_its_hash_and_what_the_checks_use(desk: Desk) -> None:
    desk.ask(context={**ORDER, "memo": "m" * 5000})
    record = desk.records()[-1]
    assert record.context == ORDER
    assert len(record.context_sha256) == 64


def test_what_is_blocked_a_moment_ago_is_denied_at_once(desk: Desk) -> None:
    from observer_core.runtime import operate

    assert desk.ask().allowed
    operate.command(
        desk.observer.journals, desk.clock, "live", command="block", scope="subject:a", author="kim",
        reason="drill",
    )  # fmt: skip
    desk.second()
    assert codes(desk.ask()) == ["blocked"]
    assert desk.ask("b").allowed


def test_what_another_process_commits_is_seen_when_the_views_are_as_old_as_they_may_be(
    tmp_path: Path,
) -> None:
    desk = Desk(tmp_path, gate={"views_age": "0s"})
    assert desk.ask().allowed
    other = Observer(desk.observer.settings, LocalStorage(tmp_path / "data"), clock=desk.clock, build=BUILD)
    from observer_core.runtime import operate

    operate.command(
        other.journals, desk.clock, "live", command="block", scope="*", author="kim", reason="drill"
    )
    other.domain("live").decider.pump()
    assert codes(desk.ask()) == ["blocked"]
    desk.desk.stop()
    other.storage.close()


def test_views_that_did_not_move_are_read_once(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(desk.desk._views, "_age_s", 3600.0)
    desk.ask()
    reads: list[int] = []
    read = desk.desk._views._read
    monkeypatch.setattr(desk.desk._views, "_read", lambda: reads.append(1) or read())
    for _ in range(5):
        assert desk.ask().allowed
    assert reads == []
    desk.fresh()
    assert desk.ask().allowed
    assert reads == [1]


def test_a_caller_is_excused_what_is_unknown_only_where_that_is_configured(tmp_path: Path) -> None:
    desk = Desk(tmp_path, caller=[{"name": "beta", "on_unknown": "allow"}])
    assert not desk.ask("nobody").allowed
    answered = desk.ask("nobody", caller="beta")
    assert (answered.allowed, codes(answered)) == (True, ["unknown_subject"])
    desk.clock.advance(3600 * SECOND)
    assert not desk.ask("nobody", caller="beta").allowed
    desk.desk.stop()


def test_each_domain_has_its_own_journal_and_time(desk: Desk, tmp_path: Path) -> None:
    take(desk.observer, recording(tmp_path / "desk.csv"))
    answered = desk.ask("A/USD", domain="desk")
    assert answered.allowed
    assert answered.ref == "gate.desk@2"
    assert answered.now_ns == desk.observer.journals.open("snapshots.desk").head().time_ns
    assert desk.ask("a").ref == "gate.live@2"
    assert codes(desk.ask("A/USD", domain="live")) == ["unknown_subject"]
    # Without a name no recording answers for an order of now; who only looks may have it.
    assert codes(desk.ask("A/USD")) == ["unknown_subject"]
    assert desk.ask("A/USD", intent=False).ref == "gate.desk@3"
    with pytest.raises(InputError, match="there is no domain 'mars'; known are desk, live"):
        desk.ask("a", domain="mars")
    assert replay(desk.observer.journals, "decisions.desk", BUILD.version).equal


def test_before_there_is_anything_it_denies_and_says_so(tmp_path: Path) -> None:
    it = Live(tmp_path, LocalStorage(tmp_path / "data"), source=SOURCES)
    desk = GateDesk(it.observer, Gate(it.observer.journals, it.observer.settings, it.clock))
    answered = desk.ask(Question(caller="alpha", action="order", resource="a")).result(20)
    assert codes(answered) == ["no_data", "stage_lag"]
    assert answered.ref == "gate.live@2"
    desk.stop()


# ---------------------------------------------------------------------- what cannot be recorded


def unable(desk: Desk, error: Exception, monkeypatch: pytest.MonkeyPatch) -> None:
    def commit(*_: object) -> None:
        raise error

    monkeypatch.setattr(desk.observer.journals.open("gate.live"), "commit", commit)


@pytest.mark.parametrize(
    "error", [StorageUnavailable("away"), Conflict("gate.live", "head"), RuntimeError("a defect")]
)
def test_what_cannot_be_recorded_is_denied_and_later_it_is_told_how_many(
    desk: Desk, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    assert desk.ask().allowed
    unable(desk, error, monkeypatch)
    for _ in range(3):
        answered = desk.ask()
        assert (answered.allowed, codes(answered), answered.ref) == (False, ["not_recorded"], None)
        assert answered.answer.risk is None
    monkeypatch.undo()
    assert desk.ask().allowed
    note, record = desk.records()[-2:]
    assert isinstance(note, Note)
    assert (note.kind, note.body["count"]) == ("not_recorded", 3)
    assert type(error).__name__ in note.body["why"]
    assert record.verdict == "allow"
    desk.ask()
    assert [r.kind for r in desk.records()].count("not_recorded") == 1
    assert non_execution(desk.observer.journals, "live").not_recorded == 3


def test_views_that_cannot_be_read_deny(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    assert desk.ask().allowed

    def away(*_: object) -> None:
        raise StorageUnavailable("away")

    monkeypatch.setattr(desk.desk._views, "_read", away)
    desk.fresh()
    answered = desk.ask()
    assert codes(answered) == ["not_recorded"]
    assert "the views cannot be read" in answered.answer.reasons[0]["text"]
    monkeypatch.undo()
    assert desk.ask().allowed


def test_a_question_too_many_and_one_that_waited_too_long_are_denied(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    desk.ask()
    started, go_on = threading.Event(), threading.Event()
    current = desk.desk._views.current

    def slow() -> Any:
        started.set()
        assert go_on.wait(20)
        return current()

    monkeypatch.setattr(desk.desk._views, "current", slow)
    question = Question(caller="alpha", action="order", resource="a")
    first = desk.desk.ask(question)
    assert started.wait(20)
    waiting = [desk.desk.ask(question) for _ in range(gate_desk.WAITING)]
    over = desk.desk.ask(question)
    assert codes(over.result(0)) == ["not_recorded"]
    assert "1000 questions are waiting" in over.result(0).answer.reasons[0]["text"]
    monkeypatch.setattr(gate_desk, "PATIENCE_S", 0.0)
    go_on.set()
    for future in (first, *waiting):
        assert codes(future.result(20)) == ["not_recorded"]


def test_an_allow_that_took_too_long_to_record_is_denied(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    assert desk.ask().allowed
    gate = desk.observer.journals.open("gate.live")
    commit = gate.commit

    def slow(*given: Any) -> Any:
        monkeypatch.setattr(gate_desk, "PATIENCE_S", -1.0)  # so long ago is every question by now
        return commit(*given)

    monkeypatch.setattr(gate, "commit", slow)
    answered = desk.ask()
    assert (answered.allowed, codes(answered), answered.ref) == (False, ["not_recorded"], None)
    monkeypatch.undo()
    assert desk.ask().allowed
    assert [record.kind for record in desk.records()[-3:]] == ["evaluation", "not_recorded", "evaluation"]


def test_a_context_that_cannot_be_recorded_harms_nobody_else(desk: Desk) -> None:
    desk.ask()
    started, go_on = threading.Event(), threading.Event()
    current = desk.desk._views.current

    def slow() -> Any:
        started.set()
        assert go_on.wait(20)
        return current()

    deep: dict[str, Any] = {}
    for _ in range(253):  # the record would be one deeper than can be written
        deep = {"a": deep}
    desk.desk._views.current = slow  # type: ignore[method-assign]
    first = desk.desk.ask(Question(caller="one", action="x", resource="a"))
    assert started.wait(20)
    bad = desk.desk.ask(Question(caller="bad", action="x", resource="a", context=deep))
    others = [desk.desk.ask(Question(caller="c", action="x", resource="a", context=ORDER)) for _ in range(3)]
    go_on.set()
    with pytest.raises(InputError, match="the context cannot be recorded"):
        bad.result(20)
    assert all(future.result(20).allowed for future in (first, *others))
    assert desk.ask(context=deep["a"]).allowed


def test_a_receipt_that_fails_changes_no_answer(desk: Desk) -> None:
    def fails(*_: object) -> str:
        raise KeyError("a defect")

    desk.desk._permit = fails
    answered = desk.ask()
    assert (answered.allowed, answered.permit) == (True, None)


def test_nobody_is_left_waiting_when_it_stops(desk: Desk) -> None:
    futures = [desk.desk.ask(Question(caller="alpha", action="order", resource="a")) for _ in range(100)]
    desk.desk.stop()
    assert all(future.result(0).ref for future in futures)
    assert codes(desk.ask()) == ["not_recorded"]
    desk.desk.stop()


def test_who_gave_up_is_not_recorded(desk: Desk) -> None:
    desk.ask()
    started, go_on = threading.Event(), threading.Event()
    current = desk.desk._views.current

    def slow() -> Any:
        started.set()
        assert go_on.wait(20)
        return current()

    desk.desk._views.current = slow  # type: ignore[method-assign]
    first = desk.desk.ask(Question(caller="one", action="x", resource="a"))
    assert started.wait(20)
    assert desk.desk.ask(Question(caller="gone", action="x", resource="a")).cancel()
    go_on.set()
    first.result(20)
    desk.desk.stop()
    assert [record.caller for record in desk.records()[1:]] == ["alpha", "one"]


# ---------------------------------------------------------------------- several workers, and restarts


def test_two_workers_write_one_journal_and_count_together(tmp_path: Path) -> None:
    limit = [{"name": "rate", "max_messages": 3, "messages_within": "10s"}]
    desk = Desk(tmp_path, intent=limit)
    other = desk.another(intent=limit)
    answers = [desk.ask(desk=worker) for worker in (desk.desk, other, desk.desk, other, desk.desk)]
    assert [answered.allowed for answered in answers] == [True, True, True, False, False]
    assert [answered.ref for answered in answers] == [f"gate.live@{n}" for n in range(2, 7)]
    assert verify(desk.observer.journals.open("gate.live")).fault is None
    other.stop()
    desk.desk.stop()


def test_rate_and_duplicates_survive_a_restart(tmp_path: Path) -> None:
    limits = [{"name": "desk", "max_messages": 2, "messages_within": "20s", "no_duplicate_within": "5s"}]
    desk = Desk(tmp_path, intent=limits)
    assert desk.ask(context=ORDER).allowed
    desk.desk.stop()
    again = desk.another(intent=limits)
    assert codes(desk.ask(desk=again, context=ORDER)) == ["duplicate"]
    assert desk.ask(desk=again, context={**ORDER, "quantity": 2}).allowed
    again.stop()
    once_more = desk.another(intent=limits)
    assert codes(desk.ask(desk=once_more, context={**ORDER, "quantity": 3})) == ["max_messages"]
    desk.clock.advance(20 * SECOND)
    desk.fresh()
    assert desk.ask(desk=once_more, context=ORDER).allowed
    once_more.stop()


def test_a_failed_commit_counts_for_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    desk = Desk(tmp_path, intent=[{"name": "desk", "no_duplicate_within": "5s"}])
    unable(desk, StorageUnavailable("away"), monkeypatch)
    assert codes(desk.ask(context=ORDER)) == ["not_recorded"]
    monkeypatch.undo()
    assert desk.ask(context=ORDER).allowed
    assert codes(desk.ask(context=ORDER)) == ["duplicate"]
    desk.desk.stop()


def test_other_rules_open_an_epoch_and_the_worker_of_the_old_one_denies(desk: Desk) -> None:
    assert desk.ask().allowed
    newer = desk.another(intent=[{"name": "size", "max_quantity": 1}])
    assert desk.ask(desk=newer, context={"quantity": 1}).allowed
    answered = desk.ask()
    assert codes(answered) == ["not_recorded"]
    assert "EpochMoved" in answered.answer.reasons[0]["text"]
    assert codes(desk.ask(desk=newer, context={"quantity": 2})) == ["max_quantity"]
    assert [(r.kind, r.epoch) for r in desk.records()] == [
        ("epoch", 1), ("evaluation", 1), ("epoch", 2), ("evaluation", 2), ("evaluation", 2),
    ]  # fmt: skip
    newer.stop()


# ---------------------------------------------------------------------- the price of an intent


def test_an_intent_is_held_against_the_last_good_price(tmp_path: Path) -> None:
    desk = Desk(tmp_path, intent=[{"name": "collar", "price_collar": 1.0}])
    assert desk.ask(context={"price": 101}).allowed
    (reason,) = desk.ask(context={"price": 102}).answer.reasons
    assert (reason["code"], reason["reference"]) == ("price_collar", 100.0)
    record = desk.records()[-1]
    place = desk.observer.journals.open("snapshots.one").head().position
    assert record.reference == {
        "price": 100.0, "field": "last", "ref": f"snapshots.one@{place}",
        "time_ns": desk.clock.now_ns() - SECOND,
    }  # fmt: skip
    desk.fresh(a=float("nan"), b=10.0)  # not observed: the one before still counts
    answered = desk.ask(context={"price": 101})
    assert answered.allowed
    price_ns = desk.records()[-1].reference["time_ns"]
    assert (answered.answer.as_of_ns, answered.answer.valid_until_ns) == (price_ns, price_ns + 5 * SECOND)
    for _ in range(4):
        desk.fresh(b=10.0)
    assert "no_reference_price" in codes(desk.ask(context={"price": 101}))
    desk.desk.stop()


def test_a_price_that_is_flagged_is_not_good_and_the_newest_of_several_sources_counts(tmp_path: Path) -> None:
    desk = Desk(tmp_path, intent=[{"name": "collar", "price_collar": 1.0}])

    def quote(source: str, bid: float, ask: float) -> None:
        now = desk.clock.now_ns()
        snapshot = Snapshot(
            source=source, event_ns=now, ingest_ns=now, subjects=("a",),
            fields={"bid": np.array([bid]), "ask": np.array([ask])},
        )  # fmt: skip
        desk.observer.writer(source, "live", "live", now).write([snapshot])
        desk.second()
        desk.worked()

    quote("two", 199.0, 201.0)
    assert desk.ask(context={"price": 200}).allowed
    record = desk.records()[-1]
    assert (record.reference["price"], record.reference["field"]) == (200.0, "mid")
    quote("two", 301.0, 299.0)  # crossed
    assert codes(desk.ask(context={"price": 300})) == ["price_collar"]
    assert desk.records()[-1].reference["price"] == 200.0
    desk.desk.stop()


def test_a_question_without_intent_is_not_checked_for_one(tmp_path: Path) -> None:
    desk = Desk(tmp_path, intent=[{"name": "size", "max_quantity": 1}])
    assert codes(desk.ask()) == ["intent_incomplete"]
    assert desk.ask(intent=False).allowed
    desk.desk.stop()


def test_names_of_callers_and_intents_differ(tmp_path: Path) -> None:
    for settings in (
        {"caller": [{"name": "a"}, {"name": "a"}]},
        {"intent": [{"name": "a", "max_quantity": 1}, {"name": "a", "max_quantity": 2}]},
    ):
        with pytest.raises(ConfigError, match="name 'a' is given twice"):
            load(root=tmp_path, **settings)


# ---------------------------------------------------------------------- what is told of it later


def test_who_asked_nearest_to_a_moment_is_found(desk: Desk) -> None:
    start = desk.clock.now_ns()
    for caller in ("early", "late"):
        desk.ask(caller=caller)
        desk.ask("b", caller="other")
        desk.clock.advance(10 * SECOND)
        desk.fresh()
    journals = desk.observer.journals

    def nearest(at_ns: int, subject: str = "a") -> str | None:
        found = asked_nearest(journals, "live", subject, at_ns)
        return found and found[1].caller

    assert [nearest(start + offset * SECOND) for offset in (-5, 0, 5, 6, 100)] == [
        "early", "early", "early", "late", "late",
    ]  # fmt: skip
    assert nearest(start, "nobody") is None
    assert asked_nearest(journals, "nowhere", "a", start) is None


def test_the_report_counts_what_was_asked_and_why_it_was_denied(desk: Desk) -> None:
    for resource, caller in (("a", "alpha"), ("a", "beta"), ("nobody", "beta"), ("b", "alpha")):
        desk.ask(resource, caller=caller)
    since = desk.clock.now_ns() + 1
    desk.clock.advance(10 * SECOND)
    desk.ask("a", caller="beta")
    report = non_execution(desk.observer.journals, "live")
    assert (report.evaluated, report.allowed, report.denied, report.not_observed) == (5, 3, 2, 1)
    assert report.denials == {"unknown_subject": 1, "source_stale": 1, "stage_lag": 1}
    assert report.callers == {"alpha": [2, 0], "beta": [1, 2]}
    assert non_execution(desk.observer.journals, "live", since_ns=since).evaluated == 1
    assert non_execution(desk.observer.journals, "live", caller="alpha").denied == 0
    assert non_execution(desk.observer.journals, "live").to_json()["gate"]["evaluated"] == 5


def test_a_receipt_that_cannot_be_given_changes_no_answer(desk: Desk) -> None:
    def permit(place: str, record: Evaluation) -> str:
        if record.resource == "b":
            raise StorageUnavailable("away")
        return f"receipt of {place}"

    signing = GateDesk(
        desk.observer, Gate(desk.observer.journals, desk.observer.settings, desk.clock), permit
    )
    assert desk.ask(desk=signing).permit == "receipt of gate.live@2"
    answered = desk.ask("b", desk=signing)
    assert (answered.allowed, answered.permit) == (True, None)
    assert desk.ask("nobody", desk=signing).permit is None
    signing.stop()


def test_the_thread_starts_with_the_first_question(desk: Desk) -> None:
    def threads() -> list[str]:
        return [thread.name for thread in threading.enumerate() if thread.name == "gate"]

    before = len(threads())
    other = desk.another()
    assert len(threads()) == before
    desk.ask(desk=other)
    assert len(threads()) == before + 1
    other.stop()
    eventually(lambda: len(threads()) == before)
