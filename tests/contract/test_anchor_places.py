"""What every place of anchors promises: lines are added, in order, and given back as they were."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from observer_core.shared.errors import ConfigError, StorageUnavailable
from observer_core.storage.ledger import AnchorPlace, Point, anchor_note, read_anchors
from observer_core.storage.local.anchors import FileAnchors
from tests.support.toys import START_NS

if TYPE_CHECKING:
    from observer_core.storage.azure import AzureStorage

MONTH_NS = 31 * 86_400 * 10**9
Open = Callable[[], AnchorPlace]


def line(number: int, at_ns: int = START_NS) -> bytes:
    return anchor_note([Point("a.x", number, bytes(32))], at_ns).encode(0)


@pytest.fixture(params=["azure", "file"])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> Open:
    """Opens the same place anew each time."""
    if request.param == "file":
        return lambda: FileAnchors(tmp_path / "made" / "anchors.ndjson")
    from observer_core.storage.azure.anchors import AzureAnchors

    storage: Callable[..., AzureStorage] = request.getfixturevalue("azure_storage")
    return lambda: AzureAnchors(storage(blocks_per_segment=2), "anchors")


def kept(place: Open) -> list[bytes]:
    found = place().read()
    assert found is not None
    return [text.rstrip(b"\n") for text in found]


def test_a_place_that_was_never_used_is_empty(place: Open) -> None:
    assert kept(place) == []


def test_lines_are_given_back_in_their_order_by_whoever_opens_the_place(place: Open) -> None:
    expected = [line(number, START_NS + number * MONTH_NS) for number in range(3)]
    for item in expected:
        place().append(item)
    assert kept(place) == expected


def test_a_full_blob_is_gone_on_from_in_another(place: Open) -> None:
    expected = [line(number) for number in range(5)]
    opened = place()
    for item in expected:
        opened.append(item)
    assert kept(place) == expected


def test_a_line_that_came_twice_is_read_once(place: Open) -> None:
    for _ in range(2):
        place().append(line(1))
    anchors, faults = read_anchors(kept(place), "place")
    assert ([anchor.line for anchor in anchors], faults) == ([line(1)], [])


def test_a_large_line_is_whole(place: Open) -> None:
    points = [Point(f"snapshots.s{number}", number, bytes(32)) for number in range(3_000)]
    large = anchor_note(points, START_NS).encode(0)
    assert len(large) > 250_000
    place().append(large)
    assert kept(place) == [large]


class TestFile:
    def test_a_line_that_a_crash_has_torn_is_ended_and_the_next_one_is_whole(self, tmp_path: Path) -> None:
        path = tmp_path / "anchors"
        path.write_bytes(line(1) + b"\n" + line(2)[:40])
        FileAnchors(path).append(line(2))
        assert read_anchors(FileAnchors(path).read(), "F")[1] == []
        assert path.read_bytes().splitlines() == [line(1), line(2)[:40], line(2)]

    def test_it_never_lies_in_the_store_also_by_a_link(self, tmp_path: Path) -> None:
        (tmp_path / "data").mkdir()
        (tmp_path / "link").symlink_to(tmp_path / "data")
        for path in (tmp_path / "data" / "anchors", tmp_path / "link" / "anchors"):
            with pytest.raises(ConfigError, match="another disk or machine"):
                FileAnchors(path, tmp_path / "data")
        FileAnchors(tmp_path / "data2" / "anchors", tmp_path / "data")

    def test_what_cannot_be_written_or_read_is_told(self, tmp_path: Path) -> None:
        with pytest.raises(StorageUnavailable, match="cannot append an anchor to .*Is a directory"):
            FileAnchors(tmp_path).append(line(1))
        with pytest.raises(StorageUnavailable, match="cannot read anchors"):
            list(FileAnchors(tmp_path).read())


def test_an_account_that_refuses_is_told_without_its_secrets(azurite: str) -> None:
    from observer_core.storage.azure import AzureStorage
    from observer_core.storage.azure.anchors import AzureAnchors

    values = {"ANCHORS": re.sub("AccountKey=[^;]+", "AccountKey=c2VjcmV0", azurite)}
    place = AzureAnchors(AzureStorage.connect(values, name="ANCHORS", retries=0), "anchors")
    with pytest.raises(StorageUnavailable, match="answered 403") as refused:
        place.append(line(1))
    assert "c2VjcmV0" not in str(refused.value) + repr(place)
    place.close()
