"""Safe mode as the store knows it: since when it stands, and when it stood.

Whether a process is in safe mode says its own configuration. When it begins and ends is a record of the
operations journal, made by whoever starts an Observer in the other mode than the last one: a crash or a
stop in between ends nothing. So other processes know of it too, and `gate check --at` of then.
"""

from __future__ import annotations

from typing import Any, Final

from observer_core.runtime.gaps import KIND
from observer_core.runtime.settings import Settings
from observer_core.shared.clock import Clock
from observer_core.shared.errors import Conflict
from observer_core.shared.records import Note
from observer_core.storage.journal import Commit
from observer_core.storage.journals import Journals
from observer_core.storage.recovery import OPERATIONS

_VIEW: Final = "safe_mode"
_REMEMBERED: Final = 500
"""Of the times in which it stood, the newest; all are records."""


def stands(journals: Journals) -> int | None:
    """Since when an Observer over this store is in safe mode; None when it is not."""
    spans = _spans(journals)
    return spans[-1][0] if spans and not spans[-1][1] else None


def stood(journals: Journals, at_ns: int) -> bool:
    """Whether it did at a moment."""
    return any(begin <= at_ns and (not end or at_ns < end) for begin, end in _spans(journals))


def is_safe(journals: Journals, settings: Settings) -> bool:
    """Whether this process is to act on nothing: it is configured so, or an Observer over this store is."""
    return settings.safety.safe_mode or stands(journals) is not None


def record(journals: Journals, clock: Clock, on: bool) -> bool:
    """Records that safe mode begins or has ended, when that is news; whether it was."""
    while (stands(journals) is not None) != on:
        journal = journals.open(OPERATIONS, "operations")
        head, since_ns, spans = journal.head(), stands(journals), _spans(journals)
        if (since_ns is not None) == on:
            continue
        now_ns = max(head.time_ns, clock.now_ns())
        body: dict[str, Any] = {"event": "safe_mode", "on": on}
        if since_ns is None:
            spans = [*spans, [now_ns, 0]][-_REMEMBERED:]
        else:
            spans[-1] = [since_ns, now_ns]
            body["since_ns"] = since_ns
        note = Note(kind=KIND, time_ns=now_ns, body=body)
        try:
            journal.commit(head, Commit(records=[note], views={_VIEW: {"spans": spans}}))
        except Conflict:
            continue
        return True
    return False


def _spans(journals: Journals) -> list[list[int]]:
    """Begin and end of each time, oldest first; the end is 0 while it stands."""
    found: list[list[int]] = journals.open(OPERATIONS).views(_VIEW).get(_VIEW, {}).get("spans", [])
    return found
