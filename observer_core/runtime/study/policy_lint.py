"""What is wrong or strange in a file of policies: every error of it, and what can never do what it says.

An error keeps the file from being used. A warning says that it can be used, and why somebody should
look again; where nothing can be known (a name of a detector of one's own), none is given.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any, Literal

from pydantic import ValidationError

from observer_core.decision_pipeline.matching import Matcher
from observer_core.decision_pipeline.policy import (
    SCORE,
    Bounds,
    Policy,
    PolicyMatch,
    policy_tables,
    refuse_clashes,
)
from observer_core.decision_pipeline.signals import ABSENCES, ENDINGS, TYPE_PREFIX
from observer_core.pattern_record.detectors.anomaly import CHANNELS
from observer_core.shared.conditions import event_kind
from observer_core.shared.config import explain
from observer_core.shared.errors import ConfigError
from observer_core.shared.records import RECOVERIES

_OFTEN = "recurrences return_period_ns"
_ALARM = f"value observed expected scale limit {_OFTEN}"
_MOVE = f"value expected move_bp horizon sigmas limit scale_bp onset_ns {_OFTEN}"
_BOOK = "spread_bp limit_bp usual_bp observations since_ns"
_RELATION = "value expected allowed onset_ns scale low high tolerance told hold lasted_ns accepted target"
_PAIR = "value expected lowest samples expected_samples onset_ns against lasted_ns accepted"
_SILENCE = "channel silence_ns allowed_ns longest_ns joint_silence_ns subjects living back halted of sources"
_INCIDENT = (
    "series_count standing flaps opened_ns last_ns quiet_ns cadence_ns severity state venue first_ns scores "
    "first_patterns merged_into follows"
)
EVIDENCE: Mapping[str, frozenset[str]] = {
    kind: frozenset(names.split())
    for kinds, names in (
        ("pattern.spike", f"{_ALARM} sigmas low high"),
        ("pattern.level_shift", f"{_ALARM} sum onset_ns steps"),
        ("pattern.variance_shift", f"{_ALARM} ratio slow_scale onset_ns"),
        ("pattern.anomaly", f"value expected score {_OFTEN} " + " ".join(f"growth_{c}" for c in CHANNELS)),
        ("pattern.price_shock", f"{_MOVE} others waited"),
        ("pattern.bad_tick", f"{_MOVE} after undone print_ns"),
        ("pattern.drawdown pattern.drawdown_over", "value peak fall_bp scale_bp limit_bp"),
        ("pattern.volatility_regime", f"regime before ratio limit fast_bp slow_bp {_OFTEN}"),
        ("pattern.volume_surge", f"value expected high sigmas limit {_OFTEN}"),
        ("pattern.spread_blowout pattern.spread_normal pattern.crossed_book pattern.book_uncrossed", _BOOK),
        ("pattern.relation_break pattern.relation_restored", _RELATION),
        ("pattern.correlation_break pattern.correlation_restored", _PAIR),
        ("pattern.market_shock", "first_ns scores subjects venues"),
        ("feed.stale feed.resumed feed.halted feed.reopened", _SILENCE),
        ("feed.flat", "value expected_changes change_rate limit"),
        ("feed.unavailable feed.available", "since_ns outage_ns"),
        (
            "incident.opened incident.updated incident.resolved",
            _INCIDENT,
        ),
        ("quarantined redriven dead_letter", ""),
    )
    for kind in kinds.split()
}
"""Event types that are published, and the names in the evidence of each."""
CONDITIONS = frozenset(event_kind(pattern) for pattern in RECOVERIES) | {
    "pattern.volatility_regime", "incident.opened", "incident.updated", "quarantined",
}  # fmt: skip
"""Event types that begin a condition of their own: it stands until another event ends it."""
_WHOLE = frozenset(("feed.unavailable", "feed.available"))

Level = Literal["error", "warning"]


@dataclass(frozen=True, slots=True)
class Remark:
    """`key` is where in the policy; `policy` is its name, `""` for the file as a whole."""

    level: Level
    policy: str
    key: str
    text: str


def lint(path: Path) -> list[Remark]:
    """All remarks, in the order of the file. `ConfigError` when there is no such file."""
    if not path.is_file():
        raise ConfigError(f"{path}: there is no such file; expected TOML with [[policy]] tables")
    try:
        tables = policy_tables(path)
    except ConfigError as error:
        return [Remark("error", "", "", str(error).removeprefix(f"{path}: "))]
    remarks, policies = list[Remark](), list[Policy]()
    for number, table in enumerate(tables, 1):
        name = str(table.get("name", f"number {number}")) if isinstance(table, dict) else f"number {number}"
        try:
            policies.append(Policy.model_validate(table))
        except ValidationError as error:
            remarks += _errors(error, name)
    remarks += _clashes(policies)
    for policy in policies:
        remarks += strange(policy, policies)
    remarks += _missing(policies)
    order = {
        str(t.get("name", f"number {n}")) if isinstance(t, dict) else "": n for n, t in enumerate(tables, 1)
    }
    return sorted(remarks, key=lambda remark: order.get(remark.policy, 0))


def _errors(error: ValidationError, name: str) -> Iterator[Remark]:
    for item in error.errors():
        single = ValidationError.from_exception_data(error.title, [_line(item)])
        key, _, what = str(explain(single, "")).removeprefix(": ").partition(": ")
        yield Remark("error", name, "" if key == "(top level)" else key, what)


def _line(item: Any) -> Any:
    """One finding as pydantic takes it back."""
    kept = {key: item[key] for key in ("type", "loc", "input") if key in item}
    return {**kept, **({"ctx": item["ctx"]} if "ctx" in item else {})}


def _clashes(policies: Iterable[Policy]) -> Iterator[Remark]:
    known: list[Policy] = []
    for policy in policies:
        own = policy if policy.release is None else policy.model_copy(update={"release": None})
        try:
            refuse_clashes([*known, own])
        except ValueError as error:
            yield _named(str(error), policy.name)
            continue
        known.append(own)
    for policy in policies:
        if policy.release is not None:
            try:
                refuse_clashes([*(other for other in known if other.name != policy.name), policy])
            except ValueError as error:
                yield _named(str(error), policy.name)


def _named(text: str, name: str) -> Remark:
    what = text.removeprefix(f"policy {name!r}: ")
    key = "release" if what.startswith("release: ") else "name"
    return Remark("error", name, key, what.removeprefix("release: "))


# ---------------------------------------------------------------------- warnings


def strange(policy: Policy, policies: Iterable[Policy] = ()) -> Iterator[Remark]:
    """What can be used, and should be looked at."""

    def warning(key: str, text: str) -> Remark:
        return Remark("warning", policy.name, key, text)

    releasing = policy.verdict == "release"
    named: list[tuple[str, PolicyMatch, bool]] = []
    if policy.match is not None:
        named.append(("match", policy.match, releasing))
    named += [(f"all.{place}", match, releasing) for place, match in enumerate(policy.all or ())]
    if policy.during is not None:
        named.append(("while", policy.during, False))
    if policy.until is not None and policy.until.match is not None:
        named.append(("until.match", policy.until.match, True))
    for key, match, ends in named:
        for inner, text in _match(match, ends):
            yield warning(f"{key}.{inner}", text)
    kinds = {key: taken(match, releasing=ends) for key, match, ends in named}
    if policy.during is not None and kinds["while"] and not kinds["while"] & CONDITIONS:
        yield warning("while.types", "no such event begins a condition that stands, so it would never act")
    if policy.per == "subject":
        yield from (
            warning(f"{key}.types", "is about a whole source: it agrees with subjects of that source only")
            for key in kinds
            if key != "match" and kinds[key] and kinds[key] <= _WHOLE
        )
    if policy.all is not None and policy.per == "source" and _apart(policy.all):
        yield warning("per", "the matches of all name different sources, so they never agree in one")
    if policy.until is not None and policy.until.resumed and policy.all is None:
        loose = sorted(kinds["match"] - CONDITIONS - ENDINGS)
        if loose and not any("*" in glob for match in policy.matches for glob in match.types):
            yield warning(
                "until",
                f"{loose[0]} has no recovery of its own: the block is held until its incident is resolved, "
                "and where no incident was opened until an operator releases it",
            )
    lasts = None if policy.until is None else policy.until.longest
    after = None if policy.escalate is None else policy.escalate.after
    if after is not None and lasts is not None and after >= lasts:
        yield warning("escalate.after", "the block has ended by then, so it is never raised")
    for number in policy.enter or ():
        if unknown := _unknown(kinds.get("match", frozenset()), number):
            yield warning("enter", unknown)
    until = None if policy.until is None else policy.until.match
    both = until is not None and policy.match is not None and kinds["match"] & kinds["until.match"]
    if both and until is not None and policy.match is not None and _overlap(policy.match, until):
        yield warning(
            "until.match", "may take the event that causes the block: it would end and begin at once"
        )
    owners = {other.name: other.owner for other in policies}
    for name in policy.release or ():
        if owners.get(name, policy.owner) != policy.owner:
            yield warning("release", f"{name} has another owner, {owners[name]}: do they know?")


def _missing(policies: Iterable[Policy]) -> Iterator[Remark]:
    """What nobody blocks on, though another block shows that it is meant."""
    blocked: dict[str, str] = {}
    for policy in policies:
        if policy.verdict == "block" and not policy.shadow and policy.match is not None:
            blocked = {**dict.fromkeys(taken(policy.match), policy.name), **blocked}
    if "feed.stale" in blocked and "feed.halted" not in blocked:
        text = (
            "a venue that falls silent as a whole says feed.halted and not feed.stale; no policy blocks on it"
        )
        yield Remark("warning", blocked["feed.stale"], "match.types", text)


def taken(match: PolicyMatch, *, releasing: bool = False) -> frozenset[str]:
    """The published event types that it takes."""
    matcher = Matcher(match, releasing=releasing)
    return frozenset(kind for kind in EVIDENCE if matcher.takes_type(TYPE_PREFIX + kind, kind))


def _match(match: PolicyMatch, releasing: bool) -> Iterator[tuple[str, str]]:
    known = (*EVIDENCE, *(TYPE_PREFIX + kind for kind in EVIDENCE))
    for glob in match.types:
        if not any(fnmatchcase(kind, glob) for kind in known):
            yield (
                "types",
                f"{glob!r} matches no event type that is published; there are pattern.*, feed.*, incident.*",
            )
        elif not taken(match.model_copy(update={"types": (glob,)}), releasing=releasing):
            why = "what says that something is over must be named in full"
            if any(fnmatchcase(kind, glob) for kind in ABSENCES):
                why = "what says that data are missing never releases anything"
            yield "types", f"{glob!r} takes no event: {why}"
    kinds = taken(match, releasing=releasing)
    for name in match.evidence:
        if text := _unknown(kinds, name):
            yield f"evidence.{name}", text


def _unknown(kinds: frozenset[str], name: str) -> str | None:
    """That no detector gives this number, or that some of those meant do not."""
    if not kinds or name == SCORE:
        return None
    without = sorted(kind for kind in kinds if name not in EVIDENCE[kind])
    if len(without) == len(kinds):
        there = sorted({name for kind in kinds for name in EVIDENCE[kind]})
        shown = ", ".join(there[:12]) or "no evidence"
        return f"none of these events has {name!r}, so it never matches; there are: {shown}"
    return None


def _apart(matches: Iterable[PolicyMatch]) -> bool:
    seen: set[str] = set()
    for match in matches:
        if any("*" in name or "?" in name or "[" in name for name in match.sources) or seen & set(
            match.sources
        ):
            return False
        seen |= set(match.sources)
    return True


def _overlap(one: PolicyMatch, other: PolicyMatch) -> bool:
    """Whether no number tells the two apart."""
    return not any(
        _disjoint(one.evidence[name], other.evidence[name]) for name in one.evidence.keys() & other.evidence
    )


def _disjoint(one: Bounds, other: Bounds) -> bool:
    if one.equals is not None or other.equals is not None:
        fixed, bounds = (one, other) if one.equals is not None else (other, one)
        return not bounds.hold(fixed.equals)
    low = max((bound for bound in (one.min, other.min) if bound is not None), default=None)
    high = min((bound for bound in (one.max, other.max) if bound is not None), default=None)
    return low is not None and high is not None and low > high
