"""How much is stored and how fast it grows; where journals stand, and the anchors over them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from observer_core.runtime.audit.ledger import Ledger
from observer_core.runtime.gate.reader import Gate
from observer_core.runtime.health import Health
from observer_core.runtime.observer import Observer
from observer_core.runtime.reading.ledger import ANCHORS, ledger
from observer_core.runtime.reading.storage import StorageReader, sizes
from observer_core.runtime.settings import load
from observer_core.shared.clock import SECOND
from observer_core.shared.records import Note
from observer_core.storage.counting import CountingStorage
from observer_core.storage.journal import Commit
from observer_core.storage.ledger import LEDGER
from observer_core.storage.local import LocalStorage
from observer_core.storage.memory import MemoryStorage
from tests.support.market import MINUTES, Live, recording, take

HOUR = 3600 * SECOND


def reader(it: Observer) -> StorageReader:
    return StorageReader(it, Gate(it.journals, it.settings, it.clock))


def filled(tmp_path: Path, hours: int = 30, **settings: Any) -> Live:
    live = Live(tmp_path, LocalStorage(tmp_path / "data/observer"), **settings)
    for _ in range(hours):
        live.clock.advance(HOUR)
        live.collect("one", {"a": 1.0})
        live.observer.domain("live").tick()
    live.observer.domain("live").work(flush=True)
    return live


def test_sizes_are_those_of_the_files(tmp_path: Path) -> None:
    live = filled(tmp_path)
    live.observer.close()
    data = tmp_path / "data/observer"
    found = sizes(data)
    written = sum(path.stat().st_size for path in (data / "snapshots").rglob("*.ndjson"))
    assert found["snapshots"] == written > 0
    assert found["index"] >= (data / "journal.db").stat().st_size
    assert found["free"] > 0


def test_growth_is_what_live_journals_have_got_in_their_last_day(tmp_path: Path) -> None:
    live = filled(tmp_path)
    take(live.observer, recording(tmp_path / "desk.csv"))
    found = reader(live.observer).read()
    journals = {item["journal"]: item for item in found["journals"]}
    snapshots = live.observer.journals.open("snapshots.one")
    assert journals["snapshots.one"]["records"] == snapshots.head().position == 31
    assert journals["snapshots.one"]["last_day"] == 24
    assert journals["snapshots.desk"]["last_day"] == journals["snapshots.desk"]["records"] > MINUTES
    newest = sum(len(line) + 1 for _, lines in snapshots.raw(8) for line in lines)
    lives = [
        name for name, item in journals.items() if item["domain"] == "live" and name != "snapshots.one"
    ]  # fmt: skip
    others = sum(
        len(line) + 1
        for name in lives
        for _, lines in live.observer.journals.open(name).raw()
        for line in lines
    )
    assert 0.9 * newest <= found["bytes_a_day"] <= newest + others + 100
    assert set(found["folders"]) == {"snapshots", "patterns", "events", "decisions", "state", "index"}
    assert (found["where"], found["cost"], found["operations"]) == ("files in data/observer", None, None)
    assert found["free"] > 0
    live.clock.advance(25 * HOUR)
    assert reader(live.observer).read()["bytes_a_day"] == 0.0
    live.observer.close()


def test_an_account_has_no_folders_but_operations_and_what_they_cost(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AzureWebJobsStorage__accountName", "acct")
    settings = load(root=tmp_path, storage={"kind": "azure", "prefix": "p"})
    storage = CountingStorage(MemoryStorage())
    it = Observer(settings, storage)
    looking = reader(it)
    storage.tables.get("x", "y")
    found = looking.read()
    assert (found["folders"], found["free"]) == (None, None)
    assert found["where"] == "storage account 'acct', prefix 'p'"
    assert found["operations"]["table.read"] >= 1
    cost = found["cost"]
    assert cost["so_far"] > 0
    assert cost["so_far"] == pytest.approx(sum(cost["services"].values()))
    assert cost["a_month"] > cost["so_far"]
    assert (cost["currency"], cost["of"]) == ("USD", "operations of this process")


def test_the_ledger_names_all_heads_and_the_newest_anchors(tmp_path: Path) -> None:
    live = filled(tmp_path, 2)
    it = live.observer
    own = Ledger(it.journals, live.clock, None)
    made = []
    for _ in range(ANCHORS + 5):
        live.clock.advance(SECOND)
        made.append(own.anchor())
    found = ledger(it.journals, it.settings, Health(it).report())
    assert found["heads"].keys() == {
        name for name in it.journals.names() if it.journals.open(name).head().position
    }  # fmt: skip
    head = it.journals.open("snapshots.one").head()
    assert found["heads"]["snapshots.one"] == {
        "position": head.position, "hash": head.hash.hex(), "time_ns": head.time_ns,
    }  # fmt: skip
    assert [anchor["digest"] for anchor in found["anchors"]] == [a.root for a in made[::-1][:ANCHORS]]
    assert found["anchors"][0]["ref"] == f"{LEDGER}@{ANCHORS + 5}"
    assert found["anchors"][0]["journals"] == len(made[-1].heads)
    assert (found["outside"], found["every_ns"]) == (None, None)
    chain = found["chain"]
    assert chain["sound"]
    assert chain["faults"] == []
    assert chain["journals"] == len(it.journals.names())
    assert chain["records"] > 0
    it.close()


def test_a_broken_chain_and_a_record_that_is_no_anchor_are_told(tmp_path: Path) -> None:
    live = filled(tmp_path, 2)
    it = live.observer
    Ledger(it.journals, live.clock, None).anchor()
    journal = it.journals.open(LEDGER)
    journal.commit(journal.head(), Commit(records=[Note(kind="tick", time_ns=live.clock.now_ns(), body={})]))
    report = {
        "checks": {
            "chain:verified": [
                {
                    "componentId": "events.live",
                    "status": "fail",
                    "output": "hash at position 3",
                    "time": "t1",
                },
                {"componentId": "clock.live", "status": "pass", "observedValue": 7, "time": "t2"},
            ]
        }
    }
    found = ledger(it.journals, it.settings, report)
    assert len(found["anchors"]) == 1
    assert found["chain"] == {
        "sound": False, "time": "t2", "journals": 2, "records": 7,
        "faults": [{"journal": "events.live", "text": "hash at position 3"}],
    }  # fmt: skip
    assert ledger(it.journals, it.settings, {})["chain"] is None
    it.close()


@pytest.mark.parametrize(
    ("to", "shown"),
    [
        ({"kind": "file", "path": "/mnt/secret-place/anchors.ndjson"}, "file …/anchors.ndjson"),
        ({"kind": "blob", "container": "kept"}, "container kept"),
        ({"kind": "webhook", "url": {"env": "ANCHOR_URL"}}, "webhook of the environment's ANCHOR_URL"),
    ],
)
def test_where_anchors_go_is_told_without_a_secret(tmp_path: Path, to: dict[str, Any], shown: str) -> None:
    settings = load(root=tmp_path, ledger={"every": "1m", "to": to})
    it = Observer(settings, MemoryStorage())
    found = ledger(it.journals, settings, {})
    assert (found["outside"], found["every_ns"], found["anchors"]) == (shown, 60 * SECOND, [])
