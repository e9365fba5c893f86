"""What passes, warns and fails, and that no check can take the report down."""

from __future__ import annotations

import json
from collections import namedtuple
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from observer_core.runtime.gate.reader import Gate
from observer_core.runtime.health import Health
from observer_core.runtime.observer import Observer
from observer_core.runtime.settings import load
from observer_core.shared.clock import SECOND, ManualClock
from observer_core.shared.errors import StorageFull, StorageUnavailable
from observer_core.shared.records import Note, Snapshot
from observer_core.storage.journal import Commit, Journal
from observer_core.storage.local import LocalStorage
from observer_core.storage.memory import MemoryStorage
from observer_core.storage.recovery import Cut
from observer_core.storage.verify import Fault, Verified

NOW = 1_700_000_000 * SECOND
GIB = 1024**3
Usage = namedtuple("Usage", "total used free")
SYSTEM = {"name": "host", "kind": "system", "interval": "1s"}
PUSH = {"name": "feed", "kind": "push", "max_age": "10s"}


class Timer:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


class Setup:
    """An Observer with clocks in hand."""

    def __init__(self, tmp_path: Path, *sources: dict[str, Any]) -> None:
        self.clock = ManualClock(NOW)
        self.timer = Timer()
        self.free = 50 * GIB
        self.storage = MemoryStorage()
        settings = load(root=tmp_path, source=list(sources))
        self.observer = Observer(settings, self.storage, clock=self.clock)
        self.health = Health(
            self.observer, monotonic=self.timer, disk_usage=lambda _: Usage(100 * GIB, 0, self.free)
        )
        self.health.beat()

    def collect(self, source: str = "host", status: str = "ok", error: str | None = None) -> None:
        now = self.clock.now_ns()
        subjects = ("a", "b") if status == "ok" else ()
        fields = {"x": np.array([1.0, 2.0])} if subjects else {}
        snapshot = Snapshot(
            source=source, event_ns=now, ingest_ns=now, subjects=subjects, fields=fields,
            status=status, error=error,  # type: ignore[arg-type]
        )  # fmt: skip
        self.observer.writer(source, "live", "live", now).write([snapshot])
        self.work()

    def work(self) -> None:
        domain = self.observer.domain("live")
        domain.tick()
        domain.refresh()
        domain.work(refresh=True, flush=True)

    def check(self, name: str) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = self.health.report()["checks"].get(name, [])
        return found


@pytest.fixture
def setup(tmp_path: Path) -> Callable[..., Setup]:
    return lambda *sources: Setup(tmp_path, *sources)


def test_everything_passes_when_data_is_fresh(setup: Callable[..., Setup]) -> None:
    it = setup(SYSTEM)
    it.collect()
    report = it.health.report()
    assert report["status"] == "pass"
    assert report["version"]
    assert set(report["checks"]) == {
        "loop:heartbeat", "source:age", "stage:lag", "storage:writable", "disk:free", "chain:verified",
        "disk:reserve", "memory:used",
    }  # fmt: skip
    (age,) = report["checks"]["source:age"]
    assert age == {
        "componentId": "host", "status": "pass", "observedValue": 0.0, "observedUnit": "s",
        "time": "2023-11-14T22:13:20Z",
    }  # fmt: skip
    json.dumps(report)


def test_data_that_are_ahead_of_a_clock_that_was_set_back_are_of_an_age_that_nobody_knows(
    setup: Callable[..., Setup],
) -> None:
    it = setup(SYSTEM)
    it.collect()
    for seconds, status in ((5, "pass"), (6, "fail")):
        before = ManualClock(it.clock.now_ns() - seconds * SECOND)
        it.observer.clock = before
        report = it.health.report()
        (age,) = report["checks"]["source:age"]
        assert age["status"] == status
    assert report["status"] == "fail"
    assert "ahead of the clock" in age["output"]


def test_a_stale_source_fails(setup: Callable[..., Setup]) -> None:
    it = setup(SYSTEM)
    it.collect()
    it.clock.advance(6 * SECOND)
    it.work()
    report = it.health.report()
    (age,) = report["checks"]["source:age"]
    assert (age["status"], age["observedValue"]) == ("fail", 6.0)
    assert age["output"] == "the newest data is older than 5s"
    assert report["status"] == "fail"
    assert all(lag["status"] == "pass" for lag in report["checks"]["stage:lag"])


def test_a_source_that_is_down_fails_with_its_error_but_without_its_paths(
    setup: Callable[..., Setup],
) -> None:
    it = setup(SYSTEM)
    it.collect()
    it.clock.advance(SECOND)
    it.collect(status="unavailable", error="OSError: '/proc/secret/stat' token=hunter2 is gone")
    (age,) = it.check("source:age")
    assert age["status"] == "fail"
    assert age["output"] == "does not answer: OSError: '…/stat' token=*** is gone"


def test_a_source_without_data_warns_at_first_and_fails_later(setup: Callable[..., Setup]) -> None:
    it = setup(SYSTEM)
    assert [entry["status"] for entry in it.check("source:age")] == ["warn"]
    it.clock.advance(6 * SECOND)
    assert [entry["status"] for entry in it.check("source:age")] == ["fail"]


