"""History: what stood at a moment, from the decision records alone.

The same rows as the pipeline's views: a record is all that a block, a release, an override, a
request or a change of risk is.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

from observer_core.decision_pipeline.blocking import OPERATOR
from observer_core.decision_pipeline.views import (
    BlockRows,
    RiskLevel,
    block_entry,
    override_entry,
    request_entry,
)
from observer_core.shared.records import Decision, Json


@dataclass(slots=True)
class Standing:
    """Active blocks as scope → policy → entry, risk levels and overrides by scope, requests by what asked."""

    blocks: dict[str, dict[str, Json]] = field(default_factory=dict)
    levels: dict[str, RiskLevel] = field(default_factory=dict)
    overrides: dict[str, Json] = field(default_factory=dict)
    requests: dict[str, Json] = field(default_factory=dict)

    def apply(self, decision: Decision) -> None:
        standing = self.blocks.get(decision.scope, {})
        code = decision.reasons[0]["code"]
        match decision.verdict:
            case "block":
                self.blocks.setdefault(decision.scope, {})[decision.policy] = block_entry(decision)
            case "release" if decision.policy in standing:
                del standing[decision.policy]
                if not standing:
                    del self.blocks[decision.scope]
            case "judgment" if decision.policy == "risk":
                self.levels[decision.scope] = decision.reasons[0]["level"]
            case "release" if decision.policy == "override":
                self.overrides[decision.scope] = override_entry(decision)
            case "judgment" if decision.policy == "override" and code == "override_ended":
                self.overrides.pop(decision.scope, None)
            case "non_execution" if decision.policy == OPERATOR and code == "needs_confirmation":
                self.requests[decision.reasons[0]["request"]] = request_entry(decision)
            case _ if decision.policy == OPERATOR and code in ("confirmed", "not_confirmed"):
                self.requests.pop(decision.reasons[0]["request"], None)

    def views(self) -> dict[str, Json]:
        rows = BlockRows()
        for scope, found in self.blocks.items():
            rows.show(scope, list(found.values()))
        tense = {scope: level for scope, level in self.levels.items() if level != "calm"}
        return rows.views(tense, self.overrides.values(), self.requests.values())


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
