"""Too little space: nothing more is taken in, operators still can, and it goes on by itself."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Any

import pytest
import structlog

from observer_core.logs.configure import configure
from observer_core.maintenance.config import MaintenanceConfig
from observer_core.runtime import operate
from observer_core.runtime.gate.desk import Answered, GateDesk, Question
from observer_core.runtime.ingest import ingest
from observer_core.runtime.maintaining import Maintenance
from observer_core.runtime.observer import Observer
from observer_core.runtime.pushing import Batch, Pushes
from observer_core.safety.free_space import FreeSpace
from observer_core.shared.clock import SECOND
from observer_core.shared.errors import StorageFull
from observer_core.storage.journals import Journals
from tests.support.alone import HOST, Alone, lifecycle, settings_of, stored
from tests.support.market import MAPPING, MINUTES, eventually, observer, recording

FILE = "out/events.ndjson"
SUBSCRIPTION = {
    "name": "all", "stream": "decisions", "start": "beginning", "sink": {"kind": "file", "path": FILE},
}  # fmt: skip
LEAST = 256 << 20
JOURNALS = ("snapshots.host", "patterns.host", "clock.live", "snapshots.tape", "results.live-all")
"""What must stand still."""


class Disk:
    """The free bytes that an Observer is told of."""

    def __init__(self, it: Observer, free: int = 1 << 40) -> None:
        self.free = free
        it.guards.space = FreeSpace(Path(), LEAST, lambda _: self.free)


def ask(desk: GateDesk) -> Answered:
    return desk.ask(Question(caller="alpha", action="order", resource="me")).result(20)


def settings(folder: Path) -> Any:
    recording(folder / "desk.csv")
    tape = {
        "name": "tape", "kind": "recording", "domain": "tape", "paths": ["desk.csv"], "rate": 20.0,
        "mapping": MAPPING.model_dump(mode="json"),
    }  # fmt: skip
    return settings_of(
        folder, source=[HOST, tape, {"name": "hand", "kind": "push"}], subscription=[SUBSCRIPTION],
        max_lag="1s",
    )  # fmt: skip


def test_it_stops_taking_in_obeys_and_goes_on_by_itself(tmp_path: Path) -> None:
    logging = configure(tmp_path / "logs", console=False)
    try:
        _fill_and_free(tmp_path)
    finally:
        logging.close()
        structlog.reset_defaults()
    told = [line for line in (tmp_path / "logs/observer.log").read_text().splitlines() if '"error"' in line]
    assert len([line for line in told if "nothing is taken in, and the gate closes" in line]) == 1


def _fill_and_free(folder: Path) -> None:
    with Alone(settings(folder)) as running:
        it = running.it.observer
        desk = GateDesk(it, running.it.gate)
        disk = Disk(it)
        eventually(lambda: running.position("snapshots.host") > 5 and running.position("snapshots.tape") > 5)
        eventually(lambda: ask(desk).allowed)
        disk.free = LEAST - 1
        eventually(lambda: running.it._full)
        before = {name: running.position(name) for name in JOURNALS}
        gate = running.position("gate.live")
        # The gate: closed at once for who asks here, and by lag for who asks elsewhere.
        refused = ask(desk)
        assert (refused.allowed, refused.ref, refused.answer.reasons[0]["code"]) == (
            False, None, "not_recorded",
        )  # fmt: skip
        assert "256MiB ([safety] least_free)" in refused.answer.reasons[0]["text"]
        report = running.it.health.report()
        assert report["status"] == "fail"
        assert report["checks"]["disk:reserve"][0]["output"].startswith("only 255MiB are free")
        check = running.it.gate.check
        eventually(lambda: {reason["code"] for reason in check("me").reasons} >= {"stage_lag"})
        # Operators: what they ask is done, whether this process is told of it or not.
        by = {"author": "kim", "reason": "the disk is full"}
        operator = Journals(it.storage, worker="operator")
        operate.command(operator, it.clock, "live", command="kill", scope="*", **by)
        eventually(lambda: running.position("decisions.live"))
        eventually(lambda: "blocked" in {reason["code"] for reason in check("me").reasons})
        operate.command(operator, it.clock, "live", command="unkill", scope="*", **by)
        running.it.asked("decisions.live")
        eventually(lambda: "blocked" not in {reason["code"] for reason in check("me").reasons})
        # Everything else stands still, and a push is refused as a full storage is.
        pushes = Pushes(it)
        batch = Batch("hand", b'{"subject":"x","value":1}', "application/json", None, it.clock.now_ns())
        with pytest.raises(StorageFull, match="only 255MiB are free"):
            pushes.commit(batch, pushes.parse(batch).snapshots)
        disk.free = LEAST  # not enough: it would go back and forth
        threading.Event().wait(0.3)
        assert {name: running.position(name) for name in JOURNALS} == before
        assert running.position("gate.live") == gate
        assert running.it.health.live(), "a restart would not help"
        # Space is back.
        disk.free = LEAST + LEAST // 4
        eventually(lambda: not running.it._full)
        eventually(lambda: all(running.position(name) > before[name] for name in JOURNALS))
        eventually(lambda: ask(desk).allowed)
        assert pushes.commit(batch, pushes.parse(batch).snapshots).snapshots == 1
        assert running.it.health.report()["checks"]["disk:reserve"][0]["status"] == "pass"
        eventually(lambda: running.position("snapshots.tape") == MINUTES + 1)
        desk.stop()
    (gap,) = lifecycle(stored(folder), "gap")
    assert gap["ended"] == "full"
    assert 0 < gap["duration_ns"] == gap["to_ns"] - gap["from_ns"] < 60 * SECOND
    notes = [e.record for e in stored(folder).open("gate.live").scan() if e.record.kind == "not_recorded"]  # type: ignore[union-attr]
    assert notes, "denials that could not be recorded are counted afterwards"


def test_a_start_without_space_waits_for_it(tmp_path: Path) -> None:
    running = Alone(settings_of(tmp_path))
    disk = Disk(running.it.observer, LEAST - 1)
    with running:
        eventually(lambda: running.it._full)
        threading.Event().wait(0.2)
        assert running.position("snapshots.host") == 0
        disk.free = 1 << 40
        eventually(lambda: running.position("snapshots.host") > 2)


def test_an_ingestion_stops_between_two_commits_and_goes_on_where_it_was(tmp_path: Path) -> None:
    whole = observer(tmp_path / "a")
    ingest(whole, [recording(tmp_path / "desk.csv")], source="desk", domain="desk", mapping=MAPPING, batch=20)
    it = observer(tmp_path / "b")
    disk, steps = Disk(it), 0

    def free(_: Path) -> int:
        nonlocal steps
        steps += 1
        return 0 if steps == 4 else 1 << 40

    it.guards.space = FreeSpace(Path(), LEAST, free)
    given: dict[str, Any] = {"source": "desk", "domain": "desk", "mapping": MAPPING, "batch": 20}
    with pytest.raises(StorageFull, match="nothing is taken in until 320MiB are free again"):
        ingest(it, [tmp_path / "desk.csv"], **given)
    assert 0 < it.journals.open("snapshots.desk").head().position < MINUTES
    Disk(it)
    ingest(it, [tmp_path / "desk.csv"], **given)
    head = it.journals.open("snapshots.desk").head()
    assert (head.position, head.hash) == (MINUTES + 1, whole.journals.open("snapshots.desk").head().hash)
    assert disk.free


def test_nothing_is_packed_and_the_round_is_left_for_later(tmp_path: Path) -> None:
    pytest.importorskip("pyarrow")
    it = observer(tmp_path)
    ingest(it, [recording(tmp_path / "desk.csv")], source="desk", domain="desk", mapping=MAPPING, batch=20)
    config = MaintenanceConfig.model_validate({"compaction": {"enabled": True, "hour_bytes": 1}})
    full = ["no space"]
    maintenance = Maintenance(it.journals, it.clock, config, full=lambda: full and full[0])
    done = maintenance.round()
    assert (done.packed, done.complete) == ([], False)
    full.clear()
    done = maintenance.round()
    assert done.complete
    assert done.packed
