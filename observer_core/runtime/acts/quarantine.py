"""What stages could not work on: a list of it, and giving an entry to its stage again."""

from __future__ import annotations

from collections.abc import Iterator

from observer_core.runtime import operate
from observer_core.runtime.acts.ground import Asked, By, Unknown
from observer_core.shared.records import Json
from observer_core.storage.journals import Journals
from observer_core.storage.once import Once

_VIEW = "quarantined."


def listed(journals: Journals) -> Iterator[Json]:
    """Every entry that is set aside, by the journal of the stage that could not work on it."""
    for name in journals.names():
        for body in journals.open(name).views(_VIEW).values():
            yield {"journal": name, **body}


def redrive(
    journals: Journals, stage_journal: str, input_journal: str, position: int, by: By,
    once: Once | None = None,
) -> Asked:  # fmt: skip
    """Gives a quarantined entry to its stage again, at a new position; its quarantine ends."""
    known = journals.names()
    for name in (stage_journal, input_journal):
        if name not in known:
            raise Unknown(f"there is no journal {name!r}; known are {', '.join(known) or 'none yet'}")
    by.checked()
    ref = operate.redrive(
        journals, stage_journal, input_journal, position, author=by.author, reason=by.reason,
        principal=by.principal, once=once,
    )  # fmt: skip
    text = f"{input_journal}@{position} comes again as {ref}"
    return Asked(ref=ref, text=text, domain=journals.domain_of(input_journal) or "")
