"""The same history under other policies: what would have been decided, and how long it would have blocked.

Reads only: nothing is written anywhere. What the decide stage was given (events, commands, the
clock) is taken from the stored journals in its recorded order, from the first entry on, because what
is decided follows from all that came before. What is left out of a comparison by `since` was computed.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

from observer_core.decision_pipeline.config import DecisionConfig
from observer_core.decision_pipeline.pipeline import DecisionPipeline
from observer_core.decision_pipeline.policy import Policy
from observer_core.runtime.observer import rebuild_pipeline
from observer_core.runtime.rerun import Reader, beginning, rerun_row
from observer_core.shared.records import Decision, Verdict
from observer_core.shared.stage import Entry
from observer_core.storage.journal import Journal
from observer_core.storage.journals import Journals
from observer_core.storage.rows import StateRow

Progress = Callable[[int, int], None]
BY_TIME = frozenset(("expired", "override_ended"))
"""Reasons that follow from an earlier decision and from time."""


@dataclass(frozen=True, slots=True)
class History:
    """What was decided, and what would have been; both in order. `began_ns` to `ended_ns` is all there is."""

    domain: str
    recorded: Sequence[Decision]
    decided: Sequence[Decision]
    began_ns: int
    ended_ns: int
    entries: int


def redecide(
    journals: Journals, domain: str, config: DecisionConfig, progress: Progress = lambda done, total: None
) -> History:  # fmt: skip
    """A domain's history under `config`. Only the policies are other ones if only they differ there.

    Where retention has removed the beginning, from the first state on behind which everything is kept: what
    stood then by the policies of then stands.
    """
    journal = journals.open(f"decisions.{domain}")
    stage, decided = DecisionPipeline(domain, config), list[Decision]()
    start = beginning(journals, journal)
    state = stage.initial() if start is None else _stood(journals, journal, start, stage)
    seq, position = (0, 0) if start is None else (start.seq, start.position)
    rows = list(journal.rows(seq, max(1, position)))
    read, count = Reader(journals, rows), 0
    began_ns = None if start is None else start.through_ns

    def seen(entry: Entry) -> None:
        nonlocal count, began_ns
        count += 1
        began_ns = entry.time_ns if began_ns is None else min(began_ns, entry.time_ns)

    for number, row in enumerate(rows, 1):
        found = rerun_row(journals, stage, state, row, seen, read)
        decided += [record for record in found if isinstance(record, Decision)]
        progress(number, len(rows))
    kept = journal.scan(position + 1)
    recorded = [entry.record for entry in kept if isinstance(entry.record, Decision)]
    head = journal.head()
    # A recording is quiet before its first event.
    firsts = [journals.open(name) for name in journals.names("snapshots", domain)]
    times = [one.entry(1).time_ns for one in firsts if one.head().position and start is None]
    times += [] if began_ns is None else [began_ns]
    ended_ns = max(head.through_ns, head.time_ns, state.time_ns)
    return History(domain, recorded, decided, min(times, default=ended_ns), ended_ns, count)


def _stood(journals: Journals, journal: Journal, row: StateRow, stage: DecisionPipeline) -> Any:
    """The state of a row, of other policies, as `stage` takes it over."""
    if not row.blob:
        raise journal.missing(journal.base().position or 1)
    note: Any = journal.entry(journal.epoch_row(row.epoch)["position"]).record
    then = rebuild_pipeline(note.body["config"])
    return stage.load(then.dump(then.load(journals.storage.blobs.get(row.blob))))


# ---------------------------------------------------------------------- decisions that are others


@dataclass(frozen=True, slots=True)
class Flip:
    """What one entry led to, and what it would have led to. `ref` is the entry: an event, or a command."""

    ref: str
    time_ns: int
    before: tuple[Decision, ...]
    after: tuple[Decision, ...]

    @property
    def change(self) -> str:
        return f"{_verdicts(self.before)} → {_verdicts(self.after)}"


@dataclass(frozen=True, slots=True)
class Flips:
    """`entries`: how many led to a decision, before or after."""

    flips: Sequence[Flip]
    entries: int


def flips(history: History, since_ns: int = 0) -> Flips:
    """The entries of which something else follows: another verdict, scope or end, whoever's policy it is.

    Left out is what follows from time alone (a block's end follows from its `until`), and the risk state.
    """
    before, after = (_by_cause(found, since_ns) for found in (history.recorded, history.decided))
    refs = before.keys() | after.keys()
    found = []
    for ref in refs:
        was, now = before.get(ref, []), after.get(ref, [])
        if Counter(map(_told, was)) != Counter(map(_told, now)):
            time_ns = min(decision.time_ns for decision in (*was, *now))
            found.append(Flip(ref, time_ns, tuple(was), tuple(now)))
    return Flips(sorted(found, key=lambda flip: (flip.time_ns, flip.ref)), len(refs))


def _by_cause(decisions: Iterable[Decision], since_ns: int) -> dict[str, list[Decision]]:
    found: dict[str, list[Decision]] = {}
    for decision in decisions:
        late = decision.time_ns >= since_ns and decision.reasons[0]["code"] not in BY_TIME
        if late and decision.policy != "risk":
            found.setdefault(decision.causation[-1], []).append(decision)
    return found


def _told(decision: Decision) -> tuple[str, str, int | None]:
    return decision.verdict, decision.scope, decision.until_ns


def _verdicts(decisions: Sequence[Decision]) -> str:
    return ", ".join(sorted({decision.verdict for decision in decisions})) or "nothing"


def difference(history: History, since_ns: int = 0) -> list[tuple[str, Decision]]:
    """Every decision that would not have been (`-`), or would have been (`+`), by time; none that is equal.

    Consequences included: ends of blocks, the risk state, what an override lifts.
    """
    counts = [Counter(map(_whole, found)) for found in (history.recorded, history.decided)]
    lines = []
    for sign, found, other in (("-", history.recorded, counts[1]), ("+", history.decided, counts[0])):
        spare = Counter(other)
        for place, decision in enumerate(found):
            key = _whole(decision)
            if spare[key] > 0:
                spare[key] -= 1
            elif decision.time_ns >= since_ns:
                lines.append((decision.time_ns, sign == "+", place, sign, decision))
    return [(sign, decision) for _, _, _, sign, decision in sorted(lines, key=lambda line: line[:3])]


def _whole(decision: Decision) -> tuple[int, str, str, str, int | None, str]:
    code = str(decision.reasons[0]["code"]) if decision.verdict == "non_execution" else ""
    return (
        decision.time_ns, decision.policy, decision.verdict, decision.scope, decision.until_ns, code
    )  # fmt: skip


# ---------------------------------------------------------------------- how long


@dataclass(slots=True)
class Blocked:
    """How often a scope was blocked (or any scope, by any policy), and for how long in all."""

    blocks: int = 0
    spans: list[tuple[int, int]] = field(default_factory=list)

    def add(self, spans: Iterable[tuple[int, int]]) -> None:
        for span in spans:
            self.blocks += 1
            self.spans.append(span)

    @property
    def blocked_ns(self) -> int:
        """Moments at which at least one block stood; overlapping blocks count once."""
        total, reached = 0, 0
        for start, end in sorted(self.spans):
            total += max(0, end - max(start, reached))
            reached = max(reached, end)
        return total

    @property
    def longest_ns(self) -> int:
        return max((end - start for start, end in self.spans), default=0)


@dataclass(frozen=True, slots=True)
class Tested:
    """One policy: its decisions by verdict, its blocks scope by scope and in all."""

    policy: Policy
    verdicts: Counter[Verdict]
    scopes: dict[str, Blocked]
    total: Blocked


@dataclass(frozen=True, slots=True)
class Backtest:
    """From `since_ns` to `until_ns`. `total` is of all policies that do not only watch."""

    domain: str
    since_ns: int
    until_ns: int
    policies: Sequence[Tested]
    total: Blocked

    def share(self, blocked: Blocked) -> float:
        return blocked.blocked_ns / max(1, self.until_ns - self.since_ns)


def acting(config: DecisionConfig) -> DecisionConfig:
    """With the blocks of policies that only watch, so that one sees what they would have done."""
    policies = [
        policy.model_copy(update={"shadow": False}) if policy.verdict == "block" else policy
        for policy in config.policies
    ]
    return config.model_copy(update={"policies": tuple(policies)})


def backtest(history: History, policies: Sequence[Policy], since_ns: int = 0) -> Backtest:
    """What these policies decided in a history that was decided by them."""
    since_ns = max(since_ns, history.began_ns)
    spans = standing(history.decided, since_ns, history.ended_ns)
    found, total = [], Blocked()
    for policy in policies:
        own = {scope: stood for (name, scope), stood in sorted(spans.items()) if name == policy.name}
        scopes, whole = {scope: Blocked() for scope in own}, Blocked()
        for scope, stood in own.items():
            for blocked in (scopes[scope], whole, *([] if policy.shadow else [total])):
                blocked.add(stood)
        verdicts = Counter(
            decision.verdict
            for decision in history.decided
            if decision.policy == policy.name and decision.time_ns >= since_ns
        )
        found.append(Tested(policy, verdicts, scopes, whole))
    return Backtest(history.domain, since_ns, history.ended_ns, found, total)


def standing(
    decisions: Iterable[Decision], since_ns: int, until_ns: int
) -> dict[tuple[str, str], list[tuple[int, int]]]:  # fmt: skip
    """From when to when each policy's block stood on each scope, within these bounds."""
    since: dict[tuple[str, str], int] = {}
    spans: dict[tuple[str, str], list[tuple[int, int]]] = {}

    def close(key: tuple[str, str], end_ns: int) -> None:
        start, end = max(since.pop(key), since_ns), min(end_ns, until_ns)
        if end > start or (end == start and end > since_ns):
            spans.setdefault(key, []).append((start, end))

    for decision in decisions:
        key = decision.policy, decision.scope
        if decision.verdict == "block":
            since.setdefault(key, decision.time_ns)
        elif decision.verdict == "release" and key in since:
            close(key, decision.time_ns)
    for key in list(since):
        close(key, until_ns)
    return spans
