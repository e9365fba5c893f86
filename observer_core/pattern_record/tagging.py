"""Tags that the configuration gives to patterns, by globs over subject, field and pattern."""

from __future__ import annotations

import re
from collections.abc import Iterable
from fnmatch import translate

from observer_core.pattern_record.config import TagRule
from observer_core.shared.records import Series

_REMEMBERED = 65_536


class Tagger:
    """The tags of a pattern, sorted, each once. Equal rules give equal tags in any order of rules."""

    __slots__ = ("_known", "_rules")

    def __init__(self, rules: Iterable[TagRule]) -> None:
        self._rules = [
            (*(re.compile(translate(glob)).match for glob in (r.match.subject, r.match.field, r.match.pattern)),
             frozenset(r.add))
            for r in rules
        ]  # fmt: skip
        self._known: dict[tuple[str, str, str], frozenset[str]] = {}

    def tags(self, pattern: str, series: Iterable[Series]) -> tuple[str, ...]:
        """The tags of `pattern` in `series`: those of any of them."""
        if not self._rules:
            return ()
        return tuple(sorted(frozenset().union(*(self._of(s[1], s[2], pattern) for s in series))))

    def _of(self, subject: str, field: str, pattern: str) -> frozenset[str]:
        key = (subject, field, pattern)
        found = self._known.get(key)
        if found is None:
            if len(self._known) >= _REMEMBERED:
                self._known.clear()
            found = self._known[key] = frozenset().union(
                *(add for is_subject, is_field, is_pattern, add in self._rules
                  if is_subject(subject) and is_field(field) and is_pattern(pattern))
            )  # fmt: skip
        return found
