"""Rules: policies at work. What a signal makes of each: what it acts on, and which of its blocks it ends.

A signal that is only remembered (it is counted, or is one part of `all`) leaves no record: nothing
was withheld. What it was remembered for stands in the reasons of the decision that it leads to.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

from observer_core.decision_pipeline.matching import Matched, Matcher, measured
from observer_core.decision_pipeline.memory import Claim, Item, Memory
from observer_core.decision_pipeline.policy import Policy, PolicyMatch, span
from observer_core.decision_pipeline.scopes import DOMAIN, Level, source_scope, subject_scope
from observer_core.decision_pipeline.signals import Signal, is_own
from observer_core.shared.canonical import encode
from observer_core.shared.clock import format_duration, format_time
from observer_core.shared.records import ALL, Json

MOST_CAUSES = 50
"""A decision names so many causes, the newest."""

Stands = Callable[[str, str], bool]
"""Whether a block of this policy stands on this scope, lifted or not."""


@dataclass(slots=True, kw_only=True)
class Fired:
    """A policy that has what it needs to act on a scope. `number`: that of `enter`, None where there is none.

    `begun`: the conditions that a block until resumed waits for; `claims`: the series that ask for it.
    """

    signal: Signal
    scope: str
    text: str
    causes: tuple[str, ...]
    begun: tuple[str, ...]
    claims: tuple[Claim, ...]
    sources: frozenset[str]
    number: float | None = None
    details: Json = field(default_factory=dict)


class Rule:
    """One policy, compiled."""

    def __init__(self, policy: Policy) -> None:
        self.policy = policy
        releasing = policy.verdict == "release"
        self._parts = [Matcher(match, releasing=releasing) for match in policy.matches]
        self._during = None if policy.during is None else Matcher(policy.during)
        until: PolicyMatch | None = policy.until.match if policy.until else None
        if until is None and policy.leave is not None:
            until = policy.match
        self._until = None if until is None else Matcher(until, releasing=True)
        self._per = policy.until.per if policy.until is not None else "series"
        self._count = f"{policy.id} count"
        self._held = f"{policy.id} while"

    def interest(self, full: str, short: str) -> Interest | None:
        """What an event of this type can do here; None: nothing."""
        parts = [at for at, part in enumerate(self._parts) if part.takes_type(full, short)]
        during = self._during is not None and self._during.takes_type(full, short)
        until = self._until is not None and self._until.takes_type(full, short)
        return Interest(self, parts, during, until) if parts or during or until else None

    # ------------------------------------------------------------------ ends

    def ended(self, signal: Signal, waiting: Callable[[str], Iterable[str]]) -> list[str]:
        """The conditions that hold this policy's blocks and are over with the signal.

        `waiting` gives those that blocks wait for, by how they begin.
        """
        assert self._until is not None
        places = self._until.takes(signal)
        if places is None:
            return []
        if self.policy.leave is not None:
            places = [at for at in places if self._beyond(self._number(signal, at), self.policy.leave, -1)]
            if not places and (signal.series or not self._has_left(self._number(signal, None))):
                return []
        claims = _claims(signal, places)
        if self._per != "series":
            return self.tokens(claims)
        whole = [source for source, subject in claims if subject == ALL]
        return [*self.tokens(claims), *sorted(t for source in whole for t in waiting(self._token(source)))]

    def tokens(self, claims: Iterable[Claim]) -> list[str]:
        """The conditions of a block that waits for a match: for whom a matching signal must come."""
        found: dict[str, None] = {}
        for source, subject in claims:
            match self._per:
                case "series":
                    token = f"{self._token(source)}{encode(subject).decode()}]"
                case "subject" if subject != ALL:
                    token = f"until {self.policy.name} {subject_scope(subject)}"
                case "domain":
                    token = f"until {self.policy.name} {DOMAIN}"
                case _:
                    token = f"until {self.policy.name} {source_scope(source)}"
            found[token] = None
        return list(found)

    def _token(self, source: str) -> str:
        return f"until {self.policy.name} [{encode(source).decode()},"

    # ------------------------------------------------------------------ acts

    def remember(self, memory: Memory, signal: Signal) -> None:
        """What `while` waits for: conditions that begin with the signal."""
        assert self._during is not None
        places = self._during.takes(signal)
        if places is None:
            return
        for key, own in _keys(signal, places, self.policy.per or "domain"):
            begun = [condition for condition in _begun(signal, own) if is_own(condition, signal.kind)]
            if not begun:
                continue
            item = _item(signal, own, signal.time_ns, begun=begun, kept=begun)
            memory.add(self._held, key, item, 1)

    def fires(self, memory: Memory, signal: Signal, parts: Sequence[int], stands: Stands) -> list[Fired]:
        """`parts`: the matches whose types take the signal."""
        if self.policy.all is not None:
            return self._joined(memory, signal, parts)
        places = self._parts[0].takes(signal)
        if places is None or not self._goes_on(memory, signal, places):
            return []
        number = None if self.policy.enter is None else self._worst(signal, places)
        if self._has_left(number):
            return []
        if self.policy.count is not None and signal.score >= self.policy.min_score and self._entered(number):
            return self._counted(memory, signal, places, stands)
        return [
            Fired(
                signal=signal, scope=scope, text=signal.text, causes=(signal.ref,), begun=signal.begun,
                claims=tuple(_claims(signal, places)), sources=frozenset((signal.source,)),
                number=number,
            )
            for scope in signal.scopes_at(self.policy.scope)
        ]  # fmt: skip

    def _goes_on(self, memory: Memory, signal: Signal, places: Matched) -> bool:
        """Whether a condition of `while` stands where the signal is."""
        if self._during is None:
            return True
        keys = [key for key, _ in _keys(signal, places, self.policy.per or "domain")]
        return any(memory.at(self._held, key) for key in (*keys, source_scope(signal.source)))

    def _counted(self, memory: Memory, signal: Signal, places: Matched, stands: Stands) -> list[Fired]:
        policy, fired = self.policy, list[Fired]()
        within_ns, needed = span(policy.within or 0, signal.cadence_ns), policy.count or 1
        for scope, own in _keys(signal, places, policy.scope):
            items = memory.at(self._count, scope)
            for mark in _marks(signal, own, policy.distinct):
                item = _item(signal, own, signal.time_ns + within_ns, mark=mark, begun=_begun(signal, own))
                items = memory.add(self._count, scope, item, needed)
            if len(items) < needed and not stands(policy.name, scope):
                continue
            among = f", different in {policy.distinct}" if policy.distinct else ""
            text = f"{signal.text}; {len(items)} within {format_duration(within_ns)}{among}"
            details: Json = {"count": len(items), "within_ns": within_ns, "first_ns": items[0].time_ns}
            fired.append(self._together(signal, scope, text, items, self._worst(signal, own), details))
        return fired

    def _joined(self, memory: Memory, signal: Signal, parts: Sequence[int]) -> list[Fired]:
        policy = self.policy
        per, touched = policy.per or "domain", dict[str, None]()
        for part in parts:
            places = self._parts[part].takes(signal)
            if places is None:
                continue
            until_ns = signal.time_ns + span(policy.within or 0, signal.cadence_ns)
            for key, own in _keys(signal, places, per):
                scopes = [key] if per == policy.scope == "subject" else list(signal.scopes_at(policy.scope))
                begun = _begun(signal, own)
                kept = [condition for condition in begun if is_own(condition, signal.kind)]
                item = _item(signal, own, until_ns, scopes=scopes, begun=begun, kept=kept)
                memory.add(self._part(part), key, item, 1)
                touched[key] = None
        if not touched or not self._goes_on(memory, signal, range(len(signal.series))):
            return []
        found: dict[str, Fired] = {}
        for key in self._agreeing(memory, signal, touched):
            for one in self._complete(memory, signal, key):
                found.setdefault(one.scope, one)
        return [found[scope] for scope in sorted(found)]

    def _agreeing(self, memory: Memory, signal: Signal, touched: Iterable[str]) -> Iterator[str]:
        """Where the signal may have completed something; of a whole source: at each of its subjects."""
        whole = source_scope(signal.source)
        for key in touched:
            yield key
            if self.policy.per == "subject" and key == whole:
                for part in range(len(self._parts)):
                    for other in memory.keys(self._part(part)):
                        if any(item.source == signal.source for item in memory.at(self._part(part), other)):
                            yield other

    def _complete(self, memory: Memory, signal: Signal, key: str) -> list[Fired]:
        """What is to be acted on when every part holds at `key`, or for the whole source of the signal."""
        held: list[Item] = []
        for part in range(len(self._parts)):
            found = memory.at(self._part(part), key)
            if not found and self.policy.per == "subject":
                found = memory.at(self._part(part), source_scope(signal.source))
            if not found:
                return []
            held += found
        alone = self.policy.per == self.policy.scope == "subject"
        scopes = [key] if alone else sorted({scope for item in held for scope in item.scopes})
        text = "; and ".join(f"{item.text} at {format_time(item.time_ns)}" for item in held)
        details: Json = {
            "parts": [{"text": item.text, "time_ns": item.time_ns, "ref": item.ref} for item in held]
        }
        return [self._together(signal, scope, text, held, None, details) for scope in scopes]

    def _together(
        self, signal: Signal, scope: str, text: str, items: Sequence[Item], number: float | None,
        details: Json,
    ) -> Fired:  # fmt: skip
        causes = list(dict.fromkeys(item.ref for item in items if item.ref != signal.ref))
        return Fired(
            signal=signal, scope=scope, text=text, causes=(*causes[-MOST_CAUSES + 1 :], signal.ref),
            begun=tuple(sorted({condition for item in items for condition in item.begun})),
            claims=tuple(dict.fromkeys(claim for item in items for claim in item.claims)),
            sources=frozenset(item.source for item in items), number=number, details=details,
        )  # fmt: skip

    def _part(self, place: int) -> str:
        return f"{self.policy.id} all {place}"

    # ------------------------------------------------------------------ enter and leave

    def _number(self, signal: Signal, place: int | None) -> float | None:
        if self.policy.enter is None:
            return None
        found: Any = measured(signal, next(iter(self.policy.enter)), place)
        return float(found) if type(found) in (int, float) else None

    def _beyond(self, number: float | None, threshold: dict[str, float], sign: int) -> bool:
        """At or past the threshold, seen from the other one."""
        if number is None:
            return False
        side = sign if self.policy.rising else -sign
        return (number - self.policy.threshold(threshold)) * side >= 0

    def _worst(self, signal: Signal, places: Matched) -> float | None:
        numbers = [self._number(signal, at) for at in places] if places else [self._number(signal, None)]
        known = [number for number in numbers if number is not None]
        return (max if self.policy.rising else min)(known, default=None)

    def _entered(self, number: float | None) -> bool:
        return self.policy.enter is None or self._beyond(number, self.policy.enter, 1)

    def _has_left(self, number: float | None) -> bool:
        """Nothing to act on: the number is beyond `leave`, or there is none."""
        leave = self.policy.leave
        return leave is not None and (number is None or self._beyond(number, leave, -1))

    def entered(self, fired: Fired) -> bool:
        return self._entered(fired.number)


@dataclass(frozen=True, slots=True)
class Interest:
    """What events of one type can do to a rule."""

    rule: Rule
    parts: Sequence[int]
    during: bool
    until: bool


def _claims(signal: Signal, places: Matched) -> list[Claim]:
    if not places:
        return [(signal.source, ALL)]
    return list(dict.fromkeys((signal.series[at][0], signal.series[at][1]) for at in places))


def _keys(signal: Signal, places: Matched, level: Level) -> list[tuple[str, Matched]]:
    """Where a signal counts at this level, and its series that do there. Several subjects count apart."""
    if level == "domain":
        return [(DOMAIN, places)]
    if signal.scopes:
        return [(scope, places) for scope in signal.scopes]
    found: dict[str, list[int]] = {}
    for at in places:
        source, subject, _ = signal.series[at]
        whole = level == "source" or subject == ALL
        found.setdefault(source_scope(source) if whole else subject_scope(subject), []).append(at)
    return list(found.items()) or [(source_scope(signal.source), places)]


def _begun(signal: Signal, places: Matched) -> Sequence[str]:
    """The conditions that began with these series, and those that are not of one series."""
    if len(places) == len(signal.series):
        return signal.begun
    own = {encode(signal.series[at]).decode() for at in places}
    parts = [(condition, condition.partition(":")[2]) for condition in signal.begun]
    return [condition for condition, of in parts if of in own or not of.startswith("[")]


def _marks(signal: Signal, places: Matched, distinct: str | None) -> list[str]:
    """What it is counted as: once, or once for each that differs."""
    match distinct:
        case None:
            return [""]
        case "type":
            return [signal.kind]
        case "source":
            found = [signal.series[at][0] for at in places]
        case "subject":
            found = [signal.series[at][1] for at in places]
        case _:
            found = [signal.series[at][2] for at in places]
    return list(dict.fromkeys(found)) or [signal.source]


def _item(
    signal: Signal, places: Matched, until_ns: int, *, mark: str = "", scopes: Sequence[str] = (),
    begun: Iterable[str] = (), kept: Iterable[str] = (),
) -> Item:  # fmt: skip
    return Item(
        ref=signal.ref, time_ns=signal.time_ns, until_ns=until_ns, source=signal.source, text=signal.text,
        mark=mark, scopes=list(scopes), claims=_claims(signal, places), begun=set(begun), kept=set(kept),
    )  # fmt: skip
