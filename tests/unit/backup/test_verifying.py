"""Whatever is missing or changed in a backup shows, and the next one mends what can be mended."""

from __future__ import annotations

import zlib
from collections.abc import Iterator

import pytest

from observer_core.backup.manifest import Catalogue
from observer_core.backup.objects import Damaged, Objects, Ref
from observer_core.backup.restoring import Wish, restore
from observer_core.backup.sealing import Plain
from observer_core.backup.vault import Vault
from observer_core.backup.verifying import Checked, Verifier, check_catalogue, settle
from observer_core.maintenance.compaction import CompactionConfig, pack_closed, sweep
from observer_core.shared.canonical import decode, encode
from observer_core.shared.errors import InputError, StorageCorrupt
from observer_core.storage.journals import Journals
from observer_core.storage.memory import MemoryStorage
from observer_core.storage.ports import Storage
from tests.support.toys import FIRST, SECOND_STAGE, SOURCE, Chain, feed
from tests.support.vaults import MemoryPlace, back_up, bring_back, everything


@pytest.fixture
def storage() -> Storage:
    """Packed for the most part."""
    storage = MemoryStorage()
    chain = Chain(storage, total=120)
    for _ in range(28):
        chain.step()
    journals = Journals(storage, worker="packer")
    for name in (SOURCE, FIRST, SECOND_STAGE):
        assert list(pack_closed(journals, name, CompactionConfig(after=0, hour_bytes=1)))
        sweep(journals, name)
    while chain.step():
        pass
    chain.finish()
    return storage


@pytest.fixture
def place(storage: Storage) -> MemoryPlace:
    place = MemoryPlace()
    back_up(storage, place)
    feed(Journals(storage, worker="w"), range(3), name="commands.d")
    back_up(storage, place)
    return place


def check(place: MemoryPlace, number: int = 2, live: Storage | None = None) -> Checked:
    vault = Vault(place)
    journals = None if live is None else Journals(live, worker="r")
    return Verifier(vault, journals).check(vault.catalogue.read(number))


def test_a_whole_one_is_whole_and_says_what_it_holds(storage: Storage, place: MemoryPlace) -> None:
    checked = check(place, live=storage)
    assert checked.findings == []
    assert (checked.depth, checked.journals) == ("content", 4)
    assert checked.digest == back_up(storage, MemoryPlace()).digest
    heads = [Journals(storage, worker="r").open(n).head() for n in Journals(storage, worker="r").names()]
    assert checked.records == sum(head.position for head in heads)
    assert set(Catalogue(place).verified()) == {1, 2}


def objects(place: MemoryPlace) -> Iterator[str]:
    yield from [name for name in place.data if name.startswith("objects/")]


def test_every_content_that_goes_missing_shows_and_is_put_again(storage: Storage, place: MemoryPlace) -> None:
    names = list(objects(place))[::3]
    assert len(names) > 8
    mended = 0
    for name in names:
        kept = place.data.pop(name)
        findings = [*check(place, 1).findings, *check(place, 2).findings]
        assert {item.name for item in findings} == {name.rpartition("/")[2]}
        assert any("missing" in item.detail for item in findings)
        copy = MemoryPlace()
        copy.data = dict(place.data)
        settle(Catalogue(copy), [check(copy, 1), check(copy, 2)], 1)
        assert Catalogue(copy).verified().keys() == {
            number for number in (1, 2) if not check(place, number).findings
        }
        back_up(storage, copy)
        assert check(copy, 3).findings == []
        assert everything(bring_back(copy)[0]) == everything(storage)
        mended += copy.data.get(name) is not None
        place.data[name] = kept
    assert mended > len(names) // 2


