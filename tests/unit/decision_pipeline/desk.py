"""A decision pipeline at a desk: feeds it events, commands and time; keeps what it wrote."""

from typing import Any

from observer_core.decision_pipeline.config import DecisionConfig
from observer_core.decision_pipeline.pipeline import DecisionPipeline
from observer_core.decision_pipeline.policy import Policy
from observer_core.shared.clock import SECOND
from observer_core.shared.records import Decision, Event, Note
from observer_core.shared.stage import Entry

MINUTE = 60 * SECOND
DAY = 86_400 * SECOND
T0 = 1_700_000_000 * SECOND


def event(kind: str = "pattern.spike", at: int = T0, **changes: Any) -> Event:
    """An event as the publisher writes it; `data` is merged into the pattern's."""
    source, subject = changes.pop("source", "binance"), changes.pop("subject", "BTC/USDT")
    severity = changes.pop("severity", "critical")
    data: dict[str, Any] = {
        "series": [[source, subject, "price"]], "score": 0.9, "severity": severity,
        "snapshot": f"snapshots.{source}@7", "event_ns": at - SECOND, "cadence_ns": SECOND,
    }  # fmt: skip
    data.update(changes.pop("data", {}))
    values: dict[str, Any] = {
        "id": "e", "source": f"/qts/observer/live/{source}", "type": f"io.qts.observer.{kind}",
        "subject": subject, "time_ns": at, "data": data, "partitionkey": f"{source}/{subject}",
        "sequence": "0", "causationid": f"patterns.{source}@1", "correlationid": "i1",
        "severitytext": severity,
    }  # fmt: skip
    return Event(**{**values, **changes})


def policy(**given: Any) -> Policy:
    """A block of 15 minutes on any pattern, but for what is given; a policy of `all` has no match."""
    base: dict[str, Any] = {"name": "halt", "version": 3, "owner": "risk", "description": "for the test"}
    if "all" not in given:
        base["match"] = {"types": ["pattern.*"], **given.pop("match", {})}
    verdict = given.get("verdict", "block")
    if verdict == "block" and "leave" not in given:
        base["until"] = "15m"
    return Policy.model_validate({**base, "verdict": verdict, **given})


QUIET = {"weights": {"info": 0, "warning": 0, "critical": 0}}
"""A judgment that never speaks, for tests of policies."""


class Desk:
    def __init__(
        self,
        *policies: Policy,
        judgment: dict[str, Any] | None = None,
        control: dict[str, Any] | None = None,
    ) -> None:
        config = DecisionConfig.model_validate(
            {"policies": policies, "judgment": judgment or QUIET, "control": control or {}}
        )
        self.stage = DecisionPipeline("live", config)
        self.state = self.stage.initial()
        self.records: list[Decision] = []
        self.position = 0

    def take(self, record: Any, journal: str = "events.live") -> list[Decision]:
        self.position += 1
        made = list(self.stage.transition(self.state, Entry(journal, self.position, record)))
        self.records += made
        return made

    def tick(self, at: int) -> list[Decision]:
        return self.take(Note(kind="tick", time_ns=at, body={}), "clock.live")

    def command(self, command: str, scope: str, at: int = T0, **given: Any) -> list[Decision]:
        body = {"command": command, "scope": scope, "author": "kim", "reason": "drill", "until_ns": None}
        return self.take(Note(kind="command", time_ns=at, body={**body, **given}), "commands.live")

    def blocked(self) -> dict[str, list[str]]:
        """Scope → the policies that block it, as the views say."""
        views = self.stage.views(self.state)
        rows = [row for key, view in views.items() if key.startswith("block.") for row in view["rows"]]
        return {row["scope"]: [entry["policy"] for entry in row["blocks"]] for row in rows}


def said(decisions: list[Decision]) -> list[tuple[str, str, str, str]]:
    """(verdict, policy, scope, code) of each."""
    return [(d.verdict, d.policy, d.scope, d.reasons[0]["code"]) for d in decisions]
