"""Where a record began: the snapshot it goes back to, by what records cite, and the trace that follows.

No record holds the id of a trace: two runs over the same input give equal bytes. The id is computed
from the place of the snapshot, so that every process finds the same, with or without a hint.
"""

from __future__ import annotations

from typing import Final

from observer_core.shared.clock import SECOND
from observer_core.shared.ids import parse_ref
from observer_core.shared.records import Decision, DeliveryResult, Event, Notification, PatternRecord, Route
from observer_core.shared.stage import Entry
from observer_core.storage.journals import Journals

BY_TIME_NS: Final = 60 * SECOND
"""What follows so long after what it cites follows from time alone (a block has ended, say)."""
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
        caused = isinstance(record, Decision | Event)
        if caused and record.time_ns - before.time_ns > BY_TIME_NS:
            return entry.ref
        entry = before
    return entry.ref


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
