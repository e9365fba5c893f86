"""What retention has left of a store, and what it kept of the rest, is backed up, and comes back."""

from __future__ import annotations

from pathlib import Path

import pytest

from observer_core.backup.manifest import Catalogue
from observer_core.backup.vault import Vault
from observer_core.backup.verifying import Verifier, settle
from observer_core.maintenance.fsck import check
from observer_core.runtime.backups import Backups, backed_up, backed_up_to, place_of, restore
from observer_core.shared.errors import InputError
from observer_core.storage.archive.excerpts import EXTENSION
from observer_core.storage.local import LocalStorage
from observer_core.storage.memory import MemoryStorage
from tests.support.ageing import DAY_NS, HOUR_NS, HOURS, RULES, START_NS, Market, copied
from tests.support.market import BUILD
from tests.support.vaults import BusyPlace, MemoryPlace, back_up, bring_back, everything


@pytest.fixture(scope="module")
def grown(tmp_path_factory: pytest.TempPathFactory) -> MemoryStorage:
    storage = MemoryStorage()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("observer_core.storage.archive.parquet._LEVEL", 3)
        market = Market(tmp_path_factory.mktemp("grown"), storage)
        market.live(HOURS)
        market.observer.close()
        market.packed()
    return storage


def test_it_is_the_same_to_the_last_row_and_explains_the_same(grown: MemoryStorage, tmp_path: Path) -> None:
    market = Market(tmp_path, copied(grown), HOURS)
    market.retain()
    place = MemoryPlace()
    back_up(market.storage, place)
    storage, restored = bring_back(place)
    again = Market(tmp_path, storage, HOURS)
    assert restored.cut == {}
    assert everything(storage) == everything(market.storage)
    assert again.bases() == market.bases()
    assert max(market.bases().values()) > 100
    assert again.explained() == market.explained()
    assert list(check(again.journals)) == []
    again.replayed()
    for it in (market, again):
        it.live(30)
    assert again.digest() == market.digest()


def test_removed_between_two_backups_the_older_one_still_has_it(grown: MemoryStorage, tmp_path: Path) -> None:
    market = Market(tmp_path, copied(grown), HOURS)
    place = MemoryPlace()
    back_up(market.storage, place)
    market.retain()
    back_up(market.storage, place)
    vault = Vault(place)
    verifier = Verifier(vault, market.journals)
    assert verifier.check(vault.catalogue.read(2)).findings == []
    assert {f.journal for f in verifier.check(vault.catalogue.read(1)).findings} == set()
    older, _ = bring_back(place, number=1)
    assert set(Market(tmp_path, older, HOURS).bases().values()) == {0}
    then = START_NS + 2 * DAY_NS
    with pytest.raises(InputError, match=r"retention had removed it .*; choose an older backup, or a later"):
        bring_back(place, until_ns=then)
    assert Market(tmp_path, bring_back(place, number=1, until_ns=then)[0], 48).replayed()
    # The newest removed commit had worked until an hour before the end, though its newest record was old.
    late = Market(tmp_path, bring_back(place, until_ns=START_NS + HOURS * HOUR_NS - 1)[0], HOURS)
    assert late.replayed()
    assert late.bases() == market.bases()
    late.verified()


def test_the_first_backup_after_a_time_is_taken_where_the_newest_has_it_no_more(
    grown: MemoryStorage, tmp_path: Path
) -> None:
    market = Market(tmp_path, copied(grown), HOURS)
    place = MemoryPlace()
    back_up(market.storage, place, time_ns=START_NS + HOURS * HOUR_NS)
    market.retain()
    back_up(market.storage, place, time_ns=START_NS + HOURS * HOUR_NS + 1)
    heads, taken = market.digest(), {}
    for hour in (30, 151, 200, 264, HOURS - 1):
        to = tmp_path / str(hour)
        until_ns = START_NS + hour * HOUR_NS
        manifest, _ = restore(Vault(place), str(to), market.clock, until_ns=until_ns)
        taken[hour] = manifest.number
        again = Market(tmp_path, LocalStorage(to, durability="normal"), hour)
        again.verified()
        again.replayed()
        again.live(HOURS - hour)
        assert again.digest() == heads
    assert (taken[30], taken[HOURS - 1]) == (1, 2)


def test_removed_while_it_is_read_it_is_read_again(grown: MemoryStorage, tmp_path: Path) -> None:
    for at in range(3, 120, 13):
        market = Market(tmp_path, copied(grown), HOURS)
        place = BusyPlace({at: lambda market=market: [market.retain(), market.packed()]})  # packing sweeps
        back_up(market.storage, place)
        vault = Vault(place)
        assert Verifier(vault).check(vault.catalogue.read(1)).findings == []
        assert bring_back(place)[1].cut == {}


def test_what_was_kept_of_removed_records_is_checked(grown: MemoryStorage, tmp_path: Path) -> None:
    market = Market(tmp_path, copied(grown), HOURS)
    market.retain()
    place = MemoryPlace()
    back_up(market.storage, place)
    vault = Vault(place)
    excerpts = [name for name in market.storage.archives.list() if name.endswith(EXTENSION)]
    assert excerpts
    name = vault.objects(None).put(market.storage.archives.get(excerpts[0])).name
    place.data[f"objects/{name[:2]}/{name}"] = b"rno"
    (finding, *_) = Verifier(vault).check(vault.catalogue.read(1)).findings
    assert finding.name == name
    settle(Catalogue(place), [Verifier(vault).check(vault.catalogue.read(1))], 1)
    back_up(market.storage, place)
    assert Verifier(vault).check(vault.catalogue.read(2)).findings == []


def test_retention_removes_what_is_backed_up_and_found_whole_and_no_more(
    grown: MemoryStorage, tmp_path: Path
) -> None:
    backup = {"to": {"kind": "folder", "path": "elsewhere"}}
    retention = {**RULES, "only_backed_up": True}
    market = Market(tmp_path, copied(grown), HOURS, backup=backup, retention=retention)
    assert backed_up(market.storage, market.settings) == {}
    assert not market.retention().run().cuts
    place = place_of(market.settings)
    backups = Backups(market.storage, market.settings, market.clock, BUILD)
    backups.create(place)
    known = backed_up(market.storage, market.settings)
    assert known["snapshots.one"] == market.digest()["snapshots.one"][0]
    assert backed_up_to(market.storage, market.settings, "snapshots.one") == known["snapshots.one"]
    assert backed_up_to(market.storage, market.settings, "snapshots.none") == 0
    Catalogue(place).unmark(1)
    assert backed_up(market.storage, market.settings) == {}
    backups.verify(place)
    assert market.retention().run().cuts
    # Another history of the same names has nothing safe there.
    other = Market(tmp_path, MemoryStorage(), backup=backup)
    other.live(3)
    other.storage.tables.commit("backup", _copied_rows(market))
    assert set(backed_up(other.storage, other.settings)) == {"patterns.two"}, "an equal record is the same"


def _copied_rows(market: Market) -> list[object]:
    from observer_core.storage.ports import Op

    return [Op("upsert", row.key, row.value) for row in market.storage.tables.query("backup", "", "~")]