def test_a_push_source_that_nobody_has_used_yet_only_warns(setup: Callable[..., Setup]) -> None:
    it = setup(PUSH)
    it.clock.advance(60 * SECOND)
    (age,) = it.check("source:age")
    assert (age["componentId"], age["status"], age["output"]) == ("feed", "warn", "no data yet")


def test_a_source_that_is_not_configured_any_more_warns_when_it_is_stale(
    setup: Callable[..., Setup],
) -> None:
    it = setup()
    it.collect("old")
    it.clock.advance(1000 * SECOND)
    (age,) = it.check("source:age")
    assert (age["componentId"], age["status"]) == ("old", "warn")
    assert "not configured any more" in age["output"]


def test_a_stage_that_stands_still_fails(setup: Callable[..., Setup]) -> None:
    it = setup(SYSTEM)
    it.collect()
    it.clock.advance(31 * SECOND)
    lags = {entry["componentId"]: entry for entry in it.check("stage:lag")}
    assert lags["decisions.live"]["status"] == "fail"
    assert lags["decisions.live"]["output"] == "behind by more than 30s"
    assert lags["patterns.host"]["status"] == "pass"


def test_a_recogniser_behind_its_snapshots_fails(setup: Callable[..., Setup]) -> None:
    it = setup(SYSTEM)
    it.collect()
    it.clock.advance(6 * SECOND)
    now = it.clock.now_ns()
    it.observer.writer("host", "live", "live", now).write(
        [Snapshot(source="host", event_ns=now, ingest_ns=now, subjects=("a",), fields={"x": np.array([1.0])})]
    )
    lags = {entry["componentId"]: entry for entry in it.check("stage:lag")}
    assert lags["patterns.host"]["status"] == "fail"


def test_recordings_are_judged_by_being_readable_only(tmp_path: Path) -> None:
    mapping = {"time": "t", "subject": "s", "fields": ["x"]}
    source = {
        "name": "tape",
        "kind": "recording",
        "domain": "tape",
        "paths": ["tape.csv"],
        "mapping": mapping,
    }
    (tmp_path / "tape.csv").write_text("t,s,x\n")
    it = Setup(tmp_path, source)
    it.observer.writer("tape", "tape", "recorded", 10**18)
    it.clock.advance(1000 * SECOND)
    (file,) = it.check("source:readable")
    assert (file["componentId"], file["status"], file["observedValue"]) == ("tape", "pass", 1)
    assert it.check("source:age") == []
    (tmp_path / "tape.csv").unlink()
    (file,) = it.check("source:readable")
    assert (file["status"], file["output"]) == ("fail", "cannot be read: tape.csv")


def test_a_full_disk_fails_the_probe_which_is_made_every_few_seconds(
    setup: Callable[..., Setup], monkeypatch: pytest.MonkeyPatch
) -> None:
    it = setup()
    assert [entry["status"] for entry in it.check("storage:writable")] == ["pass"]

    def full(*_: object) -> None:
        raise StorageFull("append to '/mnt/disk/journal.db': no space left on the device")

    monkeypatch.setattr(it.storage.blobs, "put", full)
    assert [entry["status"] for entry in it.check("storage:writable")] == ["pass"]
    it.timer.now += 5
    (probe,) = it.check("storage:writable")
    assert probe["status"] == "fail"
    assert probe["output"] == "StorageFull: append to '…/journal.db': no space left on the device"


def test_the_probe_really_writes(tmp_path: Path) -> None:
    storage = LocalStorage(tmp_path / "data")
    observer = Observer(load(root=tmp_path), storage, clock=ManualClock(NOW))
    Health(observer).report()
    assert storage.tables.get("probe", "health") is not None
    assert storage.blobs.get("probe/health")
    assert observer.journals.names() == []
    observer.close()


