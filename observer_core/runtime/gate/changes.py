"""What has changed at the gate: blocks and their ends, in the order of the decisions journal.

A cursor is a position in that journal, so nothing is missed between two looks. What closes the gate
by age alone (staleness, lag) is no change: an answer's `valid_until` covers it.
"""

from __future__ import annotations

from typing import Any, Final

from observer_core.decision_pipeline.gate import GateInputs
from observer_core.shared.clock import format_time
from observer_core.shared.records import AnyRecord, Decision, Json, Note
from observer_core.storage.journals import Journals

_AT_ONCE: Final = 1_000
_QUARANTINE: Final = "quarantine"
_UNREAD: Final = "a record that concerns it was set aside unread"


class Changes:
    """Reads the decisions of a domain. For any thread."""

    def __init__(self, journals: Journals) -> None:
        self._journals = journals

    def position(self, domain: str) -> int:
        """How far this process knows the decisions to have come; asks the storage only at first."""
        return self._journals.open(f"decisions.{domain}").head(refresh=False).position

    def standing(self, domain: str) -> Json:
        """What is blocked or quarantined now, and the cursor to go on from."""
        head, views = self._journals.open(f"decisions.{domain}").consistent_views()
        inputs = GateInputs.of(views, (), ())
        blocks: list[Json] = [
            {
                "scope": scope, "time": format_time(entry["since_ns"]),
                "until": None if entry["until_ns"] is None else format_time(entry["until_ns"]), **entry,
            }
            for scope, entries in sorted(inputs.blocks.items())
            for entry in entries
        ]  # fmt: skip
        blocks += [
            {"scope": scope, "policy": _QUARANTINE, "reason": _UNREAD, "time": None, "until": None}
            for scope in sorted(inputs.quarantined)
        ]
        return {"domain": domain, "after": head.position, "blocks": blocks}

    def since(self, domain: str, after: int) -> Json:
        """What changed after the cursor, and the next one.

        `reset`: the cursor is none of this journal, which may have been cut after a power failure; what
        was learnt from it counts no more.
        """
        journal = self._journals.open(f"decisions.{domain}")
        last = journal.head().position
        if after > last:
            return {"domain": domain, "after": last, "changes": [], "reset": True}
        last = min(last, after + _AT_ONCE)
        found: list[Json] = []
        for entry in journal.scan(after + 1, last) if last > after else ():
            found.extend({"position": entry.position, **change} for change in _changes(entry.record))
        return {"domain": domain, "after": last, "changes": found, "reset": False}


def _changes(record: AnyRecord) -> list[dict[str, Any]]:
    if isinstance(record, Decision) and record.verdict in ("block", "release"):
        reason = next((str(reason.get("text", "")) for reason in record.reasons), "")
        return [_change(record.verdict, record.scope, record.policy, reason, record.time_ns, record.until_ns)]
    if isinstance(record, Note) and record.kind == "quarantine":
        scopes = record.body.get("scopes") or ["*"]
        return [_change("block", scope, _QUARANTINE, _UNREAD, record.time_ns, None) for scope in scopes]
    if isinstance(record, Note) and record.kind == "redrive" and not record.body.get("count"):
        text = "a record that was set aside is worked again"
        scopes = record.body.get("scopes") or ["*"]
        return [_change("release", scope, _QUARANTINE, text, record.time_ns, None) for scope in scopes]
    return []


def _change(
    verdict: str, scope: str, policy: str, reason: str, time_ns: int, until_ns: int | None
) -> dict[str, Any]:
    return {
        "verdict": verdict, "scope": scope, "policy": policy, "reason": reason, "time": format_time(time_ns),
        "until": None if until_ns is None else format_time(until_ns),
    }  # fmt: skip
