"""A restore writes nowhere but into its folder, and is either finished or can be gone on with."""

from __future__ import annotations

import random
import shutil
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from observer_core.backup.place import FolderPlace
from observer_core.backup.vault import Vault
from observer_core.runtime import backups as runtime
from observer_core.runtime.audit.replay import digest_of
from observer_core.runtime.gate.reader import Gate
from observer_core.runtime.settings import load
from observer_core.runtime.storages import RESTORING, open_storage
from observer_core.shared.clock import ManualClock
from observer_core.shared.errors import ConfigError, StorageCorrupt
from observer_core.storage.journals import Journals
from observer_core.storage.local import LocalStorage
from observer_core.storage.local.files import LocalBlobs, LocalSegments
from observer_core.storage.local.tables import LocalTables
from observer_core.storage.memory import MemoryStorage
from observer_core.storage.verify import verify
from tests.support import ageing
from tests.support.ageing import Market
from tests.support.faults import Crash
from tests.support.power import Power
from tests.support.toys import START_NS, Chain, feed
from tests.support.vaults import MemoryPlace, back_up, bring_back


@pytest.mark.parametrize("name", ["kept/../../../escaped", "kept/../../../../../escaped"])
def test_a_backup_of_somebody_else_cannot_write_outside_of_the_folder(tmp_path: Path, name: str) -> None:
    storage, place = MemoryStorage(), MemoryPlace()
    Chain(storage).run()
    storage.blobs.put(name, b"* * * * * anything")
    back_up(storage, place, waiting=("kept/",))
    root = tmp_path / "a" / "b" / "store"
    target = LocalStorage(root)
    with pytest.raises(StorageCorrupt, match="leads out of"):
        bring_back(place, target=target)
    target.close()
    assert [path for path in tmp_path.rglob("escaped") if path.is_file()] == []


def test_names_that_lead_out_of_the_folder_are_refused_by_whoever_reads_or_removes(tmp_path: Path) -> None:
    outside = tmp_path / "outside.ndjson"
    outside.write_bytes(b"mine\n")
    storage = LocalStorage(tmp_path / "store")
    acts: list[Callable[[str], object]] = [
        storage.blobs.get, storage.blobs.delete, storage.archives.get, storage.segments.delete,
        lambda name: storage.blobs.put(name, b"x"), lambda name: storage.segments.append(name, b"x\n"),
        lambda name: storage.segments.read(name, 0, 1),
    ]  # fmt: skip
    for act in acts:
        for name in ("../outside.ndjson", "x/../../outside.ndjson", str(outside)):
            with pytest.raises(StorageCorrupt, match="leads out of"):
                act(name)
    storage.close()
    assert outside.read_bytes() == b"mine\n"


def test_one_that_was_killed_before_it_had_its_mark_can_be_begun_again(tmp_path: Path) -> None:
    to = tmp_path / "to"
    to.mkdir()
    (to / f".{RESTORING}.77.88").write_bytes(b"obs")
    runtime.restore(made(tmp_path), str(to), ManualClock(START_NS))
    opened(to)


def test_rows_are_no_more_readable_than_records_also_in_a_folder_that_anybody_may_enter(
    tmp_path: Path,
) -> None:
    """They hold the keys of indexes of encrypted backups."""
    root = tmp_path / "open"
    root.mkdir(mode=0o755)
    storage = LocalStorage(root)
    feed(Journals(storage, worker="w"), [1])
    files = [path for path in root.iterdir() if path.is_file()]
    assert {path.name for path in files} >= {"journal.db", "journal.db-wal"}
    assert [path for path in files if path.stat().st_mode & 0o007] == []
    storage.close()


def made(tmp_path: Path) -> Vault:
    storage = MemoryStorage()
    Chain(storage).run()
    place = FolderPlace(tmp_path / "place")
    back_up(storage, place)
    return Vault(place)


def opened(root: Path) -> None:
    open_storage(load(root=root.parent, config_dir=root.parent / "none", data_dir=str(root))).close()


