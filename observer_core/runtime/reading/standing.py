"""What operators and subscribers have open: overrides, requests, silences, subscriptions."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable, Iterable
from typing import Any, Final

from observer_core.event_bus import subscriptions as configured
from observer_core.event_bus.matching import RecordMatch
from observer_core.logs.redaction import without_paths
from observer_core.runtime.deliveries import progress, subscriptions
from observer_core.runtime.masking import masked_sink
from observer_core.runtime.reading.lines import backwards
from observer_core.runtime.settings import Settings
from observer_core.shared.errors import NotFound
from observer_core.shared.ids import parse_ref
from observer_core.shared.records import Decision, Json, Note
from observer_core.storage.journals import Journals

_KEPT: Final = 1_000
_NEARBY: Final = 512
"""A decision is looked for among so many around its moment."""


class Asked:
    """What operators said when they asked: it is in the records, not in the views. Safe from any thread."""

    def __init__(self, journals: Journals) -> None:
        self._journals = journals
        self._kept: OrderedDict[str, Json] = OrderedDict()
        self._lock = threading.Lock()

    def override(self, domain: str, entry: Json) -> Json:
        """`models.Override` of an entry of the views."""
        command = self._once(entry["decision"], lambda: self._cause(domain, entry))
        return {**entry, "reason": str(command.get("reason", ""))}

    def request(self, entry: Json) -> Json:
        """`models.ConfirmationRequest` of an entry of the views."""
        command = self._once(entry["request"], lambda: self._command(entry["request"]))
        known = {name: value for name, value in entry.items() if name != "decision"}
        return {**known, "reason": str(command.get("reason", "")), "until_ns": command.get("until_ns")}

    def _cause(self, domain: str, entry: Json) -> Json:
        """The command that an override follows from."""
        journal, wanted = self._journals.open(f"decisions.{domain}"), entry["decision"]
        last = journal.position_at(entry["since_ns"]) if wanted else 0
        for line in backwards(journal, max(1, last - _NEARBY + 1), last):
            if wanted.encode() in line.raw:
                record = line.record
                if isinstance(record, Decision) and record.id == wanted:
                    return self._command(record.causation[0]) if record.causation else {}
        return {}

    def _command(self, cited: str) -> Json:
        try:
            journal, position = parse_ref(cited)
            record = self._journals.open(journal).entry(position).record
        except (NotFound, ValueError):
            return {}
        return dict(record.body) if isinstance(record, Note) else {}

    def _once(self, key: str, find: Callable[[], Json]) -> Json:
        with self._lock:
            known = self._kept.get(key)
        if known is None:
            known = find()
            with self._lock:
                self._kept[key] = known
                if len(self._kept) > _KEPT:
                    self._kept.popitem(last=False)
        return known


def silences(domain: str, entries: Iterable[Json]) -> list[Json]:
    """`models.Silence` of the router's views; of a match what was given."""
    names = ("id", "author", "reason", "start_ns", "end_ns")
    return [
        {
            "domain": domain, **{name: entry[name] for name in names},
            "match": RecordMatch(**entry["match"]).model_dump(mode="json", exclude_defaults=True),
        }
        for entry in entries
    ]  # fmt: skip


def subscribers(journals: Journals, settings: Settings, domain: str) -> list[Json]:
    """`models.Subscription`: the configured ones, and those that operators have added."""
    own = {item.name for item in settings.subscription if domain in item.domains}
    found = []
    for name, config in subscriptions(journals, settings, domain).items():
        far = progress(journals, domain, config)
        found.append({
            "name": name, "domain": domain, "stream": config.stream, "sink": shown_sink(config.sink),
            "configured": name in own, "state": far.state, "position": far.position, "lag": far.lag,
            "attempt": far.attempt,
        })  # fmt: skip
    return found


def shown_sink(sink: Any) -> Json:
    """A sink's kind, and where it leads to in words. No secret, no address in full, no path."""
    return {"kind": sink.kind, "to": without_paths(_leads_to(sink))}


def _leads_to(sink: Any) -> str:
    match sink:
        case configured.SlackSink():
            return f"slack channel {sink.channel}" if sink.channel else "slack webhook"
        case configured.EmailSink():
            return f"email to {', '.join(sink.to)}"
    return masked_sink(sink)
