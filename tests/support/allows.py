"""A domain `live` with answers of its gate: records as the gate writes them, in memory."""

from __future__ import annotations

from typing import Any

from observer_core.shared.clock import SECOND
from observer_core.shared.records import Decision, Evaluation, Record
from observer_core.storage.epochs import Epoch
from observer_core.storage.journal import Commit
from observer_core.storage.journals import Journals
from observer_core.storage.memory import MemoryStorage
from tests.support.toys import BUILD, START_NS, note

BTC = "BTC/USDT"
POLICIES = {"policies": [{"name": "stale-feed", "version": 1}], "judgment": {}}


def seconds(number: float) -> int:
    return START_NS + round(number * SECOND)


def answer(at: float, verdict: str = "allow", **changes: Any) -> Evaluation:
    values: dict[str, Any] = {
        "caller": "desk", "caller_type": "strategy", "action": "trade", "resource": BTC,
        "resource_type": "instrument", "context": {}, "rests": {"decisions.live": 1, "snapshots.feed": 3},
        "risk": "calm", "as_of_ns": seconds(at), "valid_until_ns": seconds(at + 20),
        "reasons": () if verdict == "allow" else ({"code": "blocked", "text": "it is blocked"},),
    }  # fmt: skip
    return Evaluation(verdict=verdict, time_ns=seconds(at), **{**values, **changes})  # type: ignore[arg-type]


def decision(at: float, verdict: str, scope: str = f"subject:{BTC}", policy: str = "stale-feed") -> Decision:
    return Decision(
        id=f"{verdict}{at}", verdict=verdict, scope=scope, policy=policy, policy_version=1,  # type: ignore[arg-type]
        reasons=({"code": "matched", "text": "the feed is stale"},), time_ns=seconds(at), causation=(),
        evidence={"block": "block"},
    )  # fmt: skip


class Desk:
    """Journals of a domain, written one record after the other."""

    def __init__(self, journals: Journals | None = None) -> None:
        self.journals = journals or Journals(MemoryStorage(), worker="w")
        self.write("snapshots.feed", note(0), note(1), note(2), note(3))
        self._open("decisions.live", "decide", POLICIES)
        self._open("gate.live", "gate", {"caller": [], "intent": []})

    def write(self, name: str, *records: Record) -> str:
        """The ref of the last of them."""
        journal = self.journals.open(name, "live")
        head = journal.commit(journal.head(), Commit(records=records))
        return f"{name}@{head.position}"

    def answer(self, at: float, verdict: str = "allow", **changes: Any) -> str:
        return self.write("gate.live", answer(at, verdict, **changes))

    def _open(self, name: str, stage: str, config: dict[str, Any]) -> None:
        journal = self.journals.open(name, "live")
        head = journal.head()
        opening, row = Epoch(stage, "1", config, BUILD).opening(head, START_NS)
        journal.commit(head, Commit(records=[opening], epoch=1, extra=[row]))
