"""Evidence: what the decide stage knows, from events alone, of the data behind a decision.

Gaps (series that are silent now, sources that do not answer or are halted), coverage (how many
of those that it has ever heard of are there), and where a relation between venues does not hold. It
hears of a subject when an event names it: what never gave an event is not counted, so no number here
says how many there are. The gate, which reads the sources' own views, does.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field, replace
from itertools import islice
from typing import Any

from observer_core.decision_pipeline.scopes import DOMAIN
from observer_core.decision_pipeline.signals import Signal
from observer_core.shared.records import ALL, Decision, Json, Series

MOST = 50_000
"""Subjects known, and silent series, are counted up to here, of each source."""
_MOST_BROKEN = 1_000
_NAMED = 4
_BROKEN = "pattern.relation_break"
_WHOLE = "pattern.relation_restored"
_NONE: Mapping[str, int] = {}
_NUMBERS = ("value", "expected", "allowed")


@dataclass(slots=True)
class Feed:
    """One source: its subjects that events have named, and since when what is missing.

    `silent`: by subject and field, the oldest first; `by_subject`: the same, by subject.
    """

    subjects: dict[str, None] = field(default_factory=dict)
    silent: dict[tuple[str, str], int] = field(default_factory=dict)
    by_subject: dict[str, dict[str, int]] = field(default_factory=dict)
    out: dict[str, int] = field(default_factory=dict)

    def fall_silent(self, subject: str, name: str, time_ns: int) -> None:
        if (subject, name) not in self.silent and len(self.silent) < MOST:
            self.silent[subject, name] = time_ns
            self.by_subject.setdefault(subject, {})[name] = time_ns

    def resume(self, subject: str, name: str) -> None:
        if self.silent.pop((subject, name), None) is not None:
            del self.by_subject[subject][name]
            if not self.by_subject[subject]:
                del self.by_subject[subject]


class Feeds:
    """What events have said of the sources of a domain."""

    def __init__(self) -> None:
        self._feeds: dict[str, Feed] = {}
        self._sources_of: dict[str, set[str]] = {}
        self._broken: dict[Series, Json] = {}

    def take(self, signal: Signal) -> None:
        """What the signal says of its source and its series."""
        if not signal.source:
            return
        feed, now_ns = self._feed(signal.source), signal.time_ns
        match signal.kind:
            case "feed.unavailable" | "feed.halted":
                feed.out.setdefault(signal.kind, now_ns)
            case "feed.available":
                feed.out.pop("feed.unavailable", None)
            case "feed.reopened":
                feed.out.pop("feed.halted", None)
        for place, series in enumerate(signal.series):
            self._series(signal, series, place)

    def on_the_sheet(self, decision: Decision) -> Decision:
        """The decision, with what is known now about its scope in its evidence."""
        return replace(decision, evidence={**decision.evidence, "feeds": self.sheet(decision.scope)})

    def sheet(self, scope: str) -> Json:
        """What is known now about the scope."""
        if scope == DOMAIN:
            return _sheet(self._feeds.values(), None, self._broken.values())
        level, _, name = scope.partition(":")
        if level == "source":
            feeds = [self._feeds[name]] if name in self._feeds else []
            return _sheet(feeds, None, [found for series, found in self._broken.items() if series[0] == name])
        feeds = [self._feeds[source] for source in self._sources_of.get(name, ())]
        return _sheet(feeds, name, [found for series, found in self._broken.items() if series[1] == name])

    def dump(self) -> Json:
        return {
            "feeds": {
                source: {
                    "subjects": list(feed.subjects), "out": feed.out,
                    "silent": [[*key, since] for key, since in feed.silent.items()],
                }
                for source, feed in self._feeds.items()
            },
            "broken": [[list(series), found] for series, found in self._broken.items()],
        }  # fmt: skip

    def load(self, value: Json) -> None:
        for source, plain in value.get("feeds", {}).items():
            feed = self._feeds[source] = Feed(out=dict(plain["out"]))
            for subject in plain["subjects"]:
                self._know(source, feed, subject)
            for subject, name, since in plain["silent"]:
                feed.fall_silent(subject, name, since)
        for series, found in value.get("broken", ()):
            self._broken[series[0], series[1], series[2]] = found

    def _feed(self, source: str) -> Feed:
        found = self._feeds.get(source)
        if found is None:
            found = self._feeds[source] = Feed()
        return found

    def _know(self, source: str, feed: Feed, subject: str) -> None:
        if subject not in feed.subjects and subject != ALL and len(feed.subjects) < MOST:
            feed.subjects[subject] = None
            self._sources_of.setdefault(subject, set()).add(source)

    def _series(self, signal: Signal, series: Series, place: int) -> None:
        source, subject, name = series
        feed = self._feed(source)
        self._know(source, feed, subject)
        match signal.kind:
            case "feed.stale":
                feed.fall_silent(subject, name, signal.time_ns)
            case "feed.resumed":
                feed.resume(subject, name)
            case kind if kind == _BROKEN and (series in self._broken or len(self._broken) < _MOST_BROKEN):
                numbers = {key: _at(signal.measured, key, place) for key in _NUMBERS}
                since_ns = self._broken.get(series, {}).get("since_ns", signal.time_ns)
                known = {key: value for key, value in numbers.items() if value is not None}
                self._broken[series] = {"series": list(series), "since_ns": since_ns, **known}
            case kind if kind == _WHOLE:
                self._broken.pop(series, None)


def _sheet(feeds: Iterable[Feed], subject: str | None, broken: Collection[Json]) -> Json:
    """Counts of these sources, of one of their subjects or of all."""
    sources = out = subjects = quiet = silent = 0
    since_ns: int | None = None
    for feed in feeds:
        sources += 1
        found: Mapping[Any, int]
        if subject is None:
            found, subjects, quiet = feed.silent, subjects + len(feed.subjects), quiet + len(feed.by_subject)
        else:
            found, subjects = feed.by_subject.get(subject, _NONE), subjects + 1
            quiet += bool(found)
        silent += len(found)
        if feed.out:
            out += 1
        if feed.out or found:
            oldest = min((*feed.out.values(), *islice(found.values(), 1)))
            since_ns = oldest if since_ns is None else min(since_ns, oldest)
    sheet: Json = {
        "sources": sources, "sources_out": out, "subjects": subjects, "subjects_silent": quiet,
        "series_silent": silent,
    }  # fmt: skip
    if since_ns is not None:
        sheet["gap_since_ns"] = since_ns
    if broken:
        sheet["disagreements"] = len(broken)
        sheet["disagreement"] = list(islice(broken, _NAMED))
    return sheet


def _at(measured: Mapping[str, Any], key: str, place: int) -> Any:
    """The number of one series; of several series the evidence holds lists in their order."""
    value = measured.get(key)
    if isinstance(value, list | tuple):
        value = value[place] if place < len(value) else None
    return value if type(value) in (int, float) else None
