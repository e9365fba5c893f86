"""What an answer of the gate owes to the state of the Observer itself, beside what it has observed."""

from __future__ import annotations

from dataclasses import replace
from typing import Final

from observer_core.decision_pipeline.gate import GateAnswer, denied
from observer_core.safety.clock_jump import Jump
from observer_core.safety.guards import SAFE_MODE
from observer_core.shared.records import Json

_AGES: Final = ("source_stale", "subject_stale", "stage_lag")


def in_safe_mode(answer: GateAnswer) -> GateAnswer:
    """A denial, whatever else there is to say; nothing excuses it."""
    reason: Json = {"code": "safe_mode", "text": SAFE_MODE}
    return denied(answer, [reason])


def after_jump(answer: GateAnswer, jump: Jump | None, now_ns: int) -> GateAnswer:
    """The answer stays what it is; that something is too old only because the clock jumped is said."""
    if jump is None or not jump.forward:
        return answer
    return replace(answer, reasons=tuple(_explained(reason, jump, now_ns) for reason in answer.reasons))


def _explained(reason: Json, jump: Jump, now_ns: int) -> Json:
    age_ns = reason.get("age_ns", reason.get("lag_ns")) if reason["code"] in _AGES else None
    if age_ns is None or now_ns - age_ns >= jump.at_ns:
        return reason
    text = f"{reason['text']}; {jump}, and nothing has come since"
    return {**reason, "text": text, "clock_jump_ns": jump.by_ns}
