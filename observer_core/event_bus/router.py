"""The route stage: who is told of which event or decision, when, and who is not, because of what."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Annotated, Any

from pydantic import Field, ValidationError, model_validator

from observer_core.event_bus.matching import Facts, Matcher, RecordMatch, facts_of
from observer_core.event_bus.routing import Grouping, Node, RoutingConfig, labels
from observer_core.event_bus.subscriptions import Subscriber, Subscription, SubscriptionConfig
from observer_core.shared.canonical import decode, encode
from observer_core.shared.conditions import CONDITION_OF, pattern_of
from observer_core.shared.config import Config, explain
from observer_core.shared.ids import derive
from observer_core.shared.records import (
    RECOVERIES,
    Decision,
    Event,
    Json,
    Note,
    Notification,
    Record,
    Route,
    Severity,
    worst,
)
from observer_core.shared.stage import Entry
from observer_core.shared.timers import Timers

MAX_REFS = 200
"""As many records of one notification are named; all are counted."""
_MAX_REMEMBERED = 4096


class SilenceRequest(Config):
    """What an operator asks for: nothing that `match` takes is told from `start_ns` to `end_ns`."""

    match: RecordMatch
    author: Annotated[str, Field(min_length=1)]
    reason: Annotated[str, Field(min_length=1)]
    start_ns: Annotated[int, Field(ge=0)]
    end_ns: int

    @model_validator(mode="after")
    def _ends_after_it_begins(self) -> SilenceRequest:
        if self.end_ns <= self.start_ns:
            raise ValueError("end_ns must be after start_ns: a silence has an end")
        return self


@dataclass(slots=True)
class Group:
    """Records that wait to be told together; after that, until when they would be."""

    refs: list[str] = field(default_factory=list)
    count: int = 0
    severity: Severity = "info"
    first_ns: int = 0


@dataclass(slots=True)
class Hold:
    """What inhibits: the conditions that stand, or until when."""

    conditions: set[str] = field(default_factory=set)
    until_ns: int = 0


@dataclass(slots=True)
class _Ready:
    """What follows from a state's subscriptions and silences, worked out once."""

    subscribers: dict[str, Subscription]
    silencing: dict[str, Matcher]
    places: dict[Facts, tuple[dict[str, Node | None], dict[str, tuple[str, ...]]]]


@dataclass(slots=True)
class RouterState:
    """`seen`: how far each stream was read; `since`: from where on each subscription has been routed.

    `ready` is a cache, no part of the state.
    """

    time_ns: int = 0
    seen: dict[str, int] = field(default_factory=dict)
    since: dict[str, dict[str, int]] = field(default_factory=dict)
    added: dict[str, Json] = field(default_factory=dict)
    paused: set[str] = field(default_factory=set)
    removed: set[str] = field(default_factory=set)
    silences: dict[str, Json] = field(default_factory=dict)
    holds: dict[tuple[str, tuple[str, ...]], Hold] = field(default_factory=dict)
    groups: dict[tuple[str, str, tuple[str, ...]], Group] = field(default_factory=dict)
    timers: Timers = field(default_factory=Timers)
    views_version: int = 0
    ready: _Ready | None = None

    def changed(self) -> None:
        """Subscriptions or silences are others now."""
        self.views_version += 1
        self.ready = None


