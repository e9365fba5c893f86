"""A small live market over days, hour by hour, whose records grow old; and all that can be asked of it."""

from __future__ import annotations

import copy
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np

from observer_core.maintenance.config import MaintenanceConfig
from observer_core.runtime import operate
from observer_core.runtime.audit.explain import Explainer
from observer_core.runtime.audit.replay import Replayed, computed, replay
from observer_core.runtime.audit.stored import at
from observer_core.runtime.engine import EngineOptions
from observer_core.runtime.gate.desk import GateDesk, Question
from observer_core.runtime.gate.reader import Gate
from observer_core.runtime.maintaining import Maintenance
from observer_core.runtime.observer import Observer
from observer_core.runtime.retaining import Retention, Run
from observer_core.runtime.settings import load
from observer_core.shared.clock import SECOND, ManualClock
from observer_core.shared.errors import Pruned
from observer_core.shared.records import Decision, Evaluation, Snapshot
from observer_core.storage.memory import MemoryStorage
from observer_core.storage.ports import Storage
from observer_core.storage.verify import Verified, verify
from tests.support.market import BUILD, GENERIC

HOUR_NS = 3600 * SECOND
DAY_NS = 24 * HOUR_NS
START_NS = 1_522_886_400 * SECOND  # 2018-04-05T00:00Z
HOURS = 12 * 24
PACKING = {"compaction": {"after": 0, "hour_bytes": 1, "day_bytes": 1}}
RULES = {
    "rule": [
        {"journals": "snapshots.*", "keep": "3d"}, {"journals": "patterns.*", "keep": "4d"},
        {"journals": "operations.*", "keep": "forever"}, {"keep": "5d"},
    ],
    "decisions_floor": "5d",
}  # fmt: skip
POLICIES = """
[[policy]]
name = "spike"
version = 1
owner = "desk"
description = "Every spike of a price blocks its subject."
match = { types = ["pattern.spike"] }
verdict = "block"
scope = "subject"
until = "150m"

[[policy]]
name = "silent"
version = 1
owner = "desk"
description = "A silent series blocks its subject until it reports again."
match = { types = ["feed.stale"] }
verdict = "block"
scope = "subject"
until = "resumed"
"""