def test_a_content_that_is_torn_or_changed_shows(place: MemoryPlace) -> None:
    for name in list(objects(place))[::4]:
        kept = place.data[name]
        for broken in (kept[: len(kept) // 2], b"", kept[:-1] + bytes([kept[-1] ^ 1]), b"x" + kept[1:]):
            place.data[name] = broken
            findings = [*check(place, 1).findings, *check(place, 2).findings]
            assert name.rpartition("/")[2] in {item.name for item in findings}
        place.data[name] = kept


def test_a_content_that_grows_when_it_is_unpacked_is_not_unpacked() -> None:
    place = MemoryPlace()
    found = Objects(place, Plain())
    ref = found.put(b"small")
    place.put(f"objects/{ref.name[:2]}/{ref.name}", b"z" + zlib.compress(bytes(50_000_000)))
    with pytest.raises(Damaged, match="not the 5 bytes"):
        found.get(ref)


def test_a_forged_content_with_a_fitting_name_does_not_pass_as_a_chain(place: MemoryPlace) -> None:
    """Somebody who may write there, and computes names: the chain and the manifest's own name remain."""
    catalogue = Catalogue(place)
    number, name = max(catalogue.names().items())
    manifest = decode(place.get(name))
    part = manifest["body"]["journals"]["commands.d"]
    store = Objects(place, Plain())
    page = store.get_json(Ref.of(part["pages"][0][4]))
    content = store.get(Ref.of(page[0]["contents"]["commits"]))
    page[0]["contents"]["commits"] = store.put(content.replace(b'"value":1', b'"value":7')).to_json()
    part["pages"][0][4] = store.put_json(page).to_json()
    place.put(name, encode(manifest))
    with pytest.raises(Damaged, match="hashes to something else than its name"):
        catalogue.read(number)
    place.delete(name)
    catalogue.add(catalogue.read(1).decoded(encode(manifest)))
    (finding,) = check(place).findings
    assert (finding.journal, "positions 1 to 3 hash to something else" in finding.detail) == (
        "commands.d", True,
    )  # fmt: skip


def test_a_manifest_that_was_taken_away_is_missed(storage: Storage, place: MemoryPlace) -> None:
    catalogue = Catalogue(place)
    back_up(storage, place)
    assert list(check_catalogue(catalogue)) == []
    place.delete(catalogue.names()[2])
    assert [item.detail for item in check_catalogue(catalogue)] == [
        "backup 2 is missing: it was made, and was not pruned"
    ]
    catalogue.say_pruned([2])
    assert list(check_catalogue(catalogue)) == []
    place.delete(catalogue.names()[3])
    assert list(check_catalogue(catalogue)) == []
    assert [item.backup for item in check_catalogue(catalogue, at_least=3)] == [3]


def test_one_that_was_put_in_the_place_of_another_shows(storage: Storage, place: MemoryPlace) -> None:
    catalogue = Catalogue(place)
    other = MemoryPlace()
    back_up(storage, other)
    name = catalogue.names()[1]
    (forged,) = Catalogue(other).names().values()
    place.data[forged] = other.data[forged]
    assert any("two backups 1" in item.detail for item in check_catalogue(catalogue))
    place.delete(name)
    assert [item.detail for item in check_catalogue(catalogue)] == [
        "it follows another backup 1 than the one that is there"
    ]


def test_a_torn_manifest_is_no_backup_and_the_next_one_does_without(
    storage: Storage, place: MemoryPlace
) -> None:
    catalogue = Catalogue(place)
    name = catalogue.names()[2]
    place.data[name] = place.data[name][:100]
    assert [item.backup for item in check_catalogue(catalogue)] == [2]
    with pytest.raises(Damaged):
        catalogue.read(2)
    made = back_up(storage, place)
    assert made.manifest.parent is not None
    assert made.manifest.parent[0] == 1
    assert check(place, made.manifest.number).findings == []


def test_beside_the_store_what_it_has_lost_or_changed_shows(storage: Storage, place: MemoryPlace) -> None:
    assert check(place, live=storage).findings == []
    feed(Journals(storage, worker="w"), [9], name="commands.d")
    assert check(place, live=storage).findings == []
    other = MemoryStorage()
    Chain(other, total=8).run()
    feed(Journals(other, worker="w"), range(2), name="commands.d")
    found = {item.journal: item.detail for item in check(place, live=other).findings}
    assert set(found) == {SOURCE, FIRST, SECOND_STAGE, "commands.d"}
    assert all("the store has" in detail for detail in found.values())
    changed = MemoryStorage()
    feed(Journals(changed, worker="w"), [5, 6, 7], name="commands.d")
    detail = {i.journal: i.detail for i in check(place, live=changed).findings}["commands.d"]
    assert detail == "the store's first 3 records are not those that were backed up"


def test_what_was_found_whole_is_not_read_again_for_another_backup(
    storage: Storage, place: MemoryPlace
) -> None:
    vault = Vault(place)
    verifier = Verifier(vault)
    first = verifier.check(vault.catalogue.read(1))
    second = verifier.check(vault.catalogue.read(2))
    assert first.contents > 10
    assert second.contents < 5
    assert second.findings == []


def test_a_restore_of_a_damaged_backup_stops_before_there_is_a_journal(place: MemoryPlace) -> None:
    name = max(objects(place), key=lambda name: len(place.data[name]))
    place.data[name] = place.data[name][:-5]
    vault, target = Vault(place), MemoryStorage()
    with pytest.raises((Damaged, StorageCorrupt), match=name.rpartition("/")[2]):
        restore(vault, Wish(vault.catalogue.read(2)), target)
    assert Journals(target, worker="r").names() == []


def test_no_backup_is_restored_over_data(place: MemoryPlace, storage: Storage) -> None:
    vault = Vault(place)
    with pytest.raises(InputError, match="never over data"):
        restore(vault, Wish(vault.catalogue.read(2)), storage)
    begun = MemoryStorage()
    restore(vault, Wish(vault.catalogue.read(2)), begun)
    with pytest.raises(InputError, match="another restore was begun"):
        restore(vault, Wish(vault.catalogue.read(1)), begun)


def test_who_writes_to_the_place_meanwhile_stops_the_restore(place: MemoryPlace) -> None:
    vault, target = Vault(place), MemoryStorage()

    def tell(name: str) -> None:
        if name == SECOND_STAGE and not target.tables.get("registry", FIRST):
            feed(Journals(target, worker="w"), [1], name="commands.d")

    with pytest.raises(InputError, match="somebody else writes"):
        restore(vault, Wish(vault.catalogue.read(2), tell=tell), target)
