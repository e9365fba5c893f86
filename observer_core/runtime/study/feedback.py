"""What people say of patterns: right or wrong, as records; and how often each detector was right."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from observer_core.runtime.operate import said
from observer_core.shared.clock import Clock
from observer_core.shared.errors import InputError
from observer_core.shared.ids import parse_ref
from observer_core.shared.records import AnyRecord, Decision, Event, Note, PatternRecord
from observer_core.storage.journals import Journals
from observer_core.storage.once import Once

KIND: Final = "feedback"
_Z95: Final = 1.959963984540054


@dataclass(frozen=True, slots=True)
class Precision:
    """Of the patterns of one kind that somebody has judged: how many were right, with a 95 % interval.

    Source of the interval: Wilson, "Probable inference", JASA 22 (1927).
    """

    detector: str
    pattern: str
    found: int
    right: int
    wrong: int

    @property
    def judged(self) -> int:
        return self.right + self.wrong

    @property
    def interval(self) -> tuple[float, float]:
        """(0, 1) while nothing was judged."""
        n = self.judged
        if not n:
            return 0.0, 1.0
        share, z2 = self.right / n, _Z95 * _Z95
        middle = share + z2 / (2 * n)
        half = _Z95 * math.sqrt(share * (1 - share) / n + z2 / (4 * n * n))
        return max(0.0, (middle - half) / (1 + z2 / n)), min(1.0, (middle + half) / (1 + z2 / n))


@dataclass(frozen=True, slots=True)
class Judgement:
    """The record of a word, and the refs of the patterns that it was said of."""

    ref: str
    patterns: list[str]


def judge(
    journals: Journals, clock: Clock, ref: str, *, right: bool, author: str, note: str | None = None
) -> list[str]:
    """Records that a pattern was right or wrong; gives the refs of the patterns it was said of.

    `ref` is a pattern, or an event or a decision that follows from patterns. The newest word on a
    pattern counts.
    """
    return judged(journals, clock, ref, right=right, author=author, note=note).patterns


def judged(
    journals: Journals, clock: Clock, ref: str, *, right: bool, author: str, note: str | None = None,
    principal: str | None = None, once: Once | None = None,
) -> Judgement:  # fmt: skip
    """As `judge`. `principal`: who the author was proved to be; under the key of `once` only once."""
    patterns = sorted(set(_patterns_behind(journals, ref)))
    if not patterns:
        raise InputError(f"{ref} follows from no pattern: there is nothing to be right or wrong about")
    domain = journals.domain_of(parse_ref(patterns[0])[0])
    assert domain is not None  # it holds a record
    journal = journals.open(f"{KIND}.{domain}", domain)
    body = {"ref": ref, "patterns": patterns, "right": right, "author": author, "note": note}
    if principal is not None:
        body["principal"] = principal
    record = Note(kind=KIND, time_ns=clock.now_ns(), body=body)
    return Judgement(**said(journal, [record], {"patterns": patterns}, once))


def judgements(journals: Journals, domain: str) -> dict[str, bool]:
    """The newest word on each pattern, by ref."""
    found: dict[str, bool] = {}
    for entry in journals.open(f"{KIND}.{domain}").scan():
        record = entry.record
        if isinstance(record, Note) and record.kind == KIND:
            found.update(dict.fromkeys(record.body["patterns"], bool(record.body["right"])))
    return found


def precision(journals: Journals, domain: str) -> list[Precision]:
    """Of every detector and kind of pattern in the domain, by detector, then pattern."""
    said = judgements(journals, domain)
    counts: dict[tuple[str, str], list[int]] = defaultdict(lambda: [0, 0, 0])
    for name in journals.names("patterns", domain):
        for entry in journals.open(name).scan():
            record = entry.record
            if isinstance(record, PatternRecord):
                row = counts[record.detector, record.pattern]
                row[0] += 1
                if (right := said.get(entry.ref)) is not None:
                    row[1 if right else 2] += 1
    return [Precision(*key, *row) for key, row in sorted(counts.items())]


def _patterns_behind(journals: Journals, ref: str) -> Iterator[str]:
    record = _record(journals, ref)
    if isinstance(record, PatternRecord):
        yield ref
    elif isinstance(record, Event):
        yield from _patterns_behind(journals, record.causationid)
    elif isinstance(record, Decision):
        for cause in record.causation:
            yield from _patterns_behind(journals, cause)


def _record(journals: Journals, ref: str) -> AnyRecord:
    try:
        name, position = parse_ref(ref)
    except ValueError as error:
        raise InputError(f"{error}; `observer patterns ls` shows them") from None
    if journals.domain_of(name) is None:
        raise InputError(f"{ref}: there is no journal {name!r}; see `observer digest`")
    journal = journals.open(name)
    last = journal.head().position
    if not 1 <= position <= last:
        raise InputError(f"{ref}: {name} has records 1 to {last}")
    return journal.entry(position).record