class Market:
    """Sources `one` (a, b; c in the first days; b silent now and then) and `two` (d), on one storage."""

    def __init__(self, folder: Path, storage: Storage, hour: int = 0, **settings: Any) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "policies.toml").write_text(POLICIES)
        self.hour = hour
        self.clock = ManualClock(START_NS + hour * HOUR_NS)
        self.storage = storage
        sources = [{"name": name, "kind": "push", "max_age": "3h"} for name in ("one", "two")]
        self.settings = load(
            root=folder, config_dir=folder / "none", recognise=GENERIC, source=sources,
            policies=Path("policies.toml"), max_lag="2h",
            **{"retention": RULES, "maintenance": PACKING, "gate": {"views_age": "0s"}, **settings},
        )  # fmt: skip
        options = EngineOptions(state_entries=20, state_seconds=1e9, max_lag_ns=HOUR_NS)
        self.observer = Observer(self.settings, storage, clock=self.clock, build=BUILD, options=options)
        self.journals = self.observer.journals

    # ------------------------------------------------------------------ living

    def live(self, hours: int) -> None:
        """So many hours more. Answers are asked for every seventh, and an operator blocks `a` once."""
        gate = Gate(self.journals, self.settings, self.clock)
        desk = GateDesk(self.observer, gate)
        for _ in range(hours):
            self.hour += 1
            self.clock.advance(HOUR_NS)
            self._collect("one", self._values())
            self._collect("two", {"d": 10 + self.hour % 7 / 10})
            domain = self.observer.domain("live")
            domain.tick()
            domain.refresh()
            domain.work(refresh=True, flush=True)
            if self.hour == 30:
                operate.command(
                    self.journals, self.clock, "live", command="block", scope="subject:a",
                    author="an operator", reason="a test", until_ns=self.clock.now_ns() + 3 * DAY_NS,
                )  # fmt: skip
            if self.hour % 7 == 0:
                for subject in ("a", "b"):
                    desk.ask(Question(caller="alpha", action="order", resource=subject)).result(20)
        desk.stop()

    def _values(self) -> dict[str, float]:
        hour = self.hour
        values = {"a": 100 + 0.05 * (hour * 7 % 11 - 5)}
        if hour % 26 == 25:
            values["a"] *= 1.3
        if not 40 <= hour % 90 < 60:
            values["b"] = 50 + 0.02 * (hour * 5 % 7 - 3)
        if hour < 30:
            values["c"] = 1 + 0.01 * (hour % 5)
        return values

    def _collect(self, source: str, values: dict[str, float]) -> None:
        now = self.clock.now_ns()
        snapshot = Snapshot(
            source=source, event_ns=now, ingest_ns=now, subjects=tuple(values),
            fields={"x": np.array(list(values.values()))},
        )  # fmt: skip
        self.observer.writer(source, "live", "live", now).write([snapshot])

    # ------------------------------------------------------------------ looking after

    def packed(self) -> Market:
        """All that has closed, and swept."""
        config = MaintenanceConfig.model_validate(PACKING)
        retention = self.retention()
        retention._config = retention._config.model_copy(update={"every": 0})
        done = Maintenance(self.journals, self.clock, config, retention).round()
        assert not done.skipped
        return self

    def retention(self, **options: Any) -> Retention:
        return Retention(self.journals, self.settings, self.clock, **options)

    def retain(self, **options: Any) -> Run:
        done = self.retention().run(**options)
        assert not done.skipped, done.skipped
        return done

    # ------------------------------------------------------------------ asking

    def digest(self) -> dict[str, tuple[int, str]]:
        """The heads, those of the operations journal apart."""
        found = {name: self.journals.open(name).head() for name in self.names()}
        return {name: (head.position, head.hash.hex()) for name, head in found.items()}

    def names(self) -> list[str]:
        return [name for name in self.journals.names() if not name.startswith("operations.")]

    def bases(self) -> dict[str, int]:
        return {name: self.journals.open(name).base().position for name in self.names()}

    def verified(self) -> list[Verified]:
        found = [verify(self.journals.open(name)) for name in self.journals.names()]
        assert [one.fault for one in found] == [None] * len(found)
        return found

    def replayed(self) -> dict[str, Replayed]:
        found = {name: replay(self.journals, name, BUILD.version) for name in computed(self.journals)}
        assert [one.problem for one in found.values()] == [None] * len(found)
        assert all(one.equal for one in found.values())
        return found

    def explained(self) -> dict[str, Any]:
        """What each decision and answer that is kept follows from: refs, hashes, titles and bytes."""
        found = {}
        explainer = Explainer(self.journals)
        for name in ("decisions.live", "gate.live"):
            journal = self.journals.open(name)
            for position in range(journal.base().position + 1, journal.head().position + 1):
                stored = at(journal, position)
                if isinstance(stored.record, Decision | Evaluation):
                    step = explainer.explain(stored)
                    found[stored.ref] = [
                        (one.stored.ref, one.hash, one.title, one.stored.raw, one.policy, one.rests)
                        for one in step.steps()
                    ]
        return found

    def answers(self, hours: Iterable[int]) -> dict[tuple[str, int], Any]:
        """What the gate said of each subject then; None where what it follows from was removed."""
        gate = Gate(self.journals, self.settings, self.clock)
        found: dict[tuple[str, int], Any] = {}
        for hour in hours:
            for subject in "abcd":
                moment = START_NS + hour * HOUR_NS + HOUR_NS // 2
                try:
                    found[subject, hour] = gate.check(subject, domain="live", at_ns=moment).to_json()
                except Pruned:
                    found[subject, hour] = None
        return found


def copied(storage: MemoryStorage) -> MemoryStorage:
    """The same content, apart."""
    made = MemoryStorage()
    for name in ("segments", "blobs", "archives", "tables"):
        port, new = getattr(storage, name), getattr(made, name)
        new.data = copy.deepcopy(port.data)
    made.tables._keys = copy.deepcopy(storage.tables._keys)
    made.tables._version = storage.tables._version
    return made


__all__ = ["DAY_NS", "HOURS", "HOUR_NS", "START_NS", "Market", "copied"]