class Router:
    """One `Route` for every event and decision of a domain; `Notification`s where records are grouped.

    Reads `events.<domain>`, `decisions.<domain>`, `commands.<domain>` (silences, subscriptions) and the
    domain's clock. What is due by time comes before the entry that shows that the time has come, at the
    moment it was due. A record that a subscription is not given is in `Route.stopped`, once.
    """

    name = "route"
    version = "1"

    def __init__(
        self, domain: str, subscribers: Iterable[Subscriber] = (), routing: RoutingConfig | None = None
    ) -> None:
        self.domain = domain
        self._given = {item.name: Subscriber(**_filters(item)) for item in subscribers}
        self._routing = routing or RoutingConfig()
        self._root, self._named = Node(self._routing.route), self._routing.named()
        self._rules = [(rule, Matcher(rule.when), Matcher(rule.mute)) for rule in self._routing.inhibit]

    def config(self) -> Mapping[str, Any]:
        return {
            "domain": self.domain, "routing": self._routing.canonical(),
            "subscribers": [item.canonical() for item in self._given.values()],
        }  # fmt: skip

    def initial(self) -> RouterState:
        return self._begin(RouterState())

    def transition(self, state: RouterState, entry: Entry) -> Sequence[Record]:
        record = entry.record
        stream = entry.journal.partition(".")[0]
        if stream in ("events", "decisions"):
            state.seen[stream] = entry.position
        known = isinstance(record, Event | Decision) or (isinstance(record, Note) and record.kind in _KINDS)
        if not known:
            return ()
        now_ns = max(state.time_ns, record.time_ns)
        found = self._fire(state, now_ns)
        state.time_ns = now_ns
        if isinstance(record, Event | Decision):
            found.append(self._route(state, record, entry.ref))
        elif isinstance(record, Note) and record.kind == "silence":
            found += self._silence(state, record.body, entry.ref)
        elif isinstance(record, Note) and record.kind == "subscription":
            found.append(self._subscription(state, record.body))
        return found

    def advance(self, state: RouterState, through_ns: int) -> Sequence[Record]:
        return self._fire(state, through_ns)

    def views(self, state: RouterState) -> Mapping[str, Any]:
        """`silences`: those that are not over. `subscriptions`: since when each is routed, and its state."""
        return {
            "silences": {"silences": list(state.silences.values())},
            "subscriptions": {
                name: {"since": since, "paused": name in state.paused, "config": state.added.get(name)}
                for name, since in sorted(state.since.items())
            },
        }  # fmt: skip

    def views_version(self, state: RouterState) -> int:
        return state.views_version

    def dump(self, state: RouterState) -> bytes:
        value: Json = {
            name: getattr(state, name)
            for name in ("time_ns", "seen", "since", "added", "silences", "views_version")
        }
        value |= {"paused": sorted(state.paused), "removed": sorted(state.removed)}
        value["holds"] = [
            [name, list(key), sorted(hold.conditions), hold.until_ns]
            for (name, key), hold in sorted(state.holds.items())
        ]
        value["groups"] = [
            [name, path, list(key), asdict(group)]
            for (name, path, key), group in sorted(state.groups.items(), key=lambda item: item[0])
        ]
        value["timers"] = state.timers.armed()
        return encode(value)

    def load(self, blob: bytes) -> RouterState:
        value = decode(blob)
        value["paused"], value["removed"] = set(value["paused"]), set(value["removed"])
        value["holds"] = {
            (name, tuple(key)): Hold(set(conditions), until_ns)
            for name, key, conditions, until_ns in value["holds"]
        }
        value["groups"] = {
            (name, path, tuple(key)): Group(**group) for name, path, key, group in value["groups"]
        }
        value["timers"] = Timers((due_ns, kind, key) for due_ns, kind, key in value["timers"])
        return self._begin(RouterState(**value))

    # ------------------------------------------------------------------ subscriptions

    def _begin(self, state: RouterState) -> RouterState:
        """The configured subscriptions of this epoch: new ones are routed from here on."""
        wanted = {*self._given, *state.added} - state.removed
        removed = state.removed & self._given.keys()
        if wanted == state.since.keys() and removed == state.removed:
            return state
        for name in wanted - state.since.keys():
            state.since[name] = {**state.seen, "time_ns": state.time_ns}
        for name in state.since.keys() - wanted:
            del state.since[name]
            state.paused.discard(name)
        state.removed = removed
        state.changed()
        return state

    def _ready(self, state: RouterState) -> _Ready:
        if state.ready is None:
            subscribers = {
                name: Subscription(
                    SubscriptionConfig(**added) if (added := state.added.get(name)) else self._given[name]
                )
                for name in sorted(state.since)
            }
            silencing = {
                ref: Matcher(RecordMatch(**silence["match"])) for ref, silence in state.silences.items()
            }
            state.ready = _Ready(subscribers, silencing, {})
        return state.ready

    def _subscription(self, state: RouterState, body: Mapping[str, Any]) -> Note:
        """Adds, pauses, resumes or removes one; what cannot be done is recorded with the reason."""
        name, action = str(body.get("name", "")), body.get("action")
        told = {key: body.get(key) for key in ("author", "reason", "action")}
        if action == "add":
            try:
                config = SubscriptionConfig.model_validate(body.get("config"))
            except ValidationError as error:
                refused = str(explain(error, "subscription"))
                return self._note(state, "subscription", {**told, "name": name, "refused": refused[:500]})
            name = config.name
            if name in self._given:
                refused = f"{name} is in the configuration; change it there"
                return self._note(state, "subscription", {**told, "name": name, "refused": refused})
            state.added[name] = config.canonical()
            state.since.setdefault(name, {**state.seen, "time_ns": state.time_ns})
            state.removed.discard(name)
        elif name not in state.since:
            refused = f"there is no subscription {name!r}"
            return self._note(state, "subscription", {**told, "name": name, "refused": refused})
        elif action == "pause":
            state.paused.add(name)
        elif action == "resume":
            state.paused.discard(name)
        elif action == "remove":
            state.added.pop(name, None)
            del state.since[name]
            state.paused.discard(name)
            if name in self._given:
                state.removed.add(name)
        else:
            refused = f"action: expected add, pause, resume or remove, found {action!r}"
            return self._note(state, "subscription", {**told, "name": name, "refused": refused})
        state.changed()
        return self._note(state, "subscription", {**told, "name": name})

    # ------------------------------------------------------------------ silences

    def _silence(self, state: RouterState, body: Mapping[str, Any], ref: str) -> list[Record]:
        if body.get("action") == "end":
            return self._end_silence(state, str(body.get("id")), body)
        try:
            asked = SilenceRequest.model_validate({k: v for k, v in body.items() if k not in _BESIDE})
        except ValidationError as error:
            refused = str(explain(error, "silence"))
            return [self._note(state, "silence", {"id": ref, "state": "refused", "refused": refused[:500]})]
        if asked.end_ns <= state.time_ns:
            refused = "it had ended before it was asked for"
            return [self._note(state, "silence", {"id": ref, "state": "refused", "refused": refused})]
        state.silences[ref] = {"id": ref, "begun": False, **asked.canonical()}
        state.timers.arm(asked.end_ns, "silence-end", ref)
        state.timers.arm(max(asked.start_ns, state.time_ns), "silence-begin", ref)
        state.changed()
        return self._fire(state, state.time_ns)

    def _end_silence(self, state: RouterState, ref: str, body: Mapping[str, Any]) -> list[Record]:
        told = {"id": ref, "author": body.get("author"), "reason": body.get("reason")}
        if ref not in state.silences:
            refused = {**told, "state": "refused", "refused": f"there is no silence {ref!r}"}
            return [self._note(state, "silence", refused)]
        del state.silences[ref]
        state.timers.disarm("silence-begin", ref)
        state.timers.disarm("silence-end", ref)
        state.changed()
        return [self._note(state, "silence", {**told, "state": "ended"})]

    # ------------------------------------------------------------------ routing

    def _route(self, state: RouterState, record: Event | Decision, ref: str) -> Route:
        facts = facts_of(record)
        ready = self._ready(state)
        places, refused = self._place(record, facts, ready)
        muted = self._muted(state, facts, ready)
        to, grouped, stopped = [], [], dict(refused)
        for name, node in places.items():
            if muted and not ready.subscribers[name].config.always:
                stopped[muted] = (*stopped.get(muted, ()), name)
            elif node is None or node.grouping is None:
                to.append(name)
            else:
                grouped.append(name)
                self._group(state, name, node, node.grouping, facts, ref)
        self._hold(state, facts, record)
        return Route(ref=ref, to=tuple(to), grouped=tuple(grouped), stopped=stopped, time_ns=state.time_ns)

    def _place(
        self, record: Event | Decision, facts: Facts, ready: _Ready
    ) -> tuple[dict[str, Node | None], dict[str, tuple[str, ...]]]:
        """Who is given such a record, by which route (None: by none), and what stops it for the others."""
        known = ready.places.get(facts)
        if known is not None:
            return known
        arrivals = self._root.arrivals(facts)
        routes = {name: node for node in reversed(arrivals) for name in node.to}
        places: dict[str, Node | None] = {}
        stopped: dict[str, list[str]] = {}
        path = "+".join(node.path for node in arrivals) or "none"
        for name, subscription in ready.subscribers.items():
            refusal = subscription.refusal(record)
            if refusal is not None:
                if refusal.by != "stream":
                    stopped.setdefault(f"filter:{refusal.by}", []).append(name)
            elif name in routes:
                places[name] = routes[name]
            elif name in self._named:
                stopped.setdefault(f"route:{path}", []).append(name)
            else:
                places[name] = None
        if len(ready.places) >= _MAX_REMEMBERED:
            ready.places.clear()
        found = places, {by: tuple(names) for by, names in stopped.items()}
        ready.places[facts] = found
        return found

    def _muted(self, state: RouterState, facts: Facts, ready: _Ready) -> str:
        """What keeps such a record from being told at all, if anything does."""
        for ref, silence in state.silences.items():
            if silence["begun"] and ready.silencing[ref].takes(facts):
                return f"silence:{ref}"
        for rule, when, mute in self._rules:
            hold = state.holds.get((rule.name, labels(facts, rule.equal)))
            if hold is None or not mute.takes(facts) or when.takes(facts):
                continue
            if hold.conditions or hold.until_ns > state.time_ns:
                return f"inhibit:{rule.name}"
        return ""

    def _hold(self, state: RouterState, facts: Facts, record: Event | Decision) -> None:
        """What begins or ends to inhibit with this record."""
        if not self._rules or not isinstance(record, Event):
            return
        begun, ended = _conditions(facts, record)
        if ended:
            by_hand = _ended_by_hand(record)
            for hold in state.holds.values():
                hold.conditions -= ended
                if by_hand:
                    hold.conditions -= {one for one in hold.conditions if one.startswith(by_hand)}
        for rule, when, _ in self._rules:
            if not ended and when.takes(facts):
                hold = state.holds.setdefault((rule.name, labels(facts, rule.equal)), Hold())
                hold.conditions |= begun
                if not begun:
                    hold.until_ns = max(hold.until_ns, state.time_ns + rule.lasts)
        for key in [
            k for k, h in state.holds.items() if not h.conditions and h.until_ns <= state.time_ns
        ]:  # fmt: skip
            del state.holds[key]

    # ------------------------------------------------------------------ groups and time

    def _group(
        self, state: RouterState, name: str, node: Node, grouping: Grouping, facts: Facts, ref: str
    ) -> None:
        key = (name, node.path, labels(facts, grouping.by))
        group = state.groups.get(key)
        if group is None:
            group = state.groups[key] = Group()
            state.timers.arm(state.time_ns + grouping.wait_ns, "group", encode(key).decode())
        if not group.count:
            group.first_ns = state.time_ns
        if len(group.refs) < MAX_REFS:
            group.refs.append(ref)
        group.count += 1
        group.severity = worst((group.severity, facts.severity))

    def _fire(self, state: RouterState, through_ns: int) -> list[Record]:
        found: list[Record] = []
        while (due := state.timers.pop(through_ns)) is not None:
            due_ns, kind, key = due
            state.time_ns = max(state.time_ns, due_ns)
            if kind == "group":
                found += self._tell(state, key)
            elif kind == "silence-begin":
                state.silences[key]["begun"] = True
                state.changed()
                found.append(self._note(state, "silence", {"id": key, "state": "begun"}))
            else:
                del state.silences[key]
                state.changed()
                found.append(self._note(state, "silence", {"id": key, "state": "ended"}))
        return found

    def _tell(self, state: RouterState, timer: str) -> list[Record]:
        """Tells a group what has come, and holds it for an interval; one that nothing came to is over."""
        name, path, values = decode(timer.encode())
        key = (name, path, tuple(values))
        group = state.groups[key]
        node = self._find(path)
        if not group.count or name not in state.since:
            del state.groups[key]
            return []
        grouping = node.grouping if node is not None else None
        said = Notification(
            id=derive("notification", self.domain, name, *group.refs, str(state.time_ns)), subscription=name,
            group=dict(zip(grouping.by, values)) if grouping else {}, refs=tuple(group.refs),
            count=group.count, severity=group.severity, first_ns=group.first_ns, time_ns=state.time_ns,
        )  # fmt: skip
        if grouping is None:
            del state.groups[key]
        else:
            state.groups[key] = Group()
            state.timers.arm(state.time_ns + grouping.interval_ns, "group", timer)
        return [said]

    def _find(self, path: str) -> Node | None:
        return self._root.find(path)

    def _note(self, state: RouterState, kind: str, body: Json) -> Note:
        return Note(kind=kind, time_ns=state.time_ns, body=body)


