"""The Observer by itself: it runs, stops gracefully, goes on where it was, and outlives a failing storage."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import structlog

import observer_core.runtime.standalone as module
from observer_core.logs.configure import Logs, configure
from observer_core.runtime import operate
from observer_core.runtime.audit.replay import replay
from observer_core.runtime.console import Console
from observer_core.runtime.ingest import RecordingFeed
from observer_core.runtime.observer import Observer
from observer_core.runtime.settings import Settings, load
from observer_core.runtime.standalone import Standalone, run, single_instance
from observer_core.shared.errors import ConfigError, InputError, StorageFull, StorageUnavailable
from observer_core.shared.records import Snapshot
from observer_core.snapshot_engine.sources.system import SystemSource
from observer_core.storage.journal import Journal
from observer_core.storage.journals import Journals
from observer_core.storage.local import LocalStorage
from observer_core.storage.verify import verify
from tests.support.market import GENERIC, MAPPING, MINUTES, eventually, recording, unable_to_sync

ROOT = Path(__file__).resolve().parents[3]
FILE = "out/decisions.ndjson"
OBSERVER = [sys.executable, "-c", "from observer_core.cli import main; main()"]


class Port:
    """Stands for the web server."""

    def __init__(self) -> None:
        self.started = self.stopped = 0

    def start(self) -> int:
        self.started += 1
        return 12345

    def stop(self) -> None:
        self.stopped += 1


def settings_of(folder: Path, rate: float = 2000.0, **more: Any) -> Settings:
    recording(folder / "desk.csv")
    sources = [
        {"name": "host", "kind": "system", "interval": "20ms", "host": "me", "file_systems": []},
        {
            "name": "tape", "kind": "recording", "domain": "tape", "paths": ["desk.csv"], "rate": rate,
            "mapping": MAPPING.model_dump(mode="json"),
        },
    ]  # fmt: skip
    subscription = {
        "name": "all", "domains": ["live", "tape"], "stream": "decisions", "start": "beginning",
        "sink": {"kind": "file", "path": FILE},
    }  # fmt: skip
    return load(
        root=folder, durability="normal", clock_interval="50ms", source=sources, subscription=[subscription],
        recognise=GENERIC, **more,
    )  # fmt: skip


class Running:
    """A Standalone in a thread of its own, with a fake port."""

    def __init__(self, settings: Settings, logs: Logs | None = None) -> None:
        self.it = Standalone(settings)
        self.port = Port()
        self.failure: BaseException | None = None
        self._logs = logs
        self._thread = threading.Thread(target=self._run)

    def _run(self) -> None:
        console = Console(self.it.observer, self.it.gate, enabled=False)
        try:
            self.it.run(console, lambda _: self.port)
        except BaseException as error:
            self.failure = error

    def __enter__(self) -> Running:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.it.stop()
        self._thread.join(30)
        assert not self._thread.is_alive()

    def position(self, name: str) -> int:
        """As stored: this thread's view."""
        row = self.it.observer.storage.tables.get(name, "head")
        return 0 if row is None else int(json.loads(row.value)["position"])

    def done(self) -> bool:
        """The recording has been taken in, and the machine was looked at some times."""
        assert self.failure is None, self.failure
        return self.position("snapshots.tape") == MINUTES + 1 and self.position("snapshots.host") > 5


@pytest.fixture
def logs(tmp_path: Path) -> Iterator[Logs]:
    made = configure(tmp_path / "logs", console=False)
    yield made
    made.close()
    structlog.reset_defaults()


