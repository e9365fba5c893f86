"""Memory: which signals matched lately, so that they can be counted and joined. In the domain's time.

An item is remembered until its end, and beyond that for as long as a condition stands that
keeps it. Bounded: so many items a key, the newest, and none for what is quiet.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field, fields

from observer_core.shared.canonical import decode, encode
from observer_core.shared.records import Json
from observer_core.shared.timers import Timers

Claim = tuple[str, str]
"""A source and a subject that a signal speaks of; the subject is `*` for the whole source."""


@dataclass(slots=True, kw_only=True)
class Item:
    """A signal that matched. `mark`: what tells it apart where only different ones are counted.

    `begun`: the conditions that began with it and still stand; `kept`: those of them that keep the item.
    """

    ref: str
    time_ns: int
    until_ns: int
    source: str
    text: str
    mark: str = ""
    scopes: list[str] = field(default_factory=list)
    claims: list[Claim] = field(default_factory=list)
    begun: set[str] = field(default_factory=set)
    kept: set[str] = field(default_factory=set)


class Memory:
    """Items by group (a part of a policy) and key (what they must agree in)."""

    def __init__(self, timers: Timers) -> None:
        self._timers = timers
        self._items: dict[str, dict[str, list[Item]]] = {}
        self._waiting: dict[str, set[tuple[str, str]]] = {}

    def add(self, group: str, key: str, item: Item, most: int) -> list[Item]:
        """The items of the key with this one, oldest first; it takes the place of one with its mark."""
        items = self._items.setdefault(group, {}).setdefault(key, [])
        if item.mark or most == 1:
            for same in [other for other in items if other.mark == item.mark]:
                item.begun |= same.begun
                item.kept |= same.kept
                items.remove(same)
        items.append(item)
        for condition in item.begun:
            self._waiting.setdefault(condition, set()).add((group, key))
        self._keep(group, key, items, items[-most:])
        self._arm(group, key, items, item.time_ns)
        return items

    def at(self, group: str, key: str) -> list[Item]:
        return self._items.get(group, {}).get(key, [])

    def keys(self, group: str) -> list[str]:
        return sorted(self._items.get(group, ()))

    def end(self, conditions: Iterable[str], now_ns: int) -> None:
        """These conditions stand no longer: what only they kept is forgotten."""
        for condition in conditions:
            for group, key in sorted(self._waiting.pop(condition, ())):
                items = self.at(group, key)
                for item in items:
                    item.begun.discard(condition)
                    item.kept.discard(condition)
                self._prune(group, key, items, now_ns)

    def expire(self, timer: str, due_ns: int) -> None:
        group, key = decode(timer.encode())
        self._prune(group, key, self.at(group, key), due_ns)

    def dump(self) -> Json:
        return {
            group: {key: [_plain(item) for item in items] for key, items in sorted(keys.items())}
            for group, keys in sorted(self._items.items())
        }

    def load(self, value: Json) -> None:
        for group, keys in value.items():
            for key, plain in keys.items():
                items = self._items.setdefault(group, {})[key] = [_item(one) for one in plain]
                for item in items:
                    for condition in item.begun:
                        self._waiting.setdefault(condition, set()).add((group, key))

    def _prune(self, group: str, key: str, items: list[Item], now_ns: int) -> None:
        self._keep(group, key, items, [item for item in items if item.until_ns > now_ns or item.kept])
        if items:
            self._arm(group, key, items, now_ns)
            return
        keys = self._items.get(group, {})
        if keys.pop(key, None) is not None:
            self._timers.disarm("memory", _timer(group, key))
            if not keys:
                del self._items[group]

    def _keep(self, group: str, key: str, items: list[Item], kept: list[Item]) -> None:
        """Only these of them."""
        if len(kept) == len(items):
            return
        standing = {condition for item in kept for condition in item.begun}
        for condition in {condition for item in items for condition in item.begun} - standing:
            places = self._waiting[condition]
            places.discard((group, key))
            if not places:
                del self._waiting[condition]
        items[:] = kept

    def _arm(self, group: str, key: str, items: list[Item], now_ns: int) -> None:
        """At the first end that is still to come; those past it are kept by conditions."""
        due_ns = min((item.until_ns for item in items if item.until_ns > now_ns), default=None)
        if due_ns is None:
            self._timers.disarm("memory", _timer(group, key))
        else:
            self._timers.arm(due_ns, "memory", _timer(group, key))


def _timer(group: str, key: str) -> str:
    return encode([group, key]).decode()


def _plain(item: Item) -> Json:
    plain = {one.name: getattr(item, one.name) for one in fields(item)}
    return {name: sorted(value) if isinstance(value, set) else value for name, value in plain.items()}


def _item(plain: Json) -> Item:
    sets = {name: set(plain[name]) for name in ("begun", "kept")}
    claims = [(source, subject) for source, subject in plain["claims"]]
    return Item(**{**plain, **sets, "claims": claims})
