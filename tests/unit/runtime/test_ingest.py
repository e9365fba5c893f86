"""Recordings through all stages: exactly once, whatever happens on the way."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from observer_core.runtime.audit.replay import replay
from observer_core.runtime.observer import Observer
from observer_core.shared.errors import DomainMismatch, InputError, StorageFull
from observer_core.shared.records import Decision, PatternRecord, Snapshot
from observer_core.snapshot_engine.recorded.content import RecordingError
from observer_core.storage.local import LocalStorage
from observer_core.storage.memory import MemoryStorage
from observer_core.storage.verify import verify
from tests.support.faults import Crash, FaultyStorage
from tests.support.market import (
    MAPPING,
    MINUTES,
    START_NS,
    heads,
    observer,
    recording,
    rows,
    take,
    unable_to_sync,
)

COMPUTED = ("patterns.desk", "events.desk", "decisions.desk")
Heads = dict[str, tuple[int, str]]


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return recording(tmp_path_factory.mktemp("recorded") / "desk.csv")


@pytest.fixture(scope="module")
def undisturbed(file: Path) -> Heads:
    it = observer(file.parent)
    take(it, file)
    return heads(it.journals)


def check(it: Observer) -> None:
    """Every chain is unbroken and every stage's records follow from their inputs."""
    for name in it.journals.names():
        assert verify(it.journals.open(name)).fault is None
    for name in COMPUTED:
        found = replay(it.journals, name, "1.0")
        assert found.equal, found.problem


def test_a_recording_gives_records_in_every_stage(file: Path) -> None:
    it = observer(file.parent)
    done = take(it, file)
    assert (done.snapshots, done.rows, done.already) == (MINUTES, len(list(rows(range(MINUTES)))), 0)
    assert done.observations == done.rows
    snapshots = [
        e.record for e in it.journals.open("snapshots.desk").scan() if isinstance(e.record, Snapshot)
    ]
    assert len(snapshots) == MINUTES
    assert snapshots[0].ingest_ns == START_NS + 60 * 10**9
    patterns = [e.record for e in it.journals.open("patterns.desk").scan()]
    assert {r.pattern for r in patterns if isinstance(r, PatternRecord)} >= {
        "spike",
        "feed_stale",
        "feed_resumed",
    }
    decisions = [
        e.record for e in it.journals.open("decisions.desk").scan() if isinstance(e.record, Decision)
    ]
    assert {"block", "release", "judgment"} <= {d.verdict for d in decisions}
    check(it)


@pytest.mark.parametrize("batch", [1, 7, 1000])
def test_the_batch_changes_no_head(file: Path, undisturbed: Heads, batch: int) -> None:
    it = observer(file.parent)
    take(it, file, batch=batch)
    assert heads(it.journals) == undisturbed


def test_a_second_time_adds_nothing_also_under_another_name(
    file: Path, undisturbed: Heads, tmp_path: Path
) -> None:
    storage = MemoryStorage()
    take(observer(tmp_path, storage), file)
    renamed = Path(shutil.copy(file, tmp_path / "renamed.csv"))
    for path in (file, renamed):
        it = observer(tmp_path, storage)
        again = take(it, path)
        assert (again.snapshots, again.observations) == (0, 0)
        assert heads(it.journals) == undisturbed


def test_a_file_that_has_grown_adds_only_its_new_rows(tmp_path: Path, undisturbed: Heads) -> None:
    it = observer(tmp_path)
    path = recording(tmp_path / "desk.csv", range(100))
    take(it, path)
    before = it.journals.open("snapshots.desk").head().position
    recording(path)
    grown = take(it, path)
    assert grown.snapshots == MINUTES - 100
    found = [e.record for e in it.journals.open("snapshots.desk").scan()]
    assert [r.time_ns for r in found] == sorted(r.time_ns for r in found)
    assert len(found) == before + MINUTES - 100
    assert heads(it.journals)["patterns.desk"][0] == undisturbed["patterns.desk"][0]
    check(it)


