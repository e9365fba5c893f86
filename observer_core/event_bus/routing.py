"""Where records go, in configuration: a tree of routes, inhibitions and silences.

A record walks the tree from its root. At each route the first child that takes it takes it away
from the next ones, unless that child says `continue`; where no child takes it, it has arrived, and
goes `to` the subscriptions that are named there, or above.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Annotated, Any, Literal

from pydantic import ConfigDict, Field, model_validator

from observer_core.event_bus.matching import Facts, Matcher, RecordMatch
from observer_core.shared.clock import SECOND
from observer_core.shared.config import Config, DurationNs, Name

Label = Literal["type", "source", "subject", "severity", "incident"]
"""What records can be held together by."""

Span = Annotated[DurationNs, Field(ge=0)]
_WAIT_NS, _INTERVAL_NS = 30 * SECOND, 300 * SECOND


class RouteConfig(Config):
    """One route. What is not given is as above it; nothing is grouped unless `group_by` says so.

    `group_by`: records that agree in these are told together: the first ones `group_wait` after the
    first of them, what comes later `group_interval` after the last time, in the domain's time. An empty
    list puts all records of the route into one group.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, populate_by_name=True)

    match: RecordMatch = RecordMatch()
    to: tuple[Name, ...] | None = None
    go_on: Annotated[bool, Field(alias="continue")] = False
    group_by: tuple[Label, ...] | None = None
    group_wait: Span | None = None
    group_interval: Annotated[DurationNs, Field(gt=0)] | None = None
    routes: tuple[RouteConfig, ...] = ()


class InhibitConfig(Config):
    """While what `when` takes holds, what `mute` takes is told to nobody, where both agree in `equal`.

    What has a recovery (feed.halted, feed.stale, a broken relation) holds until that; everything else
    for `lasts`, in the domain's time. Nothing inhibits itself.
    """

    name: Name
    when: RecordMatch
    mute: RecordMatch
    equal: tuple[Label, ...] = ("source",)
    lasts: Annotated[DurationNs, Field(gt=0)] = 300 * SECOND


class RoutingConfig(Config):
    """`route`: the root. Subscriptions that no route names see all that passes their own filters."""

    route: RouteConfig = RouteConfig()
    inhibit: tuple[InhibitConfig, ...] = ()

    @model_validator(mode="after")
    def _names_differ(self) -> RoutingConfig:
        names = [rule.name for rule in self.inhibit]
        twice = sorted({name for name in names if names.count(name) > 1})
        if twice:
            raise ValueError(f"inhibit name {twice[0]!r} is given twice; each needs its own")
        return self

    def groups(self) -> bool:
        """Whether some route holds records back for a while."""
        return _groups(self.route)

    def named(self) -> frozenset[str]:
        """The subscriptions that some route names."""
        return frozenset(_named(self.route))


def _groups(route: RouteConfig) -> bool:
    return route.group_by is not None or any(map(_groups, route.routes))


def _named(route: RouteConfig) -> Iterator[str]:
    yield from route.to or ()
    for child in route.routes:
        yield from _named(child)


@dataclass(frozen=True, slots=True)
class Grouping:
    by: tuple[Label, ...]
    wait_ns: int
    interval_ns: int


class Node:
    """A route with what it has from above, ready to walk. `path`: 0.2 is the third child of the first."""

    __slots__ = ("_children", "_go_on", "_matcher", "grouping", "path", "to")

    def __init__(self, config: RouteConfig, path: str = "", above: Node | None = None) -> None:
        self.path = path or "root"
        self.to: tuple[str, ...] = config.to if config.to is not None else above.to if above else ()
        self.grouping: Grouping | None = _grouping(config, above.grouping if above else None)
        self._matcher, self._go_on = Matcher(config.match), config.go_on
        self._children = [
            Node(child, f"{path}.{number}" if path else str(number), self)
            for number, child in enumerate(config.routes)
        ]

    def arrivals(self, facts: Facts) -> list[Node]:
        """Where the record arrives; nowhere when this route itself does not take it."""
        if not self._matcher.takes(facts):
            return []
        found: list[Node] = []
        for child in self._children:
            arrived = child.arrivals(facts)
            found += arrived
            if arrived and not child._go_on:
                break
        return found or [self]

    def find(self, path: str) -> Node | None:
        """The route that stands at `path`, if there is one."""
        if path == self.path:
            return self
        return next((found for child in self._children if (found := child.find(path))), None)


def _grouping(config: RouteConfig, above: Grouping | None) -> Grouping | None:
    by = config.group_by if config.group_by is not None else above.by if above else None
    if by is None:
        return None
    wait = config.group_wait if config.group_wait is not None else above.wait_ns if above else _WAIT_NS
    interval = config.group_interval or (above.interval_ns if above else _INTERVAL_NS)
    return Grouping(by, wait, interval)


def labels(facts: Facts, names: Iterable[Label]) -> tuple[str, ...]:
    """The record's values of these labels."""
    known: dict[str, Any] = {
        "type": facts.short, "source": facts.source or "*", "subject": facts.subject,
        "severity": facts.severity, "incident": facts.incident,
    }  # fmt: skip
    return tuple(known[name] for name in names)
