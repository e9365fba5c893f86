"""Encrypted backups: who has no identity learns nothing from them, and nothing secret is ever shown."""

from __future__ import annotations

import logging
import os
import sys
import tomllib
from pathlib import Path

import pytest

from observer_core.backup.manifest import Catalogue
from observer_core.backup.objects import Damaged, Objects
from observer_core.backup.place import NewTar, TarPlace
from observer_core.backup.sealing import Identity, IndexKey, Plain, Sealed, check_recipients
from observer_core.backup.vault import Vault
from observer_core.backup.verifying import Verifier
from observer_core.runtime.settings import Settings, load
from observer_core.shared.errors import ConfigError, InputError, StorageCorrupt
from observer_core.storage.journals import Journals
from observer_core.storage.memory import MemoryStorage
from tests.support.toys import Chain, feed
from tests.support.vaults import MemoryPlace, back_up, bring_back, everything


@pytest.fixture
def identity(tmp_path: Path) -> tuple[Path, Identity]:
    path = tmp_path / "keys" / "backup.age"
    Identity.make(path)
    return path, Identity.read(path)


@pytest.fixture
def key(identity: tuple[Path, Identity]) -> IndexKey:
    return IndexKey.new(identity[1].recipients)


@pytest.fixture
def storage() -> MemoryStorage:
    storage = MemoryStorage()
    Chain(storage, total=60).run()
    return storage


def sealed(place: MemoryPlace, key: IndexKey, storage: MemoryStorage) -> Vault:
    """What the machine that makes backups knows: the index's key, and no identity."""
    vault = Vault(place)
    vault.lay_down(key)
    back_up(storage, place, seal=key.id, vault=vault)
    return vault


def test_who_has_the_identity_restores_and_nobody_else(
    storage: MemoryStorage, key: IndexKey, identity: tuple[Path, Identity], tmp_path: Path
) -> None:
    place = MemoryPlace()
    writer = sealed(place, key, storage)
    again, _ = bring_back(place, vault=Vault(place, identity=identity[1]))
    assert everything(again) == everything(storage)
    with pytest.raises(InputError, match="give the identity"):
        bring_back(place, vault=writer)
    with pytest.raises(InputError, match="give the identity"):
        bring_back(place, vault=Vault(place))
    Identity.make(tmp_path / "other")
    with pytest.raises(StorageCorrupt, match="for another identity"):
        bring_back(place, vault=Vault(place, identity=Identity.read(tmp_path / "other")))


def test_nothing_of_the_store_can_be_read_in_the_files_or_their_names(
    storage: MemoryStorage, key: IndexKey
) -> None:
    place, plain = MemoryPlace(), MemoryPlace()
    sealed(place, key, storage)
    back_up(storage, plain)
    words = [*Journals(storage, worker="r").names(), "source", "price", "alarms", "digest", "snapshots/"]
    assert not [word for word in words for data in place.data.values() if word.encode() in data]
    # The names are no hashes of what somebody could compute.
    assert not set(place.data) & {name for name in plain.data if name.startswith("objects/")}
    other = MemoryPlace()
    sealed(other, IndexKey.new(key.recipients), storage)
    assert not {n for n in place.data if n.startswith("objects/")} & set(other.data)
    secrets = (key.secret, key.secret.hex().encode())
    assert not [data for data in place.data.values() if any(secret in data for secret in secrets)]


def test_the_next_backup_is_small_without_the_identity(storage: MemoryStorage, key: IndexKey) -> None:
    place = MemoryPlace()
    writer = sealed(place, key, storage)
    first = writer.catalogue.read(1)
    feed(Journals(storage, worker="w"), [1], name="commands.d")
    again = Vault(place, {key.id: key})  # another process of the same store
    second = back_up(storage, place, seal=key.id, vault=again).manifest
    assert second.written < first.written / 3
    assert set(again.catalogue.verified()) == {1, 2}


def test_without_identity_every_file_is_still_checked_byte_for_byte(
    storage: MemoryStorage, key: IndexKey, identity: tuple[Path, Identity]
) -> None:
    place = MemoryPlace()
    writer = sealed(place, key, storage)
    manifest = writer.catalogue.read(1)
    checked = Verifier(writer).check(manifest)
    assert (checked.depth, checked.findings) == ("files", [])
    full = Verifier(Vault(place, identity=identity[1])).check(manifest)
    assert (full.depth, full.findings, full.records) == ("content", [], checked.records)
    for name in [name for name in place.data if name.startswith("objects/")]:
        kept = place.data[name]
        place.data[name] = kept[:-1] + bytes([kept[-1] ^ 1])
        assert name.rpartition("/")[2] in {item.name for item in Verifier(writer).check(manifest).findings}
        place.data[name] = kept


def test_from_outside_it_still_shows_when_it_was_made_and_what_it_follows(
    storage: MemoryStorage, key: IndexKey
) -> None:
    place = MemoryPlace()
    sealed(place, key, storage)
    manifest = Catalogue(place).read(1)
    assert (manifest.number, manifest.store, manifest.seal) == (1, "mine", key.id)
    assert manifest.records > 60
    assert Verifier(Vault(place)).check(manifest).depth == "outside"


