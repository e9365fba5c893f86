"""What readers look up: the blocks of scopes in a bounded number of rows, risk, quarantine.

The pipeline's state and the fold of its records (`history`) spell them with the same
functions, so that the two can be compared.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Literal

from observer_core.decision_pipeline.scopes import DOMAIN, source_scope, subject_scope, view_key
from observer_core.shared.records import Decision, Json

RiskLevel = Literal["calm", "elevated", "critical"]
RISK_LEVELS: tuple[RiskLevel, ...] = ("calm", "elevated", "critical")


def block_entry(decision: Decision) -> Json:
    """One standing block, as the decision that set it says."""
    return {
        "policy": decision.policy, "version": decision.policy_version, "severity": decision.severity,
        "reason": decision.reasons[0]["text"], "since_ns": decision.time_ns, "until_ns": decision.until_ns,
        "decision": decision.id,
    }  # fmt: skip


def override_entry(decision: Decision) -> Json:
    """One override that stands, as the decision that began it says."""
    reason = decision.reasons[0]
    return {
        "scope": decision.scope, "author": reason["author"], "principal": reason.get("principal"),
        "since_ns": decision.time_ns, "until_ns": decision.until_ns, "decision": decision.id,
    }  # fmt: skip


def request_entry(decision: Decision) -> Json:
    """One command that waits for a second person, as the decision that says so does."""
    reason = decision.reasons[0]
    return {
        "request": reason["request"], "command": reason["command"], "scope": decision.scope,
        "author": reason["author"], "principal": reason["principal"], "since_ns": decision.time_ns,
        "expires_ns": reason["expires_ns"], "decision": decision.id,
    }  # fmt: skip


def control_row(overrides: Iterable[Json], requests: Iterable[Json]) -> Json:
    """What operators have open: overrides by scope, and requests, the oldest first."""
    return {"overrides": sorted(overrides, key=lambda entry: str(entry["scope"])), "requests": list(requests)}


def block_row(scope: str, entries: Iterable[Json]) -> Json:
    return {"scope": scope, "blocks": sorted(entries, key=lambda entry: str(entry["policy"]))}


def risk_row(levels: Mapping[str, RiskLevel]) -> Json:
    """`levels` maps a scope to its level. Only what is not calm is listed.

    Overall it is never calmer than any scope; the domain's own level counts with them.
    """
    tense = {scope: level for scope, level in sorted(levels.items()) if level != "calm"}
    return {
        "overall": max(tense.values(), key=RISK_LEVELS.index, default="calm"),
        "subjects": _named(tense, "subject:"),
        "sources": _named(tense, "source:"),
    }


class BlockRows:
    """The rows of all blocked scopes, gathered into views.

    A view is a new value whenever one of its rows has changed, and the same object
    otherwise: finding what changed costs nothing for what did not.
    """

    def __init__(self) -> None:
        self._gathered: dict[str, dict[str, Json]] = {}
        self._views: dict[str, Json] = {}
        self._closed: set[str] = set()

    def show(self, scope: str, entries: Sequence[Json]) -> None:
        """These blocks stand on `scope` now (none: it is open)."""
        key = view_key(scope)
        rows = self._gathered.setdefault(key, {})
        if entries:
            rows[scope] = block_row(scope, entries)
        else:
            rows.pop(scope, None)
        if rows:
            self._views[key] = {"rows": [rows[name] for name in sorted(rows)]}
        else:
            self._views.pop(key, None)
        if any(entry["policy"] == "quarantine" for entry in entries):
            self._closed.add(scope)
        else:
            self._closed.discard(scope)

    def views(
        self, levels: Mapping[str, RiskLevel], overrides: Iterable[Json] = (), requests: Iterable[Json] = ()
    ) -> dict[str, Json]:
        """`block.<number>` for what is blocked, `risk`; `control` and `quarantine` if there is anything."""
        views = {**self._views, "risk": risk_row(levels)}
        control = control_row(overrides, requests)
        if control["overrides"] or control["requests"]:
            views["control"] = control
        if self._closed:
            views["quarantine"] = {"scopes": sorted(self._closed)}
        return views


def keys_for(subject: str, sources: Iterable[str]) -> list[str]:
    """The view keys that an answer about `subject`, which `sources` observe, is made from."""
    scopes = (DOMAIN, subject_scope(subject), *map(source_scope, sources))
    return [*map(view_key, scopes), "risk", "quarantine"]


def _named(levels: Mapping[str, RiskLevel], prefix: str) -> dict[str, RiskLevel]:
    return {scope.removeprefix(prefix): level for scope, level in levels.items() if scope.startswith(prefix)}
