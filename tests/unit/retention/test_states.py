"""Stages go on from states: live one a day, and from what is kept where another version's cannot be read."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from observer_core.pattern_record.recogniser import Recogniser
from observer_core.runtime.engine import EngineOptions
from observer_core.runtime.observer import Observer
from observer_core.runtime.study.whatif import redecide
from observer_core.shared.errors import Pruned, StateFormat
from observer_core.storage.epochs import Build
from observer_core.storage.memory import MemoryStorage
from observer_core.storage.ports import Op
from tests.support.ageing import DAY_NS, HOURS, Market
from tests.support.market import BUILD
from tests.unit.retention.conftest import Aged


def with_options(market: Market, build: Build = BUILD, **options: Any) -> Market:
    market.observer = Observer(
        market.settings, market.storage, clock=market.clock, build=build, options=EngineOptions(**options)
    )
    market.journals = market.observer.journals
    return market


def test_live_a_stage_has_a_state_of_every_day_however_little_it_takes_in(tmp_path: Path) -> None:
    market = with_options(Market(tmp_path, MemoryStorage()))
    market.live(5 * 24)
    for name in ("patterns.one", "events.live", "decisions.live", "routes.live"):
        first, *states = market.journals.open(name).states()
        gaps = [after.through_ns - before.through_ns for before, after in pairwise(states)]
        assert len(states) >= 3, name
        assert all(DAY_NS <= gap < DAY_NS + DAY_NS // 8 for gap in gaps), name
        assert first.position == 1


def test_a_recording_has_none_for_its_days(tmp_path: Path) -> None:
    market = with_options(Market(tmp_path, MemoryStorage()))
    market.live(24)
    market.clock.advance(400 * DAY_NS)  # what is worked now is history
    for _ in range(3 * 24):
        market.hour += 1
        market.observer.domain("live")
    before = len(market.journals.open("patterns.one").states())
    market.observer.domain("live").work(refresh=True, flush=True)
    assert len(market.journals.open("patterns.one").states()) == before


def test_what_another_version_wrote_is_begun_again_from_what_is_kept(
    aged: Aged, monkeypatch: pytest.MonkeyPatch
) -> None:
    market = aged()
    market.retain()
    assert market.bases()["snapshots.one"] == 192
    original = Recogniser.load

    def load(self: Recogniser, blob: bytes) -> Any:
        if blob in old:
            raise StateFormat("the state of another version")
        return original(self, blob)

    blobs = market.storage.blobs.data
    old = {data for name, data in blobs.items() if name.startswith("patterns.one/")}
    monkeypatch.setattr(Recogniser, "load", load)
    newer = with_options(
        Market(market.settings.paths.root, market.storage, HOURS), Build("2.0", "lock"),
        state_entries=20, state_seconds=1e9,
    )  # fmt: skip
    newer.live(30)
    assert newer.digest()["patterns.one"][0] > market.bases()["patterns.one"]
    assert newer.observer.domain("live").recogniser("one").journal.head().epoch == 2
    newer.verified()
    journal = newer.journals.open("patterns.one")
    assert journal.checkpoint("snapshots.one") == {"position": newer.digest()["snapshots.one"][0]}
    from observer_core.runtime.audit.replay import replay

    found = replay(newer.journals, "patterns.one", "2.0")
    assert found.problem is None
    assert found.equal
    assert found.entries > 20


def test_what_is_left_is_decided_again_from_the_first_state_of_use(aged: Aged) -> None:
    market = aged()
    whole = redecide(market.journals, "live", market.observer.decisions)
    market.retain()
    kept = redecide(market.journals, "live", market.observer.decisions)
    assert 0 < len(kept.recorded) < len(whole.recorded)
    assert [one.id for one in kept.decided] == [one.id for one in kept.recorded]
    assert kept.recorded == whole.recorded[-len(kept.recorded) :]
    assert kept.began_ns > whole.began_ns
    for row in market.storage.tables.query("decisions.live", "s.", "s.~"):
        market.storage.tables.commit("decisions.live", [Op("delete", row.key)])
    with pytest.raises(Pruned, match="was removed on"):
        redecide(market.journals, "live", market.observer.decisions)
