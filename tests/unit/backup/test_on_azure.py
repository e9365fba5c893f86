"""A store in an account, backed up to a container, and restored into another part of an account."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from observer_core.maintenance.compaction import CompactionConfig, pack_closed, sweep
from observer_core.runtime.audit.replay import digest_of
from observer_core.runtime.backups import Backups, place_of, restore, vault_at
from observer_core.runtime.settings import load
from observer_core.shared.clock import ManualClock
from observer_core.shared.errors import ConfigError, InputError
from observer_core.storage.journals import Journals
from observer_core.storage.memory import MemoryStorage
from tests.support.toys import BUILD, FIRST, SECOND_STAGE, SOURCE, START_NS, Chain
from tests.support.vaults import everything

if TYPE_CHECKING:
    from observer_core.storage.azure import AzureStorage


def test_from_account_to_container_to_account(
    azure_storage: Callable[..., AzureStorage], azurite: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("STORE", azurite)
    storage = azure_storage()
    to = {"kind": "container", "container": f"b-{storage.prefix}", "connection": "STORE"}
    backup = {"to": to, "keep": {"last": 1, "daily": 0}, "grace": "0s"}
    found = load(
        root=tmp_path, config_dir=tmp_path / "none", backup=backup,
        storage={"kind": "azure", "connection": "STORE", "prefix": storage.prefix},
    )  # fmt: skip
    clock = ManualClock(START_NS)
    chain = Chain(storage, total=120)
    for _ in range(12):
        chain.step()
    place = place_of(found)
    backups = Backups(storage, found, clock, BUILD)
    first = backups.create(place).manifest
    journals = Journals(storage, worker="packer")
    for name in (SOURCE, FIRST, SECOND_STAGE):
        assert list(pack_closed(journals, name, CompactionConfig(after=0, hour_bytes=1)))
        sweep(journals, name)
    chain.step()
    expected = digest_of(Journals(storage, worker="r"))
    made = backups.create(place)
    assert (made.digest, made.manifest.number) == (expected, 2)
    assert made.manifest.parent == (1, first.file)
    checked, whole = backups.verify(place, [1, 2], beside=True)
    assert ([item.findings for item in checked], whole) == ([[], []], [])

    prefix = f"{storage.prefix}r"
    _, done = restore(vault_at(place), f"azure:STORE/{prefix}", clock)
    again = azure_storage(prefix=prefix)
    assert done.digest == expected
    before, after = everything(storage), everything(again)
    for name in (SOURCE, FIRST, SECOND_STAGE):
        assert after[name] == before[name]
    assert Chain(again, total=120).run() == Chain(MemoryStorage(), total=120).run()
    with pytest.raises(InputError, match="never over data"):
        restore(vault_at(place), f"azure:STORE/{prefix}", clock)
    _, local = restore(vault_at(place), str(tmp_path / "new"), clock)
    assert local.digest == expected
    assert backups.prune(place).backups == (1,)
    place.close()


def test_a_place_that_the_environment_does_not_know_is_said(tmp_path: Path) -> None:
    found: Any = load(root=tmp_path, config_dir=tmp_path / "none")
    with pytest.raises(ConfigError, match="NOWHERE__blobServiceUri is not set"):
        place_of(found, "azure:NOWHERE/backups")
