"""Tags that the configuration gives to patterns, by globs over subject, field and pattern."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from fnmatch import translate

from observer_core.pattern_record.config import TagMatch, TagRule
from observer_core.shared.records import Series

_REMEMBERED = 65_536


class Tagger:
    """The tags of a pattern, sorted, each once. Equal rules give equal tags in any order of rules."""

    __slots__ = ("_known", "_rules")

    def __init__(self, rules: Iterable[TagRule]) -> None:
        self._rules = [(_matcher(rule.match), frozenset(rule.add)) for rule in rules]
        self._known: dict[tuple[str, str, str], frozenset[str]] = {}

    def tags(self, pattern: str, series: Iterable[Series]) -> tuple[str, ...]:
        """The tags of `pattern` in `series`: those of any of them."""
        if not self._rules:
            return ()
        return tuple(sorted(frozenset[str]().union(*(self._of(s[1], s[2], pattern) for s in series))))

    def _of(self, subject: str, field: str, pattern: str) -> frozenset[str]:
        key = (subject, field, pattern)
        found = self._known.get(key)
        if found is None:
            if len(self._known) >= _REMEMBERED:
                self._known.clear()
            added = (add for matches, add in self._rules if matches(key))
            found = self._known[key] = frozenset[str]().union(*added)
        return found


def _matcher(match: TagMatch) -> Callable[[tuple[str, str, str]], bool]:
    patterns = [re.compile(translate(glob)) for glob in (match.subject, match.field, match.pattern)]
    return lambda key: all(pattern.match(part) for pattern, part in zip(patterns, key, strict=True))