def test_other_recipients_get_another_key_and_can_read_what_is_made_for_them(
    storage: MemoryStorage, key: IndexKey, tmp_path: Path
) -> None:
    place = MemoryPlace()
    writer = sealed(place, key, storage)
    Identity.make(tmp_path / "new")
    new = Identity.read(tmp_path / "new")
    other = IndexKey.new([*key.recipients, *new.recipients])
    assert other.id != key.id
    writer.lay_down(other)
    back_up(storage, place, seal=other.id, vault=writer)
    again, _ = bring_back(place, vault=Vault(place, identity=new))
    assert everything(again) == everything(storage)
    assert not [f for n in (1, 2) for f in Verifier(writer).check(writer.catalogue.read(n)).findings]


def test_one_in_a_tar_file_needs_nothing_besides_the_identity(
    storage: MemoryStorage, key: IndexKey, identity: tuple[Path, Identity], tmp_path: Path
) -> None:
    place = NewTar(tmp_path / "b.tar")
    vault = Vault(place)
    vault.lay_down(key)
    back_up(storage, place, seal=key.id, vault=vault, resumable=False)
    place.finished()
    place.close()
    read = TarPlace(tmp_path / "b.tar")
    again, _ = bring_back(read, vault=Vault(read, identity=identity[1]))
    assert everything(again) == everything(storage)
    read.close()


def test_no_secret_is_shown(
    identity: tuple[Path, Identity], key: IndexKey, caplog: pytest.LogCaptureFixture
) -> None:
    path, found = identity
    secret = path.read_text().splitlines()[-1]
    assert secret.startswith("AGE-SECRET-KEY-1")
    shown = repr([found, key, Sealed(key, found), Vault(MemoryPlace(), {key.id: key}, found)])
    shown += str(found) + str(key)
    assert secret not in shown
    assert key.secret.hex() not in shown
    assert repr(key.secret) not in shown
    with caplog.at_level(logging.DEBUG):
        Objects(MemoryPlace(), Sealed(key, found)).put(b"x")
    assert secret not in caplog.text


def test_a_secret_key_among_the_recipients_is_refused_and_not_repeated(
    identity: tuple[Path, Identity], tmp_path: Path
) -> None:
    secret = identity[0].read_text().splitlines()[-1]
    for text in (secret, secret.lower()):
        (tmp_path / "observer.toml").write_text(f'[backup]\nencrypt = {{ recipients = ["{text}"] }}\n')
        with pytest.raises(ConfigError, match="secret key of an identity") as refused:
            load(tmp_path / "observer.toml")
        assert text not in str(refused.value)


def test_recipients_that_are_none_are_refused(identity: tuple[Path, Identity]) -> None:
    good = identity[1].recipients[0]
    check_recipients([good])
    with pytest.raises(ConfigError, match="is no recipient of age"):
        check_recipients([good[:-1] + ("q" if good[-1] != "q" else "p")])
    with pytest.raises(ValueError, match="recipients"):
        Settings(**tomllib.loads('[backup]\nencrypt = { recipients = ["ssh-ed25519 AAAA"] }'))


def test_an_identity_that_others_may_read_or_that_is_none_is_refused(
    identity: tuple[Path, Identity], tmp_path: Path
) -> None:
    path = identity[0]
    assert path.stat().st_mode & 0o777 == 0o600
    path.chmod(0o640)
    with pytest.raises(ConfigError, match="chmod 600"):
        Identity.read(path)
    with pytest.raises(ConfigError, match="cannot be read"):
        Identity.read(tmp_path / "none")
    bad = tmp_path / "bad"
    bad.write_text("# a comment\nAGE-SECRET-KEY-1NOTONE\n")
    os.chmod(bad, 0o600)
    with pytest.raises(ConfigError, match="is no identity of age") as refused:
        Identity.read(bad)
    assert "NOTONE" not in str(refused.value)
    with pytest.raises(InputError, match="File exists"):
        Identity.make(path)


def test_without_pyrage_it_says_how_to_install_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pyrage", None)
    with pytest.raises(ConfigError, match=r"pip install 'qts-observer\[backup\]'"):
        check_recipients(["age1x"])


def test_plain_contents_are_compressed_where_that_helps() -> None:
    seal = Plain()
    assert len(seal.close(b"a" * 10_000, index=False)) < 100
    noise = os.urandom(1000)
    assert len(seal.close(noise, index=False)) == 1001
    assert seal.close(b"PAR1" + b"a" * 100, index=False) == b"rPAR1" + b"a" * 100
    for content in (b"", b"a" * 10_000, noise):
        assert seal.open(seal.close(content, index=False), len(content), index=False) == content
    with pytest.raises(StorageCorrupt, match="does not decompress"):
        seal.open(b"zno", 5, index=False)


def test_a_changed_index_does_not_decrypt(key: IndexKey) -> None:
    place = MemoryPlace()
    objects = Objects(place, Sealed(key))
    ref = objects.put_json({"a": 1})
    name = f"objects/{ref.name[:2]}/{ref.name}"
    forged = place.data[name][:-1] + bytes([place.data[name][-1] ^ 1])
    with pytest.raises(StorageCorrupt, match="does not decrypt"):
        objects.seal.open(forged, ref.size, index=True)
    place.data[name] = forged
    with pytest.raises(Damaged, match="hashes to something else"):
        objects.get_json(ref)
