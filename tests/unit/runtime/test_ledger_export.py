"""An export is checked by a shell with coreutils alone, and shows what was changed."""

from __future__ import annotations

import re
import shutil
import subprocess
import tarfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from observer_core.runtime.audit.export import INSTRUCTIONS, MANIFEST, export
from observer_core.runtime.audit.ledger import Ledger
from observer_core.shared.clock import ManualClock
from observer_core.shared.errors import InputError
from observer_core.shared.ids import parse_ref
from observer_core.shared.records import Event, PatternRecord
from observer_core.storage.journal import Commit
from observer_core.storage.ledger import hash_at
from observer_core.storage.local.anchors import FileAnchors
from tests.support.allows import BTC, Desk, decision, seconds
from tests.support.toys import START_NS, note

needs_basenc = pytest.mark.skipif(
    shutil.which("basenc") is None, reason="no GNU coreutils of 8.31 or later on this machine"
)


def pattern(at: float, snapshot: str) -> PatternRecord:
    return PatternRecord(
        id=f"p{at}", pattern="spike", series=(("feed", BTC, "price"),), score=0.7, severity="warning",
        direction="up", tags=(), detector="d/1", evidence={}, snapshot=snapshot, event_ns=seconds(at),
        time_ns=seconds(at),
    )  # fmt: skip


def event(at: float, cause: str) -> Event:
    return Event(
        id=f"e{at}", source="/feed", type="io.qts.observer.pattern.spike", subject=BTC, time_ns=seconds(at),
        data={}, partitionkey="feed", sequence="1", causationid=cause, correlationid="",
        severitytext="warning",
    )  # fmt: skip


@pytest.fixture
def desk(tmp_path: Path) -> Desk:
    """A decision at 20 s that follows from a snapshot of 2 s, one at 40 s; anchored, names that need care."""
    desk = Desk()
    for at in (20.0, 40.0):
        desk.write("snapshots.feed", note(at - 10, text='back\\slash % "quote" \' $x `y` \u20ac '))
        snapshot = "snapshots.feed@2" if at == 20.0 else "snapshots.feed@6"
        cause = desk.write(
            "events.live", event(at - 4, desk.write("patterns.feed", pattern(at - 5, snapshot)))
        )
        block = decision(at, "block")
        object.__setattr__(block, "causation", (cause,))
        desk.write("decisions.live", block)
        desk.answer(at + 1)
    ledger = Ledger(desk.journals, ManualClock(seconds(50)), FileAnchors(tmp_path / "anchors"))
    ledger.anchor()
    ledger.send()
    desk.answer(60)
    return desk


def steps(folder: Path) -> list[str]:
    """The commands of the instructions, step by step."""
    parts = re.split(r"^Step \d\.", (folder / INSTRUCTIONS).read_text(), flags=re.M)[1:]
    return ["\n".join(line[4:] for line in part.splitlines() if line.startswith("    ")) for part in parts]


def sh(folder: Path, script: str) -> list[str]:
    done = subprocess.run(
        ["sh", "-u"], cwd=folder, input=script, capture_output=True, text=True, check=False,
        env={"PATH": "/usr/bin:/bin"},
    )  # fmt: skip
    return (done.stdout + done.stderr).splitlines()


def checked(folder: Path, anchors: Path) -> list[str]:
    """What the steps print that is not ok."""
    shutil.copy(anchors, folder / "ANCHORS")
    first, *others = steps(folder)
    lines = [*sh(folder, first)[1:], *(line for step in others for line in sh(folder, step))]
    return [line for line in lines if not line.startswith("ok ")]


@needs_basenc
def test_the_instructions_find_nothing_wrong_with_an_honest_export(desk: Desk, tmp_path: Path) -> None:
    done = export(desk.journals, tmp_path / "out")
    assert checked(tmp_path / "out", tmp_path / "anchors") == []
    said = sh(tmp_path / "out", "\n".join(steps(tmp_path / "out")))
    assert said[0] == f"{done.manifest}  {MANIFEST}"
    assert said[1] == "ok files"
    assert "ok gate.live" in said
    assert "ok gate.live@3" in said


@needs_basenc
@pytest.mark.parametrize(
    ("file", "old", "new", "told"),
    [
        ("journals/gate.live.ndjson", b'"caller":"desk"', b'"caller":"dusk"', "DIFFERENT gate.live"),
        ("journals/snapshots.feed.ndjson", b"\\\\slash", b"\\\\slush", "DIFFERENT snapshots.feed"),
        ("chains/events.live.txt", b"@2 ", b"@2 0", "DIFFERENT events.live@2"),
    ],
)
def test_the_instructions_find_a_changed_byte(
    desk: Desk, tmp_path: Path, file: str, old: bytes, new: bytes, told: str
) -> None:
    out = tmp_path / "out"
    export(desk.journals, out)
    data = (out / file).read_bytes()
    assert old in data
    (out / file).write_bytes(data.replace(old, new, 1))
    found = checked(out, tmp_path / "anchors")
    assert any(f"{file}: FAILED" in line for line in found)
    assert told in found