def test_several_files_make_one_stream_in_order_of_time(
    tmp_path: Path, file: Path, undisturbed: Heads
) -> None:
    lines = file.read_text().splitlines()
    for name, part in (("a", "A/USD"), ("others", "")):
        chosen = [line for line in lines[1:] if (",A/USD," in line) == bool(part)]
        (tmp_path / f"{name}.csv").write_text("\n".join([lines[0], *chosen]) + "\n")
    it = observer(tmp_path)
    done = take(it, tmp_path / "a.csv", tmp_path / "others.csv")
    assert done.snapshots == MINUTES
    assert heads(it.journals)["snapshots.desk"][0] == undisturbed["snapshots.desk"][0]
    assert take(it, tmp_path / "others.csv", tmp_path / "a.csv").snapshots == 0
    check(it)


def test_stopped_at_any_step_it_goes_on_to_the_same_heads(file: Path, undisturbed: Heads) -> None:
    counting = FaultyStorage(MemoryStorage())
    take(observer(file.parent, counting), file)
    assert len(counting.steps) > 15
    for at in range(1, len(counting.steps) + 1):
        memory = MemoryStorage()
        with pytest.raises(Crash):
            take(observer(file.parent, FaultyStorage(memory, at=at)), file)
        it = observer(file.parent, memory)
        take(it, file)
        assert heads(it.journals) == undisturbed, f"stopped before step {at} ({counting.steps[at - 1]})"


def test_interrupted_and_grown_meanwhile_it_finishes_the_first_part_first(tmp_path: Path) -> None:
    path = recording(tmp_path / "desk.csv", range(100))
    expected = observer(tmp_path)
    take(expected, path)
    recording(path)
    take(expected, path)

    recording(path, range(100))
    memory = MemoryStorage()
    faulty = FaultyStorage(memory, at=11)
    with pytest.raises(Crash):
        take(observer(tmp_path, faulty), path, batch=10)
    recording(path)
    it = observer(tmp_path, memory)
    done = take(it, path)
    assert 0 < done.snapshots < MINUTES
    assert done.already == 3 * (MINUTES - done.snapshots)
    assert heads(it.journals) == heads(expected.journals)


def test_interrupted_it_goes_on_although_the_file_was_renamed(
    tmp_path: Path, file: Path, undisturbed: Heads
) -> None:
    memory = MemoryStorage()
    with pytest.raises(Crash):
        take(observer(tmp_path, FaultyStorage(memory, at=20)), file, batch=10)
    renamed = Path(shutil.copy(file, tmp_path / "renamed.csv"))
    it = observer(tmp_path, memory)
    done = take(it, renamed)
    assert 0 < done.snapshots < MINUTES
    assert done.already == 3 * (MINUTES - done.snapshots)
    assert heads(it.journals) == undisturbed


def test_an_interrupted_file_that_has_changed_is_refused_and_told(tmp_path: Path) -> None:
    path = recording(tmp_path / "desk.csv")
    memory = MemoryStorage()
    with pytest.raises(Crash):
        take(observer(tmp_path, FaultyStorage(memory, at=20)), path, batch=10)
    path.write_text(path.read_text().replace("100.", "101.", 1))
    it = observer(tmp_path, memory)
    before = heads(it.journals)
    with pytest.raises(RecordingError, match="is not what it was when its ingestion began"):
        take(it, path)
    assert heads(it.journals) == before


@pytest.mark.parametrize("failing", range(1, 5))
def test_a_step_that_cannot_be_made_durable_has_not_happened_and_is_done_again(
    tmp_path: Path, file: Path, undisturbed: Heads, failing: int
) -> None:
    """Also the first one, in which domain, journals and epochs begin."""
    storage = LocalStorage(tmp_path / "data", durability="normal")
    it = observer(tmp_path, storage)
    feeds = 0

    def progress(done: int, total: int) -> None:
        nonlocal feeds
        feeds += 1

    if failing > 1:
        with pytest.raises(Stop):
            take(it, file, batch=40, progress=stop_after(failing - 1))
    before = heads(it.journals)
    with unable_to_sync(storage, 1), pytest.raises(StorageFull):
        take(it, file, batch=40, progress=progress)
    assert feeds == 0
    if failing > 1:
        assert heads(it.journals) == before
    take(it, file, batch=40, progress=progress)
    assert heads(it.journals) == undisturbed
    check(it)
    it.close()


class Stop(Exception):
    pass