def lines(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def stored(folder: Path) -> Journals:
    return Journals(LocalStorage(folder / "data/observer", durability="normal"), worker="reader")


def check(folder: Path) -> Journals:
    """Chains are unbroken, stages follow from their inputs, and the recording stands there once."""
    journals = stored(folder)
    version = load(root=folder) and __import__("observer_core").__version__
    for name in journals.names():
        assert verify(journals.open(name)).fault is None
        if name.partition(".")[0] in ("patterns", "events", "decisions"):
            result = replay(journals, name, version)
            assert result.equal, result.problem
    taken = [e.record for e in journals.open("snapshots.tape").scan() if isinstance(e.record, Snapshot)]
    assert len(taken) == MINUTES
    assert len({s.event_ns for s in taken}) == MINUTES
    return journals


def looked(journals: Journals) -> list[Snapshot]:
    return [e.record for e in journals.open("snapshots.host").scan() if isinstance(e.record, Snapshot)]


def test_a_thread_that_computes_gives_way_to_the_loop_soon(tmp_path: Path) -> None:
    usual = sys.getswitchinterval()
    with Running(settings_of(tmp_path)) as running:
        eventually(lambda: running.port.started)
        assert sys.getswitchinterval() < usual / 5
    assert sys.getswitchinterval() == usual


def test_it_observes_this_machine_and_a_recording_and_stops_gracefully(tmp_path: Path, logs: Logs) -> None:
    with Running(settings_of(tmp_path)) as running:
        eventually(running.done)
        eventually(lambda: (tmp_path / FILE).exists() and len(lines(tmp_path / FILE)) > 3)
        eventually(lambda: "block" in (tmp_path / "logs/decision.log").read_text())
        assert running.it.port == 12345
        assert running.it.health.report()["status"] in ("pass", "warn")
    assert running.failure is None
    assert (running.port.started, running.port.stopped) == (1, 1)
    journals = check(tmp_path)
    assert looked(journals)[0].subjects == ("me",)
    assert {"clock.live", "decisions.live", "decisions.tape"} <= set(journals.names())
    delivered = [line["id"] for line in lines(tmp_path / FILE)]
    decisions = [
        e.record.id  # type: ignore[union-attr]
        for domain in ("live", "tape")
        for e in journals.open(f"decisions.{domain}").scan()
        if hasattr(e.record, "verdict")
    ]
    assert sorted(delivered) == sorted(decisions)


def test_four_log_files_hold_json_lines(tmp_path: Path, logs: Logs) -> None:
    with Running(settings_of(tmp_path)) as running:
        eventually(running.done)
        eventually(lambda: "block" in (tmp_path / "logs/decision.log").read_text())
        eventually(lambda: "recording is at its end" in (tmp_path / "logs/observer.log").read_text())
    found = {
        name: lines(tmp_path / "logs" / f"{name}.log")
        for name in ("observer", "snapshot", "pattern", "decision")
    }
    events = [line["event"] for line in found["observer"]]
    assert (events[0], events[-1]) == ("started", "stopped")
    assert "recording is at its end" in events
    assert ("source is ok", "host") in [(line["event"], line.get("source")) for line in found["snapshot"]]
    assert "spike" in {line["event"] for line in found["pattern"]}
    assert {"block", "release"} <= {line["event"] for line in found["decision"]}
    assert all(line["timestamp"].endswith("Z") for part in found.values() for line in part)


def test_a_second_start_goes_on_at_the_next_position(tmp_path: Path) -> None:
    with Running(settings_of(tmp_path, rate=300.0)) as running:
        eventually(lambda: running.position("snapshots.tape") > 20)
        eventually(lambda: running.position("snapshots.host") > 3)
    assert running.failure is None
    before = {name: stored(tmp_path).open(name).head() for name in ("snapshots.host", "snapshots.tape")}
    with Running(settings_of(tmp_path)) as again:
        eventually(
            lambda: again.done() and again.position("snapshots.host") > before["snapshots.host"].position
        )
    journals = check(tmp_path)
    for name, head in before.items():
        following = journals.open(name).entry(head.position + 1)
        assert following.record.kind == "snapshot", "the same configuration opens no epoch"  # type: ignore[union-attr]
        assert following.record.epoch == 1
    looked_at = [s.event_ns for s in looked(journals)]
    assert looked_at == sorted(set(looked_at))


def test_a_port_that_is_taken_is_an_error_and_everything_is_closed(tmp_path: Path) -> None:
    it = Standalone(settings_of(tmp_path))
    port = Port()

    def start() -> int:
        raise ConfigError("port 8000 is taken")

    port.start = start  # type: ignore[method-assign]
    with pytest.raises(ConfigError, match="port 8000 is taken"):
        it.run(Console(it.observer, it.gate, enabled=False), lambda _: port)
    assert port.stopped == 1
    with single_instance(tmp_path / "data/observer"):
        pass


def test_it_stops_by_itself_after_the_seconds_it_was_given(tmp_path: Path) -> None:
    it = Standalone(settings_of(tmp_path))
    it.run(Console(it.observer, it.gate, enabled=False), lambda _: Port(), 0.2)
    assert len(looked(stored(tmp_path))) >= 1


# ---------------------------------------------------------------------- failing storage


def test_steps_that_cannot_be_made_durable_lose_and_repeat_nothing(tmp_path: Path, logs: Logs) -> None:
    """Of the machine nor of the recording; also the very first ones."""
    settings = settings_of(tmp_path, rate=500.0)
    taken = count_collections()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "_RETRY_SECONDS", 0.01)
        patch.setattr(SystemSource, "collect", taken)
        running = Running(settings)
        storage = running.it.observer.storage
        assert isinstance(storage, LocalStorage)
        with unable_to_sync(storage, 4), running:
            eventually(running.done)
        with unable_to_sync(storage, 0):
            pass
    assert running.failure is None
    journals = check(tmp_path)
    compare(taken, journals)
    events = [line["event"] for line in lines(tmp_path / "logs/observer.log")]
    assert any(event.startswith("storage failed") for event in events)
    assert "storage is back" in events