@pytest.mark.parametrize("at", ["synced", "unlinked", "finished", "closed"])
def test_killed_at_its_very_end_it_is_a_store_or_is_gone_on_with(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, at: str
) -> None:
    vault = made(tmp_path)
    to = tmp_path / "to"
    ends: dict[str, tuple[object, str]] = {
        "synced": (LocalStorage, "checkpoint"), "unlinked": (Path, "unlink"), "finished": (runtime, "finish"),
        "closed": (LocalStorage, "close"),
    }  # fmt: skip
    owner, name = ends[at]
    inner = getattr(owner, name)

    def act(*given: object, **more: object) -> object:
        found = inner(*given, **more)
        if at != "unlinked" or str(given[0]).endswith(RESTORING):
            raise Crash
        return found

    with monkeypatch.context() as patch:
        patch.setattr(owner, name, act)
        with pytest.raises(Crash):
            runtime.restore(vault, str(to), ManualClock(START_NS))
    if (to / RESTORING).exists():
        with pytest.raises(ConfigError, match="not a whole store yet"):
            opened(to)
        runtime.restore(vault, str(to), ManualClock(START_NS))
    opened(to)


def test_after_a_power_failure_no_part_of_a_restore_looks_like_a_store(tmp_path: Path) -> None:
    """It is whole; or it says that it is not, and the same command finishes it; or nothing is there."""
    vault = made(tmp_path)
    whole = tmp_path / "whole"
    runtime.restore(vault, str(whole), ManualClock(START_NS))
    expected = digest(whole)
    seen = set()
    for seed in range(80):
        chance, to, after = random.Random(seed), tmp_path / f"{seed}", tmp_path / f"{seed}.after"
        to.mkdir()
        with pytest.MonkeyPatch.context() as patch:
            step = Steps(Power(patch, to), to, after, chance)
            for owner, name in (
                (LocalStorage, "checkpoint"), (LocalTables, "commit"), (LocalSegments, "append"),
                (LocalBlobs, "put"), (runtime, "sync_directory"),
            ):  # fmt: skip
                patch.setattr(owner, name, step.behind(getattr(owner, name)))
            with suppress(Crash):
                runtime.restore(vault, str(to), ManualClock(START_NS))
            if not after.exists():
                step.power.fail(after, chance)
        shutil.rmtree(to)
        if not any(after.iterdir()):
            seen.add("nothing")
            continue
        if (after / RESTORING).exists():
            seen.add("under way")
            with pytest.raises(ConfigError, match="not a whole store yet"):
                opened(after)
            runtime.restore(vault, str(after), ManualClock(START_NS))
        else:
            seen.add("whole")
        assert digest(after) == expected, seed
        shutil.rmtree(after)
    assert seen >= {"under way", "whole"}, seen


class Steps:
    """The power fails behind one of the first steps, or of none of them."""

    def __init__(self, power: Power, root: Path, after: Path, chance: random.Random) -> None:
        self.power, self._root, self._after, self._chance = power, root, after, chance
        self._left = chance.randint(1, 60)

    def behind(self, act: Callable[..., Any]) -> Callable[..., Any]:
        def acted(*given: Any, **more: Any) -> Any:
            found = act(*given, **more)
            self._left -= (self._root / "journal.db").exists()
            if not self._left and not self._after.exists():
                self.power.fail(self._after, self._chance)
                raise Crash
            return found

        return acted


def digest(root: Path) -> str:
    storage = LocalStorage(root)
    journals = Journals(storage, worker="r")
    assert all(verify(journals.open(name)).fault is None for name in journals.names())
    found = digest_of(journals)
    storage.close()
    return found


def test_until_an_observer_has_worked_on_it_the_gate_denies_and_then_it_knows_the_blocks(
    tmp_path: Path,
) -> None:
    """Views are not brought back as of a time: nobody can say yet that nothing is blocked."""
    market = Market(tmp_path / "one", MemoryStorage())
    market.live(40)  # at the 30th hour an operator blocks `a`
    place = MemoryPlace()
    back_up(market.storage, place)
    for hour, is_blocked in ((36, True), (29, False)):
        again, _ = bring_back(place, until_ns=ageing.START_NS + hour * ageing.HOUR_NS)
        restored = Market(tmp_path / f"{hour}", again, hour)
        assert restored.journals.open("decisions.live").views() == {}
        gate = Gate(restored.journals, restored.settings, restored.clock)
        for subject in ("a", "b"):
            answer = gate.check(subject)
            assert answer.decision == "deny"
            assert "stage_lag" in {reason["code"] for reason in answer.reasons}
        restored.live(1)
        answers = {subject: gate.check(subject) for subject in ("a", "b")}
        assert [reason["code"] for reason in answers["a"].reasons] == (["blocked"] if is_blocked else [])
        assert answers["b"].decision == "allow"
