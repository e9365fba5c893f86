"""History: what stood at a moment, from the decision records alone.

The same rows as the pipeline's views: a record is all that a block, a release or a
change of risk is.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

from observer_core.decision_pipeline.views import BlockRows, RiskLevel, block_entry
from observer_core.shared.records import Decision, Json


@dataclass(slots=True)
class Standing:
    """Active blocks as scope → policy → entry, and risk levels by scope."""

    blocks: dict[str, dict[str, Json]] = field(default_factory=dict)
    levels: dict[str, RiskLevel] = field(default_factory=dict)

    def apply(self, decision: Decision) -> None:
        standing = self.blocks.get(decision.scope, {})
        match decision.verdict:
            case "block":
                self.blocks.setdefault(decision.scope, {})[decision.policy] = block_entry(decision)
            case "release" if decision.policy in standing:
                del standing[decision.policy]
                if not standing:
                    del self.blocks[decision.scope]
            case "judgment" if decision.policy == "risk":
                self.levels[decision.scope] = decision.reasons[0]["level"]

    def views(self) -> dict[str, Json]:
        rows = BlockRows()
        for scope, found in self.blocks.items():
            rows.show(scope, list(found.values()))
        return rows.views({scope: level for scope, level in self.levels.items() if level != "calm"})


def fold(decisions: Iterable[Decision], at_ns: int | None = None) -> Standing:
    """What stood at `at_ns` (its own records included), or after the last record.

    `decisions` are one domain's, in journal order, from its first: their times never
    decrease, so reading stops at the first later one.
    """
    standing = Standing()
    for decision in decisions:
        if at_ns is not None and decision.time_ns > at_ns:
            break
        standing.apply(decision)
    return standing
