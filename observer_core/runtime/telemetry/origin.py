"""Where a record began: the snapshot it goes back to, by what records cite, and the trace that follows.

No record holds the id of a trace: two runs over the same input give equal bytes. The id is computed
from the place of the snapshot, so that every process finds the same, with or without a hint.
"""

from __future__ import annotations

from typing import Final

from observer_core.shared.clock import SECOND
from observer_core.shared.ids import parse_ref
from observer_core.shared.records import (
    AnyRecord,
    Decision,
    DeliveryResult,
    Event,
    Notification,
    PatternRecord,
    Route,
)
from observer_core.shared.stage import Entry
from observer_core.storage.journals import Journals

_BY_TIME: Final = frozenset(("expired", "override_ends_soon", "override_ended", "not_confirmed"))
"""Codes of decisions that follow from time alone, although they cite what they end."""
_LATER_NS: Final = 60 * SECOND
_DECAYS: Final = ".incident."
"""What is judged so long after what it cites has calmed down by time: risk, and incidents."""
_STEPS: Final = 8


def origin(journals: Journals, entry: Entry) -> str:
    """The ref of the snapshot that `entry` follows from, or of the first record of its chain.

    That is an operator's request, a letter, or what followed from time alone. Of several causes the first.
    """
    for _ in range(_STEPS):
        record = entry.record
        if isinstance(record, PatternRecord):
            return record.snapshot
        before = cause(journals, entry)
        if before is None:
            return entry.ref
        if _by_time(record, before):
            return entry.ref
        entry = before
    return entry.ref


def _by_time(record: AnyRecord, before: Entry) -> bool:
    if isinstance(record, Decision):
        code = record.reasons[0].get("code") if record.reasons else None
        if code in _BY_TIME:
            return True
        decays = code == "risk"
    else:
        decays = isinstance(record, Event) and _DECAYS in record.type
    return decays and record.time_ns - before.time_ns > _LATER_NS


def cause(journals: Journals, entry: Entry) -> Entry | None:
    """The record that `entry` cites as what it follows from, or tells of; None when there is none."""
    text = _cited(entry)
    if text is None or text == entry.ref:
        return None
    try:
        name, position = parse_ref(text)
    except ValueError:  # an id of something else
        return None
    found = journals.open(name).read(position - 1, 1)  # from memory where this process wrote it
    return found[0] if found and found[0].position == position else None


def _cited(entry: Entry) -> str | None:
    match entry.record:
        case PatternRecord(snapshot=text) | Event(causationid=text):
            return text
        case Decision(causation=causes):
            return causes[0] if causes else None
        case Route(ref=text) | DeliveryResult(ref=text):
            return text
        case Notification(refs=refs):
            return refs[0] if refs else None
    return None
