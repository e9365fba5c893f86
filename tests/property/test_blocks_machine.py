"""Blocks, overrides, kill switches, two persons, time and recoveries against a model of their own.

The model knows sets and ends, and nothing of the pipeline's code. After every step the records that
the step wrote are exactly those that the model says, the gate answers what the model holds open
or closed, and the fold of all records gives the same views, now and for each moment before.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

sys.path.insert(0, str(Path(__file__).parents[1] / "unit" / "decision_pipeline"))
from desk import MINUTE, T0, Desk, event
from desk import policy as a_policy

from observer_core.decision_pipeline.gate import GateInputs, GateRequest, SourceState, StageState, evaluate
from observer_core.decision_pipeline.history import fold
from observer_core.shared.records import Decision

POLICIES = (
    a_policy(name="timed", match={"types": ["pattern.spike"]}, until="10m"),
    a_policy(name="held", match={"types": ["feed.stale"]}, until="resumed"),
    a_policy(name="dark", match={"types": ["feed.unavailable"]}, scope="source", until="resumed"),
)
CONFIRM_WITHIN, WARN_BEFORE = 7 * MINUTE, 3 * MINUTE
CONTROL = {"confirm_within": "7m", "warn_before": "3m"}
BY_HAND = ("operator", "kill")

SOURCES, SUBJECTS = ("binance", "kraken"), ("A", "B")
SOURCE, SUBJECT = st.sampled_from(["binance", "binance", "kraken"]), st.sampled_from(["A", "A", "B"])
SCOPES = st.sampled_from(["*", "subject:A", "source:binance", "source:binance", "subject:B"])
PERSONS = st.sampled_from([("kim", "1000:kim"), (" Kim", None), ("lee", "1001:lee"), ("ann", "1001:lee")])
SPANS = st.sampled_from([1, MINUTE, 4 * MINUTE, 12 * MINUTE, 60 * MINUTE])
STEPS = st.sampled_from([0, 0, 0, 1, MINUTE, MINUTE, 4 * MINUTE, 30 * MINUTE])
SOON = st.sampled_from([0, 0, 1, MINUTE, 3 * MINUTE])
ONLY = st.sampled_from([None, None, "held", "kill", "operator"])
LATE = st.sampled_from([0, 0, 0, MINUTE])

Said = tuple[str, str, str, str, int, int | None]
"""(verdict, policy, scope, code, time, until) of a record."""
Person = tuple[str, str | None]


@dataclass
class Held:
    """A block, as the model knows it."""

    until: int | None
    code: str
    conditions: set[str] = field(default_factory=set)
    sources: set[str] = field(default_factory=set)
    lifted: bool = False


@dataclass
class Asked:
    command: str
    scope: str
    until: int | None
    policy: str | None
    person: Person
    expires: int


class Model:
    """What is closed, overridden and asked for. Every act gives the records that must follow."""

    def __init__(self, two_person: set[str]) -> None:
        self.two_person = two_person
        self.now = T0
        self.blocks: dict[tuple[str, str], Held] = {}
        self.overrides: dict[str, int] = {}
        self.warnings: dict[str, int] = {}
        self.asked: dict[str, Asked] = {}

    # ------------------------------------------------------------------ what holds

    def closed(self) -> set[tuple[str, str]]:
        return {(scope, policy) for (policy, scope), held in self.blocks.items() if not held.lifted}

    def denies(self, subject: str) -> set[tuple[str, str]]:
        scopes = {"*", f"subject:{subject}", *(f"source:{source}" for source in SOURCES)}
        return {item for item in self.closed() if item[0] in scopes}

    def covers(self, override: str, policy: str, scope: str, sources: set[str]) -> bool:
        if policy in BY_HAND:
            return False
        return override in ("*", scope) or {override} == {f"source:{source}" for source in sources}

    def covered(self, policy: str, scope: str, sources: set[str]) -> bool:
        return any(self.covers(override, policy, scope, sources) for override in self.overrides)

    # ------------------------------------------------------------------ time

    def pass_to(self, moment: int) -> list[Said]:
        """All that is due up to then, each at its own time."""
        said: list[Said] = []
        while due := min(self._due(), default=None):
            at, kind, key = due
            if at > moment:
                break
            made = self._happens(at, kind, key)
            said += made
        self.now = max(self.now, moment)
        return said

    def _due(self) -> Iterator[tuple[int, str, str]]:
        for (policy, scope), held in self.blocks.items():
            if held.until is not None:
                yield held.until, "block", f"{policy} {scope}"
        for scope, until in self.overrides.items():
            yield until, "override", scope
        for scope, at in self.warnings.items():
            yield at, "warn", scope
        for ref, request in self.asked.items():
            yield request.expires, "request", ref

    def _happens(self, at: int, kind: str, key: str) -> list[Said]:
        match kind:
            case "block":
                policy, _, scope = key.partition(" ")
                held = self.blocks.pop((policy, scope))
                return [] if held.lifted else [("release", policy, scope, "expired", at, None)]
            case "override":
                return self._end_override(key, at)
            case "warn":
                del self.warnings[key]
                return [("judgment", "override", key, "override_ends_soon", at, None)]
        request = self.asked.pop(key)
        return [("non_execution", "operator", request.scope, "not_confirmed", at, None)]

    def _end_override(self, scope: str, at: int) -> list[Said]:
        del self.overrides[scope]
        self.warnings.pop(scope, None)
        said: list[Said] = [("judgment", "override", scope, "override_ended", at, None)]
        for (policy, of), held in sorted(self.blocks.items(), key=lambda item: item[0][::-1]):
            if held.lifted and not self.covered(policy, of, held.sources):
                held.lifted = False
                said.append(("block", policy, of, held.code, at, held.until))
        return said

    # ------------------------------------------------------------------ events

    def signal(self, policy: str, scope: str, source: str, condition: str | None) -> list[Said]:
        """An event that the policy takes."""
        held = self.blocks.get((policy, scope))
        conditions = {condition} if condition else set()
        if self.covered(policy, scope, {source}):
            self._remember(policy, scope, source, conditions, lifted=True)
            return [("non_execution", policy, scope, "overridden", self.now, None)]
        if held is not None and not held.lifted:
            self._remember(policy, scope, source, conditions, lifted=False)
            return [("non_execution", policy, scope, "duplicate", self.now, None)]
        until = self._until(policy)
        if held is not None and held.until is not None and until is not None:
            until = max(until, held.until)
        before = held or Held(None, "")
        block = self.blocks[policy, scope] = Held(
            until, "matched", conditions | before.conditions, {source} | before.sources
        )
        return [("block", policy, scope, "matched", self.now, block.until)]

    def _until(self, policy: str) -> int | None:
        return self.now + 10 * MINUTE if policy == "timed" else None

    def _remember(
        self, policy: str, scope: str, source: str, conditions: set[str], *, lifted: bool
    ) -> None:  # fmt: skip
        held = self.blocks.get((policy, scope))
        if held is None:
            held = self.blocks[policy, scope] = Held(self._until(policy), "matched", lifted=lifted)
        held.sources.add(source)
        held.conditions |= conditions

    def recovered(self, condition: str) -> list[Said]:
        said: list[Said] = []
        for policy, scope in sorted(self.blocks, key=" ".join):
            held = self.blocks[policy, scope]
            if condition in held.conditions:
                held.conditions.discard(condition)
                if not held.conditions:
                    del self.blocks[policy, scope]
                    said += [] if held.lifted else [("release", policy, scope, "recovered", self.now, None)]
        return said

    # ------------------------------------------------------------------ commands

    def command(
        self, command: str, scope: str, ref: str, person: Person, until: int | None, policy: str | None
    ) -> list[Said]:
        refused = self._refused(command, scope, until, policy)
        if refused or command not in self.two_person:
            return [self._not(scope, refused)] if refused else self._do(command, scope, until, policy)
        same = [r for r in self.asked.values() if (r.command, r.scope, r.until, r.policy) ==
                (command, scope, until, policy)]  # fmt: skip
        if same:
            return [self._not(scope, "already_asked")]
        expires = self.now + CONFIRM_WITHIN
        self.asked[ref] = Asked(command, scope, until, policy, person, expires)
        return [self._not(scope, "needs_confirmation")]

    def confirm(self, ref: str, person: Person) -> list[Said]:
        request = self.asked.get(ref)
        if request is None:
            return [self._not("*", "no_such_request")]
        names = {author.strip().lower() for author, _ in (person, request.person)}
        principals = {principal for _, principal in (person, request.person)}
        if len(names) == 1 or (len(principals) == 1 and None not in principals):
            return [self._not(request.scope, "same_person")]
        del self.asked[ref]
        done: Said = ("judgment", "operator", request.scope, "confirmed", self.now, None)
        if request.until is not None and request.until <= self.now:
            return [done, self._not(request.scope, "too_late")]
        refused = self._refused(request.command, request.scope, request.until, request.policy)
        if refused:
            return [done, self._not(request.scope, refused)]
        return [done, *self._do(request.command, request.scope, request.until, request.policy)]

    def _not(self, scope: str, code: str) -> Said:
        return ("non_execution", "operator", scope, code, self.now, None)

    def _refused(self, command: str, scope: str, until: int | None, policy: str | None) -> str:
        standing = self.blocks.get(("operator", scope))
        if command == "block" and standing is not None:
            longer = standing.until is not None and (until is None or until > standing.until)
            return "" if longer else "duplicate"
        if command == "kill":
            return "duplicate" if ("kill", scope) in self.blocks else ""
        if command == "unkill":
            return "" if ("kill", scope) in self.blocks else "nothing_to_unkill"
        if command == "rearm":
            return "" if scope in self.overrides else "nothing_to_rearm"
        if command == "override":
            return "duplicate" if (until or 0) <= self.overrides.get(scope, -1) else ""
        if command == "release" and not self._released(scope, policy):
            killed = ("kill", scope) in self.blocks and policy in (None, "kill")
            return "kill_switch" if killed else "nothing_to_release"
        return ""

    def _released(self, scope: str, policy: str | None) -> list[str]:
        return sorted(
            name for name, of in self.blocks if of == scope and name != "kill" and policy in (None, name)
        )

    def _do(self, command: str, scope: str, until: int | None, policy: str | None) -> list[Said]:
        now = self.now
        match command:
            case "block":
                self.blocks["operator", scope] = Held(until, "command")
                return [("block", "operator", scope, "command", now, until)]
            case "kill":
                self.blocks["kill", scope] = Held(None, "kill")
                return [("block", "kill", scope, "kill", now, None)]
            case "unkill":
                del self.blocks["kill", scope]
                return [("release", "kill", scope, "unkill", now, None)]
            case "rearm":
                return self._end_override(scope, now)
            case "override":
                assert until is not None
                return self._begin_override(scope, until)
        said: list[Said] = []
        for name in self._released(scope, policy):
            del self.blocks[name, scope]
            said.append(("release", name, scope, "command", now, None))
        if policy is None and ("kill", scope) in self.blocks:
            said.append(self._not(scope, "kill_switch"))
        return said

    def _begin_override(self, scope: str, until: int) -> list[Said]:
        self.overrides[scope] = until
        self.warnings.pop(scope, None)
        if until - WARN_BEFORE > self.now:
            self.warnings[scope] = until - WARN_BEFORE
        said: list[Said] = [("release", "override", scope, "override", self.now, until)]
        for (policy, of), held in sorted(self.blocks.items(), key=lambda item: item[0][::-1]):
            if not held.lifted and self.covers(scope, policy, of, held.sources):
                held.lifted = True
                said.append(("release", policy, of, "override", self.now, None))
        return said


class Machine(RuleBasedStateMachine):
    two_person: ClassVar[set[str]] = set()

    def __init__(self) -> None:
        super().__init__()
        self.desk = Desk(*POLICIES, control={**CONTROL, "two_person": sorted(self.two_person)})
        self.desk.tick(T0)
        self.model = Model(self.two_person)
        self.least = T0
        """What time has come to without an input: none comes before it."""
        self.refs: list[str] = []
        self.moments: dict[int, tuple[set[tuple[str, str]], dict[str, Any]]] = {}

    def step(self, after: int, late: int, act: Callable[[int], list[Decision]]) -> list[Said]:
        """Time passes, then an input comes, perhaps dated before the domain's time.

        Gives what time alone must have written; `act` is given the moment to date its input by.
        """
        at = max(self.model.now + after, self.least)
        dated = at - late if at == self.model.now else at
        expected = self.model.pass_to(at)
        self.made = act(dated)
        return expected

    def same(self, expected: list[Said]) -> None:
        assert [_said(decision) for decision in self.made] == expected

    # ------------------------------------------------------------------ time and restarts

    @rule(after=STEPS)
    def tick(self, after: int) -> None:
        self.same(self.step(after, 0, self.desk.tick))

    @rule(after=STEPS)
    def advance(self, after: int) -> None:
        """Time passes without an input: it is seen in what it releases only."""
        at = max(self.model.now + after, self.least)
        now = self.model.now
        expected = self.model.pass_to(at)
        self.model.now = max([now, *(said[4] for said in expected)])
        self.made = list(self.desk.stage.advance(self.desk.state, at))
        self.desk.records += self.made
        self.least = at
        self.same(expected)

    @rule()
    def restart(self) -> None:
        stage, blob = self.desk.stage, self.desk.stage.dump(self.desk.state)
        self.desk.state = stage.load(blob)
        assert stage.dump(self.desk.state) == blob

    # ------------------------------------------------------------------ events

    @rule(
        kind=st.sampled_from(["pattern.spike", "feed.stale"]), subject=SUBJECT,
        source=SOURCE, after=STEPS, late=LATE,
    )  # fmt: skip
    def trouble(self, kind: str, subject: str, source: str, after: int, late: int) -> None:
        def come(at: int) -> list[Decision]:
            return self.desk.take(event(kind, at, source=source, subject=subject, correlationid=""))

        expected = self.step(after, late, come)
        name, condition = ("timed", None) if kind == "pattern.spike" else ("held", f"{source} {subject}")
        self.same(expected + self.model.signal(name, f"subject:{subject}", source, condition))

    @rule(subject=SUBJECT, source=SOURCE, after=STEPS, late=LATE)
    def resume(self, subject: str, source: str, after: int, late: int) -> None:
        def come(at: int) -> list[Decision]:
            return self.desk.take(
                event("feed.resumed", at, source=source, subject=subject, severity="info", correlationid="")
            )

        expected = self.step(after, late, come)
        self.same(expected + self.model.recovered(f"{source} {subject}"))

    @rule(source=SOURCE, there=st.booleans(), after=STEPS, late=LATE)
    def outage(self, source: str, there: bool, after: int, late: int) -> None:
        kind = "feed.available" if there else "feed.unavailable"

        def come(at: int) -> list[Decision]:
            star = {"series": [[source, "*", "*"]]}
            return self.desk.take(event(kind, at, source=source, subject=source, data=star, correlationid=""))

        expected = self.step(after, late, come)
        self.same(
            expected + self.model.recovered(source)
            if there
            else expected + self.model.signal("dark", f"source:{source}", source, source)
        )

    # ------------------------------------------------------------------ commands

    @rule(
        command=st.sampled_from(["block", "release", "override", "rearm", "kill", "unkill"]), scope=SCOPES,
        person=PERSONS, lasts=st.none() | SPANS, only=ONLY,
        after=STEPS, late=LATE,
    )  # fmt: skip
    def ask(
        self, command: str, scope: str, person: Person, lasts: int | None, only: str | None, after: int,
        late: int,
    ) -> None:  # fmt: skip
        if command == "override":
            lasts = lasts or 12 * MINUTE
        ends = lasts if command in ("block", "override") else None
        until = None if ends is None else max(self.model.now + after, self.least) + ends
        only = only if command == "release" else None

        def come(at: int) -> list[Decision]:
            return self.desk.command(
                command, scope, at, author=person[0], principal=person[1], until_ns=until, policy=only
            )

        expected = self.step(after, late, come)
        ref = f"commands.live@{self.desk.position}"
        self.refs.append(ref)
        theirs = self.model.command(command, scope, ref, person, until, only)
        self.same(expected + theirs)
        for decision in self.made[len(expected) :]:
            assert decision.causation[-1] == ref
            reason = decision.reasons[0]
            if decision.policy in (*BY_HAND, "override") and reason["code"] != "override_ended":
                assert (reason["author"], reason["principal"]) == person

    @precondition(lambda self: self.model.overrides)
    @rule(which=st.integers(0, 9), person=PERSONS, after=SOON, lasts=st.none() | SPANS)
    def change_an_override(self, which: int, person: Person, after: int, lasts: int | None) -> None:
        """One that stands is ended early, lengthened, or is to be shortened."""
        standing = sorted(self.model.overrides)
        scope = standing[which % len(standing)]
        command = "rearm" if lasts is None else "override"
        self.ask(command=command, scope=scope, person=person, lasts=lasts, only=None, after=after, late=0)

    @precondition(lambda self: self.model.asked)
    @rule(which=st.integers(0, 9), person=PERSONS, after=SOON, late=LATE)
    def confirm_what_waits(self, which: int, person: Person, after: int, late: int) -> None:
        self._confirm(list(self.model.asked)[which % len(self.model.asked)], person, after, late)

    @precondition(lambda self: self.refs)
    @rule(which=st.integers(0, 9), person=PERSONS, after=STEPS, late=LATE)
    def confirm_anything(self, which: int, person: Person, after: int, late: int) -> None:
        self._confirm(self.refs[-1 - which % len(self.refs)], person, after, late)

    def _confirm(self, ref: str, person: Person, after: int, late: int) -> None:
        asker = self.model.asked[ref].person if ref in self.model.asked else None

        def come(at: int) -> list[Decision]:
            return self.desk.command(
                "confirm", "*", at, author=person[0], principal=person[1], request=ref
            )  # fmt: skip

        expected = self.step(after, late, come)
        theirs = self.model.confirm(ref, person)
        self.same(expected + theirs)
        for decision in self.made[len(expected) :]:
            reason = decision.reasons[0]
            if reason["code"] in ("confirmed", "unkill"):
                assert (reason["author"], reason["principal"]) == asker
                assert (reason["confirmed_by"], reason["confirmed_principal"]) == person
                assert decision.causation == (ref, f"commands.live@{self.desk.position}")

    @rule(body=st.fixed_dictionaries({}, optional={
        "command": st.sampled_from(["kill", "confirm", "?"]), "scope": st.sampled_from(["*", "pair:A", 7]),
        "author": st.sampled_from(["kim", "", None]), "until_ns": st.sampled_from([None, T0, "soon"]),
        "principal": st.sampled_from([None, "", 1]), "request": st.sampled_from([None, "x", "events.live@1"]),
    }))  # fmt: skip
    def nonsense(self, body: dict[str, Any]) -> None:
        """What cannot be meant changes nothing and is recorded."""
        scope = body.get("scope")
        given = {"command": "?", "scope": "*", "reason": "", "until_ns": None, **body}
        self.made = self.desk.command(at=self.model.now, **given)
        where = scope if scope in ("*", None) else "*"
        self.same([("non_execution", "operator", where or "*", "invalid_command", self.model.now, None)])

    # ------------------------------------------------------------------ what must hold after every step

    @invariant()
    def the_gate_the_views_and_the_records_agree_with_the_model(self) -> None:
        views = dict(self.desk.stage.views(self.desk.state))
        told = fold(self.desk.records)
        assert told.views() == views
        assert {
            (scope, name) for scope, found in told.blocks.items() for name in found
        } == self.model.closed()
        assert told.overrides.keys() == self.model.overrides.keys()
        assert told.requests.keys() == self.model.asked.keys()
        self._answers(views, self.model.denies)
        self.moments[self.model.now] = self.model.closed(), views

    def _answers(
        self, views: dict[str, Any], denies: Callable[[str], set[tuple[str, str]]]
    ) -> None:  # fmt: skip
        for subject in SUBJECTS:
            answer = evaluate(GateRequest(subject, T0, "live"), GateInputs.of(views, _sources(), _STAGES))
            blocked = {(reason["scope"], reason["policy"]) for reason in answer.reasons}
            assert blocked == denies(subject)
            assert (answer.decision == "deny") == bool(blocked)

    def teardown(self) -> None:
        """What each moment's records say of it is what was so then."""
        for moment, (closed, views) in self.moments.items():
            told = fold(self.desk.records, moment)
            assert told.views() == views
            assert {(scope, name) for scope, found in told.blocks.items() for name in found} == closed
        ids = [decision.id for decision in self.desk.records]
        assert len(set(ids)) == len(ids)
        times = [decision.time_ns for decision in self.desk.records]
        assert times == sorted(times)


def _said(decision: Decision) -> Said:
    return (
        decision.verdict, decision.policy, decision.scope, decision.reasons[0]["code"], decision.time_ns,
        decision.until_ns,
    )  # fmt: skip


def _sources() -> list[SourceState]:
    """Both sources observe both subjects, and nothing is missing: what denies is a block."""
    return [
        SourceState(
            name=name, status="ok", through_ns=T0, snapshot_ns=T0, max_age_ns=MINUTE,
            subjects=frozenset(SUBJECTS),
        )
        for name in SOURCES
    ]  # fmt: skip


_STAGES = [StageState(name="decide", through_ns=T0, max_lag_ns=MINUTE)]


class MachineOfTwo(Machine):
    two_person: ClassVar[set[str]] = {"block", "kill", "unkill", "override"}


TestBlocks, TestBlocksOfTwo = Machine.TestCase, MachineOfTwo.TestCase
TestBlocks.settings = TestBlocksOfTwo.settings = settings(
    max_examples=200, stateful_step_count=40, deadline=None
)
