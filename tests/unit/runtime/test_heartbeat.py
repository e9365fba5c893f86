"""Starts, stops and pauses are records; somebody outside hears only while all is well."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
import structlog

from observer_core.logs.configure import configure
from observer_core.runtime.gaps import Gaps
from observer_core.runtime.handlers import Handlers
from observer_core.runtime.health import Health
from observer_core.runtime.heartbeat import Heartbeat, Lifecycle
from observer_core.runtime.observer import Observer
from observer_core.runtime.settings import load
from observer_core.runtime.telemetry.config import HeartbeatConfig
from observer_core.shared.clock import SECOND, ManualClock
from observer_core.shared.errors import ConfigError, StorageUnavailable
from observer_core.shared.records import Note
from observer_core.storage.memory import MemoryStorage
from observer_core.storage.recovery import OPERATIONS

NOW = 1_700_000_000 * SECOND


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock(NOW)


@pytest.fixture
def observer(tmp_path: Path, clock: ManualClock) -> Observer:
    return Observer(load(root=tmp_path), MemoryStorage(clock), clock=clock)


def lifecycle(observer: Observer) -> Lifecycle:
    return Lifecycle(observer.journals, observer.clock, observer.settings.heartbeat)


def notes(observer: Observer) -> list[dict[str, Any]]:
    found = [entry.record for entry in observer.journals.open(OPERATIONS).scan()]
    return [{**note.body} for note in found if isinstance(note, Note) and note.kind == "lifecycle"]


def findings(observer: Observer) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = Health(observer).report()["checks"].get("clock:gaps", [])
    return found


class TestGaps:
    def test_the_first_start_has_no_gap(self, observer: Observer) -> None:
        assert lifecycle(observer).started() is None
        assert notes(observer) == [
            {"event": "start", "version": notes(observer)[0]["version"], "ended": "first"}
        ]
        assert findings(observer) == []

    def test_after_a_stop_the_time_since_the_last_tick_is_recorded_as_clean(
        self, observer: Observer, clock: ManualClock
    ) -> None:
        one = lifecycle(observer)
        one.started()
        observer.domain("live").tick()
        one.stopped("asked")
        clock.advance(30 * SECOND)
        gap = lifecycle(observer).started()
        assert gap is not None
        assert (gap.from_ns, gap.to_ns, gap.ended) == (NOW, NOW + 30 * SECOND, "clean")
        assert [note["event"] for note in notes(observer)] == ["start", "stop", "start"]
        assert notes(observer)[-1]["duration_ns"] == 30 * SECOND
        assert findings(observer)[0]["status"] == "pass"  # no longer than what is let pass

    def test_without_a_stop_it_is_unclean_and_a_warning_however_short(
        self, observer: Observer, clock: ManualClock
    ) -> None:
        lifecycle(observer).started()
        observer.domain("live").tick()
        clock.advance(3 * SECOND)
        gap = lifecycle(observer).started()
        assert gap is not None
        assert gap.ended == "unclean"
        (finding,) = findings(observer)
        assert (finding["status"], finding["observedValue"]) == ("warn", 3.0)
        assert "nothing was observed for 3s from 2023-11-14T22:13:20Z on" in finding["output"]
        clock.advance(3601 * SECOND)
        assert findings(observer) == []

    def test_a_long_gap_is_a_warning_although_it_was_stopped(
        self, observer: Observer, clock: ManualClock
    ) -> None:
        one = lifecycle(observer)
        one.started()
        observer.domain("live").tick()
        one.stopped("asked")
        clock.advance(600 * SECOND)
        lifecycle(observer).started()
        assert findings(observer)[0]["status"] == "warn"

    def test_a_clock_that_stood_still_is_recorded_once_and_not_what_the_start_has_told(
        self, observer: Observer, clock: ManualClock
    ) -> None:
        domain = observer.domain("live")
        domain.tick()
        clock.advance(600 * SECOND)
        it = lifecycle(observer)
        it.started()
        for seconds in (1, 1, 300, 1, 59, 61):
            clock.advance(seconds * SECOND)
            it.ticked(*domain.tick())
        gaps = [note for note in notes(observer) if note["event"] == "gap"]
        assert [gap["duration_ns"] // SECOND for gap in gaps] == [301 - 1, 61]
        assert {gap["ended"] for gap in gaps} == {"stalled"}

    def test_a_first_tick_that_comes_long_after_the_start_ends_a_gap_of_its_own(
        self, observer: Observer, clock: ManualClock
    ) -> None:
        domain, it = observer.domain("live"), lifecycle(observer)
        domain.tick()
        clock.advance(600 * SECOND)
        it.started()
        clock.advance(900 * SECOND)  # the storage did not answer
        it.ticked(*domain.tick())
        assert notes(observer)[-1] == {
            "event": "gap", "from_ns": NOW + 600 * SECOND, "to_ns": NOW + 1500 * SECOND,
            "duration_ns": 900 * SECOND, "ended": "stalled",
        }  # fmt: skip

    def test_space_that_lacked_from_the_start_on_is_not_what_the_start_has_told_of(
        self, observer: Observer, clock: ManualClock
    ) -> None:
        domain, it = observer.domain("live"), lifecycle(observer)
        domain.tick()
        clock.advance(600 * SECOND)
        it.started()
        clock.advance(900 * SECOND)
        it.had_space()
        it.ticked(*domain.tick())
        gaps = [(note["ended"], note["duration_ns"] // SECOND) for note in notes(observer)]
        assert gaps == [("unclean", 600), ("full", 900)]

    def test_a_gap_that_could_not_be_recorded_is_recorded_with_the_next_tick(
        self, observer: Observer, clock: ManualClock, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        domain, it = observer.domain("live"), lifecycle(observer)
        it.ticked(*domain.tick())
        clock.advance(300 * SECOND)
        commit = observer.storage.tables.commit

        def refuses(partition: str, ops: Any) -> list[str]:
            if partition == OPERATIONS:
                raise StorageUnavailable("away")
            return commit(partition, ops)

        with monkeypatch.context() as patched:
            patched.setattr(observer.storage.tables, "commit", refuses)
            with pytest.raises(StorageUnavailable):
                it.ticked(*domain.tick())
        for _ in range(2):
            clock.advance(SECOND)
            it.ticked(*domain.tick())
        (gap,) = notes(observer)
        assert (gap["from_ns"], gap["to_ns"], gap["ended"]) == (NOW, NOW + 300 * SECOND, "stalled")

    def test_of_several_instances_one_records_a_gap(self, tmp_path: Path, clock: ManualClock) -> None:
        storage, settings = MemoryStorage(clock), load(root=tmp_path)
        instances = [Handlers(Observer(settings, storage, clock=clock)) for _ in range(3)]
        for instance in instances:
            instance.clock()
        clock.advance(900 * SECOND)
        for instance in instances:
            instance.clock()
        (gap,) = notes(instances[0].observer)
        assert (gap["event"], gap["duration_ns"]) == ("gap", 900 * SECOND)

    def test_the_newest_gap_is_found_and_nothing_is_read_twice(
        self, observer: Observer, clock: ManualClock, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        gaps = Gaps(observer.journals)
        assert gaps.newest() is None
        domain, it = observer.domain("live"), lifecycle(observer)
        domain.tick()
        for _ in range(2):
            clock.advance(100 * SECOND)
            it.ticked(*domain.tick())
        newest = gaps.newest()
        assert newest is not None
        assert newest.to_ns == clock.now_ns()
        monkeypatch.setattr(observer.journals.open(OPERATIONS), "scan", lambda *_: pytest.fail("read again"))
        assert gaps.newest() == newest

    def test_a_stop_that_cannot_be_recorded_ends_all_the_same(
        self, observer: Observer, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def away(*_: object) -> None:
            raise StorageUnavailable("away")

        monkeypatch.setattr(observer.storage.tables, "commit", away)
        lifecycle(observer).stopped("asked")


class Receiver(ThreadingHTTPServer):
    """Whoever waits for the heartbeat."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Asked)
        self.requests: list[str] = []
        self.answers: list[int] = []
        self.url = f"http://127.0.0.1:{self.server_port}"