_KINDS = ("tick", "silence", "subscription")
_BESIDE = ("action", "principal")
"""What stands in a request beside the silence: what is asked, and who the author was proved to be."""


def _filters(item: Subscriber) -> dict[str, Any]:
    return {name: getattr(item, name) for name in Subscriber.model_fields}


def _ended_by_hand(event: Event) -> tuple[str, ...]:
    """What the conditions begin with that held an incident open which an operator has ended."""
    ended = event.data.get("ended") or {}
    return tuple(
        f"{pattern}:{encode([source, *series]).decode()}" if any(series)
        else f"{pattern}:{encode([source]).decode().removesuffix(']')},"
        for pattern, source, *series in ended.get("conditions", ())
    )  # fmt: skip


def _conditions(facts: Facts, event: Event) -> tuple[set[str], set[str]]:
    """The conditions that begin and those that end with an event."""
    kind = facts.short
    if kind.startswith("incident."):
        one = {f"incident:{facts.incident or event.data.get('id', '')}"}
        return (set(), one) if kind == "incident.resolved" else (one, set())
    pattern = pattern_of(kind)
    series = [encode(item).decode() for item in event.data.get("series", ())] or [facts.source or "*"]
    if pattern in RECOVERIES:
        return {f"{pattern}:{item}" for item in series}, set()
    if pattern in CONDITION_OF:
        return set(), {f"{CONDITION_OF[pattern]}:{item}" for item in series}
    return set(), set()