@pytest.mark.parametrize(
    "journal", ["snapshots.host", "patterns.host", "clock.live", "snapshots.tape", "events.tape"]
)
def test_a_storage_that_fails_for_a_while_loses_and_repeats_nothing(tmp_path: Path, journal: str) -> None:
    """Whichever commit of a step fails: what was committed before it stands, and is not made again."""
    settings = settings_of(tmp_path, rate=500.0)
    taken = count_collections()
    commit, failed = Journal.commit, [0]

    def failing(self: Journal, *given: Any) -> Any:
        if self.name == journal and self.head(refresh=False).position >= 2 and failed[0] < 3:
            failed[0] += 1
            raise StorageFull("no space left on the device")
        return commit(self, *given)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "_RETRY_SECONDS", 0.01)
        patch.setattr(Journal, "commit", failing)
        patch.setattr(SystemSource, "collect", taken)
        # Every look at the machine differs, so that its recogniser has something to write.
        running = Running(settings)
        with running:
            eventually(lambda: running.done() and failed[0] == 3)
    assert running.failure is None
    compare(taken, check(tmp_path))


class Collections:
    """`SystemSource.collect` that remembers when it looked; load and memory jump, so that patterns follow."""

    def __init__(self) -> None:
        self.times: list[int] = []
        self._collect = SystemSource.collect

    def __get__(self, source: Any, _: type) -> Any:
        def collect(now_ns: int) -> Snapshot:
            import numpy as np

            self.times.append(now_ns)
            jump = 100.0 if len(self.times) % 60 == 59 else 0.0
            fields = {"load": np.array([1.0 + len(self.times) % 3 + jump])}
            return Snapshot(source="host", event_ns=now_ns, ingest_ns=now_ns, subjects=("me",), fields=fields)

        return collect


def count_collections() -> Collections:
    return Collections()


def compare(taken: Collections, journals: Journals) -> None:
    """Each look but perhaps the last ones, which came when it stopped, stands in the journal once."""
    found = [s.event_ns for s in looked(journals)]
    assert found == taken.times[: len(found)]
    assert len(found) >= len(taken.times) - 2


