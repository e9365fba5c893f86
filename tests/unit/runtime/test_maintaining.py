"""A round packs, removes what nothing needs, and says so; the Observer goes on as if nothing was."""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import Any

import pytest

from observer_core.maintenance.config import MaintenanceConfig
from observer_core.runtime import settings
from observer_core.runtime.audit.replay import computed, replay
from observer_core.runtime.gate.reader import Gate
from observer_core.runtime.ingest import ingest
from observer_core.runtime.maintaining import Maintenance, Round
from observer_core.runtime.observer import Observer
from observer_core.shared.clock import SECOND, ManualClock
from observer_core.shared.records import Note
from observer_core.snapshot_engine.sources.recording import RecordingConfig
from observer_core.storage.archive.pack import pack
from observer_core.storage.recovery import OPERATIONS
from observer_core.storage.verify import verify

DAY = 86_400
START = 1_522_886_400
CONFIG = MaintenanceConfig.model_validate({"compaction": {"after": 0, "hour_bytes": 1, "day_bytes": 1}})
MAPPING = RecordingConfig(time="ts", zone="UTC", bar=600 * SECOND)


def recording(path: Path, days: int) -> Path:
    """Ten-minute bars that jump once a day."""
    rows = ["ts,price,volume"]
    for step in range(days * 144):
        price = 100 + (step // 144) * 30 + (step * 7 % 11) / 100
        rows.append(f"{START + 600 * step},{price:.2f},{step % 13}.5")
    path.write_text("\n".join(rows) + "\n")
    return path


def observer(root: Path) -> Observer:
    return Observer.local(settings.load(root=root, config_dir=Path("none")), clock=ManualClock(10**18 * 2))


def take_in(root: Path, days: int) -> None:
    it = observer(root)
    ingest(it, [recording(root / "prices.csv", days)], source="x", domain="d", mapping=MAPPING)
    it.close()


def maintained(root: Path, *, dry_run: bool = False) -> Round:
    it = observer(root)
    try:
        return Maintenance(it.journals, it.clock, CONFIG).round(dry_run=dry_run)
    finally:
        it.storage.close()


def heads(root: Path) -> dict[str, tuple[int, bytes]]:
    it = observer(root)
    found = {n: it.journals.open(n).head() for n in it.journals.names() if n != OPERATIONS}
    assert all(verify(it.journals.open(name)).fault is None for name in found)
    assert all(replay(it.journals, name, it.build.version).equal for name in computed(it.journals))
    it.storage.close()
    return {name: (head.position, head.hash) for name, head in found.items()}


def test_everything_verifies_and_replays_across_it_and_goes_on_to_the_same_heads(tmp_path: Path) -> None:
    maintained_, plain = tmp_path / "maintained", tmp_path / "plain"
    for root in (maintained_, plain):
        root.mkdir()
        take_in(root, 3)
    done = maintained(maintained_)
    assert {p.journal for p in done.packed} >= {"snapshots.x", "patterns.x", "events.d", "decisions.d"}
    assert done.skipped == {}
    assert heads(maintained_) == heads(plain)
    for root in (maintained_, plain):
        take_in(root, 4)
    assert maintained(maintained_).packed
    assert heads(maintained_) == heads(plain)


def test_the_gate_of_then_answers_as_before(tmp_path: Path) -> None:
    take_in(tmp_path, 3)
    before = answers(tmp_path)
    assert len({answer["decision"] for answer in before}) == 2
    maintained(tmp_path)
    assert answers(tmp_path) == before


def answers(root: Path) -> list[dict[str, object]]:
    it = observer(root)
    gate = Gate(it.journals, it.settings, it.clock)
    moments = [(START + 3600 * hour) * SECOND for hour in range(-3, 70, 3)]
    found = [gate.check("x", domain="d", at_ns=moment).to_json() for moment in moments]
    it.storage.close()
    return found


def test_a_round_is_a_record_and_one_with_nothing_to_do_is_none(tmp_path: Path) -> None:
    take_in(tmp_path, 2)
    assert maintained(tmp_path, dry_run=True).did_anything
    assert notes(tmp_path) == []
    maintained(tmp_path)
    (note,) = notes(tmp_path)
    assert note.body["author"] == "observer"
    assert note.body["packed"][0]["length"] > note.body["packed"][0]["stored"] > 0
    assert maintained(tmp_path).packed == []
    assert len(notes(tmp_path)) == 1


def notes(root: Path) -> list[Note]:
    it = observer(root)
    found = [e.record for e in it.journals.open(OPERATIONS).scan() if isinstance(e.record, Note)]
    it.storage.close()
    return [note for note in found if note.kind == "maintenance"]


def test_older_states_go_and_the_first_of_each_epoch_stays(tmp_path: Path) -> None:
    for days in range(1, 8):  # whoever stops leaves a state behind
        take_in(tmp_path, days)
    before = states(tmp_path)
    assert len(before) > 6
    done = maintained(tmp_path)
    after = states(tmp_path)
    assert done.states["patterns.x"] == len(before) - len(after)
    assert after == [before[0], *before[-3:]]
    assert all((tmp_path / "data/observer/state" / blob).is_file() for blob in after)
    assert len(list((tmp_path / "data/observer/state/patterns.x").iterdir())) == len(after)


def states(root: Path) -> list[str]:
    it = observer(root)
    found = [row.blob for row in it.journals.open("patterns.x").states()]
    it.storage.close()
    return found


def test_a_round_that_is_out_of_time_says_so_and_the_next_one_goes_on(tmp_path: Path) -> None:
    take_in(tmp_path, 2)
    it = observer(tmp_path)
    work = Maintenance(it.journals, it.clock, CONFIG)
    first = work.round(seconds=0.0)
    assert not first.complete
    assert work.round().complete
    it.storage.close()


def test_what_fails_in_one_journal_keeps_no_other_from_being_packed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fails(name: str, *rest: Any) -> Any:
        if name == "events.d":
            raise OverflowError("a defect")
        return pack(name, *rest)

    monkeypatch.setattr("observer_core.maintenance.compaction.pack", fails)
    take_in(tmp_path, 2)
    done = maintained(tmp_path)
    assert done.skipped == {"events.d": "OverflowError: a defect"}
    assert {p.journal for p in done.packed} >= {"snapshots.x", "patterns.x"}


def test_switched_off_nothing_is_packed(tmp_path: Path) -> None:
    take_in(tmp_path, 2)
    it = observer(tmp_path)
    off = MaintenanceConfig.model_validate({"compaction": {"enabled": False}})
    assert Maintenance(it.journals, it.clock, off).round().packed == []
    it.storage.close()


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("observer_core.storage.archive.parquet._LEVEL", 3)


def test_what_a_killed_process_was_writing_goes_after_a_day(tmp_path: Path) -> None:
    take_in(tmp_path, 2)
    data = tmp_path / "data" / "observer"
    nobody = 2**22 + 1  # more than there are processes
    names = [f"state/patterns.x/.s.{nobody}.8", f"snapshots/source=x/.1.records.parquet.{nobody}.8",
             f"cache/series/snapshots.x/.1-2.columns.{nobody}.8"]  # fmt: skip
    drafts = [data / name for name in names]
    young, lock = data / f"state/patterns.x/.t.{nobody}.8", data / ".lock"
    for path in (*drafts, young, lock):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"ha")
        if path != young:
            os.utime(path, (time.time() - 90_000,) * 2)
    maintained(tmp_path, dry_run=True)
    assert all(path.exists() for path in drafts)
    maintained(tmp_path)
    assert not any(path.exists() for path in drafts)
    assert young.exists()
    assert lock.exists()
