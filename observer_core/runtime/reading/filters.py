"""Which records are meant: for each kind its journals, and what can be asked of its records.

A record is looked at as stored bytes first: what is asked for by a name must stand in them, so that of
the records that are not meant few are decoded. The bytes are canonical JSON (`shared/canonical.py`), so
a text has one spelling, and inside of another text its quotes are escaped: `"kind":"x"` is never found
there.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Any, Final

from observer_core.event_bus.publisher import TYPE_PREFIX
from observer_core.event_bus.subscriptions import LogSink, Subscription, SubscriptionConfig
from observer_core.runtime.reading.lines import Maybe, everything
from observer_core.shared.canonical import encode
from observer_core.shared.records import (
    SEVERITIES,
    AnyRecord,
    Decision,
    Event,
    PatternRecord,
    Severity,
    Snapshot,
)

_GLOB: Final = re.compile(r"[*?\[]")
Match = Callable[[AnyRecord], bool]


@dataclass(frozen=True, slots=True, kw_only=True)
class Filter:
    """What was asked for; `what` is the glob of the kind's own filter (kind, type, verdict, flag).

    `notes`: the journals' own notes too.
    """

    source: str | None = None
    domain: str | None = None
    subject: str | None = None
    what: str | None = None
    severity: Severity | None = None
    notes: bool = False


@dataclass(frozen=True, slots=True)
class Sieve:
    """`match` decides; `maybe` says False of stored bytes that it would not take, and costs little."""

    match: Match
    maybe: Maybe


@dataclass(frozen=True, slots=True)
class Kind:
    """`journals` is the journals' prefix; `per_source`: there is one a source, else one a domain."""

    journals: str
    per_source: bool
    match: Callable[[Filter], Match]
    needed: Callable[[Filter], Sequence[Maybe]]

    def sieve(self, wanted: Filter) -> Sieve:
        tests = [] if wanted.notes else self.needed(wanted)
        return Sieve(self.match(wanted), _all(tests))


def rank(severity: Severity | None) -> int:
    """0 for None and for the least."""
    return 0 if severity is None else SEVERITIES.index(severity)


def _snapshots(wanted: Filter) -> Match:
    def match(record: AnyRecord) -> bool:
        if not isinstance(record, Snapshot):
            return wanted.notes
        subjects = _passing(wanted.subject, record.subjects)
        if wanted.subject is not None and not subjects:
            return False
        flags = [flag for subject in subjects for flag in record.quality.get(subject, ())]
        return wanted.what is None or bool(_passing(wanted.what, flags))

    return match


def _snapshots_need(wanted: Filter) -> list[Maybe]:
    tests = _named(wanted.subject)
    if wanted.what is not None:
        tests += [_has(b'"quality":{'), *_named(wanted.what)]
    return [*tests, _has(b'"kind":"snapshot"')]


def _patterns(wanted: Filter) -> Match:
    least = rank(wanted.severity)

    def match(record: AnyRecord) -> bool:
        if not isinstance(record, PatternRecord):
            return wanted.notes
        return (
            rank(record.severity) >= least
            and (wanted.what is None or fnmatchcase(record.pattern, wanted.what))
            and (wanted.subject is None or bool(_passing(wanted.subject, [s[1] for s in record.series])))
        )

    return match


def _patterns_need(wanted: Filter) -> list[Maybe]:
    tests = [*_named(wanted.subject), *_named(wanted.what, b'"pattern":')]
    return [*tests, *_severity(b"severity", wanted.severity), _has(b'"kind":"pattern"')]


def _events(wanted: Filter) -> Match:
    return _subscribed(wanted, stream="events", types=(wanted.what or "*",))


def _events_need(wanted: Filter) -> list[Maybe]:
    tests = list[Maybe]()
    if wanted.what:
        text = _text(wanted.what)[1:]
        short, full = b'"type":"' + TYPE_PREFIX.encode() + text, b'"type":"' + text
        tests += [lambda raw: short in raw or full in raw, *_pieces(wanted.what)]
    if wanted.source:
        tests += _pieces(wanted.source)
    if wanted.subject:
        name = _all(_named(wanted.subject))
        # What is about a whole source is about each subject in it.
        tests.append(
            lambda raw: name(raw) or b'"series":[[' not in raw or b'"*"' in raw or b"available" in raw
        )
    return [*tests, *_severity(b"severitytext", wanted.severity), _has(b'"specversion":')]


def _decisions(wanted: Filter) -> Match:
    return _subscribed(wanted, stream="decisions", types=(f"decision.{wanted.what}" if wanted.what else "*",))


def _decisions_need(wanted: Filter) -> list[Maybe]:
    tests = list[Maybe]()
    if wanted.subject:
        scope = b'"scope":"subject:'
        mine = scope + _text(wanted.subject)[1:]
        tests.append(lambda raw: mine in raw or scope not in raw)
    tests += _named(wanted.what or None, b'"verdict":')
    return [*tests, *_severity(b"severity", wanted.severity), _has(b'"kind":"decision"')]


def _subscribed(wanted: Filter, **stream: Any) -> Match:
    """Exactly what a subscriber with these filters would be given."""
    test = Subscription(
        SubscriptionConfig(
            name="listing", sources=(wanted.source or "*",), subjects=(wanted.subject or "*",),
            min_severity=SEVERITIES[rank(wanted.severity)], sink=LogSink(kind="log"), **stream,
        )
    )  # fmt: skip

    def match(record: AnyRecord) -> bool:
        return test.refusal(record) is None if isinstance(record, Event | Decision) else wanted.notes

    return match


def _severity(key: bytes, least: Severity | None) -> list[Maybe]:
    if not rank(least):
        return []
    least_text, *more = [b'"%s":"%s"' % (key, name.encode()) for name in SEVERITIES[rank(least) :]]
    return [lambda raw: least_text in raw or any(text in raw for text in more)]


def _named(glob: str | None, key: bytes = b"") -> list[Maybe]:
    """What holds where a text that matches `glob` stands behind `key`."""
    return [] if glob is None else [_has(key + _text(glob)), *_pieces(glob)]


def _text(glob: str) -> bytes:
    """What a JSON text that matches `glob` begins with; all of it where the glob is plain."""
    found = _GLOB.search(glob)
    return encode(glob) if found is None else encode(glob[: found.start()])[:-1]


def _pieces(glob: str) -> list[Maybe]:
    """The longest piece between the wildcards must stand in it."""
    longest = max(re.split(r"[*?]", glob.partition("[")[0]), key=len)
    return [_has(encode(longest)[1:-1])] if longest else []


def _has(text: bytes) -> Maybe:
    return lambda raw: text in raw


def _all(tests: Sequence[Maybe]) -> Maybe:
    """Whether all hold, in this order."""
    match tests:
        case []:
            return everything
        case [test]:
            return test
        case [first, *rest]:
            others = _all(rest)
            return lambda raw: first(raw) and others(raw)
    raise AssertionError(tests)


def _passing(glob: str | None, names: Sequence[str]) -> Sequence[str]:
    return names if glob is None else [name for name in names if fnmatchcase(name, glob)]


KINDS: Final[Mapping[str, Kind]] = {
    "snapshots": Kind("snapshots", True, _snapshots, _snapshots_need),
    "patterns": Kind("patterns", True, _patterns, _patterns_need),
    "events": Kind("events", False, _events, _events_need),
    "decisions": Kind("decisions", False, _decisions, _decisions_need),
}