def stop_after(batches: int):  # type: ignore[no-untyped-def]
    done = 0

    def progress(_: int, __: int) -> None:
        nonlocal done
        done += 1
        if done == batches:
            raise Stop

    return progress


def test_what_a_failed_step_registered_is_registered_by_the_next(tmp_path: Path, file: Path) -> None:
    """A push is only a write: nothing in it makes the registry durable before the end."""
    storage = LocalStorage(tmp_path / "data", durability="normal")
    it = observer(tmp_path, storage)
    snapshot = next(iter_snapshots(file))

    def push() -> None:
        with it.step():
            it.writer("desk", "desk", "recorded", snapshot.ingest_ns).write([snapshot])
            it.domain("desk").recogniser("desk")

    with unable_to_sync(storage, 1), pytest.raises(StorageFull):
        push()
    assert heads(it.journals) == {}
    push()
    it.domain("desk").work(refresh=True, flush=True)
    assert set(it.journals.names()) >= {"clock.desk", "snapshots.desk", *COMPUTED}
    assert it.domain("desk").mode == "recorded"
    assert it.journals.open("patterns.desk").head().through_ns == snapshot.ingest_ns
    it.close()
    other = observer(tmp_path, LocalStorage(tmp_path / "data", durability="normal"))
    assert other.domain("desk").mode == "recorded"
    other.close()


def iter_snapshots(path: Path):  # type: ignore[no-untyped-def]
    from observer_core.snapshot_engine.sources.recording import plan

    return plan([str(path)], "desk", MAPPING).snapshots()


@pytest.mark.parametrize(
    ("domain", "keeps", "asked"), [("live", "live", "recorded"), ("desk", "recorded", "live")]
)
def test_live_and_recorded_time_do_not_share_a_domain(
    tmp_path: Path, file: Path, domain: str, keeps: str, asked: str
) -> None:
    it = observer(tmp_path)
    it.domain(domain).declare(keeps, START_NS)  # type: ignore[arg-type]
    before = heads(it.journals)
    message = f"domain '{domain}' keeps {keeps} time and cannot take {asked} time"
    asking = {
        "recorded": lambda: take(it, file, domain=domain),
        "live": lambda: it.writer("desk", domain, "live", START_NS),
    }
    with pytest.raises(DomainMismatch, match=message):
        asking[asked]()
    assert heads(it.journals) == before


def test_a_source_stays_in_its_domain(tmp_path: Path, file: Path) -> None:
    it = observer(tmp_path)
    take(it, file)
    before = heads(it.journals)
    with pytest.raises(Exception, match="belongs to domain 'desk' and cannot be used in 'other'"):
        take(it, recording(tmp_path / "more.csv", range(MINUTES + 1)), domain="other")
    kept = heads(it.journals)
    assert {name: kept[name] for name in before} == before
    assert "snapshots.desk" in it.journals.names("snapshots", "desk")


def test_a_changed_configuration_opens_an_epoch_and_all_of_it_is_still_computed_again(tmp_path: Path) -> None:
    memory = MemoryStorage()
    first = observer(tmp_path, memory)
    take(first, recording(tmp_path / "desk.csv", range(100)))
    first.close()
    second = observer(tmp_path, memory, recognise={"spike": {"threshold": 5.0}})
    take(second, recording(tmp_path / "desk.csv"))
    notes = [e.record for e in second.journals.open("patterns.desk").scan() if e.record.kind == "epoch"]  # type: ignore[union-attr]
    assert [note.body["config"]["spike"]["threshold"] for note in notes] == [8.0, 5.0]  # type: ignore[union-attr]
    assert second.journals.open("patterns.desk").head().epoch == 2
    assert second.journals.open("events.desk").head().epoch == 1
    later = [e.record.epoch for e in second.journals.open("patterns.desk").scan()]
    assert later == sorted(later)
    check(second)


def test_nothing_is_committed_of_files_that_cannot_be_used(tmp_path: Path, file: Path) -> None:
    bad = tmp_path / "bad.csv"
    bad.write_text(file.read_text() + "not a time,A/USD,1\n")
    it = observer(tmp_path)
    with pytest.raises(
        InputError, match=f"bad.csv, line {len(file.read_text().splitlines()) + 1}, column 'ts'"
    ):
        take(it, file, bad)
    assert heads(it.journals) == {}
