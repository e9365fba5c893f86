"""The restore drill: a store that has taken in a recording and runs live is lost, restored, and goes on."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from observer_core.runtime.audit.replay import computed, digest_of, replay
from observer_core.runtime.backups import Backups, place_of, restore, vault_at
from observer_core.runtime.ingest import ingest
from observer_core.runtime.maintaining import Maintenance
from observer_core.runtime.observer import Observer
from observer_core.runtime.settings import Settings
from observer_core.shared.clock import SECOND, ManualClock
from observer_core.shared.errors import ConfigError
from observer_core.snapshot_engine.sources.recording import RecordingConfig
from observer_core.storage.journals import Journals
from observer_core.storage.local import LocalStorage
from observer_core.storage.recovery import OPERATIONS
from observer_core.storage.verify import verify
from tests.support.instances import START_NS, Instances

MAPPING = RecordingConfig(time="ts", zone="UTC", bar=600 * SECOND)
BACKUP = {"to": {"kind": "folder", "path": "elsewhere"}}
MAINTENANCE = {"compaction": {"after": 0, "hour_bytes": 1, "day_bytes": 1}}


class Life:
    """One Observer on files, under a clock in hand."""

    def __init__(self, folder: Path, data: str, clock_ns: int = START_NS) -> None:
        self.folder = folder
        clock = ManualClock(clock_ns)
        self.storage = LocalStorage(folder / data, durability="normal", clock=clock)
        self.instances = Instances(
            folder, self.storage, clock=clock, backup=BACKUP, data_dir=Path(data), maintenance=MAINTENANCE
        )  # fmt: skip
        self.clock = clock
        self.observer: Observer = self.instances.handlers[0].observer
        self.settings: Settings = self.observer.settings
        self.backups = Backups(self.storage, self.settings, clock, self.observer.build)

    def take_in(self, days: int) -> None:
        rows = ["ts,price"]
        for step in range(days * 144):
            rows.append(f"{1_522_886_400 + 600 * step},{100 + step // 144 * 30 + step * 7 % 11 / 100:.2f}")
        path = self.folder / "prices.csv"
        path.write_text("\n".join(rows) + "\n")
        ingest(self.observer, [path], source="past", domain="past", mapping=MAPPING)

    def run(self, seconds: range) -> None:
        domain = self.observer.domain("live")
        for second in seconds:
            self.clock.set(START_NS + second * SECOND)
            self.instances.collect("desk", second)
            domain.tick()
            domain.work(refresh=True)

    def heads(self) -> dict[str, tuple[int, bytes]]:
        journals = Journals(self.storage, worker="reader")
        assert all(verify(journals.open(name)).fault is None for name in journals.names())
        return {
            name: (head.position, head.hash)
            for name in journals.names()
            if name != OPERATIONS
            for head in [journals.open(name).head()]
        }

    def replays(self) -> list[str]:
        """The journals that are equal to their own computation; all of them must be."""
        journals, version = Journals(self.storage, worker="reader"), self.observer.build.version
        names = computed(journals)
        assert all(replay(journals, name, version).equal for name in names)
        return names

    def end(self) -> None:
        self.observer.close()


@pytest.mark.parametrize("packed", [False, True])
def test_it_goes_on_as_if_nothing_had_been_lost(tmp_path: Path, packed: bool) -> None:
    life = Life(tmp_path, "data")
    life.take_in(2)
    life.run(range(150))
    if packed:
        life.clock.set(START_NS + 150 * SECOND)
        assert Maintenance(life.observer.journals, life.clock, life.settings.maintenance).round().packed
    place = place_of(life.settings)
    first = life.backups.create(place).manifest
    life.run(range(150, 190))
    second = life.backups.create(place)
    assert second.manifest.written < first.written / 2
    assert second.digest != digest_of(life.observer.journals), "the backup itself is a record behind it"

    manifest, done = restore(vault_at(place), str(tmp_path / "new"), life.clock)
    assert (manifest.number, done.digest, done.cut) == (2, second.digest, {})
    again = Life(tmp_path, "new", life.clock.now_ns())
    assert again.heads() == life.heads()
    assert again.replays() == life.replays()
    assert len(life.replays()) == 6
    kinds = [entry.record.kind for entry in Journals(again.storage, worker="r").open(OPERATIONS).scan()]
    assert kinds[-1] == "restore"

    for it in (life, again):
        it.run(range(190, 300))
        it.take_in(3)
    assert again.heads() == life.heads()
    again.replays()
    again.end()
    life.end()


def test_until_a_time_it_is_as_it_was_then_and_goes_on(tmp_path: Path) -> None:
    life = Life(tmp_path, "data")
    life.take_in(1)
    life.run(range(130))
    then = life.heads()
    place = place_of(life.settings)
    life.run(range(130, 260))
    life.backups.create(place)
    _, done = restore(
        vault_at(place), str(tmp_path / "new"), life.clock, until_ns=START_NS + 129 * SECOND
    )  # fmt: skip
    again = Life(tmp_path, "new", START_NS + 129 * SECOND)
    found = again.heads()
    # What was observed, and the clock, to the last record; what follows from it is computed again.
    assert {name: found[name] for name in ("snapshots.desk", "snapshots.past", "clock.live")} == {
        name: then[name] for name in ("snapshots.desk", "snapshots.past", "clock.live")
    }
    assert "snapshots.desk" in done.cut
    again.replays()
    again.observer.domain("live").work(refresh=True, flush=True)
    assert again.heads() == then
    for it in (life, again):
        it.run(range(130 if it is again else 260, 300))
    assert again.heads() == life.heads()
    again.replays()
    again.end()
    life.end()


def test_nothing_runs_on_a_store_that_is_not_whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from observer_core.runtime import backups as runtime

    life = Life(tmp_path, "data")
    life.run(range(20))
    place = place_of(life.settings)
    life.backups.create(place)

    def killed(*_: Any) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(runtime, "_note_restored", killed)
        with pytest.raises(KeyboardInterrupt):
            restore(vault_at(place), str(tmp_path / "new"), life.clock)
    half = life.settings.model_copy(update={"data_dir": Path("new")})
    with pytest.raises(ConfigError, match="not a whole store yet"):
        Observer.open(half)
    restore(vault_at(place), str(tmp_path / "new"), life.clock)
    Observer.open(half).close()
    notes = Journals(LocalStorage(tmp_path / "new"), worker="r").open(OPERATIONS).scan()
    assert [entry.record.kind for entry in notes].count("restore") == 1
    life.end()