@needs_basenc
def test_the_instructions_find_a_removed_record_and_a_journal_written_anew(
    desk: Desk, tmp_path: Path
) -> None:
    out, forged = tmp_path / "out", tmp_path / "forged"
    export(desk.journals, out)
    path = out / "journals/gate.live.ndjson"
    lines = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(b"".join(lines[:1] + lines[2:]))
    assert "DIFFERENT gate.live" in checked(out, tmp_path / "anchors")
    other = Desk()
    for at in (1, 2, 3):
        other.answer(at)
    export(other.journals, forged)
    assert "DIFFERENT gate.live@3" in checked(forged, tmp_path / "anchors")


@needs_basenc
def test_a_part_of_the_time_is_checked_by_itself(desk: Desk, tmp_path: Path) -> None:
    out = tmp_path / "out"
    export(desk.journals, out, since_ns=seconds(30), until_ns=seconds(50))
    assert checked(out, tmp_path / "anchors") == []
    heads = {line.split()[0]: line.split()[1:3] for line in (out / "HEADS.txt").read_text().splitlines()}
    assert heads["decisions.live"] == ["3", "3"]
    assert heads["gate.live"] == ["3", "3"]
    assert heads["snapshots.feed"] == ["6", "6"]


def test_every_file_is_what_is_stored(desk: Desk, tmp_path: Path) -> None:
    out = tmp_path / "out"
    done = export(desk.journals, out)
    names = desk.journals.names()
    assert {path.stem for path in (out / "journals").iterdir()} == set(names)
    for name in names:
        journal = desk.journals.open(name)
        stored = b"".join(line + b"\n" for _, found in journal.raw() for line in found)
        assert (out / "journals" / f"{name}.ndjson").read_bytes() == stored
        for text in (out / "chains" / f"{name}.txt").read_text().splitlines():
            point, digest = text.split()
            assert hash_at(journal, parse_ref(point)[1]).hex() == digest
    assert done.records == sum(desk.journals.open(name).head().position for name in names)


def test_what_a_decision_follows_from_is_in_it_also_from_before_the_range(desk: Desk, tmp_path: Path) -> None:
    out = tmp_path / "out"
    export(desk.journals, out, domain="live", since_ns=seconds(18), until_ns=seconds(22))
    edges = [line.split() for line in (out / "lineage.txt").read_text().splitlines()]
    chain = {edge[0]: edge[1:] for edge in edges}
    assert chain["decisions.live@2"] == ["events.live@1"]
    assert chain["events.live@1"] == ["patterns.feed@1"]
    assert chain["patterns.feed@1"] == ["snapshots.feed@2"]
    assert "snapshots.feed@2 " in (out / "chains/snapshots.feed.txt").read_text()
    # What an answer was read from may be long ago: it is named, and not all carried along.
    assert ["gate.live@2", "decisions.live@1", "outside"] in edges


def test_equal_stores_give_equal_archives(desk: Desk, tmp_path: Path) -> None:
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        export(desk.journals, tmp_path / name / "x.tar.gz")
    assert (tmp_path / "a/x.tar.gz").read_bytes() == (tmp_path / "b/x.tar.gz").read_bytes()
    export(desk.journals, tmp_path / "folder")
    export(desk.journals, tmp_path / "x.tar")
    with tarfile.open(tmp_path / "x.tar") as tar:
        inside = {item.name.removeprefix("x/"): item for item in tar.getmembers()}
    expected = {str(path.relative_to(tmp_path / "folder")) for path in _files(tmp_path / "folder")}
    assert set(inside) == expected
    assert {item.mtime for item in inside.values()} == {0}


def test_nothing_is_written_over_and_nothing_is_left_half_done(desk: Desk, tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    with pytest.raises(InputError, match="never written over"):
        export(desk.journals, tmp_path / "out")
    with pytest.raises(InputError, match="nothing was recorded in that range"):
        export(desk.journals, tmp_path / "none", domain="live", until_ns=START_NS - 1)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["anchors", "out"]


def test_a_ledger_without_anchors_is_no_obstacle(tmp_path: Path) -> None:
    desk = Desk()
    journal = desk.journals.open("commands.live", "live")
    journal.commit(journal.head(), Commit(records=[note(1)]))
    export(desk.journals, tmp_path / "out")
    assert (tmp_path / "out/anchors.ndjson").read_bytes() == b""


def _files(folder: Path) -> Iterator[Path]:
    return (path for path in folder.rglob("*") if path.is_file())