def test_while_the_storage_fails_collecting_goes_on_in_memory_up_to_a_bound(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, logs: Logs
) -> None:
    monkeypatch.setattr(module, "_WAITING", 3)
    monkeypatch.setattr(module, "_RETRY_SECONDS", 0.01)
    commit, down = Journal.commit, [True]

    def failing(self: Journal, *given: Any) -> Any:
        if down[0] and self.name == "snapshots.host":
            raise StorageUnavailable("the disk is gone")
        return commit(self, *given)

    monkeypatch.setattr(Journal, "commit", failing)
    log = tmp_path / "logs/observer.log"
    with Running(settings_of(tmp_path)) as running:
        eventually(lambda: log.read_text().count("snapshot lost: storage is still failing") > 2)
        assert running.it.health.report()["checks"]["loop:heartbeat"][0]["status"] == "pass"
        assert log.read_text().count("storage failed; collecting goes on") == 1
        down[0] = False
        eventually(lambda: running.position("snapshots.host") > 3)
        eventually(lambda: "storage is back" in log.read_text())
    assert running.failure is None


def test_what_waits_in_memory_is_committed_at_the_end_if_it_can_be(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, logs: Logs
) -> None:
    monkeypatch.setattr(module, "_RETRY_SECONDS", 3600.0)
    commit, taken, down = Journal.commit, count_collections(), [True]

    def failing(self: Journal, *given: Any) -> Any:
        if down[0] and self.name == "snapshots.host":
            raise StorageUnavailable("the disk is gone")
        return commit(self, *given)

    monkeypatch.setattr(Journal, "commit", failing)
    monkeypatch.setattr(SystemSource, "collect", taken)
    with Running(settings_of(tmp_path)) as running:
        eventually(lambda: len(taken.times) > 5)
        assert running.position("snapshots.host") == 0
        down[0] = False
    assert running.failure is None
    compare(taken, stored(tmp_path))


def test_what_is_lost_at_the_end_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, logs: Logs) -> None:
    def failing(self: Journal, *given: Any) -> Any:
        if self.name == "snapshots.host":
            raise StorageUnavailable("the disk is gone")
        return commit(self, *given)

    commit = Journal.commit
    monkeypatch.setattr(Journal, "commit", failing)
    with Running(settings_of(tmp_path)) as running:
        eventually(lambda: len(running.it._waiting) > 2)
    assert running.failure is None
    lost = [x for x in lines(tmp_path / "logs/observer.log") if x["event"].startswith("snapshots lost")]
    assert lost[0]["count"] > 2


