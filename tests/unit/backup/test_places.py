"""What every place promises: a file is there whole or not at all, and is given back as it was put."""

from __future__ import annotations

import os
import tarfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from observer_core.backup.place import FolderPlace, NewTar, Place, TarPlace
from observer_core.shared.errors import ConfigError, InputError, NotFound, StorageError, StorageUnavailable

if TYPE_CHECKING:
    from observer_core.storage.azure import AzureStorage


@pytest.fixture(params=["folder", "new tar", "azure"])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Place]:
    if request.param == "azure":
        from observer_core.storage.azure.places import AzurePlace

        storage: Callable[..., AzureStorage] = request.getfixturevalue("azure_storage")
        opened = storage()
        yield AzurePlace(opened, f"backups-{opened.prefix}")
        return
    made: Place = FolderPlace(tmp_path / "b") if request.param == "folder" else NewTar(tmp_path / "b.tar")
    yield made
    made.close()


def test_what_is_put_is_given_back_and_listed_in_order(place: Place) -> None:
    assert list(place.list()) == []
    contents = {"objects/ab/1": b"", "objects/aa/2": b"x" * 70_000, "manifests/1.json": b"{}", "a.json": b"1"}
    for name, data in contents.items():
        place.put(name, data)
    assert {name: place.get(name) for name in contents} == contents
    assert list(place.list()) == sorted(contents)
    assert list(place.list("objects/")) == ["objects/aa/2", "objects/ab/1"]
    assert list(place.list("objects/a")) == ["objects/aa/2", "objects/ab/1"]
    place.put("a.json", b"2")
    assert place.get("a.json") == b"2"
    place.tidy()
    assert list(place.list()) == sorted(contents)


def test_what_is_deleted_is_gone_and_may_be_deleted_again(place: Place) -> None:
    place.put("objects/ab/1", b"x")
    place.delete("objects/ab/1")
    place.delete("objects/ab/1")
    with pytest.raises(NotFound):
        place.get("objects/ab/1")
    assert list(place.list()) == []


def test_a_folder_in_the_data_folder_is_refused_also_by_a_link(tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "data")
    for path in (tmp_path / "data" / "backups", tmp_path / "link" / "backups", tmp_path / "data"):
        with pytest.raises(ConfigError, match="lost with it"):
            FolderPlace(path, tmp_path / "data")
    FolderPlace(tmp_path / "data2", tmp_path / "data")


def test_a_file_that_a_crash_has_left_half_written_is_none_and_is_tidied_up(tmp_path: Path) -> None:
    place = FolderPlace(tmp_path)
    place.put("objects/ab/1", b"whole")
    nobody = 2**22 + 1  # more than there are processes
    folder = tmp_path / "objects/ab"
    old, young = folder / f".2.{nobody}.88", folder / f".3.{nobody}.88"
    own, running = folder / f".4.{os.getpid()}.88", folder / f".5.{os.getppid()}.88"
    for draft in (old, young, own, running):
        draft.write_bytes(b"ha")
        if draft != young:
            os.utime(draft, (time.time() - 90_000,) * 2)
    assert list(place.list()) == ["objects/ab/1"]
    place.tidy()
    assert not old.exists()
    assert young.exists(), "it may be under way"
    assert not own.exists(), "in a container every process has the number of the one before it"
    assert running.exists()


def test_tidying_up_touches_no_file_of_others_that_lie_beside_it(tmp_path: Path) -> None:
    """The place may be a folder that holds more: the user's own, or the data folder itself."""
    place = FolderPlace(tmp_path)
    others = [tmp_path / ".env", tmp_path / "data/observer/.lock", tmp_path / "home/.ssh.old/.config.d"]
    for path in others:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("mine")
        os.utime(path, (time.time() - 900_000,) * 2)
    place.tidy()
    assert all(path.exists() for path in others)


def test_a_tar_is_no_more_readable_than_what_it_is_a_copy_of(tmp_path: Path) -> None:
    place = NewTar(tmp_path / "b.tar")
    place.put("a", b"x")
    place.finished()
    place.close()
    assert (tmp_path / "b.tar").stat().st_mode & 0o007 == 0


def test_a_tar_file_has_its_name_when_it_is_whole(tmp_path: Path) -> None:
    path = tmp_path / "made" / "b.tar"
    for finish in (False, True):
        place = NewTar(path)
        place.put("objects/ab/1", b"x" * 1000)
        place.put("a.json", b"1")
        place.put("a.json", b"2")
        assert not path.exists()
        if finish:
            place.finished()
        place.close()
        assert path.exists() == finish
        assert list(path.parent.iterdir()) == ([path] if finish else [])
    read = TarPlace(path)
    assert {name: read.get(name) for name in read.list()} == {"a.json": b"2", "objects/ab/1": b"x" * 1000}
    for change in (lambda: read.put("x", b""), lambda: read.delete("a.json")):
        with pytest.raises(StorageError, match="is whole"):
            change()
    with pytest.raises(NotFound):
        read.get("none")
    read.close()
    with tarfile.open(path) as tar:
        assert tar.getnames() == ["objects/ab/1", "a.json", "a.json"]
    with pytest.raises(InputError, match="never written over"):
        NewTar(path)


def test_what_is_no_tar_file_or_a_torn_one_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "b.tar"
    path.write_bytes(b"no" * 5000)
    with pytest.raises(InputError, match="not a whole tar file"):
        TarPlace(path)
    with pytest.raises(StorageUnavailable, match="No such file"):
        TarPlace(tmp_path / "none.tar")


def test_where_it_is_is_said_without_a_secret(place: Place, request: pytest.FixtureRequest) -> None:
    said = repr(place)
    assert any(word in said for word in ("folder", "tar file", "container"))
    assert "Key=" not in said
