"""Too much memory: what can be read again goes first, then the process does, in good order."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from observer_core.runtime.gate.reader import Gate
from observer_core.runtime.gate.views import Views
from observer_core.runtime.reading.finding import Finder
from observer_core.runtime.reading.series import Query, Series
from observer_core.safety.memory import Memory
from observer_core.storage.archive import packs
from tests.support.alone import Alone, lifecycle, settings_of, stored
from tests.support.market import eventually, observer, recording, take

ROOT = Path(__file__).resolve().parents[3]
OBSERVER = [sys.executable, "-c", "from observer_core.cli import main; main()"]
MIB = 1 << 20


class Process:
    def __init__(self, it: Alone, limit: int) -> None:
        self.used, self.now = 0, 0.0
        memory = Memory(limit, lambda: self.used, lambda: self.now)
        memory.droppable(self._drop)
        self.dropped = 0
        it.it.observer.guards.memory = memory

    def _drop(self) -> None:
        self.dropped += 1


def test_it_stays_while_dropping_helps_and_ends_gracefully_when_it_does_not(tmp_path: Path) -> None:
    running = Alone(settings_of(tmp_path))
    process = Process(running, 100 * MIB)
    with running:
        eventually(lambda: running.position("snapshots.host") > 2)
        process.used, process.now = 101 * MIB, 10.0
        eventually(lambda: process.dropped == 1)
        (found,) = running.it.health.report()["checks"]["memory:used"]
        assert (found["status"], found["observedValue"]) == ("warn", 101 * MIB)
        assert found["output"].startswith("more than 100 MiB are in use")
        process.used, process.now = 99 * MIB, 20.0
        eventually(lambda: not running.it.observer.guards.memory.is_short)
        assert running.it.health.report()["checks"]["memory:used"][0]["status"] == "pass"
        process.used, process.now = 102 * MIB, 100.0
        eventually(lambda: process.dropped == 2)
        assert not running.it.too_large
        process.now = 160.0
        running.join()
    assert running.it.too_large
    journals = stored(tmp_path)
    assert lifecycle(journals)[-1] == {
        "event": "stop", "reason": "memory", "resident_bytes": 102 * MIB, "most_bytes": 100 * MIB,
    }  # fmt: skip
    with Alone(settings_of(tmp_path)) as again:
        eventually(lambda: again.position("operations.local") > 2)
    assert lifecycle(stored(tmp_path), "start")[-1]["ended"] == "clean"


def test_the_command_ends_with_a_code_of_its_own(tmp_path: Path) -> None:
    patched = (
        "import observer_core.safety.memory as m; m.PATIENCE_SECONDS = 0.0; m.LOOK_SECONDS = 0.05;"
        "m.Memory.__init__.__defaults__ = (*m.Memory.__init__.__defaults__[:2], 0.0);"
        "from observer_core.cli import main; main()"
    )
    done = subprocess.run(
        [sys.executable, "-c", patched, "run", "--port", "0", "--no-console", "--for", "60s"],
        cwd=tmp_path, capture_output=True, text=True, check=False, timeout=60,
        env={**os.environ, "PYTHONPATH": str(ROOT), "OBSERVER_SAFETY__MOST_MEMORY": "1MiB"},
    )  # fmt: skip
    assert done.returncode == 75, done.stderr
    assert "too much memory was in use for too long; start it anew" in done.stderr
    assert lifecycle(stored(tmp_path))[-1]["reason"] == "memory"


def test_what_is_dropped_is_read_again(tmp_path: Path) -> None:
    it = observer(tmp_path)
    take(it, recording(tmp_path / "desk.csv"))
    journal = it.journals.open("snapshots.desk")
    gate = Gate(it.journals, it.settings, it.clock)
    views, finder = Views(gate, it.journals, it.clock, 1 << 60), Finder(it.journals)
    series = Series(it, folder=tmp_path / "series")
    it.guards.memory.droppable(views.let_go)
    it.guards.memory.droppable(finder.let_go)
    wanted = Query("desk", "A/USD", "price")
    before = (
        [entry.record for entry in journal.read(0)], views.current().domains["desk"].positions,
        series.points(wanted), gate.check("A/USD"),
    )  # fmt: skip
    assert journal._tail
    packs._cache.put("x", packs.Unpacked(b"x", []))
    it.guards.memory.drop()
    assert not journal._tail
    assert packs._cache.get("x") is None
    assert views._picture is None
    assert series._columns["desk"]._tail is None
    after = (
        [entry.record for entry in journal.read(0)], views.current().domains["desk"].positions,
        series.points(wanted), gate.check("A/USD"),
    )  # fmt: skip
    assert [record.time_ns for record in after[0]] == [record.time_ns for record in before[0]]
    assert after[1:] == before[1:]
