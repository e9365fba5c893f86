"""What a decision follows from, and whether the bytes that say so are those that were committed."""

from __future__ import annotations

from typing import Any

import pytest

from observer_core.maintenance.config import MaintenanceConfig
from observer_core.runtime.maintaining import Maintenance
from observer_core.runtime.reading import lineage as module
from observer_core.runtime.reading.finding import Finder
from observer_core.runtime.reading.lineage import lineage
from observer_core.shared.canonical import decode, encode
from observer_core.shared.errors import ChainBroken
from observer_core.storage.ports import Op
from observer_core.storage.rows import CommitRow
from observer_core.storage.rows import chain as hash_of
from tests.support.web import Site


def block(site: Site) -> str:
    """The block of the price shock."""
    listed = site.get("/v1/decisions?domain=desk&verdict=block&subject=A/USD").json()["items"]
    (found,) = (item["ref"] for item in listed if item["record"]["policy"] == "price-shock")
    return str(found)


def read(site: Site, text: str) -> Any:
    journals = site.observer.journals
    return decode(encode(lineage(journals, Finder(journals), text)))


def chain(step: Any) -> list[str]:
    found = [step["ref"].partition(".")[0]]
    for cause in step["causes"]:
        found += chain(cause)
    return found


def test_it_goes_back_to_the_snapshot_with_the_policy_as_it_was(reading: Site) -> None:
    found = read(reading, block(reading))
    assert chain(found["step"]) == ["decisions", "events", "patterns", "snapshots"]
    assert found["policy_text"].startswith('[[policy]]\nname = "price-shock"\n')
    assert found["verified"] == {"sound": True, "checked": 4, "faults": []}
    assert found["curve"]["label"] == "price_shock up"
    assert len(found["curve"]["time_ms"]) == len(found["curve"]["value"]) > 60
    assert found["curve"]["marked_ms"] in found["curve"]["time_ms"]
    step = found["step"]
    stored = reading.storage.segments.read(step["segment"], step["offset"], step["length"])
    assert decode(stored) == step["record"]


def test_a_release_goes_back_to_its_block(reading: Site) -> None:
    listed = reading.get("/v1/decisions?domain=desk&verdict=release").json()["items"]
    found = read(reading, listed[0]["record"]["id"])
    assert chain(found["step"])[-4:] == ["decisions", "events", "patterns", "snapshots"]
    assert found["verified"]["sound"]


def test_an_answer_of_the_gate_has_one_too(site: Site) -> None:
    identity = site.get("/v1/gate/ETH%2FUSDT").json()["id"]
    found = read(site, identity)
    assert found["step"]["ref"] == identity
    assert chain(found["step"])[:2] == ["gate", "decisions"]
    assert found["verified"]["sound"]


def test_no_more_causes_are_followed_than_fit_and_the_rest_is_named(
    reading: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "SIZE", 1)
    found = read(reading, block(reading))
    assert chain(found["step"]) == ["decisions"]
    assert found["step"]["facts"][-1].startswith("not followed here: events.desk@")
    assert found["verified"]["checked"] == 1


def test_a_changed_byte_of_the_chain_is_a_fault_and_names_where(site: Site) -> None:
    found = read(site, block(site))
    snapshot = found["step"]["causes"][0]["causes"][0]["causes"][0]
    data = site.storage.segments.data[snapshot["segment"]]  # type: ignore[attr-defined]
    place = data.index(b'"close":[', snapshot["offset"]) + 10
    data[place] = data[place] ^ 1
    found = read(site, block(site))
    assert found["verified"]["sound"] is False
    assert found["verified"]["checked"] == 4
    (fault,) = found["verified"]["faults"]
    assert fault.startswith(f"{snapshot['ref']}: positions ")
    assert "committed was" in fault


def test_a_commit_that_does_not_follow_the_one_before_is_a_fault(site: Site) -> None:
    ref = block(site)
    name, _, position = ref.partition("@")
    rows = site.storage.tables.data[name]  # type: ignore[attr-defined]
    before = next(row for row in map(CommitRow.of, map(rows.get, sorted(k for k in rows if k[:2] == "r.")))
                  if row.last == int(position) - 1)  # fmt: skip
    changed = before._replace(hash=bytes(32))
    rows[before.key] = rows[before.key]._replace(value=changed.value())
    faults = read(site, ref)["verified"]["faults"]
    assert any("the one before it ends in 0000000000000000" in fault for fault in faults)


def test_a_byte_that_was_changed_with_its_own_commit_is_a_fault_all_the_same(site: Site) -> None:
    found = read(site, block(site))
    snapshot = found["step"]["causes"][0]["causes"][0]["causes"][0]
    name, _, position = snapshot["ref"].partition("@")
    row = next(site.observer.journals.open(name).rows(from_position=int(position)))
    data = site.storage.segments.data[row.segment]  # type: ignore[attr-defined]
    place = data.index(b'"close":[', snapshot["offset"]) + 10
    data[place] = data[place] ^ 1
    lines = bytes(data[row.offset : row.offset + row.length]).split(b"\n")[:-1]
    changed = row._replace(hash=hash_of(row.previous, lines))
    site.storage.tables.commit(name, [Op("upsert", changed.key, changed.value())])
    (fault,) = read(site, found["step"]["ref"])["verified"]["faults"]
    assert fault.startswith(f"{snapshot['ref']}: the commit ends in ")


def test_a_head_that_says_something_else_is_a_fault_of_the_newest_decision(site: Site) -> None:
    newest = site.get("/v1/decisions?domain=desk&limit=1").json()["items"][0]["ref"]
    name = newest.partition("@")[0]
    head = site.observer.journals.open(name).head()
    site.storage.tables.commit(name, [Op("upsert", "head", head._replace(hash=bytes(32)).value())])
    faults = read(site, newest)["verified"]["faults"]
    assert f"{newest}: " in faults[-1]
    assert "what comes after it follows 0000000000000000" in faults[-1]


def test_a_packed_file_that_was_changed_after_it_was_read_is_a_fault(site: Site) -> None:
    config = MaintenanceConfig.model_validate({"compaction": {"after": 0, "hour_bytes": 1, "day_bytes": 1}})
    ref = block(site)
    Maintenance(site.observer.journals, site.clock, config).round()
    found = read(site, ref)
    snapshot = found["step"]["causes"][0]["causes"][0]["causes"][0]
    assert snapshot["segment"].endswith(".parquet")
    assert found["verified"] == {"sound": True, "checked": 4, "faults": []}
    kept = site.storage.archives.data  # type: ignore[attr-defined]
    kept[snapshot["segment"]] = kept[snapshot["segment"]][:-1] + b"?"
    (fault,) = read(site, ref)["verified"]["faults"]
    assert fault.startswith(f"{snapshot['ref']}: ")
    assert "is not the file of" in fault


def test_bytes_that_are_gone_are_no_chain_at_all(site: Site) -> None:
    found = read(site, block(site))
    event = found["step"]["causes"][0]
    del site.storage.segments.data[event["segment"]]  # type: ignore[attr-defined]
    with pytest.raises(ChainBroken):
        read(site, found["step"]["ref"])