class _Asked(BaseHTTPRequestHandler):
    server: Receiver

    def do_GET(self) -> None:
        self.server.requests.append(f"{self.command} {self.path}")
        self.send_response(self.server.answers.pop(0) if self.server.answers else 200)
        self.send_header("Content-Length", "0")
        self.end_headers()

    do_POST = do_GET

    def log_message(self, *_: object) -> None:
        pass


class FakeHealth:
    def __init__(self) -> None:
        self.status, self.turns = "pass", True

    def live(self) -> bool:
        return self.turns

    def report(self) -> dict[str, str]:
        return {"status": self.status}


class Beats:
    """A heartbeat on a clock in hand, to a receiver on this machine."""

    def __init__(self, receiver: Receiver, **config: Any) -> None:
        self.now, self.outcomes, self.health = 0.0, list[str](), FakeHealth()
        given = {"url": {"env": "PING"}, "every": "60s", "allow_private": True, "timeout": "2s", **config}
        self.it = Heartbeat(
            HeartbeatConfig(**given), self.health, self.outcomes.append, lambda: self.now  # type: ignore[arg-type]
        )  # fmt: skip

    def look(self, seconds: float = 60) -> None:
        self.now += seconds
        self.it.look()


@pytest.fixture
def receiver(monkeypatch: pytest.MonkeyPatch) -> Iterator[Receiver]:
    with Receiver() as it:
        thread = threading.Thread(target=it.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        monkeypatch.setenv("PING", f"{it.url}/ping/0c8f-1d5e?x=1")
        yield it
        it.shutdown()
        thread.join()


class TestPings:
    def test_it_is_told_once_in_a_while_that_all_is_well(self, receiver: Receiver) -> None:
        beats = Beats(receiver)
        for _ in range(13):
            beats.look(10)
        assert receiver.requests == ["GET /ping/0c8f-1d5e?x=1"] * 3
        assert beats.outcomes == ["sent"] * 3

    def test_nothing_is_told_while_a_check_fails_and_again_when_none_does(self, receiver: Receiver) -> None:
        beats = Beats(receiver)
        for status in ("warn", "fail", "fail", "pass"):
            beats.health.status = status
            beats.look()
        assert beats.outcomes == ["sent", "withheld", "withheld", "sent"]
        assert len(receiver.requests) == 2

    def test_a_loop_that_hangs_is_not_well_whatever_else_is(self, receiver: Receiver) -> None:
        beats = Beats(receiver, tell_failure=True)
        beats.health.turns = False
        beats.look()
        assert (beats.outcomes, receiver.requests) == (["withheld"], [])

    def test_a_failure_is_told_where_that_is_wanted(self, receiver: Receiver) -> None:
        beats = Beats(receiver, tell_failure=True, method="POST")
        beats.health.status = "fail"
        beats.look()
        assert receiver.requests == ["POST /ping/0c8f-1d5e/fail?x=1"]
        assert beats.outcomes == ["told_failure"]

    def test_who_refuses_or_is_away_is_logged_when_that_begins_and_without_the_secret(
        self, receiver: Receiver, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
    ) -> None:
        logs = configure(tmp_path)
        receiver.answers = [500, 500, 200]
        beats = Beats(receiver)
        for _ in range(3):
            beats.look()
        monkeypatch.setenv("PING", "http://127.0.0.1:9/ping/0c8f-1d5e?x=1")
        away = Beats(receiver)
        away.look()
        logs.close()
        structlog.reset_defaults()
        assert (beats.outcomes, away.outcomes) == (["failed", "failed", "sent"], ["failed"])
        told = (tmp_path / "observer.log").read_text()
        assert [json.loads(line)["event"] for line in told.splitlines()] == [
            "no heartbeat is sent", "heartbeats are sent again", "no heartbeat is sent",
        ]  # fmt: skip
        assert "answered 500" in told
        assert "cannot be reached" in told
        assert "0c8f-1d5e" not in told

    def test_a_private_address_is_refused_unless_it_is_meant(self, receiver: Receiver) -> None:
        beats = Beats(receiver, allow_private=False)
        beats.look()
        assert (beats.outcomes, receiver.requests) == (["failed"], [])

    def test_without_an_address_nobody_is_told(self, receiver: Receiver) -> None:
        beats = Beats(receiver, url=None)
        beats.look()
        beats.it.start()
        beats.it.stop()
        assert beats.outcomes == []

    def test_an_address_that_the_environment_lacks_is_a_clear_error(
        self, receiver: Receiver, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.delenv("PING")
        with pytest.raises(ConfigError, match="the environment has no PING"):
            Beats(receiver)

    def test_the_next_is_due_before_one_has_timed_out_never(self) -> None:
        with pytest.raises(ValueError, match="timeout must be shorter than every"):
            HeartbeatConfig(every="5s", timeout="5s")

    def test_in_the_functions_app_the_clock_tells(self, receiver: Receiver, tmp_path: Path) -> None:
        clock = ManualClock(NOW)
        settings = load(root=tmp_path, heartbeat={"url": {"env": "PING"}, "allow_private": True})
        it = Handlers(Observer(settings, MemoryStorage(clock), clock=clock))
        it.clock()
        it.clock()
        assert receiver.requests == ["GET /ping/0c8f-1d5e?x=1"]
