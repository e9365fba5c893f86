"""The gate of every subject of a domain, as `decision_pipeline.gate.evaluate` answers for each of them.

What decides whether a subject is open, beside the time, are the sources that observe it, whether it is
silent or closed in them, and whether something stands on it alone. Subjects that agree in all that are
one group: one answer says of all of them whether they are open, blocked or unknown, until a journal
moves or the next age is reached. Only rows that speak of their subject alone are worked out one by one.

A subject is *blocked* where a block, a kill switch or a quarantine closes it, *unknown* where it is denied
for other reasons alone (nobody knows, too old, too late, closed session), and otherwise *open*. Listed are
all subjects that a source observes, and those that something stands on though no source does.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final, Literal, cast

from observer_core.decision_pipeline.gate import GateAnswer, GateInputs, GateRequest, evaluate
from observer_core.decision_pipeline.scopes import DOMAIN, source_scope, subject_scope
from observer_core.runtime.gate.views import DomainView
from observer_core.shared.records import ALL, Json

State = Literal["open", "blocked", "unknown"]
STATES: Final[tuple[State, ...]] = ("blocked", "unknown", "open")
"""What needs a look first."""
CLOSING: Final = frozenset(("blocked", "quarantined"))
_RISKS: Final = ("critical", "elevated", "calm", "unknown")
_SUBJECT: Final = subject_scope("")
_ROW: Final = ("subject", "state", "risk", "sources", "since_ns", "until_ns", "reasons")
_NOTHING: Final = GateInputs(sources=(), stages=())


def state_of(answer: GateAnswer) -> State:
    if answer.decision == "allow":
        return "open"
    return "unknown" if CLOSING.isdisjoint(reason["code"] for reason in answer.reasons) else "blocked"


@dataclass(frozen=True, slots=True)
class _Group:
    """Subjects with the same sources (`known`: their places in the inputs).

    `shared`: nothing is said of one of them that is not said of all.
    """

    known: tuple[int, ...]
    subjects: list[str]
    shared: bool


class Groups:
    """The subjects of one domain, in groups."""

    def __init__(self, inputs: GateInputs) -> None:
        self.shape = _shape(inputs)
        known = _known(inputs)
        apart = _apart(inputs, known)
        groups: dict[Any, list[str]] = {}
        for subject, places in known.items():
            groups.setdefault((tuple(places), apart.get(subject)), []).append(subject)
        closed = [ALL in source.closed for source in inputs.sources]
        self.groups = [
            _Group(places, subjects, bool(places) and own is None and not any(closed[at] for at in places))
            for (places, own), subjects in groups.items()
        ]

    def counts(self, inputs: GateInputs, domain: str, now_ns: int) -> dict[State, int]:
        found: dict[State, int] = dict.fromkeys(STATES, 0)
        for group in self.groups:
            request = GateRequest(group.subjects[0], now_ns, domain)
            found[state_of(evaluate(request, _of(inputs, group.known)))] += len(group.subjects)
        return found


class Gates:
    """Counts and boards of domains. Safe from any thread: what is kept is replaced, never changed."""

    def __init__(self) -> None:
        self._groups: dict[str, tuple[GateInputs, Groups]] = {}
        self._counts: dict[str, tuple[GateInputs, int, int, dict[State, int]]] = {}

    def counts(self, view: DomainView, now_ns: int) -> dict[State, int]:
        """How many subjects are open, blocked, unknown now; worked out anew only when it can be otherwise."""
        kept = self._counts.get(view.name)
        if kept is not None and kept[0] is view.inputs and kept[1] <= now_ns < kept[2]:
            return kept[3]
        since_ns, until_ns = steady(view.inputs, now_ns)
        found = self._of(view).counts(view.inputs, view.name, now_ns)
        self._counts[view.name] = view.inputs, since_ns, until_ns, found
        return found

    def board(self, view: DomainView | None, domain: str, now_ns: int) -> dict[str, Any]:
        """`models.Board`."""
        inputs = _NOTHING if view is None else view.inputs
        groups = Groups(inputs) if view is None else self._of(view)
        return board(inputs, groups, domain, now_ns)

    def _of(self, view: DomainView) -> Groups:
        kept = self._groups.get(view.name)
        if kept is not None and kept[0] is view.inputs:
            return kept[1]
        same = kept is not None and kept[1].shape == _shape(view.inputs)
        groups = kept[1] if kept is not None and same else Groups(view.inputs)
        self._groups[view.name] = view.inputs, groups
        return groups


def board(inputs: GateInputs, groups: Groups, domain: str, now_ns: int) -> dict[str, Any]:
    """`models.Board`: the rows that need a look first, then the risky ones, by name."""
    said = _Reasons()
    rows = list(_rows(inputs, groups, domain, now_ns, said))
    order = {state: place for place, state in enumerate(STATES)}
    rows.sort(key=lambda row: (order[row["state"]], _RISKS.index(row["risk"]), row["subject"]))
    counts: dict[State, int] = dict.fromkeys(STATES, 0)
    for row in rows:
        counts[row["state"]] += 1
    return {
        "domain": domain, "now_ns": now_ns, "counts": counts,
        "scopes": sorted({*inputs.blocks, *inputs.quarantined}), "reasons": said.reasons, "rows": rows,
    }  # fmt: skip


def steady(inputs: GateInputs, now_ns: int) -> tuple[int, int]:
    """From when until when (exclusive) no answer changes by time alone."""
    edges = [0, 2**63]
    for source in inputs.sources:
        if source.snapshot_ns is not None:
            edges += (source.snapshot_ns - source.max_age_ns, source.snapshot_ns + source.max_age_ns + 1)
        if source.through_ns is not None:
            edges.append(source.through_ns + source.max_age_ns + 1)
    edges += [
        stage.through_ns + stage.max_lag_ns + 1 for stage in inputs.stages if stage.through_ns is not None
    ]
    return max(edge for edge in edges if edge <= now_ns), min(edge for edge in edges if edge > now_ns)


class _Reasons:
    """Each reason once."""

    def __init__(self) -> None:
        self.reasons: list[Json] = []
        self._places: dict[tuple[Any, ...], int] = {}

    def places(self, reasons: Iterable[Json]) -> list[int]:
        found = []
        for reason in reasons:
            key = tuple(reason.items())
            place = self._places.get(key)
            if place is None:
                place = self._places[key] = len(self.reasons)
                self.reasons.append(reason)
            found.append(place)
        return found


def _rows(
    inputs: GateInputs, groups: Groups, domain: str, now_ns: int, said: _Reasons
) -> Iterator[dict[str, Any]]:
    tense = inputs.risk.get("subjects", {})
    for group in groups.groups:
        given = _of(inputs, group.known)
        alone = [s for s in group.subjects if s in tense] if group.shared else group.subjects
        for subject in alone:
            yield _row(subject, given, domain, now_ns, said)
        calm = [s for s in group.subjects if s not in tense] if group.shared else ()
        if calm:
            row = _row(calm[0], given, domain, now_ns, said)
            yield row
            _, *shared = (row[name] for name in _ROW)
            for subject in calm[1:]:
                yield dict(zip(_ROW, (subject, *shared)))


def _row(subject: str, inputs: GateInputs, domain: str, now_ns: int, said: _Reasons) -> dict[str, Any]:
    """`inputs` with those sources alone that observe the subject, or with all where none does."""
    answer = evaluate(GateRequest(subject, now_ns, domain), inputs)
    sources = [source.name for source in inputs.sources if subject in source.subjects]
    scopes = (DOMAIN, subject_scope(subject), *map(source_scope, sources))
    blocks = [entry for scope in scopes for entry in inputs.blocks.get(scope, ())]
    ends = [entry["until_ns"] for entry in blocks]
    endless = None in ends or not inputs.quarantined.isdisjoint(scopes)
    return {
        "subject": subject, "state": state_of(answer),
        "risk": answer.risk if inputs.risk else "unknown", "sources": sources,
        "since_ns": min((entry["since_ns"] for entry in blocks), default=None),
        "until_ns": None if endless else max(ends, default=None), "reasons": said.places(answer.reasons),
    }  # fmt: skip


def _of(inputs: GateInputs, known: Sequence[int]) -> GateInputs:
    """The inputs that an answer about a subject of these sources needs: equal answers, fewer looks."""
    return replace(inputs, sources=[inputs.sources[at] for at in known]) if known else inputs


def _known(inputs: GateInputs) -> dict[str, list[int]]:
    """Every subject, with the sources that observe it."""
    known: dict[str, list[int]] = {}
    for at, source in enumerate(inputs.sources):
        for subject in cast("Iterable[str]", source.subjects):
            known.setdefault(subject, []).append(at)
    for scope in (*inputs.blocks, *inputs.quarantined):
        if scope.startswith(_SUBJECT):
            known.setdefault(scope.removeprefix(_SUBJECT), [])
    return known


def _apart(inputs: GateInputs, known: Mapping[str, Sequence[int]]) -> dict[str, tuple[Any, ...]]:
    """What is said of a subject alone, of those that something is: what stands on it, where it is silent."""
    found: dict[str, tuple[Any, ...]] = {}
    for name, scopes in (("block", inputs.blocks), ("quarantine", inputs.quarantined)):
        for scope in scopes:
            if scope.startswith(_SUBJECT):
                subject = scope.removeprefix(_SUBJECT)
                found[subject] = (*found.get(subject, ()), name)
    for at, source in enumerate(inputs.sources):
        for name, subjects in (("stale", source.stale_subjects), ("closed", source.closed)):
            for subject in cast("Iterable[str]", subjects):
                if at in known.get(subject, ()):
                    found[subject] = (*found.get(subject, ()), name, at)
    return found


def _shape(inputs: GateInputs) -> Any:
    """What the groups follow from."""
    return (
        [(s.name, s.subjects, s.stale_subjects, s.closed) for s in inputs.sources],
        {scope for scope in inputs.blocks if scope.startswith(_SUBJECT)}, inputs.quarantined,
    )  # fmt: skip