@pytest.mark.parametrize(
    ("free", "status"),
    [(50 * GIB, "pass"), (2 * GIB, "pass"), (GIB - 1, "warn"), (GIB // 5 + 1, "warn"), (GIB // 10, "fail")],
)
def test_disk_space(setup: Callable[..., Setup], free: int, status: str) -> None:
    it = setup()
    it.free = free
    entries = it.check("disk:free")
    assert [(entry["componentId"], entry["status"]) for entry in entries] == [
        ("data", status), ("logs", status),
    ]  # fmt: skip
    assert ("output" in entries[0]) == (status != "pass")


def test_a_small_disk_is_judged_by_its_part(tmp_path: Path, setup: Callable[..., Setup]) -> None:
    it = setup()
    health = Health(it.observer, disk_usage=lambda _: Usage(GIB, 0, GIB // 5))
    assert [entry["status"] for entry in health.report()["checks"]["disk:free"]] == ["pass", "pass"]


def test_a_changed_byte_breaks_the_chain_check(setup: Callable[..., Setup]) -> None:
    it = setup(SYSTEM)
    it.collect()
    assert all(entry["status"] == "pass" for entry in it.check("chain:verified"))
    it.clock.advance(SECOND)
    it.collect()
    (name,) = (name for name in it.storage.segments.data if name.startswith("snapshots/"))
    it.storage.segments.data[name][-10] ^= 1
    assert all(entry["status"] == "pass" for entry in it.check("chain:verified"))  # kept for a while
    it.timer.now += 30
    broken = [entry for entry in it.check("chain:verified") if entry["status"] == "fail"]
    assert [entry["componentId"] for entry in broken] == ["snapshots.host"]
    assert broken[0]["output"].startswith("hash at position ")


def test_a_fault_that_a_full_verification_found_stays_until_one_finds_none(
    setup: Callable[..., Setup],
) -> None:
    it = setup(SYSTEM)
    it.collect()
    it.health.verified([Verified("snapshots.host", 2, 10, b"", Fault(1, "hash", "old bytes"))])
    failed = [entry["output"] for entry in it.check("chain:verified") if entry["status"] == "fail"]
    assert failed == ["hash at position 1: old bytes"]
    it.health.verified([Verified("snapshots.host", 2, 10, b"")])
    it.timer.now += 30
    assert all(entry["status"] == "pass" for entry in it.check("chain:verified"))


def test_quarantined_entries_warn(setup: Callable[..., Setup]) -> None:
    it = setup(SYSTEM)
    it.collect()
    journal = it.observer.journals.open("patterns.host")
    note = Note(kind="quarantine", time_ns=NOW, body={})
    op = Journal.view_op("quarantined.snapshots.host@7", {"scopes": ["source:host"]})
    journal.commit(journal.head(), Commit(records=[note], extra=[op]))
    (entry,) = it.check("quarantine:entries")
    assert (entry["componentId"], entry["status"], entry["observedValue"]) == ("patterns.host", "warn", 1)
    assert "snapshots.host@7" in entry["output"]
    assert it.health.report()["status"] == "warn"


def test_cuts_at_the_start_warn(setup: Callable[..., Setup]) -> None:
    it = setup()
    it.observer.cuts = [Cut("snapshots.host", 10, 8, "gap at 9: bytes are missing")]
    (entry,) = it.check("recovery:cuts")
    assert (entry["status"], entry["observedValue"]) == ("warn", 2)
    assert entry["output"] == "cut from position 10 back to 8: gap at 9: bytes are missing"


def test_a_check_that_raises_fails_and_the_others_go_on(
    setup: Callable[..., Setup], monkeypatch: pytest.MonkeyPatch
) -> None:
    it = setup(SYSTEM)
    it.collect()

    def away(*_: object) -> None:
        raise StorageUnavailable("read in journal.db: locked")

    monkeypatch.setattr(it.storage.tables, "query", away)
    report = it.health.report()
    assert report["status"] == "fail"
    (age,) = report["checks"]["source:age"]
    assert (age["status"], age["output"]) == ("fail", "StorageUnavailable: read in journal.db: locked")
    assert report["checks"]["disk:free"][0]["status"] == "pass"


def test_the_report_says_what_the_image_was_built_from(
    monkeypatch: pytest.MonkeyPatch, setup: Callable[..., Setup]
) -> None:
    health = setup().health
    assert "releaseId" not in health.report()
    monkeypatch.setenv("QTS_OBSERVER_REVISION", "5994471abb01")
    assert health.report()["releaseId"] == "5994471abb01"


def test_the_report_names_no_absolute_path(tmp_path: Path, setup: Callable[..., Setup]) -> None:
    it = setup(SYSTEM)

    def broken(_: Path) -> Any:
        raise PermissionError(13, "Permission denied", str(tmp_path / "data"))

    text = json.dumps(Health(it.observer, disk_usage=broken).report(), ensure_ascii=False)
    assert "Permission denied" in text
    assert str(tmp_path) not in text


def test_the_loop_must_come_round(setup: Callable[..., Setup]) -> None:
    it = setup()
    assert it.health.live()
    it.timer.now += 61
    assert not it.health.live()
    (loop,) = it.check("loop:heartbeat")
    assert (loop["status"], loop["output"]) == ("fail", "the loop has not come round for 61 s")
    it.health.beat()
    assert it.health.live()


def test_ready_means_that_the_loop_came_round_once(setup: Callable[..., Setup]) -> None:
    it = setup()
    fresh = Health(it.observer, Gate(it.observer.journals, it.observer.settings, it.clock))
    assert fresh.live()
    assert not fresh.ready()
    assert fresh.report()["checks"]["loop:heartbeat"][0]["status"] == "warn"
    fresh.beat()
    assert fresh.ready()


def test_where_functions_are_called_no_process_is_judged(tmp_path: Path) -> None:
    observer = Observer(load(root=tmp_path), MemoryStorage(), clock=ManualClock(NOW))
    health = Health(observer, process=False)
    assert not {"loop:heartbeat", "disk:free", "source:readable"} & set(health.report()["checks"])
    assert health.live()
    assert health.ready()