def test_a_snapshot_that_is_refused_is_recorded_as_unavailable_with_the_reason(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    collect = SystemSource.collect

    def odd(self: SystemSource, now_ns: int) -> Snapshot:
        from dataclasses import replace

        return replace(collect(self, now_ns), subjects=("me\n",))

    monkeypatch.setattr(SystemSource, "collect", odd)
    with Running(settings_of(tmp_path)) as running:
        eventually(lambda: running.position("snapshots.host") > 2)
    assert running.failure is None
    (first, *_) = looked(stored(tmp_path))
    assert first.status == "unavailable"
    assert "RecordError" in str(first.error)


def test_what_was_pushed_is_worked_on_without_waiting_for_a_tick(tmp_path: Path) -> None:
    settings = load(
        root=tmp_path, durability="normal", clock_interval="1h", source=[{"name": "hand", "kind": "push"}]
    )
    with Running(settings) as running:
        eventually(lambda: running.position("clock.live"))
        import numpy as np

        now = running.it.observer.clock.now_ns()
        pushed = Snapshot(
            source="hand", event_ns=now, ingest_ns=now, subjects=("x",), fields={"n": np.array([1.0])}
        )
        running.it.observer.writer("hand", "live", "live", now).write([pushed])
        running.it.pushed("hand")
        eventually(lambda: running.position("patterns.hand") or running.it.gate.subjects("live") == ["x"])
    assert running.failure is None


def test_what_an_operator_asks_is_done_without_waiting_for_a_tick(tmp_path: Path) -> None:
    source, subscription = {"name": "hand", "kind": "push"}, {"name": "s", "sink": {"kind": "log"}}
    settings = load(
        root=tmp_path, durability="normal", clock_interval="1h", source=[source], subscription=[subscription]
    )
    by = {"author": "kim", "reason": "drill"}
    with Running(settings) as running:
        eventually(lambda: running.position("clock.live"))
        it = running.it.observer
        journals = Journals(it.storage, worker="operator")
        operate.command(journals, it.clock, "live", command="kill", scope="*", **by)
        running.it.asked("decisions.live")
        eventually(lambda: running.position("decisions.live"))
        pause = {"action": "pause", "name": "s", **by}
        operate.ask(journals, "live", "subscription", pause, it.clock.now_ns())
        running.it.asked("routes.live")
        view = it.journals.open("routes.live").views
        eventually(lambda: view().get("subscriptions", {}).get("s", {}).get("paused"))
        running.it.asked("decisions.another")  # a domain that nobody works here
        running.it.asked("patterns.nix")
    assert running.failure is None


# ---------------------------------------------------------------------- one instance, as deployed


def test_only_one_runs_on_a_data_folder(tmp_path: Path) -> None:
    settings = load(root=tmp_path)
    with (
        single_instance(settings.paths.data),
        pytest.raises(ConfigError, match=f"another Observer \\(process {os.getpid()}\\) runs on "),
    ):
        run(settings, lambda _: Port(), console=False, seconds=0.0)
    run(settings, lambda _: Port(), console=False, seconds=0.0)
    structlog.reset_defaults()


def test_a_deployment_that_says_otherwise_is_refused_with_both_values(tmp_path: Path) -> None:
    (tmp_path / "deployment_config.json").write_text('{"port": 9000, "paths": {"data": "elsewhere"}}')
    with pytest.raises(ConfigError) as refused:
        run(load(root=tmp_path), lambda _: Port(), console=False, seconds=0.0)
    for text in ("declares port 9000, this Observer has 8000", "elsewhere", str(tmp_path / "data/observer")):
        assert text in str(refused.value)
    assert not (tmp_path / "data").exists()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT], ids=["SIGTERM", "SIGINT"])
def test_a_signal_stops_a_process_gracefully(tmp_path: Path, number: signal.Signals) -> None:
    (tmp_path / "config").mkdir()
    (tmp_path / "config/observer.toml").write_text(
        '[[source]]\nname = "host"\nkind = "system"\ninterval = "20ms"\nfile_systems = []\n'
    )
    process = subprocess.Popen(
        [*OBSERVER, "run", "--port", "0", "--no-console"],
        cwd=tmp_path, env={**os.environ, "PYTHONPATH": str(ROOT)}, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    try:
        data = tmp_path / "data/observer"
        eventually(
            lambda: (data / "decisions").exists() or (data / "patterns").exists() or process.poll(), 60
        )
        second = subprocess.run(
            [*OBSERVER, "run", "--port", "0"], cwd=tmp_path, env={**os.environ, "PYTHONPATH": str(ROOT)},
            capture_output=True, text=True, check=False,
        )  # fmt: skip
        assert second.returncode == 2
        assert f"another Observer (process {process.pid}) runs on" in second.stderr
        process.send_signal(number)
        _, told = process.communicate(timeout=30)
    finally:
        process.kill()
    assert process.returncode == 0, told
    journals = Journals(LocalStorage(data), worker="reader")
    assert looked(journals)
    for name in journals.names():
        assert verify(journals.open(name)).fault is None
    it = Observer.local(load(root=tmp_path))
    assert it.cuts == []
    it.close()


def test_a_recording_that_cannot_be_read_on_does_not_end_the_others(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, logs: Logs
) -> None:
    def torn(self: RecordingFeed, count: int) -> tuple[int, int]:
        raise InputError("tape.csv is not what it was")

    monkeypatch.setattr(RecordingFeed, "step", torn)
    with Running(settings_of(tmp_path)) as running:
        eventually(lambda: running.position("snapshots.host") > 5)
    assert running.failure is None
    said = [x for x in lines(tmp_path / "logs/observer.log") if x["event"] == "recording cannot be read on"]
    assert [x["error"] for x in said] == ["tape.csv is not what it was"]
